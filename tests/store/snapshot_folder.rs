//! The folder of the snapshots over crashes and time: what is half done there, what lies there alone, and what drills and
//! restores write down.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use settled::actor::Actor;
use settled::ids::{Fresh, StoreId, StreamId};
use settled::log::{Append, Key, Position};
use settled::seal::root::RootKey;
use settled::settings::api_keys::command::{ApiKeysCommand, RevokeApiKey};
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::listing::{Listed, list};
use settled::snapshot::operating::{OperatingError, Snapshots};
use settled::snapshot::restore::Wanted;
use settled::snapshot::schedule;
use settled::snapshot::verify::Until;
use settled::snapshot::{SnapshotError, keys_of};
use settled::store::Submission;
use settled::store::ledger::Ledger;
use uuid::Uuid;

use crate::keys::key;
use crate::secrets::Values;
use crate::snapshot_writing::waits;
use crate::snapshots::{Place, all, destroy, given, ledger_of, secrets};
use crate::test_store::{BESIDE, STORE, TestStore, keeper};

pub fn snapshots(place: &Place) -> Snapshots {
    Snapshots::new(place.path("snapshots"), Fresh.id())
}

async fn take(snapshots: &Snapshots, store: &TestStore) -> Listed {
    snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn a_snapshot_whose_asker_went_away_is_taken_and_noted() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let (began, begins) = std::sync::mpsc::channel();
    let mut asks = Box::pin(snapshots.take(&store.store, None, Actor::OPERATOR, move |_, _: Position| {
        let _nobody_listens = began.send(());
    }));
    while begins.try_recv().is_err() {
        assert!(futures_util::poll!(&mut asks).is_pending(), "it says that it goes on first");
        tokio::task::yield_now().await;
    }
    drop(asks);
    // Whoever comes next waits for its end.
    snapshots
        .expire(
            &store.store,
            settled::snapshot::retention::Retention { histories: None, keys_seconds: i64::MAX },
        )
        .await
        .unwrap();
    let newest = snapshots.newest("0").unwrap();
    let noted = || store.store.platform().view().platform().operations.last_snapshot;
    while noted().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(noted().unwrap().snapshot, newest.id);
}

#[tokio::test]
async fn what_another_store_has_under_way_in_the_folder_is_waited_for_and_left_alone() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let (one, other) = (snapshots(&place), snapshots(&place));
    let (progress, begins, go_on) = waits();
    let taking = one.take(&store.store, None, Actor::OPERATOR, progress);
    let sweeping = async {
        begins.await.expect("it begins");
        let its_store = store.store.clone();
        let swept = tokio::spawn(async move { other.renew_keys(&its_store).await });
        let unfinished = || {
            let mut names = fs::read_dir(place.path("snapshots")).unwrap().map(|file| file.unwrap().path());
            names.any(|path| path.extension().is_some_and(|extension| extension == "unfinished"))
        };
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(unfinished() && !swept.is_finished(), "it is not swept away meanwhile");
        go_on.send(()).expect("it waits");
        swept.await.expect("it ends");
    };
    let (taken, ()) = tokio::join!(taking, sweeping);
    assert!(taken.unwrap().path.exists());
}

#[tokio::test]
async fn no_snapshot_takes_the_room_that_the_log_needs() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place).leaving(u64::MAX / 2);
    let refused = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap_err();
    assert!(refused.to_string().contains("there is no room"), "{refused}");
    assert!(list(&snapshots.place).unwrap().data.is_empty());
}

#[tokio::test]
async fn two_files_of_one_snapshot_are_both_named() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let taken = take(&snapshots, &store).await;
    let copy = place.path("snapshots").join("before-the-move.settled");
    fs::copy(&taken.path, &copy).unwrap();
    let both = [taken.path.display().to_string(), copy.display().to_string()];
    let listing = list(&snapshots.place).unwrap();
    assert_eq!(listing.unreadable.len(), 1);
    let error = snapshots.find(taken.id).expect_err("which one is meant?").to_string();
    for path in both {
        assert!(listing.unreadable[0].contains(&path) && error.contains(&path), "{error}");
    }
}

#[tokio::test]
async fn what_a_crash_left_of_rewriting_keys_keeps_nobody_from_rewriting_them() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let keys = keys_of(&take(&snapshots, &store).await.path);
    let before = fs::read(&keys).unwrap();
    let replaced = keys.with_added_extension("replaced");
    // Before the rename both are names of one file; after it, the old one is there under its second name.
    fs::hard_link(&keys, &replaced).unwrap();
    fs::write(keys.with_added_extension("unfinished"), b"half").unwrap();
    destroy(&store, &founded, at).await;
    snapshots.renew_keys(&store.store).await;
    assert!(fs::read(&keys).unwrap().len() < before.len() && !replaced.exists());
    fs::write(&replaced, &before).unwrap();
    let old = fs::File::open(&replaced).unwrap();
    snapshots.renew_keys(&store.store).await;
    assert!(!replaced.exists());
    assert!(std::io::Read::bytes(old).all(|byte| byte.unwrap() == 0), "it was overwritten where it lay");
}

