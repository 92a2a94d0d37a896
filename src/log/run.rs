//! The run: all frames of one commit as one string of bytes, cut into parts that a storage engine keeps well.
//!
//! ```text
//! run:  (length, a varint ‖ frame)…
//! part: magic "SLP1" ‖ position of the run's first frame (8) ‖ part (2) ‖ parts (2) ‖ CRC-32 of the rest (4) ‖ bytes
//! ```
//! Integers of a part are big-endian. A part can be recognised and checked alone, so that a run can be carved
//! out of a file whose engine no longer opens it.

use bytes::Bytes;

use super::Position;
use crate::varint::{self, Malformed, Reader};

/// The largest part, header included, in bytes. Larger values would make sled's log records pass 128 KiB
/// (sixteen to a leaf), and those it keeps in files that it never syncs.
pub const MAX_PART_BYTES: usize = 4 << 10;

const MAGIC: [u8; 4] = *b"SLP1";
const HEADER_BYTES: usize = 20;
const MAX_PAYLOAD_BYTES: usize = MAX_PART_BYTES - HEADER_BYTES;

/// The largest run, in bytes: what 65,535 parts hold.
pub const MAX_RUN_BYTES: usize = MAX_PAYLOAD_BYTES * u16::MAX as usize;

/// Parts that do not give a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It is no part, or a damaged one.
    #[error("part {part} of the run at position {position} is damaged: {what}")]
    Part {
        /// Where the run should begin.
        position: u64,
        /// Which part.
        part: u16,
        /// What is wrong.
        what: &'static str,
    },
    /// Parts are missing at the end.
    #[error("the run at position {position} has {found} of its {parts} parts")]
    Incomplete {
        /// Where the run begins.
        position: u64,
        /// How many there are.
        found: usize,
        /// How many there should be; 0 where not even the first is there.
        parts: u16,
    },
    /// The bytes do not divide into frames.
    #[error("the run at position {position} does not divide into frames")]
    Frames {
        /// Where the run begins.
        position: u64,
    },
}

/// The run of some frames, in order.
pub fn join<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut run = Vec::new();
    for frame in frames {
        varint::write(frame.len() as u64, &mut run);
        run.extend_from_slice(frame);
    }
    run
}

/// The frames of a run, in order, sharing its memory.
///
/// # Errors
/// When the bytes do not divide into frames.
pub fn divide(position: Position, run: &Bytes) -> Result<Vec<Bytes>, RunError> {
    let malformed = |Malformed| RunError::Frames { position: position.0 };
    let mut reader = Reader(run);
    let mut frames = Vec::new();
    while !reader.0.is_empty() {
        let length = reader.size().map_err(malformed)?;
        frames.push(run.slice_ref(reader.bytes(length).map_err(malformed)?));
    }
    Ok(frames)
}

/// Cuts a run into parts. A run is at most [`MAX_RUN_BYTES`] long.
pub fn cut(position: Position, run: &[u8]) -> Vec<Vec<u8>> {
    let parts = u16::try_from(run.len().div_ceil(MAX_PAYLOAD_BYTES)).unwrap_or(u16::MAX);
    (0..parts)
        .zip(run.chunks(MAX_PAYLOAD_BYTES))
        .map(|(part, payload)| {
            let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
            out.extend_from_slice(&MAGIC);
            out.extend_from_slice(&position.0.to_be_bytes());
            out.extend_from_slice(&part.to_be_bytes());
            out.extend_from_slice(&parts.to_be_bytes());
            out.extend_from_slice(&crc(&out, payload).to_be_bytes());
            out.extend_from_slice(payload);
            out
        })
        .collect()
}

/// Puts a run's parts together again.
///
/// # Errors
/// When one is damaged, out of place or missing.
pub fn assemble<P: AsRef<[u8]>>(position: Position, parts: &[P]) -> Result<Bytes, RunError> {
    let mut run = Vec::with_capacity(parts.len() * MAX_PAYLOAD_BYTES);
    let mut expected = 0;
    for (index, part) in parts.iter().enumerate() {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let damaged = |what| RunError::Part { position: position.0, part: index, what };
        let mut reader = Reader(part.as_ref());
        let mut read =
            || Ok((reader.array()?, reader.array()?, reader.array()?, reader.array()?, reader.array()?));
        let (magic, at, number, parts, checksum) = read().map_err(|Malformed| damaged("it ends early"))?;
        if magic != MAGIC {
            return Err(damaged("it does not begin as a part does"));
        }
        if crc(&part.as_ref()[..HEADER_BYTES - 4], reader.0) != u32::from_be_bytes(checksum) {
            return Err(damaged("its checksum differs"));
        }
        if u64::from_be_bytes(at) != position.0 || u16::from_be_bytes(number) != index {
            return Err(damaged("it belongs elsewhere"));
        }
        expected = u16::from_be_bytes(parts);
        run.extend_from_slice(reader.0);
    }
    if parts.is_empty() || parts.len() != usize::from(expected) {
        return Err(RunError::Incomplete { position: position.0, found: parts.len(), parts: expected });
    }
    Ok(Bytes::from(run))
}

fn crc(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..6),
            position in any::<u64>(),
        ) {
            let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
            let position = Position(position);
            let parts = cut(position, &join(&frames));
            prop_assert!(parts.iter().all(|part| part.len() <= MAX_PART_BYTES));
            let run = assemble(position, &parts).unwrap();
            prop_assert_eq!(divide(position, &run).unwrap(), frames);
        }

        #[test]
        fn any_flipped_bit_of_a_part_is_noticed(bytes in prop::collection::vec(any::<u8>(), 1..6000), bit in any::<usize>()) {
            let mut parts = cut(Position(7), &bytes);
            let total: usize = parts.iter().map(Vec::len).sum();
            let mut place = bit % (total * 8);
            for part in &mut parts {
                if place < part.len() * 8 {
                    part[place / 8] ^= 1 << (place % 8);
                    break;
                }
                place -= part.len() * 8;
            }
            prop_assert!(assemble(Position(7), &parts).is_err());
        }
    }

    #[test]
    fn missing_and_misplaced_parts_are_named() {
        let parts = cut(Position(3), &[1; 10_000]);
        assert_eq!(parts.len(), 3);
        assert!(matches!(
            assemble(Position(3), &parts[..2]),
            Err(RunError::Incomplete { found: 2, parts: 3, .. })
        ));
        assert!(matches!(assemble::<Vec<u8>>(Position(3), &[]), Err(RunError::Incomplete { found: 0, .. })));
        assert!(matches!(
            assemble(Position(4), &parts),
            Err(RunError::Part { what: "it belongs elsewhere", .. })
        ));
        let swapped = [&parts[1], &parts[0], &parts[2]];
        assert!(matches!(assemble(Position(3), &swapped), Err(RunError::Part { part: 0, .. })));
    }
}
