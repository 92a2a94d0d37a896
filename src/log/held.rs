//! A log whose appends wait for a word, or fail on one: for the tests of those who build on a log.
//!
//! It shows whether anything gets out that rests on an event which is not durable, and what becomes of a
//! program whose disk fails. No server is built with it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Append, AppendError, EventLog, Head, Key, Position, ReadError};
use crate::ids::{DataKeyId, StreamId};

/// How long [`Hold::until_waiting`] waits: longer than any machine needs, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// A log around another whose appends do as a [`Hold`] says. Until an append is let through, no read sees it.
#[derive(Debug)]
pub struct HeldLog<L> {
    inner: L,
    hold: Hold,
}

/// The word for a [`HeldLog`]. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<(Mutex<Word>, Condvar)>);

#[derive(Debug, Default)]
struct Word {
    held: bool,
    /// How many appends go through although the log is held.
    excepted: usize,
    waiting: usize,
    failure: Option<String>,
    panic: Option<String>,
    poisoned: Option<String>,
}

impl<L: EventLog> HeldLog<L> {
    /// A log whose appends go through until the hold says otherwise.
    pub fn new(inner: L) -> (Self, Hold) {
        let hold = Hold::default();
        (Self { inner, hold: hold.clone() }, hold)
    }
}

impl Hold {
    /// From now on appends wait.
    pub fn hold(&self) {
        self.word().held = true;
    }

    /// Lets the waiting appends through, and those that follow.
    pub fn release(&self) {
        self.word().held = false;
        self.0.1.notify_all();
    }

    /// Lets one append through, the one that waits or the next, and holds those after it. Returns once it is
    /// through.
    pub fn let_one_through(&self) {
        self.word().excepted += 1;
        self.0.1.notify_all();
        let word = self.word();
        let through = self.0.1.wait_timeout_while(word, PATIENCE, |word| word.excepted > 0);
        drop(through.unwrap_or_else(PoisonError::into_inner));
    }

    /// The next append to be let through, or the one that waits, fails with this message; so do all after it.
    /// Nothing of them is appended.
    pub fn fail(&self, message: impl Into<String>) {
        self.word().failure = Some(message.into());
    }

    /// The next append to be let through, or the one that waits, panics with this message, as a bug would.
    pub fn panic(&self, message: impl Into<String>) {
        self.word().panic = Some(message.into());
    }

    /// How many appends wait.
    pub fn waiting(&self) -> usize {
        self.word().waiting
    }

    /// Returns once an append waits; false if none came within 20 seconds.
    pub fn until_waiting(&self) -> bool {
        let word = self.word();
        let waited = self.0.1.wait_timeout_while(word, PATIENCE, |word| word.waiting == 0);
        let (word, _) = waited.unwrap_or_else(PoisonError::into_inner);
        word.waiting > 0
    }

    fn word(&self) -> MutexGuard<'_, Word> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) -> Result<(), AppendError> {
        let mut word = self.word();
        word.waiting += 1;
        self.0.1.notify_all();
        word = self
            .0
            .1
            .wait_while(word, |word| word.held && word.excepted == 0)
            .unwrap_or_else(PoisonError::into_inner);
        word.waiting -= 1;
        word.excepted = word.excepted.saturating_sub(1);
        self.0.1.notify_all();
        if let Some(message) = word.panic.take() {
            drop(word);
            std::panic::panic_any(message);
        }
        if let Some(failure) = word.failure.take() {
            word.poisoned = Some(failure);
        }
        word.poisoned.clone().map_or(Ok(()), |message| Err(AppendError::Fatal(message)))
    }
}

impl<L: EventLog> EventLog for HeldLog<L> {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        self.hold.pass()?;
        self.inner.append(appends)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        self.inner.get(key)
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        self.inner.data_keys(stream)
    }

    fn last(&self, stream: StreamId) -> Option<Head> {
        self.inner.last(stream)
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.inner.streams()
    }

    fn end(&self) -> Position {
        self.inner.end()
    }

    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        self.inner.read(after)
    }

    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        self.inner.read_at(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryLog;
    use super::*;
    use uuid::Uuid;

    fn put(byte: u8) -> (Key, Vec<Append>) {
        let stream = StreamId::Platform;
        let key = Key::DataKey(stream, DataKeyId::from_uuid(Uuid::from_u128(u128::from(byte))));
        let put = vec![(key, vec![byte])];
        (key, vec![Append { stream, expected: None, frame: None, put, remove: Vec::new() }])
    }

    #[test]
    fn a_held_append_is_seen_by_nobody_until_it_is_released() {
        let (log, hold) = HeldLog::new(MemoryLog::new());
        let (key, append) = put(1);
        hold.hold();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| log.append(append));
            assert!(hold.until_waiting());
            assert_eq!((hold.waiting(), log.get(&key).expect("memory can be read")), (1, None));
            hold.release();
            assert!(writer.join().expect("the writer ends").is_ok());
        });
        assert_eq!((hold.waiting(), log.get(&key).expect("memory can be read")), (0, Some(vec![1])));
    }

    #[test]
    fn a_failed_append_leaves_nothing_and_all_later_ones_fail_alike() {
        let (log, hold) = HeldLog::new(MemoryLog::new());
        hold.fail("the disk is gone");
        for byte in 1..3 {
            let (key, append) = put(byte);
            let error = log.append(append).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some("the log could not be made durable: the disk is gone"));
            assert_eq!(log.get(&key).expect("memory can be read"), None);
        }
    }
}
