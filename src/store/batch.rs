//! One batch being decided: the working states of its streams, beyond what is durable and never shown to readers.
//!
//! Nothing here does I/O. What a crash here leaves behind is nothing at all: the batch exists only in memory until
//! the writer appends it whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::area::DirectoryEntry;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::clock::guard::ClockJumped;
use crate::command::{Context, NewEvent, Rejection};
use crate::ctx::memory::Memory;
use crate::event::{Recorded, RequestMark, Version};
use crate::ids::{DataKeyId, Fresh, StreamId};
use crate::log::codec::{PackedEvent, pack};
use crate::log::frame::{FrameBuilder, FrameStart, frame_hash};
use crate::log::segment::frames::FramePlace;
use crate::log::{Append, Head, Key, Position};
use crate::seal::keyring::{KeyRing, NewDataKey};
use crate::store::called::Called;
use crate::store::customers::{Sought, give_up};
use crate::store::resident::{Handle, Indexed, View, directory_entries};
use crate::store::{Done, Refusal, Replay, Submission};

/// The most commands of one batch: a batch's sync is shared by all, and the last waits for all to be decided.
pub(super) const BATCH_MAX_COMMANDS: usize = 512;
/// The most bytes of one batch over all streams, but for one command that is larger alone: what the log makes durable in
/// three of its portions.
pub(super) const BATCH_MAX_BYTES: usize = 384 << 10;
/// What a data key that is put or removed counts for among them: as wrapped, with its name and what the log adds.
const KEY_BYTES: usize = 320;

/// What a batch appends, and what it will publish.
pub(super) struct Batch {
    admission: Admission,
    streams: BTreeMap<StreamId, Working>,
    commands: usize,
    bytes: usize,
}

/// Whether a batch may append: asked once a batch, and held only against commands that would append something.
pub(super) struct Admission {
    /// The time of the batch, if the wall clock may be written down.
    pub(super) clock: Result<Timestamp, ClockJumped>,
    /// Whether there is enough free disk; removals go on without.
    pub(super) disk_has_room: bool,
}

impl Admission {
    /// The time to decide at; under a jumped clock that of each stream's last event.
    fn now(&self) -> Timestamp {
        self.clock.as_ref().copied().unwrap_or(Timestamp::EPOCH)
    }

    fn admits(&self, submission: &Submission) -> Result<(), Refusal> {
        if let Err(jumped) = &self.clock {
            return Err(Refusal::ClockJumped(jumped.to_string()));
        }
        if self.disk_has_room || submission.command.is_a_removal() { Ok(()) } else { Err(Refusal::DiskFull) }
    }
}

/// A stream within a batch.
struct Working {
    handle: Arc<Handle>,
    /// The state with the batch's events so far.
    view: View,
    frame: FrameBuilder,
    minted: Vec<NewDataKey>,
    destroyed: Vec<DataKeyId>,
    directory: Vec<DirectoryEntry>,
    events: Vec<Indexed>,
}

/// What one command came to.
pub(super) enum Outcome {
    /// It is in the batch, or appends nothing; the answer waits for the batch's sync.
    Decided(Box<Result<Done, Refusal>>),
    /// The batch has no room for it; it is the first of the next one.
    Full,
}

/// A stream's share of a batch that is durable.
pub(super) struct Publication {
    pub(super) handle: Arc<Handle>,
    view: View,
    first: Version,
    events: Vec<Indexed>,
    /// Data keys that the events are the first to use, held until they are durable: whoever minted them may have gone, and
    /// the generation that wraps them must not.
    minted: Vec<NewDataKey>,
    /// Data keys that the events destroyed.
    destroyed: Vec<DataKeyId>,
    /// What the events mean to the directory.
    pub(super) directory: Vec<DirectoryEntry>,
}

impl Batch {
    /// An empty batch.
    pub(super) fn new(admission: Admission) -> Self {
        Self { admission, streams: BTreeMap::new(), commands: 0, bytes: 0 }
    }

