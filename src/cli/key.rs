//! `settled key`: root keys made, and keys rotated, through a running server or on the directory itself.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::actor::Actor;
use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::cli::target::{Target, failed};
use crate::cli::{older_keys, output, socket};
use crate::clock::Clock;
use crate::config::RootKeySource;
use crate::ids::StreamId;
use crate::open::{OpenDir, read_root_key};
use crate::seal::root::{RootKey, RootKeyError};
use crate::store::rotation::{RootRotated, StreamRotated};
use crate::store::signing::SigningKeyRotated;

/// Longer than the body that a root key is sent in: growing would leave a piece of the key in freed memory.
const BODY_BYTES_MAX: usize = 256;

/// `settled key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a new root key, in a new file that only its owner can read, or on standard output
    Generate(Generate),
    /// Go over to another root key, a new key of one organization, or a new signing key, while the server runs or on the directory itself
    ///
    /// With a new root key, every organization's key is wrapped by the new root key; what is sealed stays as it is. When the command is
    /// over, the old root key opens nothing any more, and the next start needs the new one: name it by --root-key-file,
    /// --root-key-env or --root-key-command, or put it where the old one was. Until then either of the two will do, also
    /// after a crash, and a server that is started with either finishes what was begun.
    ///
    /// In a file: `settled key generate --output new.key`, then `settled key rotate --new-root-key-file new.key`, then
    /// put new.key in the old one's place. In a variable or behind a command: put the new key where it will be read from
    /// at the next start, and name that by --new-root-key-env or --new-root-key-command; it is read here, by this command.
    ///
    /// Keep the old root key as long as you keep copies of the data folder that were made before.
    ///
    /// With --stream, the organization's own key is replaced, and all keys of its secrets and people are wrapped by the new
    /// one. Then nothing can open what lies about on the disk of those that were destroyed; the server does this by itself
    /// an hour after something was destroyed. Stores that a restore left in the data folder lose that key.
    ///
    /// With --signing-key, checkpoints are signed by a new key from now on. Those signed before stay good: auditors find
    /// all keys under /v1/proof/keys, and are to be told of the new one.
    Rotate(Rotate),
}

/// `settled key generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// The file to make, which must not exist; without it the key goes to standard output, for a secret manager to take
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object about the file
    #[arg(long, requires = "output")]
    json: bool,
}

/// `settled key rotate`.
#[derive(Args, Debug)]
pub struct Rotate {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    root_key: RootKeyOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is rotated: the root key, to the one that is there, a stream's key, or the signing key.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// Read the new root key from this file
    #[arg(long, value_name = "FILE")]
    new_root_key_file: Option<PathBuf>,
    /// Read the new root key from the environment variable of this name
    #[arg(long, value_name = "NAME")]
    new_root_key_env: Option<String>,
    /// Read the new root key from the output of this command, run without a shell
    #[arg(long, value_name = "COMMAND")]
    new_root_key_command: Option<String>,
    /// Replace the key of this stream: an organization's id, or `platform`
    #[arg(long, visible_alias = "organization")]
    stream: Option<StreamId>,
    /// Replace the key that checkpoints are signed with
    #[arg(long)]
    signing_key: bool,
}

/// A root key that was made, without the key.
#[derive(Serialize)]
struct Generated {
    file: PathBuf,
    fingerprint: String,
}

impl Key {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self {
            Self::Generate(generate) => generate.run(),
            Self::Rotate(rotate) => rotate.run(),
        }
    }
}

impl Generate {
    fn run(&self) -> Exit {
        let Some(file) = &self.output else {
            let key = RootKey::random();
            output::line(key.text().trim_end());
            output::note(format_args!("made the root key {}", key.fingerprint()));
            return Exit::Fine;
        };
        match RootKey::create(file) {
            Err(error @ RootKeyError::Exists { .. }) => {
                output::error(&error);
                Exit::Usage
            }
            Err(error) => failed(&error),
            Ok(key) => {
                let (file, fingerprint) = (file.clone(), key.fingerprint().to_string());
                if self.json {
                    output::json(&Generated { file, fingerprint });
                } else {
                    output::line(format_args!("made the root key {fingerprint} in {}", file.display()));
                }
                Exit::Fine
            }
        }
    }
}

impl Rotate {
    fn run(&self) -> Exit {
        // First: a key that is not to be had is no reason to open anything.
        let wanted = match self.what.read() {
            Ok(wanted) => wanted,
            Err(error) => return failed(&error),
        };
        let (body, is_of_stream) = (wanted.body(), matches!(wanted, Wanted::Stream(_)));
        let mut problem = None;
        let ask = |socket: &Path| {
            let spinner = output::waiting("the server wraps keys anew");
            let answer = socket::post(socket, "/v1/operator/keys/rotate", body);
            if is_of_stream && answer.is_ok() {
                problem = older_keys::problem(socket);
            }
            spinner.finish_and_clear();
            answer
        };
        let rotated = match self.target.have_done(ask, |opened| self.rotate(opened, wanted)) {
            Ok(rotated) => rotated,
            Err(exit) => return exit,
        };
        let exit = self.print(&rotated);
        if let Some(problem) = problem {
            output::note(format_args!("WARNING: {problem}"));
        }
        exit
    }

