//! Keys of other stores beside a history: those of stores that never knew it decide nothing of it, whatever they were restored
//! from, and what was destroyed for practice in a store that was made of it stays in its own.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use settled::actor::Actor;
use settled::ids::{Fresh, StoreId, StreamId};
use settled::log::Position;
use settled::log::memory::MemoryLog;
use settled::seal::keyring::KeyRing;
use settled::seal::root::RootKey;
use settled::settings::secrets::command::SecretsCommand;
use settled::snapshot::keys::{KeysFile, KeysHeader, KeysWriter, Shared};
use settled::snapshot::listing::Listed;
use settled::snapshot::operating::Snapshots;
use settled::snapshot::renewal::Present;
use settled::snapshot::restore::{RestoreError, Wanted};
use settled::snapshot::{SnapshotError, keys_of};
use settled::store::{Store, Submission};

use crate::courses::goes_on;
use crate::loaded::loaded;
use crate::snapshots::{Place, all, file, given};
use crate::test_store::{TestStore, start};

/// A history with whichever keys are taken for the newest.
fn newest<'a>(taken: &'a Listed, root: &'a RootKey) -> Wanted<'a> {
    Wanted { keys: None, ..all(taken, root) }
}

async fn take(place: &Place, store: &Store, of: StoreId) -> Listed {
    let snapshots = Snapshots::new(place.path(""), of);
    snapshots.take(store, None, Actor::OPERATOR, |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn a_store_that_was_restored_once_says_nothing_of_one_that_it_never_knew() {
    let (store, ..) = given().await;
    let place = Place::new();
    let ours = place.take(&store, "ours").await;
    let root = store.store.ring().root();
    let same_root = TestStore::open(Arc::new(MemoryLog::new()), store.keys.clone(), start(), 64);
    for (number, other) in [TestStore::in_memory(), same_root].into_iter().enumerate() {
        other.found("Other").await;
        for _ in 0..20 {
            other.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
        }
        let theirs = take(&place, &other.store, Fresh.id()).await;
        assert!(theirs.position > ours.position);
        let (its_root, into) = (other.store.ring().root(), format!("other-{number}"));
        place.restore(&newest(&theirs, &its_root), &into, &[]).unwrap();
        let opened = place.open(&into);
        let restored = goes_on(&opened, &its_root);
        take(&place, &restored, opened.store.id).await;
        restored.stop();

        let found = place.restore(&newest(&ours, &root), &format!("ours-{number}"), &[]).unwrap();
        assert_eq!((found.keys, found.absent), (keys_of(&ours.path), 0));
        let snapshots = Snapshots::new(place.path(""), ours.store);
        let drilled = snapshots.drill(&store.store, Some(ours.id), Actor::OPERATOR, |_, _| {}).await.unwrap();
        assert!(drilled.is_sound(), "{drilled:?}");
    }
}

#[tokio::test]
async fn what_was_destroyed_for_practice_is_gone_where_it_was_practised_alone() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let ours = place.take(&store, "ours").await;
    let root = store.store.ring().root();
    place.restore(&newest(&ours, &root), "practice", &[]).unwrap();
    let opened = place.open("practice");
    let practice = goes_on(&opened, &root);
    let handle = loaded(&practice, founded.organization).unwrap();
    let destroy = Submission::new(SecretsCommand::Destroy(at), founded.owner);
    practice.execute(&handle, destroy).await.unwrap();
    let theirs = take(&place, &practice, opened.store.id).await;
    practice.stop();
    drop((practice, handle));
    opened.log.close().unwrap();
    drop(opened);

    let restored = place.restore(&newest(&ours, &root), "ours", &[]).unwrap();
    let newer = keys_of(&theirs.path).display().to_string();
    assert!(restored.unknown.iter().any(|what| what.contains(&newer)), "{:?}", restored.unknown);
    assert_eq!((restored.keys, restored.absent), (keys_of(&ours.path), 0));
    let there = place.restore(&newest(&ours, &root), "practice", &[]).unwrap();
    assert_eq!((there.keys, there.absent), (keys_of(&theirs.path), 1), "what is destroyed there stays so");
    // Where the history's own keys are gone, theirs are all that there is.
    fs::remove_file(keys_of(&ours.path)).unwrap();
    let restored = place.restore(&newest(&ours, &root), "last", &[]).unwrap();
    assert_eq!((restored.keys, restored.absent), (keys_of(&theirs.path), 1));
}

#[tokio::test]
async fn keys_that_do_not_say_whose_epochs_they_name_come_last_and_stay_as_they_are() {
    let (store, ..) = given().await;
    let place = Place::new();
    let ours = place.take(&store, "ours").await;
    let (ring, root) = (store.store.ring(), store.store.ring().root());
    let other = TestStore::in_memory();
    // As format 2 was: of a store that took over the first epoch of another, up to far beyond this history.
    let shared = |epoch: &str| Shared { store: None, epoch: epoch.to_owned(), until: Position(1_000) };
    let header = KeysHeader {
        snapshot: Fresh.id(),
        store: Fresh.id(),
        position: Position(1_000),
        at: start().plus_seconds(1_000_000),
        epochs: vec![shared("0"), shared("k3x9")],
    };
    let write = |name: &str, ring: &KeyRing| {
        let at = file(&place.path(name));
        let mut writer = KeysWriter::create(&at, &header, ring.snapshot_key(header.snapshot)).unwrap();
        let streams: BTreeSet<StreamId> = store.log.streams().into_iter().map(|(stream, _)| stream).collect();
        for stream in streams {
            let carried = store.store.ring().carry(stream, writer.key()).unwrap();
            writer.stream(&carried).unwrap();
        }
        writer.finish().unwrap().publish().unwrap();
        at
    };
    let theirs = write("theirs.settled.keys", ring);
    write("foreign.settled.keys", other.store.ring());
    let restored = place.restore(&newest(&ours, &root), "ours", &[]).unwrap();
    assert_eq!(restored.keys, keys_of(&ours.path));
    fs::remove_file(keys_of(&ours.path)).unwrap();
    let restored = place.restore(&newest(&ours, &root), "theirs", &[]).unwrap();
    assert_eq!(restored.keys, theirs.path());

    let carried = store.log.data_keys(StreamId::Platform).unwrap();
    let destroyed = [(StreamId::Platform, carried[0].0)].into();
    assert!(Present { ring, destroyed: &destroyed }.renew(&theirs).unwrap());
    assert_eq!(KeysFile::open(&theirs, &root).unwrap().header, header, "it tells what it told");

    // Of another root key they are none at all.
    theirs.remove().unwrap();
    match place.restore(&newest(&ours, &root), "nobody", &[]) {
        Err(RestoreError::Snapshot(SnapshotError::NoKeys { there, .. })) => {
            assert!(
                there.contains("foreign.settled.keys") && there.contains("under the root key"),
                "{there}"
            );
        }
        other => panic!("{other:?}"),
    }
}
