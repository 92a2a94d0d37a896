//! The past of a stream: an area as it was, and the events that concern one thing.
//!
//! All of it blocks; callers move it off the async threads. What it costs is bounded by what is shown and by how far the
//! nearest savepoint lies behind, never by the length of the history.

use std::any::Any;
use std::sync::Arc;

use crate::area::Area;
use crate::event::{Outcome, Recorded, ResourceType, Version};
use crate::history::description::Focus;
use crate::ids::StreamId;
use crate::log::filter::{ActionPattern, Filter};
use crate::store::Store;
use crate::store::bounded::Bounded;
use crate::store::encoding::encoded_bytes;
use crate::store::history::{FOLDED_AT_ONCE, HistoryError};
use crate::store::resident::{Handle, View};

/// How much memory past areas take, in bytes: thousands, of a few things each.
const PASTS_BYTES: usize = 16 << 20;
/// A past area that takes more is not kept: it would push out too many others.
const PAST_BYTES_MAX: usize = PASTS_BYTES / 8;
/// What an area takes in memory for each byte of it encoded: its maps have a node and some pointers an entry.
const MEMORY_OF_ENCODED: usize = 4;
/// What keeping one takes beside.
const KEPT_OVERHEAD_BYTES: usize = 512;

/// Areas as they were, as far as somebody needed them: what was asked for once is where the next fold begins.
///
/// None is ever stale. A version's past does not change, projections are of this build, and the epoch is that of the
/// store, with which this begins and ends.
#[derive(Debug)]
pub struct Pasts(Bounded<Past, Arc<dyn Any + Send + Sync>>);

/// Whose area, which, how much of it, and as of which version.
type Past = (StreamId, &'static str, Focus, Version);

impl Default for Pasts {
    fn default() -> Self {
        Self(Bounded::new(PASTS_BYTES))
    }
}

impl Pasts {
    /// The newest one from a version on, up to another.
    fn newest<A: Area>(
        &self,
        stream: StreamId,
        focus: &Focus,
        from: Version,
        until: Version,
    ) -> Option<(A, Version)> {
        let key = |version| (stream, A::NAME, focus.clone(), version);
        let ((.., version), area) = self.0.last_of(key(from)..=key(until))?;
        area.downcast_ref::<A>().map(|area| (area.clone(), version))
    }

    fn keep<A: Area>(&self, stream: StreamId, focus: &Focus, version: Version, area: &A) {
        let named = match focus {
            Focus::All | Focus::Actions(_) => 0,
            Focus::Resource(id) => id.len(),
            Focus::Named(id, name) => id.len() + name.len(),
        };
        let bytes = KEPT_OVERHEAD_BYTES + 2 * named + MEMORY_OF_ENCODED * encoded_bytes(area);
        if bytes <= PAST_BYTES_MAX {
            self.0.put((stream, A::NAME, focus.clone(), version), Arc::new(area.clone()), bytes);
        }
    }
}

impl Store {
    /// An area as of a version, as far as the focus needs it: from its section of the newest savepoint before, or what
    /// was folded for the same focus since, and of the events after that only those that it reads and that concern what
    /// is meant.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn area_as_of<A: Area>(
        &self,
        handle: &Handle,
        view: &View,
        version: Version,
        focus: &Focus,
    ) -> Result<A, HistoryError> {
        if version >= view.version() {
            return Ok(A::of(view.organization()).clone());
        }
        let past = self.past_area::<A>(handle.stream(), version, focus);
        if past.1 == version {
            return Ok(past.0);
        }
        let area = self.carried_on(handle, view, past, version, focus)?;
        self.inner.pasts.keep(handle.stream(), focus, version, &area);
        Ok(area)
    }

    /// An area, as far as a focus needs it, carried on from the version that it is of to a later one: whoever asks for one
    /// version after the other reads no event twice.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn carried_on<A: Area>(
        &self,
        handle: &Handle,
        view: &View,
        (mut area, since): (A, Version),
        version: Version,
        focus: &Focus,
    ) -> Result<A, HistoryError> {
        let actions = Actions { mentioning: A::READS.to_vec(), cascading: A::CASCADES.to_vec() };
        let mut versions = Vec::new();
        for filter in actions.filters(focus, Some(version)) {
            versions.extend(self.versions_after(handle, view, &filter, since, usize::MAX)?);
        }
        versions.sort_unstable();
        versions.dedup();
        for versions in versions.chunks(FOLDED_AT_ONCE) {
            for recorded in self.recorded(handle, view, versions)? {
                area.apply(&recorded);
            }
        }
        Ok(area)
    }

    /// An area at or before a version, as far as the focus needs it, with the version that it is of: where the fold
    /// begins.
    fn past_area<A: Area>(&self, stream: StreamId, until: Version, focus: &Focus) -> (A, Version) {
        let savepoints = self.inner.savepoints.as_deref();
        let saved = savepoints.and_then(|savepoints| savepoints.at_or_before(stream, until));
        if let Some(past) = self.inner.pasts.newest(stream, focus, saved.unwrap_or(0), until) {
            return past;
        }
        let read = savepoints.and_then(|savepoints| savepoints.area::<A>(&**self.log(), stream, until));
        let Some((area, version)) = read else { return (A::default(), 0) };
        let area = area.narrowed(focus);
        self.inner.pasts.keep(stream, focus, version, &area);
        (area, version)
    }

    /// The newest events that concern what is meant, or may change it without mentioning it, newest first: before a
    /// version, at most so many.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn concerning(
        &self,
        handle: &Handle,
        view: &View,
        focus: &Focus,
        actions: &Actions,
        before: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, HistoryError> {
        let mut versions = Vec::new();
        for filter in actions.filters(focus, None) {
            versions.extend(self.versions_before(handle, view, &filter, before, limit)?);
        }
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.dedup();
        versions.truncate(limit);
        self.recorded(handle, view, &versions)
    }
}

/// The actions that can concern a thing.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    /// Those that do where they mention it.
    pub mentioning: Vec<&'static str>,
    /// Those that may although they do not mention it.
    pub cascading: Vec<&'static str>,
}

impl Actions {
    /// The filters whose union means all events of a focus up to a version.
    fn filters(&self, focus: &Focus, until: Option<Version>) -> Vec<Filter> {
        let filter = |actions: &[&str], resources: Vec<String>, types: Vec<ResourceType>| Filter {
            actions: actions.iter().map(|action| ActionPattern::Exact((*action).to_owned())).collect(),
            resources,
            types,
            // That a token was not refreshed is a failure, and its connection's state.
            outcomes: vec![Outcome::Success, Outcome::Failure],
            until,
            ..Filter::default()
        };
        let filters = match focus {
            Focus::All => vec![filter(&self.mentioning, Vec::new(), Vec::new())],
            Focus::Actions(meant) => {
                let both: Vec<&str> =
                    self.mentioning.iter().copied().filter(|action| meant.contains(action)).collect();
                vec![filter(&both, Vec::new(), Vec::new())]
            }
            Focus::Resource(id) => vec![
                filter(&self.mentioning, vec![id.clone()], Vec::new()),
                filter(&self.cascading, Vec::new(), Vec::new()),
            ],
            Focus::Named(id, name) => vec![
                filter(&self.mentioning, vec![format!("{id}/{name}")], Vec::new()),
                filter(&self.mentioning, vec![id.clone()], ResourceType::with_ids()),
                filter(&self.cascading, Vec::new(), Vec::new()),
            ],
        };
        // Without actions nothing is meant, where a filter without any would mean all.
        filters.into_iter().filter(|filter| !filter.actions.is_empty()).collect()
    }
}