    /// Whether it appends anything.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.values().all(|working| working.frame.count() == 0)
    }

    /// How many events it appends.
    pub(super) fn events(&self) -> usize {
        self.streams.values().map(|working| usize::try_from(working.frame.count()).unwrap_or(0)).sum()
    }

    /// Decides a command against what is durable and in this batch.
    pub(super) fn decide(&mut self, handle: &Arc<Handle>, submission: &Submission) -> Outcome {
        if self.commands >= BATCH_MAX_COMMANDS {
            return Outcome::Full;
        }
        let now = self.admission.now();
        let working =
            self.streams.entry(handle.stream()).or_insert_with(|| Working::begin(Arc::clone(handle), now));
        let result = match working.prepare(submission) {
            Err(refusal) => Err(refusal),
            Ok(Prepared::Replay(replay)) => Ok(working.replayed(replay)),
            Ok(Prepared::Events(events)) if events.is_empty() => Ok(working.take(submission, events)),
            Ok(Prepared::Events(events)) => {
                if let Err(refusal) = self.admission.admits(submission) {
                    self.commands += 1;
                    return Outcome::Decided(Box::new(Err(refusal)));
                }
                let bytes: usize = events.iter().map(appended_bytes).sum();
                // The first command of a batch is bounded by its frame alone; if it does not fit into that, nothing will.
                let is_first = self.bytes == 0;
                if !is_first && self.bytes + bytes > BATCH_MAX_BYTES {
                    return Outcome::Full;
                }
                if !working.frame.fits(&events) {
                    if !is_first {
                        return Outcome::Full;
                    }
                    Err(Refusal::TooLarge)
                } else {
                    self.bytes += bytes;
                    Ok(working.take(submission, events))
                }
            }
        };
        self.commands += 1;
        Outcome::Decided(Box::new(result))
    }

    /// What is appended, one entry a stream, and what is published once that is durable, in the same order.
    pub(super) fn finish(self) -> (Vec<Append>, Vec<Publication>) {
        self.streams.into_values().filter_map(Working::finish).unzip()
    }
}

impl Publication {
    /// The events that take something away for good.
    pub(super) fn for_good(&self) -> impl Iterator<Item = &Recorded> {
        self.events.iter().map(|event| &event.recorded).filter(|recorded| recorded.is_for_good())
    }

    /// Publishes the state, now that its frame is durable at `position`; the stream's new head, and whether a segment
    /// of its index is full. The ring has learnt of the keys before: nobody who sees a key destroyed can still get it.
    pub(super) fn publish(
        &mut self,
        position: Position,
        ring: &KeyRing,
        ctx: &Memory,
        called: &Called,
        sought: &Sought,
    ) -> (Head, bool) {
        for key in self.minted.drain(..) {
            ring.remember(self.view.stream, key);
        }
        for key in self.destroyed.drain(..) {
            ring.forget(self.view.stream, key);
        }
        let mut view = self.view.clone();
        view.head.position = position;
        let head = view.head;
        let place = FramePlace { first: self.first, position, at: head.at };
        let events = std::mem::take(&mut self.events);
        let filled = self.handle.publish(view, &events, place);
        ctx.published(&self.view, events.iter().map(|event| &event.recorded));
        called.published(self.view.stream, events.iter().map(|event| &event.recorded));
        sought.published(self.view.stream, events.iter().map(|event| &event.recorded));
        (head, filled)
    }
}

/// How many bytes an event and its keys count for.
fn appended_bytes(event: &PackedEvent) -> usize {
    let keys = event.recorded.keys.len() + event.recorded.event.destroyed_keys().len();
    event.bytes.len() + keys * KEY_BYTES
}

enum Prepared {
    Replay(Replay),
    Events(Vec<PackedEvent>),
}

impl Working {
    fn begin(handle: Arc<Handle>, now: Timestamp) -> Self {
        let mut view = (*handle.view()).clone();
        let previous = view.head;
        view.head.at = now.at_after(previous.at);
        let start = FrameStart {
            stream: view.stream,
            first_version: previous.version + 1,
            at: view.head.at,
            previous: previous.position,
            previous_hash: previous.hash,
        };
        Self {
            handle,
            view,
            frame: FrameBuilder::new(start),
            minted: Vec::new(),
            destroyed: Vec::new(),
            directory: Vec::new(),
            events: Vec::new(),
        }
    }

    fn prepare(&self, submission: &Submission) -> Result<Prepared, Refusal> {
        let now = self.view.head.at;
        if let Some(idempotency) = &submission.idempotency
            && let Some(replay) = self.view.replay(idempotency, now)?
        {
            return Ok(Prepared::Replay(replay));
        }
        let preconditions = submission.preconditions.clone();
        let context = Context { actor: submission.actor, now, preconditions, ordinal: submission.ordinal };
        let decided = self.view.state.decide(&submission.command, &context)?;
        self.check_claims(submission)?;
        let mut events = match self.view.state.within_quotas(&context, &decided) {
            Ok(alerts) => alerts,
            // What is wrong with a command comes before that there is no room for it.
            Err(excess) => {
                let is_sound = FrameBuilder::fits_alone(&self.pack(decided, submission)?);
                return Err(if is_sound { Rejection::from(excess).into() } else { Refusal::TooLarge });
            }
        };
        events.extend(decided);
        Ok(Prepared::Events(self.pack(events, submission)?))
    }

