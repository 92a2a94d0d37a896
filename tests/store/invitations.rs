//! Invitations accepted, cut off after each step, and void when it comes to that.

use settled::command::Rejection;
use settled::ids::StreamId;
use settled::settings::invitations::command::InvitationsRejection;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::{open_email, open_name};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::store::intents::IntentError;
use settled::store::{Refusal, Submission};

use crate::golden_people::{accepting, invite};
use crate::histories::join;
use crate::test_store::{Founded, TestStore};

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
    submit(&store, &founded, PeopleCommand::Suspend(crate::test_store::person_of(admin))).await;
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
    let admin = crate::test_store::person_of(admin);
    submit(&store, &founded, PeopleCommand::Suspend(admin)).await;
    store.store.finish_membership(&membership).await.err().unwrap();
    // Somebody else found it open before, and comes to it when the organization would take them.
    submit(&store, &founded, PeopleCommand::Reactivate(admin)).await;
    let end = store.log.end();
    let refused = store.store.finish_membership(&membership).await.map(|_| ());
    assert!(matches!(refused, Err(IntentError::Refused(Refusal::Rejected(Rejection::Stale)))));
    assert_eq!(store.log.end(), end, "a person came to be whom no account is");
}
