//! [`Segment`]: the index of 65,536 versions of a stream. It finds events by what they are, and says where they are.
//!
//! The log writes only events; what finds them again is computed here, and kept in files that can be made anew at any
//! time. A segment knows the envelope of events (actor, action, resource, outcome), never what an area makes of them.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use crate::clock::Timestamp;
use crate::event::{Recorded, Version};
use crate::log::Position;
use crate::log::segment::mentions::Mentions;
use crate::log::segment::tree::{Hash, Hashes};

pub mod copying;
pub mod encoding;
pub mod mentions;
pub mod search;
pub mod tree;

/// How many versions a segment has when it is full: one container of a roaring bitmap.
pub const SEGMENT_VERSIONS: u64 = 1 << 16;

/// The number of the segment that a version is in.
pub fn segment_of(version: Version) -> u64 {
    version.saturating_sub(1) / SEGMENT_VERSIONS
}

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

/// Versions by a value that they have; each version as its offset within the segment.
pub type Postings = BTreeMap<Box<str>, RoaringBitmap>;

/// The index of a stream's versions from `number × 65,536 + 1` on, of a full segment or of as many as there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    number: u64,
    count: u32,
    frames: Vec<FramePlace>,
    /// By the id of the actor; `system` and `operator` are their own.
    actors: Postings,
    actions: Postings,
    types: Postings,
    outcomes: Postings,
    /// By the id of a resource that is changed or concerned.
    mentions: Mentions,
    hashes: Hashes,
}

impl Segment {
    /// A segment without versions.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            count: 0,
            frames: Vec::new(),
            actors: Postings::new(),
            actions: Postings::new(),
            types: Postings::new(),
            outcomes: Postings::new(),
            mentions: Mentions::default(),
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
    pub fn frames(&self) -> &[FramePlace] {
        &self.frames
    }

    /// The hashes of its leaves' trees.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
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
        note(&mut self.actors, &actor, offset);
        note(&mut self.actions, recorded.event.action(), offset);
        note(&mut self.types, recorded.resource.kind.name(), offset);
        note(&mut self.outcomes, recorded.outcome.name(), offset);
        for id in recorded.mentions() {
            self.mentions.note(&id, offset);
        }
        self.hashes.push(leaf);
        self.count += 1;
    }

    /// The place of the frame that a version is in.
    pub fn frame_of(&self, version: Version) -> Option<FramePlace> {
        if version <= self.base() || version > self.version() {
            return None;
        }
        let after = self.frames.partition_point(|frame| frame.first <= version);
        self.frames.get(after.checked_sub(1)?).copied()
    }
}

fn note(postings: &mut Postings, value: &str, offset: u32) {
    match postings.get_mut(value) {
        Some(bitmap) => {
            bitmap.insert(offset);
        }
        None => {
            postings.insert(value.into(), RoaringBitmap::from_iter([offset]));
        }
    }
}
