//! given / when / then, for the tests beside each `decide`: a state folded from events, a context of an actor, and
//! ids and sealed values that are the same in every run. Only tests know this; nothing here decides or applies.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::actor::{Actor, ActorId};
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent, Precondition};
use crate::event::{Event, Outcome, Recorded, Resource, ResourceType, Version};
use crate::ids::{EnvironmentId, FreshId, StreamId, TeamId, UserId};
use crate::organization::Organization;
use crate::platform::Platform;
use crate::platform::accounts::event::MailedLink;
use crate::seal::{Commitment, Sealed, SealedBytes};
use crate::settings::billing::event::{PlanLimit, PlanTaken, QuotaSet};
use crate::settings::billing::value::{Meter, Quota};
use crate::settings::customers::event::{CustomerCreated, CustomersEvent};
use crate::settings::environments::event::{EnvironmentCreated, EnvironmentsEvent, Mode};
use crate::settings::general::event::{GeneralEvent, OrganizationCreated};
use crate::settings::invitations::event::InvitationCreated;
use crate::settings::join_requests::event::{JoinRequestCreated, JoinRequestDeclined, JoinRequestsEvent};
use crate::settings::people::event::{PeopleEvent, PersonJoined};
use crate::settings::roles::event::{RoleAssigned, RoleCreated, RolesEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
use crate::settings::teams::event::{MemberAdded, TeamCreated, TeamsEvent};

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
        plan: None,
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
    granted(assignment, Grantee::Person(id(to)), RoleRef::System(role), None)
}

/// A role for a person or a team, somewhere.
pub(crate) fn granted(
    assignment: u128,
    grantee: Grantee,
    role: RoleRef,
    environment: Option<EnvironmentId>,
) -> Event {
    let assigned = RoleAssigned::new(id(assignment), grantee, role, environment);
    Event::Roles(RolesEvent::RoleAssigned(assigned))
}

/// An environment, its name and slug made of its number.
pub(crate) fn environment(number: u128, mode: Mode) -> Event {
    Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
        environment: id(number),
        name: format!("env {number}"),
        slug: format!("env-{number}"),
        mode,
        description: None,
    }))
}

/// A customer, of whom name and key have its number.
pub(crate) fn customer(number: u128) -> CustomerCreated {
    CustomerCreated {
        customer: id(number),
        key: id(number),
        name: sealed(number),
        external_id: None,
        tags: None,
        metadata: None,
        suspended: false,
    }
}

/// It came to be.
pub(crate) fn has_customer(number: u128) -> Event {
    Event::Customers(CustomersEvent::CustomerCreated(customer(number)))
}

/// A limit that refuses.
pub(crate) fn hard(limit: u64) -> Quota {
    Quota { limit, soft: false }
}

/// A limit that only tells.
pub(crate) fn soft(limit: u64) -> Quota {
    Quota { limit, soft: true }
}

/// That a quota is set.
pub(crate) fn quota(meter: Meter, quota: Quota) -> QuotaSet {
    QuotaSet { meter, quota: Some(quota) }
}

/// A plan as an organization takes it.
pub(crate) fn plan(name: &str, limits: &[(Meter, Quota)]) -> PlanTaken {
    let limit = |(meter, Quota { limit, soft }): &(Meter, Quota)| PlanLimit {
        meter: *meter,
        limit: *limit,
        soft: *soft,
    };
    PlanTaken { plan: name.to_owned(), limits: limits.iter().map(limit).collect() }
}

/// A custom role, its name made of its number.
pub(crate) fn custom(number: u128, permissions: &[Permission]) -> Event {
    Event::Roles(RolesEvent::RoleCreated(RoleCreated {
        role: id(number),
        name: format!("role {number}"),
        description: None,
        permissions: permissions.iter().copied().collect(),
    }))
}

/// A team with these members, its name made of its number.
pub(crate) fn team(number: u128, members: &[u128]) -> Vec<Event> {
    let team: TeamId = id(number);
    let created = TeamCreated { team, name: format!("team {number}"), description: None };
    let added =
        members.iter().map(|member| TeamsEvent::MemberAdded(MemberAdded { team, person: id(*member) }));
    std::iter::once(TeamsEvent::TeamCreated(created)).chain(added).map(Event::Teams).collect()
}

/// How long an invitation is good here.
pub(crate) const INVITATION_SECONDS: i64 = 100;

/// An invitation with this number, which is also all bytes of its token's hash; of person and key 50 more.
pub(crate) fn invitation(number: u128, role: SystemRole, teams: &[u128]) -> InvitationCreated {
    let token = Commitment([u8::try_from(number % 256).unwrap_or_default(); 32]);
    InvitationCreated {
        invitation: id(number),
        person: id(50 + number),
        key: id(50 + number),
        email: sealed(50 + number),
        role: RoleRef::System(role),
        teams: teams.iter().map(|team| id(*team)).collect(),
        link: MailedLink { token, ends_at: now().plus_seconds(INVITATION_SECONDS) },
    }
}

/// Somebody asks to join by an address in `example.com`; request, person and key have this number.
pub(crate) fn asks_to_join(number: u128) -> Event {
    let PersonJoined { person, key, name, email } = joined(number);
    let (join_request, domain) = (id(number), "example.com".to_owned());
    let created = JoinRequestCreated { join_request, person, key, name, email, domain };
    Event::JoinRequests(JoinRequestsEvent::JoinRequestCreated(created))
}

/// They are not let in.
pub(crate) fn not_let_in(number: u128) -> Event {
    let declined = JoinRequestDeclined { join_request: id(number), destroyed_keys: vec![id(number)] };
    Event::JoinRequests(JoinRequestsEvent::JoinRequestDeclined(declined))
}

/// An actor asks now, whatever it saw.
pub(crate) fn by(actor: Actor) -> Context {
    Context { actor, now: now(), preconditions: Vec::new(), ordinal: None }
}

/// An actor asks now, having seen this version.
pub(crate) fn by_having_seen(actor: Actor, version: Version) -> Context {
    Context { preconditions: vec![Precondition::OneOf(vec![version])], ..by(actor) }
}

/// What was decided, without what it is about.
pub(crate) fn events<E>(decided: Result<Vec<NewEvent>, E>) -> Result<Vec<Event>, E> {
    decided.map(|events| events.into_iter().map(|event| event.event).collect())
}
