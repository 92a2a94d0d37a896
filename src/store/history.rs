//! Reading a stream's history: its frames, and its state as of a version.
//!
//! All of it blocks; callers move it off the async threads.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::Version;
use crate::ids::StreamId;
use crate::log::codec::CodecError;
use crate::log::frame::{Frame, FrameError};
use crate::log::{EventLog, Position, ReadError};
use crate::store::Store;
use crate::store::resident::{Handle, View};

/// How many events are in memory at once while a past state is folded: an event may have a value of 64 KiB.
pub(super) const FOLDED_AT_ONCE: usize = 64;
/// How many frames are read from the log at once: a frame may have 768 KiB.
pub(super) const READ_FRAMES: usize = 64;

/// History that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame is damaged.
    #[error("the frame of stream {stream} at position {} is damaged", position.0)]
    Frame {
        /// Whose.
        stream: StreamId,
        /// Where.
        position: Position,
        /// How.
        #[source]
        error: FrameError,
    },
    /// The stream has no such version, or not in the frame where its index says.
    #[error("stream {stream} has no version {version} where its index says; delete its derived files")]
    NoSuchVersion {
        /// Whose.
        stream: StreamId,
        /// Which.
        version: Version,
    },
    /// An event is damaged.
    #[error("an event of stream {stream} cannot be read")]
    Event {
        /// Whose.
        stream: StreamId,
        /// How.
        #[source]
        error: CodecError,
    },
}

/// A frame of a stream, read.
///
/// # Errors
/// When the bytes are none.
pub fn parse(stream: StreamId, position: Position, bytes: Bytes) -> Result<Frame, HistoryError> {
    Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream, position, error })
}

/// The frame of a stream at a position.
///
/// # Errors
/// When it is not there or damaged.
pub fn read_frame(log: &dyn EventLog, stream: StreamId, position: Position) -> Result<Frame, HistoryError> {
    let bytes = log.read_at(&[position])?.pop().ok_or_else(|| ReadError::missing(position))?;
    parse(stream, position, bytes)
}

/// Hands out the frames of a stream that hold versions after `base`, oldest first, up to the one at a position. They are
/// found by following `previous` back from there, and [`READ_FRAMES`] of them are in memory at once.
///
/// # Errors
/// When one cannot be read, and those of `take`.
pub(super) fn frames_after<E: From<HistoryError>>(
    log: &dyn EventLog,
    stream: StreamId,
    base: Version,
    last: Position,
    mut take: impl FnMut(Position, Frame) -> Result<(), E>,
) -> Result<(), E> {
    for chunk in positions_back(log, stream, last, base)?.rchunks(READ_FRAMES) {
        let chunk: Vec<Position> = chunk.iter().rev().copied().collect();
        for (bytes, position) in log.read_at(&chunk).map_err(HistoryError::from)?.into_iter().zip(chunk) {
            take(position, parse(stream, position, bytes)?)?;
        }
    }
    Ok(())
}

/// The positions of the frames that hold versions after `base`, from one of them back; the newest first.
fn positions_back(
    log: &dyn EventLog,
    stream: StreamId,
    from: Position,
    base: Version,
) -> Result<Vec<Position>, HistoryError> {
    let mut positions = Vec::new();
    let mut position = from;
    while position != Position(0) {
        let frame = read_frame(log, stream, position)?;
        if frame.header().last_version() <= base {
            break;
        }
        positions.push(position);
        if frame.header().first_version <= base + 1 {
            break;
        }
        position = frame.header().previous;
    }
    Ok(positions)
}

impl Store {
    /// The state of a stream as of a version: all events up to and including it. From the newest savepoint before it, and
    /// the events after that. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn as_of(&self, handle: &Handle, version: Version) -> Result<Arc<View>, HistoryError> {
        let view = handle.view();
        if version >= view.version() {
            return Ok(view);
        }
        let stream = view.stream;
        let savepoints = self.inner.savepoints.as_ref();
        let saved = savepoints.and_then(|savepoints| savepoints.view(&**self.log(), stream, version));
        let mut past = saved.unwrap_or_else(|| View::empty(stream));
        while past.version() < version {
            let last = version.min(past.version() + FOLDED_AT_ONCE as u64);
            let versions: Vec<Version> = (past.version() + 1..=last).collect();
            for recorded in self.recorded(handle, &view, &versions)? {
                past.state.apply(&recorded);
                past.head.version = recorded.version;
                past.head.at = recorded.at;
            }
        }
        Ok(Arc::new(past))
    }
}
