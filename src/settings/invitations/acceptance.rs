//! Accepting and declining: what becomes of an invitation. What it gives is held once more against the rights of whoever
//! vouches for it.

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent, Rejection};
use crate::ids::{InvitationId, RoleAssignmentId, UserId};
use crate::organization::Organization;
use crate::settings::invitations::command::{InvitationsRejection, about, find, forgotten, gives};
use crate::settings::invitations::event::{InvitationAccepted, InvitationsEvent};
use crate::settings::invitations::projection::Invitation;
use crate::settings::join_requests::withdrawing::withdraws;
use crate::settings::people::event::PersonJoined;
use crate::settings::people::joining::joins_with;
use crate::settings::roles::access::grants;
use crate::settings::roles::permission::Permission;
use crate::settings::sessions::event::TokenHash;
use crate::settings::teams::joining::joins_teams;

/// Accepts an invitation.
#[derive(Clone, Debug)]
pub struct AcceptInvitation {
    /// Which.
    pub invitation: InvitationId,
    /// Who they will be.
    pub person: PersonJoined,
    /// The id of their role assignment.
    pub assignment: RoleAssignmentId,
    /// Whom else their account was to be there: where it waits to be let in, it does so no more.
    pub others: Vec<UserId>,
}

/// Declines an invitation.
#[derive(Clone, Copy, Debug)]
pub struct DeclineInvitation {
    /// Which.
    pub invitation: InvitationId,
    /// The token of the link that was mailed.
    pub token: TokenHash,
}

/// Whether an invitation can be accepted.
///
/// # Errors
/// [`InvitationsRejection::InvalidLink`] when it has ended; [`InvitationsRejection::Void`] when what it gives is not there
/// any more, or whoever vouches for it may not invite any more, or lacks some of it.
pub fn check(
    invitation: &Invitation,
    state: &Organization,
    now: Timestamp,
) -> Result<(), InvitationsRejection> {
    if invitation.has_ended(now) {
        return Err(InvitationsRejection::InvalidLink);
    }
    let gives = gives(state, invitation.role, &invitation.teams).ok_or(InvitationsRejection::Void)?;
    let grants = grants(state, invitation.inviter.id);
    let vouched = grants.allows(Permission::PersonInvite) && grants.lacking(&gives).is_none();
    if vouched { Ok(()) } else { Err(InvitationsRejection::Void) }
}

impl AcceptInvitation {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let person = self.person.person;
        if context.actor.id != ActorId::Person(person) {
            return Err(InvitationsRejection::InvalidLink.into());
        }
        if state.people.ever(person).is_some() {
            return Ok(Vec::new());
        }
        let found = find(state, self.invitation).ok().filter(|invitation| invitation.person == person);
        let invitation = found.ok_or(InvitationsRejection::InvalidLink)?;
        check(invitation, state, context.now)?;
        if self.others.iter().any(|other| state.people.get(*other).is_some()) {
            return Err(InvitationsRejection::AlreadyMember.into());
        }
        let accepted = InvitationAccepted { invitation: invitation.id, person };
        let (joins, assigned) = joins_with(state, &self.person, invitation.role, self.assignment)
            .map_err(|_| InvitationsRejection::NoRoom)?;
        let joined = joins_teams(state, person, &invitation.teams);
        let joined = joined.map_err(|_| InvitationsRejection::NoRoom)?;
        // The actor is who accepts. What they get they have by the invitation, whose own events say from whom.
        let given = [joins, assigned].into_iter().chain(joined).map(|event| event.relating(invitation.id));
        let accepted = about(invitation, InvitationsEvent::InvitationAccepted(accepted));
        let withdrawn = self.others.iter().filter_map(|other| withdraws(state, *other));
        Ok(std::iter::once(accepted).chain(given).chain(withdrawn).collect())
    }
}

