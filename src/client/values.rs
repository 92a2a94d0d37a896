//! [`Values`]: what a workflow reads, as a value that is cheap to clone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::seal::Plain;

/// Configuration, secrets and connections of an environment, as the server told them at once. Secrets and what connections
/// are used with are wiped from memory with the last clone.
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
    /// Absent where the server is older than they are.
    #[serde(default)]
    connections: BTreeMap<String, Connection>,
}

/// Access to somebody's account elsewhere.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    kind: String,
    access_token: Option<Plain>,
    expires_at: Option<Timestamp>,
    token: Option<Plain>,
    username: Option<Plain>,
    password: Option<Plain>,
}

impl Connection {
    /// What it is: `oauth`, `token`, `basic`, or what a later server adds.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What is sent as a bearer token: a provider's access token, or a token that somebody set.
    pub fn token(&self) -> Option<&Plain> {
        self.access_token.as_ref().or(self.token.as_ref())
    }

    /// When the access token ends, of one of kind `oauth` whose provider says so. The server has another one before; where
    /// this has passed, the provider has handed out none since.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The name and the password, of one of kind `basic`.
    pub fn basic(&self) -> Option<(&Plain, &Plain)> {
        self.username.as_ref().zip(self.password.as_ref())
    }
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

    /// The connection of this name, if it can be used.
    pub fn connection(&self, name: &str) -> Option<&Connection> {
        self.content.connections.get(name)
    }

    /// Every connection that can be used, by name.
    pub fn connections(&self) -> impl Iterator<Item = (&str, &Connection)> {
        self.content.connections.iter().map(|(name, connection)| (name.as_str(), connection))
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
    fn a_connection_has_what_its_kind_is_used_with() {
        let values = Values::told(
            r#"{"version": "v1", "config": {}, "secrets": {}, "connections": {
            "crm": {"kind": "oauth", "access_token": "a", "expires_at": "2026-11-30T19:46:35.680776Z"},
            "for_ever": {"kind": "oauth", "access_token": "b", "expires_at": null},
            "billing": {"kind": "token", "token": "c"}, "later": {"kind": "mtls", "certificate": "d"},
            "legacy": {"kind": "basic", "username": "e", "password": "f\u00e9"}}}"#,
        );
        let told = |name| {
            let connection = values.connection(name)?;
            let text = |plain: &Plain| plain.as_str().unwrap().to_owned();
            let basic = connection.basic().map(|(name, password)| (text(name), text(password)));
            Some((connection.kind().to_owned(), connection.token().map(text), basic))
        };
        let token = |kind: &str, token: &str| Some((kind.to_owned(), Some(token.to_owned()), None));
        assert_eq!(told("crm"), token("oauth", "a"));
        assert_eq!(told("for_ever"), token("oauth", "b"));
        assert_eq!(told("billing"), token("token", "c"));
        let basic = Some(("e".to_owned(), "f\u{e9}".to_owned()));
        assert_eq!(told("legacy"), Some(("basic".to_owned(), None, basic)));
        assert_eq!(told("later"), Some(("mtls".to_owned(), None, None)));
        assert_eq!(told("nowhere"), None);
        assert_eq!(values.connections().count(), 5);
        let ends = values.connection("crm").unwrap().expires_at().unwrap();
        assert_eq!(ends.to_string(), "2026-11-30T19:46:35.680776Z");
        assert_eq!(values.connection("for_ever").unwrap().expires_at(), None);
        let shown = format!("{:?}", values.connection("billing"));
        assert!(shown.contains("token") && !shown.contains("\"c\""), "{shown}");
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
