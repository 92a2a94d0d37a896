//! Snapshots in object storage, a real one that fails in every way that a network has: what is there is whole, what is not is
//! not listed, and what was sent is not sent again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use settled::actor::Actor;
use settled::clock::{DAY_SECONDS, HOUR_SECONDS};
use settled::ids::Fresh;
use settled::seal::root::RootKey;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::keys::KeysFile;
use settled::snapshot::listing::{list, orphans};
use settled::snapshot::operating::{OperatingError, Snapshots};
use settled::snapshot::place::bucket::{Bucket, Patience};
use settled::snapshot::place::{Over, Place};
use settled::snapshot::restore::Wanted;
use settled::snapshot::retention::Retention;

use crate::s3::{Fate, ObjectStorage, Request, SECRET};
use crate::secrets::Values;
use crate::snapshots::{Place as Folders, destroy, given, secrets};
use crate::test_store::{Founded, TestStore};

/// More than one part of 8 MiB.
const BYTES: usize = (9 << 20) + 4_321;

pub fn bucket(storage: &ObjectStorage, notes: &Path, patience: Patience) -> Arc<dyn Place> {
    let url = "s3://settled/prod".parse().unwrap();
    Arc::new(Bucket::connect(&url, storage.variables(), notes, patience).unwrap())
}

/// Tries again soon, and often enough for every test.
pub fn quick() -> Patience {
    Patience { pause: Duration::from_millis(200), ..Patience::default() }
}

pub fn bytes() -> Vec<u8> {
    (0..BYTES).map(|at| (at / 7 % 251) as u8).collect()
}

pub fn put(place: &Arc<dyn Place>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = place.begin(name.as_ref(), Over::TheOneBefore)?;
    for piece in bytes.chunks(1_000_003) {
        file.write_all(piece)?;
    }
    file.finish()?;
    file.publish()
}

fn get(place: &Arc<dyn Place>, name: &str) -> io::Result<Vec<u8>> {
    let mut file = place.open(name.as_ref())?;
    let mut bytes = vec![0; usize::try_from(file.bytes()).unwrap()];
    for (number, piece) in bytes.chunks_mut(900_001).enumerate() {
        file.read_exact_at(number as u64 * 900_001, piece)?;
    }
    Ok(bytes)
}

/// What becomes of the request of a number, all others being answered.
fn once(at: usize, fate: Fate) -> impl FnMut(&str, &str) -> Fate + Send + 'static {
    let mut number = 0;
    move |_, _| {
        number += 1;
        if number == at { fate } else { Fate::Answered }
    }
}

/// How many parts the storage has seen.
fn parts(storage: &ObjectStorage) -> usize {
    let is_part = |(method, target): &(String, String)| method == "PUT" && target.contains("partNumber=");
    storage.seen().iter().filter(|request| is_part(request)).count()
}

#[test]
fn whichever_request_fails_it_is_tried_again_and_what_was_sent_is_not() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let place = bucket(&storage, notes.path(), quick());
    let bytes = bytes();
    // One that asks what has the name, one that begins it, two parts, and the one that makes an object of them.
    for at in 1..=5 {
        for fate in [Fate::OutOfOrder, Fate::Cut, Fate::AnswerLost, Fate::AnswerCut] {
            let name = format!("{at}-{fate:?}");
            storage.decide(once(at, fate));
            put(&place, &name, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let again = usize::from((3..=4).contains(&at) && matches!(fate, Fate::AnswerLost));
            let sent = parts(&storage);
            assert!(sent == 2 + again || fate == Fate::AnswerCut && sent <= 3, "{name}: {sent} parts");
            storage.decide(|_, _| Fate::Answered);
            assert!(get(&place, &name).unwrap() == bytes, "{name}");
        }
    }
    assert_eq!(place.names().unwrap().len(), 20);
    assert!(
        std::fs::read_dir(notes.path().join("uploads")).unwrap().next().is_none(),
        "nothing is under way"
    );
}

#[test]
fn a_stall_and_a_cut_download_are_gone_on_with() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let place = bucket(&storage, notes.path(), Patience { stall: Duration::from_secs(3), ..quick() });
    let bytes = bytes();
    // The second part stalls, and it alone is sent again.
    storage.decide(once(4, Fate::Stalled));
    put(&place, "stalled", &bytes).unwrap();
    assert_eq!(parts(&storage), 2);
    // The first one reads the end, the next ones some MiB each.
    for at in 1..=4 {
        for fate in [Fate::OutOfOrder, Fate::Cut, Fate::AnswerCut] {
            storage.decide(once(at, fate));
            assert!(get(&place, "stalled").unwrap() == bytes, "{at} {fate:?}");
        }
    }
    storage.decide(once(2, Fate::Stalled));
    assert!(get(&place, "stalled").unwrap() == bytes);
}

