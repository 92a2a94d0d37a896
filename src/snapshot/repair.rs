//! Repairing a damaged store out of a snapshot of it: a new store is made beside it, of all that the store has itself and of what it
//! lacks and the snapshot has. Where both have a frame it must be the same one, and the log must reach what was acknowledged;
//! nothing is made up, and the damaged store stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use bytes::Bytes;
use serde::Serialize;

use crate::data_dir::{DataDir, DataDirError, StoreDir};
use crate::ids::{DataKeyId, Fresh, StoreId, StreamId};
use crate::log::frame::Frame;
use crate::log::head::{self, HeadRecord};
use crate::log::heads::Heads;
use crate::log::sled::open::{self, HeadPolicy, OpenError, SledOptions};
use crate::log::sled::salvage::Salvage;
use crate::log::{AppendError, EventLog, Key, Position, refill};
use crate::open::{DirError, forget_unfinished};
use crate::private;
use crate::seal::keyring::KeyError;
use crate::seal::keyring::mending::MendedKey;
use crate::seal::keyring::snapshot::{DATA_KEY_BYTES, OpenedKeys};
use crate::seal::root::RootKey;
use crate::snapshot::SnapshotError;
use crate::snapshot::history::{Chunk, History};
use crate::snapshot::keys::KeysFile;
use crate::snapshot::place::Located;
use crate::snapshot::room;
use crate::snapshot::verify::{KnownKeys, hold_keys, survey};

/// What a damaged store is repaired with.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// A history of it.
    pub history: &'a Located,
    /// Keys of it.
    pub keys: &'a Located,
    /// The root key of both.
    pub root: &'a RootKey,
}

/// What was brought back, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The repaired store, which is in use; nothing where nothing was damaged, and where it was only looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// The position of the last frame.
    pub position: u64,
    /// How many frames came from the snapshot.
    pub frames: u64,
    /// How many data keys came from the snapshot.
    pub data_keys: u64,
    /// The streams whose key files came from the snapshot.
    pub key_files: Vec<String>,
    /// Data keys that neither has.
    pub lost: Vec<String>,
}

impl Repaired {
    /// Whether anything is to be brought back.
    pub fn is_anything(&self) -> bool {
        self.frames > 0 || self.data_keys > 0 || !self.key_files.is_empty()
    }
}

