//! Beyond one segment: a stream of more events than a segment has, with its files there, gone, or of another place.

use std::sync::Arc;

use settled::event::{Outcome, Version};
use settled::history::description::Focus;
use settled::ids::{EnvironmentId, Fresh, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::filter::{ActionPattern, Filter};
use settled::log::memory::MemoryLog;
use settled::log::segment::SEGMENT_VERSIONS;
use settled::settings::environments::projection::Environments;
use settled::store::derived::{DerivedFiles, FileName, Kind};
use settled::store::resident::Handle;

use crate::commands::{create, write};
use crate::counted::Counted;
use crate::test_store::{Founded, Keys, TestStore, start};

/// How many values one command sets; each is an event.
const VALUES: usize = 1_000;

/// A store, its files' folder, and an organization with a little more than a segment of events.
struct Long {
    store: TestStore,
    folder: tempfile::TempDir,
    files: DerivedFiles,
    founded: Founded,
    environment: EnvironmentId,
}

fn open(log: &Arc<dyn EventLog>, keys: &Keys, files: &DerivedFiles) -> TestStore {
    TestStore::open_with(Arc::clone(log), keys.clone(), start(), 1_024, Some(files.clone()), 8)
}

async fn long() -> Long {
    let folder = tempfile::tempdir().unwrap();
    let files = DerivedFiles::new(folder.path().join("derived"), Fresh.id::<StoreId>());
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let store = open(&log, &Keys::new(), &files);
    let founded = store.found("Acme").await;
    let environment = Fresh.id();
    store.execute(&founded, create(founded.owner, environment, "live")).await.unwrap();
    let rounds = SEGMENT_VERSIONS as usize / VALUES + 4;
    for round in 0..rounds {
        let values = (0..VALUES).map(|key| (format!("KEY_{key}"), Some(format!("\"{round}\"")))).collect();
        store.hands.advance(std::time::Duration::from_secs(60));
        store.execute(&founded, write(founded.owner, environment, values)).await.unwrap();
    }
    Long { store, folder, files, founded, environment }
}

fn assert_answers(store: &TestStore, long: &Long, leaves: &[[u8; 32]]) {
    let handle = store.handle(long.founded.organization);
    let view = handle.view();
    let newest = view.version();
    assert!(newest > SEGMENT_VERSIONS + 2_000);
    let config = Filter { actions: vec![ActionPattern::read("config.*")], ..Filter::default() };
    let rounds = SEGMENT_VERSIONS / VALUES as u64 + 4;
    let total = rounds * VALUES as u64;
    let found = store.store.versions(&handle, &view, &config, Some(SEGMENT_VERSIONS + 3), 5).unwrap();
    let before = store.store.versions_before(&handle, &view, &config, SEGMENT_VERSIONS + 3, 5).unwrap();
    assert_eq!(before, found.versions);
    assert_eq!(found.total, total);
    assert_eq!(found.versions, (0..5).map(|back| SEGMENT_VERSIONS + 2 - back).collect::<Vec<_>>());
    let after = store.store.versions_after(&handle, &view, &config, SEGMENT_VERSIONS - 2, 4).unwrap();
    assert_eq!(after, (0..4).map(|on| SEGMENT_VERSIONS - 1 + on).collect::<Vec<_>>());
    let events = store.store.recorded(&handle, &view, &after).unwrap();
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), after);
    let facets = store.store.facets(&handle, &view, &Filter::default()).unwrap();
    assert_eq!(facets.total, newest);
    assert_eq!(facets.actions["config.set"], total);
    assert_eq!(facets.outcomes[&Outcome::Success], newest);
    let one = Filter { resources: vec![format!("{}/KEY_7", long.environment)], ..Filter::default() };
    assert_eq!(store.store.versions(&handle, &view, &one, None, 1).unwrap().total, rounds);
    assert_eq!(store.store.root(&handle).unwrap(), Some(crate::derived::by_definition(leaves)));
    assert_past(store, &handle, long, newest);
}

/// The past right before, at, and after the segment's border, and at both ends.
fn assert_past(store: &TestStore, handle: &Handle, long: &Long, newest: Version) {
    let view = handle.view();
    for version in [newest, newest - 1, SEGMENT_VERSIONS + 1, SEGMENT_VERSIONS, SEGMENT_VERSIONS - 1, 70] {
        let event = store.store.recorded(handle, &view, &[version]).unwrap().remove(0);
        let name = event.resource.name.clone().unwrap();
        let focus = Focus::Named(long.environment.to_string(), name.clone());
        let past: Environments = store.store.area_as_of(handle, &view, version, &focus).unwrap();
        let value = past.get(long.environment).unwrap().config.get(&name).unwrap().clone();
        assert_eq!(value.version, version, "{name} was set by that event");
        let at = store.store.version_at(handle, &view, event.at).unwrap();
        assert!(at >= version && at < version + VALUES as u64);
    }
}

/// Three requests that miss the same segment read the log as often as one does.
fn assert_a_missing_segment_that_several_ask_for_is_made_once(
    long: &Long,
    log: &Arc<dyn EventLog>,
    keys: &Keys,
) {
    let stream = StreamId::Organization(long.founded.organization);
    let config = Filter { actions: vec![ActionPattern::read("config.*")], ..Filter::default() };
    let read_by = |requests: usize| {
        long.files.remove(FileName { kind: Kind::Segment, stream, place: 0 }).unwrap();
        let counted = Counted::over(Arc::clone(log));
        let again = open(&(Arc::clone(&counted) as Arc<dyn EventLog>), keys, &long.files);
        let handle = again.handle(long.founded.organization);
        counted.read_since();
        // So that all ask before the first has it.
        counted.slow_down();
        let begun = std::sync::Barrier::new(requests);
        let ask = || {
            begun.wait();
            again.store.versions(&handle, &handle.view(), &config, None, 1).unwrap().total
        };
        let totals: Vec<u64> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..requests).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(totals.iter().all(|total| *total == totals[0] && *total > SEGMENT_VERSIONS));
        counted.read_since()
    };
    let alone = read_by(1);
    assert!(alone > SEGMENT_VERSIONS / VALUES as u64, "{alone} frames");
    assert_eq!(read_by(3), alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_more_than_a_segment_answers_the_same_whatever_of_its_files_is_there() {
    let long = long().await;
    let stream = StreamId::Organization(long.founded.organization);
    let leaves = long.store.leaves(stream);
    assert_answers(&long.store, &long, &leaves);
    let digests = long.store.digests();
    let (log, keys) = (Arc::clone(&long.store.log), long.store.keys.clone());
    long.store.store.stop();
    assert_eq!(long.files.places(Kind::Segment, stream).unwrap(), [0]);
    assert!(long.files.places(Kind::Savepoint, stream).unwrap().len() > 10, "savepoints were due on the way");

    let name = |kind, place| FileName { kind, stream, place };
    let gone: [&dyn Fn(); 4] = [
        &|| (),
        &|| long.files.remove(name(Kind::Segment, 0)).unwrap(),
        &|| {
            let open = long.files.places(Kind::Open, stream).unwrap()[0];
            long.files.remove(name(Kind::Open, open)).unwrap();
            long.files.remove(name(Kind::Segment, 0)).unwrap();
        },
        &|| std::fs::remove_dir_all(long.folder.path().join("derived")).unwrap(),
    ];
    for go in gone {
        go();
        let again = open(&log, &keys, &long.files);
        assert_answers(&again, &long, &leaves);
        assert_eq!(again.digests(), digests);
    }
    assert_a_missing_segment_that_several_ask_for_is_made_once(&long, &log, &keys);
}
