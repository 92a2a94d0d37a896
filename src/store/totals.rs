//! [`Totals`]: what full segments come to for a filter, remembered. A full segment never changes, so it is counted once
//! for a filter: a total costs no more in a long history than in a short one.

use std::sync::{Arc, OnceLock};

use crate::ids::StreamId;
use crate::log::filter::Filter;
use crate::store::bounded::Bounded;
use crate::store::history::HistoryError;
use crate::store::search::Facets;

/// How much memory counts take, in bytes: of some thousand filters in streams of a million events.
const COUNTS_BYTES: usize = 1 << 20;
/// How much memory sums of facets take, in bytes: of some hundred filters.
const FACETS_BYTES: usize = 1 << 20;
/// What a filter takes in memory, beside its values, and what keeping one takes.
const KEPT_OVERHEAD_BYTES: usize = 600;
/// What a value of a facet takes in memory: a name, a count, and its share of a map's node.
const FACET_BYTES: usize = 64;

/// What full segments come to for a filter. Bounded; what was used longest ago goes first.
#[derive(Debug)]
pub struct Totals {
    counts: Bounded<(StreamId, Filter), Counts>,
    facets: Bounded<(StreamId, Filter), Arc<Facets>>,
}

/// How many events of each full segment of a stream a filter means, wherever they are within it, by the segment's number;
/// unset where nobody has counted yet.
pub type Counts = Arc<[OnceLock<u64>]>;

impl Default for Totals {
    fn default() -> Self {
        Self { counts: Bounded::new(COUNTS_BYTES), facets: Bounded::new(FACETS_BYTES) }
    }
}

impl Totals {
    /// The counts of a stream's full segments, of which there are so many: for whoever counts to look into and to set.
    pub fn counts(&self, stream: StreamId, filter: &Filter, full: usize) -> Counts {
        let key = (stream, filter.anywhere());
        let known = self.counts.get(&key);
        if let Some(known) = known.as_ref().filter(|known| known.len() >= full) {
            return Arc::clone(known);
        }
        let known = known.iter().flat_map(|known| known.iter().cloned());
        let counts: Counts = known.chain(std::iter::repeat_with(OnceLock::new)).take(full).collect();
        let bytes = KEPT_OVERHEAD_BYTES + key.1.value_bytes() + size_of_val(&*counts);
        self.counts.put(key, Arc::clone(&counts), bytes);
        counts
    }

    /// The facets of what a filter means, whose span is made of whole segments that are full; `add_up` counts them.
    ///
    /// # Errors
    /// That of `add_up`.
    pub fn facets(
        &self,
        stream: StreamId,
        filter: &Filter,
        add_up: impl FnOnce() -> Result<Facets, HistoryError>,
    ) -> Result<Arc<Facets>, HistoryError> {
        self.facets.get_or_make((stream, filter.clone()), || {
            let facets = add_up()?;
            let bytes = KEPT_OVERHEAD_BYTES + filter.value_bytes() + facets.values() * FACET_BYTES;
            Ok((Arc::new(facets), bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::filter::ActionPattern;

    fn filter(action: &str) -> Filter {
        Filter { actions: vec![ActionPattern::read(action)], ..Filter::default() }
    }

    #[test]
    fn what_was_counted_stays_known_when_there_are_more_segments() {
        let (totals, stream) = (Totals::default(), StreamId::Platform);
        totals.counts(stream, &filter("config.set"), 2)[1].set(7).unwrap();
        let narrowed = Filter { until: Some(3), ..filter("config.set") };
        let counts = totals.counts(stream, &narrowed, 3);
        assert_eq!(counts.iter().map(OnceLock::get).collect::<Vec<_>>(), [None, Some(&7), None]);
        assert_eq!(totals.counts(stream, &filter("config.set"), 1).len(), 3, "an older view sees no less");
        assert_eq!(totals.counts(stream, &filter("config.delete"), 2)[1].get(), None);
    }
}