/// A store that was not repaired; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is no store.
    #[error("there is no store in {0}")]
    NoStore(String),
    /// The snapshot is of the store before a restore, or after one.
    #[error(
        "the snapshot is of epoch {found}, and the store is in epoch {expected}: a restore lies between them"
    )]
    OtherEpoch {
        /// The store's.
        expected: String,
        /// The snapshot's.
        found: String,
    },
    /// The snapshot is another store's.
    #[error("the snapshot is of another store, or of another course of this one: they differ at position {}", .0.0)]
    Foreign(Position),
    /// Nothing of the log can be read, and the snapshot says that it is another store's.
    #[error("nothing of the log can be read, and the snapshot is of store {found}, not of {expected}")]
    OtherStore {
        /// The store.
        expected: StoreId,
        /// The snapshot's.
        found: StoreId,
    },
    /// What was acknowledged is in neither.
    #[error(
        "the log must reach position {}, and position {} is neither in it nor in the snapshot: repair from a newer \
         snapshot, or restore one", must_reach.0, missing.0
    )]
    Missing {
        /// How far the head file says that the log reaches.
        must_reach: Position,
        /// The first position that is nowhere.
        missing: Position,
    },
    /// The snapshot is not what was written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The data directory.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// What an earlier one left.
    #[error("what was left of an earlier repair could not be removed")]
    Unfinished(#[source] DirError),
    /// The head file, or the new log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The new log could not be filled.
    #[error("the new log could not be filled")]
    Append(#[from] AppendError),
    /// A stream's key is in neither.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Repairs the store in use of a data directory, or only looks what that would bring back. Blocks.
///
/// # Errors
/// See [`RepairError`]; no frame and no key has changed then.
pub fn repair(dir: &DataDir, means: &Means<'_>, only_look: bool) -> Result<Repaired, RepairError> {
    let store = dir.current()?.ok_or_else(|| RepairError::NoStore(dir.root().display().to_string()))?;
    let head = head::read(&store.head()).map_err(OpenError::from)?.newest;
    let mut damaged = Damaged::open(&store, &head, means)?;
    let mut looked = damaged.merge(None)?;
    if only_look || !looked.is_anything() {
        damaged.close()?;
        return Ok(looked);
    }
    forget_unfinished(dir).map_err(RepairError::Unfinished)?;
    room::look_for(room::of_store(damaged.history.bytes), dir.root())?;
    let id = Fresh.id();
    let made = dir.create_store(id, |new| {
        damaged.make(new)?;
        damaged.close()
    });
    if let Err(error) = made {
        forget_unfinished(dir).map_err(RepairError::Unfinished)?;
        return Err(error);
    }
    looked.store = Some(id);
    Ok(looked)
}

/// A stream's keys as a snapshot has them.
struct Carried {
    stream_key: OpenedKeys,
    data_keys: BTreeMap<DataKeyId, [u8; DATA_KEY_BYTES]>,
}

struct Damaged<'a> {
    store: &'a StoreDir,
    head: &'a HeadRecord,
    root: &'a RootKey,
    history: History,
    carried: BTreeMap<StreamId, Carried>,
    /// The store's own log, as far as it can be read; nothing where its engine does not open.
    own: Option<Salvage>,
}

impl<'a> Damaged<'a> {
    fn open(store: &'a StoreDir, head: &'a HeadRecord, means: &Means<'a>) -> Result<Self, RepairError> {
        let mut history = History::open(means.history)?;
        let (expected, found) = (head.epoch.as_str(), &history.header.epoch);
        if expected != found {
            return Err(RepairError::OtherEpoch { expected: expected.to_owned(), found: found.clone() });
        }
        let survey = survey(&mut history, None, &mut |_, _| {})?;
        hold_keys(KeysFile::open(means.keys, means.root)?, &history, &survey, |_, _| Ok(()))?;
        let mut carried = BTreeMap::new();
        KeysFile::open(means.keys, means.root)?.read(|by, keys| {
            let damaged = |what| {
                SnapshotError::damaged(means.keys.path(), format!("the keys of {}", keys.stream), what)
            };
            let stream_key = by.open(&keys).map_err(damaged)?;
            let data_keys = keys.data_keys.into_iter().collect();
            carried.insert(keys.stream, Carried { stream_key, data_keys });
            Ok::<_, SnapshotError>(())
        })?;
        let own = match Salvage::open(&SledOptions::new(&store.path, store.id)) {
            Ok(own) => Some(own),
            // Damage, which is what the snapshot is for; where the system refuses a file, it may be whole.
            Err(OpenError::Engine { .. } | OpenError::Missing { .. } | OpenError::OtherStore { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { store, head, root: means.root, history, carried, own })
    }

    fn close(&mut self) -> Result<(), RepairError> {
        let closed = self.own.take().map_or(Ok(()), Salvage::close);
        closed.map_err(|source| RepairError::Io { what: "the damaged log could not be closed", source })
    }

    /// Goes through all frames and then all keys, and puts them into a log where there is one.
    fn merge(&mut self, into: Option<(&dyn EventLog, &StoreDir)>) -> Result<Repaired, RepairError> {
        let mut frames = Frames::new(into.map(|(log, _)| log), self.head);
        let own = &mut self.own;
        self.history.read(|chunk| {
            let Chunk::Frames(theirs) = chunk else { return Ok(()) };
            for (position, theirs) in theirs {
                let ours = own.as_mut().and_then(|own| own.frame(position));
                frames.choose(position, ours, theirs)?;
            }
            frames.flush()
        })?;
        if frames.agreed == 0 && self.history.header.store != self.store.id {
            let (expected, found) = (self.store.id, self.history.header.store);
            return Err(RepairError::OtherStore { expected, found });
        }
        while let Some(ours) = own.as_mut().and_then(|own| own.frame(Position(frames.heads.end().0 + 1))) {
            if !frames.follows(&ours) {
                break;
            }
            frames.take(ours)?;
        }
        frames.flush()?;
        frames.reach()?;
        let Frames { heads, keys, brought_back, .. } = frames;
        let mut repaired = Repaired { position: heads.end().0, frames: brought_back, ..Repaired::default() };
        for (stream, _) in heads.iter() {
            self.keys_of(stream, &keys, into, &mut repaired)?;
        }
        repaired.key_files.sort();
        repaired.lost.sort();
        Ok(repaired)
    }

    fn keys_of(
        &self,
        stream: StreamId,
        keys: &KnownKeys,
        into: Option<(&dyn EventLog, &StoreDir)>,
        repaired: &mut Repaired,
    ) -> Result<(), RepairError> {
        let carried = self.carried.get(&stream);
        let directory = self.store.keys();
        let mended =
            MendedKey::find(&directory, self.root, stream, carried.map(|carried| &carried.stream_key))?;
        if mended.is_carried {
            repaired.key_files.push(stream.to_string());
        }
        let own = |key: &Key| self.own.as_ref().and_then(|own| own.get(key));
        let mut put = Vec::new();
        let of_stream = (stream, DataKeyId::from_uuid(uuid::Uuid::nil()))
            ..=(stream, DataKeyId::from_uuid(uuid::Uuid::max()));
        for ((_, id), commitment) in keys.range(of_stream) {
            let kept = own(&Key::DataKey(stream, *id)).filter(|kept| mended.opens(*id, kept, *commitment));
            let brought_back = || {
                let Carried { stream_key, data_keys } = carried?;
                let key = stream_key.data_key(*id, data_keys.get(id)?, *commitment).ok()?;
                Some(mended.wrap(&key))
            };
            match kept {
                Some(kept) => put.push((Key::DataKey(stream, *id), kept)),
                None => match brought_back() {
                    Some(key) => {
                        repaired.data_keys += 1;
                        put.push((Key::DataKey(stream, *id), key));
                    }
                    None => repaired.lost.push(format!("{id} of {stream}")),
                },
            }
        }
        // What was signed stays signed: no smaller size may be, in place of it.
        let checkpoint = Key::Checkpoint(stream);
        put.extend(own(&checkpoint).map(|signed| (checkpoint, signed)));
        let Some((log, new)) = into else { return Ok(()) };
        mended.put(&new.keys(), self.root)?;
        for put in put.chunks(KEYS_AT_ONCE) {
            refill::beside(log, stream, put.iter().cloned())?;
        }
        Ok(())
    }

    /// Makes the repaired store in a folder that has `keys/` and else nothing.
    fn make(&mut self, new: &StoreDir) -> Result<(), RepairError> {
        let options = SledOptions::new(&new.path, new.id);
        open::create(&options, &self.head.epoch)?;
        let log = open::open(options, HeadPolicy::Require)?.log;
        self.merge(Some((&log, new)))?;
        let failed = |what| move |source| RepairError::Io { what, source };
        log.close().map_err(failed("the new log could not be closed"))?;
        match fs::read(self.store.ledger_mark()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            mark => mark.and_then(|mark| private::write(&new.ledger_mark(), &mark)),
        }
        .map_err(failed("how far the ledger was held against the log could not be copied"))
    }
}

/// Data keys that are put into the log at a time.
const KEYS_AT_ONCE: usize = 256;
/// Frames that are put into it at a time, in bytes.
const COMMIT_BYTES: usize = 1 << 20;

/// The frames of the repaired log, as far as they were chosen.
struct Frames<'a> {
    into: Option<&'a dyn EventLog>,
    head: &'a HeadRecord,
    heads: Heads,
    /// Whether the frame that the head file names is the one that it names.
    reached: bool,
    /// The data keys that they made and did not destroy.
    keys: KnownKeys,
    /// How many both have.
    agreed: u64,
    /// How many came from the snapshot.
    brought_back: u64,
    batch: Vec<(StreamId, Bytes)>,
    batch_bytes: usize,
}

impl<'a> Frames<'a> {
    fn new(into: Option<&'a dyn EventLog>, head: &'a HeadRecord) -> Self {
        Self {
            into,
            head,
            heads: Heads::default(),
            reached: head.position == Position(0),
            keys: KnownKeys::new(),
            agreed: 0,
            brought_back: 0,
            batch: Vec::new(),
            batch_bytes: 0,
        }
    }

    fn choose(&mut self, position: Position, ours: Option<Bytes>, theirs: Bytes) -> Result<(), RepairError> {
        match ours {
            Some(ours) if ours == theirs => self.agreed += 1,
            // Two that both go on from what lies before are two courses of one store, or two stores.
            Some(ours) if self.follows(&ours) => return Err(RepairError::Foreign(position)),
            Some(_) | None => self.brought_back += 1,
        }
        self.take(theirs)
    }

    fn follows(&self, frame: &Bytes) -> bool {
        Frame::parse(frame.clone()).is_ok_and(|frame| self.heads.after(&frame).is_ok())
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), RepairError> {
        let position = Position(self.heads.end().0 + 1);
        let frame = Frame::parse(bytes).map_err(|_| RepairError::Foreign(position))?;
        let head = self.heads.follow_frame(&frame).map_err(|_| RepairError::Foreign(position))?;
        if position == self.head.position {
            if head.hash != self.head.hash {
                return Err(RepairError::Foreign(position));
            }
            self.reached = true;
        }
        let stream = frame.header().stream;
        for at in 0..frame.len() {
            let event = frame.recorded(at).map_err(|_| RepairError::Foreign(position))?;
            for (id, commitment) in &event.keys {
                self.keys.insert((stream, *id), *commitment);
            }
            for id in event.event.destroyed_keys() {
                self.keys.remove(&(stream, *id));
            }
        }
        if self.into.is_some() {
            self.batch_bytes += frame.bytes().len();
            self.batch.push((stream, frame.bytes().clone()));
            if self.batch_bytes >= COMMIT_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RepairError> {
        self.batch_bytes = 0;
        match self.into {
            Some(log) if !self.batch.is_empty() => Ok(refill::frames(log, self.batch.drain(..))?),
            _ => Ok(()),
        }
    }

    /// That all that was acknowledged is there.
    fn reach(&self) -> Result<(), RepairError> {
        if self.reached {
            return Ok(());
        }
        let missing = Position(self.heads.end().0 + 1);
        Err(RepairError::Missing { must_reach: self.head.position, missing })
    }
}
