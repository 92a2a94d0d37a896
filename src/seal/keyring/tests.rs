//! What the key ring promises, over a real folder and a log that keeps keys and nothing else.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::*;
use crate::event::ResourceType;
use crate::ids::OrganizationId;
use crate::log::{Append, AppendError, Head, Position};
use crate::seal::key_file::KeyFile;
use crate::seal::{Plain, SealedBytes, SealedField};

/// What is put, and nothing of frames.
#[derive(Default)]
pub(super) struct KeysOnly(Mutex<HashMap<Key, Vec<u8>>>);

impl KeysOnly {
    pub(super) fn put(&self, key: Key, value: Vec<u8>) {
        self.0.lock().expect("not poisoned").insert(key, value);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.lock().expect("not poisoned").remove(key);
    }
}

impl EventLog for KeysOnly {
    fn append(&self, _: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        unreachable!("the ring never appends")
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.0.lock().expect("not poisoned").get(key).cloned())
    }

    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        let keys = self.0.lock().expect("not poisoned");
        Ok(keys
            .iter()
            .filter_map(|(key, value)| match key {
                Key::DataKey(of, id) if *of == stream => Some((*id, value.clone())),
                Key::DataKey(..) | Key::Checkpoint(_) => None,
            })
            .collect())
    }

    fn last(&self, _: StreamId) -> Option<Head> {
        unreachable!("the ring reads no frame")
    }

    fn streams(&self) -> Vec<(StreamId, Head)> {
        unreachable!("the ring reads no frame")
    }

    fn end(&self) -> Position {
        unreachable!("the ring reads no frame")
    }

    fn read(&self, _: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        unreachable!("the ring reads no frame")
    }

    fn read_at(&self, _: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        unreachable!("the ring reads no frame")
    }
}

pub(super) const PLATFORM: StreamId = StreamId::Platform;
pub(super) const FIELD: SealedField<'_> = SealedField {
    stream: PLATFORM,
    resource_type: ResourceType::Account,
    resource_id: "acc_1",
    field: "email",
};

/// A store's keys, as they outlive a process.
pub(super) struct Store {
    folder: tempfile::TempDir,
    pub(super) root: Zeroizing<String>,
    pub(super) log: Arc<KeysOnly>,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, root: RootKey::random().text(), log: Arc::default() }
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    pub(super) fn root(&self) -> RootKey {
        let value = Plain::from(self.root.as_str());
        RootKey::load(&crate::seal::root::RootKeySource::Environment(value)).expect("a root key")
    }

    /// The ring as a process finds it that has just started.
    pub(super) fn ring(&self) -> KeyRing {
        let log: Arc<dyn EventLog> = Arc::<KeysOnly>::clone(&self.log);
        KeyRing::open(self.keys(), self.root(), log).expect("opened")
    }

    pub(super) fn with_platform() -> Self {
        let store = Self::new();
        store.ring().create_stream_key(PLATFORM).expect("created");
        store
    }

    /// Mints a key and does what the append does.
    pub(super) fn mint(&self, stream: StreamId) -> NewDataKey {
        let new = self.ring().mint(stream).expect("minted");
        self.log.put(Key::DataKey(stream, new.id()), new.wrapped().to_vec());
        new
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let Ok(entries) = std::fs::read_dir(self.keys()) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> =
            paths.map(|path| (path.clone(), std::fs::read(&path).expect("a file"))).collect();
        files.sort();
        files
    }
}

pub(super) fn organization() -> StreamId {
    StreamId::Organization(Fresh.id::<OrganizationId>())
}

#[test]
fn a_minted_key_opens_what_it_sealed_after_a_restart() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    let sealed = new.key().seal(&FIELD, &Plain::from("asha@example.com"));
    let key = store.ring().data_key(PLATFORM, new.id(), Some(new.key().commitment())).expect("found");
    assert_eq!(key.open(&FIELD, &sealed), Ok(Plain::from("asha@example.com")));
}

#[test]
fn a_remembered_key_is_found_without_the_log() {
    let store = Store::with_platform();
    let ring = store.ring();
    let new = ring.mint(PLATFORM).expect("minted");
    assert!(matches!(ring.data_key(PLATFORM, new.id(), None), Err(KeyError::Lost { .. })));
    ring.remember(PLATFORM, new.clone());
    ring.data_key(PLATFORM, new.id(), Some(new.key().commitment())).expect("held");
}

#[test]
fn a_key_file_is_its_owners_alone_and_nothing_else_is_left_in_the_folder() {
    use std::os::unix::fs::MetadataExt;

    let store = Store::with_platform();
    let files = store.files();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].0.file_name().and_then(|name| name.to_str()), Some("platform"));
    assert_eq!(std::fs::metadata(&files[0].0).expect("it is there").mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(store.keys()).expect("it is there").mode() & 0o777, 0o700);
}

