//! Checking derived files: whatever is wrong with one is listed, and nothing else is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use settled::area::Section;
use settled::clock::Timestamp;
use settled::event::Recorded;
use settled::ids::{Fresh, OrganizationId, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::memory::MemoryLog;
use settled::log::segment::encoding::SHAPE;
use settled::log::segment::frames::FramePlace;
use settled::log::segment::{SEGMENT_VERSIONS, Segment};
use settled::store::check::{DerivedReport, check};
use settled::store::derived::{DerivedFiles, FileName, Kind};
use settled::store::directory::PROJECTION;
use settled::store::replay::replay;
use settled::store::resident::View;
use settled::store::savepoint;

use crate::commands::{create, write};
use crate::derived::all_files;
use crate::test_store::{Founded, Keys, TestStore, frames, start};

/// Values that one command writes: few commands make many events.
const VALUES: u64 = 500;

/// A stopped store whose organization fills more than a segment, with one derived file of each kind at least.
struct Stopped {
    folder: tempfile::TempDir,
    log: Arc<dyn EventLog>,
    keys: Keys,
    store: StoreId,
    founded: Founded,
}

impl Stopped {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (log, keys): (Arc<dyn EventLog>, _) = (Arc::new(MemoryLog::new()), Keys::new());
        let store: StoreId = Fresh.id();
        let opened = open(&log, &keys, &DerivedFiles::new(folder.path().join("derived"), store));
        let founded = opened.found("Acme").await;
        let environment = Fresh.id();
        opened.execute(&founded, create(founded.owner, environment, "prod")).await.unwrap();
        for round in 0..SEGMENT_VERSIONS / VALUES + 2 {
            let values = (0..VALUES).map(|key| (format!("KEY_{key}"), Some(round.to_string())));
            opened.execute(&founded, write(founded.owner, environment, values.collect())).await.unwrap();
        }
        save_all(&opened, &founded);
        drop(opened);
        Self { folder, log, keys, store, founded }
    }

    fn files(&self) -> DerivedFiles {
        DerivedFiles::new(self.folder.path().join("derived"), self.store)
    }

    fn check(&self) -> DerivedReport {
        check(&self.files(), &*self.log, Timestamp::EPOCH, |_| {})
    }

    fn paths(&self) -> Vec<PathBuf> {
        all_files(&self.folder.path().join("derived"))
    }

    /// The files as they are, to be put back.
    fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.paths().into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }
}

fn open(log: &Arc<dyn EventLog>, keys: &Keys, files: &DerivedFiles) -> TestStore {
    TestStore::open_with(Arc::clone(log), keys.clone(), start(), 1_024, Some(files.clone()), 64)
}

fn save_all(store: &TestStore, founded: &Founded) {
    store.store.save(&store.handle(founded.organization));
    store.store.save(store.store.platform());
}

fn put_back(kept: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in kept {
        std::fs::write(path, bytes).unwrap();
    }
}

fn listed(report: &DerivedReport) -> BTreeSet<PathBuf> {
    report.defects.iter().map(|defect| PathBuf::from(&defect.file)).collect()
}

