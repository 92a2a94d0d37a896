//! Writing the two files of a snapshot while others are at the same names, in the same folder, or at the keys.

use std::fs;
use std::time::Duration;

use settled::actor::Actor;
use settled::ids::Fresh;
use settled::log::Position;
use settled::seal::root::RootKey;
use settled::snapshot::create::{Source, create};
use settled::snapshot::keys::KeysFile;
use settled::snapshot::keys_of;
use settled::snapshot::operating::{Snapshots, verify};

use crate::snapshot_folder::snapshots;
use crate::snapshots::{Place, file, given};
use crate::test_store::start;

/// Goes on only once it is told so, from the first time on that it hears how far a taking has come.
pub fn waits() -> (
    impl FnMut(Position, Position) + Send + 'static,
    tokio::sync::oneshot::Receiver<()>,
    std::sync::mpsc::Sender<()>,
) {
    let (began, begins) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let mut first = Some((began, goes_on));
    let progress = move |_, _| {
        if let Some((began, goes_on)) = first.take() {
            began.send(()).expect("the test listens");
            goes_on.recv().expect("the test says so");
        }
    };
    (progress, begins, go_on)
}

#[tokio::test]
async fn of_two_who_write_one_file_the_second_is_refused_and_nobody_sweeps_the_firsts_away() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let to = place.path("both.settled");
    let of = |folder: &str| Snapshots::new(place.path(folder), Fresh.id());
    let (one, other, whose_folder_it_is) = (of("one"), of("other"), of(""));
    let (progress, begins, go_on) = waits();
    let taking = one.take(&store.store, Some(to.clone()), Actor::OPERATOR, progress);
    let meanwhile = async {
        begins.await.expect("it begins");
        let second = other.take(&store.store, Some(to.clone()), Actor::OPERATOR, |_, _| {}).await;
        let refused = second.unwrap_err().to_string();
        assert!(refused.contains("somebody else is writing"), "{refused}");
        assert!(whose_folder_it_is.renew_keys(&store.store).await, "it sweeps what is left there");
        go_on.send(()).expect("it waits");
    };
    let (taken, ()) = tokio::join!(taking, meanwhile);
    let taken = taken.unwrap();
    verify(&file(&taken.path), None, &mut |_, _| {}).unwrap();
    assert!(taken.has_keys && !to.with_added_extension("unfinished").exists());
}

#[tokio::test]
async fn what_somebody_puts_under_its_names_stays_and_is_refused_at_once_where_it_is_there_before() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let to = place.path("taken.settled");
    for path in [to.clone(), keys_of(&to)] {
        let (put, output) = (path.clone(), Some(to.clone()));
        let put = move |_, _: Position| fs::write(&put, "somebody's").expect("written");
        let refused = snapshots.take(&store.store, output, Actor::OPERATOR, put).await.unwrap_err();
        let told = format!("{} is there already", path.display());
        assert!(refused.to_string().starts_with(&told), "{refused}");
        let output = Some(to.clone());
        let refused = snapshots
            .take(&store.store, output, Actor::OPERATOR, |_, _| panic!("it was begun"))
            .await
            .unwrap_err();
        assert!(refused.to_string().starts_with(&told), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        fs::remove_file(&path).unwrap();
        let left = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.filter(|path| path.is_file()).count(), 0, "nothing else is left");
    }
}

#[tokio::test]
async fn keys_are_carried_only_while_nobody_rotates_any() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = snapshots(&place);
    let (held, holds) = tokio::sync::oneshot::channel();
    let (let_go, lets_go) = std::sync::mpsc::channel::<()>();
    let rotates = std::thread::spawn({
        let store = store.store.clone();
        move || {
            let rotating = store.hold_keys();
            held.send(()).expect("the test listens");
            lets_go.recv().expect("the test says so");
            drop(rotating);
        }
    });
    holds.await.expect("it holds them");
    let taking = {
        let (snapshots, store) = (snapshots.clone(), store.store.clone());
        tokio::spawn(async move { snapshots.take(&store, None, Actor::OPERATOR, |_, _| {}).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!taking.is_finished(), "it waits");
    let_go.send(()).expect("it waits for that");
    rotates.join().expect("it does not panic");
    let taken = taking.await.unwrap().unwrap();
    assert!(taken.has_keys);
}

#[tokio::test]
async fn keys_are_wrapped_by_the_root_key_that_is_in_use_at_the_end() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let (signer, to) = (store.store.signer().await.unwrap(), file(&place.path("taken.settled")));
    let (ring, new) = (store.store.ring(), RootKey::random());
    let create_on_a_thread = || {
        let source = Source {
            log: &*store.log,
            ring,
            store: Fresh.id(),
            epoch: "0",
            now: start(),
            root: &|stream, size| store.store.root_over(stream, size),
            accepted: &|| store.store.directory().accepted_keys(),
            signer: &signer,
        };
        let goes_over = || ring.begin_root_rotation(new.clone()).expect("once, and then it is under way");
        create(&source, Fresh.id(), &to, goes_over, &mut |_, _| {}).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(create_on_a_thread).join().expect("it does not panic"));
    KeysFile::open(&to.keys(), &new).expect("the one before opens nothing any more");
}
