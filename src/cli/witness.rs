//! `settled log watch-checkpoints`: a witness. It keeps what it saw in a file, away from the server, and holds each further
//! checkpoint against it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::verify::trusted;
use crate::client::api::Api;
use crate::client::error::ClientError;
use crate::clock::{Clock, Timestamp};
use crate::config::value::Span;
use crate::log::segment::tree::Hash;
use crate::private;
use crate::proof::checkpoint::CheckpointError;
use crate::proof::http::Consistency;
use crate::proof::note::VerifierKey;
use crate::proof::witness::{Contradiction, InvalidLine, News, Seen, open_in_any_epoch};

/// `settled log watch-checkpoints`.
///
/// The server is the one that SETTLED_URL names, asked with the key in SETTLED_API_KEY, which needs audit:read.
///
/// It ends with 1 where the server contradicts what it signed before, or refuses to prove it, with 2 where the key is not
/// accepted or the file is none that a witness wrote or can write, and with 3, once, where the server does not answer.
#[derive(Args, Debug)]
pub struct WatchCheckpoints {
    /// The file that what was seen is kept in; made at first. What contradicts it is added to FILE.fork, and while that is
    /// there nothing else is looked at
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

/// What a look came to that did not end well.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The server did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It signed for something and does not prove it.
    #[error(
        "{to} events were signed for, and it is not proved that the first {from} of them are those of before"
    )]
    Unproved {
        from: u64,
        to: u64,
        #[source]
        source: ClientError,
    },
    /// It signed for something, and answers with what proves nothing of it: somebody on the way may have mixed answers up.
    #[error("{to} events were signed for, and what was answered is no proof for the first {from} of them")]
    NoProof { from: u64, to: u64 },
    /// It signed for something, proved it never, and goes on in another epoch, in which nobody can.
    #[error(
        "{size} events were signed for in epoch {after}, which ended; that the first {proved} of them are those of before was \
         never proved"
    )]
    NeverProved { after: String, size: u64, proved: u64 },
    /// What it answered is signed by nobody who is trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It contradicts what was seen.
    #[error(transparent)]
    Fork(#[from] Box<Contradiction>),
    /// It did so before.
    #[error("a contradiction was found earlier: {} has both sides. Show them to others; move it away to go on", .0.display())]
    Evidence(PathBuf),
    /// The file is something else.
    #[error("{} is not a witness's file", path.display())]
    NotSeen {
        path: PathBuf,
        #[source]
        source: InvalidLine,
    },
    /// A file could not be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A contradiction as it is kept, a line of JSON.
#[derive(Serialize)]
struct Evidence<'a> {
    at: Timestamp,
    what: String,
    seen: &'a str,
    shown: &'a str,
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
                Ok(()) => Exit::Fine,
                Err(trouble) => {
                    output::error(&trouble);
                    if let Trouble::Fork(contradiction) = &trouble {
                        self.keep_evidence(contradiction, clock.now());
                    }
                    trouble.exit()
                }
            };
            // A server that is away for a while is asked again; a witness that ends then would miss what comes after.
            if self.once || !matches!(exit, Exit::Fine | Exit::Store) {
                return exit;
            }
            clock.sleep(self.every.duration()).await;
        }
    }

    /// Looks once, and says what is new.
    async fn look(&self, api: &Api, keys: &[VerifierKey]) -> Result<(), Trouble> {
        let evidence = self.evidence();
        if evidence.try_exists().map_err(|source| Trouble::File { path: evidence.clone(), source })? {
            return Err(Trouble::Evidence(evidence));
        }
        let mut seen = self.seen()?;
        if !seen.is_full() {
            let signed = api.get_text("/v1/proof/checkpoint").await?;
            let now = open_in_any_epoch(&signed, keys)?;
            let (origin, size) = (now.origin.clone(), now.size);
            let news = seen.take(&signed, now).map_err(Box::new)?;
            if news != News::Same {
                // Before its proof is asked for: a server that gives none has signed it all the same.
                self.keep(&seen)?;
            }
            match news {
                News::Same | News::Grown => {}
                News::First => output::line(format_args!("{origin}: {size} events from here on")),
                News::Restored { after, size: before, proved } => {
                    output::line(format_args!(
                        "{origin}: an operator restored a snapshot, after epoch {after} with {before} events; {size} events \
                         from here on"
                    ));
                    if proved < before {
                        return Err(Trouble::NeverProved { after, size: before, proved });
                    }
                }
            }
        }
        while let Some((from, to)) = seen.wanted() {
            let path = format!("/v1/proof/consistency?from={from}&to={to}");
            let proof = api.get::<Consistency>(&path).await;
            let proof = proof.map_err(|source| Trouble::Unproved { from, to, source })?;
            let proof = hashes(&proof, from, to).ok_or(Trouble::NoProof { from, to })?;
            seen.prove(&proof).map_err(Box::new)?;
            self.keep(&seen)?;
            output::line(format_args!("{to} events, the first {from} as before"));
        }
        Ok(())
    }

    fn seen(&self) -> Result<Seen, Trouble> {
        let path = self.to.clone();
        match fs::read_to_string(&path) {
            Ok(text) => Seen::parse(&text).map_err(|source| Trouble::NotSeen { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::default()),
            Err(source) => Err(Trouble::File { path, source }),
        }
    }

    /// Whole or not at all: a witness that is killed knows what it knew.
    fn keep(&self, seen: &Seen) -> Result<(), Trouble> {
        private::write(&self.to, seen.to_text().as_bytes())
            .map_err(|source| Trouble::File { path: self.to.clone(), source })
    }

    fn evidence(&self) -> PathBuf {
        beside(&self.to, ".fork")
    }

    fn keep_evidence(&self, contradiction: &Contradiction, at: Timestamp) {
        let Contradiction { fork, seen, shown } = contradiction;
        let line = serde_json::to_string(&Evidence { at, what: fork.to_string(), seen, shown });
        let line = line.expect("times and texts") + "\n";
        let path = self.evidence();
        let kept = private::options().append(true).create(true).open(&path);
        match kept.and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all())) {
            Ok(()) => output::note(format_args!(
                "settled: {} has both sides, and both are signed: show them to others",
                path.display()
            )),
            Err(error) => {
                output::error(&error);
                // Nobody shall miss it for want of a disk.
                output::note(line);
            }
        }
    }
}

