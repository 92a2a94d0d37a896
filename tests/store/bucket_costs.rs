//! What a bucket is asked for and what its answers are taken for: no more than is needed, nothing in plain text, no failure of the
//! network for a bad snapshot; and nobody waits for it at a stop.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use settled::actor::Actor;
use settled::clock::DAY_SECONDS;
use settled::ids::{Fresh, StreamId};
use settled::snapshot::SnapshotError;
use settled::snapshot::listing::list;
use settled::snapshot::operating::{OperatingError, Snapshots};
use settled::snapshot::place::bucket::{Bucket, Patience};
use settled::snapshot::place::{Place, Sequential};
use settled::snapshot::retention::Retention;

use crate::s3::{Fate, ObjectStorage};
use crate::snapshot_bucket::{bucket, bytes, large, put, quick};
use crate::snapshots::Place as Folders;

/// Works in a thread until the bucket is asked for something that it does not answer, gives up, and returns how that ended.
fn given_up(
    storage: &ObjectStorage,
    place: &Arc<dyn Place>,
    is_stalled: impl Fn(&str, &str) -> bool + Send + 'static,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::ErrorKind {
    let (asks, asked) = mpsc::channel();
    storage.decide(move |method, target| {
        if !is_stalled(method, target) {
            return Fate::Answered;
        }
        let _nobody_listens = asks.send(());
        Fate::Stalled
    });
    let works = thread::spawn(work);
    asked.recv_timeout(Duration::from_secs(120)).expect("it asks");
    place.give_up();
    let ended = works.join().expect("it does not panic").expect_err("it is let go").kind();
    storage.decide(|_, _| Fate::Answered);
    ended
}

#[test]
fn whoever_writes_or_reads_is_let_go_at_a_stop_and_does_not_try_again() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let connect = || bucket(&storage, notes.path(), Patience::default());
    for stalled in ["uploads", "partNumber=1", "partNumber=2"] {
        let place = connect();
        let writes = Arc::clone(&place);
        let is_stalled = move |method: &str, target: &str| method != "GET" && target.contains(stalled);
        let kind = given_up(&storage, &place, is_stalled, move || put(&writes, "x", &bytes()));
        assert_eq!(kind, io::ErrorKind::ConnectionAborted, "{stalled}");
    }
    put(&connect(), "x", &bytes()).unwrap();
    let place = connect();
    let mut reads = io::BufReader::new(Sequential::from(place.open("x".as_ref()).unwrap()));
    let reads = move || reads.read_to_end(&mut Vec::new()).map(drop);
    assert_eq!(
        given_up(&storage, &place, |method, _| method == "GET", reads),
        io::ErrorKind::ConnectionAborted
    );
}

#[test]
fn what_was_not_replaced_is_not_taken_for_what_was_to_take_its_place() {
    let storage = ObjectStorage::start();
    let notes = tempfile::tempdir().unwrap();
    let place = bucket(&storage, notes.path(), Patience { retries: 1, ..quick() });
    let (before, mut after) = (bytes(), bytes());
    after[0] ^= 1;
    put(&place, "x", &before).unwrap();
    storage.decide(|method, target| {
        if method == "POST" && target.contains("uploadId=") { Fate::OutOfOrder } else { Fate::Answered }
    });
    put(&place, "x", &after).expect_err("there is one of the same length, and it is another one");
    storage.decide(|_, _| Fate::Answered);
    let mut first = [0];
    place.open("x".as_ref()).unwrap().read_exact_at(0, &mut first).unwrap();
    assert_eq!(first[0], before[0]);
}

#[test]
fn no_endpoint_is_without_tls_unless_somebody_allows_it() {
    let notes = tempfile::tempdir().unwrap();
    let url = "s3://settled".parse().unwrap();
    let connect = |endpoints: &[(&str, &str)]| {
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-east-1")];
        let variables =
            keys.iter().chain(endpoints).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Bucket::connect(&url, variables.collect::<Vec<_>>(), notes.path(), quick())
    };
    for name in
        ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "aws_endpoint"]
    {
        for plain in ["http://127.0.0.1:1", "HTTP://127.0.0.1:1"] {
            let both = [("AWS_ENDPOINT", "https://127.0.0.1:1"), (name, plain)];
            let error = connect(&both).expect_err(name).to_string();
            assert!(error.contains("no TLS"), "{name}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_expiring_and_taking_ask_for_no_more_than_they_need() {
    let storage = ObjectStorage::start();
    let (store, ..) = large().await;
    let folders = Folders::new();
    let place = bucket(&storage, &folders.path("snapshots"), quick());
    let snapshots = Snapshots::new(folders.path("snapshots"), Fresh.id()).in_place(Arc::clone(&place));
    let taken = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let name = format!("{}.settled", taken.id);
    // Its end, with which it is opened, and its beginning.
    let reads = || {
        let is_it = |(method, target): &(String, String)| method == "GET" && target.ends_with(&name);
        storage.seen().iter().filter(|request| is_it(request)).count()
    };
    storage.seen();
    tokio::task::spawn_blocking(move || list(&place)).await.unwrap().unwrap();
    assert_eq!(reads(), 2);
    let retention = Retention { histories: None, keys_seconds: 30 * DAY_SECONDS };
    snapshots.expire(&store.store, retention).await.unwrap();
    assert_eq!(reads(), 2);
    snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert_eq!(reads(), 0, "a bucket has no bound that its size would say anything of");

    // What cannot be reached is no bad snapshot.
    let events = store.events(StreamId::Platform).len();
    for drills in [false, true] {
        let (mut number, of) = (0, name.clone());
        storage.decide(move |method, target| {
            number += u32::from(method == "GET" && target.ends_with(&of));
            if number > 2 { Fate::Refused } else { Fate::Answered }
        });
        let error = match drills {
            false => snapshots.verify(&store.store, taken.id).await.map(drop).expect_err("refused"),
            true => {
                let drilled = snapshots.drill(&store.store, Some(taken.id), Actor::OPERATOR, |_, _| {});
                drilled.await.map(drop).expect_err("refused")
            }
        };
        assert!(matches!(error, OperatingError::Snapshot(SnapshotError::Io { .. })), "{error:?}");
    }
    assert_eq!(store.events(StreamId::Platform).len(), events, "nothing is noted of it");
}
