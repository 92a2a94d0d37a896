//! [`Looked`]: a segment of a stream that somebody looks into, wherever its parts are: the one that goes on, and full ones that
//! no file has yet, are in memory; of all others each part is read when it is needed.
//!
//! What costs least and leaves least comes first: a filter by what is mentioned reads nothing of a segment that does not
//! mention it.

use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::log::filter::Filter;
use crate::log::segment::frames::{FramePlace, Frames};
use crate::log::segment::search::{Dimension, Mentioned};
use crate::log::segment::tree::Hashes;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, Segment};
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::Handle;
use crate::store::segments::Full;

/// A segment that is looked into.
pub(super) enum Looked<'a> {
    /// It is in memory.
    Memory(&'a Segment),
    /// It is full, and in a file.
    Full(Full<'a>),
}

/// A part of a segment.
enum Part<'a, T> {
    Lent(&'a T),
    Shared(Arc<T>),
}

impl<T> Deref for Part<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Lent(part) => part,
            Self::Shared(part) => part,
        }
    }
}

impl Store {
    /// Looks into a segment of a stream.
    pub(super) fn segment<T>(
        &self,
        handle: &Handle,
        number: u64,
        look: impl FnOnce(&Looked<'_>) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let waiting = {
            let index = handle.index();
            if index.open().number() == number {
                return look(&Looked::Memory(index.open()));
            }
            index.waiting(number).cloned()
        };
        if let Some(segment) = waiting {
            return look(&Looked::Memory(&segment));
        }
        let after = || self.frame_after(handle, number);
        look(&Looked::Full(self.inner.segments.full(handle.stream(), number, &after)?))
    }

    /// A frame at or after the last one of a full segment.
    fn frame_after(&self, handle: &Handle, number: u64) -> Result<FramePlace, HistoryError> {
        let head = handle.view().head;
        let first = self.segment(handle, number + 1, |segment| Ok(segment.begins()))?;
        // Where the next segment has no version yet, the stream ends in this one.
        Ok(first.unwrap_or(FramePlace { first: head.version, position: head.position, at: head.at }))
    }
}

