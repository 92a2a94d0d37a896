//! Percent-encoding (RFC 3986 §2.1), read strictly: `%` needs two hexadecimal digits, the bytes are UTF-8.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text has a `%` without two hexadecimal digits, or its bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected percent-encoded UTF-8")]
pub struct Malformed;

/// Decodes one component.
///
/// # Errors
/// [`Malformed`].
pub fn decode(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = bytes.next().and_then(hex).ok_or(Malformed)?;
            let low = bytes.next().and_then(hex).ok_or(Malformed)?;
            decoded.push(high << 4 | low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| Malformed)
}

/// Decodes one key or value of a query string, where `+` is a space (as HTML forms send it).
///
/// # Errors
/// [`Malformed`].
pub fn decode_form(text: &str) -> Result<Cow<'_, str>, Malformed> {
    if !text.contains('+') {
        return decode(text);
    }
    let spaced = text.replace('+', " ");
    decode(&spaced).map(|decoded| Cow::Owned(decoded.into_owned()))
}

/// Encodes one component: all but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    encoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_and_plain_text_are_decoded() {
        assert_eq!(decode("gr%C3%BCn%20100%25").as_deref(), Ok("grün 100%"));
        assert_eq!(decode("a+b").as_deref(), Ok("a+b"));
        assert_eq!(decode_form("a+b%2Bc").as_deref(), Ok("a b+c"));
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        assert_eq!(encode("env_01kc-A.~"), "env_01kc-A.~");
        assert_eq!(encode("grün 100%&a=b/+"), "gr%C3%BCn%20100%25%26a%3Db%2F%2B");
        assert_eq!(decode_form(&encode("grün 100%&a=b/+")).as_deref(), Ok("grün 100%&a=b/+"));
    }

    #[test]
    fn half_an_escape_and_broken_utf8_are_refused() {
        for text in ["%", "%4", "%zz", "%+1", "a%C3", "%FF"] {
            assert_eq!(decode(text), Err(Malformed), "{text}");
        }
    }
}
