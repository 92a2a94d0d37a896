//! Canonical JSON (RFC 8785) of what a user wrote as JSON, such as a configuration value.
//!
//! A value is kept as this text and never as numbers, so it must survive the doubles of every language:
//! numbers that would change are refused, not rounded. That is why it is read here and not as a value, which would
//! make doubles of numbers first, and then what was written is gone. How strings and numbers are written and names
//! sorted is that of records (`log/canonical.rs`).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::log::canonical::{compare_names, ecmascript, write_string};

/// The longest canonical text of a configuration value, in bytes.
pub const LONGEST_CONFIG_VALUE: usize = 64 * 1024;

/// The greatest integer up to which every integer is a double of its own: 2^53.
const GREATEST_INTEGER: f64 = 9_007_199_254_740_992.0;

/// A JSON text that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not one JSON value with distinct keys.
    #[error("invalid json: expected one JSON value with distinct keys")]
    Syntax,
    /// Null: absence is said by deleting.
    #[error("null value: a value is any JSON but null; delete it instead")]
    Null,
    /// Longer than it may be.
    #[error("too long: at most {kib} KiB of JSON")]
    TooLong {
        /// How long it may be, in KiB.
        kib: usize,
    },
    /// A number that a double cannot hold as written.
    #[error("lossy number: a number changes when read as a double; write it as a string")]
    LossyNumber,
}

impl InvalidValue {
    /// The code of a problem that names it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "invalid_json",
            Self::Null => "null_value",
            Self::TooLong { .. } => "too_long",
            Self::LossyNumber => "lossy_number",
        }
    }
}

/// The canonical text of a configuration value: any JSON but null.
///
/// # Errors
/// As [`value`], of more than 64 KiB.
pub fn config_value(raw: &str) -> Result<String, InvalidValue> {
    value(raw, LONGEST_CONFIG_VALUE)
}

/// The canonical text of a value of at most so many bytes: any JSON but null.
///
/// # Errors
/// Null at the top, too many bytes, an integer beyond 2^53, a number whose decimal value would change.
pub fn value(raw: &str, max_bytes: usize) -> Result<String, InvalidValue> {
    let too_long = Err(InvalidValue::TooLong { kib: max_bytes >> 10 });
    if raw.trim_ascii() == "null" {
        return Err(InvalidValue::Null);
    }
    // Spaces are not part of the value, but ten times its limit in spaces is not a value either.
    if raw.len() > 10 * max_bytes {
        return too_long;
    }
    let text = canonical(raw)?;
    if text.len() > max_bytes { too_long } else { Ok(text) }
}

/// The canonical text of one JSON value.
///
/// # Errors
/// [`InvalidValue::Syntax`] and [`InvalidValue::LossyNumber`].
pub fn canonical(raw: &str) -> Result<String, InvalidValue> {
    let mut text = String::with_capacity(raw.len());
    let value: &RawValue = serde_json::from_str(raw).map_err(|_| InvalidValue::Syntax)?;
    write(value.get(), &mut text)?;
    Ok(text)
}

fn write(raw: &str, out: &mut String) -> Result<(), InvalidValue> {
    let syntax = |_| InvalidValue::Syntax;
    match raw.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(raw).map_err(syntax)?;
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(&key.0, out);
                out.push(':');
                write(value.get(), out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(syntax)?;
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item.get(), out)?;
            }
            out.push(']');
        }
        Some(b'"') => write_string(&serde_json::from_str::<String>(raw).map_err(syntax)?, out),
        Some(b'-' | b'0'..=b'9') => write_number(raw, out)?,
        _ => out.push_str(raw),
    }
    Ok(())
}

fn write_number(raw: &str, out: &mut String) -> Result<(), InvalidValue> {
    let value: f64 = raw.parse().map_err(|_| InvalidValue::Syntax)?;
    if !value.is_finite() {
        return Err(InvalidValue::LossyNumber);
    }
    let text = ecmascript(value);
    // By the canonical form, so that what is shown can be written again.
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if (is_integer && value.abs() > GREATEST_INTEGER) || decimal(&text) != decimal(raw) {
        return Err(InvalidValue::LossyNumber);
    }
    out.push_str(&text);
    Ok(())
}

