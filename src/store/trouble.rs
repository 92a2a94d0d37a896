//! What operators are told of the write path: that a commit takes long, that the queue was full a moment ago, and once, for which
//! streams a key cannot be replaced until there is room.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::StreamId;
use crate::store::{Refusal, Store};

/// A commit that takes longer is in trouble: a healthy disk syncs within milliseconds.
const SLOW_COMMIT: Duration = Duration::from_secs(1);
/// For so long a queue that was full is spoken of: it is looked at now and then, and empties between two looks.
const LATELY: Duration = Duration::from_secs(5);

/// Since when something is so, by the time since the machine was started.
#[derive(Debug, Default)]
struct Since(AtomicU64);

impl Since {
    /// Microseconds, of which the machine has more than none once anything runs on it.
    fn set(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros.max(1), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// For how long it has been so; nothing where it is not.
    fn lasting(&self, now: Duration) -> Option<Duration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros > 0).then(|| now.saturating_sub(Duration::from_micros(micros)))
    }
}

/// What the write path has to say of itself.
#[derive(Debug, Default)]
pub struct Trouble {
    commit: Since,
    refused: Since,
    /// Streams of which it was said that their key waits for room to be replaced.
    without_room: Mutex<BTreeSet<StreamId>>,
}

impl Trouble {
    /// A commit begins.
    pub fn commit_begins(&self, now: Duration) {
        self.commit.set(now);
    }

    /// It is durable.
    pub fn commit_ends(&self) {
        self.commit.clear();
    }

    /// How long the commit under way has taken; nothing between two.
    pub fn commit_lasting(&self, now: Duration) -> Option<Duration> {
        self.commit.lasting(now)
    }

    /// A command found the queue full.
    pub fn queue_was_full(&self, now: Duration) {
        self.refused.set(now);
    }

    /// Whether a command found the queue full within the last five seconds.
    pub fn was_queue_full(&self, now: Duration) -> bool {
        self.refused.lasting(now).is_some_and(|ago| ago < LATELY)
    }

    /// The key of a stream waits for room to be replaced. Whether that is to be said: it is tried each minute.
    pub fn key_waits_for_room(&self, stream: StreamId) -> bool {
        self.without_room().insert(stream)
    }

    /// There is room for it.
    pub fn key_has_room(&self, stream: StreamId) {
        self.without_room().remove(&stream);
    }

    fn without_room(&self) -> MutexGuard<'_, BTreeSet<StreamId>> {
        self.without_room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// How many commands wait, and how many can.
    pub fn queue(&self) -> (usize, usize) {
        let capacity = self.inner.queue_capacity;
        let free = self.sender().map_or(capacity, |sender| sender.capacity());
        (capacity - free, capacity)
    }

    /// Whether commands are taken.
    pub fn is_ready(&self) -> bool {
        self.sender().is_some_and(|sender| !sender.is_closed())
    }

    /// Whether anything but a removal would be recorded at the moment, by the clock and the disk.
    ///
    /// # Errors
    /// Why not.
    pub fn check_recording(&self) -> Result<(), Refusal> {
        let clock = self.inner.clock.writable_now();
        clock.map_err(|jumped| Refusal::ClockJumped(jumped.to_string()))?;
        if (self.inner.disk)() { Ok(()) } else { Err(Refusal::DiskFull) }
    }

    /// What writes wait for, for operators.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.is_ready() {
            problems.push("the writer has stopped".to_owned());
        }
        if let Err(jumped) = self.inner.clock.writable_now() {
            problems.push(jumped.to_string());
        }
        if !(self.inner.disk)() {
            problems.push("the disk is nearly full".to_owned());
        }
        let (length, capacity) = self.queue();
        if length >= capacity || self.inner.trouble.was_queue_full(self.inner.clock.boot_elapsed()) {
            problems.push("the write queue is full".to_owned());
        }
        if let Some(lasting) = self.commit_lasting().filter(|lasting| *lasting >= SLOW_COMMIT) {
            problems.push(format!("the disk has not synced a commit for {} s", lasting.as_secs()));
        }
        problems
    }

    /// How long the commit under way has taken; nothing between two.
    pub fn commit_lasting(&self) -> Option<Duration> {
        self.inner.trouble.commit_lasting(self.inner.clock.boot_elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_lasts_from_its_beginning_to_its_end() {
        let (trouble, at) = (Trouble::default(), Duration::from_secs);
        assert_eq!(trouble.commit_lasting(at(5)), None);
        trouble.commit_begins(at(5));
        assert_eq!(trouble.commit_lasting(at(8)), Some(at(3)));
        trouble.commit_ends();
        assert_eq!(trouble.commit_lasting(at(9)), None);
    }

    #[test]
    fn a_full_queue_is_spoken_of_for_a_while() {
        let (trouble, at) = (Trouble::default(), Duration::from_secs);
        assert!(!trouble.was_queue_full(at(5)));
        trouble.queue_was_full(at(5));
        assert!(trouble.was_queue_full(at(5)) && trouble.was_queue_full(at(9)));
        assert!(!trouble.was_queue_full(at(10)));
    }

    #[test]
    fn that_a_key_waits_for_room_is_said_once_until_there_is_some() {
        let trouble = Trouble::default();
        let (one, other) = (StreamId::Platform, StreamId::Organization(crate::given::id(1)));
        let said = |stream| trouble.key_waits_for_room(stream);
        assert_eq!([said(one), said(one), said(other), said(one)], [true, false, true, false]);
        trouble.key_has_room(one);
        assert_eq!([said(one), said(other)], [true, false]);
    }
}