#[tokio::test]
async fn a_pipe_in_the_folder_keeps_nobody_waiting() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let taken = take(&snapshots, &store).await;
    for name in ["pipe.settled", "pipe.settled.keys"] {
        let made = std::process::Command::new("mkfifo").arg(snapshots.folder.join(name)).status().unwrap();
        assert!(made.success());
    }
    let listing = list(&snapshots.place).unwrap();
    assert_eq!((listing.data.len(), listing.unreadable.len()), (1, 1));
    assert_eq!(listing.data[0].id, taken.id);
    snapshots.renew_keys(&store.store).await;
    assert!(snapshots.drill(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap().is_sound());
}

#[tokio::test]
async fn keys_whose_history_is_gone_are_rewritten_all_the_same() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let taken = take(&snapshots, &store).await;
    let keys = keys_of(&taken.path);
    let before = fs::read(&keys).unwrap().len();
    fs::remove_file(&taken.path).unwrap();
    destroy(&store, &founded, at).await;
    snapshots.renew_keys(&store.store).await;
    assert!(fs::read(&keys).unwrap().len() < before);
}

#[tokio::test]
async fn keys_that_could_not_be_rewritten_are_told_of_and_tried_again_long_before_the_next_look() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let keys = keys_of(&take(&snapshots, &store).await.path);
    let before = fs::read(&keys).unwrap();
    fs::write(&keys, &before[..before.len() / 2]).unwrap();
    destroy(&store, &founded, at).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let looks = schedule::renew_keys(store.store.clone(), snapshots.clone(), async { drop(stopped.await) });
    let looks = tokio::spawn(looks);
    let until = async |is_done: &dyn Fn() -> bool| {
        for _ in 0..12_000 {
            if is_done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not happen within a minute");
    };
    until(&|| snapshots.problem().is_some()).await;
    let told = snapshots.problem().unwrap();
    assert!(told.contains(&keys.display().to_string()), "{told}");
    fs::write(&keys, &before).unwrap();
    store.hands.advance(Duration::from_secs(10 * 60));
    until(&|| snapshots.problem().is_none()).await;
    assert!(fs::read(&keys).unwrap().len() < before.len(), "they were rewritten");
    drop(stop);
    looks.await.unwrap();
}

#[tokio::test]
async fn a_drill_tells_lost_keys_from_destroyed_ones() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    take(&snapshots, &store).await;
    destroy(&store, &founded, at).await;
    snapshots.renew_keys(&store.store).await;
    let drill = || snapshots.drill(&store.store, None, Actor::OPERATOR, |_, _| {});
    let report = drill().await.unwrap();
    assert!(report.is_sound() && (report.missing_keys, report.lost_keys) == (1, Some(0)), "{report:?}");

    let stream = StreamId::Organization(founded.organization);
    let (lost, _) = store.log.data_keys(stream).unwrap().swap_remove(0);
    let remove = vec![Key::DataKey(stream, lost)];
    store.log.append(vec![Append { stream, expected: None, frame: None, put: Vec::new(), remove }]).unwrap();
    take(&snapshots, &store).await;
    let report = drill().await.unwrap();
    assert!(!report.is_sound() && report.failure.is_none() && report.lost_keys == Some(1), "{report:?}");
}

#[tokio::test]
async fn a_restored_store_goes_on_with_what_another_ledger_told() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    destroy(&store, &founded, at).await;
    let own: PathBuf = place.path("own");
    let root = store.store.ring().root();
    let restored = place.restore(&all(&taken, &root), "data", &[own.clone(), ledger_of(&store)]).unwrap();
    assert_eq!(restored.taken_away, 1);
    let written = Ledger::open(&own, keeper(STORE, place.path("mark"), "0")).unwrap();
    let written = written.destroyed_keys().unwrap();
    assert_eq!(written, store.ledger().destroyed_keys().unwrap());
    // A ledger that knows nothing of this history is none.
    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("ledger"), b"").unwrap();
    let knows_nothing = place.restore(&all(&taken, &root), "unknown", &[empty]).unwrap();
    assert!(knows_nothing.taken_away == 0 && knows_nothing.unknown[0].contains("no ledger is at hand"));
    // The old keys, and that ledger alone.
    let again = place.restore(&all(&taken, &root), "again", &[own]).unwrap();
    assert_eq!((again.taken_away, again.unknown), (1, Vec::new()));
}

