//! Asking to join, and letting in those who ask, under the ceiling.

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{JoinRequestId, RoleAssignmentId};
use crate::organization::Organization;
use crate::settings::billing::enforcement::is_full;
use crate::settings::billing::value::Meter;
use crate::settings::general::projection::Founded;
use crate::settings::join_requests::event::{
    JoinRequestApproved, JoinRequestCreated, JoinRequestDeclined, JoinRequestsEvent,
};
use crate::settings::join_requests::projection::{Decision, JoinRequest};
use crate::settings::join_requests::withdrawing::WithdrawJoinRequest;
use crate::settings::people::event::PersonJoined;
use crate::settings::people::joining::{NoRoom, joins_with};
use crate::settings::roles::access::{ceiling, given};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::RoleRef;

/// The most requests of an organization that nobody has decided yet.
pub const PENDING_MAX: usize = 1_000;

/// A command to requests to join.
#[derive(Clone, Debug)]
pub enum JoinRequestsCommand {
    /// Somebody asks to join, or does at once: the second half of a membership to be. Repeating it appends nothing.
    Ask(AskToJoin),
    /// Lets somebody in.
    Approve(ApproveJoinRequest),
    /// Does not, and forgets them.
    Decline(DeclineJoinRequest),
    /// Takes a request back. Repeating it appends nothing.
    Withdraw(WithdrawJoinRequest),
}

/// Somebody asks to join.
#[derive(Clone, Debug)]
pub struct AskToJoin {
    /// The request to be.
    pub join_request: JoinRequestId,
    /// Who they will be.
    pub person: PersonJoined,
    /// The domain of their verified address.
    pub domain: String,
    /// Whether some member's verified address is in that domain.
    pub is_vouched: bool,
    /// The id of their role assignment, should they be let in at once.
    pub assignment: RoleAssignmentId,
}

/// Lets somebody in.
#[derive(Clone, Debug)]
pub struct ApproveJoinRequest {
    /// The request.
    pub join_request: JoinRequestId,
    /// With which role; without, the one that the organization's settings name.
    pub role: Option<RoleRef>,
    /// The id of their role assignment.
    pub assignment: RoleAssignmentId,
}

/// Does not let somebody in.
#[derive(Clone, Copy, Debug)]
pub struct DeclineJoinRequest {
    /// The request.
    pub join_request: JoinRequestId,
}

/// Why a command to requests to join appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRequestsRejection {
    /// There is no such request.
    #[error("there is no such request to join")]
    NotFound,
    /// The organization is open to nobody with such an address, or is not there.
    #[error("the organization cannot be joined with this address")]
    NotJoinable,
    /// The request was decided otherwise.
    #[error("the request to join is decided")]
    Decided,
    /// Too many requests wait to be decided.
    #[error("an organization has at most {PENDING_MAX} requests to join that wait")]
    TooMany,
    /// There is no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// Too many roles are given.
    #[error(transparent)]
    TooManyRoles(#[from] NoRoom),
}

impl JoinRequestsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Ask(_) | Self::Withdraw(_) => Need::Own,
            Self::Approve(_) | Self::Decline(_) => Need::Organization(Permission::PersonInvite),
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`JoinRequestsRejection`], a failed precondition, or a permission of the role that the actor lacks.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Ask(command) => command.decide(state, context),
            Self::Approve(command) => command.decide(state, context),
            Self::Decline(command) => command.decide(state, context),
            Self::Withdraw(command) => command.decide(state, context),
        }
    }
}

/// An event about a request, which concerns the person, too.
fn about(request: JoinRequestId, person: impl std::fmt::Display, event: JoinRequestsEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::JoinRequest, request), event).relating(person)
}

/// A request ends, and whoever made it is forgotten.
pub fn declined(request: &JoinRequest) -> NewEvent {
    let declined = JoinRequestDeclined { join_request: request.id, destroyed_keys: vec![request.key] };
    about(request.id, request.person, JoinRequestsEvent::JoinRequestDeclined(declined))
}

fn find(state: &Organization, id: JoinRequestId) -> Result<&JoinRequest, JoinRequestsRejection> {
    state.join_requests.get(id).ok_or(JoinRequestsRejection::NotFound)
}

