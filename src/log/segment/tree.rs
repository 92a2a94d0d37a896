//! The hashes of a segment's part of the stream's Merkle tree (RFC 6962), from level 8 up.
//!
//! A leaf is hashed when its event is packed. Of each 256 leaves one hash is kept, and all above it, up to the one of
//! the whole segment; below, a proof reads the events again, at most 256 of them.

use sha2::{Digest, Sha256};

/// A node's hash.
pub type Hash = [u8; 32];

/// The lowest level that is kept: a node of it covers 2^8 leaves.
pub const LOWEST_LEVEL: usize = 8;
/// The level of the node that covers a whole segment of 2^16 leaves.
pub const HIGHEST_LEVEL: usize = 16;

const KEPT_LEVELS: usize = HIGHEST_LEVEL - LOWEST_LEVEL + 1;

/// The hash of the node over two others: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The root over complete subtrees, the largest (and oldest) first. `None` of an empty tree.
pub fn root(peaks: &[Hash]) -> Option<Hash> {
    let (last, before) = peaks.split_last()?;
    Some(before.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The root of a tree that grows leaf by leaf, of any size: of what was pushed it keeps the complete subtrees alone.
#[derive(Clone, Debug, Default)]
pub struct Growing {
    size: u64,
    /// The largest first.
    peaks: Vec<Hash>,
}

impl Growing {
    /// Adds the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // As many subtrees are complete now as the size has ones at its end.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each one of the size");
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them; `None` of an empty tree.
    pub fn root(&self) -> Option<Hash> {
        root(&self.peaks)
    }
}

/// The hashes of up to 65,536 leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// Complete subtrees below the lowest kept level: at most one each level.
    frontier: [Option<Hash>; LOWEST_LEVEL],
    levels: [Vec<Hash>; KEPT_LEVELS],
}

impl Hashes {
    /// Adds the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for slot in &mut self.frontier {
            match slot.take() {
                None => {
                    *slot = Some(node);
                    return;
                }
                Some(left) => node = node_hash(&left, &node),
            }
        }
        self.push_kept(node);
    }

    /// The hashes of a kept level, the oldest first.
    pub fn level(&self, level: usize) -> &[Hash] {
        level.checked_sub(LOWEST_LEVEL).and_then(|index| self.levels.get(index)).map_or(&[], Vec::as_slice)
    }

    /// The hash of a full segment.
    pub fn whole(&self) -> Option<Hash> {
        self.level(HIGHEST_LEVEL).first().copied()
    }

    /// The complete subtrees of what was pushed, the largest first.
    pub fn peaks(&self) -> Vec<Hash> {
        let kept = self.levels.iter().rev().filter(|level| level.len() % 2 == 1);
        let kept = kept.filter_map(|level| level.last().copied());
        kept.chain(self.frontier.iter().rev().filter_map(|node| *node)).collect()
    }

    /// As bytes: the level that is lowest, then the frontier; all above follows from them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for hash in &self.levels[0] {
            out.extend_from_slice(hash);
        }
        for hash in self.frontier.iter().flatten() {
            out.extend_from_slice(hash);
        }
    }

    /// Reads the hashes of `count` leaves; `None` if the bytes are not those.
    pub fn read(count: usize, bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<32>();
        let kept = count >> LOWEST_LEVEL;
        let open: Vec<usize> = (0..LOWEST_LEVEL).filter(|level| count >> level & 1 == 1).collect();
        if !rest.is_empty() || chunks.len() != kept + open.len() {
            return None;
        }
        let mut hashes = Self::default();
        for hash in &chunks[..kept] {
            hashes.push_kept(*hash);
        }
        for (level, hash) in open.into_iter().zip(&chunks[kept..]) {
            hashes.frontier[level] = Some(*hash);
        }
        Some(hashes)
    }

    /// How much memory they take, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.levels.iter().map(|level| level.len() * size_of::<Hash>()).sum::<usize>()
    }

    fn push_kept(&mut self, hash: Hash) {
        let mut node = hash;
        for level in &mut self.levels {
            level.push(node);
            if level.len() % 2 == 1 {
                return;
            }
            node = node_hash(&level[level.len() - 2], &node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, by its definition.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&by_definition(&leaves[..split]), &by_definition(&leaves[split..]))
            }
        }
    }

    fn leaf(number: u32) -> Hash {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn the_root_is_that_of_the_definition_at_every_size() {
        let (mut hashes, mut growing) = (Hashes::default(), Growing::default());
        let mut leaves = Vec::new();
        for number in 0..1_500 {
            hashes.push(leaf(number));
            leaves.push(leaf(number));
            growing.push(leaves[leaves.len() - 1]);
            assert_eq!(root(&hashes.peaks()), Some(by_definition(&leaves)), "{number}");
            assert_eq!((growing.root(), growing.size()), (root(&hashes.peaks()), leaves.len() as u64));
        }
        assert_eq!(hashes.level(8)[1], by_definition(&leaves[256..512]));
        assert_eq!(hashes.level(10)[0], by_definition(&leaves[..1024]));
    }

    #[test]
    fn hashes_read_back_and_go_on() {
        let mut hashes = Hashes::default();
        for number in 0..700_u32 {
            let mut bytes = Vec::new();
            hashes.write(&mut bytes);
            let mut again = Hashes::read(number as usize, &bytes).unwrap();
            assert_eq!(again, hashes);
            assert_eq!(Hashes::read(number as usize, &[&bytes[..], &[0; 32]].concat()), None);
            again.push(leaf(number));
            hashes.push(leaf(number));
            assert_eq!(again, hashes);
        }
    }

    #[test]
    fn a_full_segment_has_one_hash() {
        let mut hashes = Hashes::default();
        for number in 0..65_536 {
            assert_eq!(hashes.whole(), None);
            hashes.push(leaf(number % 7));
        }
        assert_eq!(hashes.peaks(), [hashes.whole().unwrap()]);
    }
}
