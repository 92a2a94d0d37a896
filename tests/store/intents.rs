//! What spans two streams, cut off after each of its steps.

use settled::actor::{Actor, ActorId};
use settled::command::{Command, OrganizationCommand};
use settled::ids::StreamId;
use settled::log::held::HeldLog;
use settled::log::memory::MemoryLog;
use settled::platform::accounts;
use settled::platform::foundings::event::FoundingOpened;
use settled::seal::Plain;
use settled::settings::people;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonEmailChanged;
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::sessions::command::SessionsCommand;
use settled::store::Submission;

use std::sync::Arc;

use crate::test_store::{Founded, TestStore, person_of, session_of};

/// Holds what a finished set-up means: one organization with one Owner, who can log in.
async fn assert_set_up_once(store: &TestStore, opened: &FoundingOpened) {
    let organizations = store.store.organizations();
    assert_eq!(organizations.len(), 1);
    assert_eq!(organizations, [opened.organization]);
    let handle = store.handle(opened.organization);
    let view = handle.view();
    let organization = view.organization();
    assert_eq!(organization.general.founded().unwrap().name, "Acme");
    assert_eq!(organization.people.iter().map(|person| person.id).collect::<Vec<_>>(), [opened.person]);
    let founder = Grantee::Person(opened.person);
    let roles: Vec<_> = organization.roles.assignments_of(founder).map(|(_, held)| held.role).collect();
    assert_eq!(roles, [RoleRef::System(SystemRole::Owner)]);
    let platform = store.store.platform().view();
    assert_eq!(platform.platform().foundings.open().count(), 0);
    assert_eq!(platform.platform().accounts.iter().count(), 1);

    let login = SessionsCommand::Open(session_of(opened.person));
    let command = Command::Organization(OrganizationCommand::Sessions(login));
    let actor = Actor { id: ActorId::Person(opened.person), session: None };
    let done = store.store.execute(&handle, Submission::new(command, actor)).await.unwrap();
    assert_eq!(done.events, 1);
    store.digests();
}

async fn assert_finishes(crashed: TestStore, opened: &FoundingOpened) {
    crashed.store.finish_intents().await;
    let end = crashed.log.end();
    crashed.store.finish_intents().await;
    crashed.store.finish_founding(opened).await.unwrap();
    assert_eq!(crashed.log.end(), end, "finishing again appended something");
    assert_set_up_once(&crashed, opened).await;
}

#[tokio::test]
async fn a_crash_after_the_intent_is_finished_at_start() {
    let store = TestStore::in_memory();
    let founding = store.set_up("Acme");
    store.store.execute(store.store.platform(), founding.submission).await.unwrap();
    let crashed = store.crashed();
    assert_eq!(crashed.store.organizations().len(), 0);
    assert_finishes(crashed, &founding.opened).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_second_half_and_the_close_is_finished_at_start() {
    let (log, hold) = HeldLog::new(MemoryLog::new());
    let store = TestStore::over(Arc::new(log));
    let founding = store.set_up("Acme");
    store.store.execute(store.store.platform(), founding.submission).await.unwrap();
    // The organization's events go through; the close waits until the crash.
    hold.hold();
    let (finishing, opened) = (store.store.clone(), founding.opened.clone());
    let finish = tokio::spawn(async move { finishing.finish_founding(&opened).await.map(|_| ()) });
    assert!(hold.until_waiting());
    let before = store.log.end();
    assert_finishes(store.crashed(), &founding.opened).await;
    hold.let_one_through();
    assert!(hold.until_waiting());
    assert_eq!(store.log.end().0, before.0 + 1);
    let crashed = store.crashed();
    assert_eq!(crashed.store.organizations().len(), 1);
    assert_eq!(crashed.store.platform().view().platform().foundings.open().count(), 1);
    assert_finishes(crashed, &founding.opened).await;
    hold.release();
    finish.await.unwrap().unwrap();
    assert_set_up_once(&store, &founding.opened).await;
}

#[tokio::test]
async fn a_set_up_works_once() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let again = store.set_up("Other");
    let refused = store.store.execute(store.store.platform(), again.submission).await.unwrap_err();
    assert_eq!(refused.to_string(), "the server is already set up");
    let further = store.found_further(founded.account, "Second").await;
    assert_eq!(store.store.organizations().len(), 2);
    assert_ne!(further.organization, founded.organization);
    assert_eq!(store.store.platform().view().platform().foundings.open().count(), 0);
}

