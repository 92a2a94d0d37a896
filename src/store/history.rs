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
use crate::store::savepoint;

/// How many events are in memory at once while a past state is folded.
const FOLDED_AT_ONCE: u64 = 4_096;

/// History that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame is damaged.
    #[error("a frame of stream {stream} is damaged")]
    Frame {
        /// Whose.
        stream: StreamId,
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
pub fn parse(stream: StreamId, bytes: Bytes) -> Result<Frame, HistoryError> {
    Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream, error })
}

/// The frame of a stream at a position.
///
/// # Errors
/// When it is not there or damaged.
pub fn read_frame(log: &dyn EventLog, stream: StreamId, position: Position) -> Result<Frame, HistoryError> {
    let bytes = log.read_at(&[position])?.pop().ok_or_else(|| ReadError::missing(position))?;
    parse(stream, bytes)
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
        let saved = self.inner.files.as_ref().and_then(|files| {
            savepoint::newest(files, &**self.log(), stream, version, |file| savepoint::view(stream, file))
        });
        let mut past = saved.unwrap_or_else(|| View::empty(stream));
        while past.version() < version {
            let last = version.min(past.version() + FOLDED_AT_ONCE);
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
