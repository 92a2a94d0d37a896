//! What a log is after a stop: clean, unclean, interrupted, or with a write that failed.

use std::fs;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use settled::ids::{DataKeyId, StoreId, StreamId};
use settled::log::check::{Defect, check};
use settled::log::head::{self, Epoch};
use settled::log::memory::MemoryLog;
use settled::log::sled::durability::{Durability, Step};
use settled::log::sled::open::{Finding, HeadPolicy, OpenError, SledOptions, open};
use settled::log::{Append, AppendError, EventLog, Head, Key, Position, ReadError};

use crate::events::{Frames, append, noise, stream, uuid, write};
use crate::store::Store;
use crate::suite::answers;

#[test]
fn a_clean_stop_leaves_its_marker_and_the_next_start_is_quiet() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, findings) = store.open();
    assert_eq!(findings, []);
    for n in 0..50 {
        write(&log, &mut frames, stream(n % 5), 8);
    }
    let before = answers(&log);
    log.close().unwrap();
    assert!(store.path.join("clean-stop").exists());
    assert!(matches!(log.read_at(&[Position(1)]), Err(ReadError::Storage(_)) | Ok(_)));
    drop(log);

    let (log, findings) = store.open();
    assert_eq!(findings, []);
    assert_eq!(answers(&log), before);
    assert!(!store.path.join("clean-stop").exists());
    drop(log);
    let (log, findings) = store.open();
    assert_eq!(findings, [Finding::UncleanStop]);
    assert_eq!(answers(&log), before);
}

#[test]
fn a_clean_stop_writes_the_page_table_of_all_that_was_appended() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    for n in 0..200 {
        write(&log, &mut frames, stream(n % 5), 64);
    }
    log.close().unwrap();
    drop(log);
    let table = || {
        let files = fs::read_dir(store.path.join("log")).unwrap();
        let mut names: Vec<String> =
            files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("snap."));
        names
    };
    let after_stop = table();
    drop(store.open().0);
    assert_eq!(table(), after_stop, "the start after a clean stop had nothing to add to the page table");
}

#[test]
fn the_folder_for_large_values_stays_empty() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    for n in 0..4_u64 {
        let values: Vec<String> = (0..25).map(|part| noise(n << 8 | part, 40_000)).collect();
        let frame = frames.next(stream(1), Position(n + 1), &values);
        assert!(frame.len() > 600_000);
        log.append(vec![append(stream(1), frame)]).unwrap();
    }
    for n in 0..300 {
        write(&log, &mut frames, stream(2 + n % 7), 40);
    }
    log.close().unwrap();
    let blobs: Vec<_> = fs::read_dir(store.path.join("log/blobs")).unwrap().collect();
    assert!(blobs.is_empty(), "{blobs:?}");
}

#[test]
fn what_an_interrupted_start_left_behind_is_removed() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    write(&log, &mut frames, stream(1), 3);
    let before = answers(&log);
    drop(log);
    let left = store.path.join("log/snap.0000000000FFFFFF.generating");
    fs::write(&left, b"half").unwrap();
    let (log, findings) = store.open();
    assert!(findings.contains(&Finding::UnfinishedRemoved { path: left.clone() }), "{findings:?}");
    assert!(!left.exists());
    assert_eq!(answers(&log), before);
}

#[test]
fn a_damaged_page_table_is_moved_aside_and_nothing_is_lost() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    for n in 0..100 {
        write(&log, &mut frames, stream(n % 3), 16);
    }
    let before = answers(&log);
    log.close().unwrap();
    drop(log);
    let files = fs::read_dir(store.path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let table = files.into_iter().find(|path| path.to_string_lossy().contains("snap.")).unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&table, bytes).unwrap();
    let (log, findings) = store.open();
    assert!(matches!(findings[..], [Finding::PageTableMovedAside { .. }]), "{findings:?}");
    assert_eq!(answers(&log), before);
    assert!(check(&log, |_, _| {}).is_clean());
}

