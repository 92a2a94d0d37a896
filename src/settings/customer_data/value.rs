//! Keys of documents, checked.

use serde::Serialize;

use crate::text::{checked_text, shown_text};

/// The longest key, in characters.
pub const DATA_KEY_MAX_CHARS: usize = 128;
/// The longest canonical text of a document, in bytes.
pub const DOCUMENT_MAX_BYTES: usize = 256 << 10;

/// The key of a document: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`. It is recorded sealed alone, for people name them after people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DataKeyName(String);

/// The text is no key of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [A-Za-z0-9][A-Za-z0-9_.-]{{0,127}}")]
pub struct InvalidDataKey;

impl TryFrom<&str> for DataKeyName {
    type Error = InvalidDataKey;

    fn try_from(text: &str) -> Result<Self, InvalidDataKey> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && text.len() <= DATA_KEY_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDataKey)
        }
    }
}

checked_text!(DataKeyName, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$");
shown_text!(DataKeyName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_plain_name() {
        for key in ["profile", "A.b-c_1", "9", &"a".repeat(128)] {
            assert!(DataKeyName::try_from(key).is_ok(), "{key}");
        }
        for key in ["", ".a", "-a", "a b", "a/b", "ada@example.com", "ä", &"a".repeat(129)] {
            assert_eq!(DataKeyName::try_from(key), Err(InvalidDataKey), "{key}");
        }
    }
}