/// Whether whoever may ask to join is let in at once: that is wanted, DNS proves the domain, and there is room. Where there
/// is none, they wait for it as others do.
pub fn lets_in_at_once(state: &Organization, now: Timestamp) -> bool {
    let is_wanted = state.general.founded().is_some_and(Founded::lets_in_at_once);
    is_wanted && !is_full(state, Meter::People, now)
}

impl AskToJoin {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let PersonJoined { person, key, name, email } = &self.person;
        if context.actor.id != ActorId::Person(*person) {
            return Err(JoinRequestsRejection::NotJoinable.into());
        }
        if state.people.ever(*person).is_some() || state.join_requests.get(self.join_request).is_some() {
            return Ok(Vec::new());
        }
        let founded = state.general.founded().ok_or(JoinRequestsRejection::NotJoinable)?;
        let domain = founded.email_domain.as_ref().filter(|domain| domain.domain == self.domain);
        let domain = domain.ok_or(JoinRequestsRejection::NotJoinable)?;
        if lets_in_at_once(state, context.now) {
            let (joins, assigned) = joins_with(state, &self.person, founded.join_role, self.assignment)
                .map_err(JoinRequestsRejection::from)?;
            return Ok(vec![joins.using(*key), assigned]);
        }
        if !domain.is_verified() && !self.is_vouched {
            return Err(JoinRequestsRejection::NotJoinable.into());
        }
        if state.join_requests.pending_count() >= PENDING_MAX {
            return Err(JoinRequestsRejection::TooMany.into());
        }
        let created = JoinRequestCreated {
            join_request: self.join_request,
            person: *person,
            key: *key,
            name: name.clone(),
            email: email.clone(),
            domain: self.domain.clone(),
        };
        let created = JoinRequestsEvent::JoinRequestCreated(created);
        Ok(vec![about(self.join_request, person, created).using(*key)])
    }
}

impl ApproveJoinRequest {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let request = find(state, self.join_request)?;
        let founded = state.general.founded().ok_or(JoinRequestsRejection::NotFound)?;
        let role = self.role.unwrap_or(founded.join_role);
        let permissions = state.roles.permissions(role).ok_or(JoinRequestsRejection::UnknownRole)?;
        ceiling(state, context.actor.id, &[given(permissions, None)]).map_err(Rejection::Forbidden)?;
        context.check_version(request.version)?;
        if request.decision != Decision::Pending {
            return Err(JoinRequestsRejection::Decided.into());
        }
        let joined = PersonJoined {
            person: request.person,
            key: request.key,
            name: request.name.clone(),
            email: request.email.clone(),
        };
        let (joins, assigned) =
            joins_with(state, &joined, role, self.assignment).map_err(JoinRequestsRejection::from)?;
        let approved = JoinRequestApproved { join_request: self.join_request, role };
        let approved = JoinRequestsEvent::JoinRequestApproved(approved);
        // The actor is who lets them in; the events say what was asked.
        let given = [joins, assigned].map(|event| event.relating(self.join_request));
        let approved = about(self.join_request, request.person, approved);
        Ok(std::iter::once(approved).chain(given).collect())
    }
}

