//! Opening a store's log: the longest contiguous, complete beginning, held against the head file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sled::Db;

use super::durability::{Disk, Durability};
use super::engine::{Engine, drop_engine, guarded};
use super::recover::{self, Survey};
use super::{SledLog, keys, read};
use crate::ids::{StoreId, StreamId};
use crate::log::frame::frame_hash;
use crate::log::head::{self, Epoch, HeadError, HeadFile, HeadRecord};
use crate::log::{FrameHash, Head, Position, ReadError};
use crate::private::sync_dir;

/// Bytes of pages that sled keeps in memory unless told otherwise: more costs resident memory several times
/// over and gains little.
pub const DEFAULT_CACHE_BYTES: u64 = 16 << 20;

/// Bytes of the newest frames kept in memory unless told otherwise.
pub const DEFAULT_RING_BYTES: usize = 8 << 20;

/// Where a store's log is and how it is opened.
#[derive(Clone)]
pub struct SledOptions {
    /// The store's folder: `log/`, `head` and `clean-stop` are in it.
    pub store_dir: PathBuf,
    /// The store that must be found there.
    pub store: StoreId,
    /// Bytes of pages that sled keeps in memory.
    pub cache_bytes: u64,
    /// Bytes of the newest frames kept in memory, and as many again of those read last.
    pub ring_bytes: usize,
    /// What reaches the disk; [`Disk`] outside of tests.
    pub durability: Arc<dyn Durability>,
    /// What is known of the log's beginning.
    pub known: Option<Known>,
}

/// What was known of a log when it was last held open: after a clean stop, a start looks only at what follows. It saves
/// reading the whole log; whatever is damaged before it is found when it is read, or by a check.
#[derive(Clone, Debug)]
pub struct Known {
    /// The newest frame then.
    pub end: Head,
    /// Where every stream ended then.
    pub heads: HashMap<StreamId, Head>,
}

impl SledOptions {
    /// The defaults for a store's folder.
    pub fn new(store_dir: impl Into<PathBuf>, store: StoreId) -> Self {
        Self {
            store_dir: store_dir.into(),
            store,
            cache_bytes: DEFAULT_CACHE_BYTES,
            ring_bytes: DEFAULT_RING_BYTES,
            durability: Arc::new(Disk),
            known: None,
        }
    }

    fn head(&self) -> PathBuf {
        self.store_dir.join("head")
    }

    pub(super) fn engine(&self) -> Engine {
        Engine {
            dir: self.store_dir.join("log"),
            marker: self.store_dir.join("clean-stop"),
            cache_bytes: self.cache_bytes,
        }
    }
}

/// Whether the head file is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadPolicy {
    /// The log must reach what the head file names.
    Require,
    /// An operator's word: whatever the log holds without a gap is the log, the rest is cut, and the head file
    /// is written anew. The findings say what was accepted.
    Accept,
}

/// A log that was opened, and what was found on the way.
pub struct Opened {
    /// The log.
    pub log: SledLog,
    /// The store's epoch.
    pub epoch: Epoch,
    /// What an operator should read in the server's log. Nothing of it lost an acknowledged change.
    pub findings: Vec<Finding>,
}

/// Something found while opening that did not keep the log from opening.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The last stop was not a clean one.
    #[error("the last stop was not a clean one; the log was read anew from the disk")]
    UncleanStop,
    /// A start had been interrupted.
    #[error("removed {}, which an interrupted start left behind", path.display())]
    UnfinishedRemoved {
        /// The file that was removed.
        path: PathBuf,
    },
    /// sled could not open with its page table, and could without.
    #[error("sled's page table was damaged; moved aside to {} and built anew from the log", to.display())]
    PageTableMovedAside {
        /// What it is called now.
        to: PathBuf,
    },
    /// One slot of the head file was torn or damaged; the other one counts.
    #[error("one slot of the head file was unreadable; the other says that the log reaches position {}", position.0)]
    HeadSlotUnreadable {
        /// How far the log must reach by the other slot.
        position: Position,
    },
    /// Frames beyond the head file's position are whole, and kept.
    #[error("the log goes on for {frames} whole frames beyond position {}, where the head file ends; they were kept", head.0)]
    BeyondHead {
        /// The head file's position.
        head: Position,
        /// How many frames.
        frames: u64,
    },
    /// What lies beyond the last whole frame was cut. By the head file it was never acknowledged.
    #[error("cut {parts} parts beyond position {}: {why}", end.0)]
    Cut {
        /// Where the log ends now.
        end: Position,
        /// How many parts of runs were removed.
        parts: usize,
        /// What is wrong with the first.
        why: String,
    },
    /// The operator's word replaced a head file.
    #[error("accepted a log that ends at position {} with {streams} streams; the head file said {was}", end.0)]
    HeadAccepted {
        /// Where the log ends.
        end: Position,
        /// How many streams it has.
        streams: usize,
        /// What the head file said before.
        was: String,
    },
}

