//! The frame: the events that one batch appends to one stream, with a header that says once what they share.
//!
//! ```text
//! format (1) ‖ dictionary (1) ‖ stream (16) ‖ first version ‖ count ‖ at, µs ‖ previous position
//!            ‖ previous frame's hash (16) ‖ length of each event ‖ the events
//! ```
//! Integers are varints. All lengths stand before the events, so one is read without its neighbours.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::canonical::leaf_of;
use super::codec::{self, CodecError, PackedEvent};
use super::dictionary::Dictionary;
use super::{FrameHash, Position};
use crate::clock::Timestamp;
use crate::event::packed::RecordedAt;
use crate::event::{Recorded, Version};
use crate::ids::StreamId;
use crate::varint::{self, Malformed, Reader};

/// The largest frame as stored, in bytes: under the 1 MiB that message brokers take.
pub const MAX_FRAME_BYTES: usize = 768 << 10;

const FORMAT: u8 = 1;

/// A frame that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The format is another build's.
    #[error("a frame of format {0}; this build reads up to {FORMAT}: it was written by a newer Settled")]
    UnknownFormat(u8),
    /// The dictionary is another build's.
    #[error("a frame of dictionary {0}, which this build lacks: it was written by a newer Settled")]
    UnknownDictionary(u8),
    /// The bytes are no frame.
    #[error("a frame is malformed: {0}")]
    Malformed(&'static str),
}

impl From<Malformed> for FrameError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("it ends early, or an integer is not in its shortest form")
    }
}

/// What a frame's events share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// How the events were compressed.
    pub dictionary: Dictionary,
    /// Their stream.
    pub stream: StreamId,
    /// The version of the first.
    pub first_version: Version,
    /// How many there are, at least one.
    pub count: u64,
    /// When the batch was decided.
    pub at: Timestamp,
    /// The position of the stream's previous frame; 0 for its first.
    pub previous: Position,
    /// The hash of that frame; zeros for the stream's first.
    pub previous_hash: FrameHash,
}

impl FrameHeader {
    /// The version of the last event.
    pub fn last_version(&self) -> Version {
        self.first_version + self.count - 1
    }
}

/// The first half of the SHA-256 of a frame as stored.
pub fn frame_hash(frame: &[u8]) -> FrameHash {
    let digest: [u8; 32] = Sha256::digest(frame).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    FrameHash(half)
}

/// Where a frame begins: its header, before the events are known.
#[derive(Clone, Copy, Debug)]
pub struct FrameStart {
    /// The stream.
    pub stream: StreamId,
    /// The version of the first event.
    pub first_version: Version,
    /// When the batch is decided.
    pub at: Timestamp,
    /// The position of the stream's last frame.
    pub previous: Position,
    /// Its hash.
    pub previous_hash: FrameHash,
}

/// Collects a frame's events.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    start: FrameStart,
    lengths: Vec<u8>,
    events: Vec<u8>,
    count: u64,
}

/// The longest header without the events' lengths: 34 bytes and four varints of at most 10.
const MAX_HEADER_BYTES: usize = 74;

impl FrameBuilder {
    /// An empty frame.
    pub fn new(start: FrameStart) -> Self {
        Self { start, lengths: Vec::new(), events: Vec::new(), count: 0 }
    }

    /// How many events it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The version that the next event has.
    pub fn next_version(&self) -> Version {
        self.start.first_version + self.count
    }

    /// The size that the frame has at most, as stored, with these events added, in bytes.
    pub fn size_with(&self, more: &[PackedEvent]) -> usize {
        let more: usize = more.iter().map(stored_bytes).sum();
        MAX_HEADER_BYTES + self.lengths.len() + self.events.len() + more
    }

    /// Whether these events still fit under [`MAX_FRAME_BYTES`]. A command's events go in together or not
    /// at all, so ask before the first.
    pub fn fits(&self, more: &[PackedEvent]) -> bool {
        self.size_with(more) <= MAX_FRAME_BYTES
    }

    /// Whether a frame has room for these events at all.
    pub fn fits_alone(events: &[PackedEvent]) -> bool {
        let bytes: usize = events.iter().map(stored_bytes).sum();
        MAX_HEADER_BYTES + bytes <= MAX_FRAME_BYTES
    }

    /// Adds an event, packed with the version that [`next_version`](Self::next_version) gave.
    pub fn push(&mut self, event: &PackedEvent) {
        debug_assert_eq!(
            event.recorded.version,
            self.next_version(),
            "an event's leaf hash covers its version"
        );
        varint::write(event.bytes.len() as u64, &mut self.lengths);
        self.events.extend_from_slice(&event.bytes);
        self.count += 1;
    }

    /// The frame as stored; `None` without events.
    pub fn finish(self) -> Option<Bytes> {
        if self.count == 0 {
            return None;
        }
        let mut out = Vec::with_capacity(MAX_HEADER_BYTES + self.lengths.len() + self.events.len());
        out.extend_from_slice(&[FORMAT, Dictionary::NEWEST.number()]);
        out.extend_from_slice(&self.start.stream.to_bytes());
        varint::write(self.start.first_version, &mut out);
        varint::write(self.count, &mut out);
        varint::write(self.start.at.micros().unsigned_abs(), &mut out);
        varint::write(self.start.previous.0, &mut out);
        out.extend_from_slice(&self.start.previous_hash.0);
        out.extend_from_slice(&self.lengths);
        out.extend_from_slice(&self.events);
        Some(Bytes::from(out))
    }
}

