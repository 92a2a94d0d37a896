//! What a filter means in a segment, part by part: it is an intersection of unions of bitmaps, one union a dimension. Where
//! the parts come from is not known here.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

use crate::event::Version;
use crate::log::filter::Filter;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, segment_of};

/// What the values of an event's envelope can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// Who acted, by id; `system` and `operator` are their own.
    Actor,
    /// What was done.
    Action,
    /// The type of what it was done to.
    Type,
    /// How it ended.
    Outcome,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Actor, Self::Action, Self::Type, Self::Outcome];

    /// The section of a file that has its values.
    pub fn section(self) -> &'static str {
        match self {
            Self::Actor => "actors",
            Self::Action => "actions",
            Self::Type => "types",
            Self::Outcome => "outcomes",
        }
    }
}

/// What else events are found by, of which there are very many, each of few versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mentioned {
    /// An id: of the resource that is changed, or of one concerned.
    Id,
    /// [`Event::mark`](crate::event::Event::mark).
    Mark,
}

impl Mentioned {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Id, Self::Mark];

    /// The section of a file that has them, in pieces.
    pub fn section(self) -> &'static str {
        match self {
            Self::Id => "mentions",
            Self::Mark => "marks",
        }
    }
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

    /// What has to be mentioned: one of the values, where there are any.
    pub fn mentioned(&self, mentioned: Mentioned) -> &[String] {
        match mentioned {
            Mentioned::Id => &self.resources,
            Mentioned::Mark => &self.marks,
        }
    }

    /// The dimensions that have a condition.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension> {
        Dimension::ALL.into_iter().filter(|dimension| match dimension {
            Dimension::Actor => !self.actors.is_empty(),
            Dimension::Action => !self.actions.is_empty(),
            Dimension::Type => !self.types.is_empty(),
            Dimension::Outcome => !self.outcomes.is_empty(),
        })
    }

    /// The versions that meet the condition of a dimension, of which these are all values.
    pub fn meant(&self, dimension: Dimension, postings: &Postings) -> RoaringBitmap {
        match dimension {
            Dimension::Actor => union(postings, self.actors.iter().map(String::as_str)),
            Dimension::Action => union(
                postings,
                postings.keys().map(|action| &**action).filter(|action| self.means_action(action)),
            ),
            Dimension::Type => union(postings, self.types.iter().map(|kind| kind.name())),
            Dimension::Outcome => union(postings, self.outcomes.iter().map(|outcome| outcome.name())),
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
