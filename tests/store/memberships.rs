//! Memberships to be, cut off after each of their steps, refused, and asked for at once.

use std::sync::Arc;
use std::time::Duration;

use settled::actor::{Actor, ActorId};
use settled::command::Rejection;
use settled::ids::{AccountId, Fresh, OrganizationId, StreamId};
use settled::log::held::HeldLog;
use settled::log::memory::MemoryLog;
use settled::platform::accounts;
use settled::platform::memberships::command::{MembershipsCommand, MembershipsRejection, OpenMembership};
use settled::platform::memberships::event::MembershipOpened;
use settled::seal::Plain;
use settled::settings::general::command::{DomainChallenge, GeneralCommand, UpdateOrganization};
use settled::settings::general::value::EmailDomain;
use settled::settings::join_requests::command::{
    ApproveJoinRequest, DeclineJoinRequest, JoinRequestsCommand, JoinRequestsRejection,
};
use settled::settings::people;
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::store::intents::IntentError;
use settled::store::{Done, Refusal, Store, Submission};
use tokio::task::JoinSet;

use crate::test_store::{Founded, TestStore};

/// Acme, whose domain is `example.com`, proven by DNS.
async fn acme(store: &TestStore) -> Founded {
    let founded = store.found("Acme").await;
    prove_domain(store, &founded).await;
    founded
}

async fn prove_domain(store: &TestStore, founded: &Founded) {
    let domain = EmailDomain::try_from(challenge().domain.as_str()).unwrap();
    let update = UpdateOrganization {
        email_domain: Some(Some((domain, challenge().challenge))),
        ..UpdateOrganization::default()
    };
    for command in [GeneralCommand::Update(update), GeneralCommand::VerifyDomain(challenge())] {
        store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
    }
}

/// One of everything that happens to a domain and to those who come by it, for the recorded history.
pub async fn record(store: &TestStore, founded: &Founded) {
    prove_domain(store, founded).await;
    let (approved, declined) = (
        open_new(store, "Nora", founded.organization).await,
        open_new(store, "Otto", founded.organization).await,
    );
    for membership in [&approved, &declined] {
        store.store.finish_membership(membership).await.unwrap();
    }
    let approve = ApproveJoinRequest {
        join_request: approved.join_request.unwrap(),
        role: None,
        assignment: Fresh.id(),
    };
    let decline = DeclineJoinRequest { join_request: declined.join_request.unwrap() };
    for command in [JoinRequestsCommand::Approve(approve), JoinRequestsCommand::Decline(decline)] {
        store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
    }
    for _ in 0..2 {
        let doubt = GeneralCommand::DoubtDomain(challenge());
        store.execute(founded, Submission::new(doubt, Actor::SYSTEM)).await.unwrap();
        store.hands.advance(Duration::from_secs(8 * 24 * 3600));
    }
}

fn challenge() -> DomainChallenge {
    let (domain, challenge) = ("example.com".to_owned(), "settled-verification=1".to_owned());
    DomainChallenge { domain, challenge }
}

async fn let_in_at_once(store: &TestStore, founded: &Founded) {
    let update =
        UpdateOrganization { auto_approve_domain_users: Some(true), ..UpdateOrganization::default() };
    let update = Submission::new(GeneralCommand::Update(update), founded.owner);
    store.execute(founded, update).await.unwrap();
}

fn membership(account: AccountId, organization: OrganizationId) -> MembershipOpened {
    let (person, join_request) = (Fresh.id(), Some(Fresh.id()));
    MembershipOpened { account, organization, person, join_request, invitation: None }
}

