//! Reading a stream's history: its frames from the newest back, what of it a filter means, and its state as of a
//! version.
//!
//! All of it blocks, and costs as much as the history that it walks; callers move it off the async threads. What is
//! read of a view never goes beyond the view's version.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::actor::ActorId;
use crate::event::{Outcome, Recorded, ResourceType, Version};
use crate::ids::StreamId;
use crate::log::codec::CodecError;
use crate::log::filter::Filter;
use crate::log::frame::{Frame, FrameError};
use crate::log::{EventLog, Head, Position, ReadError};
use crate::store::Store;
use crate::store::batch::head_after;
use crate::store::resident::{Handle, View};

/// History that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A frame is damaged.
    #[error("a frame of stream {stream} is damaged")]
    Frame {
        /// Whose.
        stream: StreamId,
        /// How.
        #[source]
        error: FrameError,
    },
    /// An event is damaged.
    #[error("an event of stream {stream} cannot be read")]
    Event {
        /// Whose.
        stream: StreamId,
        /// How.
        #[source]
        error: CodecError,
    },
}

/// A stream's frames, newest first, by following `previous`.
pub struct FramesBack<'a> {
    log: &'a dyn EventLog,
    stream: StreamId,
    next: Position,
}

impl<'a> FramesBack<'a> {
    /// From a head on.
    pub fn new(log: &'a dyn EventLog, stream: StreamId, head: Head) -> Self {
        Self { log, stream, next: head.position }
    }
}

impl Iterator for FramesBack<'_> {
    type Item = Result<(Position, Frame), HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.next;
        if position == Position(0) {
            return None;
        }
        let frame = self.log.read_at(&[position]).map_err(HistoryError::Read).and_then(|mut frames| {
            let bytes = frames.pop().unwrap_or_default();
            Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream: self.stream, error })
        });
        self.next = frame.as_ref().map_or(Position(0), |frame| frame.header().previous);
        Some(frame.map(|frame| (position, frame)))
    }
}

/// The events of a frame from the last back.
///
/// # Errors
/// When an event cannot be read.
fn events_back(frame: &Frame) -> impl Iterator<Item = Result<Recorded, HistoryError>> + '_ {
    let stream = frame.header().stream;
    (0..frame.len())
        .rev()
        .map(move |index| frame.recorded(index).map_err(|error| HistoryError::Event { stream, error }))
}

/// The events that a filter means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// The newest of them before the place asked for, newest first.
    pub versions: Vec<Version>,
    /// How many there are in all, whatever the place.
    pub total: u64,
}

/// The values that the events have which a filter means, each with the number of those events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Who acted.
    pub actors: BTreeMap<ActorId, u64>,
    /// What was done.
    pub actions: BTreeMap<String, u64>,
    /// To what type of thing.
    pub types: BTreeMap<ResourceType, u64>,
    /// How it ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How many events there are in all.
    pub total: u64,
}

impl Store {
    /// The versions of the newest events that a filter means, before `before` where that is given, and the number of
    /// all.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn versions(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        filter: &Filter,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Matched, HistoryError> {
        let mut matched = Matched::default();
        for event in self.back(handle, view, 0) {
            let event = event?;
            if filter.matches(&event) {
                matched.total += 1;
                if before.is_none_or(|before| event.version < before) && matched.versions.len() < limit {
                    matched.versions.push(event.version);
                }
            }
        }
        Ok(matched)
    }

    /// The versions of the oldest events after a version that a filter means, oldest first.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn versions_after(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        filter: &Filter,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut versions = Vec::new();
        for event in self.back(handle, view, after) {
            let event = event?;
            if filter.matches(&event) {
                versions.push(event.version);
            }
        }
        versions.reverse();
        versions.truncate(limit);
        Ok(versions)
    }

    /// The events at these versions of a stream, in the order asked for; all of them are the view's.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn recorded(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        versions: &[Version],
    ) -> Result<Vec<Recorded>, HistoryError> {
        let Some(oldest) = versions.iter().min() else { return Ok(Vec::new()) };
        let mut found = HashMap::new();
        for event in self.back(handle, view, oldest.saturating_sub(1)) {
            let event = event?;
            if versions.contains(&event.version) {
                found.insert(event.version, event);
            }
        }
        Ok(versions.iter().filter_map(|version| found.remove(version)).collect())
    }

    /// What values the events have that a filter means.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn facets(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        filter: &Filter,
    ) -> Result<Facets, HistoryError> {
        let mut facets = Facets::default();
        for event in self.back(handle, view, 0) {
            let event = event?;
            if filter.matches(&event) {
                facets.total += 1;
                *facets.actors.entry(event.actor.id).or_default() += 1;
                *facets.actions.entry(event.event.action().to_owned()).or_default() += 1;
                *facets.types.entry(event.resource.kind).or_default() += 1;
                *facets.outcomes.entry(event.outcome).or_default() += 1;
            }
        }
        Ok(facets)
    }

    /// The first event of a stream that is about a resource or concerns it: of a session its opening.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn first_mention(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        id: &str,
    ) -> Result<Option<Recorded>, HistoryError> {
        let mut first = None;
        for event in self.back(handle, view, 0) {
            let event = event?;
            if event.resource.id == id || event.related.iter().any(|related| related == id) {
                first = Some(event);
            }
        }
        Ok(first)
    }

    /// A view's events after a version, newest first.
    fn back<'a>(
        &'a self,
        handle: &Handle,
        view: &'a View,
        after: Version,
    ) -> impl Iterator<Item = Result<Recorded, HistoryError>> + 'a {
        debug_assert_eq!(handle.stream(), view.stream, "the view is of the handle's stream");
        FramesBack::new(&**self.log(), view.stream, view.head)
            .take_while(move |frame| {
                frame.as_ref().map_or(true, |(_, frame)| frame.header().last_version() > after)
            })
            .flat_map(|frame| {
                let (events, error) = match frame {
                    Ok((_, frame)) => (events_back(&frame).collect::<Vec<_>>(), None),
                    Err(error) => (Vec::new(), Some(Err(error))),
                };
                events.into_iter().chain(error)
            })
            .filter(move |event| event.as_ref().map_or(true, |event| event.version > after))
    }

    /// The state of a stream as of a version: all events up to and including it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn as_of(&self, view: &View, version: Version) -> Result<Arc<View>, HistoryError> {
        if version >= view.version() {
            return Ok(Arc::new(view.clone()));
        }
        let log = &**self.log();
        let mut positions = Vec::new();
        for frame in FramesBack::new(log, view.stream, view.head) {
            let (position, frame) = frame?;
            if frame.header().first_version <= version {
                positions.push(position);
            }
        }
        let mut past = View::empty(view.stream);
        while let Some(position) = positions.pop() {
            let bytes = log.read_at(&[position])?.pop().unwrap_or_default();
            let frame =
                Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream: view.stream, error })?;
            for event in frame.events() {
                let recorded = event.map_err(|error| HistoryError::Event { stream: view.stream, error })?;
                if recorded.version > version {
                    break;
                }
                past.state.apply(&recorded);
                past.head.version = recorded.version;
            }
            past.head = Head { version: past.head.version, ..head_after(position, &frame) };
        }
        Ok(Arc::new(past))
    }
}
