//! Signing keys: made when first needed, durable before they sign, rotated, and never lost.

use std::sync::Arc;

use settled::actor::Actor;
use settled::event::Event;
use settled::ids::StreamId;
use settled::log::EventLog;
use settled::log::memory::MemoryLog;
use settled::platform::signing_keys::event::SigningKeysEvent;
use settled::store::signing::SigningError;

use crate::test_store::{Keys, TestStore, start};

/// What a store's history says of signing keys, with whoever made them.
fn history(store: &TestStore) -> Vec<(Actor, SigningKeysEvent)> {
    let of_keys = |event| match event {
        Event::SigningKeys(event) => Some(event),
        _ => None,
    };
    let events = store.events(StreamId::Platform).into_iter();
    events.filter_map(|event| Some((event.actor, of_keys(event.event)?))).collect()
}

#[tokio::test]
async fn the_first_key_is_made_when_something_is_first_signed_and_once() {
    let store = TestStore::in_memory();
    assert_eq!(history(&store), []);
    let (first, second) = tokio::join!(store.store.signer(), store.store.signer());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.public_key(), second.public_key());
    let [(Actor::SYSTEM, SigningKeysEvent::Created(made))] = history(&store)[..] else {
        panic!("one key was made by the system: {:?}", history(&store));
    };
    assert_eq!(made.public_key, first.public_key());
    assert!(first.public_key().verifies(b"message", &second.sign(b"message")));
}

#[tokio::test]
async fn a_key_signs_after_a_restart_and_after_the_streams_key_was_rotated() {
    let (log, keys) = (Arc::new(MemoryLog::new()), Keys::new());
    let open = || TestStore::open(Arc::clone(&log) as Arc<dyn EventLog>, keys.clone(), start(), 64);
    let store = open();
    let before = store.store.signer().await.unwrap();
    store.store.rotate_stream_key(StreamId::Platform, Actor::OPERATOR).await.unwrap();
    store.store.stop();
    let again = open().store.signer().await.unwrap();
    assert_eq!(again.sign(b"message"), before.sign(b"message"));
}

#[tokio::test]
async fn a_rotation_makes_another_key_current_and_keeps_the_one_before() {
    let store = TestStore::in_memory();
    let before = store.store.signer().await.unwrap();
    let rotated = store.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
    let after = store.store.signer().await.unwrap();
    assert_eq!((rotated.from, rotated.to), (Some(before.public_key()), after.public_key()));
    assert_ne!(before.public_key(), after.public_key());
    let view = store.store.platform().view();
    let listed: Vec<_> = view.platform().signing_keys.newest_first().map(|key| key.public_key).collect();
    assert_eq!(listed, [after.public_key(), before.public_key()]);
    assert!(matches!(history(&store)[..], [_, (Actor::OPERATOR, SigningKeysEvent::Rotated(_))]));
}

#[tokio::test]
async fn without_room_on_the_disk_no_key_is_made() {
    let store = TestStore::in_memory();
    store.disk.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(store.store.signer().await, Err(SigningError::Refused(_))));
    assert_eq!(history(&store), []);
}
