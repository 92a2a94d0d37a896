//! `settled.toml`: its values take the place of a command's defaults, checked by the parsers of the flags.
//!
//! Nothing here knows an option: what there is, and what it takes, stands in the table of `config/mod.rs`.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};
use toml::Spanned;

/// The file that is read where no other is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "settled.toml";

/// A configuration file, read but not yet checked against a command's options.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    text: String,
    entries: Vec<(Spanned<String>, Spanned<toml::Value>)>,
}

impl File {
    /// The file that a parsed command line asks for; without a word about it, `settled.toml` in `folder`.
    ///
    /// # Errors
    /// When it was asked for and is not there, cannot be read, or is not TOML.
    pub fn find(matches: &ArgMatches, folder: &Path) -> Result<Option<Self>, ConfigError> {
        if let Some(path) = matches.get_one::<PathBuf>("config") {
            return Self::read(path).map(Some);
        }
        let path = folder.join(DEFAULT_FILE);
        if path.exists() { Self::read(&path).map(Some) } else { Ok(None) }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not TOML.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let entries = toml::from_str::<BTreeMap<_, _>>(&text)
            .map_err(|source| ConfigError::NotToml { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), text, entries: entries.into_iter().collect() })
    }

    /// The command with the file's values in place of its defaults.
    ///
    /// # Errors
    /// When a key is no option of the command, or a value is not one that its option takes.
    pub fn under(&self, mut command: Command) -> Result<Command, ConfigError> {
        for (key, value) in &self.entries {
            let Some(id) = command.get_arguments().find(|arg| is_option(arg, key.get_ref())).map(Arg::get_id)
            else {
                return Err(self.unknown_key(key, &command));
            };
            let id = id.clone();
            let texts = texts(value.get_ref()).ok_or_else(|| self.invalid(key, value.span(), KINDS))?;
            let with_file = command.mut_arg(&id, |arg| arg.default_values(texts.clone()));
            check(&with_file, &id, &texts).map_err(|why| self.invalid(key, value.span(), &why))?;
            command = with_file;
        }
        Ok(command)
    }

    fn unknown_key(&self, key: &Spanned<String>, command: &Command) -> ConfigError {
        let names = command.get_arguments().filter(|arg| arg.get_id() != "config").filter_map(Arg::get_long);
        let nearest = names
            .map(|name| (distance(name, key.get_ref()), name))
            .filter(|(distance, name)| *distance <= name.len() / 2)
            .min_by_key(|(distance, _)| *distance);
        ConfigError::UnknownKey {
            path: self.path.clone(),
            line: self.line(key.span()),
            key: key.get_ref().clone(),
            nearest: nearest.map(|(_, name)| name.to_owned()),
        }
    }

    fn invalid(&self, key: &Spanned<String>, place: Range<usize>, why: &str) -> ConfigError {
        ConfigError::InvalidValue {
            path: self.path.clone(),
            line: self.line(place),
            key: key.get_ref().clone(),
            why: why.to_owned(),
        }
    }

    fn line(&self, place: Range<usize>) -> usize {
        1 + self.text.bytes().take(place.start).filter(|byte| *byte == b'\n').count()
    }
}

/// A file cannot name another file.
fn is_option(arg: &Arg, key: &str) -> bool {
    arg.get_id() != "config" && arg.get_long() == Some(key)
}

const KINDS: &str = "must be text, a whole number, true or false, or a list of text";

/// A value as it would be written on the command line; a list is several.
fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(truth) => Some(vec![truth.to_string()]),
        toml::Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Whether the option takes these values, by the very parser of its flag.
fn check(command: &Command, id: &clap::Id, texts: &[String]) -> Result<(), String> {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id) else { return Ok(()) };
    // Alone and without its environment variable, so that a refusal is of the file's value.
    let alone = Command::new("settled").no_binary_name(true).arg(arg.clone().env(Resettable::Reset));
    let name = arg.get_long().unwrap_or_default();
    let flags = texts.iter().map(|text| format!("--{name}={text}"));
    alone.try_get_matches_from(flags).map(drop).map_err(|error| reason(&error))
}

/// What clap has to say about a value, without the flag's name and the advice to ask for help.
fn reason(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::ArgumentConflict {
        return "takes one value".to_owned();
    }
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
        && !valid.is_empty()
    {
        return format!("must be one of {}", valid.join(", "));
    }
    match error.source() {
        Some(source) => format!("is refused: {source}"),
        None => "is refused".to_owned(),
    }
}

/// The number of characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Options that were refused. Says what to mend, and never repeats a value from the environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag or environment variable was refused.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The file could not be read.
    #[error("the configuration file {} could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not a configuration file: {source}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// The file has a key that is no option.
    #[error("{}, line {line}: `{key}` is not an option{}", path.display(), did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        key: String,
        /// The option with the most similar name.
        nearest: Option<String>,
    },
    /// The file has a value that its option does not take.
    #[error("{}, line {line}: `{key}` {why}", path.display())]
    InvalidValue {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The option.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
    /// One source names two places for the root key.
    #[error("give one of root-key-file, root-key-env and root-key-command, not several")]
    SeveralRootKeys,
    /// The mail server's URL is none. It is not quoted: it may hold a password.
    #[error("smtp-url is refused: {0}")]
    SmtpUrl(&'static str),
    /// Mail is to go two ways.
    #[error("give one of smtp-url and mail-dir, not both")]
    SeveralMails,
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
