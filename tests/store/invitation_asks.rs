//! What random histories ask of invitations: making and resending them, taking them back, and what the invited do.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::{Actor, ActorId};
use settled::clock::HOUR_SECONDS;
use settled::command::{Command, OrganizationCommand};
use settled::ids::{Fresh, InvitationId, OrganizationId, TeamId};
use settled::platform::accounts::event::MailedLink;
use settled::seal::Commitment;
use settled::settings::invitations::acceptance::{AcceptInvitation, DeclineInvitation};
use settled::settings::invitations::command::{CreateInvitation, InvitationsCommand};
use settled::settings::invitations::event::{InvitationCreated, InvitationResent};
use settled::settings::people::event::PersonJoined;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::store::Submission;
use settled::store::resident::View;

use crate::test_store::TestStore;

/// What is asked for. Indices choose among the invitations that earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum InvitationAsk {
    /// The hours are those until it ends; one may have ended so long ago that it is forgotten soon.
    Invite {
        role: u8,
        team: Option<Index>,
        hours: i64,
    },
    About(Index, What),
}

#[derive(Clone, Copy, Debug)]
pub enum What {
    Resend,
    Revoke,
    Accept,
    Decline,
    /// With a link that was never mailed.
    DeclineByAnotherLink,
    Expire,
}

/// An invitation that a step tried to make.
#[derive(Clone, Debug)]
pub struct Tried {
    invitation: InvitationId,
    joined: PersonJoined,
    link: MailedLink,
}

pub fn invitation_ask() -> impl Strategy<Value = InvitationAsk> {
    let index = any::<Index>;
    let hours = prop_oneof![6 => 2..200i64, 1 => Just(-30 * 24)];
    let what = prop_oneof![
        2 => Just(What::Resend),
        1 => Just(What::Revoke),
        4 => Just(What::Accept),
        2 => Just(What::Decline),
        1 => Just(What::DeclineByAnotherLink),
        2 => Just(What::Expire),
    ];
    prop_oneof![
        1 => (0..7u8, prop::option::weighted(0.3, index()), hours)
            .prop_map(|(role, team, hours)| InvitationAsk::Invite { role, team, hours }),
        2 => (index(), what).prop_map(|(which, what)| InvitationAsk::About(which, what)),
    ]
}

fn link(with: &TestStore, hours: i64) -> MailedLink {
    let drawn: InvitationId = Fresh.id();
    let token = Commitment(std::array::from_fn(|at| drawn.uuid().as_bytes()[at % 16]));
    MailedLink { token, ends_at: with.clock.now().plus_seconds(hours * HOUR_SECONDS) }
}

impl InvitationAsk {
    /// What is submitted for it; an invitation that is to be made joins `tried`.
    pub fn submission(
        self,
        tried: &mut Vec<Tried>,
        team: impl Fn(Index) -> TeamId,
        actor: Actor,
        organization: OrganizationId,
        with: &TestStore,
    ) -> Submission {
        match self {
            Self::Invite { role, team: into, hours } => {
                let (joined, key) = with.newcomer(organization, "Nora");
                let (invitation, link) = (Fresh.id(), link(with, hours));
                tried.push(Tried { invitation, joined: joined.clone(), link });
                let invitation = InvitationCreated {
                    invitation,
                    person: joined.person,
                    key: joined.key,
                    email: joined.email,
                    role: RoleRef::System(SystemRole::ALL[usize::from(role)]),
                    teams: into.map(team).into_iter().collect(),
                    link,
                };
                let create = CreateInvitation { invitation, newest: 0 };
                let mut submission = Submission::new(InvitationsCommand::Create(create), actor);
                submission.keys = vec![key];
                submission
            }
            Self::About(_, _) if tried.is_empty() => {
                Submission::new(InvitationsCommand::Revoke(Fresh.id()), actor)
            }
            Self::About(which, what) => {
                let at = which.index(tried.len());
                tried[at].submission(what, actor, with)
            }
        }
    }
}

impl Tried {
    fn submission(&mut self, what: What, actor: Actor, with: &TestStore) -> Submission {
        let invitation = self.invitation;
        let invited = Actor { id: ActorId::Person(self.joined.person), session: None };
        let decline = |link: MailedLink| {
            InvitationsCommand::Decline(DeclineInvitation { invitation, token: link.token })
        };
        match what {
            What::Resend => {
                self.link = link(with, 200);
                let resent = InvitationResent { invitation, link: self.link };
                Submission::new(InvitationsCommand::Resend(resent), actor)
            }
            What::Revoke => Submission::new(InvitationsCommand::Revoke(invitation), actor),
            What::Accept => {
                let (person, assignment) = (self.joined.clone(), Fresh.id());
                let accept = AcceptInvitation { invitation, person, assignment, others: Vec::new() };
                Submission::new(InvitationsCommand::Accept(accept), invited)
            }
            What::Decline => Submission::new(decline(self.link), invited),
            What::DeclineByAnotherLink => Submission::new(decline(link(with, 1)), invited),
            What::Expire => Submission::new(InvitationsCommand::Expire(invitation), Actor::SYSTEM),
        }
    }
}

/// The same submission as the edge makes it, which holds an address against whoever is invited in a state.
pub fn having_seen(mut submission: Submission, view: &View) -> Submission {
    if let Command::Organization(OrganizationCommand::Invitations(InvitationsCommand::Create(create))) =
        &mut submission.command
    {
        create.newest = view.organization().invitations.newest();
    }
    submission
}
