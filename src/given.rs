//! given / when / then, for the tests beside each `decide`: a state folded from events, a context of an actor, and
//! ids and sealed values that are the same in every run. Only tests know this; nothing here decides or applies.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::actor::{Actor, ActorId};
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent, Precondition};
use crate::event::{Event, Outcome, Recorded, Resource, ResourceType, Version};
use crate::ids::{FreshId, StreamId, UserId};
use crate::organization::Organization;
use crate::platform::Platform;
use crate::seal::{Sealed, SealedBytes};
use crate::settings::general::event::{GeneralEvent, OrganizationCreated};
use crate::settings::people::event::{PeopleEvent, PersonJoined};
use crate::settings::roles::event::{RoleAssigned, RolesEvent};
use crate::settings::roles::role::{RoleRef, SystemRole};

/// When everything is decided: 2026-01-02T03:04:05Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(1_767_323_045_000_000)
}

/// The id with this number.
pub(crate) fn id<I: FreshId>(number: u128) -> I {
    I::from_uuid(Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0000 + number))
}

/// A sealed value; what is in it does not matter to a decision.
pub(crate) fn sealed(number: u128) -> Sealed {
    Sealed { key: id(number), data: SealedBytes(vec![1; 32].into()) }
}

/// A person, in no session.
pub(crate) fn person(person: UserId) -> Actor {
    Actor { id: ActorId::Person(person), session: None }
}

/// An event as the writer records it.
pub(crate) fn recorded(
    stream: StreamId,
    version: Version,
    at: Timestamp,
    actor: Actor,
    event: Event,
) -> Recorded {
    Recorded {
        id: id(u128::from(version)),
        stream,
        version,
        at,
        actor,
        resource: Resource::new(ResourceType::Organization, stream),
        outcome: Outcome::Success,
        event,
        related: Vec::new(),
        reason: None,
        request_id: None,
        request: None,
        count: None,
        keys: BTreeMap::new(),
    }
}

/// An organization of which these events are all that happened.
pub(crate) fn organization(events: impl IntoIterator<Item = Event>) -> Organization {
    let mut state = Organization::default();
    for (version, event) in (1..).zip(events) {
        state.apply(&recorded(StreamId::Organization(id(1)), version, now(), Actor::SYSTEM, event));
    }
    state
}

/// A platform of which these events are all that happened.
pub(crate) fn platform(events: impl IntoIterator<Item = Event>) -> Platform {
    let mut state = Platform::default();
    for (version, event) in (1..).zip(events) {
        state.apply(&recorded(StreamId::Platform, version, now(), Actor::SYSTEM, event));
    }
    state
}

/// The first three events of an organization: it is 1, its Owner person 1 with assignment 1.
pub(crate) fn founded() -> Vec<Event> {
    let created = OrganizationCreated {
        organization: id(1),
        key: id(1),
        name: "Acme".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
    };
    let mut events = vec![Event::General(GeneralEvent::OrganizationCreated(created))];
    events.extend(member(1, Some(SystemRole::Owner)));
    events
}

/// A person joins and gets a role, both by one number.
pub(crate) fn member(number: u128, role: Option<SystemRole>) -> Vec<Event> {
    let mut events = vec![Event::People(PeopleEvent::PersonJoined(joined(number)))];
    events.extend(role.map(|role| assigned(number, number, role)));
    events
}

/// A person who joins.
pub(crate) fn joined(number: u128) -> PersonJoined {
    PersonJoined { person: id(number), key: id(number), name: sealed(number), email: sealed(number) }
}

/// A role in the whole organization.
pub(crate) fn assigned(assignment: u128, to: u128, role: SystemRole) -> Event {
    Event::Roles(RolesEvent::RoleAssigned(RoleAssigned {
        assignment: id(assignment),
        person: id(to),
        role: RoleRef::System(role),
        environment: None,
    }))
}

/// An actor asks now, whatever it saw.
pub(crate) fn by(actor: Actor) -> Context {
    Context { actor, now: now(), preconditions: Vec::new() }
}

/// An actor asks now, having seen this version.
pub(crate) fn by_having_seen(actor: Actor, version: Version) -> Context {
    Context { preconditions: vec![Precondition::OneOf(vec![version])], ..by(actor) }
}

/// What was decided, without what it is about.
pub(crate) fn events<E>(decided: Result<Vec<NewEvent>, E>) -> Result<Vec<Event>, E> {
    decided.map(|events| events.into_iter().map(|event| event.event).collect())
}
