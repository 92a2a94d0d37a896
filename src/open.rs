//! Opening a data directory: the lock, the store in use, its log, and the key ring, in an order in which nothing is
//! written before the root key has proved to be the right one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::causes::with_causes;
use crate::config::RootKeySource as Configured;
use crate::data_dir::{DataDir, DataDirError, StoreDir};
use crate::ids::{Fresh, StoreId, StreamId};
use crate::log::EventLog;
use crate::log::head::Epoch;
use crate::log::sled::SledLog;
use crate::log::sled::open::{self, Finding, HeadPolicy, Known, OpenError, SledOptions};
use crate::seal::keyring::beside::overwrite_all;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::{RootKey, RootKeyError, RootKeySource};
use crate::store::derived::{DerivedFiles, holds};
use crate::store::directory::Directory;
use crate::store::ledger::{Keeper, Ledger};
use crate::store::load::saved_directory;

/// A data directory that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The directory.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no store, and none was to be made.
    #[error("there is no store in {}; `settled serve --data-dir` makes one", dir.display())]
    NoStore {
        /// The data directory.
        dir: PathBuf,
    },
}

/// What of the log's opening can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// The memory that sled's cache may take, in bytes.
    pub cache_bytes: u64,
    /// Whether the head file is believed.
    pub head: HeadPolicy,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { cache_bytes: open::DEFAULT_CACHE_BYTES, head: HeadPolicy::Require }
    }
}

/// A locked data directory with its store's log.
pub struct OpenDir {
    /// The directory; its lock is held until this is dropped.
    pub dir: DataDir,
    /// The store in use.
    pub store: StoreDir,
    /// Its log.
    pub log: Arc<SledLog>,
    /// Its derived files.
    pub derived: DerivedFiles,
    /// What the directory's file says, if it can be believed.
    pub directory: Option<Directory>,
    /// Whether the derived files are of another log, one that was cut or replaced since.
    pub outlived: bool,
    /// Its epoch.
    pub epoch: Epoch,
    /// What an operator should read in the server's log.
    pub findings: Vec<Finding>,
}

impl OpenDir {
    /// The store's ledger, in a folder of snapshots. Nothing is written or made.
    ///
    /// # Errors
    /// When the ledger, its mark or the folder of the stores cannot be read.
    pub fn ledger(&self, snapshots: &Path) -> io::Result<Ledger> {
        let keeper = Keeper {
            store: self.store.id,
            beside: self.dir.store_ids().map_err(io::Error::other)?,
            mark: self.store.ledger_mark(),
            epoch: self.epoch.as_str().to_owned(),
        };
        Ledger::open(snapshots, keeper)
    }
}

/// Opens the store in use, without its keys: all that a check or an export needs. Derived files stay as they are,
/// whatever is wrong with them: a check is there to say it.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn open_log(dir: DataDir, options: LogOptions) -> Result<OpenDir, DirError> {
    let store = dir.current()?.ok_or_else(|| DirError::NoStore { dir: dir.root().to_owned() })?;
    let derived = DerivedFiles::new(store.derived(), store.id);
    let mut directory = saved_directory(&derived);
    let mut sled = SledOptions::new(&store.path, store.id);
    sled.cache_bytes = options.cache_bytes;
    sled.known = directory.as_ref().map(|directory| Known { end: directory.end(), heads: directory.heads() });
    let opened = open::open(sled, options.head)?;
    let is_of_this_log = |saved: &Directory| holds(&opened.log, saved.end());
    // After an operator's word the log is another than the one that the file was made of, or may be.
    let outlived = options.head == HeadPolicy::Accept || !directory.as_ref().is_none_or(is_of_this_log);
    if outlived {
        directory = None;
    }
    let log = Arc::new(opened.log);
    let (epoch, findings) = (opened.epoch, opened.findings);
    Ok(OpenDir { dir, store, log, derived, directory, outlived, epoch, findings })
}

/// A root key, and the file that it was made in just now.
pub struct LoadedRootKey {
    /// The key.
    pub key: RootKey,
    /// Set where this start made the key: it should be moved away and backed up.
    pub made: Option<PathBuf>,
}

