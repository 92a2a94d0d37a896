//! `settled snapshot`: takes snapshots of a store, lists and verifies them, makes a store of one, and practises that.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::target::failed;
use crate::data_dir::SNAPSHOTS;

mod create;
mod drill;
mod list;
mod restore;
mod verify;

/// `settled snapshot`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Take a snapshot: FILE is the history, FILE.keys its keys. Of a running server, while it serves
    Create(create::Create),
    /// List the snapshots of the folder
    List(list::List),
    /// Read a snapshot from its first byte to its last, and say what is wrong with it. Nothing of it is used
    Verify(verify::Verify),
    /// Make a store of a snapshot, verified whole, and put it in use in a data folder. The store that was in use stays
    /// beside it. Every session ends, and what was destroyed since is destroyed again
    Restore(restore::Restore),
    /// Restore a snapshot for practice, and compare what comes out with the store
    Drill(drill::Drill),
}

impl Snapshot {
    /// Runs it.
    pub fn run(&self) -> Exit {
        match self {
            Self::Create(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Drill(command) => command.run(),
        }
    }
}

/// Where the snapshots are.
#[derive(Args, Clone, Debug)]
pub struct SnapshotsDir {
    /// The folder of the snapshots and of the ledger of what was destroyed [default: snapshots in the data folder]
    #[arg(long, env = "SETTLED_SNAPSHOTS_DIR", value_name = "DIR")]
    snapshots_dir: Option<PathBuf>,
}

impl SnapshotsDir {
    /// The folder, of a data directory.
    pub fn of(&self, data_dir: &Path) -> PathBuf {
        self.snapshots_dir.clone().unwrap_or_else(|| data_dir.join(SNAPSHOTS))
    }

    /// The folder, where one was named.
    pub fn named(&self) -> Option<&PathBuf> {
        self.snapshots_dir.as_ref()
    }
}

/// How a command ends that asked a running server: what it was refused for is no trouble of the store.
fn answered(error: &crate::cli::socket::SocketError) -> Exit {
    failed(error);
    match error {
        crate::cli::socket::SocketError::Refused { .. } => Exit::DoesNotHold,
        _ => Exit::Store,
    }
}
