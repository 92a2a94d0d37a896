//! [`Sieve`]: which ids a full segment mentions, in so few bits that those of all segments are in memory. What it says is not
//! there is not there; of what it says is there, a little is not, and is looked for in vain.
//!
//! A Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970), whose places are made of
//! two hashes (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).

use sha2::{Digest, Sha256};

use crate::varint::{self, Malformed, Reader};

/// How many bits an id takes. With [`PLACES`] of them set, 0.3 % of the ids that are not there are taken for such as are.
const BITS_PER_ID: usize = 12;
/// How many bits an id sets.
const PLACES: u64 = 8;

/// What is taken of an id to look for it. It is the same in every process: files are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdHash {
    first: u32,
    step: u32,
    piece: u32,
}

impl IdHash {
    /// That of an id.
    pub fn of(id: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(id).into();
        let word =
            |at: usize| u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        Self { first: word(0), step: word(4), piece: word(8) }
    }

    /// Which of so many pieces the id is in.
    pub(super) fn piece(self, pieces: usize) -> usize {
        self.piece as usize % pieces.max(1)
    }

    /// The bits of the id among so many.
    fn bits(self, of: usize) -> impl Iterator<Item = usize> {
        let (first, step, of) = (u64::from(self.first), u64::from(self.step), of as u64);
        // What is left of a division by a size in memory is one.
        (0..PLACES).map(move |place| ((first + place * step) % of) as usize)
    }
}

/// Which ids may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sieve {
    /// Never empty.
    words: Box<[u64]>,
}

impl Sieve {
    /// That of some ids.
    pub(super) fn of(ids: &[IdHash]) -> Self {
        let mut words = vec![0_u64; (ids.len() * BITS_PER_ID).div_ceil(64).max(1)];
        let bits = words.len() * 64;
        for bit in ids.iter().flat_map(|id| id.bits(bits)) {
            words[bit / 64] |= 1 << (bit % 64);
        }
        Self { words: words.into() }
    }

    /// Whether an id may be there; `false` is certain.
    pub fn may_have(&self, id: IdHash) -> bool {
        id.bits(self.words.len() * 64).all(|bit| self.words[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// As in a file.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.words.len() as u64, out);
        self.words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    /// What a file has.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = reader.size()?.checked_mul(8).ok_or(Malformed)?;
        let (words @ [_, ..], []) = reader.bytes(bytes)?.as_chunks::<8>() else { return Err(Malformed) };
        Ok(Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }

    /// How much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of_val(&*self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> IdHash {
        IdHash::of(format!("exe_{number:026}").as_bytes())
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_seldom() {
        let ids: Vec<IdHash> = (0..20_000).map(hash).collect();
        let sieve = Sieve::of(&ids);
        assert!(ids.iter().all(|id| sieve.may_have(*id)));
        let in_vain = (20_000..120_000).filter(|number| sieve.may_have(hash(*number))).count();
        assert!(in_vain < 1_000, "{in_vain} of 100,000");
        assert!(sieve.weight() <= 20_000 * 3 / 2 + 8, "{} bytes", sieve.weight());
    }

    #[test]
    fn one_reads_back_and_an_empty_one_has_nothing() {
        let (few, none) = (Sieve::of(&[hash(1), hash(2)]), Sieve::of(&[]));
        let mut bytes = Vec::new();
        few.write(&mut bytes);
        assert_eq!(Sieve::read(&mut Reader(&bytes)), Ok(few));
        assert!((0..1_000).all(|number| !none.may_have(hash(number))));
        for other in [&bytes[..bytes.len() - 1], &[], &[0], &[0xff; 9]] {
            assert_eq!(Sieve::read(&mut Reader(other)), Err(Malformed));
        }
    }
}
