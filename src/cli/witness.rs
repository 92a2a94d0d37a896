//! `settled log watch-checkpoints`: a witness. It keeps the last checkpoint that it saw in a file, away from the server, and
//! holds each further one against it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::verify::trusted;
use crate::client::api::Api;
use crate::client::error::ClientError;
use crate::clock::Clock;
use crate::config::value::Span;
use crate::log::segment::tree::Hash;
use crate::private;
use crate::proof::checkpoint::{Checkpoint, CheckpointError};
use crate::proof::http::Consistency;
use crate::proof::note::VerifierKey;
use crate::proof::witness::{Fork, Step, open_in_any_epoch, prove, step};

/// `settled log watch-checkpoints`.
///
/// The server is the one that SETTLED_URL names, asked with the key in SETTLED_API_KEY, which needs audit:read.
#[derive(Args, Debug)]
pub struct WatchCheckpoints {
    /// The file that the last good checkpoint is kept in; made at first
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The verifier key that you trust, or a file with one a line; in every epoch of its organization
    #[arg(long, value_name = "KEY")]
    key: String,
    /// How long to wait before asking again
    #[arg(long, value_name = "TIME", default_value = "1m")]
    every: Span,
    /// Ask once and end
    #[arg(long)]
    once: bool,
}

/// What a look came to that found no new checkpoint to keep.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The server did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it answered is signed by nobody who is trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It contradicts what was seen; the checkpoint that shows it.
    #[error("{0}")]
    Fork(Fork, String),
    /// The file could not be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl WatchCheckpoints {
    /// Runs it: to the first fork, or once.
    pub fn run(&self) -> Exit {
        let Some(keys) = trusted(&self.key) else { return Exit::Usage };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                output::error(&error);
                return Exit::Store;
            }
        };
        match Api::from_env() {
            Ok(api) => runtime.block_on(self.watch(&api, &keys)),
            Err(error) => {
                output::error(&error);
                Exit::Usage
            }
        }
    }

    async fn watch(&self, api: &Api, keys: &[VerifierKey]) -> Exit {
        let clock = Clock::system();
        loop {
            let exit = match self.look(api, keys).await {
                Ok(said) => {
                    said.iter().for_each(output::line);
                    Exit::Fine
                }
                Err(trouble) => {
                    output::error(&trouble);
                    self.exit(&trouble)
                }
            };
            // A server that is away for a while is asked again; a witness that ends then would miss what comes after.
            if self.once || !matches!(exit, Exit::Fine | Exit::Store) {
                return exit;
            }
            clock.sleep(self.every.duration()).await;
        }
    }

    /// How the command ends after trouble, which leaves the last good checkpoint where it is.
    fn exit(&self, trouble: &Trouble) -> Exit {
        match trouble {
            Trouble::Fork(_, signed) => {
                let evidence = beside(&self.to, ".fork");
                match private::write(&evidence, signed.as_bytes()) {
                    Ok(()) => output::note(format_args!(
                        "settled: {} and {} contradict each other, and both are signed: show them to others",
                        self.to.display(),
                        evidence.display()
                    )),
                    Err(error) => output::error(&error),
                }
                Exit::DoesNotHold
            }
            Trouble::Checkpoint(_) => Exit::DoesNotHold,
            Trouble::Client(ClientError::Refused(_)) if !trouble.is_passing() => Exit::DoesNotHold,
            Trouble::Client(_) => Exit::Store,
            Trouble::File { .. } => Exit::Usage,
        }
    }

    /// Looks once: what is new, in words.
    async fn look(&self, api: &Api, keys: &[VerifierKey]) -> Result<Option<String>, Trouble> {
        let signed = api.get_text("/v1/proof/checkpoint").await?;
        let now = open_in_any_epoch(&signed, keys)?;
        let Some(kept) = self.kept()? else {
            self.keep(&signed)?;
            return Ok(Some(format!("{}: {} events from here on", now.origin, now.size)));
        };
        let fork = |fork| Trouble::Fork(fork, signed.clone());
        let said = match step(&kept, &now).map_err(fork)? {
            Step::Same => return Ok(None),
            Step::Grown => {
                let path = format!("/v1/proof/consistency?from={}&to={}", kept.size, now.size);
                let proof = hashes(&api.get::<Consistency>(&path).await?);
                prove(&kept, &now, &proof.unwrap_or_default()).map_err(fork)?;
                format!("{}: {} events, the first {} as before", now.origin, now.size, kept.size)
            }
            Step::Restored => format!(
                "{}: an operator restored a snapshot, after epoch {} with {} events; {} events from here on",
                now.origin,
                kept.origin.epoch(),
                kept.size,
                now.size
            ),
        };
        self.keep(&signed)?;
        Ok(Some(said))
    }

    fn kept(&self) -> Result<Option<Checkpoint>, Trouble> {
        match fs::read_to_string(&self.to) {
            Ok(signed) => Ok(Some(Checkpoint::unverified(&signed)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Trouble::File { path: self.to.clone(), source }),
        }
    }

    /// Whole or not at all: a witness that is killed knows what it knew.
    fn keep(&self, signed: &str) -> Result<(), Trouble> {
        private::write(&self.to, signed.as_bytes())
            .map_err(|source| Trouble::File { path: self.to.clone(), source })
    }
}

impl Trouble {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_passing())
    }
}

fn hashes(proof: &Consistency) -> Option<Vec<Hash>> {
    let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
    proof.proof.iter().map(hash).collect()
}

/// A file's name with an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}
