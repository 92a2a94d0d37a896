//! What a restore concludes from what keys do not have: only where they know all of the history, and for the restored store
//! alone. No ledger is told of it.

use std::sync::Arc;

use settled::actor::Actor;
use settled::clock::Clock;
use settled::ids::{Fresh, StreamId};
use settled::log::{EventLog, Position};
use settled::metrics::Metrics;
use settled::open::OpenDir;
use settled::seal::keyring::KeyRing;
use settled::seal::root::RootKey;
use settled::settings::api_keys::command::{ApiKeysCommand, RevokeApiKey};
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::keys::{KeysFile, Shared};
use settled::snapshot::keys_of;
use settled::snapshot::operating::Snapshots;
use settled::snapshot::restore::Wanted;
use settled::snapshot::verify::Until;
use settled::store::{Parts, Store, Submission, scheduler};

use crate::commands::rename;
use crate::key_asks::token_of;
use crate::keys::key;
use crate::loaded::loaded;
use crate::secrets::Values;
use crate::snapshot_newest::{rotate, state, with_keys_of};
use crate::snapshots::{Place, all, destroy, file, given, ledger_of};
use crate::test_store::{copy, start};

#[tokio::test]
async fn what_is_only_concluded_is_in_no_ledger_and_what_is_known_is() {
    let (store, founded, at) = given().await;
    let id = key(&store, &founded).await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    destroy(&store, &founded, at).await;
    let revoke = ApiKeysCommand::Revoke(RevokeApiKey { key: id });
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    let after = place.take(&store, "after").await;
    let ledger = place.path("ledger");
    std::fs::create_dir(&ledger).unwrap();

    let restored = with_keys_of(&store, &place, &before, &after, "concluded", std::slice::from_ref(&ledger));
    assert_eq!((restored.absent, restored.revoked), (1, 1), "{restored:?}");
    assert_eq!(std::fs::read_dir(&ledger).unwrap().count(), 0, "others would act on it");

    // Its own history tells of both, and so does another ledger; each is noted once.
    let root = store.store.ring().root();
    let until = Some(Until::Position(Position(before.position)));
    let wanted = Wanted { until, ..all(&after, &root) };
    for (into, ledgers) in
        [("known", vec![ledger.clone()]), ("again", vec![ledger.clone(), ledger_of(&store)])]
    {
        let restored = place.restore(&wanted, into, &ledgers).unwrap();
        assert_eq!((restored.taken_away, restored.absent, restored.revoked), (2, 0, 0), "{restored:?}");
        let lines = std::fs::read_dir(&ledger).unwrap().map(|file| file.unwrap().path());
        let lines: Vec<String> = lines.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(lines.iter().flat_map(|text| text.lines()).count(), 2, "{lines:?}");
    }
}

#[tokio::test]
async fn keys_that_are_older_than_the_history_destroy_nothing_of_it() {
    let (store, founded, _) = given().await;
    let place = Place::new();
    let older = place.take(&store, "older").await;
    let values = Values { store: &store, founded: &founded };
    let at = At { secret: Fresh.id(), scope: Scope::Organization };
    store.execute(&founded, values.create(at, "MADE_SINCE", "a value")).await.unwrap();
    let newer = place.take(&store, "newer").await;
    let root = store.store.ring().root();
    let wanted = Wanted { keys: Some(file(&keys_of(&older.path))), ..all(&newer, &root) };
    let restored = place.restore(&wanted, "data", &[]).unwrap();
    assert_eq!((restored.absent, restored.lost.len()), (0, 1), "{restored:?}");
    let opened = place.open("data");
    let views = settled::store::load::fold(&*opened.log, |_| {}).unwrap();
    let organization = views[&StreamId::Organization(founded.organization)].organization();
    assert!(organization.secrets.get(at.secret).unwrap().versions.values().all(|version| !version.destroyed));
    opened.log.close().unwrap();
}

/// A store as it goes on that was restored into a data directory.
pub fn goes_on(opened: &OpenDir, root: &RootKey) -> Store {
    let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
    let ring = KeyRing::open(opened.store.keys(), root.clone(), Arc::clone(&log)).unwrap();
    in_epoch(opened.epoch.as_str(), log, Arc::new(ring))
}

/// A store as it goes on in an epoch.
fn in_epoch(epoch: &str, log: Arc<dyn EventLog>, ring: Arc<KeyRing>) -> Store {
    let parts = Parts {
        log,
        ring,
        clock: Clock::manual(start().plus_seconds(2 * 86_400)).0,
        epoch: epoch.to_owned(),
        queue_capacity: 16,
        disk: Arc::new(|| true),
        derived: None,
        ledger: None,
        directory: None,
        resident_streams: 64,
        metrics: Metrics::new(),
        fatal: Arc::new(|_: &str| {}),
    };
    Store::open(parts).unwrap()
}

#[tokio::test]
async fn keys_of_a_restored_store_know_what_it_took_over_and_nothing_of_what_came_after() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    let since = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(since, "MADE_SINCE", "a value")).await.unwrap();
    let beyond = place.take(&store, "beyond").await;
    destroy(&store, &founded, at).await;
    let last = place.take(&store, "last").await;
    let root = store.store.ring().root();
    let until = Some(Until::Position(Position(before.position)));
    let restored = place.restore(&Wanted { until, ..all(&last, &root) }, "other", &[]).unwrap();
    assert_eq!(restored.taken_away, 1, "{restored:?}");

    let opened = place.open("other");
    let other = goes_on(&opened, &root);
    let snapshots = Snapshots::new(place.path("snapshots"), opened.store.id);
    let of_other = snapshots.take(&other, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let keys = KeysFile::open(&file(&keys_of(&of_other.path)), &root).unwrap().header;
    let shared = |store, epoch: &str, until| Shared {
        store: Some(store),
        epoch: epoch.to_owned(),
        until: Position(until),
    };
    let took_over = shared(before.store, &before.epoch, before.position);
    let own = shared(of_other.store, &restored.epoch, of_other.position);
    assert_eq!(keys.epochs, [took_over, own]);

    let known = with_keys_of(&store, &place, &before, &of_other, "known", &[]);
    assert_eq!((known.absent, known.lost.len()), (1, 0), "it was destroyed: {known:?}");
    let unknown = with_keys_of(&store, &place, &beyond, &of_other, "unknown", &[]);
    assert_eq!((unknown.absent, unknown.lost.len()), (0, 2), "it may never have had them: {unknown:?}");
    state(&place, "known", &founded, |organization| {
        let secret = organization.secrets.get(at.secret).unwrap();
        assert!(secret.versions.values().all(|version| version.destroyed));
    });
    other.stop();
}

