//! [`Bounded`]: values that took work to come by, kept in memory within so many bytes. Whoever asks for one that
//! somebody else is making waits for it, instead of making it twice.
//!
//! What is kept never changes, so nothing here knows of staleness: a key names one value for as long as the store is
//! open. What the values are is the business of who makes them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bounded memory; what was used longest ago goes first. Cloning a value is meant to be cheap.
#[derive(Debug)]
pub struct Bounded<K, V> {
    limit: usize,
    held: Mutex<Held<K, V>>,
}

#[derive(Debug)]
struct Held<K, V> {
    values: BTreeMap<K, Kept<V>>,
    /// The keys in the order of their last use.
    uses: BTreeMap<u64, K>,
    next_use: u64,
    bytes: usize,
    /// What somebody is making right now.
    making: BTreeMap<K, Making<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: usize,
    used: u64,
}

/// Held locked while the value is made; it is in there afterwards, for those who waited.
type Making<V> = Arc<Mutex<Option<V>>>;

impl<K: Ord + Clone, V: Clone> Bounded<K, V> {
    /// An empty memory of `limit` bytes; a single value may be larger.
    pub fn new(limit: usize) -> Self {
        let held = Held {
            values: BTreeMap::new(),
            uses: BTreeMap::new(),
            next_use: 0,
            bytes: 0,
            making: BTreeMap::new(),
        };
        Self { limit, held: Mutex::new(held) }
    }

    /// The value of a key; where it is not kept, `make` gives it with its bytes. `make` may ask for other keys, never in a
    /// circle. Blocks while somebody else is making it.
    ///
    /// # Errors
    /// That of `make`, of which nothing is kept: the next who asks, and each who waited, tries anew.
    pub fn get_or_make<E>(&self, key: K, make: impl FnOnce() -> Result<(V, usize), E>) -> Result<V, E> {
        let making = {
            let mut held = self.held();
            if let Some(value) = held.use_of(&key) {
                return Ok(value);
            }
            Arc::clone(held.making.entry(key.clone()).or_default())
        };
        let mut made = making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*made {
            return Ok(value.clone());
        }
        let result = make();
        let mut held = self.held();
        match result {
            Ok((value, bytes)) => {
                *made = Some(value.clone());
                held.making.remove(&key);
                held.put(key, value.clone(), bytes, self.limit);
                Ok(value)
            }
            Err(error) => {
                // Beside the map's and this one: somebody waits, and is the next to try.
                if Arc::strong_count(&making) == 2 {
                    held.making.remove(&key);
                }
                Err(error)
            }
        }
    }

    /// The last value that is kept of a range of keys, with its key.
    pub fn last_of(&self, keys: RangeInclusive<K>) -> Option<(K, V)> {
        let mut held = self.held();
        let key = held.values.range(keys).next_back()?.0.clone();
        let value = held.use_of(&key)?;
        Some((key, value))
    }

    /// The value of a key, if it is kept.
    pub fn get(&self, key: &K) -> Option<V> {
        self.held().use_of(key)
    }

