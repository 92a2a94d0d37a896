//! What the recorded history tells of people: how they come, what they do, what others decide about them, how they go.

use std::time::Duration;

use settled::actor::{Actor, ActorId};
use settled::clock::DAY_SECONDS;
use settled::event::Outcome;
use settled::ids::{Fresh, InvitationId, StreamId, UserId};
use settled::platform::accounts::event::MailedLink;
use settled::platform::memberships::command::{MembershipsCommand, OpenMembership};
use settled::platform::memberships::event::MembershipOpened;
use settled::seal::{Commitment, Plain};
use settled::settings::invitations::acceptance::DeclineInvitation;
use settled::settings::invitations::command::{CreateInvitation, InvitationsCommand};
use settled::settings::invitations::event::{InvitationCreated, InvitationResent};
use settled::settings::people::command::{PeopleCommand, UpdatePerson};
use settled::settings::people::event::PersonEmailChanged;
use settled::settings::people::name_field;
use settled::settings::roles::command::{AssignRole, RolesCommand, UnassignRole};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use settled::store::Submission;

use crate::commands::{refusal, sessions};
use crate::test_store::{Founded, TestStore, person_of, session_of};

/// Somebody joins, gets and loses a role, and logs in and out.
pub async fn record_people(store: &TestStore, founded: &Founded) -> UserId {
    let stream = StreamId::Organization(founded.organization);
    let (joined, key) = store.newcomer(founded.organization, "Grace");
    let person = joined.person;
    let grace = Actor { id: ActorId::Person(person), session: None };
    let name = key.key().seal(&name_field(stream, &person.to_string()), &Plain::from("Grace H."));
    let (kept, gone) = (Fresh.id(), Fresh.id());
    let assign = |assignment, role| {
        let grantee = Grantee::Person(person);
        let assign = AssignRole { assignment, grantee, role, environment: None };
        Submission::new(RolesCommand::Assign(assign), founded.owner)
    };
    let mut join = Submission::new(PeopleCommand::Join(joined), founded.owner);
    join.keys = vec![key];
    let opened: Vec<_> = (0..4).map(|_| session_of(person)).collect();
    let mut submissions = vec![
        join,
        Submission::new(PeopleCommand::Update(UpdatePerson { person, name: Some(name) }), grace),
        assign(kept, RoleRef::System(SystemRole::Developer)),
        assign(gone, RoleRef::System(SystemRole::Auditor)),
        Submission::new(RolesCommand::Unassign(UnassignRole { assignment: gone }), founded.owner),
    ];
    submissions.extend(opened.iter().map(|opened| sessions(grace, SessionsCommand::Open(opened.clone()))));
    for (opened, how) in opened.iter().zip([Closing::Logout, Closing::Switch, Closing::Revoke]) {
        let close = CloseSession { session: opened.session, how };
        submissions.push(sessions(grace, SessionsCommand::Close(close)));
    }
    for submission in submissions {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
    let denied = refusal(Outcome::Denied, &founded.organization.to_string());
    store.store.record_denial(&store.handle(founded.organization), grace, denied, None).await;
    assert_eq!(person_of(grace), person);
    person
}

/// Another address, and then the person leaves.
pub async fn record_departure(store: &TestStore, founded: &Founded, person: UserId) {
    let grace = Actor { id: ActorId::Person(person), session: None };
    let changed = PeopleCommand::ChangeEmail(PersonEmailChanged {
        person,
        email: store.newcomer(founded.organization, "Grace").0.email,
        generation: 2,
    });
    store.execute(founded, Submission::new(changed, Actor::SYSTEM)).await.unwrap();
    store.execute(founded, Submission::new(PeopleCommand::Leave(person), grace)).await.unwrap();
}

/// Somebody is suspended, let in again and removed, and then forgotten.
pub async fn record_standing(store: &TestStore, founded: &Founded) {
    let (joined, key) = store.newcomer(founded.organization, "Hedy");
    let person = joined.person;
    let mut join = Submission::new(PeopleCommand::Join(joined), founded.owner);
    join.keys = vec![key];
    store.execute(founded, join).await.unwrap();
    for command in [
        PeopleCommand::Suspend(person),
        PeopleCommand::Reactivate(person),
        PeopleCommand::Remove(person),
        PeopleCommand::Erase(person),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
    }
}

fn link(store: &TestStore, number: u8) -> MailedLink {
    MailedLink { token: Commitment([number; 32]), ends_at: store.clock.now().plus_seconds(7 * DAY_SECONDS) }
}

/// Invites somebody; the token of the link is this number all through.
pub async fn invite(store: &TestStore, founded: &Founded, number: u8) -> (InvitationId, UserId) {
    let (joined, key) = store.newcomer(founded.organization, "Nora");
    let invitation = InvitationCreated {
        invitation: Fresh.id(),
        person: joined.person,
        key: joined.key,
        email: joined.email,
        role: RoleRef::System(SystemRole::Viewer),
        teams: Vec::new(),
        link: link(store, number),
    };
    let made = (invitation.invitation, invitation.person);
    let newest = store.handle(founded.organization).view().organization().invitations.newest();
    let command = InvitationsCommand::Create(CreateInvitation { invitation, newest });
    let mut submission = Submission::new(command, founded.owner);
    submission.keys = vec![key];
    store.execute(founded, submission).await.unwrap();
    made
}

/// Opens the membership of somebody who accepts an invitation, and has no account until then.
pub async fn accepting(
    store: &TestStore,
    founded: &Founded,
    (invitation, person): (InvitationId, UserId),
) -> MembershipOpened {
    let (signed_up, key) = store.stranger("Nora");
    let membership = MembershipOpened {
        account: signed_up.account,
        organization: founded.organization,
        person,
        join_request: None,
        invitation: Some(invitation),
    };
    let open = OpenMembership {
        membership: membership.clone(),
        account: Some(Box::new(signed_up)),
        left: Vec::new(),
    };
    let mut submission = Submission::new(MembershipsCommand::Open(open), Actor::SYSTEM);
    submission.keys = vec![key];
    store.store.execute(store.store.platform(), submission).await.unwrap();
    membership
}

/// Invitations, each with an end of its own.
pub async fn record_invitations(store: &TestStore, founded: &Founded) {
    let accepted = invite(store, founded, 11).await;
    let (revoked, _) = invite(store, founded, 12).await;
    let (declined, person) = invite(store, founded, 13).await;
    let (expired, _) = invite(store, founded, 14).await;
    let membership = accepting(store, founded, accepted).await;
    store.store.finish_membership(&membership).await.unwrap();
    let resent = InvitationResent { invitation: revoked, link: link(store, 15) };
    let decline = DeclineInvitation { invitation: declined, token: Commitment([13; 32]) };
    let invited = Actor { id: ActorId::Person(person), session: None };
    for (command, actor) in [
        (InvitationsCommand::Resend(resent), founded.owner),
        (InvitationsCommand::Revoke(revoked), founded.owner),
        (InvitationsCommand::Decline(decline), invited),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, Submission::new(command, actor)).await.unwrap();
    }
    store.hands.advance(Duration::from_hours(38 * 24));
    let expire = Submission::new(InvitationsCommand::Expire(expired), Actor::SYSTEM);
    store.execute(founded, expire).await.unwrap();
}
