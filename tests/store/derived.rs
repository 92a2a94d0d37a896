//! Derived files: whatever of them is there, torn or gone, every answer is that of the log alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use settled::clock::Timestamp;
use settled::event::Version;
use settled::ids::{Fresh, StoreId, StreamId};
use settled::log::EventLog;
use settled::log::filter::Filter;
use settled::store::derived::{DerivedFiles, Kind};

use crate::histories::{BASE, history, prepare};
use crate::properties::{config, filter, runtime, submit};
use crate::test_store::{TestStore, copy, start};

/// The digest of each stream at each version that was published.
type Seen = BTreeMap<(StreamId, Version), String>;

fn streams() -> Vec<StreamId> {
    BASE.members.iter().map(|member| StreamId::Organization(member.founded.organization)).collect()
}

fn open(log: &Arc<dyn EventLog>, files: &DerivedFiles, resident_streams: usize) -> TestStore {
    let files = Some(files.clone());
    TestStore::open_with(Arc::clone(log), BASE.keys.clone(), start(), 1_024, files, resident_streams)
}

fn see(store: &TestStore, seen: &mut Seen) {
    for member in &BASE.members {
        let view = store.handle(member.founded.organization).view();
        seen.insert((view.stream, view.version()), view.state.digest());
    }
}

fn assert_every_past_state_is_what_it_was(store: &TestStore, seen: &Seen) {
    for ((stream, version), digest) in seen {
        let StreamId::Organization(organization) = stream else { continue };
        let handle = store.handle(*organization);
        let past = store.store.as_of(&handle, *version).unwrap();
        assert_eq!((past.version(), &past.state.digest()), (*version, digest), "{stream} as of {version}");
        let at = past.head.at;
        let by_time = store.store.version_at(&handle, &handle.view(), at).unwrap();
        assert!(by_time >= *version, "version {version} was there at {at}");
        let before =
            store.store.version_at(&handle, &handle.view(), Timestamp::from_micros(at.micros() - 1)).unwrap();
        assert!(before < *version, "version {version} was not there before {at}");
    }
}

pub fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// What becomes of a derived file while nobody looks.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Deleted,
    Cut(Index),
    Flipped(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        Just(Harm::Deleted),
        any::<Index>().prop_map(Harm::Cut),
        any::<Index>().prop_map(Harm::Flipped),
    ]
}

fn do_harm(path: &Path, harm: Harm) {
    let mut bytes = std::fs::read(path).unwrap();
    match harm {
        Harm::Deleted => return std::fs::remove_file(path).unwrap(),
        Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Harm::Flipped(at) => {
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
    std::fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn whatever_is_left_of_the_files_the_answers_are_the_logs(
        history in history(),
        saves in prop::collection::vec(any::<bool>(), 32),
        harms in prop::collection::vec((any::<Index>(), harm()), 0..12),
        filters in prop::collection::vec(filter(), 1..4),
    ) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let files = DerivedFiles::new(folder.path().join("derived"), Fresh.id::<StoreId>());
            let log: Arc<dyn EventLog> = Arc::new(copy(&BASE.log));
            // One stream at a time in memory: every other request loads one anew, and lets another go.
            let store = open(&log, &files, 1);
            let mut seen = Seen::new();
            for ((pause, burst), save) in prepare(&history, &store).iter().zip(saves.iter().cycle()) {
                store.hands.advance(std::time::Duration::from_secs(*pause));
                submit(&store, burst).await;
                see(&store, &mut seen);
                for member in BASE.members.iter().filter(|_| *save) {
                    store.store.save(&store.handle(member.founded.organization));
                }
            }
            assert_every_past_state_is_what_it_was(&store, &seen);
            let digests = store.digests();
            drop(store);
            assert!(!files.places(Kind::Directory, StreamId::Platform).unwrap().is_empty(), "a stop saves it");

            let paths = all_files(&folder.path().join("derived"));
            for (which, harm) in harms {
                let path = which.get(&paths);
                if path.exists() && std::fs::metadata(path).unwrap().len() > 0 {
                    do_harm(path, harm);
                }
            }
            let again = open(&log, &files, 2);
            assert_eq!(again.digests(), digests);
            assert_every_past_state_is_what_it_was(&again, &seen);
            assert_searches_are_the_logs(&again, &filters);
        });
    }
}

fn assert_searches_are_the_logs(store: &TestStore, filters: &[(Filter, Option<u64>, usize)]) {
    for stream in streams() {
        let all = store.events(stream);
        let StreamId::Organization(organization) = stream else { continue };
        let handle = store.handle(organization);
        let view = handle.view();
        for (filter, before, limit) in filters {
            let matching: Vec<Version> =
                all.iter().filter(|event| filter.matches(event)).map(|event| event.version).collect();
            let found = store.store.versions(&handle, &view, filter, *before, *limit).unwrap();
            let upto = before.unwrap_or(Version::MAX);
            let newest = store.store.versions_before(&handle, &view, filter, upto, *limit).unwrap();
            assert_eq!(newest, found.versions);
            assert_eq!(found.total, matching.len() as u64);
            let newest =
                matching.iter().rev().filter(|version| before.is_none_or(|before| **version < before));
            assert_eq!(found.versions, newest.copied().take(*limit).collect::<Vec<_>>());
            let events = store.store.recorded(&handle, &view, &found.versions).unwrap();
            assert!(events.iter().zip(&found.versions).all(|(event, version)| event.version == *version));
        }
        let leaves: Vec<_> = store.leaves(stream);
        assert_eq!(store.store.root(&handle).unwrap(), Some(by_definition(&leaves)));
    }
}

/// RFC 6962 section 2.1, by its definition.
pub fn by_definition(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => panic!("the stream has events"),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            settled::log::segment::tree::node_hash(&by_definition(left), &by_definition(right))
        }
    }
}
