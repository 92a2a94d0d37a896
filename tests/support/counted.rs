//! A log that counts the frames that are read one by one, and takes its time for them if it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use settled::ids::{DataKeyId, StreamId};
use settled::log::{Append, AppendError, EventLog, Head, Key, Position, ReadError};

pub struct Counted {
    log: Arc<dyn EventLog>,
    read: AtomicU64,
    slow: AtomicBool,
}

impl Counted {
    pub fn over(log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self { log, read: AtomicU64::new(0), slow: AtomicBool::new(false) })
    }

    /// How many frames were read since the last time that this was asked.
    pub fn read_since(&self) -> u64 {
        self.read.swap(0, Ordering::Relaxed)
    }

    /// From now on every read takes a millisecond.
    pub fn slow_down(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }
}

impl EventLog for Counted {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        self.log.append(appends)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        self.log.get(key)
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        self.log.data_keys(stream)
    }

    fn last(&self, stream: StreamId) -> Option<Head> {
        self.log.last(stream)
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.log.streams()
    }

    fn end(&self) -> Position {
        self.log.end()
    }

    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        self.log.read(after)
    }

    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        self.read.fetch_add(positions.len() as u64, Ordering::Relaxed);
        if self.slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.log.read_at(positions)
    }
}