#[tokio::test]
async fn a_value_that_leaked_stays_gone_also_where_a_rotation_that_no_ledger_tells_of_came_between() {
    let (store, founded, _) = given().await;
    let id = key(&store, &founded).await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    rotate(&store, &founded, id, 1, 600).await;
    rotate(&store, &founded, id, 2, 0).await;
    let after = place.take(&store, "after").await;
    let accepts = |data: &str, number: u32| {
        let now = store.store.clock().now();
        state(&place, data, &founded, |organization| {
            let key = organization.api_keys.get(id).unwrap();
            !key.is_revoked() && key.accepts(token_of(id, number), now)
        })
    };
    for (into, keys) in [("own", &before), ("newest", &after)] {
        let restored = with_keys_of(&store, &place, &before, keys, into, &[ledger_of(&store)]);
        assert_eq!((restored.taken_away, restored.revoked), (1, 0), "{restored:?}");
        assert_eq!([0, 1, 2].map(|number| accepts(into, number)), [false, false, true], "{into}");
    }
    // What its history has already is not done again.
    let restored = with_keys_of(&store, &place, &after, &after, "nothing", &[ledger_of(&store)]);
    assert_eq!(restored.taken_away, 0, "{restored:?}");
}

#[tokio::test]
async fn the_newest_snapshot_is_the_stores_own_where_others_lie_in_the_same_place() {
    let (store, ..) = given().await;
    let place = Place::new();
    let of = || Snapshots::new(place.path("snapshots"), Fresh.id());
    let (one, other, third) = (of(), of(), of());
    let ones = one.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let others = other.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert_eq!((one.newest("0").unwrap().id, other.newest("0").unwrap().id), (ones.id, others.id));
    third.newest("0").expect("whichever is there");
}

#[tokio::test]
async fn keys_of_a_store_that_gave_up_a_part_of_its_log_know_nothing_of_that_part() {
    let (store, founded, _) = given().await;
    let place = Place::new();
    place.take(&store, "first").await;
    let cut: Arc<dyn EventLog> = Arc::new(copy(&*store.log));
    let since = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(since, "GIVEN_UP", "a value")).await.unwrap();
    let given_up = place.take(&store, "given-up").await;

    // As `fsck --accept-head` leaves it: the same store in another epoch, which has the same positions once more.
    let goes_on = in_epoch("cut", Arc::clone(&cut), store.keys.ring(&cut));
    let handle = loaded(&goes_on, founded.organization).unwrap();
    for name in ["One", "Two", "Three", "Four"] {
        goes_on.execute(&handle, rename(founded.owner, name)).await.unwrap();
    }
    let snapshots = Snapshots::new(place.path("snapshots"), given_up.store);
    let newest = snapshots.take(&goes_on, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert!(newest.store == given_up.store && newest.position > given_up.position);
    let restored = with_keys_of(&store, &place, &given_up, &newest, "data", &[]);
    assert_eq!((restored.absent, restored.lost.len()), (0, 1), "nothing says that it was destroyed");
    let own = with_keys_of(&store, &place, &newest, &newest, "own", &[]);
    assert_eq!((own.absent, own.lost.len()), (0, 0));
    goes_on.stop();
}

#[tokio::test]
async fn of_two_values_that_leaked_the_newest_stays_the_keys_however_often_and_in_whatever_order_both_are_told()
 {
    let (store, founded, _) = given().await;
    let id = key(&store, &founded).await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    rotate(&store, &founded, id, 1, 0).await;
    // A copy of the ledger from in between.
    let stale = place.path("stale");
    std::fs::create_dir(&stale).unwrap();
    std::fs::copy(store.ledger().path(), stale.join("ledger")).unwrap();
    rotate(&store, &founded, id, 2, 0).await;
    let after = place.take(&store, "after").await;
    let root = store.store.ring().root();
    let until = Some(Until::Position(Position(before.position)));
    for (into, wanted, ledgers) in [
        ("stale", all(&before, &root), vec![ledger_of(&store), stale]),
        ("rest", Wanted { until, ..all(&after, &root) }, vec![ledger_of(&store)]),
    ] {
        let restored = place.restore(&wanted, into, &ledgers).unwrap();
        assert_eq!((restored.taken_away, restored.revoked), (2, 0), "{restored:?}");
        let opened = place.open(into);
        let goes_on = goes_on(&opened, &root);
        scheduler::tick(&goes_on).await;
        let handle = loaded(&goes_on, founded.organization).unwrap();
        let view = handle.view();
        let accepts = |number: u32| {
            let token = token_of(id, number);
            let key = view.organization().api_keys.get(id).unwrap();
            key.accepts(token, goes_on.clock().now()) && goes_on.directory().key(token).is_some()
        };
        assert_eq!([0, 1, 2].map(accepts), [false, false, true], "{into}");
        goes_on.stop();
    }
}
