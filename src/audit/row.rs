//! From events to rows: what was recorded, with names as of now and where sessions were opened from.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::{ActorId, ActorKind};
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Resource, ResourceType, Version};
use crate::history::description::Subject;
use crate::ids::{CustomerId, EventId, SessionId, UserId};
use crate::seal::{DataKey, Plain, Sealed, SealedField};
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::settings::customers::ERASED;
use crate::settings::customers::profile::Field;
use crate::settings::general::reason_field;
use crate::settings::people;
use crate::settings::people::projection::Status;
use crate::settings::sessions;
use crate::settings::sessions::event::SessionsEvent;
use crate::settings::sessions::projection::Holder;
use crate::store::Store;
use crate::store::customers::opening::Openings;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};
use crate::store::shown::{Envelope, Origin, SealedName};

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
    /// A person's or a key's name as of now; null where there is none.
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
    /// Its name as recorded; a person's, a customer's, and that of whom a membership is about, as of now. What an erased
    /// customer had is called `erased customer`.
    pub name: Option<String>,
}

impl RowResource {
    /// A setting, by the name that it has for people.
    pub fn of(subject: &Subject, shown: Option<&str>) -> Self {
        Self { kind: subject.kind, id: subject.id.clone(), name: shown.map(ToOwned::to_owned) }
    }
}

/// How many names and addresses are remembered at most: an export may be of any length.
const REMEMBERED_MAX: usize = 1_024;

/// Makes rows of a stream's events: what is sealed is opened, for whoever may read the audit log.
///
/// It remembers what it looked up, so one is best kept for as long as rows of one view are made.
pub struct Rows {
    store: Store,
    handle: Arc<Handle>,
    view: Arc<View>,
    names: HashMap<UserId, Option<String>>,
    /// Customers' keys and names, for a page: of an export of any length the next page sees who was erased meanwhile.
    openings: Openings,
    customers: HashMap<CustomerId, Option<String>>,
    addresses: HashMap<SessionId, Option<String>>,
}

impl Rows {
    /// Rows of a stream; names of people are as of this view.
    pub fn new(store: &Store, handle: &Arc<Handle>, view: &Arc<View>) -> Self {
        Self {
            store: store.clone(),
            handle: Arc::clone(handle),
            view: Arc::clone(view),
            names: HashMap::new(),
            openings: Openings::new(store, handle),
            customers: HashMap::new(),
            addresses: HashMap::new(),
        }
    }

