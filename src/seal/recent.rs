//! A bounded map that keeps what was used last. Knows nothing of keys; what it lets go is dropped at once.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the `capacity / 2` entries that were used last, and at most `capacity`.
///
/// Two halves: what is used moves to the young one, and when that is full it becomes the old one, whose
/// remaining entries go. So every operation costs one or two look-ups, without a list to keep in order.
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    /// An empty map of at most `capacity` entries (at least two).
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// The value, which counts as used.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    /// The value, which does not count as used.
    pub(super) fn peek(&self, key: &K) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).cloned()
    }

    /// Adds or replaces a value.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Lets a value go.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_over_its_capacity() {
        let mut recent = Recent::new(10);
        for key in 0..1_000 {
            recent.insert(key, key);
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(10);
        recent.insert(-1, -1);
        for key in 0..100 {
            recent.insert(key, key);
            assert_eq!(recent.get(&-1), Some(-1));
        }
        assert_eq!(recent.get(&0), None);
        assert_eq!(recent.get(&99), Some(99));
    }

    #[test]
    fn what_was_removed_is_gone_from_both_halves() {
        let mut recent = Recent::new(4);
        for key in 0..3 {
            recent.insert(key, key);
        }
        for key in 0..3 {
            recent.remove(&key);
            assert_eq!(recent.get(&key), None);
        }
    }
}
