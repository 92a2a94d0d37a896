//! The deletion of an organization, step by step: it is shut at once, what was opened of it is forgotten, each step is done once
//! however many are at it, after its founding and not before there is room; and what a shared ledger tells of another store's
//! organizations is left alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use settled::actor::Actor;
use settled::ctx::seen;
use settled::event::Version;
use settled::ids::{EnvironmentId, Fresh, OrganizationId, StreamId};
use settled::log::memory::MemoryLog;
use settled::platform::deletions::command::DeletionsCommand;
use settled::settings::general::command::GeneralCommand;
use settled::settings::general::own_key;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::store::intents::IntentError;
use settled::store::rotation::RotationError;
use settled::store::{Refusal, Submission, scheduler};

use crate::commands::create;
use crate::secrets::Values;
use crate::snapshots::{Place, all, ledger_of};
use crate::test_store::{Founded, TestStore, copy, person_of, start};

/// Records that an organization is deleted, and nothing of what follows.
async fn begin(store: &TestStore, organization: OrganizationId) {
    let open = Submission::new(DeletionsCommand::Open(organization), Actor::OPERATOR);
    store.store.execute(store.store.platform(), open).await.unwrap();
}

/// The actions of a stream's events after a version.
fn actions(store: &TestStore, stream: StreamId, after: Version) -> Vec<String> {
    let events = store.events(stream).into_iter().filter(|event| event.version > after);
    events.map(|event| event.event.action().to_owned()).collect()
}

/// An organization with an environment and a secret that is read there.
async fn given() -> (TestStore, Founded, EnvironmentId) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let environment = Fresh.id();
    store.execute(&founded, create(founded.owner, environment, "prod")).await.unwrap();
    let at = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(at, "TOKEN", "a canary of a value")).await.unwrap();
    (store, founded, environment)
}

#[tokio::test]
async fn an_organization_is_shut_the_instant_its_deletion_is_recorded() {
    let store = TestStore::in_memory();
    let goes = store.found("Goes").await;
    let stays = store.found_further(goes.account, "Stays").await;
    begin(&store, goes.organization).await;
    for (founded, is_there) in [(&goes, false), (&stays, true)] {
        let id = founded.organization;
        assert_eq!(store.store.is_deleted(id), !is_there);
        assert_eq!(store.store.organization(id).await.unwrap().is_some(), is_there);
        let own = store.store.stream(StreamId::Organization(id)).await.unwrap().view();
        assert!(!own.organization().general.is_over(), "its own stream does not know yet");
    }
}

#[tokio::test]
async fn what_was_opened_of_it_is_forgotten_when_it_ends_and_not_kept_after_that() {
    let (store, founded, environment) = given().await;
    let handle = store.handle(founded.organization);
    let (before, ring, ctx) = (handle.view(), store.store.ring(), store.store.ctx());
    let organization = before.organization();
    let environment = organization.environments.get(environment).unwrap();
    let place = seen::Place { environment, customer: None };
    let secrets = seen::secrets(organization, place);
    let under = own_key(before.stream, &organization.general, ring).unwrap();
    let person = organization.people.get(person_of(founded.owner)).unwrap();
    // As a request does that began before the end, whenever it comes to that.
    let open = || {
        ctx.value_of(ring, &handle, &before, &secrets["TOKEN"]).unwrap();
        ctx.whole_of(ring, &under, &handle, &before, place).unwrap();
        let mut names = store.store.called().of(before.stream);
        names.learn(person, "Ada", "ada@example.com");
        store.store.called().keep(&handle, names);
    };
    let kept = || {
        [
            ctx.value(&before, &secrets["TOKEN"]).is_some(),
            ctx.whole(&before, place).is_some(),
            store.store.called().of(before.stream).have(person, "ada").is_some(),
        ]
    };
    open();
    assert_eq!(kept(), [true; 3]);
    store.execute(&founded, Submission::new(GeneralCommand::End, Actor::SYSTEM)).await.unwrap();
    assert_eq!(kept(), [false; 3], "values, environments, names");
    open();
    assert_eq!(kept(), [false; 3], "values, environments, names");
}

#[tokio::test]
async fn two_who_finish_it_at_once_do_each_step_once() {
    let (store, founded, _) = given().await;
    let (id, stream) = (founded.organization, StreamId::Organization(founded.organization));
    begin(&store, id).await;
    let version = |stream| store.events(stream).len() as Version;
    let (own, platform) = (version(stream), version(StreamId::Platform));
    let (one, other) = tokio::join!(store.store.finish_deletion(id), store.store.finish_deletion(id));
    one.and(other).unwrap();
    assert_eq!(
        actions(&store, stream, own),
        ["organization.end", "organization.forget", "encryption_key.rotate"]
    );
    assert_eq!(actions(&store, StreamId::Platform, platform), ["membership.end", "deletion.close"]);
    assert!(store.log.data_keys(stream).unwrap().is_empty());
    store.digests();
}