#[tokio::test]
async fn two_set_ups_at_once_make_one_organization() {
    let store = TestStore::in_memory();
    let (one, two) = (store.set_up("Acme"), store.set_up("Other"));
    let platform = store.store.platform();
    let (first, second) = tokio::join!(
        store.store.execute(platform, one.submission),
        store.store.execute(platform, two.submission)
    );
    first.unwrap();
    second.unwrap_err();
    store.store.finish_intents().await;
    assert_set_up_once(&store, &one.opened).await;
}

/// The address that an organization knows of its Owner, with the generation that it came with.
fn known_address(store: &TestStore, founded: &Founded) -> (String, u64) {
    let view = store.handle(founded.organization).view();
    let person = view.organization().people.get(person_of(founded.owner)).unwrap();
    let email = people::open_email(view.stream, person, store.store.ring()).unwrap();
    (email.as_str().unwrap().to_owned(), person.email_generation)
}

#[tokio::test]
async fn a_changed_address_reaches_every_organization_however_often_it_is_cut_short() {
    let store = TestStore::in_memory();
    let first = store.found("Acme").await;
    let second = store.found_further(first.account, "Second").await;
    let generation = store.change_address(first.account, &Plain::from("new@example.com")).await;
    // Cut short before the first organization knows, and between the two.
    let half = store.crashed();
    let email = {
        let platform = half.store.platform().view();
        let account = platform.platform().accounts.get(first.account).unwrap().clone();
        accounts::open_email(&account, half.store.ring()).unwrap()
    };
    let (person, stream) = (person_of(first.owner), StreamId::Organization(first.organization));
    let view = half.handle(first.organization).view();
    let held = view.organization().people.get(person).unwrap();
    let key = half.store.ring().data_key(stream, held.key, held.commitment).unwrap();
    let email = key.seal(&people::email_field(stream, &person.to_string()), &email);
    let change = PeopleCommand::ChangeEmail(PersonEmailChanged { person, email, generation });
    half.execute(&first, Submission::new(change, Actor::SYSTEM)).await.unwrap();
    for crashed in [store.crashed(), half.crashed()] {
        crashed.store.finish_intents().await;
        let end = crashed.log.end();
        for founded in [&first, &second] {
            assert_eq!(known_address(&crashed, founded), ("new@example.com".to_owned(), generation));
        }
        assert_eq!(crashed.store.platform().view().platform().accounts.email_changes().count(), 0);
        crashed.store.finish_intents().await;
        crashed.store.finish_email_change(first.account).await.unwrap();
        assert_eq!(crashed.log.end(), end, "finishing again appended something");
        crashed.digests();
    }
}

#[tokio::test]
async fn an_organization_that_is_being_founded_gets_the_new_address_too() {
    let store = TestStore::in_memory();
    let first = store.found("Acme").await;
    let founding = store.further(first.account, "Second");
    store.store.execute(store.store.platform(), founding.submission).await.unwrap();
    store.change_address(first.account, &Plain::from("new@example.com")).await;
    store.store.finish_email_change(first.account).await.unwrap_err();
    store.store.finish_intents().await;
    let opened = founding.opened;
    let second = Founded {
        organization: opened.organization,
        account: opened.account,
        owner: Actor { id: ActorId::Person(opened.person), session: None },
    };
    for founded in [&first, &second] {
        assert_eq!(known_address(&store, founded).0, "new@example.com");
    }
}
