//! Snapshots: what comes out of one is what went in, up to whatever point; what was destroyed does not come back; and neither
//! file shows what is sealed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use settled::actor::Actor;
use settled::clock::Clock;
use settled::data_dir::DataDir;
use settled::ids::{Fresh, StoreId, StreamId};
use settled::log::{EventLog, Position};
use settled::open::{LogOptions, OpenDir, open_log};
use settled::seal::keyring::KeyRing;
use settled::seal::root::RootKey;
use settled::settings::secrets::command::{At, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::snapshot::history::{Chunk, History};
use settled::snapshot::keys::KeysFile;
use settled::snapshot::listing::Listed;
use settled::snapshot::operating::{DRILL, Snapshots};
use settled::snapshot::place::Located;
use settled::snapshot::restore::{RestoreError, Restored, Wanted, restore};
use settled::snapshot::verify::Until;
use settled::snapshot::{SnapshotError, keys_of};
use settled::store::Submission;
use settled::store::check_keys;
use settled::store::replay::digests;

use crate::histories::{BASE, Burst, history, prepare};
use crate::platform_asks::{PlatformAsk, platform_ask};
use crate::properties::{config, runtime, submit};
use crate::secrets::Values;
use crate::test_store::{Founded, TestStore, copy, frames, start};

/// A folder of snapshots and data directories.
pub struct Place {
    folder: tempfile::TempDir,
    id: StoreId,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), id: Fresh.id() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes a snapshot of a store.
    pub async fn take(&self, store: &TestStore, name: &str) -> Listed {
        let snapshots = Snapshots::new(self.path("snapshots"), self.id);
        let output = Some(self.path(name).with_extension("settled"));
        snapshots.take(&store.store, output, Actor::OPERATOR, |_, _| {}).await.unwrap()
    }

    /// Restores one into a data directory of its own, held against the ledgers in these folders.
    pub fn restore(
        &self,
        wanted: &Wanted<'_>,
        into: &str,
        ledgers: &[PathBuf],
    ) -> Result<Restored, RestoreError> {
        let dir = DataDir::open(self.path(into), 0).unwrap();
        let clock = Clock::manual(start().plus_seconds(86_400)).0;
        // On a thread of its own: a restore brings its own runtime.
        std::thread::scope(|scope| {
            let restored = scope.spawn(|| restore(&dir, wanted, ledgers, &clock, &mut |_, _| {}));
            restored.join().expect("it does not panic")
        })
    }

    pub fn open(&self, name: &str) -> OpenDir {
        open_log(DataDir::open(self.path(name), 0).unwrap(), LogOptions::default()).unwrap()
    }
}

/// A file of a snapshot.
pub fn file(path: &Path) -> Located {
    Located::from(path)
}

/// All of a snapshot, with the keys beside it.
pub fn all<'a>(taken: &'a Listed, root: &'a RootKey) -> Wanted<'a> {
    Wanted { history: file(&taken.path), keys: Some(file(&keys_of(&taken.path))), until: None, root }
}

/// The folder of a store's ledger.
pub fn ledger_of(store: &TestStore) -> PathBuf {
    store.ledger().path().parent().unwrap().to_owned()
}

