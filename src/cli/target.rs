//! Whom a command talks to: the server that has the data directory open, or the directory itself. It says which.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output;
use crate::data_dir::{DEFAULT_BALLAST_BYTES, DataDir, DataDirError};
use crate::log::sled::open::HeadPolicy;
use crate::open::{DirError, LogOptions, OpenDir, open_log};

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

/// Prints an error of opening or reaching a store.
pub fn failed(error: &dyn std::error::Error) -> Exit {
    output::error(error);
    Exit::Store
}
