//! Inviting, sending again and taking back, under the ceiling. What becomes of an invitation is in `acceptance.rs` beside
//! this.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::ids::{InvitationId, TeamId};
use crate::organization::Organization;
use crate::settings::invitations::acceptance::{AcceptInvitation, DeclineInvitation};
use crate::settings::invitations::event::{
    InvitationCreated, InvitationForgotten, InvitationResent, InvitationsEvent,
};
use crate::settings::invitations::projection::{Invitation, MAILS_PER_DAY_MAX};
use crate::settings::roles::access::{Held, ceiling, given, held_by};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{Grantee, RoleRef};

/// The most invitations of an organization that nobody has decided, those that have ended and are kept included: whoever
/// invites holds the new address against each of theirs.
pub const INVITATIONS_MAX: usize = 2_000;
/// The most teams that somebody is invited into at once.
pub const TEAMS_AT_ONCE_MAX: usize = 50;

/// A command to invitations.
#[derive(Clone, Debug)]
pub enum InvitationsCommand {
    /// Invites somebody.
    Create(CreateInvitation),
    /// Sends an invitation again, with another link.
    Resend(InvitationResent),
    /// Takes one back.
    Revoke(InvitationId),
    /// Accepts one: the second half of a membership to be. Repeating it appends nothing.
    Accept(AcceptInvitation),
    /// Declines one.
    Decline(DeclineInvitation),
    /// Forgets one whose time has come. Repeating it appends nothing.
    Expire(InvitationId),
}

/// Invites somebody.
#[derive(Clone, Debug)]
pub struct CreateInvitation {
    /// Whom, where to, and what they would get.
    pub invitation: InvitationCreated,
    /// The newest invitation among those that were held against the address.
    pub newest: Version,
}

/// Why a command to invitations appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationsRejection {
    /// There is no such invitation.
    #[error("there is no such invitation")]
    NotFound,
    /// There is no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// There is no such team.
    #[error("there is no such team")]
    UnknownTeam,
    /// More invitations than an organization can have.
    #[error("an organization has at most {INVITATIONS_MAX} invitations that nobody has decided")]
    TooMany,
    /// As many were mailed as may be within a day.
    #[error("an organization mails at most {MAILS_PER_DAY_MAX} invitations a day")]
    MailedTooOften {
        /// When the next one may be.
        retry_after_seconds: u64,
    },
    /// The link is not the one that was mailed last, or the invitation has ended.
    #[error("the link is no invitation's, or was used, or has ended")]
    InvalidLink,
    /// What it would give is not there any more, or not its inviter's to give.
    #[error("the invitation gives what its inviter cannot give any more")]
    Void,
    /// Teams have as many members, or as many roles are given, as can be.
    #[error("the organization has no room for another member of its teams")]
    NoRoom,
    /// Whoever accepts was let in meanwhile, as the person whom they asked to be.
    #[error("whoever accepts belongs to the organization already")]
    AlreadyMember,
}

impl InvitationsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(_) | Self::Resend(_) | Self::Revoke(_) => {
                Need::Organization(Permission::PersonInvite)
            }
            Self::Accept(_) | Self::Decline(_) => Need::Own,
            Self::Expire(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`InvitationsRejection`], a failed precondition, a permission that the invited would get and the actor lacks, or
    /// [`Rejection::Stale`] where somebody was invited since the address was held against those who are.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Create(command) => command.decide(state, context),
            Self::Resend(resent) => resend(resent, state, context),
            Self::Revoke(invitation) => revoke(*invitation, state, context),
            Self::Accept(command) => command.decide(state, context),
            Self::Decline(command) => command.decide(state, context),
            Self::Expire(invitation) => Ok(expire(*invitation, state, context)),
        }
    }
}

/// An event about an invitation, which concerns the person to be, too.
pub(super) fn about(invitation: &Invitation, event: InvitationsEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Invitation, invitation.id), event).relating(invitation.person)
}

