//! Finding events of a stream by its index: by filter, by version, by time. Only what is asked for is read.
//!
//! All of it blocks; callers move it off the async threads. No answer goes beyond the version of the view that the
//! caller holds, however far the stream has gone on.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use roaring::RoaringBitmap;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::Value;

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::event::{Outcome, Recorded, ResourceType, Version};
use crate::log::Position;
use crate::log::codec::CodecError;
use crate::log::filter::Filter;
use crate::log::frame::Frame;
use crate::log::segment::frames::FramePlace;
use crate::log::segment::search::Dimension;
use crate::log::segment::tree::Hash;
use crate::log::segment::{SEGMENT_VERSIONS, segment_of};
use crate::store::Store;
use crate::store::history::{HistoryError, READ_FRAMES, parse};
use crate::store::looking::Looked;
use crate::store::resident::{Handle, View};

/// What a filter found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// The newest of them before the place asked for, newest first, at most as many as asked for.
    pub versions: Vec<Version>,
    /// How many there are in all.
    pub total: u64,
}

/// How many of the events that a filter means have which value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    /// Who acted.
    pub actors: BTreeMap<ActorId, u64>,
    /// What was done.
    pub actions: BTreeMap<String, u64>,
    /// Types of what it was done to.
    pub types: BTreeMap<ResourceType, u64>,
    /// How it ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How many events there are in all.
    pub total: u64,
}

impl Facets {
    /// Adds those of a segment.
    fn add(&mut self, segment: &Looked<'_>, filter: &Filter) -> Result<(), HistoryError> {
        let matching = segment.matching(filter)?;
        self.total += matching.len();
        let Self { actors, actions, types, outcomes, .. } = self;
        segment.count(&matching, Dimension::Actor, |actor, count| add(actors, actor.parse().ok(), count))?;
        segment.count(&matching, Dimension::Action, |action, count| {
            add(actions, Some(action.to_owned()), count);
        })?;
        segment.count(&matching, Dimension::Type, |kind, count| add(types, named(kind), count))?;
        segment.count(&matching, Dimension::Outcome, |outcome, count| add(outcomes, named(outcome), count))
    }

    /// How many values there are.
    pub(super) fn values(&self) -> usize {
        self.actors.len() + self.actions.len() + self.types.len() + self.outcomes.len()
    }
}

impl Store {
    /// What a filter means, the newest first.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn versions(
        &self,
        handle: &Handle,
        view: &View,
        filter: &Filter,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Matched, HistoryError> {
        let filter = self.spanned(handle, view, filter)?;
        let Some(numbers) = filter.segments() else { return Ok(Matched::default()) };
        let before = before.unwrap_or(Version::MAX);
        let counts = self.inner.totals.counts(handle.stream(), &filter, full_segments(view));
        let mut found = Matched::default();
        for number in numbers.rev() {
            let count = counts.get(usize::try_from(number).unwrap_or(usize::MAX));
            let count = count.filter(|_| filter.spans(number));
            let shows = found.versions.len() < limit && number * SEGMENT_VERSIONS + 1 < before;
            if let Some(known) = count.and_then(OnceLock::get).filter(|known| !shows || **known == 0) {
                found.total += known;
                continue;
            }
            let mut matching = self.segment(handle, number, |segment| segment.matching(&filter))?;
            found.total += matching.len();
            if let Some(count) = count {
                // Whoever came first counted the same.
                let _same = count.set(matching.len());
            }
            let first = number * SEGMENT_VERSIONS + 1;
            matching.remove_range(u32::try_from(before.saturating_sub(first)).unwrap_or(u32::MAX)..);
            let versions = matching.iter().rev().map(|offset| first + u64::from(offset));
            let wanted = limit - found.versions.len();
            found.versions.extend(versions.take(wanted));
        }
        Ok(found)
    }

