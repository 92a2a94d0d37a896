//! Invitations accepted, cut off after each step, and void when it comes to that.

use std::sync::Arc;
use std::time::Duration;

use settled::command::Rejection;
use settled::ids::StreamId;
use settled::log::held::HeldLog;
use settled::log::memory::MemoryLog;
use settled::settings::invitations::command::InvitationsRejection;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::{open_email, open_name};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::store::intents::IntentError;
use settled::store::{Refusal, Submission};

use crate::golden_people::{accepting, invite};
use crate::histories::join;
use crate::test_store::{Founded, TestStore, person_of};

#[tokio::test]
async fn a_crash_after_the_intent_is_finished_at_start_with_the_key_that_was_invited() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let invited = invite(&store, &founded, 1).await;
    let keys = |store: &TestStore| {
        store.store.log().data_keys(StreamId::Organization(founded.organization)).unwrap().len()
    };
    let before = keys(&store);
    let membership = accepting(&store, &founded, invited).await;
    let crashed = store.crashed();
    let view = crashed.handle(founded.organization).view();
    assert!(
        view.organization().people.get(membership.person).is_none()
            && view.organization().invitations.len() == 1
    );
    crashed.store.finish_intents().await;
    let end = crashed.log.end();
    crashed.store.finish_intents().await;
    crashed.store.finish_membership(&membership).await.unwrap();
    assert_eq!(crashed.log.end(), end, "finishing again appended something");

    let view = crashed.handle(founded.organization).view();
    let organization = view.organization();
    assert!(organization.invitations.is_empty());
    let person = organization.people.get(membership.person).unwrap();
    assert!(person.commitment.is_some(), "the key is held against nothing");
    assert_eq!(open_name(view.stream, person, crashed.store.ring()).unwrap().as_str(), Ok("Ada"));
    assert!(open_email(view.stream, person, crashed.store.ring()).is_ok());
    let mut roles = organization.roles.assignments_of(Grantee::Person(person.id)).map(|(_, held)| held.role);
    assert_eq!(roles.next(), Some(RoleRef::System(SystemRole::Viewer)));
    assert_eq!(keys(&crashed), before, "no key of its own was minted");
    crashed.digests();
}

async fn submit(store: &TestStore, founded: &Founded, command: PeopleCommand) {
    store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
}

#[tokio::test]
async fn what_is_void_by_then_is_refused_and_nothing_is_left_of_it() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let admin = join(&store, &founded, "Acme", Some(SystemRole::Admin)).await;
    let by_admin = Founded { owner: admin, ..founded.clone() };
    let invited = invite(&store, &by_admin, 1).await;
    let membership = accepting(&store, &founded, invited).await;
    submit(&store, &founded, PeopleCommand::Suspend(person_of(admin))).await;
    let refused = store.store.finish_membership(&membership).await.map(|_| ());
    let void = Rejection::from(InvitationsRejection::Void);
    assert!(matches!(refused, Err(IntentError::Refused(Refusal::Rejected(why))) if why == void));
    let platform = store.store.platform().view();
    let accounts = &platform.platform().accounts;
    assert!(accounts.by_person(membership.organization, membership.person).is_none());
    assert_eq!(platform.platform().memberships.open().count(), 0);
    let view = store.handle(founded.organization).view();
    assert!(view.organization().people.ever(membership.person).is_none());
    assert_eq!(view.organization().invitations.len(), 1, "it can be sent again");
}

#[tokio::test]
async fn what_one_was_refused_nobody_who_finishes_it_later_is_given() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let admin = join(&store, &founded, "Acme", Some(SystemRole::Admin)).await;
    let by_admin = Founded { owner: admin, ..founded.clone() };
    let invited = invite(&store, &by_admin, 1).await;
    let membership = accepting(&store, &founded, invited).await;
    let admin = person_of(admin);
    submit(&store, &founded, PeopleCommand::Suspend(admin)).await;
    store.store.finish_membership(&membership).await.err().unwrap();
    // Somebody else found it open before, and comes to it when the organization would take them.
    submit(&store, &founded, PeopleCommand::Reactivate(admin)).await;
    let end = store.log.end();
    let refused = store.store.finish_membership(&membership).await.map(|_| ());
    assert!(matches!(refused, Err(IntentError::Refused(Refusal::Rejected(Rejection::Stale)))));
    assert_eq!(store.log.end(), end, "a person came to be whom no account is");
}

/// Waits until so many commands wait for the writer.
async fn queued(store: &TestStore, count: usize) {
    for _ in 0..4_000 {
        if store.store.queue().0 == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{count} commands were not in the queue within 20 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_finish_one_intent_at_once_the_second_finds_it_decided() {
    let (log, hold) = HeldLog::new(MemoryLog::new());
    let store = TestStore::over(Arc::new(log));
    let founded = store.found("Acme").await;
    let admin = join(&store, &founded, "Acme", Some(SystemRole::Admin)).await;
    let by_admin = Founded { owner: admin, ..founded.clone() };
    let invited = invite(&store, &by_admin, 1).await;
    let membership = accepting(&store, &founded, invited).await;
    let admin = person_of(admin);
    let sends = |command: PeopleCommand| {
        let (store, handle) = (store.store.clone(), store.handle(founded.organization));
        let submission = Submission::new(command, founded.owner);
        tokio::spawn(async move { store.execute(&handle, submission).await.map(|_| ()) })
    };
    let finishes = || {
        let (store, membership) = (store.store.clone(), membership.clone());
        tokio::spawn(async move { store.finish_membership(&membership).await.map(|_| ()) })
    };
    // What is asked for while the writer waits for the disk is decided together: the first to finish it is refused.
    hold.hold();
    let suspends = sends(PeopleCommand::Suspend(admin));
    assert!(hold.until_waiting());
    let first = finishes();
    queued(&store, 1).await;
    let reactivates = sends(PeopleCommand::Reactivate(admin));
    queued(&store, 2).await;
    let second = finishes();
    // Whoever has no turn to wait for is in the queue by then, and accepted.
    tokio::time::sleep(Duration::from_millis(300)).await;
    hold.release();
    for change in [suspends, reactivates] {
        change.await.unwrap().unwrap();
    }
    let refused = |error| match error {
        Err(IntentError::Refused(Refusal::Rejected(rejection))) => rejection,
        other => panic!("{other:?}"),
    };
    let (first, second) = (refused(first.await.unwrap()), refused(second.await.unwrap()));
    assert_eq!((first, second), (InvitationsRejection::Void.into(), Rejection::Stale));
    let view = store.handle(founded.organization).view();
    assert!(view.organization().people.ever(membership.person).is_none());
}