#[test]
fn what_never_comes_to_an_end_is_refused_and_listed_nowhere_and_aborted_later() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let patience = Patience { retries: 2, ..quick() };
    let place = bucket(&storage, notes.path(), patience);
    let bytes = bytes();
    for from in [2, 4, 5] {
        let mut number = 0;
        storage.decide(move |_, _| {
            number += 1;
            if number < from { Fate::Answered } else { Fate::OutOfOrder }
        });
        let error = put(&place, &format!("never-{from}"), &bytes).expect_err("it is out of order");
        assert!(error.to_string().contains("500"), "{error}");
        storage.decide(|_, _| Fate::Answered);
        assert!(place.names().unwrap().is_empty());
    }
    // A process that dies has not even an error.
    let mut file = place.begin("crashed".as_ref(), Over::Nothing).unwrap();
    file.write_all(&bytes).unwrap();
    drop(file);
    assert_eq!(storage.uploads().matches("<UploadId>").count(), 3);
    assert!(place.names().unwrap().is_empty());
    let place = bucket(&storage, notes.path(), patience);
    place.sweep_all().unwrap();
    assert_eq!(storage.uploads().matches("<UploadId>").count(), 0);
    assert!(std::fs::read_dir(notes.path().join("uploads")).unwrap().next().is_none());
    place.sweep_all().unwrap();
}

#[test]
fn an_object_that_is_replaced_is_not_read_on() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let place = bucket(&storage, notes.path(), quick());
    let bytes = bytes();
    put(&place, "x", &bytes).unwrap();
    let mut file = place.open("x".as_ref()).unwrap();
    let mut piece = [0; 10];
    file.read_exact_at(0, &mut piece).unwrap();
    put(&place, "x", &bytes[1..]).unwrap();
    file.read_exact_at(5 << 20, &mut piece).expect_err("it is another one");
    assert_eq!(place.open("y".as_ref()).expect_err("it is not there").kind(), io::ErrorKind::NotFound);
    assert!(place.has("x".as_ref()).unwrap() && !place.has("y".as_ref()).unwrap());
    place.remove("x".as_ref()).unwrap();
    place.remove("x".as_ref()).unwrap();
    assert!(!place.has("x".as_ref()).unwrap());
}

#[test]
fn credentials_are_asked_for_and_shown_nowhere() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let url = "s3://settled".parse().unwrap();
    let connect = |leave_out: &str| {
        let variables = storage.variables().into_iter().filter(|(name, _)| name != leave_out);
        Bucket::connect(&url, variables, notes.path(), quick())
    };
    for (without, said) in [
        ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_ALLOW_HTTP", "no TLS"),
    ] {
        let error = connect(without).expect_err(without).to_string();
        assert!(error.contains(said) && !error.contains(SECRET), "{error}");
    }
    storage.decide(|_, _| Fate::Refused);
    let place = bucket(&storage, notes.path(), quick());
    let error = place.names().expect_err("nobody is let in");
    let shown = format!("{error} {error:?} {place:?}");
    assert!(shown.contains("403") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn whoever_waits_for_a_bucket_that_does_not_answer_is_let_go_at_a_stop() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let place = bucket(&storage, notes.path(), Patience::default());
    let (asks, asked) = std::sync::mpsc::channel();
    storage.decide(move |_, _| {
        let _nobody_listens = asks.send(());
        Fate::Stalled
    });
    let waits = Arc::clone(&place);
    let waits = std::thread::spawn(move || waits.names());
    asked.recv_timeout(Duration::from_secs(60)).expect("it asks");
    place.give_up();
    assert_eq!(waits.join().unwrap().expect_err("let go").kind(), io::ErrorKind::ConnectionAborted);
}

