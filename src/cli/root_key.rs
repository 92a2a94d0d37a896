//! Where the root key is, for a command that appends to a store which no server has open; and the store opened with it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cli::output;
use crate::clock::Clock;
use crate::config::RootKeySource;
use crate::log::EventLog;
use crate::metrics::Metrics;
use crate::open::{OpenDir, key_ring, read_root_key};
use crate::seal::root::{RootKey, RootKeyError};
use crate::store::ledger::Ledger;
use crate::store::{Parts, Store};

/// Where the root key is, which is needed where no server runs.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct RootKeyOptions {
    /// Read the root key from this file [default: root.key in the data folder]
    #[arg(long, env = "SETTLED_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<PathBuf>,
    /// Read the root key from the environment variable of this name
    #[arg(long, env = "SETTLED_ROOT_KEY_ENV", value_name = "NAME")]
    root_key_env: Option<String>,
    /// Read the root key from the output of this command, run without a shell
    #[arg(long, env = "SETTLED_ROOT_KEY_COMMAND", value_name = "COMMAND")]
    root_key_command: Option<String>,
}

impl RootKeyOptions {
    /// Whether anything says where it is.
    pub fn is_given(&self) -> bool {
        self.root_key_file.is_some() || self.root_key_env.is_some() || self.root_key_command.is_some()
    }

    /// Reads the root key of a data directory.
    ///
    /// # Errors
    /// When it is not there, not readable, or open to others.
    pub fn read(&self, dir: &Path) -> Result<RootKey, RootKeyError> {
        let Self { root_key_file, root_key_env, root_key_command } = self;
        read_root_key(&match (root_key_file, root_key_env, root_key_command) {
            (Some(path), _, _) => RootKeySource::File(path.clone()),
            (_, Some(name), _) => RootKeySource::Environment(name.clone()),
            (_, _, Some(command)) => RootKeySource::Command(command.clone()),
            (None, None, None) => RootKeySource::File(dir.join("root.key")),
        })
    }

    /// Opens the store over a log that this process holds, with the ledger where something is to be taken away for good.
    ///
    /// # Errors
    /// When the root key is not to be had or is another store's, or the log is damaged.
    pub fn open_store(
        &self,
        opened: &OpenDir,
        clock: Clock,
        ledger: Option<Ledger>,
    ) -> Result<Store, Box<dyn Error>> {
        let root = self.read(opened.dir.root())?;
        let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
        let ring = key_ring(opened, root)?;
        Ok(Store::open(Parts {
            log,
            ring,
            clock,
            epoch: opened.epoch.as_str().to_owned(),
            queue_capacity: 1,
            disk: Arc::new(|| true),
            derived: Some((opened.derived.clone(), Arc::new(|| false))),
            ledger,
            directory: None,
            resident_streams: 1,
            metrics: Metrics::new(),
            fatal: Arc::new(|message| output::note(message)),
        })?)
    }
}
