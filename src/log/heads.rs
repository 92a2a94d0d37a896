//! Where every stream ends, and the one rule by which a frame continues its stream.
//!
//! Appending, opening and checking all go through here, so that what is refused when it is written and what is
//! called damage when it is read are the same.

use std::collections::HashMap;

use bytes::Bytes;

use super::frame::{Frame, FrameError, frame_hash};
use super::{Append, AppendError, FrameHash, Head, Position};
use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::StreamId;

/// A frame that does not continue its stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// It cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Versions are missing or repeated.
    #[error("stream {stream} goes on with version {expected}, the frame begins with {found}")]
    Version {
        /// The stream.
        stream: StreamId,
        /// The next version.
        expected: Version,
        /// The frame's first.
        found: Version,
    },
    /// It names another frame as the stream's previous one.
    #[error("the last frame of stream {stream} is at {expected:?}, the frame names {found:?}")]
    Previous {
        /// The stream.
        stream: StreamId,
        /// Where the stream's last frame is.
        expected: Position,
        /// What the frame names.
        found: Position,
    },
    /// The previous frame is not the one that it was.
    #[error("the previous frame of stream {stream} has another hash than the frame says")]
    PreviousHash {
        /// The stream.
        stream: StreamId,
    },
    /// Time runs backwards.
    #[error("the frame of stream {stream} is of {found}, before its previous one of {previous}")]
    Time {
        /// The stream.
        stream: StreamId,
        /// The previous frame's time.
        previous: Timestamp,
        /// The frame's.
        found: Timestamp,
    },
}

/// Every stream's head and the end of the log.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    streams: HashMap<StreamId, Head>,
    end: Position,
}

/// A batch that may be written: what each part of it becomes.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// The position of each `Append`.
    pub positions: Vec<Position>,
    /// The new frames.
    pub frames: Vec<(Position, Bytes)>,
    /// The streams that end elsewhere afterwards.
    pub heads: HashMap<StreamId, Head>,
    /// The hash of the last frame; `None` without frames.
    pub hash: Option<FrameHash>,
}

impl Heads {
    /// Of streams that end there, in a log that ends at `end`.
    pub fn from_parts(streams: HashMap<StreamId, Head>, end: Position) -> Self {
        Self { streams, end }
    }

    /// The position of the newest frame.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Where a stream ends.
    pub fn last(&self, stream: StreamId) -> Option<Head> {
        self.streams.get(&stream).copied()
    }

    /// Every stream and where it ends, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, Head)> + '_ {
        self.streams.iter().map(|(stream, head)| (*stream, *head))
    }

    /// What a batch would become at the end of the log. Nothing changes.
    ///
    /// # Errors
    /// `Conflict` before anything else, then `Refused`.
    pub fn admit(&self, appends: &[Append]) -> Result<Admitted, AppendError> {
        let mut admitted = Admitted::default();
        let mut end = self.end;
        for append in appends {
            let head = admitted.heads.get(&append.stream).copied().or_else(|| self.last(append.stream));
            let head = head.unwrap_or_default();
            if let Some(expected) = append.expected
                && expected != head.position
            {
                let (stream, actual) = (append.stream, head.position);
                return Err(AppendError::Conflict { stream, expected, actual });
            }
            if let Some(bytes) = &append.frame {
                end.0 += 1;
                let refused = |reason: String| AppendError::Refused { stream: append.stream, reason };
                let frame = Frame::parse(bytes.clone()).map_err(|error| refused(error.to_string()))?;
                let stream = frame.header().stream;
                if stream != append.stream {
                    return Err(refused(format!("the frame is of stream {stream}")));
                }
                let head = continues(&frame, end, head).map_err(|broken| refused(broken.to_string()))?;
                admitted.hash = Some(head.hash);
                admitted.heads.insert(stream, head);
                admitted.frames.push((end, bytes.clone()));
            }
            admitted.positions.push(end);
        }
        Ok(admitted)
    }

    /// Makes an admitted batch the state.
    pub fn publish(&mut self, admitted: &Admitted) {
        self.streams.extend(&admitted.heads);
        if let Some((position, _)) = admitted.frames.last() {
            self.end = *position;
        }
    }

    /// Follows the frames of one run, which begins after the end; all of them or none.
    ///
    /// # Errors
    /// The position of the first frame that does not continue its stream, and why.
    pub fn follow(&mut self, frames: &[Bytes]) -> Result<(), (Position, Break)> {
        let mut changed: HashMap<StreamId, Head> = HashMap::new();
        let mut end = self.end;
        for bytes in frames {
            end.0 += 1;
            let frame = Frame::parse(bytes.clone()).map_err(|error| (end, error.into()))?;
            let stream = frame.header().stream;
            let head = changed.get(&stream).copied().or_else(|| self.last(stream)).unwrap_or_default();
            let head = continues(&frame, end, head).map_err(|broken| (end, broken))?;
            changed.insert(stream, head);
        }
        self.streams.extend(changed);
        self.end = end;
        Ok(())
    }

    /// Follows the frame after the end, and says where its stream ends then.
    ///
    /// # Errors
    /// When it does not continue its stream; nothing has changed then.
    pub fn follow_frame(&mut self, frame: &Frame) -> Result<Head, Break> {
        let head = self.after(frame)?;
        self.streams.insert(frame.header().stream, head);
        self.end = head.position;
        Ok(head)
    }

    /// Where its stream would end with a frame after the end. Nothing changes.
    ///
    /// # Errors
    /// When it does not continue its stream.
    pub fn after(&self, frame: &Frame) -> Result<Head, Break> {
        continues(frame, Position(self.end.0 + 1), self.last(frame.header().stream).unwrap_or_default())
    }
}

/// The head that a frame gives its stream, which ended at `head`.
fn continues(frame: &Frame, position: Position, head: Head) -> Result<Head, Break> {
    let header = frame.header();
    let stream = header.stream;
    if header.first_version != head.version + 1 {
        return Err(Break::Version { stream, expected: head.version + 1, found: header.first_version });
    }
    if header.previous != head.position {
        return Err(Break::Previous { stream, expected: head.position, found: header.previous });
    }
    if header.previous_hash != head.hash {
        return Err(Break::PreviousHash { stream });
    }
    if header.at < head.at {
        return Err(Break::Time { stream, previous: head.at, found: header.at });
    }
    let hash = frame_hash(frame.bytes());
    Ok(Head { version: header.last_version(), position, hash, at: header.at })
}
