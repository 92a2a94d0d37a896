//! The values of environments, checked: slugs and the names of configuration values.

use serde::Serialize;

use crate::text::{checked_text, shown_text};

/// The longest slug, in characters: a DNS label.
pub const SLUG_MAX_CHARS: usize = 63;
/// The longest name of a configuration value, in characters.
pub const CONFIG_KEY_MAX_CHARS: usize = 128;

/// An environment's short name in URLs and programs: `[a-z][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Slug(String);

/// The name of a configuration value or a secret: `[A-Z][A-Z0-9_]{0,127}`, so that it can be an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ConfigKey(String);

/// The text is no slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [a-z][a-z0-9-]{{0,62}}")]
pub struct InvalidSlug;

/// The text is no name of a configuration value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [A-Z][A-Z0-9_]{{0,127}}")]
pub struct InvalidConfigKey;

impl TryFrom<&str> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: &str) -> Result<Self, InvalidSlug> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if first && rest && text.len() <= SLUG_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSlug)
        }
    }
}

impl Slug {
    /// A slug made from a name: its letters and digits, other runs as one hyphen; `None` if nothing is left
    /// that a slug can begin with.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in name.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_lowercase() || (c.is_ascii_digit() && !slug.is_empty()) {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == SLUG_MAX_CHARS {
                break;
            }
        }
        Self::try_from(slug.trim_end_matches('-')).ok()
    }
}

impl TryFrom<&str> for ConfigKey {
    type Error = InvalidConfigKey;

    fn try_from(text: &str) -> Result<Self, InvalidConfigKey> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        let rest =
            text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if first && rest && text.len() <= CONFIG_KEY_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidConfigKey)
        }
    }
}

checked_text!(Slug, pattern = "^[a-z][a-z0-9-]{0,62}$");
shown_text!(Slug);
checked_text!(ConfigKey, pattern = "^[A-Z][A-Z0-9_]{0,127}$");
shown_text!(ConfigKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_from_a_name() {
        assert_eq!(Slug::from_name("Production (EU 1)").unwrap().as_str(), "production-eu-1");
        assert_eq!(Slug::from_name("2nd stage").unwrap().as_str(), "nd-stage");
        assert_eq!(Slug::from_name("日本"), None);
        assert_eq!(Slug::from_name(&"x".repeat(100)).unwrap().as_str().len(), 63);
    }

    #[test]
    fn names_of_values_can_be_environment_variables() {
        assert!(ConfigKey::try_from("API_URL_2").is_ok());
        for text in ["", "api", "2X", "A-B", "A B", "É", &"A".repeat(129)] {
            assert_eq!(ConfigKey::try_from(text), Err(InvalidConfigKey), "{text}");
        }
    }
}
