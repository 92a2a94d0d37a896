//! `settled snapshot`: takes snapshots of a store, lists and verifies them, makes a store of one, and practises that.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::root_key::RootKeyOptions;
use crate::clock::Clock;
use crate::data_dir::SNAPSHOTS;
use crate::open::OpenDir;
use crate::snapshot::SnapshotError;
use crate::snapshot::operating::{OperatingError, Snapshots};
use crate::snapshot::place::url::BucketUrl;
use crate::snapshot::place::{Place, UnusableBucket, place};
use crate::store::Store;

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
    /// List the snapshots of the folder or bucket
    List(list::List),
    /// Read a snapshot from its first byte to its last, and say what is wrong with it. Nothing of it is used
    Verify(verify::Verify),
    /// Make a store of a snapshot, verified whole, and put it in use in a data folder. The store that was in use stays
    /// beside it. Every session ends, and what was destroyed since is destroyed again
    ///
    /// To go back to the store before, stop the server, remove the file `succeeded-by` in its folder below `stores`, and write
    /// its name into `current`. That is for when a restore was a mistake: what is destroyed in the new store is made to open
    /// with nothing in the old one either, an hour later, by overwriting its key of that organization, or of the platform. Then
    /// the old store lacks that key; `settled fsck --repair-from` a snapshot of it brings back what can be.
    ///
    /// Lines of the ledger that are damaged stop nothing: the store is made and in use, what they told is not known, which is
    /// said, and the command exits with 1.
    Restore(restore::Restore),
    /// Restore a snapshot for practice, and compare what comes out with the store
    Drill(drill::Drill),
}

/// How a command ends for which a snapshot was of no use: only one that is not what was written is a verdict on it.
fn exit_of(error: &SnapshotError, otherwise: Exit) -> Exit {
    match error {
        error if error.is_verdict() => Exit::DoesNotHold,
        SnapshotError::WrongRootKey { .. }
        | SnapshotError::Newer { .. }
        | SnapshotError::NoKeys { .. }
        | SnapshotError::OutOfReach { .. } => Exit::Usage,
        _ => otherwise,
    }
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
    /// The bucket of the snapshots, by the credentials in AWS_ACCESS_KEY_ID and its like [default: the folder]
    #[arg(long, env = "SETTLED_SNAPSHOTS_URL", value_name = "s3://BUCKET/PREFIX")]
    snapshots_url: Option<BucketUrl>,
}

impl SnapshotsDir {
    /// The folder, of a data directory.
    pub fn of(&self, data_dir: &Path) -> PathBuf {
        self.snapshots_dir.clone().unwrap_or_else(|| data_dir.join(SNAPSHOTS))
    }

    /// Where the snapshots of a data directory lie.
    ///
    /// # Errors
    /// When the bucket cannot be used.
    pub fn place(&self, data_dir: &Path) -> Result<Arc<dyn Place>, UnusableBucket> {
        place(self.snapshots_url.as_ref(), &self.of(data_dir))
    }
}

/// Does something with the snapshots of a store that this process has open.
fn with_store<T>(
    opened: &OpenDir,
    root_key: &RootKeyOptions,
    snapshots_dir: &SnapshotsDir,
    work: impl AsyncFnOnce(&Store, &Snapshots) -> Result<T, OperatingError>,
) -> Result<T, Box<dyn Error>> {
    let store = root_key.open_store(opened, Clock::system(), None)?;
    store.resume_clock();
    let snapshots = Snapshots::new(snapshots_dir.of(opened.dir.root()), opened.store.id);
    let snapshots = snapshots.in_place(snapshots_dir.place(opened.dir.root())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let done = runtime.block_on(work(&store, &snapshots));
    store.stop();
    Ok(done?)
}
