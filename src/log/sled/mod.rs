//! The log on sled 0.34: one tree, one batch a commit, and every commit synced before the next is applied.
//!
//! sled's `flush` does not sync, and with two batches unsynced across a segment boundary a power cut can leave
//! it empty without an error. So a commit is, strictly in this order: *settle* the last batch (read each of its
//! keys, so that the pages they fell into split and merge now; sync if that wrote anything), *apply* the batch,
//! *flush*, *sync* sled's file through a handle of our own, write the *head* file, publish. Whoever reads sled
//! takes turns with that, because a read splits and merges pages too.
//!
//! sled writes up to three times the bytes of a batch, in segments of 512 KiB, and a batch that is torn in the middle
//! one of three segments leaves the whole file empty to sled. So a commit of more than [`PORTION_PARTS`] is made in
//! portions, each settled, applied, flushed and synced before the next; the run's first part comes last, and without it
//! a start cuts the rest. Only this folder knows sled.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use sled::{Batch, Db};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::durability::{Durability, Step};
use self::engine::{Engine, drop_engine, guarded};
use self::open::SledOptions;
use self::recent::Recent;
use self::ring::Ring;
use self::turns::{Shared, Turns};
use super::head::HeadFile;
use super::heads::{Admitted, Heads};
use super::run::{self, MAX_PART_BYTES, MAX_RUN_BYTES};
use super::{Append, AppendError, EventLog, Head, Key, Position, READ_BYTES, ReadError, reading};
use crate::ids::{DataKeyId, StreamId};

/// The most parts of a run that one of sled's batches holds: 128 KiB, of which sled makes less than one of its segments.
const PORTION_PARTS: usize = (128 << 10) / MAX_PART_BYTES;

/// The most data keys that one of them puts: each takes some 400 bytes of sled.
const PORTION_KEYS: usize = 256;

/// A read that had to wait so long keeps its turn: no commit of a healthy disk takes it.
const LONG_WAIT: Duration = Duration::from_millis(200);

pub mod durability;
mod engine;
pub mod inspect;
mod keys;
pub mod open;
mod read;
mod recent;
mod recover;
mod ring;
pub mod salvage;
mod turns;

/// A log on sled.
pub struct SledLog {
    engine: Engine,
    durability: Arc<dyn Durability>,
    turns: Arc<Turns>,
    /// `None` once closed.
    db: RwLock<Option<Db>>,
    writer: Mutex<Writer>,
    published: RwLock<Published>,
    recent: Mutex<Recent>,
    /// Why the log refuses every call, once a write, flush or sync has failed.
    poisoned: OnceLock<String>,
}

struct Writer {
    file: File,
    /// `None` once closed.
    head: Option<HeadFile>,
    /// The keys of the last batch, not yet settled.
    unsettled: Vec<Vec<u8>>,
}

struct Published {
    heads: Heads,
    ring: Ring,
}

impl SledLog {
    fn assemble(
        options: SledOptions,
        engine: Engine,
        db: Db,
        file: File,
        head: HeadFile,
        heads: Heads,
    ) -> Self {
        let ring = Ring::new(options.ring_bytes, heads.end());
        Self {
            engine,
            durability: options.durability,
            turns: Arc::default(),
            db: RwLock::new(Some(db)),
            writer: Mutex::new(Writer { file, head: Some(head), unsettled: Vec::new() }),
            published: RwLock::new(Published { heads, ring }),
            recent: Mutex::new(Recent::new(options.ring_bytes)),
            poisoned: OnceLock::new(),
        }
    }

    /// sled's folder.
    pub fn dir(&self) -> &Path {
        &self.engine.dir
    }

    /// Stops cleanly: nothing can be appended or read afterwards, and the next start is a quick one.
    ///
    /// # Errors
    /// When something cannot be written or synced; the next start then takes the stop for an unclean one.
    pub fn close(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.turns.alone();
        if let Some(why) = self.poisoned.get() {
            return Err(io::Error::other(why.clone()));
        }
        let Some(db) = self.db.write().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        guarded(|| db.flush())?;
        drop_engine(db)?;
        if let Some(head) = writer.head.take() {
            head.close()?;
        }
        self.engine.close(&writer.file)
    }

    fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn db(&self) -> io::Result<Db> {
        if let Some(why) = self.poisoned.get() {
            return Err(io::Error::other(why.clone()));
        }
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner).clone();
        db.ok_or_else(|| io::Error::other("the log is closed"))
    }

    /// Reads sled in turn.
    fn in_turn<T>(&self, read: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T, ReadError> {
        let _turn: Option<Shared> = self.durability.readers_wait().then(|| self.turn()).flatten();
        self.db().and_then(|db| guarded(|| read(&db))).map_err(|error| ReadError::Storage(error.to_string()))
    }

    /// A reader's turn; none where the read of this thread keeps one. Waits for it as long as a commit may take, which on
    /// a disk in trouble is seconds: a thread that serves requests gives the others away until then, or a few readers of
    /// one key would stop all.
    fn turn(&self) -> Option<Shared> {
        let log = Arc::as_ptr(&self.turns).addr();
        if reading::keeps(log) {
            return None;
        }
        if let Some(turn) = self.turns.try_shared() {
            return Some(turn);
        }
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        let (turn, waited) = match flavor {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.turns.shared()),
            // A thread of no runtime, or a runtime of one thread, which has nobody to give anything to.
            _ => self.turns.shared(),
        };
        if waited < LONG_WAIT { Some(turn) } else { reading::keep(log, turn) }
    }

    /// Commits what was admitted. An error leaves unknown what of it is on disk.
    fn commit(&self, writer: &mut Writer, admitted: &Admitted, portions: Vec<Portion>) -> io::Result<()> {
        let db = self.db()?;
        for portion in portions {
            self.write(writer, &db, portion)?;
        }
        // If it dies here, the commit is kept although nobody was told.
        self.durability.before(Step::Head)?;
        if let (Some(head), Some(hash), Some((end, _))) =
            (&mut writer.head, admitted.hash, admitted.frames.last())
        {
            head.write(*end, hash)?;
        }
        Ok(())
    }

    /// Makes one portion of a commit durable; where that is deferred, closing does.
    fn write(&self, writer: &mut Writer, db: &Db, portion: Portion) -> io::Result<()> {
        let disk = &*self.durability;
        if disk.is_deferred() {
            return guarded(|| db.apply_batch(portion.batch));
        }
        disk.before(Step::Settle)?;
        for key in &writer.unsettled {
            guarded(|| db.get(key))?;
        }
        // If the engine dies from here to the sync, at most what settling wrote is torn: no batch is.
        if guarded(|| db.flush())? > 0 {
            disk.sync_log(&writer.file)?;
        }
        disk.before(Step::Apply)?;
        writer.unsettled = portion.keys;
        guarded(|| db.apply_batch(portion.batch))?;
        // If it dies from here to the sync, this one batch is torn, and sled drops all of it.
        disk.before(Step::Flush)?;
        guarded(|| db.flush())?;
        disk.before(Step::Sync)?;
        disk.sync_log(&writer.file)
    }

    fn publish(&self, admitted: &Admitted, appends: Vec<Append>) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        published.heads.publish(admitted);
        for (_, frame) in &admitted.frames {
            published.ring.push(frame.clone());
        }
        for append in appends {
            for (key, value) in append.put {
                published.ring.note(key, Some(value));
            }
            for key in append.remove {
                published.ring.note(key, None);
            }
        }
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        // sled panics when it cannot sync while it is dropped; whoever gets here without `close` has already
        // been told, or is about to die.
        if let Some(db) = self.db.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = drop_engine(db);
        }
    }
}

