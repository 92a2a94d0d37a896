//! Older histories restored with the newest keys: what those do not have was destroyed, revoked or rotated since, and every
//! state says so.

use std::path::PathBuf;

use settled::actor::Actor;
use settled::ids::{ApiKeyId, Fresh, StreamId};
use settled::settings::api_keys::command::{ApiKeysCommand, RevokeApiKey, RotateApiKey};
use settled::settings::api_keys::projection::ApiKey;
use settled::settings::customers::command::CustomersCommand;
use settled::settings::people::command::PeopleCommand;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::keys_of;
use settled::snapshot::listing::Listed;
use settled::snapshot::operating::Snapshots;
use settled::snapshot::restore::{Restored, Wanted};
use settled::store::Submission;
use settled::store::check_keys;

use crate::commands::create;
use crate::golden_customers::Customer;
use crate::key_asks::token_of;
use crate::keys::key;
use crate::secrets::Values;
use crate::snapshots::{Place, all, destroy, file, given, ledger_of};
use crate::test_store::{Founded, TestStore};

/// Restores a history with the keys of another snapshot.
pub fn with_keys_of(
    store: &TestStore,
    place: &Place,
    history: &Listed,
    keys: &Listed,
    into: &str,
    ledgers: &[PathBuf],
) -> Restored {
    let root = store.store.ring().root();
    let wanted = Wanted { keys: Some(file(&keys_of(&keys.path))), ..all(history, &root) };
    place.restore(&wanted, into, ledgers).unwrap()
}

/// What the organization of a restored store says, which has every data key that it says it has.
pub fn state<T>(
    place: &Place,
    name: &str,
    founded: &Founded,
    ask: impl FnOnce(&settled::organization::Organization) -> T,
) -> T {
    let opened = place.open(name);
    let report = check_keys::check(&*opened.log, None, || {});
    assert!(report.is_clean(), "{report:?}");
    let views = settled::store::load::fold(&*opened.log, |_| {}).unwrap();
    let answer = ask(views[&StreamId::Organization(founded.organization)].organization());
    opened.log.close().unwrap();
    answer
}

#[tokio::test]
async fn whoever_was_forgotten_and_what_was_destroyed_is_so_in_an_older_history_with_the_newest_keys() {
    let (store, founded, at) = given().await;
    let (joined, new) = store.newcomer(founded.organization, "Grace");
    let person = joined.person;
    let mut join = Submission::new(PeopleCommand::Join(joined), founded.owner);
    join.keys = vec![new];
    store.execute(&founded, join).await.unwrap();
    let customer = Customer::new(&store, &founded);
    store.execute(&founded, customer.created(&founded)).await.unwrap();
    let environment = Fresh.id();
    store.execute(&founded, create(founded.owner, environment, "dev")).await.unwrap();
    let its = At { secret: Fresh.id(), scope: Scope::Customer(environment, customer.id()) };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(its, "ITS", "one")).await.unwrap();
    let place = Place::new();
    let before = place.take(&store, "before").await;
    let erase = Submission::new(PeopleCommand::Erase(person), founded.owner);
    store.execute(&founded, erase).await.unwrap();
    let forget = Submission::new(CustomersCommand::Erase(customer.id()), founded.owner);
    store.execute(&founded, forget).await.unwrap();
    destroy(&store, &founded, at).await;
    let after = place.take(&store, "after").await;

    let restored = with_keys_of(&store, &place, &before, &after, "data", &[]);
    assert_eq!((restored.absent, restored.lost.len(), restored.taken_away), (4, 0, 0), "{restored:?}");
    state(&place, "data", &founded, |organization| {
        assert!(organization.people.is_erased(person) && organization.people.get(person).is_none());
        let secret = organization.secrets.get(at.secret).unwrap();
        assert!(secret.value.is_none() && secret.versions.values().all(|version| version.destroyed));
        assert!(organization.customers.is_erased(customer.id()));
        assert!(organization.secrets.get(its.secret).is_none(), "what it had goes with it");
    });
    assert_eq!(with_keys_of(&store, &place, &before, &before, "own", &[]).absent, 0);
    state(&place, "own", &founded, |organization| {
        assert!(organization.people.get(person).is_some());
        assert!(organization.customers.get(customer.id()).is_some());
    });
}