    /// Keeps a value of so many bytes.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        self.held().put(key, value, bytes, self.limit);
    }

    /// Forgets the values of a range of keys that are not to be kept.
    pub fn forget(&self, keys: RangeInclusive<K>, keep: impl Fn(&K, &V) -> bool) {
        let mut held = self.held();
        let gone = held.values.range(keys).filter(|(key, kept)| !keep(key, &kept.value));
        let gone: Vec<K> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            held.remove(&key);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held<K, V>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V: Clone> Held<K, V> {
    fn use_of(&mut self, key: &K) -> Option<V> {
        let kept = self.values.get_mut(key)?;
        self.uses.remove(&kept.used);
        kept.used = self.next_use;
        self.uses.insert(kept.used, key.clone());
        self.next_use += 1;
        Some(kept.value.clone())
    }

    fn remove(&mut self, key: &K) {
        if let Some(gone) = self.values.remove(key) {
            self.uses.remove(&gone.used);
            self.bytes -= gone.bytes;
        }
    }

    fn put(&mut self, key: K, value: V, bytes: usize, limit: usize) {
        let used = self.next_use;
        self.next_use += 1;
        self.bytes += bytes;
        self.uses.insert(used, key.clone());
        if let Some(known) = self.values.insert(key, Kept { value, bytes, used }) {
            self.uses.remove(&known.used);
            self.bytes -= known.bytes;
        }
        while self.bytes > limit && self.values.len() > 1 {
            let Some((_, oldest)) = self.uses.pop_first() else { return };
            if let Some(gone) = self.values.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn kept(memory: &Bounded<u32, u32>, key: u32) -> bool {
        memory.get_or_make(key, || Err(())).is_ok()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_bytes_stay_within_the_limit() {
        let memory = Bounded::new(100);
        for key in 0..4 {
            memory.put(key, key, 25);
        }
        assert!(kept(&memory, 0), "now used after the others");
        memory.put(4, 4, 25);
        assert!(!kept(&memory, 1) && kept(&memory, 0) && kept(&memory, 2));
        memory.put(2, 2, 50);
        assert_eq!(memory.held().bytes, 100, "a value that is put again counts once");
        assert!(!kept(&memory, 3));
        memory.put(5, 5, 1_000);
        let held = memory.held();
        assert_eq!((held.bytes, held.values.len(), held.uses.len()), (1_000, 1, 1), "one may be larger");
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let memory = Bounded::new(100);
        for key in 0..4 {
            memory.put(key, key, 25);
        }
        memory.forget(1..=2, |_, value| *value == 2);
        assert_eq!((memory.get(&1), memory.get(&2)), (None, Some(2)));
        memory.put(4, 4, 25);
        let held = memory.held();
        assert_eq!((held.bytes, held.values.len(), held.uses.len()), (100, 4, 4));
    }

    #[test]
    fn the_last_of_a_range_is_found() {
        let memory = Bounded::new(100);
        for key in [3, 5, 9] {
            memory.put(key, key * 10, 1);
        }
        assert_eq!(memory.last_of(0..=8), Some((5, 50)));
        assert_eq!(memory.last_of(5..=5), Some((5, 50)));
        assert_eq!(memory.last_of(6..=8), None);
    }

    #[test]
    fn what_somebody_is_making_is_waited_for() {
        let memory: Bounded<u32, u32> = Bounded::new(100);
        let (made, begun) = (AtomicUsize::new(0), Barrier::new(2));
        let ask = |waits: bool| {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                begun.wait();
                // Long enough for the other to ask meanwhile.
                std::thread::sleep(Duration::from_millis(200));
                Ok::<_, Infallible>((7, 1))
            };
            if waits {
                begun.wait();
                // Were this one making it as well, nobody would meet it at the barrier.
                memory.get_or_make(1, || Ok::<_, Infallible>((8, 1)))
            } else {
                memory.get_or_make(1, make)
            }
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| ask(true));
            assert_eq!(ask(false), Ok(7));
            assert_eq!(second.join().unwrap(), Ok(7), "the value of the first, not another");
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(memory.held().making.is_empty());
    }

    #[test]
    fn who_waited_for_one_that_failed_tries_anew() {
        let memory: Bounded<u32, u32> = Bounded::new(100);
        let begun = Barrier::new(2);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                begun.wait();
                memory.get_or_make(1, || Ok::<_, &str>((8, 1)))
            });
            let failed = memory.get_or_make(1, || {
                begun.wait();
                std::thread::sleep(Duration::from_millis(200));
                Err("no")
            });
            assert_eq!(failed, Err("no"));
            assert_eq!(second.join().unwrap(), Ok(8));
        });
        assert!(!kept(&memory, 2));
        assert!(memory.held().making.is_empty());
    }
}
