//! The log on sled 0.34: one tree, one batch a commit, and every commit synced before the next is applied.
//!
//! sled's `flush` does not sync, and with two batches unsynced across a segment boundary a power cut can leave
//! it empty without an error. So a commit is, strictly in this order: *settle* the last batch (read each of its
//! keys, so that the pages they fell into split and merge now; sync if that wrote anything), *apply* the batch,
//! *flush*, *sync* sled's file through a handle of our own, write the *head* file, publish. Whoever reads sled
//! takes turns with that, because a read splits and merges pages too. Only this folder knows sled.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use sled::{Batch, Db};

use self::durability::{Durability, Step};
use self::engine::{Engine, drop_engine, guarded};
use self::open::SledOptions;
use self::recent::Recent;
use self::ring::Ring;
use self::turns::{Shared, Turns};
use super::head::HeadFile;
use super::heads::{Admitted, Heads};
use super::run::{self, MAX_RUN_BYTES};
use super::{Append, AppendError, EventLog, Head, Key, Position, READ_BYTES, ReadError};
use crate::ids::{DataKeyId, StreamId};

pub mod durability;
mod engine;
pub mod inspect;
mod keys;
pub mod open;
mod read;
mod recent;
mod recover;
mod ring;
mod turns;

/// A log on sled.
pub struct SledLog {
    engine: Engine,
    durability: Arc<dyn Durability>,
    turns: Turns,
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
            turns: Turns::default(),
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
        let _turn: Option<Shared<'_>> = self.durability.readers_wait().then(|| self.turns.shared());
        self.db().and_then(|db| guarded(|| read(&db))).map_err(|error| ReadError::Storage(error.to_string()))
    }

    /// Commits a batch. An error leaves unknown what of it is on disk.
    fn commit(
        &self,
        writer: &mut Writer,
        admitted: &Admitted,
        batch: Batch,
        keys: Vec<Vec<u8>>,
    ) -> io::Result<()> {
        let db = self.db()?;
        let disk = &*self.durability;
        disk.before(Step::Settle)?;
        for key in &writer.unsettled {
            guarded(|| db.get(key))?;
        }
        // If the engine dies from here to the sync, at most what settling wrote is torn: no batch is.
        if guarded(|| db.flush())? > 0 {
            disk.sync_log(&writer.file)?;
        }
        disk.before(Step::Apply)?;
        writer.unsettled = keys;
        guarded(|| db.apply_batch(batch))?;
        // If it dies from here to the sync, this one batch is torn, and sled drops all of it.
        disk.before(Step::Flush)?;
        guarded(|| db.flush())?;
        disk.before(Step::Sync)?;
        disk.sync_log(&writer.file)?;
        // If it dies here, the batch is kept although nobody was told.
        disk.before(Step::Head)?;
        if let (Some(head), Some(hash), Some((end, _))) =
            (&mut writer.head, admitted.hash, admitted.frames.last())
        {
            head.write(*end, hash)?;
        }
        Ok(())
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
        let (batch, keys) = batch_of(&admitted, &appends)?;
        if keys.is_empty() {
            return Ok(admitted.positions);
        }
        let alone = self.turns.alone();
        if let Err(error) = self.commit(&mut writer, &admitted, batch, keys) {
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
        let keep = |first, run: &[Bytes]| self.recent().insert(first, run);
        self.in_turn(|db| Ok(read::at(db, positions, remembered, keep)))?
    }
}

/// All of one commit: the run's parts, and what is put and removed. The keys are those to settle.
fn batch_of(admitted: &Admitted, appends: &[Append]) -> Result<(Batch, Vec<Vec<u8>>), AppendError> {
    let mut batch = Batch::default();
    let mut touched = Vec::new();
    if let Some((first, _)) = admitted.frames.first() {
        let run = run::join(admitted.frames.iter().map(|(_, frame)| frame));
        if run.len() > MAX_RUN_BYTES {
            let reason = format!("a batch of {} bytes is larger than {MAX_RUN_BYTES}", run.len());
            return Err(AppendError::Refused { stream: appends[0].stream, reason });
        }
        for (number, part) in (0..).zip(run::cut(*first, &run)) {
            let key = keys::part(*first, number).to_vec();
            batch.insert(key.clone(), part);
            touched.push(key);
        }
    }
    for append in appends {
        for (key, value) in &append.put {
            batch.insert(keys::of(key), value.clone());
            touched.push(keys::of(key));
        }
        for key in &append.remove {
            batch.remove(keys::of(key));
            touched.push(keys::of(key));
        }
    }
    Ok((batch, touched))
}