/// An invitation by id.
pub(super) fn find(state: &Organization, id: InvitationId) -> Result<&Invitation, InvitationsRejection> {
    state.invitations.get(id).ok_or(InvitationsRejection::NotFound)
}

/// That an invitation is over, and its key destroyed.
pub(super) fn forgotten(invitation: &Invitation) -> InvitationForgotten {
    InvitationForgotten { invitation: invitation.id, destroyed_keys: vec![invitation.key] }
}

/// That an invitation has ended by itself.
pub fn expired(invitation: &Invitation) -> NewEvent {
    about(invitation, InvitationsEvent::InvitationExpired(forgotten(invitation)))
}

/// What a role and teams give; a team that is gone gives nothing. `None` where there is no such role.
pub(super) fn gives(state: &Organization, role: RoleRef, teams: &[TeamId]) -> Option<Vec<Held>> {
    let permissions = state.roles.permissions(role)?;
    let by_teams = teams.iter().flat_map(|team| held_by(state, Grantee::Team(*team)));
    Some(std::iter::once(given(permissions, None)).chain(by_teams).collect())
}

impl CreateInvitation {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let InvitationCreated { invitation, person, key, role, teams, .. } = &self.invitation;
        let gives = gives(state, *role, teams).ok_or(InvitationsRejection::UnknownRole)?;
        ceiling(state, context.actor.id, &gives).map_err(Rejection::Forbidden)?;
        if teams.iter().any(|team| state.teams.get(*team).is_none()) {
            return Err(InvitationsRejection::UnknownTeam.into());
        }
        if state.invitations.newest() != self.newest {
            return Err(Rejection::Stale);
        }
        if state.invitations.len() >= INVITATIONS_MAX {
            return Err(InvitationsRejection::TooMany.into());
        }
        check_mails(state, context)?;
        let created = InvitationsEvent::InvitationCreated(self.invitation.clone());
        let event = NewEvent::new(Resource::new(ResourceType::Invitation, invitation), created);
        Ok(vec![event.relating(person).using(*key)])
    }
}

/// Whoever sends it again vouches for it from then on.
fn resend(
    resent: &InvitationResent,
    state: &Organization,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let invitation = find(state, resent.invitation)?;
    let gives = gives(state, invitation.role, &invitation.teams).ok_or(InvitationsRejection::Void)?;
    ceiling(state, context.actor.id, &gives).map_err(Rejection::Forbidden)?;
    context.check_version(invitation.version)?;
    check_mails(state, context)?;
    Ok(vec![about(invitation, InvitationsEvent::InvitationResent(resent.clone()))])
}

/// Whoever takes an invitation back and invites somebody else mails all the same.
fn check_mails(state: &Organization, context: &Context) -> Result<(), InvitationsRejection> {
    match state.invitations.wait_seconds(context.now) {
        Some(retry_after_seconds) => Err(InvitationsRejection::MailedTooOften { retry_after_seconds }),
        None => Ok(()),
    }
}

fn revoke(id: InvitationId, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let invitation = find(state, id)?;
    context.check_version(invitation.version)?;
    Ok(vec![about(invitation, InvitationsEvent::InvitationRevoked(forgotten(invitation)))])
}

