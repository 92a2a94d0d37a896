//! The order in which a commit and a start reach the disk, step by step.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::Duration;

use settled::log::sled::SledLog;
use settled::log::sled::durability::{Disk, Durability, Step};
use settled::log::sled::open::{HeadPolicy, open};
use settled::log::{Append, EventLog, Position};

use crate::events::{Frames, append, data_key, noise, stream, write};
use crate::store::Store;

/// What reached the disk, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Before(Step),
    SyncLog,
}

/// Notes each call, and can read everything, as a reader would that takes no turn, and end the log before a step.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<Call>>,
    read_all_and_end_before: OnceLock<Step>,
    /// After so many further portions the log ends.
    portions_left: Mutex<Option<usize>>,
    log: OnceLock<Weak<SledLog>>,
}

impl Recorder {
    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    /// Whether a portion begins that is not to be.
    fn portions_are_over(&self) -> bool {
        match &mut *self.portions_left.lock().unwrap() {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }
}

impl Durability for Recorder {
    fn before(&self, step: Step) -> io::Result<()> {
        self.note(Call::Before(step));
        if step == Step::Settle && self.portions_are_over() {
            return Err(io::Error::other("the end of the test"));
        }
        if self.read_all_and_end_before.get() != Some(&step) {
            return Ok(());
        }
        let log = self.log.get().and_then(Weak::upgrade).expect("the log is there while it commits");
        let positions: Vec<Position> = (1..=log.end().0).map(Position).collect();
        log.read_at(&positions).unwrap();
        for of in 0..STREAMS {
            log.data_keys(stream(of)).unwrap();
        }
        Err(io::Error::other("the end of the test"))
    }

    fn sync_log(&self, file: &File) -> io::Result<()> {
        self.note(Call::SyncLog);
        file.sync_data()
    }

