//! The values of customers, checked: external ids, tags and metadata, each with its limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::canonical::{self, InvalidValue};
use crate::text::{InvalidText, check_characters, checked_text};

/// The longest external id, in characters.
pub const EXTERNAL_ID_MAX_CHARS: usize = 255;
/// The most tags of a customer.
pub const TAGS_MAX: usize = 50;
/// The longest key of a tag, in characters.
pub const TAG_KEY_MAX_CHARS: usize = 63;
/// The longest value of a tag, in characters.
pub const TAG_VALUE_MAX_CHARS: usize = 255;
/// The most bytes of a customer's tags as one JSON object. They are in memory, as ciphertext, for each customer: with the
/// length before them that sealing pads, 2 KiB.
pub const TAGS_MAX_BYTES: usize = (2 << 10) - 4;
/// The most bytes of a customer's metadata as one JSON object: sealed, 4 KiB.
pub const METADATA_MAX_BYTES: usize = (4 << 10) - 4;

/// The id that others know a customer by: 1 to 255 characters as they were sent, without blanks around them.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

/// A tag's key: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TagKey(String);

/// A tag's value: 1 to 255 characters of one line.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct TagValue(String);

/// The text is no key of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [A-Za-z0-9][A-Za-z0-9_.-]{{0,62}}")]
pub struct InvalidTagKey;

/// What an object cannot be kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    /// It is none.
    #[error("wrong type: expected an object")]
    NotAnObject,
    /// More tags than a customer can have.
    #[error("too many: at most {TAGS_MAX} tags")]
    TooManyTags,
    /// Longer than it may be.
    #[error("too long: at most {0} bytes of JSON")]
    TooLong(usize),
    /// Something in it cannot be kept.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

impl InvalidObject {
    /// The code of a problem that names it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "wrong_type",
            Self::TooManyTags => "too_many",
            Self::TooLong(_) => "too_long",
            Self::Value(error) => error.code(),
        }
    }
}

/// One line that shows, without blanks around it.
fn line(text: &str, max_chars: usize) -> Result<String, InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    if text.chars().count() > max_chars {
        return Err(InvalidText::TooLong(max_chars));
    }
    check_characters(text, false)?;
    if text.trim() == text { Ok(text.to_owned()) } else { Err(InvalidText::Padded) }
}

impl TryFrom<&str> for ExternalId {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        line(text, EXTERNAL_ID_MAX_CHARS).map(Self)
    }
}

impl TryFrom<&str> for TagValue {
    type Error = InvalidText;

    fn try_from(text: &str) -> Result<Self, InvalidText> {
        line(text, TAG_VALUE_MAX_CHARS).map(Self)
    }
}

impl TryFrom<&str> for TagKey {
    type Error = InvalidTagKey;

    fn try_from(text: &str) -> Result<Self, InvalidTagKey> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && text.len() <= TAG_KEY_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTagKey)
        }
    }
}

checked_text!(ExternalId, min_length = 1, max_length = EXTERNAL_ID_MAX_CHARS);
checked_text!(TagKey, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$");
checked_text!(TagValue, min_length = 1, max_length = TAG_VALUE_MAX_CHARS);

/// A customer's tags by key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(value_type = BTreeMap<String, String>)]
pub struct Tags(BTreeMap<TagKey, TagValue>);

impl Tags {
    /// The same with some changed: a value replaces, `None` takes away (RFC 7396).
    #[must_use]
    pub fn merged(mut self, patch: BTreeMap<TagKey, Option<TagValue>>) -> Self {
        for (key, value) in patch {
            match value {
                Some(value) => _ = self.0.insert(key, value),
                None => _ = self.0.remove(&key),
            }
        }
        self
    }

    /// All of them as text, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// As the text of one JSON object; `None` where there is none.
    ///
    /// # Errors
    /// Where there are too many.
    pub fn text(&self) -> Result<Option<String>, InvalidObject> {
        if self.0.len() > TAGS_MAX {
            return Err(InvalidObject::TooManyTags);
        }
        let text = serde_json::to_string(self).map_err(|_| InvalidValue::Syntax)?;
        bounded(text, TAGS_MAX_BYTES).map(|text| (!self.0.is_empty()).then_some(text))
    }
}

/// The canonical text of metadata as it was sent: one JSON object.
///
/// # Errors
/// Where it is something else, or cannot be kept.
pub fn metadata(raw: &RawValue) -> Result<String, InvalidObject> {
    if !raw.get().starts_with('{') {
        return Err(InvalidObject::NotAnObject);
    }
    // Spaces are not part of it, but ten times its limit in spaces is no object to be kept either.
    if raw.get().len() > 10 * METADATA_MAX_BYTES {
        return Err(InvalidObject::TooLong(METADATA_MAX_BYTES));
    }
    bounded(canonical::canonical(raw.get())?, METADATA_MAX_BYTES)
}

/// Metadata with a merge patch (RFC 7396) applied, both as text.
///
/// # Errors
/// Where either is no object, or what they come to cannot be kept.
pub fn merged_metadata(current: Option<&str>, patch: &RawValue) -> Result<String, InvalidObject> {
    let patch: Map<String, Value> = read(&metadata_patch(patch)?)?;
    let mut merged: Map<String, Value> = read(current.unwrap_or("{}"))?;
    merge(&mut merged, patch);
    let text = serde_json::to_string(&merged).map_err(|_| InvalidValue::Syntax)?;
    bounded(canonical::canonical(&text)?, METADATA_MAX_BYTES)
}

/// A patch may be longer than what it leads to.
fn metadata_patch(raw: &RawValue) -> Result<String, InvalidObject> {
    if raw.get().starts_with('{') {
        Ok(canonical::canonical(raw.get())?)
    } else {
        Err(InvalidObject::NotAnObject)
    }
}

fn read(text: &str) -> Result<Map<String, Value>, InvalidObject> {
    serde_json::from_str(text).map_err(|_| InvalidValue::Syntax.into())
}

fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => _ = target.remove(&name),
            Value::Object(patch) => {
                let inner = target.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !inner.is_object() {
                    *inner = Value::Object(Map::new());
                }
                if let Value::Object(inner) = inner {
                    merge(inner, patch);
                }
            }
            value => _ = target.insert(name, value),
        }
    }
}

