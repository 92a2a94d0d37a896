//! A packed record read without knowing its type, borrowed from the packed bytes: its canonical JSON in one pass,
//! and the check that it holds nothing which JSON readers disagree about.
//!
//! The writer does this for every event. `unpack_json` in `codec.rs` and `canonical.rs` give the same text by way of
//! a tree of their own.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::canonical::write_string;
use super::codec::{CodecError, MAX_INTEGER};
use crate::event::packed::RecordedAt;

/// What is set aside for a text: most are shorter.
const TEXT_BYTES: usize = 1_024;

/// A value as packed.
#[derive(Debug)]
pub(super) enum Untyped<'a> {
    Text(&'a str),
    Bool(bool),
    Integer(i64),
    Array(Vec<Self>),
    Object(Vec<(&'a str, Self)>),
    /// What no record may hold.
    Refused(&'static str),
}

/// Where something is that no record may hold, innermost name first, and what it is.
struct Misfit(Vec<String>, &'static str);

impl Untyped<'_> {
    /// The canonical JSON (RFC 8785) of a record, with `stream`, `version` and `at` filled in.
    ///
    /// # Errors
    /// When it holds something that no record may hold.
    pub(super) fn canonical_text(self, at: RecordedAt) -> Result<String, CodecError> {
        let Untyped::Object(mut fields) = self else {
            return Err(CodecError::Value { path: String::new(), what: "not an object" });
        };
        let (stream, time) = (at.stream.to_string(), at.at.to_string());
        fields.push(("stream", Untyped::Text(&stream)));
        fields.push(("version", integer(at.version)));
        fields.push(("at", Untyped::Text(&time)));
        let mut text = String::with_capacity(TEXT_BYTES);
        write(&mut Untyped::Object(fields), &mut text).map_err(|Misfit(mut path, what)| {
            path.reverse();
            CodecError::Value { path: path.join("/"), what }
        })?;
        Ok(text)
    }
}

fn integer(value: u64) -> Untyped<'static> {
    match i64::try_from(value) {
        Ok(value) if value.unsigned_abs() <= MAX_INTEGER => Untyped::Integer(value),
        _ => Untyped::Refused("an integer beyond 2^53 - 1"),
    }
}

/// Sorts what it writes.
fn write(value: &mut Untyped<'_>, text: &mut String) -> Result<(), Misfit> {
    match value {
        Untyped::Refused(what) => return Err(Misfit(Vec::new(), what)),
        Untyped::Text(string) => write_string(string, text),
        Untyped::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Untyped::Integer(integer) => {
            let _infallible = write!(text, "{integer}");
        }
        Untyped::Array(items) => {
            text.push('[');
            for (index, item) in items.iter_mut().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text).map_err(|misfit| misfit.under(&index.to_string()))?;
            }
            text.push(']');
        }
        Untyped::Object(fields) => {
            // Of ASCII names, and there are no others, bytes sort as UTF-16 code units do.
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            let mut previous = None;
            for (name, value) in fields {
                let refuse = |what| Misfit(Vec::new(), what).under(name);
                if !name.is_ascii() {
                    return Err(refuse("under a name that is not ASCII"));
                }
                match previous {
                    Some(previous) if previous == *name => return Err(refuse("there twice")),
                    Some(_) => text.push(','),
                    None => {}
                }
                previous = Some(*name);
                write_string(name, text);
                text.push(':');
                write(value, text).map_err(|misfit| misfit.under(name))?;
            }
            text.push('}');
        }
    }
    Ok(())
}

impl Misfit {
    fn under(mut self, name: &str) -> Self {
        self.0.push(name.to_owned());
        self
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Untyped<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAnyType;

        impl<'de> Visitor<'de> for OfAnyType {
            type Value = Untyped<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of a record")
            }

            fn visit_borrowed_str<E>(self, string: &'de str) -> Result<Self::Value, E> {
                Ok(Untyped::Text(string))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Untyped::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(integer(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(match integer(value.unsigned_abs()) {
                    Untyped::Integer(_) => Untyped::Integer(value),
                    refused => refused,
                })
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Untyped::Refused("a fraction"))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Untyped::Refused("null"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Untyped::Array(array))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
                let mut object = Vec::with_capacity(fields.size_hint().unwrap_or(0).min(16));
                while let Some(field) = fields.next_entry()? {
                    object.push(field);
                }
                Ok(Untyped::Object(object))
            }
        }

        deserializer.deserialize_any(OfAnyType)
    }
}
