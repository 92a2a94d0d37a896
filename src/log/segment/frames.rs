//! [`Frames`]: where the frames of a segment are. Most frames hold one event, so this is what a segment takes most of:
//! places are kept as differences, some six bytes each instead of 24.

use crate::clock::Timestamp;
use crate::event::Version;
use crate::log::Position;
use crate::varint::{self, Malformed, Reader};

/// How many places are looked through one by one: each block of so many begins with one as it is.
const BLOCK: usize = 32;

/// Where a frame is, and from which version on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePlace {
    /// The version of its first event, which may lie in the segment before.
    pub first: Version,
    /// Its place in the log.
    pub position: Position,
    /// Its time.
    pub at: Timestamp,
}

impl FramePlace {
    /// Before all others.
    pub(super) const ZERO: Self = Self { first: 0, position: Position(0), at: Timestamp::EPOCH };

    /// Appends how it differs from the one before it.
    pub(super) fn write_after(&self, before: &Self, out: &mut Vec<u8>) {
        varint::write(self.first - before.first, out);
        varint::write(self.position.0 - before.position.0, out);
        varint::write(self.at.micros().abs_diff(before.at.micros()), out);
    }

    /// Reads the one after this.
    pub(super) fn read_after(&self, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let first = self.first.checked_add(reader.varint()?).ok_or(Malformed)?;
        let position = self.position.0.checked_add(reader.varint()?).ok_or(Malformed)?;
        let micros = i64::try_from(reader.varint()?).ok().and_then(|more| self.at.micros().checked_add(more));
        let at = Timestamp::from_micros(micros.ok_or(Malformed)?);
        Ok(Self { first, position: Position(position), at })
    }
}

/// Places of frames, oldest first: versions, positions and times grow from one to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    blocks: Vec<Block>,
    /// All places but the first of each block, as differences.
    rest: Vec<u8>,
    count: usize,
    last: Option<FramePlace>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    first: FramePlace,
    /// Where the block's others begin in the rest.
    start: usize,
}

impl Frames {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The newest.
    pub fn last(&self) -> Option<FramePlace> {
        self.last
    }

    /// The oldest.
    pub fn first(&self) -> Option<FramePlace> {
        self.blocks.first().map(|block| block.first)
    }

    /// Adds the next one.
    pub(super) fn push(&mut self, place: FramePlace) {
        match &self.last {
            Some(last) if !self.count.is_multiple_of(BLOCK) => place.write_after(last, &mut self.rest),
            _ => self.blocks.push(Block { first: place, start: self.rest.len() }),
        }
        self.count += 1;
        self.last = Some(place);
    }

    /// All from one on, by its index.
    pub(super) fn starting_at(&self, index: usize) -> impl Iterator<Item = FramePlace> + '_ {
        let blocks = self.blocks.get(index / BLOCK..).unwrap_or_default();
        blocks.iter().flat_map(|block| self.of_block(block)).skip(index % BLOCK)
    }

    /// The last place of which something is true, and the first of which it is not. It has to be true of all up to one,
    /// and of none after that.
    pub fn around(&self, is: impl Fn(&FramePlace) -> bool) -> (Option<FramePlace>, Option<FramePlace>) {
        let after = self.blocks.partition_point(|block| is(&block.first));
        let mut last = None;
        if let Some(block) = after.checked_sub(1).and_then(|index| self.blocks.get(index)) {
            for place in self.of_block(block) {
                if !is(&place) {
                    return (last, Some(place));
                }
                last = Some(place);
            }
        }
        (last, self.blocks.get(after).map(|block| block.first))
    }

    fn of_block(&self, block: &Block) -> impl Iterator<Item = FramePlace> + '_ {
        let mut rest = Reader(&self.rest[block.start..]);
        // Where there is nothing more to read the last block ends; what was pushed here can be read.
        let others = move |before: &FramePlace| before.read_after(&mut rest).ok();
        std::iter::successors(Some(block.first), others).take(BLOCK)
    }

    /// As in a file.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut before = FramePlace::ZERO;
        for place in self.starting_at(0) {
            place.write_after(&before, out);
            before = place;
        }
    }

    /// What a file has.
    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let mut frames = Self::default();
        let mut last = FramePlace::ZERO;
        while !reader.0.is_empty() {
            last = last.read_after(&mut reader)?;
            frames.push(last);
        }
        Ok(frames)
    }

    /// How much memory they take, in bytes.
    pub fn weight(&self) -> usize {
        self.rest.capacity() + self.blocks.capacity() * size_of::<Block>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: u64) -> Vec<FramePlace> {
        let place = |number: u64| {
            let at = Timestamp::from_micros(1_790_000_000_000_000 + i64::try_from(number * number).unwrap());
            FramePlace { first: 1 + number * 3, position: Position(7 + number * 1_000), at }
        };
        (0..count).map(place).collect()
    }

    #[test]
    fn places_are_those_that_were_pushed_wherever_one_begins() {
        for count in [0, 1, 31, 32, 33, 64, 100] {
            let all = places(count);
            let mut frames = Frames::default();
            all.iter().for_each(|place| frames.push(*place));
            assert_eq!((frames.first(), frames.last()), (all.first().copied(), all.last().copied()));
            for index in 0..all.len() + 40 {
                let expected = all.get(index..).unwrap_or_default();
                assert!(frames.starting_at(index).eq(expected.iter().copied()), "{count} from {index}");
            }
            for version in 0..3 * count + 5 {
                let after = all.partition_point(|place| place.first <= version);
                let before = after.checked_sub(1).map(|index| all[index]);
                let around = frames.around(|place| place.first <= version);
                assert_eq!(around, (before, all.get(after).copied()), "{count} around {version}");
            }
            let mut bytes = Vec::new();
            frames.write(&mut bytes);
            assert_eq!(Frames::read(Reader(&bytes)), Ok(frames));
        }
    }

    #[test]
    fn a_place_takes_few_bytes() {
        let mut frames = Frames::default();
        places(60_000).into_iter().for_each(|place| frames.push(place));
        assert!(frames.weight() < 60_000 * 12, "{} bytes", frames.weight());
    }
}