#[tokio::test]
async fn one_whose_founding_is_open_is_deleted_once_that_is_closed() {
    let store = TestStore::in_memory();
    let account = store.found("Acme").await.account;
    let founding = store.further(account, "Second");
    store.store.execute(store.store.platform(), founding.submission).await.unwrap();
    let before = Arc::new(copy(&*store.log));
    let (opened, id) = (founding.opened.clone(), founding.opened.organization);
    store.store.finish_founding(&opened).await.unwrap();
    begin(&store, id).await;

    // Its log was put back to where the founding was open, and the ledger tells of the deletion.
    let restarted = store.restarted_on(before);
    restarted.store.finish_ledger().await;
    assert!(restarted.store.is_deleted(id));
    let end = restarted.log.end();
    let waits = restarted.store.finish_deletion(id).await.unwrap_err();
    assert!(waits.to_string().contains("its founding is open"), "{waits}");
    assert_eq!(restarted.log.end(), end);
    restarted.store.finish_intents().await;
    let platform = restarted.store.platform().view();
    assert_eq!(platform.platform().foundings.open().count(), 0);
    assert!(!platform.platform().deletions.is_open(id));
    assert!(restarted.log.data_keys(StreamId::Organization(id)).unwrap().is_empty());
    restarted.digests();
}

#[tokio::test]
async fn a_shared_ledgers_deletions_are_of_the_store_alone_that_has_the_organization() {
    let store = TestStore::in_memory();
    let goes = store.found("Goes").await.organization;
    let place = Place::new();
    let taken = place.take(&store, "own").await;
    let before = Arc::new(copy(&*store.log));
    // Under the same root key, and with its ledger in the same place.
    let other = TestStore::open(Arc::new(MemoryLog::new()), store.keys.clone(), start(), 1_024);
    other.found("Other").await;
    let of_other = place.take(&other, "other").await;
    begin(&store, goes).await;

    let shares = store.restarted_on(Arc::new(copy(&*other.log)));
    let end = shares.log.end();
    shares.store.finish_ledger().await;
    assert_eq!(shares.log.end(), end, "nothing was recorded");
    assert!(!shares.store.is_deleted(goes));
    let own = store.restarted_on(before);
    own.store.finish_ledger().await;
    assert!(own.store.is_deleted(goes));

    let (root, ledger) = (store.store.ring().root(), [ledger_of(&store)]);
    let restored = place.restore(&all(&of_other, &root), "of-other", &ledger).unwrap();
    assert_eq!((restored.taken_away, restored.ledgers[0].lines), (0, 0), "{restored:?}");
    assert!(restored.unknown.iter().any(|what| what.contains("no ledger is at hand")), "{restored:?}");
    let restored = place.restore(&all(&taken, &root), "of-own", &ledger).unwrap();
    // Whoever finished it has noted that, too.
    assert_eq!((restored.taken_away, restored.ledgers[0].lines), (1, 2), "{restored:?}");
    assert!(restored.unknown.is_empty(), "{restored:?}");
}

#[tokio::test]
async fn on_a_full_disk_it_waits_with_one_key_and_is_finished_once_there_is_room() {
    let (store, founded, _) = given().await;
    let (id, stream) = (founded.organization, StreamId::Organization(founded.organization));
    store.disk.store(false, Ordering::Relaxed);
    begin(&store, id).await;
    let generation = || store.store.ring().generation(stream).unwrap();
    let before = generation();
    for _ in 0..3 {
        let waits = store.store.finish_deletion(id).await;
        assert!(
            matches!(waits, Err(IntentError::Rotation(RotationError::Refused(Refusal::DiskFull)))),
            "{waits:?}"
        );
        scheduler::tick(&store.store).await;
        assert_eq!(generation(), before, "each try made another key");
    }
    assert!(store.log.data_keys(stream).unwrap().is_empty(), "what it sealed opens with nothing already");
    assert!(store.store.platform().view().platform().deletions.is_open(id));
    store.disk.store(true, Ordering::Relaxed);
    scheduler::tick(&store.store).await;
    assert_eq!(generation(), before + 1);
    assert!(!store.store.platform().view().platform().deletions.is_open(id));
}
