//! The values of OAuth apps, checked: providers, client ids and secrets, scopes.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::seal::Plain;
use crate::text::{checked_text, shown_text};

/// The longest name of a provider, in characters.
pub const PROVIDER_MAX_CHARS: usize = 63;
/// The longest client id, in characters.
pub const CLIENT_ID_MAX_CHARS: usize = 512;
/// The longest client secret, in bytes.
pub const CLIENT_SECRET_MAX_BYTES: usize = 4 << 10;
/// The longest scope, in characters.
pub const SCOPE_MAX_CHARS: usize = 256;
/// The most scopes of an app.
pub const SCOPES_MAX: usize = 100;

/// A provider's name in the API: `[a-z][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ProviderName(String);

/// The text names no provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [a-z][a-z0-9-]{{0,62}}")]
pub struct InvalidProviderName;

impl TryFrom<&str> for ProviderName {
    type Error = InvalidProviderName;

    fn try_from(text: &str) -> Result<Self, InvalidProviderName> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if first && rest && text.len() <= PROVIDER_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidProviderName)
        }
    }
}

checked_text!(ProviderName, min_length = 1, max_length = PROVIDER_MAX_CHARS);
shown_text!(ProviderName);

/// An app's id at its provider: visible ASCII (RFC 6749 appendix A.1, without spaces).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClientId(String);

/// The text is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {CLIENT_ID_MAX_CHARS} characters of visible ASCII")]
pub struct InvalidClientId;

impl TryFrom<&str> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: &str) -> Result<Self, InvalidClientId> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = (1..=CLIENT_ID_MAX_CHARS).contains(&text.len());
        if visible && fits { Ok(Self(text.to_owned())) } else { Err(InvalidClientId) }
    }
}

checked_text!(ClientId, min_length = 1, max_length = CLIENT_ID_MAX_CHARS);
shown_text!(ClientId);

/// One scope: visible ASCII but `"`, `\` (RFC 6749 §3.3) and the comma, which parts scopes at some providers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Scope(String);

/// The text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have 1 to {SCOPE_MAX_CHARS} characters of visible ASCII without quotation marks, backslashes and commas"
)]
pub struct InvalidScope;

impl TryFrom<&str> for Scope {
    type Error = InvalidScope;

    fn try_from(text: &str) -> Result<Self, InvalidScope> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b','));
        let fits = (1..=SCOPE_MAX_CHARS).contains(&text.len());
        if plain && fits { Ok(Self(text.to_owned())) } else { Err(InvalidScope) }
    }
}

checked_text!(Scope, min_length = 1, max_length = SCOPE_MAX_CHARS);
shown_text!(Scope);

/// Scopes in the order in which they were given, each once, at most [`SCOPES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// The scopes as text.
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut scopes: Vec<Scope> = Vec::new();
        for scope in Vec::<Scope>::deserialize(deserializer)? {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.len() > SCOPES_MAX {
            return Err(serde::de::Error::custom(format!("too long: must have at most {SCOPES_MAX} scopes")));
        }
        Ok(Self(scopes))
    }
}

impl PartialSchema for Scopes {
    fn schema() -> RefOr<Schema> {
        utoipa::openapi::ArrayBuilder::new().items(Scope::schema()).max_items(Some(SCOPES_MAX)).into()
    }
}

impl ToSchema for Scopes {}

/// A client secret: text of 1 byte to 4 KiB, wiped when dropped and shown by nothing.
pub struct ClientSecret(Plain);

/// The text is no client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClientSecret {
    /// It is empty.
    #[error("too short: must not be empty")]
    Empty,
    /// It is longer than [`CLIENT_SECRET_MAX_BYTES`].
    #[error("too long: must have at most {CLIENT_SECRET_MAX_BYTES} bytes")]
    TooLong,
    /// It has characters that no provider gives out (RFC 6749 appendix A.2).
    #[error("must hold printable ASCII alone")]
    NotPrintable,
}

impl TryFrom<Plain> for ClientSecret {
    type Error = InvalidClientSecret;

    fn try_from(plain: Plain) -> Result<Self, InvalidClientSecret> {
        let bytes = plain.as_bytes();
        match bytes.len() {
            0 => Err(InvalidClientSecret::Empty),
            1..=CLIENT_SECRET_MAX_BYTES => {
                let printable = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
                if printable { Ok(Self(plain)) } else { Err(InvalidClientSecret::NotPrintable) }
            }
            _ => Err(InvalidClientSecret::TooLong),
        }
    }
}

impl ClientSecret {
    /// The text.
    pub fn plain(&self) -> &Plain {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Plain::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for ClientSecret {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(CLIENT_SECRET_MAX_BYTES))
            .write_only(true)
            .into()
    }
}

impl ToSchema for ClientSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_a_client_id_and_a_scope_are_plain() {
        assert!(ProviderName::try_from("hugging-face").is_ok());
        for text in ["", "GitHub", "1a", "-a", "a b", &"a".repeat(64)] {
            assert!(ProviderName::try_from(text).is_err(), "{text}");
        }
        assert!(ClientId::try_from("123.apps.example.com").is_ok());
        for text in ["", "a b", "a\n", "é", &"a".repeat(513)] {
            assert!(ClientId::try_from(text).is_err(), "{text}");
        }
        assert!(Scope::try_from("https://www.example.com/auth/drive.readonly").is_ok());
        for text in ["", "a b", "a,b", "a\"b", "a\\b", "é", &"a".repeat(257)] {
            assert!(Scope::try_from(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scopes_are_each_once_and_not_too_many() {
        let read = |json: &str| serde_json::from_str::<Scopes>(json).map(|scopes| scopes.to_texts()).ok();
        assert_eq!(read(r#"["b", "a", "b"]"#), Some(vec!["b".to_owned(), "a".to_owned()]));
        let many: Vec<String> = (0..=SCOPES_MAX).map(|number| format!("s{number}")).collect();
        assert_eq!(read(&serde_json::to_string(&many).unwrap()), None);
        assert!(read(&serde_json::to_string(&many[1..]).unwrap()).is_some());
    }

    #[test]
    fn a_client_secret_is_printable_and_bounded() {
        let checked = |text: &str| ClientSecret::try_from(Plain::from(text)).map(|_| ());
        assert_eq!(checked(""), Err(InvalidClientSecret::Empty));
        assert_eq!(checked("a secret"), Ok(()));
        assert_eq!(checked("a\nsecret"), Err(InvalidClientSecret::NotPrintable));
        assert_eq!(checked(&"x".repeat(4_097)), Err(InvalidClientSecret::TooLong));
    }
}
