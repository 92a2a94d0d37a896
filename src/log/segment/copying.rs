//! [`Copying`]: a segment as it was at a version, copied piece by piece of one that goes on meanwhile.
//!
//! A segment only ever gains versions, so what it was is what it is without those that came since: each piece can be
//! taken at another time, and whoever shares the segment holds it for a piece, never for all of it.

use std::ops::Bound;

use roaring::RoaringBitmap;

use crate::log::segment::mentions::Mentions;
use crate::log::segment::search::{Dimension, Mentioned};
use crate::log::segment::{Postings, Segment};

/// How much a piece copies before it ends, in bytes: some 20 µs of work.
const PIECE_BYTES: usize = 32 << 10;
/// How many frames' places a piece copies.
const PIECE_FRAMES: usize = 1 << 10;
/// What a value takes beside its bitmap: it is allocated several times over.
const VALUE_BYTES: usize = 128;
/// How many parts there are: the frames, the values of each dimension, and what is mentioned.
const PARTS: usize = 1 + Dimension::ALL.len() + Mentioned::ALL.len();

/// A copy that is being made.
#[derive(Debug)]
pub struct Copying {
    copy: Segment,
    /// Which part is next: the frames, then the maps of values, one after the other.
    part: usize,
    /// The last value of its map that was copied.
    after: Option<Box<str>>,
}

impl Copying {
    /// Begins a copy of a segment as it is now. Only what cannot be told later is copied here, and that is small.
    pub fn of(segment: &Segment) -> Self {
        let copy = Segment {
            count: segment.count,
            hashes: segment.hashes.clone(),
            mentions: segment.mentions.each_ref().map(Mentions::without_fresh),
            ..Segment::new(segment.number)
        };
        Self { copy, part: 0, after: None }
    }

    /// The number of the segment.
    pub fn number(&self) -> u64 {
        self.copy.number
    }

    /// Copies the next piece out of the segment as it is by now; whether more is to come.
    pub fn piece(&mut self, of: &Segment) -> bool {
        let Segment { values, mentions, count, .. } = &mut self.copy;
        let (from, into): (&Postings, &mut Postings) = match self.part {
            0 => {
                self.frames(of);
                return true;
            }
            part if part <= values.len() => (&of.values[part - 1], &mut values[part - 1]),
            part if part < PARTS => {
                let part = part - 1 - values.len();
                (of.mentions[part].fresh(), mentions[part].fresh_mut())
            }
            _ => return false,
        };
        let after = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        for (value, bitmap) in from.range::<str, _>((after, Bound::Unbounded)) {
            bytes += VALUE_BYTES + value.len() + bitmap.serialized_size();
            if let Some(bitmap) = before(bitmap, *count) {
                into.insert(value.clone(), bitmap);
            }
            if bytes >= PIECE_BYTES {
                self.after = Some(value.clone());
                return true;
            }
        }
        self.part += 1;
        self.after = None;
        true
    }

    fn frames(&mut self, of: &Segment) {
        let version = self.copy.version();
        let mut more = of.frames.starting_at(self.copy.frames.count());
        for _ in 0..PIECE_FRAMES {
            let Some(frame) = more.next().filter(|frame| frame.first <= version) else {
                self.part = 1;
                return;
            };
            self.copy.frames.push(frame);
        }
    }

    /// The copy. Everything has to be copied.
    pub fn finish(self) -> Segment {
        debug_assert_eq!(self.part, PARTS, "the copy is whole");
        self.copy
    }
}

/// The offsets of a bitmap below `count`; `None` where there are none.
fn before(bitmap: &RoaringBitmap, count: u32) -> Option<RoaringBitmap> {
    if bitmap.min()? >= count {
        return None;
    }
    let mut copy = bitmap.clone();
    copy.remove_range(count..);
    Some(copy)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::event::{Event, Refused, RefusedData};
    use crate::given::{id, now, person, recorded};
    use crate::ids::StreamId;
    use crate::log::Position;
    use crate::log::segment::frames::FramePlace;

    /// Pushes versions, three a frame; each mentions an id of its own, and one that few others do.
    fn push(segment: &mut Segment, versions: u64) {
        for version in segment.version() + 1..=segment.version() + versions {
            let refused =
                Refused { action: format!("action.{}", version % 40), data: RefusedData::default() };
            let actor = person(id(u128::from(version % 300)));
            let mut event = recorded(StreamId::Platform, version, now(), actor, Event::Refused(refused));
            event.related = vec![format!("own_{version}"), format!("one_of_{}", version % 500)];
            let first = version - (version - 1) % 3;
            let place = FramePlace { first, position: Position(first), at: now() };
            segment.push(&event, [u8::try_from(version % 251).unwrap(); 32], place);
        }
    }

    #[test]
    fn a_copy_is_the_segment_as_it_was_when_it_was_begun_however_it_goes_on() {
        let mut read = Segment::new(0);
        push(&mut read, 3_000);
        let sections = read.sections();
        let find = |name: &str| {
            let pieces = sections.iter().filter(|(of, _)| *of == name);
            Ok::<_, Infallible>(pieces.map(|(_, piece)| piece.clone()).collect())
        };
        let mut segment = Segment::from_sections(0, find).unwrap().unwrap();
        push(&mut segment, 3_000);
        let then = segment.clone();
        let mut copying = Copying::of(&segment);
        let mut pieces = 1;
        while copying.piece(&segment) {
            pieces += 1;
            push(&mut segment, 3 * (1 + pieces % 4));
        }
        assert!(pieces > 20, "it is held for a piece at a time: {pieces} pieces");
        assert!(segment.version() > then.version() + 60);
        let copy = copying.finish();
        assert_eq!(copy, then);
        assert_eq!(copy.sections(), then.sections());
    }

    #[test]
    fn a_segment_of_nothing_is_copied() {
        let segment = Segment::new(3);
        let mut copying = Copying::of(&segment);
        while copying.piece(&segment) {}
        assert_eq!((copying.number(), copying.finish()), (3, segment));
    }
}