    /// What a filter means before a version, the newest first. Looks no further than for as many as are asked for: it
    /// costs no more where much came later, or earlier.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn versions_before(
        &self,
        handle: &Handle,
        view: &View,
        filter: &Filter,
        before: Version,
        limit: usize,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut filter = self.spanned(handle, view, filter)?;
        filter.until = filter.until.map(|until| until.min(before.saturating_sub(1)));
        let numbers = filter.segments().into_iter().flat_map(Iterator::rev);
        self.gather(handle, &filter, numbers, limit, |matching| Box::new(matching.iter().rev()))
    }

    /// What a filter means after a version, the oldest first.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn versions_after(
        &self,
        handle: &Handle,
        view: &View,
        filter: &Filter,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut filter = self.spanned(handle, view, filter)?;
        filter.after = filter.after.map(|other| other.max(after));
        let numbers = filter.segments().into_iter().flatten();
        self.gather(handle, &filter, numbers, limit, |matching| Box::new(matching.iter()))
    }

    /// What a filter means in these segments one after the other, each in the order that is asked for. Once there is
    /// enough, no further segment is looked into.
    fn gather(
        &self,
        handle: &Handle,
        filter: &Filter,
        numbers: impl Iterator<Item = u64>,
        limit: usize,
        in_order: impl Fn(&RoaringBitmap) -> Box<dyn Iterator<Item = u32> + '_>,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut found = Vec::new();
        for number in numbers {
            if found.len() == limit {
                break;
            }
            self.segment(handle, number, |segment| {
                let matching = segment.matching(filter)?;
                let wanted = limit - found.len();
                let first = segment.base() + 1;
                found.extend(in_order(&matching).take(wanted).map(|offset| first + u64::from(offset)));
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// How many of the events that a filter means have which value.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn facets(&self, handle: &Handle, view: &View, filter: &Filter) -> Result<Facets, HistoryError> {
        let filter = self.spanned(handle, view, filter)?;
        let Some(numbers) = filter.segments() else { return Ok(Facets::default()) };
        let is_whole = |number: &u64| filter.spans(*number) && *number < full_segments(view) as u64;
        let whole: Vec<u64> = numbers.clone().filter(is_whole).collect();
        let mut facets = Facets::default();
        if let (Some(first), Some(last)) = (whole.first(), whole.last()) {
            let (after, until) = (first * SEGMENT_VERSIONS, (last + 1) * SEGMENT_VERSIONS);
            let filter = Filter { after: Some(after), until: Some(until), ..filter.clone() };
            let sums = self.inner.totals.facets(handle.stream(), &filter, || {
                let mut facets = Facets::default();
                for number in *first..=*last {
                    self.segment(handle, number, |segment| facets.add(segment, &filter))?;
                }
                Ok(facets)
            })?;
            facets = Facets::clone(&sums);
        }
        for number in numbers.filter(|number| !is_whole(number)) {
            self.segment(handle, number, |segment| facets.add(segment, &filter))?;
        }
        Ok(facets)
    }

    /// The events of these versions, in the order asked for; each is read without its neighbours.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn recorded(
        &self,
        handle: &Handle,
        view: &View,
        versions: &[Version],
    ) -> Result<Vec<Recorded>, HistoryError> {
        self.read_versions(handle, view, versions, Frame::recorded)
    }

    /// The events of these versions exactly as recorded, as JSON, in the order asked for.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn as_recorded(
        &self,
        handle: &Handle,
        view: &View,
        versions: &[Version],
    ) -> Result<Vec<Value>, HistoryError> {
        self.read_versions(handle, view, versions, Frame::json)
    }

    /// The events of these versions exactly as recorded, as canonical JSON, in the order asked for.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn texts(
        &self,
        handle: &Handle,
        view: &View,
        versions: &[Version],
    ) -> Result<Vec<String>, HistoryError> {
        self.read_versions(handle, view, versions, Frame::text)
    }

    fn read_versions<T>(
        &self,
        handle: &Handle,
        view: &View,
        versions: &[Version],
        read: impl Fn(&Frame, usize) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, HistoryError> {
        let stream = handle.stream();
        if let Some(version) = versions.iter().copied().find(|version| *version > view.version()) {
            return Err(HistoryError::NoSuchVersion { stream, version });
        }
        let places = self.places(handle, versions)?;
        let mut events = Vec::with_capacity(versions.len());
        for chunk in places.chunk_by(|a, b| a.position == b.position).collect::<Vec<_>>().chunks(READ_FRAMES)
        {
            let positions: Vec<Position> = chunk.iter().map(|same| same[0].position).collect();
            for (bytes, same) in self.log().read_at(&positions)?.into_iter().zip(chunk) {
                let frame = parse(stream, same[0].position, bytes)?;
                for _ in *same {
                    let version = versions[events.len()];
                    let index = usize::try_from(version.wrapping_sub(frame.header().first_version));
                    let event = read(&frame, index.unwrap_or(usize::MAX));
                    events.push(event.map_err(|error| HistoryError::Event { stream, error })?);
                }
            }
        }
        Ok(events)
    }

    /// The first event that mentions an id and that is the one looked for, at or before a version: a session's opening is
    /// found in the segment of what was done in it, or a little before.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn first_mention(
        &self,
        handle: &Handle,
        view: &View,
        id: &str,
        until: Version,
        is_it: impl Fn(&Recorded) -> bool,
    ) -> Result<Option<Recorded>, HistoryError> {
        for number in (0..=segment_of(until.min(view.version()))).rev() {
            let version = self.segment(handle, number, |segment| segment.first_mention(id))?;
            if let Some(version) = version.filter(|version| *version <= view.version())
                && let Some(found) = self.recorded(handle, view, &[version])?.pop().filter(&is_it)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The newest version that is not after a time; 0 where all are.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn version_at(&self, handle: &Handle, view: &View, at: Timestamp) -> Result<Version, HistoryError> {
        let begins_by = |number| {
            self.segment(handle, number, |segment| Ok(segment.begins().is_some_and(|frame| frame.at <= at)))
        };
        // The first segment that begins after the time; the one before it holds the version.
        let (mut low, mut high) = (0, segment_of(view.version()) + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if begins_by(middle)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(number) = low.checked_sub(1) else { return Ok(0) };
        let version = self.segment(handle, number, |segment| segment.version_at(at))?;
        Ok(version.min(view.version()))
    }

    /// The root of the stream's Merkle tree (RFC 6962) at its newest version; `None` of an empty stream.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn root(&self, handle: &Handle) -> Result<Option<Hash>, HistoryError> {
        loop {
            let root = handle.index().root();
            match root {
                Ok(root) => return Ok(root),
                Err(number) => {
                    let whole = self.segment(handle, number, |segment| segment.whole())?;
                    handle.index_mut().learned(number, whole);
                }
            }
        }
    }

    /// The filter with the versions that its times mean instead of them, none beyond the view's: what lies outside is
    /// not even looked into, for it may have to be read first. Whoever asks more than once does this once.
    ///
    /// # Errors
    /// When an index has to be made anew and the log cannot be read.
    pub fn spanned(&self, handle: &Handle, view: &View, filter: &Filter) -> Result<Filter, HistoryError> {
        let before = |time: Timestamp| match time.micros().checked_sub(1).filter(|micros| *micros >= 0) {
            Some(micros) => self.version_at(handle, view, Timestamp::from_micros(micros)),
            None => Ok(0),
        };
        let from = filter.from.map(before).transpose()?;
        let to = filter.to.map(before).transpose()?;
        Ok(Filter {
            from: None,
            to: None,
            after: Some(from.unwrap_or(0).max(filter.after.unwrap_or(0))),
            until: [Some(view.version()), to, filter.until].into_iter().flatten().min(),
            ..filter.clone()
        })
    }

    /// Where the frames of these versions are.
    fn places(&self, handle: &Handle, versions: &[Version]) -> Result<Vec<FramePlace>, HistoryError> {
        let mut places = Vec::with_capacity(versions.len());
        for same in versions.chunk_by(|a, b| segment_of(*a) == segment_of(*b)) {
            self.segment(handle, segment_of(same[0]), |segment| {
                for version in same {
                    places.extend(segment.frame_of(*version)?);
                }
                Ok(())
            })?;
        }
        if places.len() < versions.len() {
            let (stream, version) = (handle.stream(), versions[places.len()]);
            return Err(HistoryError::NoSuchVersion { stream, version });
        }
        Ok(places)
    }
}

/// Adds a count of a value to that of others. Every value was written by its type's own name.
fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, key: Option<K>, count: u64) {
    if let Some(key) = key {
        *sums.entry(key).or_default() += count;
    }
}

fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    T::deserialize(name.into_deserializer() as StrDeserializer<'_, serde::de::value::Error>).ok()
}

/// How many segments of a stream are full.
fn full_segments(view: &View) -> usize {
    usize::try_from(view.version() / SEGMENT_VERSIONS).unwrap_or(usize::MAX)
}
