//! The file of a stream's key: `keys/<stream>`. How its bytes are laid out, read and replaced.
//!
//! ```text
//! format 1 · generations (1 or 2) · stream 16 · root key's fingerprint 16 ·
//!   generations × (generation u32 · wrapped key 80) · CRC-32 of all before
//! ```
//!
//! Integers are big-endian. Two generations are there while a stream's data keys move from the first to the
//! second. The CRC tells damage from a wrong root key; what authenticates is the wrapping.

use std::io;
use std::path::Path;

use crate::ids::StreamId;
use crate::seal::material::WRAPPED_BYTES;
use crate::seal::overwriting;
use crate::seal::root::RootFingerprint;

const FORMAT: u8 = 1;
const GENERATIONS_MAX: usize = 2;
const HEADER_BYTES: usize = 2 + 16 + 16;
const GENERATION_BYTES: usize = 4 + WRAPPED_BYTES;
const CRC_BYTES: usize = 4;

/// A stream's wrapped key, of one or two generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyFile {
    /// The stream that the key is for.
    pub(super) stream: StreamId,
    /// Which root key wraps it.
    pub(super) root: RootFingerprint,
    /// Generation numbers, increasing, and the wrapped keys.
    pub(super) generations: Vec<(u32, [u8; WRAPPED_BYTES])>,
}

impl KeyFile {
    /// The file's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.generations.len()).expect("one or two");
        let mut bytes = vec![FORMAT, count];
        bytes.extend_from_slice(&self.stream.to_bytes());
        bytes.extend_from_slice(&self.root.0);
        for (generation, wrapped) in &self.generations {
            bytes.extend_from_slice(&generation.to_be_bytes());
            bytes.extend_from_slice(wrapped);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or("it is cut short")?;
        let (header, generations) = body.split_first_chunk::<HEADER_BYTES>().ok_or("it is cut short")?;
        if header[0] != FORMAT {
            return Err(format!("its format is {}: damaged, or written by a newer Settled", header[0]));
        }
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err("its checksum does not fit".to_owned());
        }
        let count = usize::from(header[1]);
        if !(1..=GENERATIONS_MAX).contains(&count) || generations.len() != count * GENERATION_BYTES {
            return Err(format!("it says {count} generations and has {} bytes", bytes.len()));
        }
        let generations: Vec<_> = generations.chunks_exact(GENERATION_BYTES).map(generation).collect();
        if !generations.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err("its generations do not increase".to_owned());
        }
        let (stream, root) = header[2..].split_at(16);
        Ok(Self {
            stream: StreamId::from_bytes(stream.try_into().expect("split at 16")),
            root: RootFingerprint(root.try_into().expect("32 less 16")),
            generations,
        })
    }

    /// Puts the file in place of what may be there, whose bytes are overwritten: after a crash it is the old or the new
    /// one, never a mixture.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        overwriting::put(path, &self.encode())
    }
}

fn generation(bytes: &[u8]) -> (u32, [u8; WRAPPED_BYTES]) {
    let (generation, wrapped) = bytes.split_at(4);
    (
        u32::from_be_bytes(generation.try_into().expect("split at 4")),
        wrapped.try_into().expect("a chunk has 4 bytes more than a wrapped key"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(generations: &[u32]) -> KeyFile {
        KeyFile {
            stream: StreamId::Organization(crate::ids::Fresh.id()),
            root: RootFingerprint([9; 16]),
            generations: generations.iter().map(|generation| (*generation, [5; WRAPPED_BYTES])).collect(),
        }
    }

    #[test]
    fn one_and_two_generations_are_read_back() {
        for generations in [&[1][..], &[1, 2], &[7, 9]] {
            let file = file(generations);
            assert_eq!(KeyFile::decode(&file.encode()), Ok(file));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let bytes = file(&[1, 2]).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(KeyFile::decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(KeyFile::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(KeyFile::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn no_generation_three_generations_and_a_wrong_order_are_refused() {
        for generations in [&[][..], &[1, 2, 3], &[2, 1], &[1, 1]] {
            assert!(KeyFile::decode(&file(generations).encode()).is_err(), "{generations:?}");
        }
    }
}
