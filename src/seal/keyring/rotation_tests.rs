//! What rotating promises, after each of its steps: every data key opens by a ring that has just started, and what was to
//! go opens with nothing.

use std::fs;
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::rotation::RootChange;
use super::tests::{FIELD, PLATFORM, Store, organization};
use super::*;
use crate::seal::root::RootKeySource;
use crate::seal::{Plain, Sealed};

/// A root key's text, and the key.
fn root() -> (Zeroizing<String>, RootKey) {
    let key = RootKey::random();
    (key.text(), key)
}

fn load(text: &str) -> RootKey {
    RootKey::load(&RootKeySource::Environment(Plain::from(text))).expect("a root key")
}

/// A data key of a stream in the log, and a value under it.
struct Held {
    stream: StreamId,
    id: DataKeyId,
    commitment: Commitment,
    sealed: Sealed,
}

impl Held {
    fn in_store(store: &Store, stream: StreamId) -> Self {
        let new = store.mint(stream);
        let sealed = new.key().seal(&FIELD, &Plain::from("canary"));
        Self { stream, id: new.id(), commitment: new.key().commitment(), sealed }
    }

    fn opens(&self, ring: &KeyRing) {
        let key = ring.data_key(self.stream, self.id, Some(self.commitment)).expect("the key is there");
        assert_eq!(key.open(&FIELD, &self.sealed), Ok(Plain::from("canary")));
    }
}

/// A store with the platform and two organizations, each with two data keys.
fn given() -> (Store, Vec<Held>) {
    let store = Store::with_platform();
    let streams = [PLATFORM, organization(), organization()];
    let mut held = Vec::new();
    for stream in streams {
        store.ring().create_stream_key(stream).expect("created");
        held.extend((0..2).map(|_| Held::in_store(&store, stream)));
    }
    (store, held)
}

/// Does what the writer does with keys that were wrapped anew.
fn put(store: &Store, stream: StreamId, rewrapped: Vec<(DataKeyId, Vec<u8>)>) {
    for (id, wrapped) in rewrapped {
        store.log.put(Key::DataKey(stream, id), wrapped);
    }
}