fn leaves(log: &dyn EventLog, until: Position) -> Vec<[u8; 32]> {
    let frames = frames(log).into_iter().filter(|(position, _)| *position <= until);
    frames
        .flat_map(|(_, frame)| (0..frame.len()).map(|at| frame.leaf(at).unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Every data key that history made and did not destroy is there, and no other.
fn assert_keys_are_as_history_says(opened: &OpenDir, root: &RootKey) {
    let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
    let ring = KeyRing::open(opened.store.keys(), root.clone(), log).unwrap();
    let report = check_keys::check(&*opened.log, Some(&ring), || {});
    assert!(report.is_clean() && report.unused == 0, "{report:?}");
}

/// The nouns of actions, each an area's own, that random histories come to: a sample has all of them, but for the seldom ones.
const NOUNS: [&str; 17] = [
    "api_key",
    "auth",
    "billing",
    "config",
    "customer",
    "deletion",
    "email_change",
    "encryption_key",
    "environment",
    "founding",
    "membership",
    "organization",
    "person",
    "role_assignment",
    "secret",
    "signing_key",
    "snapshot",
];

fn nouns(store: &TestStore) -> BTreeSet<String> {
    let streams = store.log.streams().into_iter();
    let events = streams.flat_map(|(stream, _)| store.events(stream));
    events.filter_map(|event| Some(event.event.action().split_once('.')?.0.to_owned())).collect()
}

/// A history over all areas, and a point of it.
type Case = (Vec<Burst>, Vec<PlatformAsk>, Index);

/// Bursts that are made ready together: whoever holds keys that are on their way keeps everybody from replacing others.
const BURSTS: usize = 8;

/// What is restored is what was, whole and up to the point; gives the nouns of what happened.
async fn comes_back((history, asks, at): Case) -> Result<BTreeSet<String>, TestCaseError> {
    // With keys of its own: some are replaced, and those of the base are everybody's.
    let store = TestStore::open(Arc::new(copy(&BASE.log)), BASE.keys.copied(), start(), 1_024);
    let parts = history.len().div_ceil(BURSTS);
    for (part, asks) in history.chunks(BURSTS).zip(asks.chunks(asks.len().div_ceil(parts))) {
        for (_, burst) in prepare(part, &store) {
            submit(&store, &burst).await;
        }
        for ask in asks {
            ask.run(&store).await;
        }
    }
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    let end = Position(taken.position);
    let until = Position(at.index(taken.position as usize) as u64 + 1);
    for (into, until) in [("all", None), ("part", Some(Until::Position(until)))] {
        let wanted = Wanted { until, ..all(&taken, &root) };
        let restored = place.restore(&wanted, into, &[ledger_of(&store)]).unwrap();
        prop_assert_eq!(&restored.lost, &Vec::<String>::new());
        let upto = match until {
            Some(Until::Position(until)) => until,
            _ => end,
        };
        prop_assert_eq!(restored.position, upto.0);
        let opened = place.open(into);
        prop_assert_eq!(leaves(&*opened.log, upto), leaves(&*store.log, upto));
        prop_assert_eq!(
            digests(&*opened.log, upto, |_| {}).unwrap(),
            digests(&*store.log, upto, |_| {}).unwrap()
        );
        assert_keys_are_as_history_says(&opened, &root);
        opened.log.close().unwrap();
    }
    Ok(nouns(&store))
}

#[test]
fn what_is_restored_is_what_was_at_whatever_point() {
    let cases = (history(), prop::collection::vec(platform_ask(), 4..12), any::<Index>());
    let mut runner = TestRunner::new(config(20));
    let seen = Cell::new(BTreeSet::new());
    let all = runner.run(&cases, |case| {
        let mut nouns = runtime().block_on(comes_back(case))?;
        nouns.append(&mut seen.take());
        seen.set(nouns);
        Ok(())
    });
    all.unwrap();
    let seen = seen.take();
    assert!(NOUNS.iter().all(|noun| seen.contains(*noun)), "{seen:?}");
}

pub async fn given() -> (TestStore, Founded, At) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let at = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(at, "TOKEN", "a canary of a value")).await.unwrap();
    (store, founded, at)
}

pub async fn destroy(store: &TestStore, founded: &Founded, at: At) {
    let destroy = Submission::new(SecretsCommand::Destroy(at), founded.owner);
    store.execute(founded, destroy).await.unwrap();
}

pub fn secrets(place: &Place, name: &str, founded: &Founded) -> (usize, usize) {
    let opened = place.open(name);
    let stream = StreamId::Organization(founded.organization);
    let keys = opened.log.data_keys(stream).unwrap();
    let views = settled::store::load::fold(&*opened.log, |_| {}).unwrap();
    let secrets = views[&stream].organization().secrets.iter().count();
    opened.log.close().unwrap();
    (secrets, keys.len())
}

#[tokio::test]
async fn what_was_destroyed_since_does_not_come_back_by_the_ledger_or_by_the_newest_keys() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    let stream = StreamId::Organization(founded.organization);
    let keys = store.log.data_keys(stream).unwrap().len();
    destroy(&store, &founded, at).await;
    let after = place.take(&store, "after").await;
    let root = store.store.ring().root();
    let ledger = [ledger_of(&store)];
    let newest = keys_of(&after.path);

    let restored = place.restore(&all(&before, &root), "by-ledger", &ledger).unwrap();
    assert_eq!((restored.taken_away, restored.unknown.len()), (1, 0), "{restored:?}");
    assert_eq!(secrets(&place, "by-ledger", &founded), (0, keys - 1));

    let wanted = Wanted { keys: Some(file(&newest)), ..all(&before, &root) };
    let restored = place.restore(&wanted, "by-both", &ledger).unwrap();
    assert_eq!((restored.taken_away, restored.lost.len()), (1, 0), "{restored:?}");
    assert_eq!(secrets(&place, "by-both", &founded), (0, keys - 1), "the state says that it is gone, too");

    let restored = place.restore(&wanted, "by-keys", &[]).unwrap();
    assert_eq!((restored.taken_away, restored.absent, restored.lost.len()), (0, 1, 0), "{restored:?}");
    assert_eq!(secrets(&place, "by-keys", &founded).1, keys - 1, "what sealed it is not there");
    assert!(restored.unknown.iter().any(|what| what.contains("no ledger")), "{restored:?}");

    // Nothing is at hand that knows: it comes back, and that is said.
    let restored = place.restore(&all(&before, &root), "by-nothing", &[]).unwrap();
    assert_eq!(secrets(&place, "by-nothing", &founded), (1, keys));
    assert!(restored.unknown[0].contains("can be read again"), "{restored:?}");

    // The history itself knows what was destroyed after the point that is wanted.
    let until = Some(Until::Position(Position(before.position)));
    let restored = place.restore(&Wanted { until, ..all(&after, &root) }, "by-history", &[]).unwrap();
    assert_eq!((restored.taken_away, restored.lost.len()), (1, 0), "{restored:?}");
    assert_eq!(secrets(&place, "by-history", &founded), (0, keys - 1));
}