    fn readers_wait(&self) -> bool {
        false
    }
}

const STREAMS: u128 = 8;

/// A commit that leaves many pages to split: some 250 parts and 160 keys over eight streams.
fn large(end: Position, frames: &mut Frames) -> Vec<Append> {
    (0..STREAMS)
        .zip(end.0 + 1..)
        .map(|(of, position)| {
            let values: Vec<String> = (0..8).map(|event| noise(position << 8 | event, 16_000)).collect();
            let mut one = append(stream(of), frames.next(stream(of), Position(position), &values));
            one.put = (0..20)
                .map(|key| (data_key(stream(of), u128::from(position) * 20 + key), vec![key as u8; 90]))
                .collect();
            one
        })
        .collect()
}

fn recorded(store: &Store) -> (Arc<SledLog>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let log = Arc::new(open(store.options_with(recorder.clone(), 0), HeadPolicy::Require).unwrap().log);
    recorder.log.set(Arc::downgrade(&log)).unwrap();
    (log, recorder)
}

#[test]
fn what_settling_wrote_is_synced_before_the_next_batch_is_applied() {
    let store = Store::new();
    let (log, recorder) = recorded(&store);
    let mut frames = Frames::default();
    for _ in 0..12 {
        log.append(large(log.end(), &mut frames)).unwrap();
    }
    let calls = recorder.calls.lock().unwrap();
    let portions: Vec<&[Call]> = calls.split(|call| *call == Call::Before(Step::Settle)).skip(1).collect();
    assert!(portions.len() > 12, "a large commit is made in portions");
    let (mut settled, mut ended) = (0, 0);
    for portion in portions {
        let applied = portion.iter().position(|call| *call == Call::Before(Step::Apply)).unwrap();
        settled += usize::from(portion[..applied] == [Call::SyncLog]);
        let rest = [Step::Apply, Step::Flush, Step::Sync].map(Call::Before);
        assert_eq!(portion[applied..][..3], rest);
        assert_eq!(portion[applied + 3], Call::SyncLog);
        let head = &portion[applied + 4..];
        assert!(head.is_empty() || head == [Call::Before(Step::Head)], "{head:?}");
        ended += head.len();
    }
    assert_eq!(calls.last(), Some(&Call::Before(Step::Head)));
    assert_eq!(ended, 12, "the head is written once a commit, after its last portion");
    assert!(settled > 0, "settling wrote something");
}

#[test]
fn more_keys_than_a_portion_takes_come_before_the_events_that_name_them() {
    let store = Store::new();
    let (log, recorder) = recorded(&store);
    let mut frames = Frames::default();
    let keys = |log: &SledLog| log.data_keys(stream(1)).unwrap().len();
    for (count, portions) in [(256, 1), (257, 2), (1_000, 4)] {
        let before = keys(&log);
        recorder.calls.lock().unwrap().clear();
        let mut one = append(stream(1), frames.next(stream(1), Position(log.end().0 + 1), &["a".to_owned()]));
        let number = |key: usize| (count * 10_000 + key) as u128;
        one.put = (0..count).map(|key| (data_key(stream(1), number(key)), vec![1; 85])).collect();
        log.append(vec![one]).unwrap();
        let settled = |call: &&Call| **call == Call::Before(Step::Settle);
        assert_eq!(recorder.calls.lock().unwrap().iter().filter(settled).count(), portions, "{count}");
        assert_eq!(keys(&log), before + count);
    }
    // Before its last portion a commit is none, whatever of its keys is there.
    let end = log.end();
    let mut one = append(stream(1), frames.next(stream(1), Position(end.0 + 1), &["b".to_owned()]));
    one.put = (0..300).map(|key| (data_key(stream(1), 77_000_000 + key), vec![1; 85])).collect();
    *recorder.portions_left.lock().unwrap() = Some(1);
    log.append(vec![one]).unwrap_err();
    drop(log);
    until_closed(&store);
    let log = open(store.options(), HeadPolicy::Require).unwrap().log;
    assert_eq!(log.end(), end);
}

/// Whether reads that come right before a step of a commit have something to write to sled's file.
fn reads_write_before(step: Step) -> bool {
    let store = Store::new();
    let (log, recorder) = recorded(&store);
    let mut frames = Frames::default();
    log.append(large(Position(0), &mut frames)).unwrap();
    recorder.read_all_and_end_before.set(step).unwrap();
    log.append(large(log.end(), &mut frames)).unwrap_err();
    let file = store.path.join("log/db");
    let before = fs::read(&file).unwrap();
    // sled writes its buffers when it is dropped.
    drop(log);
    until_closed(&store);
    fs::read(&file).unwrap() != before
}

/// sled's threads let go of its lock a moment after the log is dropped.
fn until_closed(store: &Store) {
    while File::open(store.path.join("log/db")).unwrap().try_lock().is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn settling_leaves_no_page_for_a_reader_to_split() {
    // sled takes the keys of a batch in another order each time; three of ten times it leaves nothing to split.
    let unsettled = (0..12).any(|_| reads_write_before(Step::Settle));
    assert!(unsettled, "a reader splits pages of a batch that is not settled");
    let settled = (0..6).all(|_| !reads_write_before(Step::Apply));
    assert!(settled, "every key of the last batch was read");
}

/// Notes which files are synced and forgotten before sled opens.
#[derive(Default)]
struct Start {
    calls: Mutex<Vec<(&'static str, u64, bool)>>,
    db: PathBuf,
}

impl Start {
    fn note(&self, what: &'static str, file: &File) {
        // sled holds a lock on its file while it is open.
        let free = File::open(&self.db).unwrap().try_lock().is_ok();
        self.calls.lock().unwrap().push((what, file.metadata().unwrap().ino(), free));
    }
}

impl Durability for Start {
    fn sync_left(&self, file: &File) -> io::Result<()> {
        self.note("sync", file);
        Disk.sync_left(file)
    }

    fn forget(&self, file: &File) -> io::Result<()> {
        self.note("forget", file);
        Disk.forget(file)
    }
}

#[test]
fn only_after_an_unclean_stop_each_file_is_synced_and_forgotten_before_sled_opens() {
    let store = Store::new();
    let mut frames = Frames::default();
    let start = || {
        let start = Arc::new(Start { db: store.path.join("log/db"), ..Start::default() });
        let log = open(store.options_with(start.clone(), 0), HeadPolicy::Require).unwrap().log;
        let calls = start.calls.lock().unwrap().clone();
        (log, calls)
    };
    let (log, calls) = start();
    assert_eq!(calls, [], "the store was made and closed");
    write(&log, &mut frames, stream(1), 40);
    log.close().unwrap();
    drop(log);
    let (log, calls) = start();
    assert_eq!(calls, [], "a clean stop");
    write(&log, &mut frames, stream(1), 40);
    drop(log);

    until_closed(&store);
    let files: Vec<u64> = fs::read_dir(store.path.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(fs::Metadata::is_file)
        .map(|file| file.ino())
        .collect();
    assert!(files.len() >= 3, "sled's data, its configuration and its page table");
    let (_log, mut calls) = start();
    let mut expected = Vec::new();
    for file in files {
        expected.extend([("sync", file, true), ("forget", file, true)]);
    }
    for file in calls.chunks(2) {
        assert_eq!([file[0].0, file[1].0], ["sync", "forget"], "dirty pages are not forgotten");
    }
    calls.sort_unstable();
    expected.sort_unstable();
    assert_eq!(calls, expected);
}

/// A disk whose syncs tell that they have begun, and wait at a gate.
struct Gated {
    begun: mpsc::SyncSender<()>,
    gate: Mutex<()>,
}

impl Durability for Gated {
    fn before(&self, step: Step) -> io::Result<()> {
        if step == Step::Sync {
            let _nobody_listens = self.begun.try_send(());
            drop(self.gate.lock().unwrap());
        }
        Ok(())
    }
}

#[test]
fn a_frame_that_was_read_is_read_again_while_a_commit_is_under_way() {
    let store = Store::new();
    let (begun, syncs) = mpsc::sync_channel(1_000);
    let disk = Arc::new(Gated { begun, gate: Mutex::new(()) });
    // Two or three frames: the first is soon none of the newest.
    let log = open(store.options_with(disk.clone(), 1_000), HeadPolicy::Require).unwrap().log;
    let mut frames = Frames::default();
    let (first, bytes) = write(&log, &mut frames, stream(1), 1);
    for _ in 0..8 {
        write(&log, &mut frames, stream(1), 1);
    }
    assert_eq!(log.read_at(&[first]).unwrap(), std::slice::from_ref(&bytes));
    while syncs.try_recv().is_ok() {}
    std::thread::scope(|scope| {
        let closed = disk.gate.lock().unwrap();
        scope.spawn(|| write(&log, &mut frames, stream(1), 1));
        syncs.recv_timeout(Duration::from_secs(30)).expect("a commit begins");
        let (tell, told) = mpsc::channel();
        let log = &log;
        scope.spawn(move || tell.send(log.read_at(&[first])));
        let read = told.recv_timeout(Duration::from_secs(10));
        drop(closed);
        assert_eq!(read.expect("the read does not wait for the commit").unwrap(), [bytes]);
    });
}
