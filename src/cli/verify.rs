//! `settled verify`: checking a bundle without a server and without a store, from a key that somebody trusts.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::causes::with_causes;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::proof::note::{VerifierKey, read_keys};
use crate::proof::verify::{Verified, VerifyError, verify};

/// `settled verify`.
///
/// Needs nothing but the bundle and a key that you got over a way that you trust. Ends with 1 where anything was altered,
/// removed, added or moved, and says which event.
#[derive(Args, Debug)]
pub struct Verify {
    /// The bundle, as /v1/proof/bundle answered it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The verifier key that you trust, or a file with one a line, as /v1/proof/keys answers them
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is printed with `--json` where nothing can be believed.
#[derive(serde::Serialize)]
struct Refused {
    holds: bool,
    error: String,
}

/// How much of a file of keys is read.
const KEYS_MAX_BYTES: u64 = 1 << 20;

/// How many faults are printed for people; beyond, that there are more.
const SHOWN_MAX: usize = 100;

impl Verify {
    /// Runs it.
    pub fn run(&self) -> Exit {
        let Some(keys) = trusted(&self.key) else { return Exit::Usage };
        let file = File::open(&self.file).map_err(VerifyError::Read);
        match file.and_then(|file| verify(&mut BufReader::new(file), &keys)) {
            Ok(verified) => self.print(&verified),
            Err(VerifyError::Read(error)) => {
                output::note(format_args!("settled: {} cannot be read: {error}", self.file.display()));
                Exit::Usage
            }
            Err(error) if self.json => {
                output::json(&Refused { holds: false, error: with_causes(&error) });
                Exit::DoesNotHold
            }
            Err(error) => {
                output::error(&error);
                Exit::DoesNotHold
            }
        }
    }

    fn print(&self, verified: &Verified) -> Exit {
        let exit = if verified.holds { Exit::Fine } else { Exit::DoesNotHold };
        if self.json {
            output::json(verified);
            return exit;
        }
        let Verified { origin, size, root, from, to, faults, .. } = verified;
        if verified.holds {
            output::line(format_args!(
                "Events {from} to {to} of {origin} are as recorded: {} of the {size} events under the root {root}.",
                to - from + 1
            ));
        }
        for fault in faults.iter().take(SHOWN_MAX) {
            output::line(fault);
        }
        if !verified.holds {
            let more = if faults.len() > SHOWN_MAX { ", and more" } else { "" };
            output::line(format_args!(
                "This is not what {origin} recorded. Faults in events {from} to {to}: {}{more}.",
                faults.len()
            ));
        }
        exit
    }
}

/// The keys that an argument means: a verifier key, or a file of them. Where it means none, it is said why.
pub fn trusted(argument: &str) -> Option<Vec<VerifierKey>> {
    read(argument).inspect_err(|message| output::note(format_args!("settled: {message}"))).ok()
}

fn read(argument: &str) -> Result<Vec<VerifierKey>, String> {
    if let Ok(key) = argument.parse() {
        return Ok(vec![key]);
    }
    let path = Path::new(argument);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEYS_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| format!("{argument} is neither a verifier key nor a file with some: {error}"))?;
    let keys = read_keys(&text).map_err(|(line, error)| format!("{argument}, line {line}: {error}"))?;
    if keys.is_empty() { Err(format!("{argument} has no verifier key")) } else { Ok(keys) }
}