/// A store whose history takes more than one part.
pub async fn large() -> (TestStore, Founded, At) {
    let (store, founded, at) = given().await;
    let values = Values { store: &store, founded: &founded };
    let mut state = 1_u32;
    for number in 0..180 {
        let value: String = (0..60_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(33 + (state >> 24) as u8 % 90)
            })
            .collect();
        let at = At { secret: Fresh.id(), scope: Scope::Organization };
        store.execute(&founded, values.create(at, &format!("LARGE_{number}"), &value)).await.unwrap();
    }
    (store, founded, at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_comes_back_from_a_bucket_also_where_requests_fail_all_the_time() {
    let storage = ObjectStorage::start();
    let (store, founded, _) = large().await;
    let folders = Folders::new();
    let place = bucket(&storage, &folders.path("snapshots"), quick());
    let snapshots = Snapshots::new(folders.path("snapshots"), Fresh.id()).in_place(Arc::clone(&place));
    let mut number = 0;
    storage.decide(move |_, _| {
        number += 1;
        match number % 9 {
            2 => Fate::OutOfOrder,
            5 => Fate::Cut,
            8 => Fate::AnswerLost,
            _ => Fate::Answered,
        }
    });
    let taken = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert_eq!(taken.path, Path::new(&format!("s3://settled/prod/{}.settled", taken.id)));
    assert!(parts(&storage) >= 2, "it takes more than one part: {}", taken.bytes);
    let verified = snapshots.verify(&store.store, taken.id).await.unwrap().unwrap();
    assert_eq!((verified.events, verified.missing_keys), (taken.events, Some(0)));
    let drilled = snapshots.drill(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert!(drilled.is_sound() && drilled.snapshot == taken.id, "{drilled:?}");
    let listing = tokio::task::spawn_blocking(move || list(&place)).await.unwrap().unwrap();
    assert_eq!((listing.data, listing.unreadable.len()), (vec![taken.clone()], 0));
    let root = store.store.ring().root();
    let wanted = Wanted { history: snapshots.located(&taken), keys: None, until: None, root: &root };
    let restored = folders.restore(&wanted, "data", &[]).unwrap();
    assert_eq!((restored.events, restored.lost.len()), (taken.events, 0));
    assert_eq!(secrets(&folders, "data", &founded).0, 181);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_comes_to_no_end_is_no_half_of_one() {
    let storage = ObjectStorage::start();
    let (store, ..) = given().await;
    let folders = Folders::new();
    let place = bucket(&storage, &folders.path("snapshots"), Patience { retries: 1, ..quick() });
    let snapshots = Snapshots::new(folders.path("snapshots"), Fresh.id()).in_place(Arc::clone(&place));
    storage.decide(|method, target| {
        let is_history =
            method == "PUT" && target.split('?').next().is_some_and(|path| path.ends_with(".settled"));
        if is_history { Fate::OutOfOrder } else { Fate::Answered }
    });
    let error =
        snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.expect_err("out of order");
    assert!(matches!(error, OperatingError::Snapshot(_)), "{error:?}");
    let found = tokio::task::spawn_blocking(move || {
        let listing = list(&place).unwrap();
        let orphans = orphans(&place, &listing).unwrap();
        (listing, orphans)
    });
    let (listing, orphans) = found.await.unwrap();
    let left = (listing.data.len(), listing.unreadable.len(), orphans.len());
    assert_eq!(left, (0, 0, 0), "its keys came first, and are gone with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_a_bucket_are_rewritten_and_expire_as_in_a_folder() {
    let storage = ObjectStorage::start();
    let (store, founded, at) = given().await;
    let folders = Folders::new();
    let place = bucket(&storage, &folders.path("snapshots"), quick());
    let snapshots = Snapshots::new(folders.path("snapshots"), Fresh.id()).in_place(Arc::clone(&place));
    let take = async || snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let keys = async || {
        let place = Arc::clone(&place);
        let all = move || {
            let names = place.names().unwrap();
            let keys = names.into_iter().filter(|name| name.to_string_lossy().ends_with(".keys"));
            keys.map(|name| get(&place, name.to_str().unwrap()).unwrap()).collect::<Vec<_>>()
        };
        tokio::task::spawn_blocking(all).await.unwrap()
    };
    let first = take().await;
    let before = keys().await;
    snapshots.renew_keys(&store.store).await;
    assert_eq!(keys().await, before, "nothing was destroyed");
    storage.seen();
    snapshots.renew_keys(&store.store).await;
    let is_read = |(method, target): &Request| method == "GET" && target.contains(".keys");
    assert!(!storage.seen().iter().any(is_read), "once was enough");
    destroy(&store, &founded, at).await;
    snapshots.renew_keys(&store.store).await;
    let renewed = keys().await;
    assert!(renewed.len() == 1 && renewed[0].len() < before[0].len(), "a key is missing");
    let root: RootKey = store.store.ring().root();
    let located = snapshots.located(&first).keys();
    tokio::task::spawn_blocking(move || KeysFile::open(&located, &root).map(drop)).await.unwrap().unwrap();

    store.hands.advance(Duration::from_secs((2 * HOUR_SECONDS).unsigned_abs()));
    let second = take().await;
    let retention = Retention { histories: Some(1), keys_seconds: 30 * DAY_SECONDS };
    snapshots.expire(&store.store, retention).await.unwrap();
    let names = tokio::task::spawn_blocking(move || place.names()).await.unwrap().unwrap();
    let of_second = [format!("{}.settled", second.id), format!("{}.settled.keys", second.id)];
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| of_second.iter().any(|of| **of == *name)), "{names:?}");
}