#[test]
fn making_a_stream_key_again_changes_nothing() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    let before = store.files();
    let ring = store.ring();
    ring.create_stream_key(PLATFORM).expect("it is there");
    ring.create_stream_key(PLATFORM).expect("it is there");
    assert_eq!(store.files(), before);
    ring.data_key(PLATFORM, new.id(), None).expect("found");
}

#[test]
fn many_callers_at_once_make_one_stream_key() {
    let store = Store::with_platform();
    let (ring, stream) = (store.ring(), organization());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ring.create_stream_key(stream).expect("made"));
        }
    });
    let new = ring.mint(stream).expect("minted");
    store.log.put(Key::DataKey(stream, new.id()), new.wrapped().to_vec());
    store.ring().data_key(stream, new.id(), None).expect("the key in memory is the one in the file");
}

#[test]
fn a_wrong_root_key_is_refused_and_nothing_is_written() {
    let mut store = Store::with_platform();
    let right = store.root().fingerprint();
    store.root = RootKey::random().text();
    let before = store.files();
    let log: Arc<dyn EventLog> = Arc::<KeysOnly>::clone(&store.log);
    let error = KeyRing::open(store.keys(), store.root(), log).err().expect("refused");
    let KeyError::WrongRootKey { wrapped_by, configured, .. } = &error else { panic!("{error}") };
    assert_eq!((*wrapped_by, *configured), (right, store.root().fingerprint()));
    assert!(error.to_string().contains("configure the root key that this store was made with"), "{error}");
    assert_eq!(store.files(), before);
}

#[test]
fn a_new_store_fits_any_root_key_and_opening_makes_nothing() {
    let store = Store::new();
    KeyRing::verify_root(&store.keys(), &store.root()).expect("nothing contradicts it");
    let _ring = store.ring();
    assert!(!store.keys().exists());
    std::fs::create_dir(store.keys()).expect("made");
    std::fs::write(store.keys().join("platform.unfinished"), "half").expect("written");
    KeyRing::verify_root(&store.keys(), &store.root()).expect("what a crash cut off does not count");
}

#[test]
fn keys_without_the_platforms_are_damage_and_no_new_store() {
    let store = Store::with_platform();
    store.ring().create_stream_key(organization()).expect("created");
    std::fs::remove_file(store.keys().join("platform")).expect("removed");
    let error = KeyRing::verify_root(&store.keys(), &store.root()).expect_err("refused");
    assert!(matches!(error, KeyError::StreamKeyMissing { stream: PLATFORM, .. }), "{error}");
}

#[test]
fn a_stream_key_that_is_gone_is_never_replaced_by_a_new_one() {
    let store = Store::with_platform();
    store.mint(PLATFORM);
    std::fs::remove_file(store.keys().join("platform")).expect("removed");
    let error = store.ring().create_stream_key(PLATFORM).expect_err("refused");
    assert!(matches!(error, KeyError::StreamKeyMissing { .. }), "{error}");
    assert!(store.files().is_empty());
}

