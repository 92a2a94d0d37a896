//! The log in memory: for tests, and for trying things. Nothing here survives the process.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::heads::Heads;
use super::{Append, AppendError, EventLog, Head, Key, Position, READ_BYTES, ReadError};
use crate::ids::{DataKeyId, StreamId};

/// A log of frames in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    heads: Heads,
    /// The frame at position p is at index p − 1.
    frames: Vec<Bytes>,
    data_keys: BTreeMap<(StreamId, DataKeyId), Vec<u8>>,
    checkpoints: BTreeMap<StreamId, Vec<u8>>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog for MemoryLog {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let admitted = state.heads.admit(&appends)?;
        state.heads.publish(&admitted);
        state.frames.extend(admitted.frames.into_iter().map(|(_, frame)| frame));
        for append in appends {
            for (key, value) in append.put {
                state.put(key, value);
            }
            for key in append.remove {
                state.remove(key);
            }
        }
        Ok(admitted.positions)
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        let state = self.state();
        Ok(match key {
            Key::DataKey(stream, id) => state.data_keys.get(&(*stream, *id)).cloned(),
            Key::Checkpoint(stream) => state.checkpoints.get(stream).cloned(),
        })
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        let state = self.state();
        let from = (stream, DataKeyId::from_uuid(uuid::Uuid::nil()));
        let of_stream = state.data_keys.range(from..).take_while(|((of, _), _)| *of == stream);
        Ok(of_stream.map(|((_, id), value)| (*id, value.clone())).collect())
    }

    fn last(&self, stream: StreamId) -> Option<Head> {
        self.state().heads.last(stream)
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.state().heads.iter().collect()
    }

    fn end(&self) -> Position {
        self.state().heads.end()
    }

    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let state = self.state();
        let mut size = 0;
        let mut found = Vec::new();
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        for (frame, position) in state.frames.iter().skip(skip).zip(after.0.saturating_add(1)..) {
            size += frame.len();
            if size > READ_BYTES && !found.is_empty() {
                break;
            }
            found.push((Position(position), frame.clone()));
        }
        Ok(found)
    }

    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        let state = self.state();
        let frame_at = |position: &Position| {
            let index = position.0.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            index
                .and_then(|index| state.frames.get(index).cloned())
                .ok_or_else(|| ReadError::missing(*position))
        };
        positions.iter().map(frame_at).collect()
    }
}

impl State {
    fn put(&mut self, key: Key, value: Vec<u8>) {
        match key {
            Key::DataKey(stream, id) => self.data_keys.insert((stream, id), value),
            Key::Checkpoint(stream) => self.checkpoints.insert(stream, value),
        };
    }

    fn remove(&mut self, key: Key) {
        match key {
            Key::DataKey(stream, id) => self.data_keys.remove(&(stream, id)),
            Key::Checkpoint(stream) => self.checkpoints.remove(&stream),
        };
    }
}
