//! How the mix has people come: by invitation, or by the domain of their address. Whoever is invited answers soon, and whoever
//! asks is answered soon, so that only one of each is open.

use std::sync::Arc;

use anyhow::Result;
use settled::actor::{Actor, ActorId};
use settled::clock::{DAY_SECONDS, Timestamp};
use settled::event::Version;
use settled::ids::{Fresh, InvitationId, JoinRequestId, RoleAssignmentId, UserId};
use settled::platform::accounts::event::MailedLink;
use settled::seal::keyring::NewDataKey;
use settled::seal::token::PlainToken;
use settled::seal::{DataKey, Plain};
use settled::settings::general::command::{GeneralCommand, UpdateOrganization};
use settled::settings::general::value::EmailDomain;
use settled::settings::invitations::acceptance::{AcceptInvitation, DeclineInvitation};
use settled::settings::invitations::command::{CreateInvitation, InvitationsCommand};
use settled::settings::invitations::event::{InvitationCreated, InvitationResent};
use settled::settings::join_requests::command::{
    ApproveJoinRequest, AskToJoin, DeclineJoinRequest, JoinRequestsCommand,
};
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonJoined;
use settled::settings::people::{email_field, name_field};
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::store::{Store, Submission};

use super::{Assignment, Company, Person};
use crate::mix::{Kind, words};

/// Everybody's domain.
const DOMAIN: &str = "example.com";
/// How long an invitation is good.
const GOOD_SECONDS: i64 = 7 * DAY_SECONDS;

/// Somebody who is invited.
pub(super) struct Invited {
    invitation: InvitationId,
    joined: PersonJoined,
    key: Arc<DataKey>,
    link: MailedLink,
    role: RoleRef,
}

/// Somebody who waits to be let in.
pub(super) struct Asking {
    request: JoinRequestId,
    person: UserId,
    key: Arc<DataKey>,
}

impl Invited {
    /// Whether it can be accepted no more.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.link.ends_at <= now
    }
}

impl Company {
    /// Whether the newest invitation is in the newest view: the next one is held against it.
    pub(super) fn can_invite(&self) -> bool {
        self.invited_after.is_none_or(|before| self.newest_invitation() > before)
    }

    fn newest_invitation(&self) -> Version {
        self.handle.view().organization().invitations.newest()
    }

    fn newcomer(&mut self, store: &Store) -> Result<(PersonJoined, NewDataKey)> {
        let stream = self.handle.stream();
        let person: UserId = Fresh.id();
        let id = person.to_string();
        let new = store.ring().mint(stream)?;
        let name = words::person(&mut self.dice);
        let email = format!("{}@{DOMAIN}", name.to_lowercase().replace(' ', "."));
        let joined = PersonJoined {
            person,
            key: new.id(),
            name: new.key().seal(&name_field(stream, &id), &Plain::from(name)),
            email: new.key().seal(&email_field(stream, &id), &Plain::from(email)),
        };
        Ok((joined, new))
    }

    fn settle(&mut self, id: UserId, key: Arc<DataKey>) {
        self.people.push(Person { id, key, sessions: Vec::new() });
    }

    /// The same with the role that they came with.
    fn settle_as(&mut self, id: UserId, key: Arc<DataKey>, role: RoleRef, assignment: RoleAssignmentId) {
        self.settle(id, key);
        let person = self.people.len() - 1;
        self.assignments.push(Assignment { id: assignment, person, role, environment: None });
    }

    pub(super) fn join(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let (joined, new) = self.newcomer(store)?;
        self.settle(joined.person, Arc::clone(new.key()));
        let mut submission = self.submit(PeopleCommand::Join(joined), actor);
        submission.keys = vec![new];
        Ok(submission)
    }