#[test]
fn after_every_step_of_a_root_rotation_either_root_key_opens_everything_and_the_new_one_does_in_the_end() {
    let (mut store, held) = given();
    let old = store.root.clone();
    let (new, key) = root();
    let ring = store.ring();
    let check = |store: &mut Store, configured: &[&Zeroizing<String>]| {
        for text in configured {
            store.root = (*text).clone();
            KeyRing::verify_root(&store.keys(), &store.root()).expect("it is one of the two");
            held.iter().for_each(|held| held.opens(&store.ring()));
            held.iter().for_each(|held| held.opens(&ring));
        }
    };
    check(&mut store, &[&old]);
    let change = ring.begin_root_rotation(key).expect("begun");
    assert_eq!(change, RootChange { from: load(&old).fingerprint(), to: load(&new).fingerprint() });
    check(&mut store, &[&old, &new]);
    for stream in ring.streams_with_keys().expect("listed") {
        assert!(ring.end_root_rotation().is_err(), "a key file still needs the old one");
        assert!(ring.rewrap_stream_key(stream).expect("wrapped anew"));
        assert!(!ring.rewrap_stream_key(stream).expect("it is already"));
        check(&mut store, &[&old, &new]);
    }
    assert_eq!(store.ring().root_rotation(), Some(change), "also to who starts now");
    ring.end_root_rotation().expect("ended");
    check(&mut store, &[&new]);
    assert_eq!((ring.root_rotation(), ring.root_key()), (None, change.to));
    store.root = old;
    let error = KeyRing::verify_root(&store.keys(), &store.root()).expect_err("the old one has gone");
    assert!(matches!(error, KeyError::WrongRootKey { .. }), "{error}");
    assert_eq!(store.files().len(), 3, "and so has the file that let it open the new one");
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_by_whoever_starts_with_either_root_key() {
    for with_the_new_one in [false, true] {
        let (mut store, held) = given();
        let (new, key) = root();
        let ring = store.ring();
        ring.begin_root_rotation(key).expect("begun");
        ring.rewrap_stream_key(held[2].stream).expect("wrapped anew");
        if with_the_new_one {
            store.root = new.clone();
        }
        let ring = store.ring();
        let made = organization();
        ring.create_stream_key(made).expect("created in the midst of it");
        for stream in ring.streams_with_keys().expect("listed") {
            ring.rewrap_stream_key(stream).expect("wrapped anew");
        }
        ring.end_root_rotation().expect("ended");
        store.root = new;
        store.ring().mint(made).expect("its key is wrapped by the new one");
        held.iter().for_each(|held| held.opens(&store.ring()));
    }
}

#[test]
fn a_root_key_is_not_rotated_to_itself_nor_twice_at_once() {
    let (store, _) = given();
    let ring = store.ring();
    assert!(matches!(ring.begin_root_rotation(store.root()), Err(KeyError::SameRootKey(_))));
    assert_eq!(ring.root_rotation(), None);
    let (text, new) = root();
    let change = ring.begin_root_rotation(new).expect("begun");
    assert_eq!(ring.begin_root_rotation(load(&text)).expect("it goes on"), change);
    assert!(matches!(ring.begin_root_rotation(root().1), Err(KeyError::Rotating { .. })));
}

#[test]
fn during_a_root_rotation_a_third_root_key_is_refused_and_nothing_is_written() {
    let (mut store, _) = given();
    store.ring().begin_root_rotation(root().1).expect("begun");
    let before = store.files();
    store.root = root().0;
    let error = KeyRing::verify_root(&store.keys(), &store.root()).expect_err("refused");
    assert!(matches!(error, KeyError::NeitherRootKey { .. }), "{error}");
    assert_eq!(store.files(), before);
}

#[test]
fn after_every_step_of_a_stream_rotation_all_data_keys_open() {
    let (store, mut held) = given();
    let (ring, stream) = (store.ring(), held[2].stream);
    let check = |held: &[Held]| {
        held.iter().for_each(|held| held.opens(&ring));
        held.iter().for_each(|held| held.opens(&store.ring()));
    };
    assert_eq!(ring.old_generation(stream).expect("read"), None);
    assert_eq!(ring.add_generation(stream).expect("added"), 2);
    assert_eq!(ring.add_generation(stream).expect("it is there"), 2);
    assert_eq!(store.ring().old_generation(stream).expect("read"), Some(1));
    held.push(Held::in_store(&store, stream));
    check(&held);
    let rewrapped = ring.rewrapped(stream).expect("wrapped anew");
    assert_eq!(rewrapped.len(), 2, "the third was wrapped by the new generation");
    let error = ring.drop_old_generation(stream).expect_err("it is needed");
    assert!(matches!(error, KeyError::StillWrapped { generation: 1, left: 2, .. }), "{error}");
    for one in rewrapped {
        put(&store, stream, vec![one]);
        check(&held);
    }
    ring.drop_old_generation(stream).expect("dropped");
    ring.drop_old_generation(stream).expect("there is none");
    check(&held);
    assert_eq!(store.ring().old_generation(stream).expect("read"), None);
    assert_eq!(ring.add_generation(stream).expect("added"), 3);
}

#[test]
fn what_was_removed_before_a_rotation_opens_with_nothing_after_it() {
    let (store, held) = given();
    let destroyed = &held[2];
    let (ring, stream, key) = (store.ring(), destroyed.stream, Key::DataKey(destroyed.stream, destroyed.id));
    let mut file = fs::File::open(store.keys().join(stream.to_string())).expect("there");
    let old_bytes = store.log.get(&key).expect("read").expect("there");
    store.log.remove(&key);
    ring.forget(stream, destroyed.id);
    ring.add_generation(stream).expect("added");
    put(&store, stream, ring.rewrapped(stream).expect("wrapped anew"));
    ring.drop_old_generation(stream).expect("dropped");
    assert!(matches!(ring.data_key(stream, destroyed.id, None), Err(KeyError::Lost { .. })));
    // As sled keeps it: the removed bytes lie about still.
    store.log.put(key, old_bytes);
    for ring in [&ring, &store.ring()] {
        let error = ring.data_key(stream, destroyed.id, None).expect_err("nothing opens it");
        assert!(matches!(error, KeyError::DamagedKey { .. }), "{error}");
    }
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read");
    assert!(bytes.iter().all(|byte| *byte == 0), "the old key file was overwritten where it lay");
}

#[test]
fn a_data_key_that_was_minted_before_a_rotation_keeps_the_old_generation_until_it_is_given_up() {
    let (store, held) = given();
    let (ring, stream) = (store.ring(), held[0].stream);
    let minted = ring.mint(stream).expect("minted");
    let (ended, copy) = (AtomicBool::new(false), minted.clone());
    let begun = std::sync::Barrier::new(2);
    ring.add_generation(stream).expect("added");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            begun.wait();
            ring.wait_for_minted(stream, 1).expect("it ends");
            assert!(ended.load(Ordering::SeqCst), "it did not wait");
        });
        drop(minted);
        begun.wait();
        std::thread::sleep(std::time::Duration::from_millis(50));
        ended.store(true, Ordering::SeqCst);
        drop(copy);
        waits.join().expect("it waited");
    });
    ring.mint(stream).expect("minted");
    ring.wait_for_minted(stream, 1).expect("new ones are of the new generation");
}