    /// The events of a command as they would be appended.
    fn pack(&self, events: Vec<NewEvent>, submission: &Submission) -> Result<Vec<PackedEvent>, Refusal> {
        let first = self.frame.next_version();
        let count = events.len() as u64;
        let packed = (first..).zip(events).map(|(version, event)| {
            let recorded = self.record(event, submission, version, (version == first).then_some(count));
            pack(&recorded).map_err(|error| Refusal::Unrecordable(with_causes(&error)))
        });
        packed.collect()
    }

    /// Refuses a value that is another's. Whoever claims one has made the look-up before.
    fn check_claims(&self, submission: &Submission) -> Result<(), Rejection> {
        let Submission { claims, releases, .. } = submission;
        let lookup = &self.view.lookup;
        if !claims.is_empty() && !lookup.is_complete() {
            return Err(Rejection::Stale);
        }
        if claims.iter().all(|claim| lookup.admits(claim, releases)) { Ok(()) } else { Err(Rejection::Taken) }
    }

    /// The envelope around a decided event. `first_of` is the number of the command's events on its first.
    fn record(
        &self,
        event: NewEvent,
        submission: &Submission,
        version: Version,
        first_of: Option<u64>,
    ) -> Recorded {
        let request =
            submission.idempotency.as_ref().zip(first_of).map(|(idempotency, events)| RequestMark {
                key: idempotency.key.clone(),
                body: idempotency.body.clone(),
                status: idempotency.status,
                events,
            });
        let keys: BTreeMap<_, _> = submission
            .keys
            .iter()
            .filter(|key| event.uses.contains(&key.id()))
            .map(|key| (key.id(), key.key().commitment()))
            .collect();
        // Nobody else's doing has the reason of whoever asked.
        let (actor, reason) = match event.by {
            Some(other) => (other, None),
            None => (submission.actor, submission.reason.clone()),
        };
        Recorded {
            id: Fresh.id(),
            stream: self.view.stream,
            version,
            at: self.view.head.at,
            actor,
            resource: event.resource,
            outcome: event.outcome,
            event: event.event,
            related: event.related,
            reason,
            request_id: submission.request_id.clone(),
            request,
            count: event.count,
            keys,
        }
    }

    fn replayed(&self, replay: Replay) -> Done {
        Done { view: Arc::new(self.view.clone()), version: replay.version, events: 0, replay: Some(replay) }
    }

    /// Takes packed events into the batch: what is applied is what was read back from the packed bytes.
    fn take(&mut self, submission: &Submission, events: Vec<PackedEvent>) -> Done {
        let count = events.len() as u64;
        for event in events {
            self.frame.push(&event);
            let PackedEvent { recorded, leaf, .. } = event;
            // A key that no event uses is not kept: nobody could ever look it up.
            let used = submission.keys.iter().filter(|key| recorded.keys.contains_key(&key.id()));
            self.minted.extend(used.cloned());
            self.destroyed.extend(recorded.event.destroyed_keys());
            self.view.state.apply(&recorded);
            give_up(&mut self.view.lookup, &recorded.event);
            self.view.head.version = recorded.version;
            directory_entries(&recorded, &mut self.directory);
            self.events.push(Indexed { recorded, leaf });
        }
        if count > 0 {
            for release in &submission.releases {
                self.view.lookup.release(release);
            }
            for claim in &submission.claims {
                self.view.lookup.grant(claim.clone());
            }
        }
        Done {
            view: Arc::new(self.view.clone()),
            version: self.view.head.version,
            events: count,
            replay: None,
        }
    }

    fn finish(mut self) -> Option<(Append, Publication)> {
        let expected = self.handle.view().head.position;
        let frame: Bytes = self.frame.finish()?;
        self.view.head.hash = frame_hash(&frame);
        let stream = self.view.stream;
        let put = |key: &NewDataKey| (Key::DataKey(stream, key.id()), key.wrapped().to_vec());
        let append = Append {
            stream,
            expected: Some(expected),
            frame: Some(frame),
            put: self.minted.iter().map(put).collect(),
            remove: self.destroyed.iter().map(|key| Key::DataKey(stream, *key)).collect(),
        };
        let publication = Publication {
            first: self.view.version() + 1 - self.events.len() as u64,
            handle: self.handle,
            view: self.view,
            events: self.events,
            minted: self.minted,
            destroyed: self.destroyed,
            directory: self.directory,
        };
        Some((append, publication))
    }
}

/// The head that a stream has after a frame.
pub(super) fn head_after(position: Position, frame: &crate::log::frame::Frame) -> Head {
    let header = frame.header();
    Head { version: header.last_version(), position, hash: frame_hash(frame.bytes()), at: header.at }
}
