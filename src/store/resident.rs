//! Streams in memory: [`Handle`], where a stream's newest durable state is published, and [`View`], that state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::actor::ActorId;
use crate::area::{DirectoryEntry, Section};
use crate::clock::Timestamp;
use crate::command::{Command, Context, Need, NewEvent, Rejection};
use crate::event::{Recorded, Version};
use crate::ids::StreamId;
use crate::log::Head;
use crate::log::segment::Segment;
use crate::log::segment::frames::FramePlace;
use crate::log::segment::tree::Hash;
use crate::organization::Organization;
use crate::platform::Platform;
use crate::settings::billing::enforcement::within_quotas;
use crate::settings::billing::value::Excess;
use crate::settings::roles::access::Grants;
use crate::store::api_requests::ApiRequests;
use crate::store::customers::give_up_since;
use crate::store::encoding::digest;
use crate::store::index::StreamIndex;
use crate::store::lookup::Lookup;
use crate::store::requests::Requests;
use crate::store::rights::KnownRights;
use crate::store::{Idempotency, Refusal, Replay};

/// Longer than it takes to publish what is durable.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);

/// The state of a stream, of either kind. A value: cloning shares it.
#[derive(Clone, Debug)]
pub enum State {
    /// Of the platform's stream.
    Platform(Arc<Platform>),
    /// Of an organization's.
    Organization(Arc<Organization>),
}

impl State {
    /// The state of an empty stream.
    pub fn empty(stream: StreamId) -> Self {
        match stream {
            StreamId::Platform => Self::Platform(Arc::default()),
            StreamId::Organization(_) => Self::Organization(Arc::default()),
        }
    }

    /// Takes one event in; a state that others hold is copied first, which persistent maps make cheap.
    pub fn apply(&mut self, recorded: &Recorded) {
        match self {
            Self::Platform(platform) => Arc::make_mut(platform).apply(recorded),
            Self::Organization(organization) => Arc::make_mut(organization).apply(recorded),
        }
    }

    /// Authorises and decides a command. Whether there is room for it, [`within_quotas`](Self::within_quotas) says.
    ///
    /// # Errors
    /// A missing permission or the area's rejection.
    pub fn decide(&self, command: &Command, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match (self, command) {
            (Self::Organization(state), Command::Organization(command)) => {
                if state.general.is_over() && !command.outlasts_the_end() {
                    return Err(Rejection::Over);
                }
                command.need().check(state, context)?;
                command.decide(state, context)
            }
            (Self::Platform(state), Command::Platform(command)) => {
                if command.need() == Need::System && !context.actor.id.is_system() {
                    return Err(Rejection::SystemOnly);
                }
                command.decide(state, context)
            }
            _ => Err(Rejection::WrongStream),
        }
    }

    /// Holds what a command comes to against the organization's quotas; of the platform nothing is metered. The alerts that
    /// go before its events.
    ///
    /// # Errors
    /// [`Excess`] where there would be more than a hard limit allows.
    pub fn within_quotas(&self, context: &Context, decided: &[NewEvent]) -> Result<Vec<NewEvent>, Excess> {
        match self {
            Self::Organization(state) => within_quotas(state, context, decided),
            Self::Platform(_) => Ok(Vec::new()),
        }
    }

    /// The stream's idempotency keys.
    fn requests(&self) -> &Requests {
        match self {
            Self::Platform(platform) => &platform.requests,
            Self::Organization(organization) => &organization.requests,
        }
    }

    /// How many things it holds.
    pub fn items(&self) -> usize {
        match self {
            Self::Platform(platform) => platform.items(),
            Self::Organization(organization) => organization.items(),
        }
    }

    /// The state to be saved, each fold in a section that can be read alone.
    pub fn sections(&self) -> Vec<Section> {
        match self {
            Self::Platform(platform) => platform.sections(),
            Self::Organization(organization) => organization.sections(),
        }
    }

    /// The state of a stream that was saved in sections, which `find` looks up by name and projection; `None` if one is
    /// absent or is not what was saved.
    pub fn from_sections(
        stream: StreamId,
        find: impl FnMut(&'static str, u32) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        Some(match stream {
            StreamId::Platform => Self::Platform(Arc::new(Platform::from_sections(find)?)),
            StreamId::Organization(_) => Self::Organization(Arc::new(Organization::from_sections(find)?)),
        })
    }

    /// The state's digest: equal states, and only those, have equal ones.
    pub fn digest(&self) -> String {
        match self {
            Self::Platform(platform) => digest(&**platform),
            Self::Organization(organization) => digest(&**organization),
        }
    }
}

/// What an event of a stream means to the whole server.
pub fn directory_entries(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
    match recorded.stream {
        StreamId::Platform => Platform::directory(recorded, entries),
        StreamId::Organization(_) => Organization::directory(recorded, entries),
    }
}

/// A stream at a version: what readers hold, without a lock.
#[derive(Clone, Debug)]
pub struct View {
    /// The stream.
    pub stream: StreamId,
    /// Where it ended at that time.
    pub head: Head,
    /// What it said.
    pub state: State,
    /// Look-ups by personal data that go with it.
    pub lookup: Lookup,
}

impl View {
    /// An empty stream.
    pub fn empty(stream: StreamId) -> Self {
        Self { stream, head: Head::default(), state: State::empty(stream), lookup: Lookup::default() }
    }

