//! The past of a stream: which version a time means, an area as it was, and the events that concern one thing.
//!
//! All of it blocks; callers move it off the async threads.

use crate::area::Area;
use crate::clock::Timestamp;
use crate::event::{Outcome, Recorded, Version};
use crate::history::description::Focus;
use crate::log::frame::Frame;
use crate::store::Store;
use crate::store::history::{FramesBack, HistoryError, events_back};
use crate::store::resident::View;

impl Store {
    /// The version of a stream's last event at or before a time; 0 before its first.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn version_at(&self, view: &View, time: Timestamp) -> Result<Version, HistoryError> {
        if view.head.at <= time {
            return Ok(view.version());
        }
        for frame in FramesBack::new(&**self.log(), view.stream, view.head) {
            let header = *frame?.1.header();
            if header.at <= time {
                return Ok(header.last_version());
            }
        }
        Ok(0)
    }

    /// An area as of a version, as far as the focus needs it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn area_as_of<A: Area>(
        &self,
        view: &View,
        version: Version,
        focus: &Focus,
    ) -> Result<A, HistoryError> {
        if version >= view.version() {
            return Ok(A::of(view.organization()).clone());
        }
        let log = &**self.log();
        let mut positions = Vec::new();
        for frame in FramesBack::new(log, view.stream, view.head) {
            let (position, frame) = frame?;
            if frame.header().first_version <= version {
                positions.push(position);
            }
        }
        let mut area = A::default();
        while let Some(position) = positions.pop() {
            let bytes = log.read_at(&[position])?.pop().unwrap_or_default();
            let frame =
                Frame::parse(bytes).map_err(|error| HistoryError::Frame { stream: view.stream, error })?;
            for event in frame.events() {
                let recorded = event.map_err(|error| HistoryError::Event { stream: view.stream, error })?;
                if recorded.version > version {
                    break;
                }
                if focus.takes::<A>(&recorded) {
                    area.apply(&recorded);
                }
            }
        }
        Ok(area)
    }

    /// The newest events that concern what is meant, or may change it without mentioning it, newest first: before a
    /// version, at most so many.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn concerning(
        &self,
        view: &View,
        focus: &Focus,
        actions: &Actions,
        before: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, HistoryError> {
        let mut found = Vec::new();
        for frame in FramesBack::new(&**self.log(), view.stream, view.head) {
            let (_, frame) = frame?;
            if frame.header().first_version >= before {
                continue;
            }
            for event in events_back(&frame) {
                let event = event?;
                if event.version < before && actions.concern(focus, &event) {
                    found.push(event);
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
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
    fn concern(&self, focus: &Focus, event: &Recorded) -> bool {
        let action = event.event.action();
        event.outcome == Outcome::Success
            && (self.mentioning.contains(&action) && focus.is_mentioned_by(event)
                || self.cascading.contains(&action))
    }
}