#[tokio::test]
async fn what_was_destroyed_after_what_is_restored_and_is_not_of_it_is_in_the_ledger_as_of_the_store_that_did()
 {
    let (store, founded, _) = given().await;
    let place = Place::new();
    let early = place.take(&store, "early").await;
    let since = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(since, "MADE_SINCE", "a value")).await.unwrap();
    destroy(&store, &founded, since).await;
    let late = place.take(&store, "late").await;
    let (own, root) = (place.path("own"), store.store.ring().root());
    let until = Some(Until::Position(Position(early.position)));
    let wanted = Wanted { until, ..all(&late, &root) };
    let restored = place.restore(&wanted, "data", std::slice::from_ref(&own)).unwrap();
    assert_eq!(restored.taken_away, 0, "its history never had it: {restored:?}");
    let ledger = Ledger::open(&own, keeper(STORE, place.path("mark"), "0")).unwrap();
    let lines = ledger.read(0..u64::MAX).unwrap().entries;
    assert_eq!(lines.len(), 1, "a store beside may have copies of it");
    assert_eq!(
        (lines[0].1.store, lines[0].1.about()),
        (Some(late.store), StreamId::Organization(founded.organization))
    );
}

#[tokio::test]
async fn damaged_lines_of_a_ledger_stop_no_restore_and_are_told() {
    let (store, founded, at) = given().await;
    let id = key(&store, &founded).await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    destroy(&store, &founded, at).await;
    let revoke = ApiKeysCommand::Revoke(RevokeApiKey { key: id });
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    let path = store.ledger().path().to_owned();
    let mut text = fs::read(&path).unwrap();
    text[20] ^= 1;
    fs::write(&path, text).unwrap();
    let root = store.store.ring().root();
    let restored = place.restore(&all(&taken, &root), "data", &[ledger_of(&store)]).unwrap();
    assert_eq!((restored.taken_away, restored.ledgers[0].damaged), (1, 1), "the other line is whole");
    let told = format!("1 lines of the ledger {} are damaged", path.display());
    assert!(restored.unknown[0].starts_with(&told), "{restored:?}");
    assert_eq!(secrets(&place, "data", &founded).0, 1, "it came back, and that is said");
}

#[tokio::test]
async fn what_cannot_be_opened_after_a_rotation_of_the_root_key_is_no_bad_snapshot() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let taken = take(&snapshots, &store).await;
    store.store.rotate_root_key(RootKey::random()).await.unwrap();
    let noted = || store.events(StreamId::Platform).len();
    let before = noted();
    let refused = |error: OperatingError| match error {
        OperatingError::Snapshot(error @ SnapshotError::WrongRootKey { .. }) => drop(error),
        error => panic!("{error}"),
    };
    refused(snapshots.verify(&store.store, taken.id).await.expect_err("its keys do not open"));
    refused(snapshots.drill(&store.store, None, Actor::OPERATOR, |_, _| {}).await.expect_err("nor here"));
    let mut newer = fs::read(keys_of(&taken.path)).unwrap();
    newer[8] += 7;
    fs::write(keys_of(&taken.path), newer).unwrap();
    let error = snapshots.verify(&store.store, taken.id).await.expect_err("a newer format");
    assert!(matches!(error, OperatingError::Snapshot(SnapshotError::Newer { .. })), "{error}");
    assert_eq!(noted(), before, "nothing is noted of it");
}

#[tokio::test]
async fn keys_of_a_store_beside_are_rewritten_when_a_key_of_both_is_replaced() {
    let (store, founded, _) = given().await;
    let place = Place::new();
    let beside = Snapshots::new(place.path("snapshots"), StoreId::from_uuid(Uuid::from_u128(BESIDE)));
    let keys = keys_of(&take(&beside, &store).await.path);
    let before = fs::read(&keys).unwrap();
    let own = snapshots(&place);
    own.renew_keys(&store.store).await;
    assert_eq!(fs::read(&keys).unwrap(), before, "nothing was replaced");
    let stream = StreamId::Organization(founded.organization);
    store.store.rotate_stream_key(stream, Actor::SYSTEM).await.unwrap();
    own.renew_keys(&store.store).await;
    assert_ne!(fs::read(&keys).unwrap(), before, "it opened what lies about here");
}

#[tokio::test]
async fn keys_of_a_store_elsewhere_stay_as_they_are_and_are_told_of_where_they_open_what_was_destroyed() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    // A store of another id with the same keys, as a restore makes it.
    let (theirs, ours) = (snapshots(&place), snapshots(&place));
    let keys = keys_of(&take(&theirs, &store).await.path);
    let before = fs::read(&keys).unwrap();
    let stream = StreamId::Organization(founded.organization);
    store.store.rotate_stream_key(stream, Actor::SYSTEM).await.unwrap();
    assert!(ours.renew_keys(&store.store).await);
    assert_eq!(ours.problem(), None, "it opens nothing that is gone");
    destroy(&store, &founded, at).await;
    for _ in 0..2 {
        assert!(ours.renew_keys(&store.store).await, "nothing is left to be tried");
        let told = ours.problem().expect("it is told of");
        assert!(told.contains(keys.to_str().unwrap()) && told.contains("may go on"), "{told}");
    }
    assert_eq!(fs::read(&keys).unwrap(), before);
    fs::remove_file(&keys).unwrap();
    ours.renew_keys(&store.store).await;
    assert_eq!(ours.problem(), None);
}
