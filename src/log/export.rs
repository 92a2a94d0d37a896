//! Exporting a log: each event exactly as recorded, as one line of canonical JSON, so that SHA-256 over a zero byte
//! and the line is its leaf. Who may see it, and where it goes, is the caller's business.

use super::codec::CodecError;
use super::frame::{Frame, FrameError, FrameHeader};
use super::{EventLog, Position, ReadError};
use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::StreamId;

/// Which events are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those of this stream.
    pub stream: Option<StreamId>,
    /// Only those after this version of their stream.
    pub after: Version,
    /// Only those that were recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Only those that were recorded before this time.
    pub to: Option<Timestamp>,
}

impl Selection {
    /// Whether events of a frame are selected, as far as its header tells.
    fn takes(&self, header: &FrameHeader) -> bool {
        self.stream.is_none_or(|stream| stream == header.stream)
            && self.from.is_none_or(|from| header.at >= from)
            && self.to.is_none_or(|to| header.at < to)
    }
}

/// An export that stopped at something that cannot be read. Nothing is ever left out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame is damaged.
    #[error("the frame at position {position} is damaged")]
    Frame {
        /// Where.
        position: u64,
        /// How.
        #[source]
        source: FrameError,
    },
    /// An event is damaged.
    #[error("event {version} of stream {stream}, at position {position}, cannot be read")]
    Event {
        /// Whose.
        stream: StreamId,
        /// Which.
        version: Version,
        /// Where.
        position: u64,
        /// How.
        #[source]
        source: CodecError,
    },
}

/// Gives each selected event to `take`, oldest first, with the position of its frame and the log's end as it was at
/// the start; stops early where `take` says false. Holds some 1 MiB of frames at a time. Blocks.
///
/// # Errors
/// With the first frame or event that cannot be read.
pub fn export(
    log: &dyn EventLog,
    selection: Selection,
    mut take: impl FnMut(&str, Position, Position) -> bool,
) -> Result<(), ExportError> {
    let end = log.end();
    let mut after = Position(0);
    while after < end {
        for (position, bytes) in log.read(after)? {
            after = position;
            if position > end {
                break;
            }
            let frame =
                Frame::parse(bytes).map_err(|source| ExportError::Frame { position: position.0, source })?;
            let header = frame.header();
            let (stream, first) = (header.stream, header.first_version);
            if !selection.takes(header) {
                continue;
            }
            let unwanted = selection.after.saturating_sub(first - 1);
            for (index, version) in
                (0..frame.len()).zip(first..).skip(unwanted.try_into().unwrap_or(usize::MAX))
            {
                let text = frame.text(index).map_err(|source| ExportError::Event {
                    stream,
                    version,
                    position: position.0,
                    source,
                })?;
                if !take(&text, position, end) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