fn bounded(text: String, max: usize) -> Result<String, InvalidObject> {
    if text.len() > max { Err(InvalidObject::TooLong(max)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_external_id_is_one_line_as_it_was_sent() {
        assert_eq!(ExternalId::try_from("Kunde 7/ä").unwrap().as_str(), "Kunde 7/ä");
        for (text, error) in [
            ("", InvalidText::Empty),
            (" a", InvalidText::Padded),
            ("a\nb", InvalidText::Control),
            ("\u{200b}", InvalidText::Empty),
            (&"x".repeat(256), InvalidText::TooLong(255)),
        ] {
            assert_eq!(ExternalId::try_from(text).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn a_tag_has_a_key_that_a_parameter_can_name() {
        for key in ["plan", "A.b-c_1", "9"] {
            assert!(TagKey::try_from(key).is_ok(), "{key}");
        }
        for key in ["", ".a", "a b", "a=b", "ä", &"a".repeat(64)] {
            assert_eq!(TagKey::try_from(key).err(), Some(InvalidTagKey), "{key}");
        }
    }

    #[test]
    fn tags_are_merged_counted_and_bounded() {
        let tags = |text: &str| serde_json::from_str::<Tags>(text).unwrap();
        let patch = |text: &str| serde_json::from_str(text).unwrap();
        let merged = tags(r#"{"a": "1", "b": "2"}"#).merged(patch(r#"{"a": null, "b": "3", "c": "4"}"#));
        assert_eq!(merged.text(), Ok(Some(r#"{"b":"3","c":"4"}"#.to_owned())));
        assert_eq!(merged.merged(patch(r#"{"b": null, "c": null}"#)).text(), Ok(None));
        let many: Vec<String> = (0..=TAGS_MAX).map(|number| format!("\"t{number}\":\"x\"")).collect();
        assert_eq!(tags(&format!("{{{}}}", many.join(","))).text(), Err(InvalidObject::TooManyTags));
        let long: Vec<String> =
            (0..40).map(|number| format!("\"t{number}\":\"{}\"", "x".repeat(200))).collect();
        assert_eq!(
            tags(&format!("{{{}}}", long.join(","))).text(),
            Err(InvalidObject::TooLong(TAGS_MAX_BYTES))
        );
    }

    #[test]
    fn metadata_is_one_canonical_object() {
        assert_eq!(
            metadata(&raw(r#"{ "b": [1.50, null], "a": {} }"#)).unwrap(),
            r#"{"a":{},"b":[1.5,null]}"#
        );
        for (text, error) in [
            ("[]", InvalidObject::NotAnObject),
            ("1", InvalidObject::NotAnObject),
            (r#"{"a": 9007199254740993}"#, InvalidValue::LossyNumber.into()),
            (
                &format!("{{\"a\": \"{}\"}}", "x".repeat(METADATA_MAX_BYTES)),
                InvalidObject::TooLong(METADATA_MAX_BYTES),
            ),
        ] {
            assert_eq!(metadata(&raw(text)), Err(error), "{text}");
        }
    }

    #[test]
    fn metadata_is_patched_as_rfc_7396_says() {
        let patched = |current, patch: &str| merged_metadata(current, &raw(patch)).unwrap();
        assert_eq!(patched(None, r#"{"a": {"b": 1, "c": null}}"#), r#"{"a":{"b":1}}"#);
        assert_eq!(
            patched(Some(r#"{"a":{"b":1},"d":2}"#), r#"{"a": {"b": null}, "d": [null]}"#),
            r#"{"a":{},"d":[null]}"#
        );
        assert_eq!(patched(Some(r#"{"a":1}"#), r#"{"a": {"b": 1e21}}"#), r#"{"a":{"b":1e+21}}"#);
        assert_eq!(merged_metadata(None, &raw("null")), Err(InvalidObject::NotAnObject));
    }
}
