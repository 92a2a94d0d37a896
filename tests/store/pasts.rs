//! What of the past is kept in memory, and that it is right whatever becomes of the files meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use settled::event::Version;
use settled::history::description::Focus;
use settled::ids::{EnvironmentId, Fresh, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::memory::MemoryLog;
use settled::settings::environments::projection::Environments;
use settled::store::check::check;
use settled::store::derived::{DerivedFiles, FileName, Kind};
use settled::store::encoding::digest;
use settled::store::replay::replay;
use settled::store::resident::Handle;
use settled::store::shown::Envelope;

use crate::commands::{create, write};
use crate::counted::Counted;
use crate::test_store::{Founded, Keys, TestStore, start};

/// Values that one command sets; each is an event, and all of them one frame.
const VALUES: u64 = 10;
/// What tells the environments without their values.
const OWN: &[&str] = &["environment.create", "environment.update", "environment.delete"];

struct Past {
    store: TestStore,
    log: Arc<Counted>,
    folder: tempfile::TempDir,
    files: DerivedFiles,
    keys: Keys,
    founded: Founded,
    environment: EnvironmentId,
}

fn open(log: &Arc<Counted>, keys: &Keys, files: &DerivedFiles) -> TestStore {
    let log = Arc::clone(log) as Arc<dyn EventLog>;
    TestStore::open_with(log, keys.clone(), start(), 1_024, Some(files.clone()), 8)
}

impl Past {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = DerivedFiles::new(folder.path().join("derived"), Fresh.id::<StoreId>());
        let (log, keys) = (Counted::over(Arc::new(MemoryLog::new())), Keys::new());
        let store = open(&log, &keys, &files);
        let founded = store.found("Acme").await;
        let environment = Fresh.id();
        store.execute(&founded, create(founded.owner, environment, "live")).await.unwrap();
        Self { store, log, folder, files, keys, founded, environment }
    }

    async fn write(&self, rounds: u64) {
        for round in 0..rounds {
            let value = |key| (format!("KEY_{key}"), Some(round.to_string()));
            let command = write(self.founded.owner, self.environment, (0..VALUES).map(value).collect());
            self.store.execute(&self.founded, command).await.unwrap();
        }
    }

    fn handle(&self) -> Arc<Handle> {
        self.store.handle(self.founded.organization)
    }

    fn stream(&self) -> StreamId {
        StreamId::Organization(self.founded.organization)
    }

    /// Writes a savepoint; gives its version.
    fn save(&self) -> Version {
        let handle = self.handle();
        self.store.store.save(&handle);
        handle.view().version()
    }

    fn value(&self, key: u64) -> Focus {
        Focus::Named(self.environment.to_string(), format!("KEY_{key}"))
    }

    /// Asks for an area as it was; how many frames that read.
    fn ask(&self, version: Version, focus: &Focus) -> (Environments, u64) {
        let (handle, _) = (self.handle(), self.log.read_since());
        let area = self.store.store.area_as_of(&handle, &handle.view(), version, focus).unwrap();
        (area, self.log.read_since())
    }

    /// Asks for one value as it was, and holds it against the whole state of then; how many frames asking read.
    fn ask_for_value(&self, version: Version, key: u64) -> u64 {
        let (area, read) = self.ask(version, &self.value(key));
        let then = self.store.store.as_of(&self.handle(), version).unwrap();
        let of = |area: &Environments| {
            area.get(self.environment).unwrap().config.get(&format!("KEY_{key}")).cloned()
        };
        assert!(of(&area).is_some());
        assert_eq!(of(&area), of(&then.organization().environments), "KEY_{key} as of {version}");
        read
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shown_of_events_is_not_read_again_and_is_what_was_recorded() {
    let past = Past::new().await;
    past.write(6).await;
    let handle = past.handle();
    let view = handle.view();
    let ask = |versions: &[Version]| {
        past.log.read_since();
        let shown = past.store.store.envelopes(&handle, &view, versions).unwrap();
        assert_eq!(shown.iter().map(|envelope| envelope.version).collect::<Vec<_>>(), versions);
        (shown, past.log.read_since())
    };
    let last = view.version();
    let (shown, read) = ask(&[last, last - VALUES]);
    assert_eq!(read, 2, "one frame each");
    let recorded = past.store.store.recorded(&handle, &view, &[last, last - VALUES]).unwrap();
    assert!(
        recorded.into_iter().map(Envelope::from).eq(shown.iter().map(|envelope| Envelope::clone(envelope)))
    );
    assert_eq!(ask(&[last - VALUES, last]).1, 0);
    assert_eq!(ask(&[last, last - 2 * VALUES, last - VALUES]).1, 1, "only that which was not known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_of_the_past_is_not_read_again() {
    let past = Past::new().await;
    past.write(20).await;
    let saved = past.save();
    past.write(40).await;
    let version = saved + 30 * VALUES;

    let first = past.ask_for_value(version, 3);
    assert!(first >= 30, "the events since the savepoint: {first} frames");
    assert_eq!(past.ask_for_value(version, 3), 0, "the same again");
    assert_eq!(past.ask_for_value(version + 2 * VALUES, 3), 2, "only what came since");
    assert!(past.ask_for_value(version - 2 * VALUES, 3) >= 28, "what came later is no help");
    assert!(past.ask_for_value(version, 4) >= 30, "nor is what was read of another thing");

    std::fs::remove_dir_all(past.folder.path().join("derived")).unwrap();
    assert_eq!(past.ask_for_value(version, 3), 0, "what is known needs no file");
    past.ask_for_value(version, 5);
    past.ask_for_value(saved - 5, 3);
    for focus in [Focus::All, Focus::Resource(past.environment.to_string())] {
        let then = past.store.store.as_of(&past.handle(), version).unwrap();
        for _ in 0..2 {
            let (area, _) = past.ask(version, &focus);
            assert_eq!(digest(&area), digest(&then.organization().environments));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_area_that_is_carried_on_reads_no_event_twice() {
    let past = Past::new().await;
    past.write(20).await;
    let saved = past.save();
    past.write(30).await;
    let (handle, store) = (past.handle(), &past.store.store);
    let (view, focus) = (handle.view(), Focus::Actions(&["config.set"]));
    let mut at = past.ask(saved, &focus).0;
    past.log.read_since();
    for (from, to) in (0..30).map(|round| (saved + round * VALUES, saved + (round + 1) * VALUES)) {
        at = store.carried_on(&handle, &view, (at, from), to, &focus).unwrap();
        let then = store.as_of(&handle, to).unwrap();
        let config = |area: &Environments| area.get(past.environment).unwrap().config.clone();
        assert_eq!(config(&at), config(&then.organization().environments), "as of {to}");
        past.log.read_since();
    }
    let mut again = past.ask(saved, &focus).0;
    past.log.read_since();
    for (from, to) in (0..30).map(|round| (saved + round * VALUES, saved + (round + 1) * VALUES)) {
        again = store.carried_on(&handle, &view, (again, from), to, &focus).unwrap();
    }
    assert_eq!((digest(&again), past.log.read_since()), (digest(&at), 30), "each frame once, and no file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_area_keeps_no_more_than_its_focus_needs() {
    let past = Past::new().await;
    past.write(20).await;
    let saved = past.save();
    past.write(3).await;
    let config = |area: &Environments| area.get(past.environment).unwrap().config.size();
    let (one, _) = past.ask(saved + VALUES, &past.value(3));
    let (none, _) = past.ask(saved + VALUES, &Focus::Actions(OWN));
    let (all, _) = past.ask(saved + VALUES, &Focus::Resource(past.environment.to_string()));
    assert_eq!((config(&one), config(&none), config(&all) as u64), (1, 0, VALUES));
    assert!(none.by_slug("live").is_some());
    let (elsewhere, _) = past.ask(saved + VALUES, &Focus::Resource("env_other".to_owned()));
    assert_eq!(elsewhere.iter().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn savepoints_are_found_as_they_are_written_and_missed_by_nobody() {
    let past = Past::new().await;
    past.write(20).await;
    let first = past.save();
    past.write(1).await;
    // From now on it is known which there are. One read is the frame that the file names as its last.
    assert_eq!(past.ask(first + 2, &Focus::All).1, 2);
    past.write(30).await;
    let second = past.save();
    past.write(1).await;
    assert_eq!(past.ask(second + 2, &Focus::All).1, 2, "from the new one");

    past.files.remove(FileName { kind: Kind::Savepoint, stream: past.stream(), place: second }).unwrap();
    let read = past.ask_for_value(second + 2, 3);
    assert!(read > 30, "from the one before: {read} frames");
    assert_eq!(past.ask_for_value(second + 3, 3), 0, "and that is known now");
    std::fs::remove_dir_all(past.folder.path().join("derived")).unwrap();
    past.ask_for_value(second + 2, 6);
    past.ask_for_value(first + 2, 6);
    // A folder that is gone is made anew.
    let third = past.save();
    // Two rounds: the first sets what is set already, which is no event.
    past.write(2).await;
    assert_eq!(past.ask(third + 2, &Focus::Actions(OWN)).1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_file_is_removed_by_whoever_serves_the_store_and_by_nobody_who_only_looks() {
    let past = Past::new().await;
    past.write(20).await;
    let (first, stream) = (past.save(), past.stream());
    past.write(20).await;
    let second = past.save();
    let digests = past.store.digests();
    past.store.store.stop();
    let path = |kind, place| past.files.path(FileName { kind, stream, place });
    let torn = [path(Kind::Savepoint, first), path(Kind::Savepoint, second), path(Kind::Open, second)];
    for path in &torn {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let there = || torn.iter().filter(|path| path.exists()).count();

    for _ in 0..2 {
        let report = check(&past.files, &*past.log, start(), |_| {});
        let listed: Vec<PathBuf> = report.defects.iter().map(|defect| defect.file.clone().into()).collect();
        assert!(torn.iter().all(|path| listed.contains(path)), "{listed:?}");
        assert_eq!(listed.len(), torn.len());
        let served = replay(&*past.log, &past.files, |_| {}).unwrap();
        assert!(served.streams.iter().all(|stream| stream.served == Some(true)));
        assert_eq!(there(), 3, "to look at them changes nothing");
    }
    let again = open(&past.log, &past.keys, &past.files);
    drop(again.handle(past.founded.organization));
    assert_eq!(there(), 0, "met once, and gone: nobody is told of them again");
    assert_eq!(again.digests(), digests);
    assert!(check(&past.files, &*past.log, start(), |_| {}).is_clean());
}