/// Opens a membership of somebody whose account is made with it, and whose address is so proven.
pub async fn open_new(store: &TestStore, name: &str, organization: OrganizationId) -> MembershipOpened {
    let (signed_up, key) = store.stranger(name);
    let membership = membership(signed_up.account, organization);
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

async fn open(store: &Store, membership: MembershipOpened) -> Result<Done, Refusal> {
    let actor = Actor { id: ActorId::Account(membership.account), session: None };
    let open = OpenMembership { membership, account: None, left: Vec::new() };
    store.execute(store.platform(), Submission::new(MembershipsCommand::Open(open), actor)).await
}

fn open_count(store: &TestStore) -> usize {
    store.store.platform().view().platform().memberships.open().count()
}

/// Finishes what is open, twice, and holds that the second time appends nothing.
async fn finish(store: &TestStore, membership: &MembershipOpened) {
    store.store.finish_intents().await;
    let end = store.log.end();
    store.store.finish_intents().await;
    store.store.finish_membership(membership).await.unwrap();
    assert_eq!(store.log.end(), end, "finishing again appended something");
    assert_eq!(open_count(store), 0);
    store.digests();
}

/// Holds that somebody is a member once, by the name and address of their account, with a role.
fn assert_member(store: &TestStore, membership: &MembershipOpened, role: SystemRole) {
    let view = store.handle(membership.organization).view();
    let organization = view.organization();
    assert_eq!(organization.people.iter().count(), 2);
    let person = organization.people.get(membership.person).unwrap();
    assert!(person.commitment.is_some(), "its key is held against nothing");
    let ring = store.store.ring();
    assert_eq!(people::open_name(view.stream, person, ring).unwrap().as_str(), Ok("Ada"));
    let platform = store.store.platform().view();
    let account = platform.platform().accounts.by_person(membership.organization, person.id).unwrap();
    assert_eq!(account.id, membership.account);
    let email = people::open_email(view.stream, person, ring).unwrap();
    assert_eq!(email.as_str(), accounts::open_email(account, ring).unwrap().as_str());
    let grantee = Grantee::Person(person.id);
    let roles: Vec<_> = organization.roles.assignments_of(grantee).map(|(_, held)| held.role).collect();
    assert_eq!(roles, [RoleRef::System(role)]);
}

#[tokio::test]
async fn a_crash_after_the_intent_is_finished_at_start() {
    let store = TestStore::in_memory();
    let founded = acme(&store).await;
    let_in_at_once(&store, &founded).await;
    let membership = open_new(&store, "Ada", founded.organization).await;
    let crashed = store.crashed();
    assert_eq!(open_count(&crashed), 1);
    assert_eq!(crashed.handle(founded.organization).view().organization().people.iter().count(), 1);
    finish(&crashed, &membership).await;
    assert_member(&crashed, &membership, SystemRole::Viewer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_second_half_and_the_close_is_finished_at_start() {
    let (log, hold) = HeldLog::new(MemoryLog::new());
    let store = TestStore::over(Arc::new(log));
    let founded = acme(&store).await;
    let membership = open_new(&store, "Ada", founded.organization).await;
    // The organization's events go through; the close waits until the crash.
    hold.hold();
    let (finishing, opened) = (store.store.clone(), membership.clone());
    let finishes = tokio::spawn(async move { finishing.finish_membership(&opened).await.map(|_| ()) });
    assert!(hold.until_waiting());
    hold.let_one_through();
    assert!(hold.until_waiting());
    let crashed = store.crashed();
    assert_eq!(open_count(&crashed), 1);
    let view = crashed.handle(founded.organization).view();
    assert!(view.organization().join_requests.pending_of(membership.person).is_some());
    finish(&crashed, &membership).await;
    hold.release();
    finishes.await.unwrap().unwrap();
    finish(&store, &membership).await;
}

#[tokio::test]
async fn who_asked_is_let_in_with_the_key_that_they_asked_with() {
    let store = TestStore::in_memory();
    let founded = acme(&store).await;
    let membership = open_new(&store, "Ada", founded.organization).await;
    finish(&store, &membership).await;
    let join_request = membership.join_request.unwrap();
    let role = Some(RoleRef::System(SystemRole::Developer));
    let approve = ApproveJoinRequest { join_request, role, assignment: Fresh.id() };
    let approve = Submission::new(JoinRequestsCommand::Approve(approve), founded.owner);
    store.execute(&founded, approve).await.unwrap();
    assert_member(&store, &membership, SystemRole::Developer);
    let restarted = store.crashed();
    assert_member(&restarted, &membership, SystemRole::Developer);
    restarted.digests();
}

#[tokio::test]
async fn what_the_organization_refuses_leaves_nothing_open() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let membership = open_new(&store, "Ada", founded.organization).await;
    let refused = store.store.finish_membership(&membership).await.err().unwrap();
    let expected = Rejection::JoinRequests(JoinRequestsRejection::NotJoinable);
    assert!(matches!(refused, IntentError::Refused(Refusal::Rejected(rejection)) if rejection == expected));
    assert_eq!(open_count(&store), 0);
    let platform = store.store.platform().view();
    assert_eq!(platform.platform().accounts.get(membership.account).unwrap().persons, []);
    assert_eq!(
        store.handle(founded.organization).view().version(),
        3,
        "the organization's stream has nothing of it"
    );
    store.digests();
}

#[tokio::test]
async fn an_organization_that_is_not_there_refuses_likewise() {
    let store = TestStore::in_memory();
    store.found("Acme").await;
    let membership = open_new(&store, "Ada", Fresh.id()).await;
    store.store.finish_membership(&membership).await.err().unwrap();
    assert_eq!(open_count(&store), 0);
    assert_eq!(store.store.organizations().len(), 1);
}

#[tokio::test]
async fn of_many_at_once_one_comes_to_be() {
    let store = TestStore::in_memory();
    let founded = acme(&store).await;
    let_in_at_once(&store, &founded).await;
    let other = store.found_further(founded.account, "Other").await;
    let first = open_new(&store, "Ada", other.organization).await;
    let many: Vec<_> = (0..64).map(|_| membership(first.account, founded.organization)).collect();
    let mut won = Vec::new();
    let mut opening = JoinSet::new();
    for opened in many {
        let store = store.store.clone();
        opening.spawn(async move { open(&store, opened.clone()).await.map(|_| opened) });
    }
    for result in opening.join_all().await {
        match result {
            Ok(opened) => won.push(opened),
            Err(refusal) => assert_eq!(refusal, Rejection::from(MembershipsRejection::AlreadyThere).into()),
        }
    }
    let [membership] = &won[..] else { panic!("{} came to be", won.len()) };
    // Sixty-four finish the same one.
    let mut finishing = JoinSet::new();
    for _ in 0..64 {
        let (store, membership) = (store.store.clone(), membership.clone());
        finishing.spawn(async move { store.finish_membership(&membership).await.is_ok() });
    }
    assert_eq!(finishing.join_all().await, [true; 64]);
    assert_member(&store, membership, SystemRole::Viewer);
}

#[tokio::test]
async fn a_changed_address_waits_for_a_membership_to_be() {
    let store = TestStore::in_memory();
    let founded = acme(&store).await;
    let membership = open_new(&store, "Ada", founded.organization).await;
    let email = Plain::from("ada@example.org");
    let generation = store.change_address(membership.account, &email).await;
    store.store.finish_email_change(membership.account).await.unwrap_err();
    // By its new address it may not ask: the organization refuses, and then nobody needs to be told.
    store.store.finish_intents().await;
    assert_eq!(open_count(&store), 0);
    let platform = store.store.platform().view();
    let account = platform.platform().accounts.get(membership.account).unwrap();
    assert_eq!((account.generation, account.persons.len()), (generation, 0));
    assert_eq!(platform.platform().accounts.email_changes().count(), 0);
    let stream = StreamId::Organization(founded.organization);
    assert!(!store.events(stream).iter().any(|event| event.event.action().starts_with("join_request")));
}