impl EventLog for SledLog {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = self.poisoned.get() {
            return Err(AppendError::Fatal(why.clone()));
        }
        let admitted = self.published().heads.admit(&appends)?;
        let portions = portions(&admitted, &appends)?;
        if portions.is_empty() {
            return Ok(admitted.positions);
        }
        let alone = self.turns.alone();
        if let Err(error) = self.commit(&mut writer, &admitted, portions) {
            let why = self.poisoned.get_or_init(|| error.to_string());
            return Err(AppendError::Fatal(why.clone()));
        }
        self.publish(&admitted, appends);
        drop(alone);
        Ok(admitted.positions)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(known) = self.published().ring.key(key) {
            return Ok(known);
        }
        Ok(self.in_turn(|db| db.get(keys::of(key)))?.map(|value| value.to_vec()))
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        self.in_turn(|db| {
            let mut found = Vec::new();
            for entry in db.scan_prefix(keys::data_keys(stream)) {
                let (key, value) = entry?;
                found.extend(keys::of_data_key(&key).map(|id| (id, value.to_vec())));
            }
            Ok(found)
        })
    }

    fn last(&self, stream: StreamId) -> Option<Head> {
        self.published().heads.last(stream)
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.published().heads.iter().collect()
    }

    fn end(&self) -> Position {
        self.published().heads.end()
    }

    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let remembered = {
            let published = self.published();
            if after >= published.heads.end() {
                return Ok(Vec::new());
            }
            published.ring.after(after)
        };
        match remembered {
            Some(frames) => Ok(frames),
            None => self.in_turn(|db| read::after(db, after, READ_BYTES))?,
        }
    }

    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        let mut remembered: Vec<Option<Bytes>> = {
            let published = self.published();
            positions.iter().map(|position| published.ring.frame(*position)).collect()
        };
        let all_remembered = |frames: &[Option<Bytes>]| frames.iter().all(Option::is_some);
        if !all_remembered(&remembered) {
            let mut recent = self.recent();
            for (frame, position) in remembered.iter_mut().zip(positions) {
                *frame = frame.take().or_else(|| recent.frame(*position));
            }
        }
        if all_remembered(&remembered) {
            return Ok(remembered.into_iter().flatten().collect());
        }
        // A turn for each run: a commit waits for one of them, never for a page.
        read::at(positions, remembered, |position| {
            let run = self.in_turn(|db| Ok(read::run_with(db, position)))??;
            self.recent().insert(run.0, &run.1);
            Ok(run)
        })
    }
}

/// What one of sled's batches holds of a commit.
#[derive(Default)]
struct Portion {
    batch: Batch,
    /// The keys that it touches, to be settled.
    keys: Vec<Vec<u8>>,
}

impl Portion {
    fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.batch.insert(key.clone(), value);
        self.keys.push(key);
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.batch.remove(key.clone());
        self.keys.push(key);
    }
}

/// One commit in the order in which its portions are written: the run's last parts first, and what makes the commit
/// count (the run's first part, and what is put and removed) together in the last portion. Data keys beyond what that has
/// room for come before all: a key that no event names yet does no harm.
fn portions(admitted: &Admitted, appends: &[Append]) -> Result<Vec<Portion>, AppendError> {
    let mut portions = Vec::new();
    let is_data_key = |(key, _): &&(Key, Vec<u8>)| matches!(key, Key::DataKey(..));
    let (keys_put, others_put): (Vec<_>, Vec<_>) =
        appends.iter().flat_map(|append| &append.put).partition(is_data_key);
    let (early, late) = keys_put.split_at(keys_put.len().saturating_sub(PORTION_KEYS));
    let early = early.chunks(PORTION_KEYS).map(|keys| {
        let mut portion = Portion::default();
        keys.iter().for_each(|(key, value)| portion.insert(keys::of(key), value.clone()));
        portion
    });
    let early: Vec<Portion> = early.collect();
    if let Some((first, _)) = admitted.frames.first() {
        let run = run::join(admitted.frames.iter().map(|(_, frame)| frame));
        if run.len() > MAX_RUN_BYTES {
            let reason = format!("a batch of {} bytes is larger than {MAX_RUN_BYTES}", run.len());
            return Err(AppendError::Refused { stream: appends[0].stream, reason });
        }
        let mut parts = (0..).zip(run::cut(*first, &run)).peekable();
        while parts.peek().is_some() {
            let mut portion = Portion::default();
            for (number, part) in parts.by_ref().take(PORTION_PARTS) {
                portion.insert(keys::part(*first, number).to_vec(), part);
            }
            portions.push(portion);
        }
        portions.reverse();
    }
    let mut last = portions.pop().unwrap_or_default();
    for (key, value) in late.iter().chain(&others_put) {
        last.insert(keys::of(key), value.clone());
    }
    for key in appends.iter().flat_map(|append| &append.remove) {
        last.remove(keys::of(key));
    }
    if !last.keys.is_empty() {
        portions.push(last);
    }
    Ok(early.into_iter().chain(portions).collect())
}
