//! [`Values`]: what a workflow reads, as a value that is cheap to clone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::seal::Plain;

/// Configuration and secrets of an environment, as the server told them at once. Secrets are wiped from memory with
/// the last clone.
#[derive(Clone)]
pub struct Values {
    content: Arc<Content>,
    unconfirmed: Option<Duration>,
}

/// The server's answer. What a later server adds to it is left out.
#[derive(Deserialize)]
pub(super) struct Content {
    version: String,
    config: BTreeMap<String, Box<RawValue>>,
    secrets: BTreeMap<String, Plain>,
}

/// One secret, read alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Secret {
    /// Its value.
    pub value: Plain,
    /// Which of its versions that is.
    pub value_version: u64,
}

impl Values {
    pub(super) fn new(content: Arc<Content>, unconfirmed: Option<Duration>) -> Self {
        Self { content, unconfirmed }
    }

    /// Those of an answer.
    #[cfg(test)]
    pub(crate) fn told(answer: &str) -> Self {
        Self::new(Arc::new(serde_json::from_str(answer).unwrap()), None)
    }

    /// The secret of this name.
    pub fn secret(&self, name: &str) -> Option<&Plain> {
        self.content.secrets.get(name)
    }

    /// Every secret, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Plain)> {
        self.content.secrets.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The configuration value of this name, as a type of the caller's.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn config<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, serde_json::Error> {
        self.content.config.get(name).map(|value| serde_json::from_str(value.get())).transpose()
    }

    /// Every configuration value, by name: text as it is, all else as its JSON.
    pub fn config_texts(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.content.config.iter().map(|(name, value)| (name.as_str(), text(value)))
    }

    /// What changes when any of the values does, and else stays.
    pub fn version(&self) -> &str {
        &self.content.version
    }

    /// Where the server could not be asked, and these are the last that it told: how long ago it last said that they
    /// are so.
    pub fn unconfirmed_for(&self) -> Option<Duration> {
        self.unconfirmed
    }
}

fn text(value: &RawValue) -> Cow<'_, str> {
    serde_json::from_str(value.get()).unwrap_or(Cow::Borrowed(value.get()))
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({})", self.content.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values::told(
            r#"{"environment": "production", "version": "v1", "later": {},
            "config": {"URL": "https://a\n", "LIMIT": 1e+21, "ON": true, "LIST": ["a"], "QUOTED": "7"},
            "secrets": {"KEY": "hunter2", "LINES": "a\nb"}}"#,
        )
    }

    #[test]
    fn text_is_told_as_it_is_and_all_else_as_its_json() {
        let values = values();
        let texts: Vec<_> = values.config_texts().collect();
        let expected = [
            ("LIMIT", "1e+21"),
            ("LIST", "[\"a\"]"),
            ("ON", "true"),
            ("QUOTED", "7"),
            ("URL", "https://a\n"),
        ];
        assert_eq!(texts, expected.map(|(name, text)| (name, text.into())));
    }

    #[test]
    fn a_value_is_read_as_a_type_of_the_callers() {
        let values = values();
        assert_eq!(values.config::<bool>("ON").unwrap(), Some(true));
        assert_eq!(values.config::<Vec<&str>>("LIST").unwrap(), Some(vec!["a"]));
        assert_eq!(values.config::<bool>("NOWHERE").unwrap(), None);
        assert!(values.config::<bool>("URL").is_err());
        assert_eq!(values.secret("LINES").unwrap().as_str(), Ok("a\nb"));
        assert_eq!(values.secret("URL"), None);
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?}", values());
        assert_eq!(shown, "Values(v1)");
        let secret: Secret =
            serde_json::from_str(r#"{"name": "K", "value": "hunter2", "value_version": 3}"#).unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
