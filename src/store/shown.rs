//! What the audit log shows of events, remembered: people look at the same rows again and again, and many listen to the
//! same stream. What was recorded never changes, so nothing here is ever stale; what is sealed stays sealed.

use std::sync::Arc;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Resource, Version};
use crate::ids::{CustomerId, EventId, SessionId, StreamId, UserId};
use crate::seal::Sealed;
use crate::settings::customer_data::key_path;
use crate::settings::executions::event::ExecutionsEvent;
use crate::settings::executions::workflows;
use crate::store::Store;
use crate::store::bounded::Bounded;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// How much memory envelopes take, in bytes: of some ten thousand events.
const ENVELOPES_BYTES: usize = 6 << 20;
/// How much memory origins take, in bytes: of some two thousand sessions.
const ORIGINS_BYTES: usize = 1 << 20;
/// What keeping a value takes beside it: its key twice, and its share of the maps' nodes.
const KEPT_OVERHEAD_BYTES: usize = 192;

/// An event without its data: what a row of the audit log is made of. The fields are those of [`Recorded`].
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "told where they are recorded")]
pub struct Envelope {
    pub id: EventId,
    pub version: Version,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: String,
    pub resource: Resource,
    pub outcome: Outcome,
    pub count: Option<u64>,
    pub reason: Option<Sealed>,
    /// What the resource is called, where that is sealed in the data.
    pub called: Option<SealedName>,
    /// The version of the event that says what the resource is called, where this one does not.
    pub called_at: Option<Version>,
}

/// A resource's name, under a customer's key.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedName {
    /// The customer.
    pub customer: CustomerId,
    /// The field that it is sealed in, of the resource.
    pub field: String,
    /// The name.
    pub sealed: Sealed,
}

impl SealedName {
    /// What an event's resource is called.
    pub fn of(event: &Event) -> Option<Self> {
        let (customer, field, sealed) = match event {
            Event::CustomerData(event) => (event.customer(), key_path(event.document()), event.key()),
            Event::Executions(ExecutionsEvent::ExecutionStarted(started)) => {
                (started.customer, workflows::FIELD.to_owned(), started.workflow.as_ref())
            }
            _ => return None,
        };
        Some(Self { customer, field, sealed: sealed?.clone() })
    }
}

impl From<Recorded> for Envelope {
    fn from(recorded: Recorded) -> Self {
        let called_at = match &recorded.event {
            Event::Executions(ExecutionsEvent::ExecutionFinished(finished)) => Some(finished.started),
            _ => None,
        };
        Self {
            called: SealedName::of(&recorded.event),
            called_at,
            id: recorded.id,
            version: recorded.version,
            at: recorded.at,
            actor: recorded.actor,
            action: recorded.event.action().to_owned(),
            resource: recorded.resource,
            outcome: recorded.outcome,
            count: recorded.count,
            reason: recorded.reason,
        }
    }
}

impl Envelope {
    fn bytes(&self) -> usize {
        let texts = [&self.action, &self.resource.id].into_iter().chain(&self.resource.name);
        let reason = self.reason.as_ref().map_or(0, |sealed| sealed.data.0.len());
        let called = self.called.as_ref().map_or(0, |name| name.field.len() + name.sealed.data.0.len());
        KEPT_OVERHEAD_BYTES + size_of::<Self>() + texts.map(String::len).sum::<usize>() + reason + called
    }
}

/// Where a session was opened from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The person whose key the address is sealed under; of an API key's session it is the organization's own.
    pub of: Option<UserId>,
    /// The address.
    pub ip: Sealed,
}

/// The memory of it. Bounded; what was used longest ago goes first.
#[derive(Debug)]
pub struct Shown {
    envelopes: Bounded<(StreamId, Version), Arc<Envelope>>,
    origins: Bounded<(StreamId, SessionId), Option<Arc<Origin>>>,
}

impl Default for Shown {
    fn default() -> Self {
        Self { envelopes: Bounded::new(ENVELOPES_BYTES), origins: Bounded::new(ORIGINS_BYTES) }
    }
}

impl Store {
    /// The envelopes of the events at these versions, in the order asked for. Blocks.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn envelopes(
        &self,
        handle: &Handle,
        view: &View,
        versions: &[Version],
    ) -> Result<Vec<Arc<Envelope>>, HistoryError> {
        let (stream, memory) = (handle.stream(), &self.inner.shown.envelopes);
        let known: Vec<_> = versions.iter().map(|version| memory.get(&(stream, *version))).collect();
        let is_missing = |(known, version): (&Option<_>, &Version)| known.is_none().then_some(*version);
        let missing: Vec<Version> = known.iter().zip(versions).filter_map(is_missing).collect();
        let mut read = self.recorded(handle, view, &missing)?.into_iter().map(|recorded| {
            let envelope = Arc::new(Envelope::from(recorded));
            memory.put((stream, envelope.version), Arc::clone(&envelope), envelope.bytes());
            envelope
        });
        Ok(known.into_iter().filter_map(|known| known.or_else(|| read.next())).collect())
    }

    /// Who opened a session, and from where; `find` looks for it in the stream, where an opening comes before all that
    /// was done in the session. `None` where there is nothing to show.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn origin(
        &self,
        stream: StreamId,
        session: SessionId,
        find: impl FnOnce() -> Result<Option<Origin>, HistoryError>,
    ) -> Result<Option<Arc<Origin>>, HistoryError> {
        self.inner.shown.origins.get_or_make((stream, session), || {
            let origin = find()?.map(Arc::new);
            let sealed = origin.as_ref().map_or(0, |origin| size_of::<Origin>() + origin.ip.data.0.len());
            Ok((origin, KEPT_OVERHEAD_BYTES + sealed))
        })
    }
}