    /// The rows of the events at these versions, in the order asked for. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn of(&mut self, versions: &[Version]) -> Result<Vec<Row>, HistoryError> {
        self.openings.forget();
        self.customers.clear();
        let events = self.store.envelopes(&self.handle, &self.view, versions)?;
        events.iter().map(|event| self.row(event)).collect()
    }

    /// An actor, with a person's name as of the view.
    pub fn user(&mut self, actor: ActorId) -> RowUser {
        let name = match actor {
            ActorId::Person(person) => self.name(person),
            ActorId::ApiKey(key) => {
                self.view.organization().api_keys.get(key).map(|key| key.name.to_string())
            }
            ActorId::Account(_) | ActorId::System | ActorId::Operator => None,
        };
        RowUser { id: actor.to_string(), kind: actor.kind(), name }
    }

    fn row(&mut self, event: &Envelope) -> Result<Row, HistoryError> {
        let ip = event.actor.session.map(|session| self.ip(session, event.version)).transpose()?;
        let read = |version| self.store.envelopes(&self.handle, &self.view, &[version]);
        let earlier = event.called_at.map(read).transpose()?.and_then(|mut found| found.pop());
        let calls = earlier.as_deref().unwrap_or(event);
        Ok(Row {
            id: event.id,
            timestamp: event.at,
            user: self.user(event.actor.id),
            action: event.action.clone(),
            resource: self.resource(&calls.resource, calls.called.as_ref()),
            outcome: event.outcome,
            version: event.version,
            count: event.count,
            reason: event.reason.as_ref().and_then(|sealed| self.reason(sealed)),
            ip: ip.flatten(),
        })
    }

    /// What was acted on, a person with their name, and what is called by a sealed name with that.
    pub fn resource(&mut self, resource: &Resource, called: Option<&SealedName>) -> RowResource {
        let name = match resource.kind {
            ResourceType::Person => resource.id.parse().ok().and_then(|person| self.name(person)),
            ResourceType::TeamMember => {
                let person = resource.name.as_deref().and_then(|person| person.parse().ok());
                person.and_then(|person| self.name(person))
            }
            ResourceType::Customer => resource.id.parse().ok().and_then(|customer| self.customer(customer)),
            _ => match called {
                Some(called) => self.sealed_name(resource, called),
                None => resource.name.clone(),
            },
        };
        RowResource { kind: resource.kind, id: resource.id.clone(), name }
    }

    fn name(&mut self, person: UserId) -> Option<String> {
        if let Some(name) = self.names.get(&person) {
            return name.clone();
        }
        let known = self.view.organization().people.ever(person);
        let name = known.and_then(|person| match person.status {
            Status::Erased => Some(people::ERASED.to_owned()),
            Status::Active | Status::Suspended | Status::Removed => {
                let open = || people::open_name(self.view.stream, person, self.store.ring());
                match self.handle.open_of_person(person.id, open).ok()? {
                    Some(name) => shown(&name),
                    None => Some(people::ERASED.to_owned()),
                }
            }
        });
        remember(&mut self.names, person, name)
    }

    /// A customer's name as of the view, opened once a page; of one who was deleted none is known.
    fn customer(&mut self, id: CustomerId) -> Option<String> {
        if let Some(name) = self.customers.get(&id) {
            return name.clone();
        }
        let customers = &self.view.organization().customers;
        let place = id.to_string();
        let name = match customers.get(id) {
            Some(customer) => {
                let field = Field::Name.place(self.view.stream, &place);
                self.openings.open(id, &field, &customer.name)
            }
            None => customers.is_erased(id).then(|| ERASED.to_owned()),
        };
        remember(&mut self.customers, id, name)
    }

    fn sealed_name(&mut self, resource: &Resource, called: &SealedName) -> Option<String> {
        let SealedName { customer, field, sealed } = called;
        let (stream, resource_type, resource_id) = (self.view.stream, resource.kind, &resource.id);
        let field = SealedField { stream, resource_type, resource_id, field };
        self.openings.open(*customer, &field, sealed)
    }

    fn ip(&mut self, session: SessionId, until: Version) -> Result<Option<String>, HistoryError> {
        if let Some(ip) = self.addresses.get(&session) {
            return Ok(ip.clone());
        }
        let stream = self.view.stream;
        let origin = self.store.origin(stream, session, || self.find_origin(session, until))?;
        let ip = origin.and_then(|origin| {
            let key = self.key_of(origin.of)?;
            shown(&key.open(&sessions::ip_field(stream, &session.to_string()), &origin.ip).ok()?)
        });
        Ok(remember(&mut self.addresses, session, ip))
    }

    /// Who opened a session, and from where: an open one says so itself, of an ended one its opening does.
    fn find_origin(&self, session: SessionId, until: Version) -> Result<Option<Origin>, HistoryError> {
        if let Some(open) = self.view.organization().sessions.get(session) {
            let Holder::Person(person) = open.holder else { return Ok(None) };
            return Ok(open.ip.clone().map(|ip| Origin { of: Some(person), ip }));
        }
        let first =
            self.store.first_mention(&self.handle, &self.view, &session.to_string(), until, |first| {
                opened_by(&first.event).is_some()
            })?;
        Ok(first.and_then(|first| opened_by(&first.event)))
    }

    /// The key of a person, or the organization's own.
    fn key_of(&self, person: Option<UserId>) -> Option<Arc<DataKey>> {
        let settings = self.view.organization();
        let (key, commitment) = match person {
            Some(person) => settings.people.ever(person).map(|person| (person.key, person.commitment))?,
            None => settings.general.founded().map(|founded| (founded.key, founded.commitment))?,
        };
        self.store.ring().data_key(self.view.stream, key, commitment).ok()
    }

    /// A reason, opened.
    pub fn reason(&self, sealed: &Sealed) -> Option<String> {
        let id = self.view.organization().general.founded()?.organization.to_string();
        let key = self.key_of(None)?;
        shown(&key.open(&reason_field(self.view.stream, &id), sealed).ok()?)
    }
}

/// Whose session an event opened, and from where.
fn opened_by(event: &Event) -> Option<Origin> {
    match event {
        Event::Sessions(SessionsEvent::SessionOpened(opened)) => {
            let (person, ip) = opened.person.zip(opened.ip.clone())?;
            Some(Origin { of: Some(person), ip })
        }
        Event::ApiKeys(ApiKeysEvent::ApiKeyUsed(used)) => {
            used.opened.as_ref().map(|opened| Origin { of: None, ip: opened.ip.clone() })
        }
        _ => None,
    }
}

fn remember<K: Eq + Hash>(
    known: &mut HashMap<K, Option<String>>,
    key: K,
    found: Option<String>,
) -> Option<String> {
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
    known.insert(key, found.clone());
    found
}

fn shown(plain: &Plain) -> Option<String> {
    plain.as_str().ok().map(ToOwned::to_owned)
}
