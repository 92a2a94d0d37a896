//! Canonical JSON (RFC 8785): one text for one value, the same in every language; and the leaf hash over it.
//!
//! Nothing here knows what a record is: it takes any JSON value.

use std::cmp::Ordering;

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The RFC 8785 form of a value.
///
/// Names are sorted by their UTF-16 code units, explicitly: the order in which a map hands them out depends
/// on features that another crate may have turned on.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::with_capacity(512);
    write_value(value, &mut text);
    text
}

/// The RFC 6962 leaf hash of a record: SHA-256(0x00 ‖ canonical JSON).
pub fn leaf_hash(json: &Value) -> [u8; 32] {
    leaf_of(&canonical_json(json))
}

/// The leaf hash of a record that is canonical JSON already.
pub fn leaf_of(text: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(text.as_bytes());
    hasher.finalize().into()
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(number, text),
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort_by(|a, b| compare_names(a, b));
            text.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write_value(&map[name], text);
            }
            text.push('}');
        }
    }
}

/// RFC 8785 section 3.2.3: names stand in the order of their UTF-16 code units.
pub fn compare_names(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// RFC 8785 section 3.2.2.2: only `"`, `\` and the controls are escaped, these in lower-case hexadecimal
/// where they have no letter.
pub fn write_string(string: &str, text: &mut String) {
    text.push('"');
    if is_plain(string) {
        text.push_str(string);
    } else {
        escape(string, text);
    }
    text.push('"');
}

/// Whether nothing of a string is escaped. It looks at every byte, so that the compiler takes many at a time: most strings are
/// short, and few of them hold what is.
fn is_plain(string: &str) -> bool {
    string.bytes().fold(true, |plain, byte| plain & (byte >= 0x20) & (byte != b'"') & (byte != b'\\'))
}

fn escape(string: &str, text: &mut String) {
    let mut copied = 0;
    for (index, byte) in string.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            0x00..=0x1f => "",
            _ => continue,
        };
        text.push_str(&string[copied..index]);
        if escape.is_empty() {
            text.push_str(&format!("\\u{byte:04x}"));
        } else {
            text.push_str(escape);
        }
        copied = index + 1;
    }
    text.push_str(&string[copied..]);
}

/// Integers beyond 2^53 are outside what the RFC covers and keep all of their digits; records never hold one.
fn write_number(number: &Number, text: &mut String) {
    if number.is_u64() || number.is_i64() {
        text.push_str(&number.to_string());
        return;
    }
    text.push_str(&ecmascript(number.as_f64().unwrap_or(0.0)));
}

/// RFC 8785 section 3.2.2.3: a finite double as ECMAScript writes it (ECMA-262 §6.1.6.1.20). Rust's own shortest
/// digits will not do: of two equally close it takes the greater, ECMAScript the even one.
pub fn ecmascript(double: f64) -> String {
    ryu_js::Buffer::new().format_finite(double).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn the_numbers_of_rfc_8785_appendix_b_are_printed_as_it_says() {
        let vectors: &[(u64, &str)] = &[
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, expected) in vectors {
            assert_eq!(&canonical_json(&json!(f64::from_bits(*bits))), expected);
        }
    }

    #[test]
    fn the_structured_examples_of_rfc_8785_come_out_as_it_says() {
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
                "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        assert_eq!(
            canonical_json(&value),
            concat!(
                r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
                r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
            )
        );

        let value: Value = serde_json::from_str(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
                "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
                "\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        )
        .unwrap();
        let text = canonical_json(&value);
        let places: Vec<usize> = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"]
            .iter()
            .map(|word| text.find(word).expect("every value is in the text"))
            .collect();
        assert!(places.is_sorted(), "{text}");
    }

    /// What a record can hold: ASCII names, no null, no fractions.
    fn record_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[ -~]{0,8}", inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// serde_json's own writer over sorted maps: for records, an independent implementation of RFC 8785.
    fn sorted(value: &Value) -> serde_json::Result<String> {
        match value {
            Value::Array(items) => {
                let items: Result<Vec<String>, _> = items.iter().map(sorted).collect();
                Ok(format!("[{}]", items?.join(",")))
            }
            Value::Object(map) => {
                let map: BTreeMap<&String, &Value> = map.iter().collect();
                let entries: Result<Vec<String>, _> = map
                    .into_iter()
                    .map(|(name, value)| Ok(format!("{}:{}", serde_json::to_string(name)?, sorted(value)?)))
                    .collect();
                Ok(format!("{{{}}}", entries?.join(",")))
            }
            leaf => serde_json::to_string(leaf),
        }
    }

    proptest! {
        #[test]
        fn records_come_out_as_serde_json_writes_them_sorted(value in record_value()) {
            let text = canonical_json(&value);
            prop_assert_eq!(&text, &sorted(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }

        #[test]
        fn numbers_read_back_as_the_same_double(bits in any::<u64>()) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let text = canonical_json(&json!(double));
            prop_assert_eq!(text.parse::<f64>().unwrap(), double);
        }
    }
}
