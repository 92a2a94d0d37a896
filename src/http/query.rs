//! Query strings, read strictly: an unknown parameter (a mistyped `as_off` must not answer today), a
//! repeated one that may stand once, and broken percent-encoding are all 422, named by the parameter.

use std::borrow::Cow;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::http::complaint::{Complaint, is_nameable};
use crate::http::headers::min_version;
use crate::http::percent;
use crate::http::problem::Problem;

/// A query without parameters. As a handler's argument it refuses all others.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        RawQuery::from_request_parts(parts, state).await?.parse()
    }
}

/// One parameter, decoded: its name and its value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The query of a request, as sent.
///
/// A handler takes it after what the path names, so that 404 and 403 come before 422. A malformed
/// `Settled-Min-Version`, which any request may have, is refused with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawQuery(String);

impl<S: Sync> FromRequestParts<S> for RawQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        min_version(&parts.headers)?;
        Ok(Self::new(parts.uri.query().unwrap_or_default()))
    }
}

impl RawQuery {
    /// A query string, without `?`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, without `?`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the query as a type whose fields are text, numbers, booleans, types read from text,
    /// `Option`s of these, and `Vec`s for what may be repeated.
    ///
    /// # Errors
    /// 422 with the parameter and a code: `unknown_parameter`, `duplicate_parameter`, `missing`,
    /// `wrong_type`, `unknown_value`, `invalid`, `invalid_encoding`, or a type's own.
    pub fn parse<T: de::DeserializeOwned>(&self) -> Result<T, Problem> {
        T::deserialize(Parameters(group(self.pairs()?))).map_err(Fault::into_problem)
    }

    /// The parameters of these names, and the others.
    pub fn split(&self, names: &[&str]) -> (Self, Self) {
        let (of, others): (Vec<_>, Vec<_>) =
            self.0.split('&').filter(|pair| !pair.is_empty()).partition(|pair| {
                let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
                names.contains(&name)
            });
        (Self(of.join("&")), Self(others.join("&")))
    }

    /// The parameters whose names begin so, each with the rest of its name, and the others.
    ///
    /// # Errors
    /// 422 `invalid_encoding`; `duplicate_parameter` for a name that stands twice.
    pub fn split_prefixed(&self, prefix: &str) -> Result<(Vec<(String, String)>, Self), Problem> {
        let (mut of, mut others) = (Vec::<(String, String)>::new(), Vec::new());
        for pair in self.0.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = decode_pair(pair)?;
            match name.strip_prefix(prefix) {
                None => others.push(pair),
                Some(rest) if of.iter().any(|(known, _)| known == rest) => {
                    return Err(Fault { parameter: Some(repeatable(&name)), kind: FaultKind::Duplicate }
                        .into_problem());
                }
                Some(rest) => of.push((rest.to_owned(), value.into_owned())),
            }
        }
        Ok((of, Self(others.join("&"))))
    }

    /// The parameters in order, decoded.
    ///
    /// # Errors
    /// 422 `invalid_encoding`.
    pub fn pairs(&self) -> Result<Vec<Pair<'_>>, Problem> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(decode_pair).collect()
    }
}

fn decode_pair(pair: &str) -> Result<Pair<'_>, Problem> {
    const MESSAGE: &str = "expected percent-encoded UTF-8";
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = percent::decode_form(name)
        .map_err(|_| Problem::invalid_parameter("", "invalid_encoding", MESSAGE))?;
    match percent::decode_form(value) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(Problem::invalid_parameter(repeatable(&name), "invalid_encoding", MESSAGE)),
    }
}

/// A parameter's name for an answer: empty where it does not look like one.
fn repeatable(name: &str) -> String {
    // `tag.<k>` names a key that the client chose; only the part before the dot is ours.
    let ours = name.split_once('.').map_or(name, |(ours, _)| ours);
    if is_nameable(ours) { ours.to_owned() } else { String::new() }
}

type Group<'a> = (Cow<'a, str>, Vec<Cow<'a, str>>);

fn group(pairs: Vec<Pair<'_>>) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (name, value) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => groups.push((name, vec![value])),
        }
    }
    groups
}

/// Why a query is refused, and at which parameter.
#[derive(Debug)]
struct Fault {
    parameter: Option<String>,
    kind: FaultKind,
}

#[derive(Debug)]
enum FaultKind {
    Unknown,
    Duplicate,
    Text(String),
}

impl Fault {
    fn at(mut self, name: &str) -> Self {
        self.parameter.get_or_insert_with(|| repeatable(name));
        self
    }