#[test]
fn under_minting_and_reading_nothing_is_lost_over_many_rotations() {
    let (store, held) = given();
    let (ring, stream) = (store.ring(), held[2].stream);
    let stop = AtomicBool::new(false);
    let minted: Mutex<Vec<Held>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let new = ring.mint(stream).expect("minted");
                    let sealed = new.key().seal(&FIELD, &Plain::from("canary"));
                    std::thread::yield_now();
                    store.log.put(Key::DataKey(stream, new.id()), new.wrapped().to_vec());
                    let (id, commitment) = (new.id(), new.key().commitment());
                    minted.lock().expect("not poisoned").push(Held { stream, id, commitment, sealed });
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                held.iter().for_each(|held| held.opens(&ring));
                ring.forget(stream, held[2].id);
                ring.forget(stream, held[3].id);
            }
        });
        for _ in 0..10 {
            let old = ring.add_generation(stream).expect("added") - 1;
            ring.wait_for_minted(stream, old).expect("they come");
            put(&store, stream, ring.rewrapped(stream).expect("wrapped anew"));
            ring.drop_old_generation(stream).expect("dropped");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let fresh = store.ring();
    let minted = minted.into_inner().expect("not poisoned");
    assert!(minted.len() > 10);
    held.iter().chain(&minted).for_each(|held| held.opens(&fresh));
}

#[test]
fn leftovers_are_swept_and_no_more() {
    let (store, held) = given();
    let before = store.files();
    let path = store.keys().join(held[2].stream.to_string());
    fs::write(path.with_added_extension("unfinished"), "half").expect("written");
    fs::hard_link(&path, path.with_added_extension("replaced")).expect("linked");
    fs::write(store.keys().join("platform.replaced"), "an old key").expect("written");
    store.ring().sweep().expect("swept");
    assert_eq!(store.files(), before);
    held.iter().for_each(|held| held.opens(&store.ring()));
}

#[test]
fn what_is_under_way_is_told_and_is_no_defect() {
    let (store, held) = given();
    let streams = [PLATFORM, held[2].stream, held[4].stream];
    let ring = store.ring();
    let whole = ring.check_files(&streams);
    assert_eq!((whole.whole, whole.unfinished.len(), whole.defects.len()), (3, 0, 0));
    ring.begin_root_rotation(root().1).expect("begun");
    ring.rewrap_stream_key(held[2].stream).expect("wrapped anew");
    ring.add_generation(held[4].stream).expect("added");
    fs::write(store.keys().join("platform.replaced"), "an old key").expect("written");
    for root in [Some(store.root()), None] {
        let found = files::check(&store.keys(), root.as_ref(), Some(&streams));
        assert_eq!((found.whole, &found.defects, &found.stray), (3, &Vec::new(), &Vec::new()));
        assert_eq!(found.unfinished.len(), 2, "{found:?}");
    }
    assert_eq!(ring.check_files(&streams).unfinished.len(), 2);
    let other = files::check(&store.keys(), Some(&root().1), Some(&streams));
    assert!(other.defects.iter().any(|defect| defect.contains("unfinished")), "{other:?}");
}
