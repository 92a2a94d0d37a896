//! How a history lies in its file: `NAME.settled`. Layout and bounds; who writes and reads it is in `history`.
//!
//! ```text
//! magic "SETLSNAP" (8) ‖ format (1)
//! header:   length (4) ‖ JSON: the store, its epoch, the position, when and by which build
//! chunks:   each: kind (1) ‖ stored length (4) ‖ plain length (4) ‖ zstd of one of
//!             frames: (position less the one before, a varint ‖ length, a varint ‖ frame as stored)…
//!             heads:  (stream (16) ‖ version (8) ‖ position (8) ‖ hash (16) ‖ time, µs (8) ‖ root is known (1) ‖ root (32))…
//! manifest: JSON: SHA-256 of all before the chunks, and of each chunk as stored, its length and what it holds
//! seal:     public key (32) ‖ its Ed25519 signature of "settled snapshot 1", a zero and the manifest's SHA-256 (64)
//! end:      offset of the manifest (8) ‖ its length (4) ‖ SHA-256 of the manifest and the seal (32) ‖ magic "SETLDONE" (8)
//! ```
//! Integers are big-endian. The frames come in the order of the log and are the log's own bytes, so that nothing of what
//! proofs rest on depends on this format. The heads of all streams follow them, in the order of the streams: they are what
//! the frames come to, and a second account of them; so are the roots, which checkpoints were signed over. A reader of before
//! there were roots passes them over. What is not finished has no end, and is no snapshot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{SnapshotId, StoreId, StreamId};
use crate::log::frame::MAX_FRAME_BYTES;
use crate::log::segment::tree::Hash;
use crate::log::{FrameHash, Head, Position};
use crate::seal::signing::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES};
use crate::varint::{self, Reader};

/// The format that this build writes, and the newest that it reads.
pub const FORMAT: u8 = 1;

pub(super) const MAGIC: [u8; 8] = *b"SETLSNAP";
pub(super) const END_MAGIC: [u8; 8] = *b"SETLDONE";
/// Offset, length, hash and magic.
pub(super) const END_BYTES: usize = 8 + 4 + 32 + 8;
/// Kind and two lengths.
pub(super) const CHUNK_HEADER_BYTES: usize = 9;
/// A public key and a signature.
pub(super) const SEAL_BYTES: usize = PUBLIC_KEY_BYTES + SIGNATURE_BYTES;
/// What is signed begins with this, so that it passes for nothing else that is signed by the same key.
pub(super) const SEAL_LABEL: &[u8] = b"settled snapshot 1\0";

/// A chunk is closed when it has so many plain bytes.
pub const CHUNK_BYTES: usize = 1 << 20;
/// The most plain bytes of a chunk: it was closed late by one frame.
pub(super) const PLAIN_BYTES_MAX: usize = CHUNK_BYTES + MAX_FRAME_BYTES + 20;
/// The most bytes of a chunk as stored: what does not compress grows by less than this.
pub(super) const STORED_BYTES_MAX: usize = CHUNK_HEADER_BYTES + PLAIN_BYTES_MAX + (16 << 10);
/// The most bytes of a header.
pub(super) const HEADER_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a manifest: that of some 500 GiB of history.
pub(super) const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// A length as the file has it.
pub(super) fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("bounded by the format, far under 4 GiB")
}

const HEAD_BYTES: usize = 16 + 8 + 8 + 16 + 8 + 1 + 32;

/// What a history says of itself at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The store that it is of.
    pub store: StoreId,
    /// The epoch that the store was in.
    pub epoch: String,
    /// The position of the last frame that it holds.
    pub position: u64,
    /// When it was begun.
    pub taken_at: Timestamp,
    /// The version of the build that wrote it.
    pub written_by: String,
}

/// What the file holds, chunk by chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// SHA-256 of all before the first chunk, in base64url.
    pub header_sha256: String,
    /// How many frames there are.
    pub frames: u64,
    /// How many events they hold.
    pub events: u64,
    /// How many streams there are.
    pub streams: u64,
    /// The chunks, in order.
    pub chunks: Vec<ChunkEntry>,
}

/// What the manifest says of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkEntry {
    /// What it holds.
    pub kind: ChunkKind,
    /// How many frames or heads.
    pub count: u64,
    /// Its bytes as stored, with its own header.
    pub bytes: u64,
    /// Their SHA-256, in base64url.
    pub sha256: String,
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// Frames.
    Frames,
    /// Heads of streams.
    Heads,
}

impl ChunkKind {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Frames => b'F',
            Self::Heads => b'H',
        }
    }
}

/// Where a stream ends in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub stream: StreamId,
    /// Where it ends.
    pub head: Head,
    /// The root of its RFC 6962 tree at that version. Snapshots that were taken before roots were told have none.
    pub root: Option<Hash>,
}

/// Adds a frame to the plain bytes of a chunk.
pub(super) fn push_frame(before: Position, position: Position, frame: &[u8], plain: &mut Vec<u8>) {
    varint::write(position.0.saturating_sub(before.0), plain);
    varint::write(frame.len() as u64, plain);
    plain.extend_from_slice(frame);
}

/// The frames of a chunk's plain bytes, each with its position; `None` if they are none.
pub(super) fn frames(mut before: Position, plain: &Bytes) -> Option<Vec<(Position, Bytes)>> {
    let mut reader = Reader(plain);
    let mut found = Vec::new();
    while !reader.0.is_empty() {
        let step = reader.varint().ok().filter(|step| *step > 0)?;
        before = Position(before.0.checked_add(step)?);
        let length = reader.size().ok()?;
        found.push((before, plain.slice_ref(reader.bytes(length).ok()?)));
    }
    Some(found)
}

/// Adds a head to the plain bytes of a chunk.
pub(super) fn push_head(head: &StreamHead, plain: &mut Vec<u8>) {
    let StreamHead { stream, head, root } = head;
    plain.extend_from_slice(&stream.to_bytes());
    plain.extend_from_slice(&head.version.to_be_bytes());
    plain.extend_from_slice(&head.position.0.to_be_bytes());
    plain.extend_from_slice(&head.hash.0);
    plain.extend_from_slice(&head.at.micros().to_be_bytes());
    plain.push(u8::from(root.is_some()));
    plain.extend_from_slice(&root.unwrap_or_default());
}

/// The heads of a chunk's plain bytes; `None` if they are none.
pub(super) fn heads(plain: &[u8]) -> Option<Vec<StreamHead>> {
    if !plain.len().is_multiple_of(HEAD_BYTES) {
        return None;
    }
    plain.chunks_exact(HEAD_BYTES).map(head).collect()
}

fn head(bytes: &[u8]) -> Option<StreamHead> {
    let mut reader = Reader(bytes);
    let stream = StreamId::from_bytes(reader.array().ok()?);
    let version = u64::from_be_bytes(reader.array().ok()?);
    let position = Position(u64::from_be_bytes(reader.array().ok()?));
    let hash = FrameHash(reader.array().ok()?);
    let micros = i64::from_be_bytes(reader.array().ok()?);
    let at = Timestamp::from_micros(micros);
    let [known] = reader.array().ok()?;
    let root = match (known, reader.array().ok()?) {
        (0, root) if root == [0; 32] => None,
        (1, root) => Some(root),
        _ => return None,
    };
    (at.micros() == micros).then_some(StreamHead { stream, head: Head { version, position, hash, at }, root })
}