#[tokio::test]
async fn a_revoked_key_stays_revoked() {
    let (store, founded, _) = given().await;
    let key = crate::keys::key(&store, &founded).await;
    let place = Place::new();
    let before = place.take(&store, "before").await;
    let revoke = settled::settings::api_keys::command::RevokeApiKey { key };
    let revoke = settled::settings::api_keys::command::ApiKeysCommand::Revoke(revoke);
    store.execute(&founded, Submission::new(revoke, founded.owner)).await.unwrap();
    let root = store.store.ring().root();
    let restored = place.restore(&all(&before, &root), "data", &[ledger_of(&store)]).unwrap();
    assert_eq!(restored.taken_away, 1);
    let opened = place.open("data");
    let views = settled::store::load::fold(&*opened.log, |_| {}).unwrap();
    let organization = views[&StreamId::Organization(founded.organization)].organization();
    assert!(organization.api_keys.get(key).unwrap().is_revoked());
    opened.log.close().unwrap();
}

#[tokio::test]
async fn a_restore_begins_an_epoch_in_which_no_session_and_no_link_counts() {
    let (store, founded, _) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    let restored = place.restore(&all(&taken, &root), "data", &[]).unwrap();
    let opened = place.open("data");
    assert_eq!(opened.epoch.as_str(), restored.epoch);
    assert_ne!(restored.epoch, store.store.epoch());
    let generation = |log: &dyn EventLog| {
        let views = settled::store::load::fold(log, |_| {}).unwrap();
        views[&StreamId::Platform].platform().accounts.get(founded.account).unwrap().generation
    };
    assert_eq!(generation(&*opened.log), generation(&*store.log) + 1);
    opened.log.close().unwrap();
    drop(opened);

    // Again from the same snapshot: the first store stays, another one takes its place.
    let again = place.restore(&all(&taken, &root), "data", &[]).unwrap();
    assert_ne!((again.store, &again.epoch), (restored.store, &restored.epoch));
    let dir = DataDir::open(place.path("data"), 0).unwrap();
    assert_eq!(dir.current().unwrap().unwrap().id, again.store);
    assert_eq!(dir.store_dirs().unwrap().len(), 2);
}

#[tokio::test]
async fn neither_file_shows_what_is_sealed() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let mut seen = std::fs::read(&taken.path).unwrap();
    seen.extend(std::fs::read(keys_of(&taken.path)).unwrap());
    History::open(&file(&taken.path))
        .unwrap()
        .read(|chunk| {
            if let Chunk::Frames(frames) = chunk {
                for (_, bytes) in frames {
                    let frame = settled::log::frame::Frame::parse(bytes).unwrap();
                    (0..frame.len()).for_each(|at| seen.extend(frame.text(at).unwrap().bytes()));
                }
            }
            Ok::<_, SnapshotError>(())
        })
        .unwrap();
    let text = String::from_utf8_lossy(&seen);
    assert!(text.contains("TOKEN"), "the secret's name is no secret, and was looked at");
    // Three letters come about by chance in what is sealed, and quotes do not.
    for canary in ["a canary of a value", "acme@example.com", "\"Ada\""] {
        assert!(!text.contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn a_snapshot_is_never_written_over_and_is_whole_or_not_there() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let bytes = std::fs::read(&taken.path).unwrap();
    let snapshots = Snapshots::new(place.path("snapshots"), Fresh.id());
    let again = snapshots.take(&store.store, Some(taken.path.clone()), Actor::OPERATOR, |_, _| {}).await;
    assert!(again.unwrap_err().to_string().contains("is there already"));
    assert_eq!(std::fs::read(&taken.path).unwrap(), bytes);
    let names: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn what_a_crash_left_of_a_snapshot_goes_with_the_next_one_and_nothing_else_does() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let snapshots = Snapshots::new(place.path("snapshots"), Fresh.id());
    let first = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let left = ["a.settled.unfinished", "a.settled.keys.unfinished", "notes.unfinished"];
    for name in left {
        std::fs::write(snapshots.folder.join(name), b"half").unwrap();
    }
    let second = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let there = left.map(|name| snapshots.folder.join(name).exists());
    assert_eq!(there, [false, false, true], "what is none of ours stays");
    for path in [first.path, second.path] {
        assert!(path.exists() && keys_of(&path).exists());
    }
}

#[tokio::test]
async fn a_drill_says_whether_a_snapshot_comes_back_as_it_is_here() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = Snapshots::new(place.path("snapshots"), Fresh.id());
    let taken = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    destroy(&store, &founded, at).await;
    let report = snapshots.drill(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.snapshot, report.streams, report.position), (taken.id, 2, taken.position));
    let operations = store.store.platform().view().platform().operations.clone();
    assert_eq!(operations.last_verified_restore.unwrap().snapshot, taken.id);
    assert!(!snapshots.folder.join(DRILL).exists());

    // Another store's, of which this one's root key opens nothing: that says nothing of it.
    let (other, _, _) = given().await;
    let error = snapshots.drill(&other.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("wrong root key"), "{error}");
    assert!(other.store.platform().view().platform().operations.last_verified_restore.is_none());

    std::fs::write(&taken.path, b"SETLSNAP").unwrap();
    assert_eq!(
        snapshots.newest("0").unwrap_err().to_string(),
        format!("there is no snapshot in {}", snapshots.folder.display())
    );
}