impl Trouble {
    /// How the command ends after it.
    fn exit(&self) -> Exit {
        match self {
            Self::Fork(_)
            | Self::Evidence(_)
            | Self::Checkpoint(_)
            | Self::NoProof { .. }
            | Self::NeverProved { .. } => Exit::DoesNotHold,
            Self::NotSeen { .. } | Self::File { .. } => Exit::Usage,
            Self::Client(error) | Self::Unproved { source: error, .. } if error.is_passing() => Exit::Store,
            Self::Client(error) | Self::Unproved { source: error, .. } if is_ours(error) => Exit::Usage,
            Self::Client(_) | Self::Unproved { .. } => Exit::DoesNotHold,
        }
    }
}

/// Whether the server was asked in the wrong way: by another address, or with a key that it does not take.
fn is_ours(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(problem) => [401, 403].contains(&problem.status),
        ClientError::Unreadable { .. } => false,
        _ => true,
    }
}

/// What a proof says, if it is one between these sizes.
fn hashes(proof: &Consistency, from: u64, to: u64) -> Option<Vec<Hash>> {
    let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
    let hashes = proof.proof.iter().map(hash).collect::<Option<_>>()?;
    ((proof.from, proof.to) == (from, to)).then_some(hashes)
}

/// A file's name with an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_proof_between_the_sizes_that_were_asked_about_or_none() {
        let answer = |proof: &[&str]| Consistency {
            from: 1,
            to: 3,
            proof: proof.iter().map(|hash| (*hash).to_owned()).collect(),
        };
        let hash = STANDARD.encode([7; 32]);
        assert_eq!(hashes(&answer(&[&hash]), 1, 3), Some(vec![[7; 32]]));
        assert_eq!(hashes(&answer(&[&hash]), 1, 4), None, "somebody mixed answers up");
        assert_eq!(hashes(&answer(&[&hash]), 2, 3), None);
        assert_eq!(hashes(&answer(&[&hash, "no hash"]), 1, 3), None);
    }
}
