//! What is being recorded as read for the first time: of many who read a value at the same time one records it, and the others
//! wait until that is durable. Nothing is locked meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ids::{ApiKeyId, EnvironmentId, SecretId};

/// A value of a secret, by its number.
pub type Value = (SecretId, u64);

/// What it is durable of in an hour that a key read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noted {
    Value(Value),
    /// All that is seen in an environment at a version: so of thousands of values none has to be looked up.
    All(EnvironmentId, Arc<str>),
}

type Open = BTreeMap<(ApiKeyId, Noted), watch::Receiver<()>>;

/// What is being recorded. Whoever waits for one holds a receiver, whose sender goes when that is over.
#[derive(Debug, Default)]
pub(super) struct Noting(Mutex<Open>);

/// Some of what a key reads, to be recorded by whoever holds this. Dropping it, also before anything was recorded, makes room
/// for others who wait.
pub(super) struct Turn<'a> {
    noting: &'a Noting,
    key: ApiKeyId,
    mine: Vec<Noted>,
    others: Vec<(Noted, watch::Receiver<()>)>,
    _over: watch::Sender<()>,
}

impl Noting {
    /// Takes a turn for what of this nobody is recording, and is not noted.
    pub(super) fn turn(
        &self,
        key: ApiKeyId,
        wanted: Vec<Noted>,
        is_noted: impl Fn(&Noted) -> bool,
    ) -> Turn<'_> {
        let (over, receiver) = watch::channel(());
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let mut open = self.open();
        for one in wanted {
            match open.get(&(key, one.clone())) {
                Some(other) => others.push((one, other.clone())),
                // Looked up under the lock: whoever was recording it noted it before they went.
                None if is_noted(&one) => {}
                None => {
                    open.insert((key, one.clone()), receiver.clone());
                    mine.push(one);
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
    /// What nobody else records.
    pub(super) fn mine(&self) -> &[Noted] {
        &self.mine
    }

    /// Ends the turn and waits until nobody else records the rest: that, of which some may not have been noted.
    pub(super) async fn others_done(mut self) -> Vec<Noted> {
        let others = std::mem::take(&mut self.others);
        // Whoever waited with a turn of their own could wait for each other.
        drop(self);
        let mut left = Vec::with_capacity(others.len());
        for (one, mut other) in others {
            // Nothing is ever sent: this ends with the other's turn.
            while other.changed().await.is_ok() {}
            left.push(one);
        }
        left
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut open = self.noting.open();
        for one in &self.mine {
            open.remove(&(self.key, one.clone()));
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
        let all = [1, 2, 3].map(|number| Noted::Value((id(number), 1)));
        let (noting, key, some) = (Noting::default(), id(1), |range: &[Noted]| range.to_vec());
        let noted = Mutex::new(BTreeSet::from([all[2].clone()]));
        let is_noted = |one: &Noted| noted.lock().unwrap().contains(one);
        let first = noting.turn(key, some(&all[..1]), is_noted);
        let second = noting.turn(key, some(&all), is_noted);
        assert_eq!((first.mine(), second.mine()), (&all[..1], &all[1..2]));
        assert_eq!(noting.turn(id(2), some(&all[..1]), is_noted).mine(), &all[..1], "another key's");
        let waiting = second.others_done();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(noting.turn(key, some(&all), is_noted).mine(), &all[1..2], "nobody waits with a turn");
        drop(first);
        assert_eq!(waiting.await, all[..1]);
        assert_eq!(noting.turn(key, some(&all[..1]), is_noted).mine(), &all[..1], "the first noted nothing");
        noted.lock().unwrap().insert(all[0].clone());
        assert_eq!(noting.turn(key, some(&all[..1]), is_noted).mine(), []);
        assert!(noting.open().is_empty());
    }
}