#[test]
fn every_flipped_bit_of_a_key_file_is_refused() {
    let store = Store::with_platform();
    let (path, bytes) = store.files().remove(0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).expect("written");
        let error = KeyRing::verify_root(&store.keys(), &store.root()).expect_err("refused");
        assert!(matches!(error, KeyError::DamagedFile { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn a_key_file_of_another_stream_is_refused() {
    let store = Store::with_platform();
    let (one, two) = (organization(), organization());
    let ring = store.ring();
    ring.create_stream_key(one).expect("created");
    ring.create_stream_key(two).expect("created");
    std::fs::copy(store.keys().join(one.to_string()), store.keys().join(two.to_string())).expect("copied");
    let error = store.ring().mint(two).expect_err("refused");
    assert!(
        matches!(&error, KeyError::DamagedFile { what, .. } if what.contains(&one.to_string())),
        "{error}"
    );
}

#[test]
fn a_key_that_the_log_lacks_is_lost() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    store.log.remove(&Key::DataKey(PLATFORM, new.id()));
    let error = store.ring().data_key(PLATFORM, new.id(), None).expect_err("lost");
    assert!(matches!(error, KeyError::Lost { stream: PLATFORM, id } if id == new.id()), "{error}");
}

#[test]
fn a_key_put_in_anothers_place_does_not_unwrap() {
    let store = Store::with_platform();
    let other = organization();
    store.ring().create_stream_key(other).expect("created");
    let (one, two, theirs) = (store.mint(PLATFORM), store.mint(PLATFORM), store.mint(other));
    for wrapped in [two.wrapped(), theirs.wrapped()] {
        store.log.put(Key::DataKey(PLATFORM, one.id()), wrapped.to_vec());
        let error = store.ring().data_key(PLATFORM, one.id(), None).expect_err("refused");
        assert!(matches!(error, KeyError::DamagedKey { .. }), "{error}");
    }
}

#[test]
fn another_key_wrapped_for_the_same_place_is_swapped() {
    let store = Store::with_platform();
    let right = store.mint(PLATFORM);
    let wrong = DataKey::new(right.id(), KeyMaterial::random());
    let ring = store.ring();
    let stored = ring.stream_key(PLATFORM).expect("there").wrap(&wrong);
    store.log.put(Key::DataKey(PLATFORM, right.id()), stored);
    let commitment = Some(right.key().commitment());
    for _ in 0..2 {
        let error = ring.data_key(PLATFORM, right.id(), commitment).expect_err("refused, held or not");
        assert!(matches!(error, KeyError::Swapped { .. }), "{error}");
    }
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_is_refused() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    for bit in 0..new.wrapped().len() * 8 {
        let mut flipped = new.wrapped().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        store.log.put(Key::DataKey(PLATFORM, new.id()), flipped);
        let error = store.ring().data_key(PLATFORM, new.id(), None).expect_err("refused");
        assert!(matches!(error, KeyError::DamagedKey { .. }), "bit {bit}: {error}");
    }
    for length in 0..new.wrapped().len() {
        store.log.put(Key::DataKey(PLATFORM, new.id()), new.wrapped()[..length].to_vec());
        assert!(store.ring().data_key(PLATFORM, new.id(), None).is_err(), "{length} bytes");
    }
}

#[test]
fn a_forgotten_key_is_not_held_any_more() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    let ring = store.ring();
    ring.data_key(PLATFORM, new.id(), None).expect("found");
    store.log.remove(&Key::DataKey(PLATFORM, new.id()));
    ring.data_key(PLATFORM, new.id(), None).expect("held");
    ring.forget(PLATFORM, new.id());
    assert!(matches!(ring.data_key(PLATFORM, new.id(), None), Err(KeyError::Lost { .. })));
}

#[test]
fn with_two_generations_both_open_and_the_newer_wraps() {
    let store = Store::with_platform();
    let old = store.mint(PLATFORM);
    let path = store.keys().join("platform");
    let mut file = KeyFile::decode(&std::fs::read(&path).expect("there")).expect("whole");
    let next = store.root().wrap(PLATFORM, 2, &KeyMaterial::random());
    file.generations.push((2, next));
    file.write(&path).expect("written");

    let new = store.mint(PLATFORM);
    assert_eq!(new.wrapped()[1..5], 2_u32.to_be_bytes());
    let ring = store.ring();
    ring.data_key(PLATFORM, old.id(), Some(old.key().commitment())).expect("the older generation is there");
    ring.data_key(PLATFORM, new.id(), Some(new.key().commitment())).expect("so is the newer");

    file.generations.remove(0);
    file.write(&path).expect("written");
    let error = store.ring().data_key(PLATFORM, old.id(), None).expect_err("its generation is gone");
    assert!(matches!(error, KeyError::DamagedKey { .. }), "{error}");
}

#[test]
fn no_key_is_in_a_file_or_in_the_log_as_it_is() {
    let store = Store::with_platform();
    let new = store.mint(PLATFORM);
    let ring = store.ring();
    let stream_key = ring.stream_key(PLATFORM).expect("there");
    let root = store.root();
    let stored = [store.files().remove(0).1, new.wrapped().to_vec()].concat();
    let root_bytes = root.text();
    for secret in [&new.key().material.bytes()[..], &stream_key.last().1.bytes()[..], root_bytes.as_bytes()] {
        assert!(!stored.windows(16).any(|window| secret.windows(16).any(|part| part == window)));
    }
    assert_eq!(format!("{new:?}").matches("DataKey").count(), 2, "{new:?}");
}

/// What is on disk for ever: files and a wrapped key that another implementation made (OpenSSL's AES-256-SIV).
#[test]
fn the_golden_keys_open() {
    #[derive(Deserialize)]
    struct Golden {
        root_key: String,
        root_fingerprint: String,
        platform_file: SealedBytes,
        stream: StreamId,
        stream_file: SealedBytes,
        data_key: DataKeyId,
        wrapped: SealedBytes,
        commitment: Commitment,
    }
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/golden/keys.json")).expect("well-formed");
    let mut store = Store::new();
    store.root = Zeroizing::new(golden.root_key);
    assert_eq!(store.root().fingerprint().to_string(), golden.root_fingerprint);
    std::fs::create_dir(store.keys()).expect("made");
    std::fs::write(store.keys().join("platform"), &golden.platform_file.0).expect("written");
    std::fs::write(store.keys().join(golden.stream.to_string()), &golden.stream_file.0).expect("written");
    store.log.put(Key::DataKey(golden.stream, golden.data_key), golden.wrapped.0.into_vec());
    store.ring().data_key(golden.stream, golden.data_key, Some(golden.commitment)).expect("opens");
}
