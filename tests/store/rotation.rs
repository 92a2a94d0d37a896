//! Keys rotated while the store is written to: everything that is sealed opens afterwards, and history says what was done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use settled::actor::Actor;
use settled::event::Event;
use settled::ids::{Fresh, OrganizationId, StreamId};
use settled::log::{Append, Key};
use settled::seal::keyring::KeyError;
use settled::seal::root::RootKey;
use settled::settings::people::{open_email, open_name};
use settled::settings::secrets::command::{At, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::store::Submission;
use settled::store::check_keys::check as check_keys;
use settled::store::encryption_keys::{EncryptionKeysEvent, KeyRotated};
use settled::store::rotation::{RootRotated, RotationError};

use crate::durable::{all, held, queue};
use crate::histories::join;
use crate::secrets::Values;
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
        assert!(rotated.through > last);
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

/// Secrets of an organization, and the destroying of one.
async fn with_secrets(count: usize) -> (TestStore, Founded, Vec<At>) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let values = Values { store: &store, founded: &founded };
    let mut secrets = Vec::new();
    for number in 0..count {
        let at = At { secret: Fresh.id(), scope: Scope::Organization };
        store.execute(&founded, values.create(at, &format!("S{number}"), "a value")).await.unwrap();
        secrets.push(at);
    }
    (store, founded, secrets)
}

async fn destroy(store: &TestStore, founded: &Founded, at: At) -> u64 {
    let destroy = Submission::new(SecretsCommand::Destroy(at), founded.owner);
    store.execute(founded, destroy).await.unwrap().version
}

