//! Strict JSON (RFC 8259 in UTF-8): no duplicate keys anywhere, no nesting beyond 64, nothing after the value.
//!
//! This decides only whether a text is such JSON; types read it with serde_json afterwards, which keeps the
//! last of two equal keys, accepts a depth of 128 and lets a skipped string hold half a surrogate pair.

use std::borrow::Cow;

/// The deepest nesting of arrays and objects.
pub const DEEPEST: usize = 64;

/// Why a text is not strict JSON. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStrict {
    /// Not JSON.
    #[error("the body is not valid JSON")]
    Syntax,
    /// Something follows the value.
    #[error("the body holds more than one JSON value")]
    Trailing,
    /// Two equal keys in one object.
    #[error("an object has the same key twice")]
    DuplicateKey,
    /// Nested deeper than [`DEEPEST`].
    #[error("arrays and objects are nested more than 64 deep")]
    TooDeep,
}

/// Checks that `text` is one strict JSON value.
///
/// # Errors
/// The first fault, from the left.
pub fn check(text: &str) -> Result<(), NotStrict> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0)?;
    scanner.space();
    if scanner.at == text.len() { Ok(()) } else { Err(NotStrict::Trailing) }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotStrict> {
        if self.take(byte) { Ok(()) } else { Err(NotStrict::Syntax) }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), NotStrict> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(NotStrict::Syntax),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), NotStrict> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(NotStrict::Syntax)
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), NotStrict> {
        if depth > DEEPEST {
            return Err(NotStrict::TooDeep);
        }
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        let mut keys = Vec::new();
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(NotStrict::Syntax);
            }
            keys.push(self.string()?);
            self.space();
            self.expect(b':')?;
            self.value(depth)?;
            self.space();
            if !self.take(b',') {
                break;
            }
        }
        self.expect(b'}')?;
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(NotStrict::DuplicateKey) } else { Ok(()) }
    }

    fn array(&mut self, depth: usize) -> Result<(), NotStrict> {
        if depth > DEEPEST {
            return Err(NotStrict::TooDeep);
        }
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if !self.take(b',') {
                break;
            }
        }
        self.expect(b']')
    }

    /// Leaves the scanner behind the closing quote and gives the string decoded: equal keys may be
    /// escaped differently.
    fn string(&mut self) -> Result<Cow<'a, str>, NotStrict> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(NotStrict::Syntax),
            }
        }
        self.at += 1;
        if escaped {
            let quoted = self.text.get(start..self.at).ok_or(NotStrict::Syntax)?;
            serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| NotStrict::Syntax)
        } else {
            Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]))
        }
    }

    fn number(&mut self) -> Result<(), NotStrict> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotStrict> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotStrict::Syntax) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_accepted() {
        for text in [
            "null",
            " true ",
            "-0.5e+10",
            "1e999",
            r#""a\u00e9\ud83d\ude00\n""#,
            "[]",
            "{}",
            "[1, [2], {}]",
            r#"{"a": 1, "b": {"a": 2}}"#,
            "\t[\n0\r]",
            r#""\\""#,
            r#"["ä"]"#,
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "+1",
            ".5",
            "1.",
            "1e",
            "-",
            "nul",
            "'a'",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\u{1}\"",
            "[1 2]",
            "{\"a\" 1}",
            "NaN",
            "\u{feff}1",
            "//\n1",
            "\"\\",
            "\"\\ä\"",
            "{1:2}",
            "\"\n\"",
        ] {
            assert_eq!(check(text), Err(NotStrict::Syntax), "{text}");
        }
    }

    #[test]
    fn what_follows_the_value_is_refused() {
        for text in ["1 2", "{}{}", "null,", "[]]", "truefalse", "01"] {
            assert_eq!(check(text), Err(NotStrict::Trailing), "{text}");
        }
    }

    #[test]
    fn equal_keys_are_refused_at_any_depth_and_in_any_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":0,"\u0061":1}"#, r#"[{"x":{"k":1,"k":null}}]"#] {
            assert_eq!(check(text), Err(NotStrict::DuplicateKey), "{text}");
        }
    }

    #[test]
    fn the_depth_is_bounded() {
        assert_eq!(check(&("[".repeat(64) + &"]".repeat(64))), Ok(()));
        assert_eq!(check(&("[".repeat(65) + &"]".repeat(65))), Err(NotStrict::TooDeep));
        assert_eq!(check(&"{\"a\":".repeat(1_000_000)), Err(NotStrict::TooDeep));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_serde_json_can_read(text in r#"[\[\]{}",:0-9eE.+\-a\\u ntrfls]{0,24}"#) {
            let read = serde_json::from_str::<serde_json::Value>(&text);
            let overflow = read.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            match check(&text) {
                Ok(()) => prop_assert!(read.is_ok() || overflow),
                Err(NotStrict::DuplicateKey) => prop_assert!(read.is_ok() || overflow),
                Err(_) => prop_assert!(read.is_err()),
            }
        }
    }
}
