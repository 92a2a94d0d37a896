//! Searching a segment: a filter is an intersection of unions of bitmaps.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::log::filter::Filter;
use crate::log::segment::frames::FramePlace;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, Segment, segment_of};

/// What the values of an event's envelope can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Who acted.
    Actor,
    /// What was done.
    Action,
    /// The type of what it was done to.
    Type,
    /// How it ended.
    Outcome,
}

impl Filter {
    /// The segments that hold the versions meant, as far as versions go; `None` where there are none.
    pub fn segments(&self) -> Option<RangeInclusive<u64>> {
        let (after, until) = (self.after.unwrap_or(0), self.until.unwrap_or(Version::MAX));
        (after < until).then(|| segment_of(after + 1)..=segment_of(until))
    }

    /// Whether all versions of a segment are meant, as far as times and versions go.
    pub fn spans(&self, segment: u64) -> bool {
        let base = segment * SEGMENT_VERSIONS;
        self.from.is_none()
            && self.to.is_none()
            && self.after.is_none_or(|after| after <= base)
            && self.until.is_none_or(|until| until >= base + SEGMENT_VERSIONS)
    }
}

impl Segment {
    /// The versions that a filter means, as offsets from [`base`](Segment::base) + 1.
    pub fn matching(&self, filter: &Filter) -> RoaringBitmap {
        let mut found: Option<RoaringBitmap> = None;
        let mut narrow = |bitmap: RoaringBitmap| match &mut found {
            Some(found) => *found &= bitmap,
            None => found = Some(bitmap),
        };
        if !filter.actors.is_empty() {
            narrow(union(&self.actors, filter.actors.iter().map(String::as_str)));
        }
        if !filter.types.is_empty() {
            narrow(union(&self.types, filter.types.iter().map(|kind| kind.name())));
        }
        if !filter.outcomes.is_empty() {
            narrow(union(&self.outcomes, filter.outcomes.iter().map(|outcome| outcome.name())));
        }
        if !filter.resources.is_empty() {
            let mut mentioned = RoaringBitmap::new();
            for id in &filter.resources {
                mentioned |= self.mentions.get(id);
            }
            narrow(mentioned);
        }
        if !filter.actions.is_empty() {
            narrow(union(
                &self.actions,
                self.actions.keys().map(|k| &**k).filter(|a| filter.means_action(a)),
            ));
        }
        let range = self.range(filter);
        let mut found = match found {
            None => {
                let mut all = RoaringBitmap::new();
                all.insert_range(range.clone().map_or(0..0, |range| *range.start()..range.end() + 1));
                all
            }
            Some(mut found) => {
                if let Some(range) = &range {
                    found.remove_range(..*range.start());
                    found.remove_range(range.end() + 1..);
                } else {
                    found.clear();
                }
                found
            }
        };
        if filter.actions.is_empty() {
            for action in filter.unless_named {
                if let Some(hidden) = self.actions.get(*action) {
                    found -= hidden;
                }
            }
        }
        found
    }

    /// How many of these versions have each value of a dimension.
    pub fn counts<'a>(
        &'a self,
        found: &'a RoaringBitmap,
        dimension: Dimension,
    ) -> impl Iterator<Item = (&'a str, u64)> + 'a {
        let postings = match dimension {
            Dimension::Actor => &self.actors,
            Dimension::Action => &self.actions,
            Dimension::Type => &self.types,
            Dimension::Outcome => &self.outcomes,
        };
        postings
            .iter()
            .map(move |(value, bitmap)| (&**value, found.intersection_len(bitmap)))
            .filter(|(_, count)| *count > 0)
    }

    /// The first version that mentions an id.
    pub fn first_mention(&self, id: &str) -> Option<Version> {
        let first = self.mentions.get(id).min()?;
        Some(self.base() + 1 + u64::from(first))
    }

    /// The newest version that is not after a time; that before the first one where all are.
    pub fn version_at(&self, at: Timestamp) -> Version {
        self.before(self.frames.around(|frame| frame.at <= at).1)
    }

    /// The offsets that time and version leave; `None` where they leave nothing.
    fn range(&self, filter: &Filter) -> Option<RangeInclusive<u32>> {
        let first = filter
            .from
            .map_or(self.base(), |from| self.before(self.frames.around(|frame| frame.at < from).1));
        let last =
            filter.to.map_or(self.version(), |to| self.before(self.frames.around(|frame| frame.at < to).1));
        let last = filter.until.map_or(last, |until| last.min(until));
        let first = filter.after.map_or(first, |after| first.max(after));
        if first >= last {
            return None;
        }
        let offset = |version: Version| u32::try_from(version - self.base()).unwrap_or(u32::MAX);
        Some(offset(first)..=offset(last) - 1)
    }

    /// The newest version of the segment before a frame of it; its newest at all where there is no such frame.
    fn before(&self, frame: Option<FramePlace>) -> Version {
        match frame {
            Some(frame) => (frame.first - 1).max(self.base()),
            None => self.version(),
        }
    }
}

fn union<'a>(postings: &Postings, values: impl Iterator<Item = &'a str>) -> RoaringBitmap {
    let mut found = RoaringBitmap::new();
    for value in values {
        if let Some(bitmap) = postings.get(value) {
            found |= bitmap;
        }
    }
    found
}
