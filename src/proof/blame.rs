//! Which events of a bundle are not what was recorded: from which of them proved to be authentic, and at which place.
//!
//! What is authentic stays where it is in the longest run that goes upwards; what is authentic and outside of that was
//! moved. What is not authentic took the place of what is absent between its neighbours, or of nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::event::Version;
use crate::ids::EventId;

/// An event as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line of the bundle, from 1.
    pub line: u64,
    /// The version that it says it has; `None` where nothing can be read.
    pub version: Option<Version>,
    /// The id that it says it has.
    pub id: Option<EventId>,
    /// Whether its proof leads to the root.
    pub is_authentic: bool,
}

/// What is wrong with a bundle's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Blame {
    /// The event, or its proof, is not what was recorded.
    Altered {
        /// The version that it should be.
        version: Version,
        /// The line that it stands on.
        line: u64,
        /// The id that it says it has.
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<EventId>,
    },
    /// The events are not there.
    Removed {
        /// The version of the first.
        from: Version,
        /// The version of the last.
        to: Version,
    },
    /// The event was never recorded, or stands there a second time, or is none of those that the bundle is of.
    Added {
        /// The version that it says it has.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
        /// The line that it stands on.
        line: u64,
        /// The id that it says it has.
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<EventId>,
    },
    /// The event is as recorded, but stands at another place.
    Moved {
        /// Its version.
        version: Version,
        /// The line that it stands on.
        line: u64,
        /// Its id.
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<EventId>,
    },
}

impl std::fmt::Display for Blame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |event: &Option<EventId>| event.map(|id| format!(" ({id})")).unwrap_or_default();
        match self {
            Self::Altered { version, line, event } => {
                write!(f, "event {version}{} was altered: line {line}", named(event))
            }
            Self::Removed { from, to } if from == to => write!(f, "event {from} was removed"),
            Self::Removed { from, to } => write!(f, "events {from} to {to} were removed"),
            Self::Added { version: Some(version), line, event } => {
                write!(f, "an event was added, which says that it is {version}{}: line {line}", named(event))
            }
            Self::Added { version: None, line, .. } => write!(f, "a line was added: line {line}"),
            Self::Moved { version, line, event } => {
                write!(f, "event {version}{} was moved: line {line}", named(event))
            }
        }
    }
}

/// What is wrong with events that should be those from one version to another, in order; empty where nothing is. `to` is
/// below 2^53, and `from` at most one beyond it, where there should be none.
pub fn blame(found: &[Found], from: Version, to: Version) -> Vec<Blame> {
    let whole = found.iter().zip(from..).all(|(found, version)| found.is(version));
    if whole && found.len() as u64 == to + 1 - from {
        return Vec::new();
    }
    let wanted =
        |found: &Found| found.version.filter(|version| found.is_authentic && (from..=to).contains(version));
    let in_place = longest_upwards(&found.iter().map(wanted).collect::<Vec<_>>());
    let mut there: BTreeSet<Version> = in_place.iter().filter_map(|index| found[*index].version).collect();
    let mut blames = Vec::new();
    for (index, found) in found.iter().enumerate() {
        let Found { line, version, id, is_authentic } = *found;
        if !is_authentic || in_place.binary_search(&index).is_ok() {
            continue;
        }
        blames.push(match wanted(found) {
            Some(version) if there.insert(version) => Blame::Moved { version, line, event: id },
            Some(_) | None => Blame::Added { version, line, event: id },
        });
    }
    // What is not authentic takes the place of the absent event that it says it is …
    let mut nameless = Vec::new();
    for (index, found) in found.iter().enumerate().filter(|(_, found)| !found.is_authentic) {
        match found.version.filter(|version| (from..=to).contains(version)) {
            Some(version) if there.insert(version) => blames.push(found.altered(version)),
            Some(_) | None => nameless.push((index, found)),
        }
    }
    // … or else of the first that is absent between its neighbours; what is left over was added. The places are looked at
    // in their order, and what stands for something goes on standing for it: none is looked at twice.
    let mut next = from;
    for (index, stranger) in nameless {
        let behind = in_place.partition_point(|place| *place < index);
        let version_of = |place: usize| in_place.get(place).and_then(|index| found[*index].version);
        let begin = behind.checked_sub(1).and_then(version_of).map_or(from, |version| version + 1);
        let end = version_of(behind).unwrap_or(to + 1);
        next = next.max(begin);
        while next < end && there.contains(&next) {
            next += 1;
        }
        blames.push(match Some(next).filter(|version| *version < end && there.insert(*version)) {
            Some(version) => stranger.altered(version),
            None => Blame::Added { version: stranger.version, line: stranger.line, event: stranger.id },
        });
    }
    blames.extend(removed(&there, from, to));
    blames
}