/// The highest version through which each rotation that a stream tells of covers what was destroyed.
fn through(store: &TestStore, stream: StreamId) -> Vec<u64> {
    rotations(store, stream).into_iter().filter_map(|(_, rotated)| Some(rotated.stream?.through)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_after_something_was_destroyed_its_streams_key_is_rotated_once_for_all_of_the_hour() {
    let (store, founded, secrets) = with_secrets(4).await;
    let stream = StreamId::Organization(founded.organization);
    let old: Vec<_> = store.log.data_keys(stream).unwrap();
    store.store.finish_rotations().await;
    assert_eq!(through(&store, stream), [0; 0], "nothing was destroyed");
    destroy(&store, &founded, secrets[0]).await;
    store.hands.advance(Duration::from_secs(3_599));
    let last = destroy(&store, &founded, secrets[1]).await;
    store.store.finish_rotations().await;
    assert_eq!(through(&store, stream), [0; 0], "it is not an hour yet");
    assert_eq!(store.store.directory().waiting_for_rotation(), 1);

    store.hands.advance(Duration::from_secs(1));
    store.store.finish_rotations().await;
    assert_eq!(through(&store, stream), [last]);
    assert_eq!(rotations(&store, stream)[0].0, Actor::SYSTEM);
    assert_eq!(store.store.directory().waiting_for_rotation(), 0);
    store.hands.advance(Duration::from_secs(86_400));
    store.store.finish_rotations().await;
    assert_eq!(through(&store, stream).len(), 1, "nothing was destroyed since");

    let left = store.log.data_keys(stream).unwrap();
    assert_eq!(left.len(), old.len() - 2);
    for (id, wrapped) in &left {
        assert!(!old.iter().any(|(_, before)| before == wrapped), "{id} is wrapped anew");
    }
    assert_eq!(people_open(&store, founded.organization), 1);
    people_open(&store.crashed(), founded.organization);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_rotation_is_known_after_a_crash_at_any_step_of_one() {
    for steps in 0..4 {
        let (store, founded, secrets) = with_secrets(2).await;
        let stream = StreamId::Organization(founded.organization);
        let last = destroy(&store, &founded, secrets[0]).await;
        store.hands.advance(Duration::from_secs(3_600));
        let ring = store.store.ring();
        if steps > 0 {
            assert_eq!(ring.add_generation(stream).expect("added"), 2);
        }
        for (id, wrapped) in ring.rewrapped(stream).expect("wrapped anew").into_iter().take(steps * 2) {
            let put = vec![(Key::DataKey(stream, id), wrapped)];
            let append = Append { stream, expected: None, frame: None, put, remove: Vec::new() };
            store.log.append(vec![append]).expect("put");
        }
        if steps == 3 {
            ring.drop_old_generation(stream).expect("nothing is wrapped by it, and nobody has noted that");
        }
        let crashed = store.crashed();
        assert_eq!(crashed.store.directory().to_rotate(crashed.clock.now()).len(), 1, "{steps} steps");
        crashed.store.finish_rotations().await;
        assert_eq!(through(&crashed, stream), [last], "{steps} steps");
        assert_eq!(crashed.store.ring().old_generation(stream).expect("read"), None);
        let report = check_keys(&*crashed.log, Some(crashed.store.ring()), || {});
        assert_eq!((report.destroyed, report.defects.len()), (1, 0), "{steps} steps: {report:?}");
        assert_eq!(people_open(&crashed, founded.organization), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_during_a_rotation_waits_for_the_next_one() {
    let (store, hold, founded) = held().await;
    let values = Values { store: &store, founded: &founded };
    let stream = StreamId::Organization(founded.organization);
    let mut secrets = Vec::new();
    for number in 0..3 {
        let at = At { secret: Fresh.id(), scope: Scope::Organization };
        store.execute(&founded, values.create(at, &format!("S{number}"), "a value")).await.unwrap();
        secrets.push(at);
    }
    let first = destroy(&store, &founded, secrets[0]).await;
    hold.hold();
    let rotating = tokio::spawn({
        let rotate = store.store.clone();
        async move { rotate.rotate_stream_key(stream, Actor::OPERATOR).await }
    });
    assert!(hold.until_waiting(), "the keys that were wrapped anew are about to be put");
    let destroys =
        queue(&store, &founded, vec![Submission::new(SecretsCommand::Destroy(secrets[1]), founded.owner)])
            .await;
    hold.release();
    let second = all(destroys).await.remove(0).unwrap().version;
    let rotated = rotating.await.unwrap().expect("rotated");
    assert_eq!(rotated.through, first);
    assert!(second > first);
    assert_eq!(store.store.directory().waiting_for_rotation(), 1, "the second waits");
    let secret = secrets[2].secret;
    let view = store.handle(founded.organization).view();
    let left = store.log.data_keys(stream).unwrap();
    assert!(
        view.organization()
            .secrets
            .get(secret)
            .unwrap()
            .versions
            .values()
            .all(|version| { left.iter().any(|(id, _)| *id == version.key) })
    );
    assert_eq!(left.len(), 3, "the organization's, the founder's and the third secret's: none came back");

    store.hands.advance(Duration::from_secs(3_601));
    store.store.finish_rotations().await;
    assert!(through(&store, stream)[1] >= second);
    assert_eq!(store.store.directory().waiting_for_rotation(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_destroyed_while_they_are_wrapped_anew_never_come_back() {
    let (store, founded, secrets) = with_secrets(60).await;
    let stream = StreamId::Organization(founded.organization);
    let before = store.log.data_keys(stream).unwrap().len();
    let store = Arc::new(store);
    let (rotated, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let rotate = tokio::spawn({
        let (store, rotated, stop) = (store.store.clone(), Arc::clone(&rotated), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                store.rotate_stream_key(stream, Actor::OPERATOR).await.expect("rotated");
                rotated.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // One rotation after another: each key is destroyed within one, or between two.
    for at in &secrets[..50] {
        let before = rotated.load(Ordering::Relaxed);
        destroy(&store, &founded, *at).await;
        while rotated.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    rotate.await.unwrap();
    assert_eq!(store.log.data_keys(stream).unwrap().len(), before - 50);
    let report = check_keys(&*store.log, Some(store.store.ring()), || {});
    assert_eq!((report.destroyed, report.defects.len()), (50, 0), "{report:?}");
    assert_eq!(report.whole as usize, before - 50 + 1, "and the account's");
}