    /// The stream's version.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The earlier request with this idempotency key, if there was one within a day.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`] where its body was another, [`Refusal::TooManyKeys`] where a new key has no room.
    pub fn replay(&self, idempotency: &Idempotency, now: Timestamp) -> Result<Option<Replay>, Refusal> {
        let requests = self.state.requests();
        match requests.get(&idempotency.key, now) {
            Some(request) if request.body != idempotency.body => Err(Refusal::KeyReused),
            Some(request) => {
                Ok(Some(Replay { status: request.status, first: request.first, version: request.last }))
            }
            None if requests.has_room(now) => Ok(None),
            None => Err(Refusal::TooManyKeys),
        }
    }

    /// The organization's settings.
    ///
    /// # Panics
    /// If this is the platform's stream: whoever holds a view knows whose it asked for.
    pub fn organization(&self) -> &Organization {
        match &self.state {
            State::Organization(organization) => organization,
            State::Platform(_) => unreachable!("the view is of the platform's stream"),
        }
    }

    /// The platform's state.
    ///
    /// # Panics
    /// If this is an organization's stream.
    pub fn platform(&self) -> &Platform {
        match &self.state {
            State::Platform(platform) => platform,
            State::Organization(_) => unreachable!("the view is of an organization's stream"),
        }
    }
}

/// Where the newest durable state of a stream is published, with its index. Holding one pins the stream in memory.
#[derive(Debug)]
pub struct Handle {
    stream: StreamId,
    published: ArcSwap<View>,
    /// Beside the state, not in it: a reader takes what it needs up to its view's version, and the index may be ahead.
    index: RwLock<StreamIndex>,
    /// The version of the newest savepoint.
    saved: AtomicU64,
    /// Its size; 0 until one is written by this process.
    saved_bytes: AtomicU64,
    /// Whether something of it is about to be saved.
    saving: AtomicBool,
    rights: KnownRights,
    requests: ApiRequests,
    making_lookup: Mutex<()>,
    versions: watch::Sender<Version>,
}

/// An event with all that the index takes in of it.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// The event.
    pub recorded: Recorded,
    /// Its leaf hash.
    pub leaf: Hash,
}

impl Handle {
    /// A handle that publishes `view` first. `index` is at the same version, and the newest savepoint at `saved`.
    pub fn new(view: View, index: StreamIndex, saved: Version) -> Self {
        Self {
            stream: view.stream,
            versions: watch::Sender::new(view.version()),
            published: ArcSwap::from_pointee(view),
            index: RwLock::new(index),
            saved: AtomicU64::new(saved),
            saved_bytes: AtomicU64::new(0),
            saving: AtomicBool::new(false),
            rights: KnownRights::default(),
            requests: ApiRequests::default(),
            making_lookup: Mutex::default(),
        }
    }

    /// The handle of a stream without events.
    pub fn empty(stream: StreamId) -> Self {
        Self::new(View::empty(stream), StreamIndex::new(Segment::new(0)), 0)
    }

    /// The stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The newest durable state.
    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// What an actor may do in a state of the stream, an organization's.
    pub fn grants(&self, view: &View, actor: ActorId) -> Arc<Grants> {
        self.rights.of(view.organization(), actor)
    }

    /// The requests of the organization's programs that are not recorded.
    pub fn requests(&self) -> &ApiRequests {
        &self.requests
    }

    /// Held by whoever makes the stream's look-up.
    pub(super) fn making_lookup(&self) -> MutexGuard<'_, ()> {
        self.making_lookup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of every version that is published.
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.versions.subscribe()
    }

    /// Returns once something after this version is published, or after a second. A data key may be gone from the log a
    /// moment before the state says so: whoever finds one gone that the state at this version has waits here, and looks
    /// again.
    pub async fn beyond(&self, version: Version) {
        let mut versions = self.versions.subscribe();
        let newer = versions.wait_for(|published| *published > version);
        let _newer_or_late = tokio::time::timeout(PUBLISHED_WITHIN, newer).await;
    }

    /// The index, at the published version or beyond. While it is held, nothing is published.
    pub fn index(&self) -> RwLockReadGuard<'_, StreamIndex> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, to note what files have.
    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, StreamIndex> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events followed the newest savepoint.
    pub fn unsaved(&self) -> u64 {
        self.view().version().saturating_sub(self.saved.load(Ordering::Relaxed))
    }

    /// How many bytes the newest savepoint has; 0 until one is written by this process.
    pub fn saved_bytes(&self) -> u64 {
        self.saved_bytes.load(Ordering::Relaxed)
    }

    /// Notes a savepoint of so many bytes.
    pub(super) fn saved(&self, version: Version, bytes: u64) {
        self.saved.fetch_max(version, Ordering::Relaxed);
        self.saved_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether nobody is about to save something of it yet; from now on somebody is.
    pub(super) fn begin_saving(&self) -> bool {
        !self.saving.swap(true, Ordering::Relaxed)
    }

    /// Ends what `begin_saving` began.
    pub(super) fn end_saving(&self) {
        self.saving.store(false, Ordering::Relaxed);
    }

    /// Publishes the same state with a look-up of a version, unless it has one. Only the writer does, between batches.
    pub(super) fn learn(&self, mut lookup: Lookup, version: Version) {
        let view = self.view();
        if !view.lookup.is_complete() {
            give_up_since(&mut lookup, version, view.organization());
            self.published.store(Arc::new(View { lookup, ..(*view).clone() }));
        }
    }

    /// Publishes a newer state with the events that led to it; whether they filled a segment. Only the writer does, and
    /// only after the events are durable.
    pub(super) fn publish(&self, view: View, events: &[Indexed], frame: FramePlace) -> bool {
        let version = view.version();
        let mut index = self.index_mut();
        let mut filled = false;
        for event in events {
            filled |= index.push(&event.recorded, event.leaf, frame);
        }
        self.published.store(Arc::new(view));
        drop(index);
        self.versions.send_replace(version);
        filled
    }
}
