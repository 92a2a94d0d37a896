//! The keys of the one tree.
//!
//! ```text
//! I                          → the store's id (16)
//! L ‖ position ‖ part        → a part of the run whose first frame is at that position
//! K ‖ stream (16) ‖ key (16) → a wrapped data key
//! S ‖ stream (16)            → the stream's newest signed checkpoint
//! ```
//! Positions (8) and parts (2) are big-endian, so the tree's order is theirs.

use uuid::Uuid;

use crate::ids::{DataKeyId, StreamId};
use crate::log::{Key, Position};

/// Says whose log this is: a log put in another store's place is refused even where it is empty.
pub(super) const IDENTITY: &[u8] = b"I";

/// All parts of all runs have keys from here …
pub(super) const RUNS_FROM: &[u8] = b"L";
/// … to before here.
pub(super) const RUNS_TO: &[u8] = b"M";

/// The key of a part.
pub(super) fn part(position: Position, part: u16) -> [u8; 11] {
    let mut key = [b'L'; 11];
    key[1..9].copy_from_slice(&position.0.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The run and the number of a part; `None` for any other key.
pub(super) fn of_part(key: &[u8]) -> Option<(Position, u16)> {
    let (position, part) = key.strip_prefix(b"L")?.split_first_chunk::<8>()?;
    let part: [u8; 2] = part.try_into().ok()?;
    Some((Position(u64::from_be_bytes(*position)), u16::from_be_bytes(part)))
}

/// The key of what is put beside the frames.
pub(super) fn of(key: &Key) -> Vec<u8> {
    match key {
        Key::DataKey(stream, id) => {
            let mut bytes = data_keys(*stream).to_vec();
            bytes.extend_from_slice(id.uuid().as_bytes());
            bytes
        }
        Key::Checkpoint(stream) => [&b"S"[..], &stream.to_bytes()].concat(),
    }
}

/// What the keys of all data keys of a stream begin with.
pub(super) fn data_keys(stream: StreamId) -> [u8; 17] {
    let mut prefix = [b'K'; 17];
    prefix[1..].copy_from_slice(&stream.to_bytes());
    prefix
}

/// The data key that a key with such a prefix is for.
pub(super) fn of_data_key(key: &[u8]) -> Option<DataKeyId> {
    let id: [u8; 16] = key.get(17..)?.try_into().ok()?;
    Some(DataKeyId::from_uuid(Uuid::from_bytes(id)))
}
