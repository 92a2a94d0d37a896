//! The past of a stream: an area as it was, and the events that concern one thing.
//!
//! All of it blocks; callers move it off the async threads. What it costs is bounded by what is shown and by how far the
//! nearest savepoint lies behind, never by the length of the history.

use crate::area::Area;
use crate::event::{Outcome, Recorded, ResourceType, Version};
use crate::history::description::Focus;
use crate::log::filter::{ActionPattern, Filter};
use crate::store::Store;
use crate::store::encoding::from_section;
use crate::store::history::{FOLDED_AT_ONCE, HistoryError};
use crate::store::resident::{Handle, View};
use crate::store::savepoint;

impl Store {
    /// An area as of a version, as far as the focus needs it: its section of the newest savepoint before, and of the
    /// events after that only those that it reads and that concern what is meant.
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
        let (mut area, since) = self.saved_area::<A>(handle, version).unwrap_or_default();
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

    /// An area in the newest savepoint at or before a version, with the savepoint's version.
    fn saved_area<A: Area>(&self, handle: &Handle, until: Version) -> Option<(A, Version)> {
        let files = self.inner.files.as_ref()?;
        savepoint::newest(files, &**self.log(), handle.stream(), until, |file| {
            let bytes = file.section(A::NAME, A::PROJECTION)?;
            let area = bytes.and_then(|bytes| from_section(&mut |_, _| Some(bytes.clone())));
            Ok(area.map(|area| (area, file.anchor().version)))
        })
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
            versions.extend(self.versions(handle, view, &filter, Some(before), limit)?.versions);
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
            outcomes: vec![Outcome::Success],
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