    fn rotate(&self, opened: &OpenDir, wanted: Wanted) -> Result<Rotated, Box<dyn Error>> {
        let store = self.root_key.open_store(opened, Clock::system(), None)?;
        store.resume_clock();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let rotated = runtime.block_on(async {
            match wanted {
                Wanted::Root(new) => store.rotate_root_key(new).await.map(Rotated::Root),
                Wanted::Stream(stream) => {
                    store.rotate_stream_key(stream, Actor::OPERATOR).await.map(Rotated::Stream)
                }
                Wanted::SigningKey => {
                    return Ok(Rotated::SigningKey(store.rotate_signing_key(Actor::OPERATOR).await?));
                }
            }
            .map_err(Box::<dyn Error>::from)
        });
        store.stop();
        rotated
    }

    fn print(&self, rotated: &Rotated) -> Exit {
        if self.json {
            output::json(rotated);
            return Exit::Fine;
        }
        match rotated {
            Rotated::Root(RootRotated { from, to, key_files }) => {
                output::line(format_args!(
                    "{key_files} keys are wrapped by the root key {to} now, and none by {from}."
                ));
                output::line(format_args!(
                    "The next start needs {to}, which is {}: configure that, or put the key where the old one was.",
                    self.what.place()
                ));
            }
            Rotated::Stream(StreamRotated { stream, generation, through, data_keys, beside }) => {
                output::line(format_args!(
                    "{data_keys} keys of {stream} are wrapped by generation {generation} of its key now, and none by \
                     an older one."
                ));
                output::line(format_args!(
                    "What was destroyed up to version {through} cannot be opened by anything on this disk any more."
                ));
                if *beside > 0 {
                    output::line(format_args!(
                        "{beside} keys of it were overwritten in stores that are not in use, which open nothing of it now."
                    ));
                }
            }
            Rotated::SigningKey(SigningKeyRotated { from, to }) => {
                output::line(format_args!("The signing key is {to} from now on."));
                if let Some(from) = from {
                    output::line(format_args!(
                        "What {from} signed stays good, and it signs nothing any more."
                    ));
                }
            }
        }
        Exit::Fine
    }
}

impl What {
    fn read(&self) -> Result<Wanted, RootKeyError> {
        match self.stream {
            Some(stream) => Ok(Wanted::Stream(stream)),
            None if self.signing_key => Ok(Wanted::SigningKey),
            None => read_root_key(&self.source()).map(Wanted::Root),
        }
    }

    fn source(&self) -> RootKeySource {
        match (&self.new_root_key_file, &self.new_root_key_env, &self.new_root_key_command) {
            (_, Some(name), _) => RootKeySource::Environment(name.clone()),
            (_, _, Some(command)) => RootKeySource::Command(command.clone()),
            (file, None, None) => RootKeySource::File(file.clone().unwrap_or_default()),
        }
    }

    /// Where it is, in words; of a command not even its name, since its arguments may hold a secret.
    fn place(&self) -> String {
        match self.source() {
            RootKeySource::MadeAtFirstStart(file) | RootKeySource::File(file) => {
                format!("in {}", file.display())
            }
            RootKeySource::Environment(name) => format!("in the variable {name}"),
            RootKeySource::Command(_) => "what the command prints".to_owned(),
        }
    }
}

/// What is rotated, with the new root key read.
enum Wanted {
    Root(RootKey),
    Stream(StreamId),
    SigningKey,
}

impl Wanted {
    /// As the route takes it. Neither has anything that JSON would escape.
    fn body(&self) -> Zeroizing<String> {
        let (name, value) = match self {
            Self::Root(new) => ("new_root_key", new.text()),
            Self::Stream(stream) => ("stream", Zeroizing::new(stream.to_string())),
            Self::SigningKey => return Zeroizing::new("{\"signing_key\":true}".to_owned()),
        };
        let mut body = Zeroizing::new(String::with_capacity(BODY_BYTES_MAX));
        for part in ["{\"", name, "\":\"", value.trim_end(), "\"}"] {
            body.push_str(part);
        }
        body
    }
}

/// What it came to, as a server answers it and as it is printed.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Rotated {
    Root(RootRotated),
    Stream(StreamRotated),
    SigningKey(SigningKeyRotated),
}
