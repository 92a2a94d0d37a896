//! Replay: what folding the log from zero gives, beside what is served, or would be.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::Version;
use crate::ids::StreamId;
use crate::log::{EventLog, Head, Position};
use crate::store::Store;
use crate::store::derived::DerivedFiles;
use crate::store::load::{LoadError, fold, fold_some, load_stream};
use crate::store::resident::View;
use crate::store::savepoint::Savepoints;

/// Every stream, folded from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The streams.
    pub streams: Vec<StreamReplay>,
}

impl ReplayReport {
    /// Of streams in any order.
    fn new(mut streams: Vec<StreamReplay>) -> Self {
        streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        Self { streams }
    }
}

/// One stream, folded from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReplay {
    /// The stream.
    pub stream: String,
    /// Its version.
    pub version: Version,
    /// SHA-256 of its state in canonical form, in hex.
    pub digest: String,
    /// Whether the same is served, or would be once loaded from derived files; absent where the stream went on in the
    /// meantime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
}

impl StreamReplay {
    /// Of a folded stream.
    fn of(view: &View) -> Self {
        Self {
            stream: view.stream.to_string(),
            version: view.version(),
            digest: view.state.digest(),
            served: None,
        }
    }

    /// Notes what is served. A stream that went on since is compared at the next call.
    fn beside(mut self, served: &View) -> Self {
        self.served = match served.version().cmp(&self.version) {
            Ordering::Equal => Some(served.state.digest() == self.digest),
            Ordering::Greater => None,
            Ordering::Less => Some(false),
        };
        self
    }
}

/// Folds a log that nobody serves from zero, all streams in one pass, and compares each with what a server would load
/// from its derived files. `folded` hears the position reached. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn replay(
    log: &dyn EventLog,
    files: &DerivedFiles,
    folded: impl FnMut(Position),
) -> Result<ReplayReport, LoadError> {
    let savepoints = Savepoints::new(files.clone());
    let mut streams = Vec::new();
    for view in fold(log, folded)?.into_values() {
        let loaded = load_stream(log, Some(&savepoints), view.stream)?;
        streams.push(StreamReplay::of(&view).beside(&loaded.view));
    }
    Ok(ReplayReport::new(streams))
}

/// A log that is longer is folded in several passes, of about so many events each.
const EVENTS_AT_ONCE: u64 = 250_000;

/// Of one that is longer still more events are folded at once, since each pass reads all of it.
const PASSES_MAX: u64 = 8;

/// Folds a log from zero up to the frame at a position: what every stream comes to, with nothing that is served beside
/// it. Memory holds some streams at a time, and the log is read once for each such group. `folded` hears the position reached.
/// Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn digests(
    log: &dyn EventLog,
    until: Position,
    mut folded: impl FnMut(Position),
) -> Result<ReplayReport, LoadError> {
    let mut streams = Vec::new();
    let all = log.streams();
    let events: u64 = all.iter().map(|(_, head)| head.version).sum();
    for group in groups(all, events.div_ceil(EVENTS_AT_ONCE).clamp(1, PASSES_MAX)) {
        let views = fold_some(log, until.min(log.end()), |stream| group.contains(&stream), &mut folded)?;
        streams.extend(views.values().map(StreamReplay::of));
    }
    Ok(ReplayReport::new(streams))
}

/// Spreads streams over so many groups, about as many events in each: the longest first, each into the least group.
fn groups(mut streams: Vec<(StreamId, Head)>, count: u64) -> Vec<BTreeSet<StreamId>> {
    let mut groups: Vec<(u64, BTreeSet<StreamId>)> = (0..count).map(|_| Default::default()).collect();
    streams.sort_by_key(|(_, head)| Reverse(head.version));
    for (stream, head) in streams {
        let least = groups.iter_mut().min_by_key(|(events, _)| *events);
        let (events, group) = least.expect("there is one group at least");
        *events += head.version;
        group.insert(stream);
    }
    groups.into_iter().map(|(_, group)| group).filter(|group| !group.is_empty()).collect()
}

impl Store {
    /// Folds the log from zero and compares each stream with what is served. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn replay(&self) -> Result<ReplayReport, LoadError> {
        let folded = fold(&**self.log(), |_| {})?;
        let mut streams = Vec::with_capacity(folded.len());
        for view in folded.values() {
            // A stream that is not in memory is loaded as the next request would: from what was saved of it.
            let served = match self.resident(view.stream) {
                Some(handle) => handle.view(),
                None => self.load(view.stream)?.view(),
            };
            streams.push(StreamReplay::of(view).beside(&served));
        }
        Ok(ReplayReport::new(streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    #[test]
    fn streams_are_spread_over_so_many_passes_and_no_more() {
        let of =
            |number: u128, version| (StreamId::Organization(id(number)), Head { version, ..Head::default() });
        let sizes = |streams: &[(StreamId, Head)], count| {
            groups(streams.to_vec(), count).iter().map(BTreeSet::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[], 3), [0; 0]);
        assert_eq!(sizes(&[of(1, 4), of(2, 6), of(3, 1)], 1), [3]);
        assert_eq!(sizes(&[of(1, 4), of(2, 60), of(3, 1), of(4, 9)], 2), [1, 3]);
        // Each of them alone is more than a group's share.
        let many: Vec<_> = (1..=15).map(|number| of(number, 10)).collect();
        assert_eq!(sizes(&many, PASSES_MAX), [2, 2, 2, 2, 2, 2, 2, 1]);
    }
}