impl Found {
    /// Whether it is the event of a version, as recorded.
    pub fn is(&self, version: Version) -> bool {
        self.is_authentic && self.version == Some(version)
    }

    fn altered(&self, version: Version) -> Blame {
        Blame::Altered { version, line: self.line, event: self.id }
    }
}

/// The runs of versions that nothing stands for.
fn removed(there: &BTreeSet<Version>, from: Version, to: Version) -> Vec<Blame> {
    let mut removed = Vec::new();
    let mut next = from;
    for version in there.iter().copied().chain([to + 1]) {
        if version > next {
            removed.push(Blame::Removed { from: next, to: version - 1 });
        }
        next = version + 1;
    }
    removed
}

/// The indices of a longest strictly increasing run of what is there, in order (patience sorting).
fn longest_upwards(values: &[Option<Version>]) -> Vec<usize> {
    // Of the runs of each length so far, the index of the least last value.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; values.len()];
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let shorter = ends.partition_point(|end| values[*end].is_some_and(|last| last < *value));
        before[index] = shorter.checked_sub(1).map(|length| ends[length]);
        if shorter == ends.len() {
            ends.push(index);
        } else {
            ends[shorter] = index;
        }
    }
    let mut run: Vec<usize> = std::iter::successors(ends.last().copied(), |index| before[*index]).collect();
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64, version: Version, is_authentic: bool) -> Found {
        Found { line, version: Some(version), id: None, is_authentic }
    }

    /// Authentic events of these versions, on lines from 2 on; a negative one is not authentic.
    fn found(versions: &[i64]) -> Vec<Found> {
        let found = |(line, version): (u64, &i64)| at(line, version.unsigned_abs(), *version > 0);
        (2..).zip(versions).map(found).collect()
    }

    fn said(versions: &[i64]) -> Vec<String> {
        blame(&found(versions), 5, 9).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_wrong_with_what_is_whole() {
        assert_eq!(said(&[5, 6, 7, 8, 9]), [""; 0]);
    }

    #[test]
    fn what_was_altered_is_named() {
        assert_eq!(said(&[5, 6, -7, 8, 9]), ["event 7 was altered: line 4"]);
        assert_eq!(said(&[-5, 6, 7, 8, -9]), ["event 5 was altered: line 2", "event 9 was altered: line 6"]);
        // Its version too.
        assert_eq!(said(&[5, 6, -70, 8, 9]), ["event 7 was altered: line 4"]);
        assert_eq!(said(&[5, 6, -8, 8, 9]), ["event 7 was altered: line 4"]);
        assert_eq!(said(&[-5, -6, -7, -8, -9]).len(), 5);
    }

    #[test]
    fn what_was_removed_is_named() {
        assert_eq!(said(&[5, 6, 8, 9]), ["event 7 was removed"]);
        assert_eq!(said(&[7, 8]), ["events 5 to 6 were removed", "event 9 was removed"]);
        assert_eq!(said(&[]), ["events 5 to 9 were removed"]);
        assert_eq!(
            said(&[5, -7, 9]),
            ["event 7 was altered: line 3", "event 6 was removed", "event 8 was removed"]
        );
    }

    #[test]
    fn what_was_added_is_named() {
        assert_eq!(said(&[5, 6, -7, 7, 8, 9]), ["an event was added, which says that it is 7: line 4"]);
        assert_eq!(said(&[5, 6, -60, 7, 8, 9]), ["an event was added, which says that it is 60: line 4"]);
        assert_eq!(said(&[5, 6, 7, 7, 8, 9]), ["an event was added, which says that it is 7: line 4"]);
        assert_eq!(said(&[4, 5, 6, 7, 8, 9]), ["an event was added, which says that it is 4: line 2"]);
        assert_eq!(said(&[5, 6, 7, 8, 9, 10]), ["an event was added, which says that it is 10: line 7"]);
        let nothing = Found { line: 9, version: None, id: None, is_authentic: false };
        let with = [found(&[5, 6, 7, 8, 9]), vec![nothing]].concat();
        assert_eq!(blame(&with, 5, 9)[0].to_string(), "a line was added: line 9");
    }

    #[test]
    fn what_was_moved_is_named() {
        assert_eq!(said(&[5, 7, 8, 6, 9]), ["event 6 was moved: line 5"]);
        assert_eq!(said(&[9, 5, 6, 7, 8]), ["event 9 was moved: line 2"]);
        assert_eq!(said(&[6, 7, 8, 9, 5]), ["event 5 was moved: line 6"]);
        assert_eq!(said(&[5, 7, 6, 8, 9]).len(), 1);
    }

    #[test]
    fn several_things_at_once_are_told_apart() {
        assert_eq!(said(&[5, 8, -6, 9, 7]), ["event 7 was moved: line 6", "event 6 was altered: line 4"],);
    }
}