/// A log that was not opened. Nothing that it holds was truncated.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file could not be reached.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// sled's data file is not there.
    #[error("{} is missing; restore the newest snapshot with `settled snapshot restore`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// sled does not open.
    #[error(
        "the log in {} does not open: {what}; keep a copy of the folder and restore the newest snapshot with \
         `settled snapshot restore`", dir.display()
    )]
    Engine {
        /// sled's folder.
        dir: PathBuf,
        /// What sled said.
        what: String,
    },
    /// The files belong to another store.
    #[error("{} belongs to store {found}, not to {expected}; put back the files of {expected}", path.display())]
    OtherStore {
        /// What was looked at.
        path: PathBuf,
        /// The store that should be there.
        expected: StoreId,
        /// The store that is there, or what else was found.
        found: String,
    },
    /// The head file says nothing.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The log ends before the head file says.
    #[error(
        "acknowledged changes are missing: the head file says that the log reaches position {}, and it is whole up to \
         position {} only ({why}); restore the newest snapshot with `settled snapshot restore`, or give up what is \
         missing with `settled fsck --accept-head`", head.0, end.0
    )]
    Behind {
        /// How far the log must reach.
        head: Position,
        /// How far it is whole.
        end: Position,
        /// What is wrong with what follows.
        why: String,
    },
    /// The frame that the head file names is another one.
    #[error(
        "the frame at position {} is not the one that the head file names: the log or the head file is of another \
         time or store; restore the newest snapshot with `settled snapshot restore`, or accept the log as it is with \
         `settled fsck --accept-head`", head.0
    )]
    HeadDiffers {
        /// The head file's position.
        head: Position,
    },
}