impl DeclineJoinRequest {
    fn decide(self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let request = find(state, self.join_request)?;
        context.check_version(request.version)?;
        match request.decision {
            Decision::Declined => Ok(Vec::new()),
            Decision::Approved(_) => Err(JoinRequestsRejection::Decided.into()),
            Decision::Pending => Ok(vec![declined(request)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        asks_to_join, by, by_having_seen, events, founded, hard, id, joined, member, not_let_in,
        organization, person, plan, soft,
    };
    use crate::settings::billing::event::BillingEvent;
    use crate::settings::general::event::{DomainVerified, GeneralEvent, OrganizationUpdated};
    use crate::settings::roles::role::SystemRole;

    fn updated(updated: OrganizationUpdated) -> Event {
        Event::General(GeneralEvent::OrganizationUpdated(updated))
    }

    /// Acme with its domain, which is not verified.
    fn with_domain() -> Vec<Event> {
        let domain = OrganizationUpdated {
            email_domain: Some("example.com".to_owned()),
            email_domain_challenge: Some("challenge".to_owned()),
            ..OrganizationUpdated::default()
        };
        founded().into_iter().chain([updated(domain)]).collect()
    }

    fn verified() -> Event {
        let domain = "example.com".to_owned();
        Event::General(GeneralEvent::DomainVerified(DomainVerified { domain }))
    }

    fn at_once(role: SystemRole) -> Event {
        updated(OrganizationUpdated {
            auto_approve_domain_users: Some(true),
            join_role: Some(RoleRef::System(role)),
            ..OrganizationUpdated::default()
        })
    }

    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(with_domain().into_iter().chain(more))
    }

    fn ask(number: u128) -> AskToJoin {
        AskToJoin {
            join_request: id(number),
            person: joined(number),
            domain: "example.com".to_owned(),
            is_vouched: true,
            assignment: id(number),
        }
    }

    fn approved(number: u128, role: SystemRole) -> Vec<Event> {
        let approved = JoinRequestApproved { join_request: id(number), role: RoleRef::System(role) };
        let approved = Event::JoinRequests(JoinRequestsEvent::JoinRequestApproved(approved));
        std::iter::once(approved).chain(member(number, Some(role))).collect()
    }

    fn decide_ask(command: &AskToJoin, state: &Organization) -> Result<Vec<Event>, Rejection> {
        let actor = person(command.person.person);
        events(JoinRequestsCommand::Ask(command.clone()).decide(state, &by(actor)))
    }

    fn approve(number: u128, role: Option<SystemRole>) -> JoinRequestsCommand {
        let role = role.map(RoleRef::System);
        let command = ApproveJoinRequest { join_request: id(number), role, assignment: id(number) };
        JoinRequestsCommand::Approve(command)
    }

    fn decline(number: u128) -> JoinRequestsCommand {
        JoinRequestsCommand::Decline(DeclineJoinRequest { join_request: id(number) })
    }

    #[test]
    fn who_is_vouched_for_asks_once() {
        let decided = ask(7).decide(&acme([]), &by(person(id(7)))).unwrap();
        assert_eq!(decided[0].uses, [id(7)]);
        assert_eq!(events(Ok::<_, ()>(decided)), Ok(vec![asks_to_join(7)]));
        for since in [vec![asks_to_join(7)], vec![asks_to_join(7), not_let_in(7)]] {
            assert_eq!(decide_ask(&ask(7), &acme(since)), Ok(Vec::new()));
        }
    }

    #[test]
    fn nobody_asks_for_somebody_else() {
        let decided = JoinRequestsCommand::Ask(ask(7)).decide(&acme([]), &by(person(id(1))));
        assert_eq!(decided, Err(JoinRequestsRejection::NotJoinable.into()));
    }

    #[test]
    fn a_domain_lets_ask_once_a_member_or_dns_proves_it() {
        let alone = AskToJoin { is_vouched: false, ..ask(7) };
        let refused = Err(JoinRequestsRejection::NotJoinable.into());
        assert_eq!(decide_ask(&alone, &acme([])), refused);
        assert_eq!(decide_ask(&alone, &acme([verified()])), Ok(vec![asks_to_join(7)]));
        let elsewhere = AskToJoin { domain: "mail.example.com".to_owned(), ..ask(7) };
        assert_eq!(decide_ask(&elsewhere, &acme([verified()])), refused);
        assert_eq!(decide_ask(&ask(7), &organization(founded())), refused);
        assert_eq!(decide_ask(&ask(7), &organization([])), refused);
    }

    #[test]
    fn who_is_to_be_let_in_at_once_is_if_dns_proves_the_domain() {
        let toggle = at_once(SystemRole::Developer);
        assert_eq!(decide_ask(&ask(7), &acme([toggle.clone()])), Ok(vec![asks_to_join(7)]));
        let given = [verified(), toggle];
        let let_in = decide_ask(&ask(7), &acme(given.clone()));
        assert_eq!(let_in, Ok(member(7, Some(SystemRole::Developer))));
        let state = acme(given.into_iter().chain(member(7, Some(SystemRole::Developer))));
        assert_eq!(decide_ask(&ask(7), &state), Ok(Vec::new()));
    }

    #[test]
    fn who_would_be_let_in_at_once_waits_where_there_is_no_room() {
        let limited = |limit| {
            let plan = Event::Billing(BillingEvent::PlanChanged(plan("team", &[(Meter::People, limit)])));
            acme([verified(), at_once(SystemRole::Viewer), plan])
        };
        assert_eq!(decide_ask(&ask(7), &limited(hard(1))), Ok(vec![asks_to_join(7)]));
        for room in [hard(2), soft(1)] {
            assert_eq!(decide_ask(&ask(7), &limited(room)), Ok(member(7, Some(SystemRole::Viewer))));
        }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let waiting = |count: usize| acme((10..).take(count).map(asks_to_join));
        assert!(decide_ask(&ask(7), &waiting(PENDING_MAX - 1)).is_ok());
        let refused = decide_ask(&ask(7), &waiting(PENDING_MAX));
        assert_eq!(refused, Err(JoinRequestsRejection::TooMany.into()));
    }

    #[test]
    fn who_asked_is_let_in_with_the_role_of_the_settings_or_another() {
        let decided = approve(7, None).decide(&acme([asks_to_join(7)]), &by(person(id(1))));
        assert_eq!(events(decided), Ok(approved(7, SystemRole::Viewer)));
        let decided =
            approve(7, Some(SystemRole::Admin)).decide(&acme([asks_to_join(7)]), &by(person(id(1))));
        assert_eq!(events(decided), Ok(approved(7, SystemRole::Admin)));
    }

    #[test]
    fn nobody_lets_in_above_themselves() {
        let state = acme(member(2, Some(SystemRole::Admin)).into_iter().chain([asks_to_join(7)]));
        let decide = |role| approve(7, role).decide(&state, &by(person(id(2))));
        let above = Err(Rejection::Forbidden(Permission::OrganizationOwn));
        assert_eq!(decide(Some(SystemRole::Owner)), above);
        assert!(decide(Some(SystemRole::Admin)).is_ok());
        let given = member(2, Some(SystemRole::Admin)).into_iter();
        let state = acme(given.chain([asks_to_join(7), at_once(SystemRole::Owner)]));
        assert_eq!(approve(7, None).decide(&state, &by(person(id(2)))), above);
    }

    #[test]
    fn who_is_not_let_in_is_forgotten() {
        let decided = decline(7).decide(&acme([asks_to_join(7)]), &by(person(id(1))));
        assert_eq!(events(decided), Ok(vec![not_let_in(7)]));
        let state = acme([asks_to_join(7), not_let_in(7)]);
        assert_eq!(state.join_requests.pending_count(), 0);
        assert!(state.join_requests.pending_of(id(7)).is_none());
    }

    #[test]
    fn a_request_is_decided_once() {
        let by_owner = by(person(id(1)));
        let closed = Err(JoinRequestsRejection::Decided.into());
        let let_in = acme(std::iter::once(asks_to_join(7)).chain(approved(7, SystemRole::Viewer)));
        assert_eq!(approve(7, None).decide(&let_in, &by_owner), closed);
        assert_eq!(decline(7).decide(&let_in, &by_owner), closed);
        let forgotten = acme([asks_to_join(7), not_let_in(7)]);
        assert_eq!(approve(7, None).decide(&forgotten, &by_owner), closed);
        assert_eq!(decline(7).decide(&forgotten, &by_owner), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_there_is_not_decided() {
        let unknown = Err(JoinRequestsRejection::NotFound.into());
        assert_eq!(approve(9, None).decide(&acme([]), &by(person(id(1)))), unknown);
        assert_eq!(decline(9).decide(&acme([]), &by(person(id(1)))), unknown);
        let role = Some(RoleRef::Custom(id(9)));
        let command = ApproveJoinRequest { join_request: id(7), role, assignment: id(7) };
        let decided = command.decide(&acme([asks_to_join(7)]), &by(person(id(1))));
        assert_eq!(decided, Err(JoinRequestsRejection::UnknownRole.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([asks_to_join(7)]);
        for command in [approve(7, None), decline(7)] {
            assert!(command.decide(&state, &by_having_seen(person(id(1)), 5)).is_ok());
            let decided = command.decide(&state, &by_having_seen(person(id(1)), 4));
            assert_eq!(decided, Err(PreconditionFailed.into()));
        }
    }

    #[test]
    fn turning_the_toggle_on_leaves_those_who_wait() {
        let state = acme([asks_to_join(7), verified(), at_once(SystemRole::Viewer)]);
        assert_eq!(state.join_requests.pending_count(), 1);
        assert!(state.people.get(id(7)).is_none());
    }
}
