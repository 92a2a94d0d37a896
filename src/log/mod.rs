//! The log: frames of events, appended durably, read by position.
//!
//! The log knows frames, positions and heads, never an area's rules. It is ground state: together with the
//! key ring's files it is all that cannot be rebuilt.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::{DataKeyId, StreamId};

pub mod canonical;
pub mod check;
pub mod codec;
pub mod dictionary;
pub mod export;
pub mod filter;
pub mod frame;
pub mod head;
pub mod heads;
pub mod held;
pub mod memory;
pub mod reading;
pub mod refill;
pub mod run;
pub mod segment;
pub mod sled;
pub mod tail;
mod untyped;
pub mod upcast;

/// How many bytes of frames one [`EventLog::read`] gives at most, unless a single frame is larger.
pub const READ_BYTES: usize = 1 << 20;

/// The place of a frame in the whole log, increasing; from 1, and 0 is before the first.
///
/// Positions show other organizations' traffic: only operators ever see one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// The first half of the SHA-256 of a frame as stored, header included. All zeros before a stream's first frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameHash(pub [u8; 16]);

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The version of its last event; 0 where it has none.
    pub version: Version,
    /// The position of its last frame.
    pub position: Position,
    /// The hash of its last frame.
    pub hash: FrameHash,
    /// The time of its last frame.
    pub at: Timestamp,
}

/// The key of something put beside the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A wrapped data key.
    DataKey(StreamId, DataKeyId),
    /// A stream's newest signed checkpoint.
    Checkpoint(StreamId),
}

/// What one batch appends to one stream: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Append {
    /// The stream.
    pub stream: StreamId,
    /// The position of the stream's last frame as the writer knows it, compared before anything is
    /// written; `None` appends wherever the stream ends.
    pub expected: Option<Position>,
    /// The frame, built by [`frame`]; a rewrap of keys has none.
    pub frame: Option<Bytes>,
    /// Wrapped keys and signed checkpoints to put.
    pub put: Vec<(Key, Vec<u8>)>,
    /// Keys to remove.
    pub remove: Vec<Key>,
}

/// An append that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream ends elsewhere than expected. Nothing was written.
    #[error("stream {stream} ends at position {actual:?}, expected {expected:?}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the caller expected.
        expected: Position,
        /// Where it ends.
        actual: Position,
    },
    /// The frame is no frame, or does not continue its stream: an error in the caller. Nothing was written.
    #[error("a frame for stream {stream} was refused: {reason}")]
    Refused {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: String,
    },
    /// Writing, flushing or syncing failed: whether the batch is on disk is unknown. Acknowledge nothing and end
    /// the process; after a failed sync, reads show pages that the disk may lack.
    #[error("the log could not be made durable: {0}")]
    Fatal(String),
}

/// A read that failed. Nothing is ever skipped or defaulted.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored is not what was written.
    #[error("the log is damaged at position {position}: {what}")]
    Damaged {
        /// Where.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The storage engine failed.
    #[error("the log could not be read: {0}")]
    Storage(String),
}

impl ReadError {
    /// The error for a position where no frame is.
    pub fn missing(position: Position) -> Self {
        Self::Damaged { position: position.0, what: "no frame is there".to_owned() }
    }
}

/// An append-only log of frames, with a few keys beside them.
///
/// All calls block; callers on an async runtime move them to a thread that may.
pub trait EventLog: Send + Sync + 'static {
    /// Appends, and returns the position of each `Append`'s frame (of one without a frame: the last position)
    /// once all of them are durable. Settling, flush and sync are inside.
    ///
    /// # Errors
    /// See [`AppendError`]; on `Fatal` the log refuses every later call.
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError>;

    /// The value put under a key.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError>;

    /// All wrapped data keys of a stream.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError>;

    /// Where a stream ends; `None` if nothing was ever appended to it.
    fn last(&self, stream: StreamId) -> Option<Head>;

    /// Every stream and where it ends.
    fn streams(&self) -> Vec<(StreamId, Head)>;

    /// The position of the newest durable frame.
    fn end(&self) -> Position;

    /// The durable frames after a position, in order, at least one where there is one, and some 1 MiB at most.
    ///
    /// # Errors
    /// When the storage cannot be read or a frame is damaged.
    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError>;

    /// The frames at these positions, in the order asked for.
    ///
    /// # Errors
    /// When the storage cannot be read, or a frame is damaged or missing.
    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError>;
}