/// Reads the root key, or makes one where a new store has none and none was configured.
///
/// # Errors
/// When it is not there, not readable, or open to others.
pub fn root_key(dir: &DataDir, configured: &Configured) -> Result<LoadedRootKey, DirError> {
    if let Configured::MadeAtFirstStart(path) = configured
        && dir.current()?.is_none()
        && !path.exists()
    {
        let key = RootKey::create(path)?;
        return Ok(LoadedRootKey { key, made: Some(path.clone()) });
    }
    Ok(LoadedRootKey { key: read_root_key(configured)?, made: None })
}

/// Reads a root key from where it is configured to be.
///
/// # Errors
/// When it is not there, not readable, or open to others.
pub fn read_root_key(configured: &Configured) -> Result<RootKey, RootKeyError> {
    RootKey::load(&match configured {
        Configured::MadeAtFirstStart(path) | Configured::File(path) => RootKeySource::File(path.clone()),
        Configured::Environment(name) => {
            RootKeySource::Environment(std::env::var(name).unwrap_or_default().into())
        }
        Configured::Command(command) => RootKeySource::Command(command.clone()),
    })
}

/// Opens the store in use with its keys, to be served, or makes one in a directory that never had any. Derived files of
/// another log are removed.
///
/// # Errors
/// When it cannot be opened, or the root key is another one; nothing has been written then.
pub fn open_store(
    dir: DataDir,
    root: LoadedRootKey,
    options: LogOptions,
) -> Result<(OpenDir, Arc<KeyRing>), DirError> {
    match dir.current()? {
        Some(store) => KeyRing::verify_root(&store.keys(), &root.key)?,
        None => {
            forget_unfinished(&dir)?;
            let id: StoreId = Fresh.id();
            dir.create_store(id, |store| {
                open::create(&SledOptions::new(&store.path, id), &Epoch::default())?;
                Ok::<_, DirError>(())
            })?;
        }
    }
    let opened = open_log(dir, options)?;
    if opened.outlived {
        tracing::warn!("derived files of another log are removed, and made anew from this one");
        let failed = |source| DataDirError::Io { action: "clear", path: opened.store.derived(), source };
        opened.derived.clear().map_err(failed)?;
    }
    let ring = key_ring(&opened, root.key)?;
    // The platform's stream comes first in every store; a crash before this line leaves a store without events.
    ring.create_stream_key(StreamId::Platform)?;
    Ok((opened, ring))
}

/// The keys of the store that is open, whose root key is the right one. Of stores that never came to be nothing is left then,
/// and those that lie beside it are kept in mind.
///
/// # Errors
/// When the root key is another one, or a key file cannot be read.
pub fn key_ring(opened: &OpenDir, root: RootKey) -> Result<Arc<KeyRing>, DirError> {
    let OpenDir { dir, store, .. } = opened;
    let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
    let ring = KeyRing::open(store.keys(), root, log)?;
    if let Err(error) = forget_unfinished(dir) {
        // Keys of nobody are no reason not to serve.
        let error = with_causes(&error);
        tracing::error!(
            error,
            "what an interrupted restore left may open what is destroyed; the next start tries again"
        );
    }
    for stray in dir.strays()? {
        tracing::warn!(
            "{} has no name of a store, and is not kept in mind: if it has keys, what is destroyed opens there",
            stray.display()
        );
    }
    let beside = dir.store_dirs()?.into_iter().filter(|other| other.id != store.id);
    Ok(Arc::new(ring.beside(beside.map(|other| other.keys()).collect())))
}

/// Removes what set-ups, restores and repairs that came to no end left behind. Their files of keys are overwritten: what is
/// destroyed later would be opened by them otherwise, with the root key.
///
/// # Errors
/// When something of it cannot be overwritten or removed; repeating this is safe.
pub fn forget_unfinished(dir: &DataDir) -> Result<(), DirError> {
    for store in dir.unfinished_stores()? {
        overwrite_all(&store.keys())?;
    }
    for name in dir.remove_unfinished()? {
        tracing::warn!(name, "removed a store that never came to be");
    }
    Ok(())
}