    pub(super) fn invite(&mut self, actor: Actor, store: &Store, now: Timestamp) -> Result<Submission> {
        let (joined, new) = self.newcomer(store)?;
        let role = [SystemRole::Developer, SystemRole::Viewer][self.dice.below(2)];
        let (invitation, role, link) = (Fresh.id(), RoleRef::System(role), link(now));
        let newest = self.newest_invitation();
        self.invited_after = Some(newest);
        let created = InvitationCreated {
            invitation,
            person: joined.person,
            key: joined.key,
            email: joined.email.clone(),
            role,
            teams: Vec::new(),
            link,
        };
        self.invited = Some(Invited { invitation, joined, key: Arc::clone(new.key()), link, role });
        let answers: &[Kind] = match self.dice.below(10) {
            0 => &[Kind::RevokeInvitation],
            1 => &[Kind::DeclineInvitation],
            2 => &[Kind::ResendInvitation, Kind::AcceptInvitation],
            _ => &[Kind::AcceptInvitation],
        };
        self.ahead.extend(answers);
        let command = InvitationsCommand::Create(CreateInvitation { invitation: created, newest });
        let mut submission = self.submit_change(command, actor);
        submission.keys = vec![new];
        Ok(submission)
    }

    pub(super) fn resend(&mut self, actor: Actor, now: Timestamp) -> Option<Submission> {
        let invited = self.invited.as_mut()?;
        invited.link = link(now);
        let resent = InvitationResent { invitation: invited.invitation, link: invited.link };
        Some(self.submit_change(InvitationsCommand::Resend(resent), actor))
    }

    pub(super) fn revoke_invitation(&mut self, actor: Actor) -> Option<Submission> {
        let invited = self.invited.take()?;
        Some(self.submit_change(InvitationsCommand::Revoke(invited.invitation), actor))
    }

    pub(super) fn accept(&mut self) -> Option<Submission> {
        let Invited { invitation, joined, key, role, .. } = self.invited.take()?;
        let assignment: RoleAssignmentId = Fresh.id();
        self.settle_as(joined.person, key, role, assignment);
        let actor = of(joined.person);
        let command = AcceptInvitation { invitation, person: joined, assignment, others: Vec::new() };
        Some(self.submit(InvitationsCommand::Accept(command), actor))
    }

    pub(super) fn decline(&mut self) -> Option<Submission> {
        let Invited { invitation, joined, link, .. } = self.invited.take()?;
        let command = DeclineInvitation { invitation, token: link.token };
        Some(self.submit(InvitationsCommand::Decline(command), of(joined.person)))
    }

    pub(super) fn set_domain(&mut self, actor: Actor) -> Result<Submission> {
        self.has_domain = true;
        let challenge = format!("settled-verification={:016x}", self.dice.number());
        let update = UpdateOrganization {
            email_domain: Some(Some((EmailDomain::try_from(DOMAIN)?, challenge))),
            ..UpdateOrganization::default()
        };
        Ok(self.submit_change(GeneralCommand::Update(update), actor))
    }

    pub(super) fn ask_to_join(&mut self, store: &Store) -> Result<Submission> {
        let (person, new) = self.newcomer(store)?;
        let (join_request, actor) = (Fresh.id(), of(person.person));
        let key = Arc::clone(new.key());
        self.asking = Some(Asking { request: join_request, person: person.person, key });
        let answer = if self.dice.happens(800) { Kind::ApproveRequest } else { Kind::DeclineRequest };
        self.ahead.push_back(answer);
        let domain = DOMAIN.to_owned();
        let ask = AskToJoin { join_request, person, domain, is_vouched: true, assignment: Fresh.id() };
        let mut submission = self.submit(JoinRequestsCommand::Ask(ask), actor);
        submission.keys = vec![new];
        Ok(submission)
    }

    pub(super) fn approve(&mut self, actor: Actor) -> Option<Submission> {
        let Asking { request, person, key } = self.asking.take()?;
        let (assignment, role) = (Fresh.id(), RoleRef::System(SystemRole::Viewer));
        self.settle_as(person, key, role, assignment);
        let approve = ApproveJoinRequest { join_request: request, role: Some(role), assignment };
        Some(self.submit_change(JoinRequestsCommand::Approve(approve), actor))
    }

    pub(super) fn decline_request(&mut self, actor: Actor) -> Option<Submission> {
        let asking = self.asking.take()?;
        let decline = DeclineJoinRequest { join_request: asking.request };
        Some(self.submit_change(JoinRequestsCommand::Decline(decline), actor))
    }
}

fn of(person: UserId) -> Actor {
    Actor { id: ActorId::Person(person), session: None }
}

fn link(now: Timestamp) -> MailedLink {
    MailedLink { token: PlainToken::draw().hash(), ends_at: now.plus_seconds(GOOD_SECONDS) }
}
