//! Keys rotated while the store is written to: everything that is sealed opens afterwards, and history says what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use settled::actor::Actor;
use settled::event::Event;
use settled::ids::{Fresh, OrganizationId, StreamId};
use settled::seal::keyring::KeyError;
use settled::seal::root::RootKey;
use settled::settings::people::{open_email, open_name};
use settled::store::encryption_keys::{EncryptionKeysEvent, KeyRotated};
use settled::store::rotation::{RootRotated, RotationError};

use crate::histories::join;
use crate::test_store::{Founded, TestStore};

/// Every rotation that a stream tells of.
fn rotations(store: &TestStore, stream: StreamId) -> Vec<(Actor, KeyRotated)> {
    let rotated = |event| match event {
        Event::EncryptionKeys(EncryptionKeysEvent::Rotated(rotated)) => Some(rotated),
        _ => None,
    };
    store.events(stream).into_iter().filter_map(|event| Some((event.actor, rotated(event.event)?))).collect()
}

/// That whatever is sealed of an organization's people opens; gives how many there are.
fn people_open(store: &TestStore, organization: OrganizationId) -> usize {
    let stream = StreamId::Organization(organization);
    let view = store.handle(organization).view();
    let people = view.organization().people.iter();
    let open = |person| {
        open_name(stream, person, store.store.ring()).expect("the name opens");
        open_email(stream, person, store.store.ring()).expect("the address opens");
    };
    people.map(open).count()
}

/// Lets a person join again and again, until it is told to stop or has done so many.
async fn joining(store: Arc<TestStore>, founded: Founded, stop: Arc<AtomicBool>) -> usize {
    let mut joined = 0;
    while !stop.load(Ordering::Relaxed) && joined < 2_000 {
        join(&store, &founded, "somebody", None).await;
        joined += 1;
    }
    joined
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_key_is_rotated_under_load_and_everything_sealed_opens() {
    let store = Arc::new(TestStore::in_memory());
    let founded = store.found("Acme").await;
    let stream = StreamId::Organization(founded.organization);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(joining(Arc::clone(&store), founded.clone(), Arc::clone(&stop))))
        .collect();
    let mut last = 0;
    for generation in 2..8 {
        let rotated = store.store.rotate_stream_key(stream, Actor::SYSTEM).await.expect("rotated");
        assert_eq!((rotated.stream, rotated.generation), (stream, generation));
        assert!(rotated.through > last, "the stream goes on meanwhile");
        last = rotated.through;
    }
    stop.store(true, Ordering::Relaxed);
    let mut joined = 0;
    for writer in writers {
        joined += writer.await.unwrap();
    }
    assert!(joined > 10);
    assert_eq!(people_open(&store, founded.organization), joined + 1);
    let noted = rotations(&store, stream);
    let generations: Vec<u32> =
        noted.iter().filter_map(|(_, rotated)| Some(rotated.stream.as_ref()?.generation)).collect();
    assert_eq!(generations, (2..8).collect::<Vec<_>>());
    let crashed = store.crashed();
    assert_eq!(people_open(&crashed, founded.organization), joined + 1);
    crashed.digests();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_key_is_rotated_under_load_and_organizations_are_founded_meanwhile() {
    let mut store = TestStore::in_memory();
    let first = store.found("Acme").await;
    let new = RootKey::random();
    let (text, to) = (new.text(), new.fingerprint().to_string());
    let from = store.store.ring().root_key().to_string();
    let (rotated, further) = tokio::join!(store.store.rotate_root_key(new), async {
        let mut further = Vec::new();
        for name in ["Beta", "Gamma", "Delta"] {
            further.push(store.found_further(first.account, name).await.organization);
        }
        further
    });
    let RootRotated { from: was, to: is, key_files } = rotated.expect("rotated");
    assert_eq!((was, is), (from.clone(), to.clone()));
    assert!(key_files >= 2);
    let root = KeyRotated {
        root: Some(settled::store::encryption_keys::RootKeyRotated { from, to: to.clone() }),
        stream: None,
    };
    assert_eq!(rotations(&store, StreamId::Platform), [(Actor::OPERATOR, root)]);
    store.keys.go_over(&text);
    let crashed = store.crashed();
    for organization in further.into_iter().chain([first.organization]) {
        assert_eq!(people_open(&store, organization), 1);
        assert_eq!(people_open(&crashed, organization), 1);
    }
    assert_eq!(crashed.store.ring().root_key().to_string(), to);
    let again = crashed.store.rotate_root_key(RootKey::from_text(&text.as_str().into()).unwrap()).await;
    assert!(matches!(again, Err(RotationError::Key(KeyError::SameRootKey(_)))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_the_root_key_that_a_crash_cut_off_is_finished_at_start_and_noted_once() {
    for with_the_new_one in [false, true] {
        let mut store = TestStore::in_memory();
        let founded = store.found("Acme").await;
        let new = RootKey::random();
        let text = new.text();
        store.store.ring().begin_root_rotation(new).expect("begun");
        if with_the_new_one {
            store.keys.go_over(&text);
        }
        let crashed = store.crashed();
        assert!(crashed.store.ring().root_rotation().is_some());
        assert_eq!(people_open(&crashed, founded.organization), 1);
        crashed.store.finish_rotations().await;
        crashed.store.finish_rotations().await;
        assert_eq!(crashed.store.ring().root_rotation(), None);
        assert_eq!(rotations(&crashed, StreamId::Platform).len(), 1);
        store.keys.go_over(&text);
        assert_eq!(people_open(&store.crashed(), founded.organization), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_for_another_root_key_an_unfinished_rotation_comes_to_its_end_first() {
    let mut store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let (first, second) = (RootKey::random(), RootKey::random());
    let text = second.text();
    let fingerprints = [&first, &second].map(|key| key.fingerprint().to_string());
    store.store.ring().begin_root_rotation(first).expect("begun");
    store.store.rotate_root_key(second).await.expect("rotated");
    let to: Vec<String> = rotations(&store, StreamId::Platform)
        .into_iter()
        .filter_map(|(_, rotated)| Some(rotated.root?.to))
        .collect();
    assert_eq!(to, fingerprints);
    store.keys.go_over(&text);
    assert_eq!(people_open(&store.crashed(), founded.organization), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_rotation_that_was_cut_off_is_repeated_and_leaves_one_generation() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let stream = StreamId::Organization(founded.organization);
    assert_eq!(store.store.ring().add_generation(stream).expect("added"), 2);
    let crashed = store.crashed();
    let rotated = crashed.store.rotate_stream_key(stream, Actor::OPERATOR).await.expect("rotated");
    assert_eq!(rotated.generation, 3, "the second may have wrapped what was destroyed since");
    assert_eq!(crashed.store.ring().old_generation(stream).expect("read"), None);
    assert_eq!(people_open(&crashed, founded.organization), 1);
    let noted = rotations(&crashed, stream);
    assert_eq!(noted.len(), 1);
    assert_eq!(noted[0].0, Actor::OPERATOR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_there_has_no_key_to_rotate() {
    let store = TestStore::in_memory();
    store.found("Acme").await;
    let nobody = StreamId::Organization(Fresh.id());
    let refused = store.store.rotate_stream_key(nobody, Actor::OPERATOR).await;
    assert!(matches!(refused, Err(RotationError::NoSuchStream(stream)) if stream == nobody), "{refused:?}");
}