fn expire(id: InvitationId, state: &Organization, context: &Context) -> Vec<NewEvent> {
    let due = state.invitations.get(id).filter(|invitation| invitation.forgotten_at() <= context.now);
    let expired = due.map(expired);
    expired.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::clock::DAY_SECONDS;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        INVITATION_SECONDS, by, by_having_seen, custom, events, founded, granted, id, invitation, member,
        now, organization, person, team,
    };
    use crate::platform::accounts::event::MailedLink;
    use crate::seal::Commitment;
    use crate::settings::invitations::projection::KEPT_SECONDS;
    use crate::settings::roles::role::SystemRole;

    fn link(number: u8) -> MailedLink {
        MailedLink { token: Commitment([number; 32]), ends_at: now().plus_seconds(INVITATION_SECONDS) }
    }

    fn create(invitation: InvitationCreated, newest: Version) -> InvitationsCommand {
        InvitationsCommand::Create(CreateInvitation { invitation, newest })
    }

    fn created(number: u128, role: SystemRole) -> Event {
        Event::Invitations(InvitationsEvent::InvitationCreated(invitation(number, role, &[])))
    }

    fn resent() -> InvitationResent {
        InvitationResent { invitation: id(1), link: link(9) }
    }

    fn over(event: fn(InvitationForgotten) -> InvitationsEvent) -> Event {
        let forgotten = InvitationForgotten { invitation: id(1), destroyed_keys: vec![id(51)] };
        Event::Invitations(event(forgotten))
    }

    /// Acme, its Owner 1, Admin 2, and a team 1 that owns.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let owns = granted(9, Grantee::Team(id(1)), RoleRef::System(SystemRole::Owner), None);
        let people = member(2, Some(SystemRole::Admin));
        organization(founded().into_iter().chain(people).chain(team(1, &[])).chain([owns]).chain(more))
    }

    fn by_admin(command: &InvitationsCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(2)))))
    }

    #[test]
    fn somebody_is_invited_with_a_role_and_into_teams() {
        let state = acme(team(2, &[]));
        let invited = invitation(1, SystemRole::Developer, &[2]);
        let decided = create(invited.clone(), 0).decide(&state, &by(person(id(2)))).unwrap();
        assert_eq!(decided[0].uses, [id(51)]);
        let event = Event::Invitations(InvitationsEvent::InvitationCreated(invited));
        assert_eq!(decided[0].event, event);
        let invited = acme([event]).invitations;
        assert_eq!(
            (invited.len(), invited.by_token(Commitment([1; 32])).map(|held| held.id)),
            (1, Some(id(1)))
        );
    }

    #[test]
    fn nobody_invites_above_their_rights_by_role_or_by_team() {
        let above = Err(Rejection::Forbidden(Permission::OrganizationOwn));
        for invited in [invitation(1, SystemRole::Owner, &[]), invitation(1, SystemRole::Viewer, &[1])] {
            assert_eq!(by_admin(&create(invited.clone(), 0), &acme([])), above);
            assert!(create(invited, 0).decide(&acme([]), &by(person(id(1)))).is_ok());
        }
    }

    #[test]
    fn what_is_to_be_given_is_there() {
        let role = RoleRef::Custom(id(7));
        let unknown = InvitationCreated { role, ..invitation(1, SystemRole::Viewer, &[]) };
        let refused = by_admin(&create(unknown, 0), &acme([]));
        assert_eq!(refused, Err(InvitationsRejection::UnknownRole.into()));
        let refused = by_admin(&create(invitation(1, SystemRole::Viewer, &[3]), 0), &acme([]));
        assert_eq!(refused, Err(InvitationsRejection::UnknownTeam.into()));
    }

    #[test]
    fn who_was_invited_meanwhile_may_be_the_same() {
        let state = acme([created(1, SystemRole::Viewer)]);
        let another = invitation(2, SystemRole::Viewer, &[]);
        assert_eq!(by_admin(&create(another.clone(), 0), &state), Err(Rejection::Stale));
        assert!(by_admin(&create(another, state.invitations.newest()), &state).is_ok());
    }

    #[test]
    fn so_many_are_invited_and_no_more() {
        let many = (0..INVITATIONS_MAX as u128).map(|number| created(1_000 + number, SystemRole::Viewer));
        let state = acme(many);
        let command = create(invitation(1, SystemRole::Viewer, &[]), state.invitations.newest());
        assert_eq!(by_admin(&command, &state), Err(InvitationsRejection::TooMany.into()));
    }

    #[test]
    fn so_many_are_mailed_a_day_and_no_more_whoever_is_left() {
        let one = [created(1, SystemRole::Viewer), over(InvitationsEvent::InvitationRevoked)];
        let mails = |count: u32| (0..count).flat_map(|_| one.clone());
        let invite = |state: &Organization, seconds: i64| {
            let command = create(invitation(2, SystemRole::Viewer, &[]), state.invitations.newest());
            let context = Context { now: now().plus_seconds(seconds), ..by(person(id(2))) };
            events(command.decide(state, &context))
        };
        assert!(invite(&acme(mails(MAILS_PER_DAY_MAX - 1)), 0).is_ok());
        let state = acme(mails(MAILS_PER_DAY_MAX));
        assert_eq!(state.invitations.len(), 0);
        let refused =
            |retry_after_seconds| Err(InvitationsRejection::MailedTooOften { retry_after_seconds }.into());
        assert_eq!(invite(&state, 0), refused(DAY_SECONDS.unsigned_abs()));
        assert_eq!(invite(&state, DAY_SECONDS - 1), refused(1));
        assert!(invite(&state, DAY_SECONDS).is_ok(), "another day");
        let again = Event::Invitations(InvitationsEvent::InvitationResent(resent()));
        let sent_again = (1..MAILS_PER_DAY_MAX).map(|_| again.clone());
        let state = acme(std::iter::once(created(1, SystemRole::Viewer)).chain(sent_again));
        let resend = InvitationsCommand::Resend(resent());
        assert_eq!(by_admin(&resend, &state), refused(DAY_SECONDS.unsigned_abs()));
    }

    #[test]
    fn an_invitation_is_sent_again_by_whoever_could_send_it() {
        let resend = InvitationsCommand::Resend(resent());
        let event = Event::Invitations(InvitationsEvent::InvitationResent(resent()));
        let state = acme([created(1, SystemRole::Developer)]);
        assert_eq!(by_admin(&resend, &state), Ok(vec![event.clone()]));
        let state = acme([created(1, SystemRole::Owner)]);
        assert_eq!(by_admin(&resend, &state), Err(Rejection::Forbidden(Permission::OrganizationOwn)));
        assert_eq!(by_admin(&resend, &acme([])), Err(InvitationsRejection::NotFound.into()));
        let role = RoleRef::Custom(id(7));
        let gone = InvitationCreated { role, ..invitation(1, SystemRole::Viewer, &[]) };
        let gone = Event::Invitations(InvitationsEvent::InvitationCreated(gone));
        assert_eq!(by_admin(&resend, &acme([gone.clone()])), Err(InvitationsRejection::Void.into()));
        assert!(by_admin(&resend, &acme([gone, custom(7, &[])])).is_ok());
        let after = acme([created(1, SystemRole::Viewer), event]).invitations;
        assert!(
            after.by_token(Commitment([1; 32])).is_none() && after.by_token(Commitment([9; 32])).is_some()
        );
    }

    #[test]
    fn an_invitation_is_taken_back_once_with_its_key() {
        let revoke = InvitationsCommand::Revoke(id(1));
        let state = acme([created(1, SystemRole::Owner)]);
        let revoked = over(InvitationsEvent::InvitationRevoked);
        assert_eq!(by_admin(&revoke, &state), Ok(vec![revoked.clone()]));
        let stale = revoke.decide(&state, &by_having_seen(person(id(2)), 1));
        assert_eq!(stale, Err(PreconditionFailed.into()));
        let state = acme([created(1, SystemRole::Owner), revoked]);
        assert_eq!(by_admin(&revoke, &state), Err(InvitationsRejection::NotFound.into()));
    }

    #[test]
    fn an_invitation_is_forgotten_when_its_time_has_come() {
        let decide = |seconds: i64| {
            let context = Context { now: now().plus_seconds(seconds), ..by(Actor::SYSTEM) };
            events(
                InvitationsCommand::Expire(id(1)).decide(&acme([created(1, SystemRole::Viewer)]), &context),
            )
        };
        assert_eq!(decide(INVITATION_SECONDS + KEPT_SECONDS - 1), Ok(vec![]));
        assert_eq!(
            decide(INVITATION_SECONDS + KEPT_SECONDS),
            Ok(vec![over(InvitationsEvent::InvitationExpired)])
        );
        let gone = InvitationsCommand::Expire(id(1)).decide(&acme([]), &by(Actor::SYSTEM));
        assert_eq!(gone, Ok(Vec::new()));
    }
}