impl OpenError {
    /// For `map_err`: the error of an action on a path.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Makes an empty log with its first head in a store's folder, which exists and is empty, and syncs both. The
/// store is not in use until the data directory names it, so a crash in here leaves nothing that counts.
///
/// # Errors
/// When a file cannot be made.
pub fn create(options: &SledOptions, epoch: &Epoch) -> Result<(), OpenError> {
    let engine = options.engine();
    make_private_dir(&engine.dir).map_err(OpenError::io("make", &engine.dir))?;
    let db = engine.create()?;
    let file = engine.file()?;
    let failed = |source| OpenError::Io { action: "write", path: engine.dir.clone(), source };
    guarded(|| {
        db.insert(keys::IDENTITY, options.store.uuid().as_bytes())?;
        db.flush()
    })
    .and_then(|_| drop_engine(db))
    .map_err(failed)?;
    engine.close(&file).map_err(failed)?;

    let record = HeadRecord {
        store: options.store,
        epoch: epoch.clone(),
        position: Position(0),
        hash: FrameHash::default(),
    };
    let path = options.head();
    head::create(&path, &record).map_err(OpenError::io("make", &path))?;
    sync_dir(&options.store_dir).map_err(OpenError::io("sync", &options.store_dir))
}

/// Opens a store's log. The caller holds the data directory's lock.
///
/// # Errors
/// When what must be there is not, with the remedy; see [`OpenError`].
pub fn open(options: SledOptions, policy: HeadPolicy) -> Result<Opened, OpenError> {
    let mut findings = Vec::new();
    let slots = match (head::read(&options.head()), policy) {
        (Ok(slots), _) => {
            check_store(&options, slots.newest.store)?;
            if !slots.other_whole {
                findings.push(Finding::HeadSlotUnreadable { position: slots.newest.position });
            }
            Some(slots)
        }
        (Err(HeadError::Unreadable), HeadPolicy::Accept) => None,
        (Err(error), _) => return Err(error.into()),
    };
    let must_reach = slots.as_ref().map(|slots| slots.newest.clone());
    let engine = options.engine();
    let db = engine.open(&*options.durability, &mut findings)?;
    let file = engine.file()?;
    check_identity(&options, &engine, &db)?;
    let watched = must_reach.as_ref().map_or(Position(0), |head| head.position);
    // After an unclean stop nothing is believed but what is read: sled may have moved any page, and lost it.
    let clean = !findings.contains(&Finding::UncleanStop);
    let known = options.known.as_ref().filter(|known| {
        clean && policy == HeadPolicy::Require && known.end.position <= watched && holds(&db, known)
    });
    let survey = recover::survey(&db, watched, known)
        .map_err(|source| OpenError::Engine { dir: engine.dir.clone(), what: source.to_string() })?;
    if policy == HeadPolicy::Require
        && let Some(head) = &must_reach
    {
        hold_against(head, &survey, &mut findings)?;
    }
    // Recovery and the survey split and merge pages: none of it may wait for the first batch.
    let settle =
        || guarded(|| db.flush()).and_then(|_| file.sync_data()).map_err(OpenError::io("sync", &engine.dir));
    settle()?;
    if let Some(rest) = &survey.rest {
        recover::cut(&db, survey.heads.end()).map_err(OpenError::io("cut", &engine.dir))?;
        let (end, parts) = (survey.heads.end(), rest.parts);
        findings.push(Finding::Cut { end, parts, why: rest.why.clone() });
        settle()?;
    }

    let epoch = match &must_reach {
        // Versions that were given out mean other events from now on, or may.
        Some(head) if hold_against(head, &survey, &mut Vec::new()).is_err() => Epoch::fresh(),
        None => Epoch::fresh(),
        Some(head) => head.epoch.clone(),
    };
    let record = HeadRecord {
        store: options.store,
        epoch: epoch.clone(),
        position: survey.heads.end(),
        hash: survey.end_hash,
    };
    let path = options.head();
    if policy == HeadPolicy::Accept {
        head::create(&path, &record).map_err(OpenError::io("write", &path))?;
        sync_dir(&options.store_dir).map_err(OpenError::io("sync", &options.store_dir))?;
        let was = must_reach.map_or("nothing".to_owned(), |head| format!("position {}", head.position.0));
        let streams = survey.heads.iter().count();
        findings.push(Finding::HeadAccepted { end: survey.heads.end(), streams, was });
    }
    let sequence = slots.map_or(2, |slots| slots.sequence);
    let mut head = HeadFile::open(&path, record.clone(), sequence, options.durability.clone())
        .map_err(OpenError::io("open", &path))?;
    head.write(record.position, record.hash).map_err(OpenError::io("write", &path))?;
    let log = SledLog::assemble(options, engine, db, file, head, survey.heads);
    Ok(Opened { log, epoch, findings })
}

/// Whether the log has the frame that was its newest.
fn holds(db: &Db, known: &Known) -> bool {
    let frames = read::at(&[known.end.position], vec![None], |position| {
        guarded(|| Ok(read::run_with(db, position))).map_err(|error| ReadError::Storage(error.to_string()))?
    });
    frames.is_ok_and(|frames| frames.first().is_some_and(|frame| frame_hash(frame) == known.end.hash))
}

/// What the head file demands of what was found.
fn hold_against(head: &HeadRecord, survey: &Survey, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
    let end = survey.heads.end();
    if end < head.position {
        let why = survey.rest.as_ref().map_or("nothing follows", |rest| &rest.why).to_owned();
        return Err(OpenError::Behind { head: head.position, end, why });
    }
    if survey.watched_hash != head.hash {
        return Err(OpenError::HeadDiffers { head: head.position });
    }
    if end > head.position {
        findings.push(Finding::BeyondHead { head: head.position, frames: end.0 - head.position.0 });
    }
    Ok(())
}

fn check_store(options: &SledOptions, found: StoreId) -> Result<(), OpenError> {
    if found == options.store {
        return Ok(());
    }
    Err(OpenError::OtherStore { path: options.head(), expected: options.store, found: found.to_string() })
}

pub(super) fn check_identity(options: &SledOptions, engine: &Engine, db: &Db) -> Result<(), OpenError> {
    let found = guarded(|| db.get(keys::IDENTITY))
        .map_err(|source| OpenError::Engine { dir: engine.dir.clone(), what: source.to_string() })?;
    let found = found.as_deref().and_then(|bytes| uuid::Uuid::from_slice(bytes).ok()).map(StoreId::from_uuid);
    if found == Some(options.store) {
        return Ok(());
    }
    let found = found
        .map_or("nobody: sled lost its contents, or it is not a log of Settled".to_owned(), |id| {
            id.to_string()
        });
    Err(OpenError::OtherStore { path: engine.dir.clone(), expected: options.store, found })
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
