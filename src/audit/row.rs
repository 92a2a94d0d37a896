//! From events to rows, and the walk over a stream that finds them.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::{ActorId, ActorKind};
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Resource, ResourceType, Version};
use crate::http::call::reason_field;
use crate::ids::{EventId, SessionId, UserId};
use crate::log::filter::Filter;
use crate::seal::keyring::KeyRing;
use crate::seal::{Plain, Sealed};
use crate::settings::people;
use crate::settings::sessions;
use crate::settings::sessions::event::SessionsEvent;
use crate::store::Store;
use crate::store::history::{FramesBack, HistoryError, events_back};
use crate::store::resident::View;

/// A row of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AuditRow)]
pub struct Row {
    /// The event.
    pub id: EventId,
    /// When.
    pub timestamp: Timestamp,
    /// Who.
    pub user: RowUser,
    /// What.
    pub action: String,
    /// To what.
    pub resource: RowResource,
    /// How it ended.
    pub outcome: Outcome,
    /// The event's place in the organization's stream.
    pub version: Version,
    /// How many occurrences the row stands for, where it is an aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Why, in the actor's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The address that the actor's session was opened from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// Who acted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RowUser {
    /// The id of a person or an API key, `system` or `operator`.
    pub id: String,
    /// The kind of actor.
    pub kind: ActorKind,
    /// A person's name as of now; null where there is none.
    pub name: Option<String>,
}

/// What was acted on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RowResource {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its id.
    pub id: String,
    /// Its name as recorded; a person's as of now.
    pub name: Option<String>,
}

/// What a walk over a stream found.
pub struct Found {
    /// The newest matching events after the place asked for, at most as many as asked for.
    pub events: Vec<Recorded>,
    /// How many match in all.
    pub total: u64,
    /// Where the found events' sessions were opened from.
    origins: HashMap<SessionId, (ActorId, Sealed)>,
}

/// Walks a whole stream from its newest event back. Blocks.
///
/// # Errors
/// When the history cannot be read.
pub fn find(
    store: &Store,
    view: &View,
    filter: &Filter,
    before: Option<Version>,
    limit: usize,
) -> Result<Found, HistoryError> {
    let mut found = Found { events: Vec::new(), total: 0, origins: HashMap::new() };
    let mut wanted: HashSet<SessionId> = HashSet::new();
    for frame in FramesBack::new(&**store.log(), view.stream, view.head) {
        let (_, frame) = frame?;
        for event in events_back(&frame) {
            let event = event?;
            let matches = filter.matches(&event);
            found.total += u64::from(matches);
            let shown =
                matches && before.is_none_or(|before| event.version < before) && found.events.len() < limit;
            if shown {
                wanted.extend(event.actor.session);
            }
            // A session's opening lies before all that was done in it: walking back, it comes last.
            if let Event::Sessions(SessionsEvent::SessionOpened(opened)) = &event.event
                && let Some(ip) = &opened.ip
                && wanted.remove(&opened.session)
            {
                found.origins.insert(opened.session, (event.actor.id, ip.clone()));
            }
            if shown {
                found.events.push(event);
            }
        }
    }
    Ok(found)
}

impl Found {
    /// The rows, with what is sealed opened for whoever may read the audit log.
    pub fn rows(&self, view: &View, ring: &KeyRing) -> Vec<Row> {
        let mut names = Names::new(view, ring);
        self.events.iter().map(|event| self.row(event, &mut names)).collect()
    }

    fn row(&self, event: &Recorded, names: &mut Names<'_>) -> Row {
        Row {
            id: event.id,
            timestamp: event.at,
            user: names.user(event.actor.id),
            action: event.event.action().to_owned(),
            resource: names.resource(&event.resource),
            outcome: event.outcome,
            version: event.version,
            count: event.count,
            reason: event.reason.as_ref().and_then(|sealed| names.reason(sealed)),
            ip: event.actor.session.and_then(|session| self.ip(session, names)),
        }
    }

    fn ip(&self, session: SessionId, names: &Names<'_>) -> Option<String> {
        let (holder, sealed) = self.origins.get(&session)?;
        let ActorId::Person(person) = holder else { return None };
        let person = names.view.organization().people.get(*person)?;
        let key = names.ring.data_key(names.view.stream, person.key, person.commitment).ok()?;
        let id = session.to_string();
        shown(&key.open(&sessions::ip_field(names.view.stream, &id), sealed).ok()?)
    }
}

/// Names as of now, each opened once a page, and reasons.
pub struct Names<'a> {
    view: &'a View,
    ring: &'a KeyRing,
    known: HashMap<UserId, Option<String>>,
}

impl<'a> Names<'a> {
    /// Names as of a view.
    pub fn new(view: &'a View, ring: &'a KeyRing) -> Self {
        Self { view, ring, known: HashMap::new() }
    }

    /// An actor with a person's name.
    pub fn user(&mut self, actor: ActorId) -> RowUser {
        let name = match actor {
            ActorId::Person(person) => self.of(person),
            ActorId::Account(_) | ActorId::ApiKey(_) | ActorId::System | ActorId::Operator => None,
        };
        RowUser { id: actor.to_string(), kind: actor.kind(), name }
    }

    fn of(&mut self, person: UserId) -> Option<String> {
        let (view, ring) = (self.view, self.ring);
        let open = || {
            let person = view.organization().people.get(person)?;
            shown(&people::open_name(view.stream, person, ring).ok()?)
        };
        self.known.entry(person).or_insert_with(open).clone()
    }

    /// What was acted on, a person with their name.
    pub fn resource(&mut self, resource: &Resource) -> RowResource {
        let name = match resource.kind {
            ResourceType::Person => resource.id.parse().ok().and_then(|person| self.of(person)),
            _ => resource.name.clone(),
        };
        RowResource { kind: resource.kind, id: resource.id.clone(), name }
    }

    /// A reason, opened.
    pub fn reason(&self, sealed: &Sealed) -> Option<String> {
        let founded = self.view.organization().general.founded()?;
        let key = self.ring.data_key(self.view.stream, founded.key, founded.commitment).ok()?;
        let id = founded.organization.to_string();
        shown(&key.open(&reason_field(self.view.stream, &id), sealed).ok()?)
    }
}

fn shown(plain: &Plain) -> Option<String> {
    plain.as_str().ok().map(ToOwned::to_owned)
}
