//! `settled secrets import`: what a file holds becomes an environment's secrets, by one request and one append.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::secrets::entries::{Entries, Fault};
use crate::cli::secrets::{Format, ask, dotenv, json};
use crate::http::percent::encode;
use crate::seal::Plain;

/// The longest file: its secrets go into one request.
const FILE_MAX_BYTES: usize = 1 << 20;

/// `settled secrets import`.
///
/// Dotenv is read strictly: NAME=value, NAME='value' or NAME="value" with \n \r \t \" \\ \$ and \`, and whatever
/// programs read differently is refused, with its line.
#[derive(Args, Debug)]
pub struct Import {
    /// The file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The environment, by slug or id
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// The file's form [default: json for a name that ends in .json, else dotenv]
    #[arg(long)]
    format: Option<Format>,
    /// Give secrets that are there already a new version; without this they are a conflict, and nothing is written
    #[arg(long)]
    overwrite: bool,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A file that is not imported.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{file} could not be read")]
    Unreadable {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{file} is longer than {FILE_MAX_BYTES} bytes; import it in parts")]
    TooLong { file: String },
    #[error("{file} is not UTF-8")]
    NotText { file: String },
    #[error("{file}:{fault}")]
    Wrong { file: String, fault: Fault },
    #[error("{file} holds no secret")]
    Empty { file: String },
}

/// What the server is asked for.
#[derive(Serialize)]
struct Request<'a> {
    overwrite: bool,
    dry_run: bool,
    secrets: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> From<(&'a str, &'a Plain)> for Written<'a> {
    fn from((name, value): (&'a str, &'a Plain)) -> Self {
        // What was read from text is text.
        Self { name, value: value.as_str().unwrap_or_default() }
    }
}

/// What came of it, as the server answers.
#[derive(Debug, Serialize, Deserialize)]
struct Imported {
    version: u64,
    secrets: Vec<ImportedSecret>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ImportedSecret {
    name: String,
    action: String,
    value_version: u64,
}

impl Import {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let entries = match self.read() {
            Ok(entries) => entries,
            Err(error) => {
                output::error(&error);
                return Exit::Usage;
            }
        };
        let path = format!("/v1/environments/{}/secrets/import", encode(&self.environment));
        let body = self.body(&entries);
        match ask(async |api| api.post(&path, body).await) {
            Ok(imported) => self.print(&imported),
            Err(exit) => exit,
        }
    }

    fn read(&self) -> Result<Entries, FileError> {
        let file = self.file.display().to_string();
        // All of it fits: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES + 2));
        let most = FILE_MAX_BYTES as u64 + 1;
        let read = match &*self.file {
            file if file == Path::new("-") => io::stdin().take(most).read_to_end(&mut bytes),
            file => File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
        };
        match read {
            Err(source) => return Err(FileError::Unreadable { file, source }),
            Ok(length) if length > FILE_MAX_BYTES => return Err(FileError::TooLong { file }),
            Ok(_) => {}
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Err(FileError::NotText { file }) };
        let parsed = match self.form() {
            Format::Dotenv => dotenv::parse(text),
            Format::Json => json::parse(text),
        };
        match parsed {
            Ok(entries) if entries.is_empty() => Err(FileError::Empty { file }),
            Ok(entries) => Ok(entries),
            Err(fault) => Err(FileError::Wrong { file, fault }),
        }
    }

    fn form(&self) -> Format {
        let is_json = self.file.extension().is_some_and(|extension| extension == "json");
        self.format.unwrap_or(if is_json { Format::Json } else { Format::Dotenv })
    }

    /// The request, in memory that is wiped.
    fn body(&self, entries: &Entries) -> Zeroizing<Vec<u8>> {
        let Self { overwrite, dry_run, .. } = *self;
        // A character takes at most six, escaped: room for all of it, for growing would leave copies behind.
        let room: usize =
            entries.iter().map(|(name, value)| name.len() + 6 * value.as_bytes().len() + 32).sum();
        let mut body = Zeroizing::new(Vec::with_capacity(room + 64));
        let secrets = entries.iter().map(Written::from).collect();
        serde_json::to_writer(&mut *body, &Request { overwrite, dry_run, secrets })
            .expect("a request is plain data, and memory takes it");
        body
    }

    fn print(&self, imported: &Imported) -> Exit {
        if self.json {
            output::json(imported);
            return Exit::Fine;
        }
        let rows = imported.secrets.iter();
        let rows = rows
            .map(|secret| vec![secret.action.clone(), secret.name.clone(), secret.value_version.to_string()]);
        output::table(&["ACTION", "NAME", "VERSION"], rows);
        let done = if self.dry_run { "would be written" } else { "were written" };
        output::line(format_args!("{} secrets {done}", imported.secrets.len()));
        Exit::Fine
    }
}