impl Looked<'_> {
    /// The version before its first.
    pub(super) fn base(&self) -> Version {
        match self {
            Self::Memory(segment) => segment.base(),
            Self::Full(full) => full.base(),
        }
    }

    /// Its newest version; that before its first where it has none.
    fn version(&self) -> Version {
        match self {
            Self::Memory(segment) => segment.version(),
            Self::Full(full) => full.base() + SEGMENT_VERSIONS,
        }
    }

    /// The frame that its first version is in.
    pub(super) fn begins(&self) -> Option<FramePlace> {
        match self {
            Self::Memory(segment) => segment.frames().first(),
            Self::Full(full) => Some(full.outline().first()),
        }
    }

    /// The frame that its newest version is in.
    fn ends(&self) -> Option<FramePlace> {
        match self {
            Self::Memory(segment) => segment.frames().last(),
            Self::Full(full) => Some(full.outline().last()),
        }
    }

    fn frames(&self) -> Result<Part<'_, Frames>, HistoryError> {
        match self {
            Self::Memory(segment) => Ok(Part::Lent(segment.frames())),
            Self::Full(full) => full.frames().map(Part::Shared),
        }
    }

    fn postings(&self, dimension: Dimension) -> Result<Part<'_, Postings>, HistoryError> {
        match self {
            Self::Memory(segment) => Ok(Part::Lent(segment.postings(dimension))),
            Self::Full(full) => full.postings(dimension).map(Part::Shared),
        }
    }

    fn hashes(&self) -> Result<Part<'_, Hashes>, HistoryError> {
        match self {
            Self::Memory(segment) => Ok(Part::Lent(segment.hashes())),
            Self::Full(full) => full.hashes().map(Part::Shared),
        }
    }

    fn mentioning(&self, mentioned: Mentioned, name: &str) -> Result<RoaringBitmap, HistoryError> {
        match self {
            Self::Memory(segment) => Ok(segment.mentioning(mentioned, name)),
            Self::Full(full) => full.mentioning(mentioned, name),
        }
    }

    /// The versions that a filter means, as offsets from [`base`](Self::base) + 1.
    pub(super) fn matching(&self, filter: &Filter) -> Result<RoaringBitmap, HistoryError> {
        let Some(range) = self.range(filter)? else { return Ok(RoaringBitmap::new()) };
        let mut found: Option<RoaringBitmap> = None;
        for mentioned in Mentioned::ALL {
            let names = filter.mentioned(mentioned);
            if names.is_empty() || found.as_ref().is_some_and(RoaringBitmap::is_empty) {
                continue;
            }
            let mut any = RoaringBitmap::new();
            for name in names {
                any |= self.mentioning(mentioned, name)?;
            }
            found = Some(narrowed(found, any, &range));
        }
        for dimension in filter.dimensions() {
            if found.as_ref().is_some_and(RoaringBitmap::is_empty) {
                break;
            }
            let postings = self.postings(dimension)?;
            let meant = filter.meant(dimension, &postings);
            found = Some(narrowed(found, meant, &range));
        }
        let mut found = found.unwrap_or_else(|| RoaringBitmap::from_iter(range));
        if filter.actions.is_empty() && !filter.unless_named.is_empty() && !found.is_empty() {
            let actions = self.postings(Dimension::Action)?;
            for hidden in filter.unless_named.iter().filter_map(|action| actions.get(*action)) {
                found -= hidden;
            }
        }
        Ok(found)
    }

    /// How many of these versions have each value of a dimension; `each` hears of those that any has.
    pub(super) fn count(
        &self,
        found: &RoaringBitmap,
        dimension: Dimension,
        mut each: impl FnMut(&str, u64),
    ) -> Result<(), HistoryError> {
        for (value, bitmap) in self.postings(dimension)?.iter() {
            let count = found.intersection_len(bitmap);
            if count > 0 {
                each(value, count);
            }
        }
        Ok(())
    }

    /// The first version that mentions an id.
    pub(super) fn first_mention(&self, id: &str) -> Result<Option<Version>, HistoryError> {
        let first = self.mentioning(Mentioned::Id, id)?.min();
        Ok(first.map(|first| self.base() + 1 + u64::from(first)))
    }

    /// The newest version that is not after a time; that before the first one where all are.
    pub(super) fn version_at(&self, at: Timestamp) -> Result<Version, HistoryError> {
        self.last_while(|frame| frame.at <= at)
    }

    /// The place of the frame that a version is in.
    pub(super) fn frame_of(&self, version: Version) -> Result<Option<FramePlace>, HistoryError> {
        if version <= self.base() || version > self.version() {
            return Ok(None);
        }
        Ok(self.frames()?.around(|frame| frame.first <= version).0)
    }

    /// One hash of a level that is kept.
    pub(super) fn hash(&self, level: usize, index: usize) -> Result<Option<[u8; 32]>, HistoryError> {
        Ok(self.hashes()?.level(level).get(index).copied())
    }

    /// The hash of all its leaves, where it is full.
    pub(super) fn whole(&self) -> Result<Option<[u8; 32]>, HistoryError> {
        Ok(self.hashes()?.whole())
    }

    /// The offsets that time and version leave; `None` where they leave nothing.
    fn range(&self, filter: &Filter) -> Result<Option<RangeInclusive<u32>>, HistoryError> {
        let mut first = filter.after.map_or(self.base(), |after| self.base().max(after));
        let mut last = filter.until.map_or(self.version(), |until| self.version().min(until));
        if let Some(from) = filter.from {
            first = first.max(self.last_while(|frame| frame.at < from)?);
        }
        if let Some(to) = filter.to {
            last = last.min(self.last_while(|frame| frame.at < to)?);
        }
        let offset = |version: Version| u32::try_from(version - self.base()).unwrap_or(u32::MAX);
        Ok((first < last).then(|| offset(first)..=offset(last) - 1))
    }

    /// The newest version whose frame something is true of, which has to be true of all before; that before the first where
    /// it is true of none.
    fn last_while(&self, is: impl Fn(&FramePlace) -> bool) -> Result<Version, HistoryError> {
        if self.ends().is_none_or(|last| is(&last)) {
            return Ok(self.version());
        }
        let after = self.frames()?.around(is).1;
        Ok(after.map_or(self.version(), |frame| (frame.first - 1).max(self.base())))
    }
}

/// What was found so far of these versions; in the beginning what of them lies in a range.
fn narrowed(
    found: Option<RoaringBitmap>,
    mut versions: RoaringBitmap,
    range: &RangeInclusive<u32>,
) -> RoaringBitmap {
    if let Some(found) = found {
        return found & versions;
    }
    versions.remove_range(..*range.start());
    versions.remove_range(range.end() + 1..);
    versions
}
