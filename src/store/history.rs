//! Reading a stream's history: its frames from the newest back, and its state as of a version.
//!
//! All of it blocks, and costs as much as the history that it walks; callers move it off the async threads.

use std::sync::Arc;

use crate::event::{Recorded, Version};
use crate::ids::StreamId;
use crate::log::codec::CodecError;
use crate::log::frame::{Frame, FrameError};
use crate::log::{EventLog, Head, Position, ReadError};
use crate::store::Store;
use crate::store::batch::head_after;
use crate::store::resident::View;

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

/// A stream's frames, newest first, by following `previous`.
pub struct FramesBack<'a> {
    log: &'a dyn EventLog,
    stream: StreamId,
    next: Position,
}

impl<'a> FramesBack<'a> {
    /// From a head on.
    pub fn new(log: &'a dyn EventLog, stream: StreamId, head: Head) -> Self {
        Self { log, stream, next: head.position }
    }
}

impl Iterator for FramesBack<'_> {
    type Item = Result<(Position, Frame), HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.next;
        if position == Position(0) {
            return None;
        }
        let frame = self.log.read_at(&[position]).map_err(HistoryError::Read).and_then(|mut frames| {
            let bytes = frames.pop().unwrap_or_default();
            Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream: self.stream, error })
        });
        self.next = frame.as_ref().map_or(Position(0), |frame| frame.header().previous);
        Some(frame.map(|frame| (position, frame)))
    }
}

/// The events of a frame from the last back.
///
/// # Errors
/// When an event cannot be read.
pub fn events_back(frame: &Frame) -> impl Iterator<Item = Result<Recorded, HistoryError>> + '_ {
    let stream = frame.header().stream;
    (0..frame.len())
        .rev()
        .map(move |index| frame.recorded(index).map_err(|error| HistoryError::Event { stream, error }))
}

impl Store {
    /// The state of a stream as of a version: all events up to and including it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn as_of(&self, view: &View, version: Version) -> Result<Arc<View>, HistoryError> {
        if version >= view.version() {
            return Ok(Arc::new(view.clone()));
        }
        let log = &**self.log();
        let mut positions = Vec::new();
        for frame in FramesBack::new(log, view.stream, view.head) {
            let (position, frame) = frame?;
            if frame.header().first_version <= version {
                positions.push(position);
            }
        }
        let mut past = View::empty(view.stream);
        while let Some(position) = positions.pop() {
            let bytes = log.read_at(&[position])?.pop().unwrap_or_default();
            let frame =
                Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream: view.stream, error })?;
            for event in frame.events() {
                let recorded = event.map_err(|error| HistoryError::Event { stream: view.stream, error })?;
                if recorded.version > version {
                    break;
                }
                past.state.apply(&recorded);
                past.head.version = recorded.version;
            }
            past.head = Head { version: past.head.version, ..head_after(position, &frame) };
        }
        Ok(Arc::new(past))
    }
}