#[tokio::test]
async fn a_key_that_is_no_more_in_the_log_is_in_no_later_snapshot() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    destroy(&store, &founded, at).await;
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    let events = store.events(StreamId::Organization(founded.organization)).into_iter();
    let destroyed: Vec<_> = events.flat_map(|event| event.event.destroyed_keys().to_vec()).collect();
    let mut carried = Vec::new();
    let keys = KeysFile::open(&file(&keys_of(&taken.path)), &root).unwrap();
    keys.read(|_, keys| -> Result<(), SnapshotError> {
        carried.extend(keys.data_keys.into_iter().map(|(id, _)| id));
        Ok(())
    })
    .unwrap();
    assert!(!destroyed.is_empty() && !carried.is_empty());
    assert!(!carried.iter().any(|id| destroyed.contains(id)));
    place.restore(&all(&taken, &root), "data", &[]).unwrap();
    let opened = place.open("data");
    assert_keys_are_as_history_says(&opened, &root);
    opened.log.close().unwrap();
}

#[tokio::test]
async fn older_keys_are_rewritten_without_what_was_destroyed_and_open_all_else() {
    let (store, founded, at) = given().await;
    let place = Place::new();
    let snapshots = Snapshots::new(place.path("snapshots"), Fresh.id());
    let taken = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let keys = keys_of(&taken.path);
    let before = std::fs::read(&keys).unwrap();
    snapshots.renew_keys(&store.store).await;
    assert_eq!(std::fs::read(&keys).unwrap(), before, "nothing was destroyed");

    destroy(&store, &founded, at).await;
    let stream = StreamId::Organization(founded.organization);
    let left = store.log.data_keys(stream).unwrap().len();
    snapshots.renew_keys(&store.store).await;
    let renewed = std::fs::read(&keys).unwrap();
    assert!(renewed.len() < before.len(), "a key is missing");
    let root = store.store.ring().root();
    let restored = place.restore(&all(&taken, &root), "data", &[]).unwrap();
    assert_eq!(restored.absent, 1, "not even without a ledger");
    assert_eq!(secrets(&place, "data", &founded).1, left);

    // What lies about of the destroyed key was wrapped by the stream's key that a later snapshot has still.
    let later = snapshots.take(&store.store, None, Actor::OPERATOR, |_, _| {}).await.unwrap();
    let later = std::fs::read(keys_of(&later.path)).map(|bytes| (keys_of(&later.path), bytes)).unwrap();
    store.store.rotate_stream_key(stream, Actor::SYSTEM).await.unwrap();
    for _ in 0..2 {
        snapshots.renew_keys(&store.store).await;
        assert_eq!(std::fs::read(&keys).unwrap(), renewed, "once");
    }
    assert_ne!(std::fs::read(&later.0).unwrap(), later.1);
    let names = std::fs::read_dir(place.path("snapshots")).unwrap().count();
    assert_eq!(names, 5, "two histories and their keys, the lock, and nothing else");
}

/// Whether a path is the one that an error names.
pub fn names(error: &RestoreError, path: &Path) -> bool {
    error.to_string().contains(&path.display().to_string())
}