/// What an event takes in a frame at most: its bytes and its length.
fn stored_bytes(event: &PackedEvent) -> usize {
    event.bytes.len() + 5
}

/// A frame as stored, with its header read.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Bytes,
    header: FrameHeader,
    /// Where each event begins in `bytes`, and where the last one ends.
    bounds: Box<[u32]>,
}

impl Frame {
    /// Reads a frame's header. Events are read when asked for.
    ///
    /// # Errors
    /// When the bytes are no frame, or one that only a newer build reads.
    pub fn parse(bytes: Bytes) -> Result<Self, FrameError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameError::Malformed("it is larger than a frame may be"));
        }
        let mut reader = Reader(&bytes);
        let [format, dictionary] = reader.array()?;
        if format != FORMAT {
            return Err(FrameError::UnknownFormat(format));
        }
        let dictionary =
            Dictionary::from_number(dictionary).ok_or(FrameError::UnknownDictionary(dictionary))?;
        let stream = StreamId::from_bytes(reader.array()?);
        let first_version = reader.varint()?;
        let count = reader.varint()?;
        let at =
            i64::try_from(reader.varint()?).map_err(|_| FrameError::Malformed("its time is too large"))?;
        let previous = Position(reader.varint()?);
        let previous_hash = FrameHash(reader.array()?);
        if Timestamp::from_micros(at).micros() != at {
            return Err(FrameError::Malformed("its time lies beyond the year 9999"));
        }
        if first_version == 0 || count == 0 || first_version.checked_add(count).is_none() {
            return Err(FrameError::Malformed("its versions are not counted from 1"));
        }
        // Each event has at least one byte of length: a wild count is refused before it allocates.
        if count > reader.0.len() as u64 {
            return Err(FrameError::Malformed("it has fewer bytes than events"));
        }
        let header = FrameHeader {
            dictionary,
            stream,
            first_version,
            count,
            at: Timestamp::from_micros(at),
            previous,
            previous_hash,
        };
        let bounds = bounds(&mut reader, count, bytes.len())?;
        Ok(Self { header, bounds, bytes })
    }

    /// What the events share.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// The frame as stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Whether there are none; no frame that was parsed is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The event at an index from 0, with its type.
    ///
    /// # Errors
    /// When there is none, or it is no record that this build reads.
    pub fn recorded(&self, index: usize) -> Result<Recorded, CodecError> {
        let (bytes, at) = self.event(index)?;
        codec::unpack(self.header.dictionary, bytes, at)
    }

    /// The event at an index from 0, with its type, and its leaf hash: for less than both apart.
    ///
    /// # Errors
    /// When there is none, or it is no record that this build reads.
    pub fn hashed(&self, index: usize) -> Result<(Recorded, [u8; 32]), CodecError> {
        let (bytes, at) = self.event(index)?;
        codec::unpack_hashed(self.header.dictionary, bytes, at)
    }

    /// The event at an index from 0, as exported JSON, whatever its type.
    ///
    /// # Errors
    /// When there is none, or its bytes are damaged.
    pub fn json(&self, index: usize) -> Result<Value, CodecError> {
        let (bytes, at) = self.event(index)?;
        codec::unpack_json(self.header.dictionary, bytes, at)
    }

    /// The event at an index from 0, as exported: its canonical JSON, whatever its type.
    ///
    /// # Errors
    /// When there is none, or its bytes are damaged.
    pub fn text(&self, index: usize) -> Result<String, CodecError> {
        let (bytes, at) = self.event(index)?;
        codec::unpack_text(self.header.dictionary, bytes, at)
    }

    /// The leaf hash of the event at an index from 0.
    ///
    /// # Errors
    /// When there is none, or its bytes are damaged.
    pub fn leaf(&self, index: usize) -> Result<[u8; 32], CodecError> {
        self.text(index).map(|text| leaf_of(&text))
    }

    /// All events, in order.
    pub fn events(&self) -> impl Iterator<Item = Result<Recorded, CodecError>> + '_ {
        (0..self.len()).map(|index| self.recorded(index))
    }

    /// All events as exported JSON, in order.
    pub fn jsons(&self) -> impl Iterator<Item = Result<Value, CodecError>> + '_ {
        (0..self.len()).map(|index| self.json(index))
    }

    fn event(&self, index: usize) -> Result<(&[u8], RecordedAt), CodecError> {
        let (Some(begin), Some(end)) = (self.bounds.get(index), self.bounds.get(index + 1)) else {
            return Err(CodecError::NoSuchEvent { index, count: self.len() });
        };
        let at = RecordedAt {
            stream: self.header.stream,
            version: self.header.first_version + index as u64,
            at: self.header.at,
        };
        Ok((&self.bytes[*begin as usize..*end as usize], at))
    }
}

fn bounds(reader: &mut Reader<'_>, count: u64, total: usize) -> Result<Box<[u32]>, FrameError> {
    let mut ends = Vec::with_capacity(count as usize + 1);
    let mut end = 0_usize;
    ends.push(0);
    for _ in 0..count {
        end = end.saturating_add(reader.size()?);
        ends.push(u32::try_from(end).map_err(|_| FrameError::Malformed("an event is too long"))?);
    }
    if end != reader.0.len() {
        return Err(FrameError::Malformed("its events are not as long as its header says"));
    }
    let begin = u32::try_from(total - end).map_err(|_| FrameError::Malformed("it is too long"))?;
    ends.iter_mut().for_each(|bound| *bound += begin);
    Ok(ends.into_boxed_slice())
}