impl DeclineInvitation {
    pub(super) fn decide(self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let found = state.invitations.by_token(self.token).filter(|invitation| {
            invitation.id == self.invitation && context.actor.id == ActorId::Person(invitation.person)
        });
        let declined = found.filter(|invitation| !invitation.has_ended(context.now));
        let invitation = declined.ok_or(InvitationsRejection::InvalidLink)?;
        Ok(vec![about(invitation, InvitationsEvent::InvitationDeclined(forgotten(invitation)))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{
        asks_to_join, assigned, by, events, founded, granted, id, invitation, joined, member, not_let_in,
        now, organization, person, recorded, team,
    };
    use crate::ids::StreamId;
    use crate::seal::Commitment;
    use crate::settings::invitations::command::InvitationsCommand;
    use crate::settings::invitations::event::InvitationForgotten;
    use crate::settings::people::event::{PeopleEvent, PersonNamed, PersonRemoved};
    use crate::settings::roles::event::{RoleUnassigned, RolesEvent};
    use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
    use crate::settings::teams::event::{MemberAdded, TeamsEvent};

    fn accept() -> InvitationsCommand {
        accept_instead_of(Vec::new())
    }

    fn accept_instead_of(others: Vec<UserId>) -> InvitationsCommand {
        let (invitation, assignment) = (id(1), id(51));
        InvitationsCommand::Accept(AcceptInvitation { invitation, person: joined(51), assignment, others })
    }

    fn accepted(role: SystemRole) -> Vec<Event> {
        let accepted = InvitationAccepted { invitation: id(1), person: id(51) };
        let accepted = Event::Invitations(InvitationsEvent::InvitationAccepted(accepted));
        std::iter::once(accepted).chain(member(51, Some(role))).collect()
    }

    /// Acme, its Owner 1, its Admin 2.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(founded().into_iter().chain(member(2, Some(SystemRole::Admin))).chain(more))
    }

    fn decline() -> InvitationsCommand {
        let token = Commitment([1; 32]);
        InvitationsCommand::Decline(DeclineInvitation { invitation: id(1), token })
    }

    /// Acme, with an invitation that the Admin 2 sent, and what happened since.
    fn invited(role: SystemRole, teams: &[u128], since: impl IntoIterator<Item = Event>) -> Organization {
        let mut state = acme(team(2, &[]));
        let invitation = InvitationsEvent::InvitationCreated(invitation(1, role, teams));
        let sent = std::iter::once((person(id(2)), Event::Invitations(invitation)));
        let since = since.into_iter().map(|event| (person(id(1)), event));
        for (version, (actor, event)) in (100..).zip(sent.chain(since)) {
            state.apply(&recorded(StreamId::Organization(id(1)), version, now(), actor, event));
        }
        state
    }

    fn decide(
        command: &InvitationsCommand,
        state: &Organization,
        who: u128,
    ) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(who)))))
    }

    #[test]
    fn who_accepts_joins_with_the_role_and_into_the_teams_that_are_there() {
        let state = invited(SystemRole::Developer, &[2, 3], []);
        let in_team = Event::Teams(TeamsEvent::MemberAdded(MemberAdded { team: id(2), person: id(51) }));
        let expected: Vec<_> = accepted(SystemRole::Developer).into_iter().chain([in_team]).collect();
        assert_eq!(decide(&accept(), &state, 51), Ok(expected.clone()));
        let state = invited(SystemRole::Developer, &[2, 3], expected);
        assert_eq!(decide(&accept(), &state, 51), Ok(vec![]), "once");
        assert!(state.invitations.is_empty());
    }

    #[test]
    fn what_is_given_names_the_invitation() {
        let state = invited(SystemRole::Developer, &[2], []);
        let decided = accept().decide(&state, &by(person(id(51)))).unwrap();
        let named = id::<InvitationId>(1).to_string();
        assert_eq!(decided[0].resource.id, named);
        assert_eq!(decided[1..].iter().filter(|event| event.related.contains(&named)).count(), 3);
    }

    #[test]
    fn who_waits_to_be_let_in_and_accepts_waits_no_more() {
        let state = invited(SystemRole::Viewer, &[], [asks_to_join(7), asks_to_join(8), not_let_in(8)]);
        let decided = decide(&accept_instead_of(vec![id(7), id(8)]), &state, 51);
        let expected: Vec<_> = accepted(SystemRole::Viewer).into_iter().chain([not_let_in(7)]).collect();
        assert_eq!(decided, Ok(expected));
    }

    #[test]
    fn who_was_let_in_meanwhile_accepts_nothing() {
        let state = invited(SystemRole::Viewer, &[], member(7, Some(SystemRole::Viewer)));
        let decided = decide(&accept_instead_of(vec![id(7)]), &state, 51);
        assert_eq!(decided, Err(InvitationsRejection::AlreadyMember.into()));
    }

    #[test]
    fn only_whom_it_was_sent_to_accepts_and_declines_and_only_once() {
        let invalid = || Err(InvitationsRejection::InvalidLink.into());
        let state = invited(SystemRole::Viewer, &[], []);
        assert_eq!(decide(&accept(), &state, 1), invalid());
        assert_eq!(decide(&decline(), &state, 1), invalid());
        let forgotten = InvitationForgotten { invitation: id(1), destroyed_keys: vec![id(51)] };
        let declined = Event::Invitations(InvitationsEvent::InvitationDeclined(forgotten));
        assert_eq!(decide(&decline(), &state, 51), Ok(vec![declined.clone()]));
        let state = invited(SystemRole::Viewer, &[], [declined]);
        assert_eq!(decide(&decline(), &state, 51), invalid());
        assert_eq!(decide(&accept(), &state, 51), invalid());
    }

    #[test]
    fn after_its_end_it_is_neither_accepted_nor_declined() {
        let state = invited(SystemRole::Viewer, &[], []);
        let ends_at = state.invitations.get(id(1)).unwrap().link.ends_at;
        let context = Context { now: ends_at, ..by(person(id(51))) };
        for command in [accept(), decline()] {
            let refused = Err(InvitationsRejection::InvalidLink.into());
            assert_eq!(command.decide(&state, &context), refused, "{command:?}");
        }
    }

    #[test]
    fn it_is_void_once_its_inviter_could_not_send_it_any_more() {
        let void = |since: Vec<Event>, role| decide(&accept(), &invited(role, &[2], since), 51);
        let refused = || Err(InvitationsRejection::Void.into());
        let demoted = Event::Roles(RolesEvent::RoleUnassigned(RoleUnassigned { assignment: id(2) }));
        let removed = Event::People(PeopleEvent::PersonRemoved(PersonRemoved { person: id(2) }));
        let suspended = Event::People(PeopleEvent::PersonSuspended(PersonNamed { person: id(2) }));
        for since in [vec![demoted.clone()], vec![removed], vec![suspended]] {
            assert_eq!(void(since, SystemRole::Viewer), refused());
        }
        let owns = granted(8, Grantee::Team(id(2)), RoleRef::System(SystemRole::Owner), None);
        assert_eq!(void(vec![owns], SystemRole::Viewer), refused(), "the team gives more than it did");
        let promoted = vec![demoted, assigned(7, 2, SystemRole::Owner)];
        assert!(void(promoted, SystemRole::Viewer).is_ok());
        let sent = InvitationsEvent::InvitationCreated(invitation(1, SystemRole::Owner, &[]));
        let nobodys = acme([Event::Invitations(sent)]);
        assert!(decide(&accept(), &nobodys, 51).is_ok(), "the system sent it");
    }
}
