//! A log that is damaged, read as far as each part of it can be: a run that is whole by itself is read whatever lies before it.
//! Nothing is cut, and the head file stays as it is.

use bytes::Bytes;
use sled::Db;

use super::engine::{drop_engine, guarded};
use super::open::{OpenError, SledOptions, check_identity};
use super::{keys, read};
use crate::log::{Key, Position};

/// A damaged log that its engine opens.
pub struct Salvage {
    db: Db,
    /// The run that was read last, and the position of its first frame.
    run: (Position, Vec<Bytes>),
}

impl Salvage {
    /// Opens it. The caller holds the data directory's lock.
    ///
    /// # Errors
    /// When sled does not open, or the log is another store's.
    pub fn open(options: &SledOptions) -> Result<Self, OpenError> {
        let engine = options.engine();
        let db = engine.open(&*options.durability, &mut Vec::new())?;
        check_identity(options, &engine, &db)?;
        Ok(Self { db, run: Default::default() })
    }

    /// The frame at a position, where its run is whole.
    pub fn frame(&mut self, position: Position) -> Option<Bytes> {
        if let Some(frame) = self.held(position) {
            return Some(frame);
        }
        let db = &self.db;
        // sled may give up with a panic on what is damaged.
        let run = guarded(|| Ok(read::run_with(db, position).ok())).ok().flatten();
        self.run = run?;
        self.held(position)
    }

    /// What is put beside the frames, where it can be read.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let stored = guarded(|| self.db.get(keys::of(key))).ok().flatten();
        stored.map(|stored| stored.to_vec())
    }

    /// Lets its engine go.
    ///
    /// # Errors
    /// When it does not end.
    pub fn close(self) -> std::io::Result<()> {
        drop_engine(self.db)
    }

    fn held(&self, position: Position) -> Option<Bytes> {
        let (first, frames) = &self.run;
        let at = usize::try_from(position.0.checked_sub(first.0)?).ok()?;
        frames.get(at).cloned()
    }
}