pub async fn rotate(store: &TestStore, founded: &Founded, key: ApiKeyId, to: u32, grace_seconds: u32) {
    let rotate = RotateApiKey { key, token: token_of(key, to), last4: "ZzZz".to_owned(), grace_seconds };
    let rotate = Submission::new(ApiKeysCommand::Rotate(rotate), founded.owner);
    store.execute(founded, rotate).await.unwrap();
}

#[tokio::test]
async fn an_api_key_that_was_revoked_or_rotated_since_is_not_accepted_again() {
    let (store, founded, _) = given().await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(key(&store, &founded).await);
    }
    let [kept, revoked, leaked, graceful] = keys[..] else { unreachable!("four were made") };
    let place = Place::new();
    let before = place.take(&store, "before").await;
    let revoke = ApiKeysCommand::Revoke(RevokeApiKey { key: revoked });
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    rotate(&store, &founded, leaked, 1, 0).await;
    rotate(&store, &founded, graceful, 1, 600).await;
    let after = place.take(&store, "after").await;
    let accepts = |data: &str, id: ApiKeyId, token: u32| {
        let now = store.store.clock().now();
        let accepts = |key: &ApiKey| !key.is_revoked() && key.accepts(token_of(id, token), now);
        state(&place, data, &founded, |organization| organization.api_keys.get(id).is_some_and(accepts))
    };

    let restored = with_keys_of(&store, &place, &before, &after, "by-keys", &[]);
    assert_eq!((restored.revoked, restored.taken_away), (3, 0), "{restored:?}");
    assert!(accepts("by-keys", kept, 0));
    for gone in [revoked, leaked, graceful] {
        assert!(!accepts("by-keys", gone, 0));
    }

    // The ledger knows the new value, so whoever has that goes on.
    let restored = with_keys_of(&store, &place, &before, &before, "by-ledger", &[ledger_of(&store)]);
    assert_eq!((restored.revoked, restored.taken_away), (0, 2), "{restored:?}");
    assert!(accepts("by-ledger", kept, 0) && accepts("by-ledger", leaked, 1));
    for gone in [revoked, leaked] {
        assert!(!accepts("by-ledger", gone, 0));
    }

    // Keys that are older than the history know nothing of what was made since.
    let newer = key(&store, &founded).await;
    let newest = place.take(&store, "newest").await;
    let restored = with_keys_of(&store, &place, &newest, &after, "older-keys", &[]);
    assert_eq!((restored.revoked, restored.absent), (0, 0), "{restored:?}");
    assert!(accepts("older-keys", newer, 0));
    assert!(restored.unknown[0].contains("do not say which"), "{restored:?}");
}

#[tokio::test]
async fn unless_somebody_names_others_the_newest_keys_beside_the_history_that_know_it_are_taken() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    destroy(&store, &founded, at).await;
    let after = place.take(&store, "after").await;
    // Another store's are no newer ones, whatever they know of their own.
    let (other, ..) = given().await;
    let others = Snapshots::new(place.path(""), Fresh.id());
    let output = Some(place.path("others.settled"));
    for _ in 0..20 {
        other.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
    }
    others.take(&other.store, output, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let root = store.store.ring().root();
    let wanted = Wanted { keys: None, ..all(&before, &root) };
    let restored = place.restore(&wanted, "newest", &[]).unwrap();
    assert_eq!((&restored.keys, restored.absent), (&keys_of(&after.path), 1), "{restored:?}");
    // Its own have expired.
    std::fs::remove_file(keys_of(&before.path)).unwrap();
    assert_eq!(place.restore(&wanted, "expired", &[]).unwrap().absent, 1);
    let wanted = Wanted { keys: None, ..all(&after, &root) };
    std::fs::remove_file(keys_of(&after.path)).unwrap();
    let error = place.restore(&wanted, "none", &[]).unwrap_err().to_string();
    for told in ["after.settled", "others.settled.keys", "--keys"] {
        assert!(error.contains(told), "{error}");
    }
}
