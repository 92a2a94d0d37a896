//! [`Segment`]: the index of 65,536 versions of a stream. It finds events by what they are, and says where they are.
//!
//! The log writes only events; what finds them again is computed here, and kept in files that can be made anew at any
//! time. A segment knows the envelope of events (actor, action, resource, outcome), never what an area makes of them.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use crate::event::{Recorded, Version};
use crate::log::segment::frames::{FramePlace, Frames};
use crate::log::segment::mentions::Mentions;
use crate::log::segment::search::{Dimension, Mentioned};
use crate::log::segment::tree::{Hash, Hashes};

pub mod copying;
pub mod encoding;
pub mod frames;
pub mod mentions;
pub mod outline;
pub mod piece;
pub mod search;
pub mod sieve;
pub mod tree;

/// How many versions a segment has when it is full: one container of a roaring bitmap.
pub const SEGMENT_VERSIONS: u64 = 1 << 16;

/// After so many more versions a bitmap is put into the form that takes least: long runs of versions often have a value
/// in common.
const OPTIMIZED_EVERY: u64 = 1 << 10;

/// The number of the segment that a version is in.
pub fn segment_of(version: Version) -> u64 {
    version.saturating_sub(1) / SEGMENT_VERSIONS
}

/// Versions by a value that they have; each version as its offset within the segment.
pub type Postings = BTreeMap<Box<str>, RoaringBitmap>;

/// The index of a stream's versions from `number × 65,536 + 1` on, of a full segment or of as many as there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    number: u64,
    count: u32,
    frames: Frames,
    /// By the values of each [`Dimension`], in its order.
    values: [Postings; Dimension::ALL.len()],
    /// By each of what is [`Mentioned`], in its order.
    mentions: [Mentions; Mentioned::ALL.len()],
    hashes: Hashes,
}

impl Segment {
    /// A segment without versions.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            count: 0,
            frames: Frames::default(),
            values: [const { Postings::new() }; Dimension::ALL.len()],
            mentions: Default::default(),
            hashes: Hashes::default(),
        }
    }

    /// Which segment of the stream it is, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The version before its first.
    pub fn base(&self) -> Version {
        self.number * SEGMENT_VERSIONS
    }

    /// Its newest version; that before its first where it has none.
    pub fn version(&self) -> Version {
        self.base() + u64::from(self.count)
    }

    /// Whether it has all its versions.
    pub fn is_full(&self) -> bool {
        u64::from(self.count) == SEGMENT_VERSIONS
    }

    /// The frames that its versions are in, oldest first.
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// The hashes of its leaves' trees.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Its versions by the values of a dimension.
    pub fn postings(&self, dimension: Dimension) -> &Postings {
        &self.values[dimension as usize]
    }

    fn postings_mut(&mut self, dimension: Dimension) -> &mut Postings {
        &mut self.values[dimension as usize]
    }

    /// The versions that mention something, as offsets from [`base`](Self::base) + 1.
    pub fn mentioning(&self, mentioned: Mentioned, name: &str) -> RoaringBitmap {
        self.mentions[mentioned as usize].get(name)
    }

    /// Takes in the stream's next event, in its frame and with its leaf hash.
    ///
    /// # Panics
    /// If the event is not the next one: an index with a gap would hide events.
    pub fn push(&mut self, recorded: &Recorded, leaf: Hash, frame: FramePlace) {
        assert_eq!(recorded.version, self.version() + 1, "the index takes every version once, in order");
        let offset = self.count;
        if self.frames.last().is_none_or(|last| last.position != frame.position) {
            self.frames.push(frame);
        }
        let actor = recorded.actor.id.to_string();
        let mut note_value = |dimension, value| note(self.postings_mut(dimension), value, offset);
        note_value(Dimension::Actor, actor.as_str());
        note_value(Dimension::Action, recorded.event.action());
        note_value(Dimension::Type, recorded.resource.kind.name());
        note_value(Dimension::Outcome, recorded.outcome.name());
        for id in recorded.mentions() {
            self.mentions[Mentioned::Id as usize].note(&id, offset);
        }
        if let Some(mark) = recorded.event.mark() {
            self.mentions[Mentioned::Mark as usize].note(mark, offset);
        }
        self.hashes.push(leaf);
        self.count += 1;
    }
}

fn note(postings: &mut Postings, value: &str, offset: u32) {
    match postings.get_mut(value) {
        Some(bitmap) => {
            bitmap.insert(offset);
            if bitmap.len().is_multiple_of(OPTIMIZED_EVERY) {
                bitmap.optimize();
            }
        }
        None => {
            postings.insert(value.into(), RoaringBitmap::from_iter([offset]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Refused, RefusedData};
    use crate::given::{id, now, person, recorded};
    use crate::ids::StreamId;
    use crate::log::Position;

    #[test]
    fn what_many_versions_have_in_common_takes_little_memory() {
        let mut segment = Segment::new(0);
        let empty = segment.weight();
        for version in 1..=20_000 {
            let event = Event::Refused(Refused { action: "action".to_owned(), data: RefusedData::default() });
            let event = recorded(StreamId::Platform, version, now(), person(id(1)), event);
            let place = FramePlace { first: version, position: Position(version * 200), at: now() };
            segment.push(&event, [0; 32], place);
        }
        let weight = segment.weight() - empty;
        assert!(weight < 20_000 * 9, "{weight} bytes");
    }
}