    fn into_problem(self) -> Problem {
        let name = self.parameter.unwrap_or_default();
        match self.kind {
            FaultKind::Unknown => {
                Problem::invalid_parameter(name, "unknown_parameter", "there is no such parameter")
            }
            FaultKind::Duplicate => {
                Problem::invalid_parameter(name, "duplicate_parameter", "this parameter may stand once")
            }
            FaultKind::Text(text) => match Complaint::of(&text) {
                Complaint::Unknown(unknown) => Problem::invalid_parameter(
                    repeatable(unknown),
                    "unknown_parameter",
                    "there is no such parameter",
                ),
                Complaint::Missing(missing) => {
                    Problem::invalid_parameter(missing.to_owned(), "missing", "this parameter is required")
                }
                Complaint::Value(code, message) => Problem::invalid_parameter(name, code, message),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the query is not valid")
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self { parameter: None, kind: FaultKind::Text(text.to_string()) }
    }
}

struct Parameters<'a>(Vec<Group<'a>>);

impl<'de> Deserializer<'de> for Parameters<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Fields { rest: self.0.into_iter(), current: None })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Fields<'a> {
    rest: std::vec::IntoIter<Group<'a>>,
    current: Option<Group<'a>>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((name, values)) = self.rest.next() else { return Ok(None) };
        let key =
            seed.deserialize(name.as_ref().into_deserializer()).map_err(|fault: Fault| fault.at(&name))?;
        self.current = Some((name, values));
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, values) = self.current.take().unwrap_or_default();
        seed.deserialize(Values(values)).map_err(|fault| fault.at(&name))
    }
}

/// All values of one parameter.
struct Values<'a>(Vec<Cow<'a, str>>);

impl<'a> Values<'a> {
    fn single(self) -> Result<Single<'a>, Fault> {
        let mut values = self.0.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(Single(value)),
            _ => Err(Fault { parameter: None, kind: FaultKind::Duplicate }),
        }
    }
}

macro_rules! forward_single {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.single()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Fault;

    forward_single! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_map deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Repeated(self.0.into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.single()?.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.single()?.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    /// Only a type that does not deny unknown fields comes here: its omission must not open the door.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault { parameter: None, kind: FaultKind::Unknown })
    }
}

struct Repeated<'a>(std::vec::IntoIter<Cow<'a, str>>);

impl<'de> SeqAccess<'de> for Repeated<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|value| seed.deserialize(Single(value))).transpose()
    }
}

/// One value of a parameter: text, or what its type reads from text.
struct Single<'a>(Cow<'a, str>);

macro_rules! parse_from_text {
    ($($method:ident $visit:ident $type:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.0.parse::<$type>().map_err(|_| Fault {
                parameter: None,
                kind: FaultKind::Text(concat!("wrong type: expected ", $expected).to_owned()),
            })?;
            visitor.$visit(value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Single<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    parse_from_text! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_i64 visit_i64 i64, "an integer";
        deserialize_u8 visit_u8 u8, "an integer from 0 to 255";
        deserialize_u16 visit_u16 u16, "an integer from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a positive integer";
        deserialize_u64 visit_u64 u64, "a positive integer";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::clock::Timestamp;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Filters {
        action: Vec<String>,
        q: Option<String>,
        limit: Option<u16>,
        dry_run: bool,
        outcome: Vec<Outcome>,
        from: Option<Timestamp>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Outcome {
        Success,
        Denied,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Open {
        q: Option<String>,
    }

    fn refused(text: &str) -> (String, String) {
        let problem = RawQuery::new(text).parse::<Filters>().expect_err("a refusal");
        let error = &problem.errors()[0];
        assert!(!error.message.contains("Hunter"), "{}", error.message);
        (error.parameter.clone().expect("a parameter").into_owned(), error.code.to_string())
    }

    #[test]
    fn parameters_are_read_and_repeated_ones_are_or() {
        let query =
            "action=a.*&action=b&q=gr%C3%BCn+1&limit=5&dry_run=true&outcome=denied&from=2026-01-01T00:00:00Z";
        let filters: Filters = RawQuery::new(query).parse().expect("valid");
        assert_eq!(filters.action, ["a.*", "b"]);
        assert_eq!((filters.q.as_deref(), filters.limit, filters.dry_run), (Some("grün 1"), Some(5), true));
        assert_eq!(filters.outcome, [Outcome::Denied]);
        assert!(filters.from.is_some());
        assert_eq!(RawQuery::new("").parse::<Filters>().ok(), Some(Filters::default()));
    }

    #[test]
    fn each_fault_is_named_by_its_parameter() {
        let cases = [
            ("as_off=1", "as_off", "unknown_parameter"),
            ("Hunter2=1", "", "unknown_parameter"),
            ("q=a&q=b", "q", "duplicate_parameter"),
            ("limit=Hunter", "limit", "wrong_type"),
            ("limit=70000", "limit", "wrong_type"),
            ("limit=", "limit", "wrong_type"),
            ("dry_run=yes", "dry_run", "wrong_type"),
            ("outcome=Hunter", "outcome", "unknown_value"),
            ("from=Hunter", "from", "invalid"),
            ("q=%zz", "q", "invalid_encoding"),
            ("q=%FF", "q", "invalid_encoding"),
            ("%FF=1", "", "invalid_encoding"),
        ];
        for (text, parameter, code) in cases {
            assert_eq!(refused(text), (parameter.to_owned(), code.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_type_that_forgets_to_deny_unknown_fields_denies_them_all_the_same() {
        assert!(RawQuery::new("as_off=1").parse::<Open>().is_err());
        assert_eq!(RawQuery::new("q=1").parse::<Open>().ok().and_then(|open| open.q).as_deref(), Some("1"));
    }
}
