//! Whom a command talks to: the server that has the data directory open, or the directory itself. It says which.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::socket::SocketError;
use crate::data_dir::{DEFAULT_BALLAST_BYTES, DataDir, DataDirError};
use crate::log::sled::open::HeadPolicy;
use crate::open::{DirError, LogOptions, OpenDir, open_log};
use crate::snapshot::place::UnusableBucket;

/// Where the store is.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// The folder of the store
    #[arg(long, env = "SETTLED_DATA_DIR", value_name = "DIR", default_value = "./settled-data")]
    pub data_dir: PathBuf,
}

/// Who holds the store.
pub enum Holder {
    /// A running server, reached over this socket.
    Server(PathBuf),
    /// This process.
    Us(Box<OpenDir>),
}

impl Target {
    /// Finds a running server, else opens the store.
    ///
    /// # Errors
    /// When neither is possible.
    pub fn find(&self, head: HeadPolicy) -> Result<Holder, DirError> {
        match self.open(head) {
            Err(DirError::Dir(DataDirError::InUse { .. })) if self.socket().exists() => {
                output::note(format_args!("asking the server that has {} open", self.data_dir.display()));
                Ok(Holder::Server(self.socket()))
            }
            Err(error) => Err(error),
            Ok(opened) => Ok(Holder::Us(Box::new(opened))),
        }
    }

    /// Has something done: by a running server, which is asked over its socket, else with the store itself, which is closed
    /// again.
    ///
    /// # Errors
    /// How the command ends; why has been printed.
    pub fn have_done<T: DeserializeOwned>(
        &self,
        ask: impl FnOnce(&Path) -> Result<Bytes, SocketError>,
        ourselves: impl FnOnce(&OpenDir) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Exit> {
        match self.find(HeadPolicy::Require).map_err(|error| failed(&error))? {
            Holder::Server(socket) => answered(ask(&socket)),
            Holder::Us(opened) => {
                let done = ourselves(&opened).map_err(|error| failed(&*error));
                match close(&opened, Exit::Fine) {
                    Exit::Fine => done,
                    unclosed => Err(unclosed),
                }
            }
        }
    }

    /// Opens the store, and says so.
    ///
    /// # Errors
    /// When it is not there, in use, or damaged.
    pub fn open(&self, head: HeadPolicy) -> Result<OpenDir, DirError> {
        let dir = self.lock()?;
        output::note(format_args!("opening {} itself: no server is running on it", self.data_dir.display()));
        let opened = open_log(dir, LogOptions { head, ..LogOptions::default() })?;
        for finding in &opened.findings {
            output::note(format_args!("note: {finding}"));
        }
        Ok(opened)
    }

    /// Locks the data directory, without opening its store.
    ///
    /// # Errors
    /// When it is not there, or in use.
    pub fn lock(&self) -> Result<DataDir, DirError> {
        // Opening a data directory makes what is missing in it: only `serve` may do that to a folder.
        let stores = self.data_dir.join("stores");
        let failed = |source| DataDirError::Io { action: "look for", path: stores.clone(), source };
        if !stores.try_exists().map_err(failed)? {
            return Err(DirError::NoStore { dir: self.data_dir.clone() });
        }
        Ok(DataDir::open(&self.data_dir, DEFAULT_BALLAST_BYTES)?)
    }

    fn socket(&self) -> PathBuf {
        self.data_dir.join("operator.sock")
    }
}

/// Closes a store that a command opened.
pub fn close(opened: &OpenDir, otherwise: Exit) -> Exit {
    match opened.log.close() {
        Ok(()) => otherwise,
        Err(error) => {
            output::error(&error);
            Exit::Store
        }
    }
}

/// What a running server answered.
///
/// # Errors
/// How the command ends; why has been printed. What the server cannot do now, or failed at, is trouble of the store, as it
/// were without a server; any other refusal is none.
pub fn answered<T: DeserializeOwned>(answer: Result<Bytes, SocketError>) -> Result<T, Exit> {
    match answer {
        Ok(body) => serde_json::from_slice(&body).map_err(|error| failed(&error)),
        Err(error) => {
            failed(&error);
            Err(match error {
                SocketError::Refused { status, .. } if status.is_server_error() => Exit::Store,
                SocketError::Refused { .. } => Exit::DoesNotHold,
                SocketError::Io(_) | SocketError::Http(_) => Exit::Store,
            })
        }
    }
}

/// Prints an error of opening or reaching a store. A bucket that cannot be used as the command line and the environment name it
/// is no trouble of the store.
pub fn failed(error: &(dyn Error + 'static)) -> Exit {
    output::error(error);
    if error.is::<UnusableBucket>() { Exit::Usage } else { Exit::Store }
}
