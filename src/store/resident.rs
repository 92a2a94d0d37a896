//! Streams in memory: [`Handle`], where a stream's newest durable state is published, and [`View`], that state.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::area::DirectoryEntry;
use crate::command::{Command, Context, Need, NewEvent, Rejection};
use crate::event::{Recorded, Version};
use crate::ids::StreamId;
use crate::log::Head;
use crate::organization::Organization;
use crate::platform::Platform;
use crate::store::encoding::digest;
use crate::store::lookup::Lookup;
use crate::store::requests::Requests;

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

    /// Authorises and decides a command.
    ///
    /// # Errors
    /// A missing permission or the area's rejection.
    pub fn decide(&self, command: &Command, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match (self, command) {
            (Self::Organization(state), Command::Organization(command)) => {
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

    /// The stream's idempotency keys.
    pub fn requests(&self) -> &Requests {
        match self {
            Self::Platform(platform) => &platform.requests,
            Self::Organization(organization) => &organization.requests,
        }
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

/// Where the newest durable state of a stream is published. Holding one pins the stream in memory.
#[derive(Debug)]
pub struct Handle {
    stream: StreamId,
    published: ArcSwap<View>,
}

impl Handle {
    /// A handle that publishes `view` first.
    pub fn new(view: View) -> Self {
        Self { stream: view.stream, published: ArcSwap::from_pointee(view) }
    }

    /// The stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The newest durable state.
    pub fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// Publishes a newer state. Only the writer does, and only after its events are durable.
    pub(super) fn publish(&self, view: View) {
        self.published.store(Arc::new(view));
    }
}