#[test]
fn the_head_file_refuses_a_log_that_ends_early_until_an_operator_accepts_it() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    write(&log, &mut frames, stream(1), 3);
    log.close().unwrap();
    drop(log);
    let old = store.path.join("old");
    copy_dir(&store.path.join("log"), &old);
    let (log, _) = store.open();
    let short = answers(&log);
    write(&log, &mut frames, stream(1), 3);
    log.close().unwrap();
    drop(log);
    fs::remove_dir_all(store.path.join("log")).unwrap();
    fs::rename(&old, store.path.join("log")).unwrap();

    let error = store.try_open().err().unwrap();
    assert!(matches!(error, OpenError::Behind { head: Position(2), end: Position(1), .. }), "{error}");
    assert!(error.to_string().contains("settled fsck --accept-head"));
    assert!(store.try_open().is_err(), "a refusal does not mend anything");

    let opened = open(store.options(), HeadPolicy::Accept).unwrap();
    let accepted = opened.findings.iter().any(|finding| {
        matches!(finding, Finding::HeadAccepted { end: Position(1), streams: 1, was } if was == "position 2")
    });
    assert!(accepted, "{:?}", opened.findings);
    assert_eq!(answers(&opened.log), short);
    // The versions that were given up will be other events: what named them is void.
    let epoch = opened.epoch;
    assert_ne!(epoch, Epoch::default());
    drop(opened.log);
    let reopened = store.try_open().unwrap();
    assert_eq!((answers(&reopened.log), &reopened.epoch), (short, &epoch));
    drop(reopened);
    let accepted = open(store.options(), HeadPolicy::Accept).unwrap();
    assert_eq!(accepted.epoch, epoch, "nothing was given up this time");
}

#[test]
fn a_head_file_that_is_missing_or_of_another_store_is_refused() {
    let store = Store::new();
    let (log, _) = store.open();
    write(&log, &mut Frames::default(), stream(1), 3);
    log.close().unwrap();
    drop(log);
    let path = store.path.join("head");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.try_open().err().unwrap(), OpenError::Head(head::HeadError::Unreadable)));

    let other = Store::new();
    fs::copy(other.path.join("head"), &path).unwrap();
    assert!(
        store.try_open().is_ok_and(|opened| opened.findings.len() == 1),
        "that one was of the same store"
    );
    let dir = tempfile::tempdir().unwrap();
    let other = Store::create_in(dir.path(), 2);
    fs::copy(other.path.join("head"), &path).unwrap();
    assert!(matches!(store.try_open().err().unwrap(), OpenError::OtherStore { .. }));
    fs::write(&path, bytes).unwrap();
    let wrong = SledOptions { store: StoreId::from_uuid(uuid(99)), ..store.options() };
    assert!(matches!(open(wrong, HeadPolicy::Require).err().unwrap(), OpenError::OtherStore { .. }));
    assert!(store.try_open().is_ok());
}

#[test]
fn frames_beyond_the_head_file_are_kept_and_said() {
    let store = Store::new();
    let mut frames = Frames::default();
    let (log, _) = store.open();
    write(&log, &mut frames, stream(1), 3);
    let old_head = fs::read(store.path.join("head")).unwrap();
    write(&log, &mut frames, stream(2), 3);
    write(&log, &mut frames, stream(1), 3);
    let before = answers(&log);
    drop(log);
    fs::write(store.path.join("head"), old_head).unwrap();
    let (log, findings) = store.open();
    assert!(findings.contains(&Finding::BeyondHead { head: Position(1), frames: 2 }), "{findings:?}");
    assert_eq!(answers(&log), before);
    drop(log);
    assert_eq!(head::read(&store.path.join("head")).unwrap().newest.position, Position(3));
}

/// Fails at one step of the nth commit, before or after the disk has done it.
struct Failing {
    step: Step,
    persisted: bool,
    commits: AtomicU64,
    nth: u64,
}

impl Durability for Failing {
    fn before(&self, step: Step) -> io::Result<()> {
        let commit = match step {
            Step::Settle => self.commits.fetch_add(1, Ordering::SeqCst) + 1,
            _ => self.commits.load(Ordering::SeqCst),
        };
        let fails = commit == self.nth && step == self.step && !(self.persisted && step == Step::Sync);
        if fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }

