//! From the text of a deserializer's error to a code and a message that hold nothing of the input.
//!
//! serde's own texts quote the input (`invalid type: string "hunter2", expected u64`); of those only what
//! was expected is kept. The text of a type of ours is kept whole: it must be a constant. Where it has the
//! form `some words: a sentence`, the words are the code (`too long: at most 100 characters` has the code
//! `too_long`); else the code is `invalid`.

use std::borrow::Cow;

/// What a deserializer's error text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint<'a> {
    /// A field that is not known. The name is the client's.
    Unknown(&'a str),
    /// A field that is needed. The name is ours.
    Missing(&'a str),
    /// A value that is not right, with code and message.
    Value(Cow<'static, str>, String),
}

impl<'a> Complaint<'a> {
    /// Reads an error's text, without serde_json's ` at line … column …`.
    pub fn of(text: &'a str) -> Self {
        if let Some(name) = quoted(text, "unknown field `") {
            return Self::Unknown(name);
        }
        if let Some(name) = quoted(text, "missing field `") {
            return Self::Missing(name);
        }
        let serdes = |code: &'static str| {
            // The last one: what precedes it may quote the input, and that may hold these very words.
            match text.rfind(", expected ").map(|at| &text[at + 2..]) {
                None => Self::Value(code.into(), "not valid".to_owned()),
                // serde names the type, which is ours and no client's business.
                Some(expected) if expected.contains(" struct ") => {
                    Self::Value("wrong_type".into(), "expected an object".to_owned())
                }
                Some("expected a map") => Self::Value(code.into(), "expected an object".to_owned()),
                Some("expected a sequence") => Self::Value(code.into(), "expected an array".to_owned()),
                Some(expected) => Self::Value(code.into(), expected.to_owned()),
            }
        };
        if text.starts_with("invalid type: ") {
            return serdes("wrong_type");
        }
        if text.starts_with("unknown variant `") {
            return serdes("unknown_value");
        }
        if text.starts_with("invalid value: ") || text.starts_with("invalid length ") {
            return serdes("invalid");
        }
        if text.starts_with("number out of range") {
            return Self::Value("invalid".into(), "a number out of range".into());
        }
        match text.split_once(": ").filter(|(words, _)| is_code(words)) {
            Some((words, sentence)) => Self::Value(words.replace(' ', "_").into(), sentence.to_owned()),
            None => Self::Value("invalid".into(), text.to_owned()),
        }
    }
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(before)?;
    // The last backtick before what serde adds: a name of the client's may hold one.
    let end =
        rest.rfind("`, expected ").or_else(|| rest.rfind("`, there are no ")).or_else(|| rest.rfind('`'))?;
    Some(&rest[..end])
}

fn is_code(words: &str) -> bool {
    (1..=4).contains(&words.split(' ').count())
        && words.split(' ').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Whether a name that a client chose may stand in an answer: it looks like a field's name, such as a
/// mistyped one, and not like a value that slipped into the place of a key.
pub fn is_nameable(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_texts_lose_what_they_quote() {
        let cases = [
            (r#"invalid type: string "hunter2", expected u64"#, "wrong_type", "expected u64"),
            (
                r#"invalid type: string "a, expected b", expected a boolean"#,
                "wrong_type",
                "expected a boolean",
            ),
            (
                "unknown variant `hunter2`, expected `test` or `live`",
                "unknown_value",
                "expected `test` or `live`",
            ),
            ("invalid value: integer `300`, expected u8", "invalid", "expected u8"),
            ("number out of range", "invalid", "a number out of range"),
        ];
        for (text, code, message) in cases {
            assert_eq!(Complaint::of(text), Complaint::Value(code.into(), message.into()));
        }
    }

    #[test]
    fn a_types_own_text_gives_code_and_message() {
        assert_eq!(
            Complaint::of("too long: at most 100 characters"),
            Complaint::Value("too_long".into(), "at most 100 characters".into())
        );
        assert_eq!(
            Complaint::of("expected an id that begins with `usr_`"),
            Complaint::Value("invalid".into(), "expected an id that begins with `usr_`".into())
        );
    }

    #[test]
    fn fields_are_named_whatever_they_hold() {
        assert_eq!(Complaint::of("missing field `name`"), Complaint::Missing("name"));
        assert_eq!(Complaint::of("unknown field `a`b`, expected `c`"), Complaint::Unknown("a`b"));
        assert_eq!(Complaint::of("unknown field `a`, there are no fields"), Complaint::Unknown("a"));
    }

    #[test]
    fn only_what_looks_like_a_fields_name_is_repeated() {
        assert!(is_nameable("emial") && is_nameable("as_off"));
        assert!(
            !is_nameable("Hunter-2")
                && !is_nameable("")
                && !is_nameable("a b")
                && !is_nameable(&"a".repeat(33))
        );
    }
}