/// The decimal value of a JSON number: sign, digits without outer zeros, and the exponent of the last one.
/// `None` for an exponent beyond any double.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::new(), 0));
    }
    let exponent = exponent.parse::<i64>().ok()?;
    let shift =
        i64::try_from(significant.len() - trimmed.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    Some((negative, trimmed.to_owned(), exponent.checked_add(shift)?))
}

/// A key in RFC 8785's order.
#[derive(PartialEq, Eq)]
struct Key(String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_names(&self.0, &other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Members<'a>(BTreeMap<Key, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.insert(Key(key), value).is_some() {
                        return Err(serde::de::Error::custom("the same key twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_8785_section_3_2_is_reproduced() {
        let raw = r#"{
            "numbers": [333333333.33333325, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            canonical(raw).as_deref(),
            Ok(concat!(
                r#"{"literals":[null,true,false],"numbers":[333333333.33333325,1e+30,4.5,0.002,1e-27],"#,
                r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
            ))
        );
    }

    #[test]
    fn keys_stand_in_the_order_of_utf16() {
        let raw =
            "{\"\u{20ac}\":1,\"\\r\":2,\"\u{fb33}\":3,\"1\":4,\"\u{1f600}\":5,\"\u{80}\":6,\"\u{f6}\":7}";
        assert_eq!(
            canonical(raw).as_deref(),
            Ok("{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}")
        );
    }

    #[test]
    fn numbers_that_a_double_would_change_are_refused() {
        for raw in [
            "9007199254740993",
            "-9007199254740993",
            "9007199254740994",
            "1e16",
            "100000000000000000000",
            "1e400",
            "-1e400",
            "1e-400",
            "0.10000000000000000555",
            "333333333.33333329",
            "[{\"a\":1e999}]",
            "1e99999999999999999999",
            "123456789012345678.5",
        ] {
            assert_eq!(config_value(raw), Err(InvalidValue::LossyNumber), "{raw}");
        }
    }

    #[test]
    fn other_numbers_keep_their_decimal_value() {
        for (raw, text) in [
            ("9007199254740992", "9007199254740992"),
            ("0.1", "0.1"),
            ("1.10", "1.1"),
            ("-0", "0"),
            ("0.0e5", "0"),
            ("100e-2", "1"),
            ("1e21", "1e+21"),
            ("5e-324", "5e-324"),
            ("0e99999999999999999999", "0"),
        ] {
            assert_eq!(config_value(raw).as_deref(), Ok(text), "{raw}");
        }
    }

    #[test]
    fn null_is_refused_only_at_the_top() {
        assert_eq!(config_value(" null "), Err(InvalidValue::Null));
        assert_eq!(config_value("[null]").as_deref(), Ok("[null]"));
    }

    #[test]
    fn the_length_is_that_of_the_canonical_text() {
        let longest = format!("\"{}\"", "a".repeat(LONGEST_CONFIG_VALUE - 2));
        assert!(config_value(&format!("  {longest}")).is_ok());
        assert_eq!(config_value(&format!("[{longest}]")), Err(InvalidValue::TooLong { kib: 64 }));
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for raw in ["", "1 2", "{\"a\":1,\"\\u0061\":2}", "{", "[1,]", "\"\\ud800\""] {
            assert_eq!(config_value(raw), Err(InvalidValue::Syntax), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn canonical_text_is_its_own_canonical_text(value in -1e15f64..1e15, scale in -300i32..280) {
            let number = value * 10f64.powi(scale);
            if let Ok(text) = config_value(&format!("[{number:e},{{\"b\":1,\"a\":\"x\"}}]")) {
                let again = config_value(&text);
                prop_assert_eq!(again.as_deref(), Ok(text.as_str()));
            }
        }
    }
}
