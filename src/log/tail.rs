//! Following a log: events after a position as lines of JSON, each with its position, for operators.

use super::canonical::canonical_json;
use super::export::ExportError;
use super::frame::Frame;
use super::{EventLog, Position};
use crate::ids::StreamId;

/// How many of the newest frames are shown where nobody says after which position to begin.
pub const NEWEST_FRAMES: u64 = 10;

/// What is new in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// One line an event: `{"event":…,"position":…}`, the event as recorded.
    pub lines: Vec<u8>,
    /// Where to go on; `None` where nothing is behind it yet.
    pub next: Option<Position>,
}

/// The events after a position, of one stream or of all: those of some 1 MiB of frames at a time. Blocks.
///
/// # Errors
/// With the first frame or event that cannot be read.
pub fn after(log: &dyn EventLog, stream: Option<StreamId>, after: Position) -> Result<News, ExportError> {
    let mut news = News::default();
    for (position, bytes) in log.read(after)? {
        news.next = Some(position);
        let frame = parse(position, bytes)?;
        let header = frame.header();
        if stream.is_some_and(|wanted| wanted != header.stream) {
            continue;
        }
        for (json, version) in frame.jsons().zip(header.first_version..) {
            let (stream, position) = (header.stream, position.0);
            let json = json.map_err(|source| ExportError::Event { stream, version, position, source })?;
            let event = canonical_json(&json);
            news.lines
                .extend_from_slice(format!("{{\"event\":{event},\"position\":{position}}}\n").as_bytes());
        }
    }
    Ok(news)
}

/// The position behind which the newest `frames` frames of a stream lie, or of the whole log. Blocks.
///
/// # Errors
/// With the first frame that cannot be read.
pub fn before_last(
    log: &dyn EventLog,
    stream: Option<StreamId>,
    frames: u64,
) -> Result<Position, ExportError> {
    let Some(stream) = stream else { return Ok(Position(log.end().0.saturating_sub(frames))) };
    let mut position = log.last(stream).map(|head| head.position).unwrap_or_default();
    for _ in 0..frames {
        if position == Position(0) {
            break;
        }
        let bytes = log.read_at(&[position])?.pop().unwrap_or_default();
        position = parse(position, bytes)?.header().previous;
    }
    Ok(position)
}

fn parse(position: Position, bytes: bytes::Bytes) -> Result<Frame, ExportError> {
    Frame::parse(bytes).map_err(|source| ExportError::Frame { position: position.0, source })
}