    fn sync_log(&self, file: &File) -> io::Result<()> {
        file.sync_data()?;
        let fails =
            self.persisted && self.step == Step::Sync && self.commits.load(Ordering::SeqCst) == self.nth;
        if fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

#[test]
fn after_a_failed_step_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    for (step, persisted) in [
        (Step::Settle, false),
        (Step::Apply, false),
        (Step::Flush, false),
        (Step::Sync, false),
        (Step::Sync, true),
        (Step::Head, true),
    ] {
        let store = Store::new();
        let failing = Failing { step, persisted, commits: AtomicU64::new(0), nth: 4 };
        let options = store.options_with(Arc::new(failing), 8 << 20);
        let log = open(options, HeadPolicy::Require).unwrap().log;
        let mut frames = Frames::default();
        for _ in 0..3 {
            write(&log, &mut frames, stream(1), 2);
        }
        let acknowledged = answers(&log);
        let frame = frames.clone().next(stream(1), Position(4), &[noise(4, 100)]);
        for _ in 0..2 {
            let error = log.append(vec![append(stream(1), frame.clone())]).unwrap_err();
            assert!(matches!(&error, AppendError::Fatal(why) if why.contains("the disk is gone")), "{error}");
        }
        assert_eq!((log.end(), log.last(stream(1)).unwrap().version), (Position(3), 6));
        assert!(log.close().is_err(), "a poisoned log does not stop cleanly");
        drop(log);

        let (log, findings) = store.open();
        assert!(findings.contains(&Finding::UncleanStop));
        let after = answers(&log);
        assert_eq!(after.frames[..3], acknowledged.frames, "{step:?}");
        assert!(after.frames.len() <= 4, "at most the batch that failed is there too");
        if matches!(step, Step::Settle | Step::Apply) {
            assert_eq!(after, acknowledged, "{step:?}");
        }
        let mut frames = Frames::after(&log);
        write(&log, &mut frames, stream(1), 2);
        assert!(check(&log, |_, _| {}).is_clean());
    }
}

#[test]
fn the_head_file_reaches_the_disk_soon_after_a_commit_without_another_one() {
    #[derive(Default)]
    struct Counting(AtomicU64);
    impl Durability for Counting {
        fn sync_head(&self, file: &File) -> io::Result<()> {
            file.sync_data()?;
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let store = Store::new();
    let counting = Arc::new(Counting::default());
    let log = open(store.options_with(counting.clone(), 0), HeadPolicy::Require).unwrap().log;
    let synced = |more_than: u64| {
        // Some 20 ms where nobody else uses the machine.
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            counting.0.load(Ordering::SeqCst) > more_than
        })
    };
    assert!(synced(0));
    let mut frames = Frames::default();
    let before = counting.0.load(Ordering::SeqCst);
    for _ in 0..100 {
        write(&log, &mut frames, stream(1), 1);
    }
    assert!(synced(before));
    assert!(counting.0.load(Ordering::SeqCst) < before + 90, "one sync serves many commits");
}

#[test]
fn a_head_file_that_cannot_be_synced_ends_the_log() {
    struct Failing;
    impl Durability for Failing {
        fn sync_head(&self, _: &File) -> io::Result<()> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let store = Store::new();
    let log = open(store.options_with(Arc::new(Failing), 0), HeadPolicy::Require).unwrap().log;
    let mut frames = Frames::default();
    let fatal = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let position = Position(log.end().0 + 1);
        let frame = frames.next(stream(1), position, &[noise(position.0, 10)]);
        log.append(vec![append(stream(1), frame)]).err()
    });
    assert!(
        matches!(fatal, Some(AppendError::Fatal(why)) if why.contains("the head file could not be synced"))
    );
}

#[test]
fn a_check_lists_what_is_wrong_instead_of_stopping_at_it() {
    let log = Altered { inner: MemoryLog::new(), alter: AtomicU64::new(0) };
    let mut frames = Frames::default();
    for n in 0..12 {
        write(&log, &mut frames, stream(n % 2), 4);
    }
    let clean = check(&log, |_, _| {});
    assert!(clean.is_clean());
    assert_eq!((clean.frames, clean.events), (12, 48));
    log.alter.store(5, Ordering::SeqCst);
    let report = check(&log, |_, _| {});
    assert_eq!((report.frames, report.events), (12, 48), "all is looked at");
    let positions: Vec<u64> = report
        .defects
        .iter()
        .filter_map(|defect| match defect {
            Defect::Frame { position, .. } | Defect::Event { position, .. } => Some(*position),
            Defect::Keys { .. } | Defect::Head { .. } | Defect::End { .. } => None,
        })
        .collect();
    assert!(positions.contains(&5) && positions.contains(&7), "the frame and its successor: {report:?}");
}

/// Gives another byte at the end of one frame than was appended.
struct Altered {
    inner: MemoryLog,
    alter: AtomicU64,
}

impl EventLog for Altered {
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, AppendError> {
        self.inner.append(appends)
    }
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, ReadError> {
        self.inner.get(key)
    }
    fn data_keys(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, ReadError> {
        self.inner.data_keys(stream)
    }
    fn last(&self, stream: StreamId) -> Option<Head> {
        self.inner.last(stream)
    }
    fn streams(&self) -> Vec<(StreamId, Head)> {
        self.inner.streams()
    }
    fn end(&self) -> Position {
        self.inner.end()
    }
    fn read(&self, after: Position) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let mut frames = self.inner.read(after)?;
        for (position, frame) in &mut frames {
            if position.0 == self.alter.load(Ordering::SeqCst) {
                let mut bytes = frame.to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 0x55;
                }
                *frame = Bytes::from(bytes);
            }
        }
        Ok(frames)
    }
    fn read_at(&self, positions: &[Position]) -> Result<Vec<Bytes>, ReadError> {
        self.inner.read_at(positions)
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
