//! The newest frames and keys in memory, so that who reads what was just written never waits for the engine.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::log::{Key, Position, READ_BYTES};

/// A bounded memory of the newest frames, without a gap, and of the keys put or removed last.
#[derive(Debug)]
pub(super) struct Ring {
    limit: usize,
    /// The position of the first frame in `frames`, or the next one where there is none.
    first: Position,
    frames: VecDeque<Bytes>,
    frame_bytes: usize,
    /// `None` says that the key was removed.
    keys: HashMap<Key, (u64, Option<Vec<u8>>)>,
    /// In the order of their changes; an entry that no longer has the key's newest number is stale.
    changes: VecDeque<(u64, Key)>,
    change: u64,
}

/// How many key changes are kept: some 100 bytes each.
const MAX_CHANGES: usize = 4096;

impl Ring {
    /// A ring of at most `limit` bytes of frames, empty after a position.
    pub(super) fn new(limit: usize, end: Position) -> Self {
        Self {
            limit,
            first: Position(end.0 + 1),
            frames: VecDeque::new(),
            frame_bytes: 0,
            keys: HashMap::new(),
            changes: VecDeque::new(),
            change: 0,
        }
    }

    /// Adds the next frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.frame_bytes += frame.len();
        self.frames.push_back(frame);
        while self.frame_bytes > self.limit {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.frame_bytes -= oldest.len();
            self.first.0 += 1;
        }
    }

    /// Notes that a key was put, or removed.
    pub(super) fn note(&mut self, key: Key, value: Option<Vec<u8>>) {
        if self.limit == 0 {
            return;
        }
        self.change += 1;
        self.keys.insert(key, (self.change, value));
        self.changes.push_back((self.change, key));
        while self.changes.len() > MAX_CHANGES {
            let Some((change, key)) = self.changes.pop_front() else { break };
            if self.keys.get(&key).is_some_and(|(newest, _)| *newest == change) {
                self.keys.remove(&key);
            }
        }
    }

    /// The frame at a position, if it is remembered.
    pub(super) fn frame(&self, position: Position) -> Option<Bytes> {
        let index = usize::try_from(position.0.checked_sub(self.first.0)?).ok()?;
        self.frames.get(index).cloned()
    }

    /// The frames after a position; `None` if the next one is no longer remembered.
    pub(super) fn after(&self, after: Position) -> Option<Vec<(Position, Bytes)>> {
        let skip = usize::try_from((after.0 + 1).checked_sub(self.first.0)?).ok()?;
        let mut size = 0;
        let mut found = Vec::new();
        for (frame, position) in self.frames.iter().skip(skip).zip(after.0 + 1..) {
            size += frame.len();
            if size > READ_BYTES && !found.is_empty() {
                break;
            }
            found.push((Position(position), frame.clone()));
        }
        Some(found)
    }

    /// What became of a key, if it is remembered; the inner `None` says that it was removed.
    pub(super) fn key(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        self.keys.get(key).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DataKeyId, StreamId};
    use uuid::Uuid;

    #[test]
    fn old_frames_go_and_new_ones_stay_without_a_gap() {
        let mut ring = Ring::new(100, Position(10));
        for frame in 11..=30_u8 {
            ring.push(Bytes::from(vec![frame; 20]));
        }
        assert_eq!(ring.frame(Position(25)), None);
        assert_eq!(ring.frame(Position(26)), Some(Bytes::from(vec![26; 20])));
        assert_eq!(ring.after(Position(24)), None);
        let found: Vec<u64> = ring.after(Position(25)).unwrap().iter().map(|(p, _)| p.0).collect();
        assert_eq!(found, [26, 27, 28, 29, 30]);
        assert_eq!(ring.after(Position(30)), Some(Vec::new()));
        assert_eq!(ring.frame(Position(31)), None);
    }

    #[test]
    fn a_key_that_changes_often_is_remembered_as_it_is() {
        let mut ring = Ring::new(100, Position(0));
        let key = |number| Key::DataKey(StreamId::Platform, DataKeyId::from_uuid(Uuid::from_u128(number)));
        ring.note(key(1), Some(vec![1]));
        for round in 0..MAX_CHANGES as u128 {
            ring.note(key(2 + round % 3), Some(vec![2]));
        }
        assert_eq!(ring.key(&key(1)), None);
        ring.note(key(2), None);
        assert_eq!(ring.key(&key(2)), Some(None));
        assert_eq!(ring.key(&key(3)), Some(Some(vec![2])));
        assert!(ring.changes.len() <= MAX_CHANGES);
    }
}