fn kind_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_derived_file_that_is_not_what_the_log_gives_is_listed_and_no_other() {
    let stopped = Stopped::new().await;
    let kept = stopped.kept();
    let paths: BTreeSet<PathBuf> = stopped.paths().into_iter().collect();
    let kinds: BTreeSet<&str> = paths.iter().map(|path| kind_of(path)).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["directory", "open", "savepoint", "segment"]);

    let clean = stopped.check();
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!((clean.whole, clean.outdated), (paths.len() as u64, 0));

    // A flipped bit where a section is, or a cut: the checksums tell.
    for (which, (path, bytes)) in kept.iter().enumerate() {
        let mut harmed = bytes.clone();
        let last = harmed.len() - 1;
        if which % 2 == 0 {
            harmed[last] ^= 1
        } else {
            harmed.truncate(last)
        }
        std::fs::write(path, harmed).unwrap();
    }
    let report = stopped.check();
    assert_eq!(listed(&report), paths);
    assert!(report.defects.iter().all(|defect| defect.to_string().ends_with("delete it; it is made anew")));
    put_back(&kept);

    // The same files of another store: everything but the store is right.
    let other = tempfile::tempdir().unwrap();
    let foreign = open(&stopped.log, &stopped.keys, &DerivedFiles::new(other.path(), Fresh.id()));
    save_all(&foreign, &stopped.founded);
    let view = foreign.handle(stopped.founded.organization);
    foreign.store.first_mention(&view, &view.view(), "nothing", u64::MAX, |_| true).unwrap();
    drop(foreign);
    let mut replaced = BTreeSet::new();
    for path in all_files(other.path()) {
        let place = stopped.folder.path().join("derived").join(path.strip_prefix(other.path()).unwrap());
        std::fs::copy(&path, &place).unwrap();
        replaced.insert(place);
    }
    let replaced_kinds: BTreeSet<&str> = replaced.iter().map(|path| kind_of(path)).collect();
    assert_eq!(replaced_kinds.len(), 4, "{replaced:?}");
    let report = stopped.check();
    assert_eq!(listed(&report), replaced);
    assert!(report.defects.iter().all(|defect| defect.what.contains("another store")), "{report:?}");
    put_back(&kept);

    // Files that are whole, of this store, and say something else.
    let lying = lie(&stopped);
    let organization = StreamId::Organization(stopped.founded.organization).to_string();
    for stream in replay(&*stopped.log, &stopped.files(), |_| {}).unwrap().streams {
        assert_eq!(stream.served, Some(stream.stream != organization), "what would be served: {stream:?}");
    }
    let report = stopped.check();
    assert_eq!(listed(&report), lying, "{report:?}");
    let what: BTreeSet<&str> = report.defects.iter().map(|defect| defect.what.as_str()).collect();
    assert_eq!(what.len(), 5, "each says what: {what:?}");
    for path in lying {
        if path.is_dir() {
            std::fs::remove_dir(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert!(stopped.check().is_clean(), "what is deleted is not missed");
}

/// Replaces a file of each kind by one whose checksums hold; gives which.
fn lie(stopped: &Stopped) -> BTreeSet<PathBuf> {
    let files = stopped.files();
    let stream = StreamId::Organization(stopped.founded.organization);
    let opened = open(&stopped.log, &stopped.keys, &files);
    let handle = opened.handle(stopped.founded.organization);
    let view = handle.view();
    let mut lying = BTreeSet::new();

    // A state that is one event behind.
    let behind = opened.store.as_of(&handle, view.version() - 1).unwrap();
    let name = savepoint::name(stream, view.version());
    savepoint::write(&files, &View { head: view.head, ..View::clone(&behind) }).unwrap();
    lying.insert(files.path(name));

    drop(opened);

    // An index with another leaf, and one that takes an event for another.
    let (mut full, mut rest) = (Segment::new(0), Segment::new(1));
    let mut earlier = None;
    for (position, frame) in frames(&*stopped.log) {
        let header = *frame.header();
        if header.stream != stream {
            continue;
        }
        let place = FramePlace { first: header.first_version, position, at: header.at };
        for (at, version) in (0..frame.len()).zip(header.first_version..) {
            let (recorded, leaf) = (frame.recorded(at).unwrap(), frame.leaf(at).unwrap());
            if version <= SEGMENT_VERSIONS {
                full.push(&recorded, if version == 77 { [7; 32] } else { leaf }, place);
                earlier.get_or_insert(recorded);
            } else if version == SEGMENT_VERSIONS + 5 {
                rest.push(&Recorded { version, ..earlier.clone().unwrap() }, leaf, place);
            } else {
                rest.push(&recorded, leaf, place);
            }
        }
    }
    for (kind, place, index) in [(Kind::Segment, 0, full), (Kind::Open, view.version(), rest)] {
        let name = FileName { kind, stream, place };
        let anchor = files.open(name, &*stopped.log).unwrap().anchor();
        let sections = index.sections().into_iter();
        let sections: Vec<_> =
            sections.map(|(name, bytes)| Section { name, projection: SHAPE, bytes }).collect();
        files.write(name, anchor, &sections).unwrap();
        lying.insert(files.path(name));
    }

    let place = *files.places(Kind::Directory, StreamId::Platform).unwrap().last().unwrap();
    let name = FileName { kind: Kind::Directory, stream: StreamId::Platform, place };
    let anchor = files.open(name, &*stopped.log).unwrap().anchor();
    let empty = |name| Section { name, projection: PROJECTION, bytes: Vec::new() };
    files.write(name, anchor, &[empty("heads"), empty("credentials")]).unwrap();
    lying.insert(files.path(name));

    let nobody = files.path(savepoint::name(StreamId::Organization(Fresh.id::<OrganizationId>()), 1));
    std::fs::create_dir(nobody.parent().unwrap()).unwrap();
    lying.insert(nobody.parent().unwrap().to_owned());
    lying
}
