//! What is being recorded as read for the first time: of many who read a value at the same time one records it, and the others
//! wait until that is durable. Nothing is locked meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ids::{ApiKeyId, ConnectionId, SecretId};

/// A value of a secret, or a connection's credential, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Secret(SecretId, u64),
    Connection(ConnectionId, u64),
}

type Open = BTreeMap<(ApiKeyId, Value), watch::Receiver<()>>;

/// What is being recorded. Whoever waits for one holds a receiver, whose sender goes when that is over.
#[derive(Debug, Default)]
pub(super) struct Noting(Mutex<Open>);

/// Some values of a key, to be recorded by whoever holds this. Dropping it, also before anything was recorded, makes room
/// for others who wait.
pub(super) struct Turn<'a> {
    noting: &'a Noting,
    key: ApiKeyId,
    mine: Vec<Value>,
    others: Vec<(Value, watch::Receiver<()>)>,
    _over: watch::Sender<()>,
}

impl Noting {
    /// Takes a turn for those of some values that nobody is recording, and that are not noted.
    pub(super) fn turn(&self, key: ApiKeyId, values: &[Value], is_noted: impl Fn(Value) -> bool) -> Turn<'_> {
        let (over, receiver) = watch::channel(());
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let mut open = self.open();
        for value in values.iter().copied() {
            match open.get(&(key, value)) {
                Some(other) => others.push((value, other.clone())),
                // Looked up under the lock: whoever was recording it noted it before they went.
                None if is_noted(value) => {}
                None => {
                    open.insert((key, value), receiver.clone());
                    mine.push(value);
                }
            }
        }
        drop(open);
        Turn { noting: self, key, mine, others, _over: over }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The values that nobody else records.
    pub(super) fn mine(&self) -> &[Value] {
        &self.mine
    }

    /// Ends the turn and waits until nobody else records the rest: those values, of which some may not have been noted.
    pub(super) async fn others_done(mut self) -> Vec<Value> {
        let others = std::mem::take(&mut self.others);
        // Whoever waited with a turn of their own could wait for each other.
        drop(self);
        let mut left = Vec::with_capacity(others.len());
        for (value, mut other) in others {
            // Nothing is ever sent: this ends with the other's turn.
            while other.changed().await.is_ok() {}
            left.push(value);
        }
        left
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut open = self.noting.open();
        for value in &self.mine {
            open.remove(&(self.key, *value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::given::id;

    #[tokio::test]
    async fn of_two_who_note_a_value_one_waits_for_the_other_and_tries_where_that_failed() {
        let (noting, key) = (Noting::default(), id(1));
        let values = [Value::Secret(id(1), 1), Value::Connection(id(1), 1), Value::Secret(id(3), 1)];
        let noted = Mutex::new(BTreeSet::from([values[2]]));
        let is_noted = |value| noted.lock().unwrap().contains(&value);
        let first = noting.turn(key, &values[..1], is_noted);
        let second = noting.turn(key, &values, is_noted);
        assert_eq!((first.mine(), second.mine()), (&values[..1], &values[1..2]));
        assert_eq!(noting.turn(id(2), &values[..1], is_noted).mine(), &values[..1], "another key's");
        let waiting = second.others_done();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(noting.turn(key, &values, is_noted).mine(), &values[1..2], "nobody waits with a turn");
        drop(first);
        assert_eq!(waiting.await, values[..1]);
        assert_eq!(noting.turn(key, &values[..1], is_noted).mine(), &values[..1], "the first noted nothing");
        noted.lock().unwrap().insert(values[0]);
        assert_eq!(noting.turn(key, &values[..1], is_noted).mine(), []);
        assert!(noting.open().is_empty());
    }
}
