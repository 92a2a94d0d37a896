//! What a file of secrets says: names with values, and what can be wrong with it. No value and nothing that may be one is
//! in an error.

use std::collections::BTreeMap;

use crate::seal::Plain;
use crate::settings::environments::value::{ConfigKey, InvalidConfigKey};
use crate::settings::secrets::value::{InvalidSecretValue, SecretValue};

/// Secrets by name.
#[derive(Default)]
pub struct Entries(BTreeMap<String, SecretValue>);

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {wrong}")]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A line is neither an entry nor a comment.
    #[error("expected NAME=value")]
    NoEntry,
    /// There are blanks around `=`.
    #[error("no blanks are allowed around =; a value that begins with one must be quoted")]
    Blanks,
    /// The name is none.
    #[error("a name {0}")]
    Name(#[from] InvalidConfigKey),
    /// The value is none.
    #[error("the value is {0}")]
    Value(#[from] InvalidSecretValue),
    /// A value without quotes has a character that programs read differently.
    #[error("a value with {0} must be quoted: '…' takes it as it stands")]
    Unquoted(char),
    /// A quote is never closed.
    #[error("the quote that begins here is never closed")]
    Unclosed,
    /// A backslash in double quotes stands before something that it does not change.
    #[error("in double quotes only \\n \\r \\t \\\" \\\\ \\$ and \\` are written with a backslash")]
    Escape,
    /// Something that others expand.
    #[error("nothing is expanded: write \\{0}, or use single quotes")]
    Expanded(char),
    /// A value has ended, and the line goes on.
    #[error("something follows the value; one with blanks must be quoted")]
    Trailing,
    /// The name was set before.
    #[error("{0} is set twice")]
    Twice(ConfigKey),
    /// The file is no JSON at all.
    #[error("not valid JSON")]
    NotJson,
    /// It is, but of another form.
    #[error("expected one object of text, {{\"NAME\": \"value\"}}")]
    NotText,
}

impl Entries {
    /// Adds one.
    ///
    /// # Errors
    /// When name or value are none, or the name was set before.
    pub fn add(&mut self, name: &str, value: Plain) -> Result<(), Wrong> {
        let name = ConfigKey::try_from(name)?;
        match self.0.insert(name.to_string(), SecretValue::try_from(value)?) {
            Some(_) => Err(Wrong::Twice(name)),
            None => Ok(()),
        }
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plain)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.plain()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
