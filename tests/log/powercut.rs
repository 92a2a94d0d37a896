//! Power cuts on a real file system: an ext4 image is shut down under a writer, without flushing its journal,
//! and mounted again. What was acknowledged before the cut is there, or the test fails.
//!
//! It needs root, `mkfs.ext4` and loop devices, and fails where it cannot have them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use settled::log::check::check;
use settled::log::sled::durability::{Disk, Durability};
use settled::log::sled::open::{HeadPolicy, open};
use settled::log::{AppendError, EventLog, Position};

use crate::events::{Frames, append, noise, stream};
use crate::store::Store;

/// An ext4 file system in an image on a loop device; both go when it is dropped, whatever happened.
pub(crate) struct Ext4 {
    dir: tempfile::TempDir,
    device: String,
}

impl Ext4 {
    /// Makes and mounts one.
    pub(crate) fn new(megabytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let device = run("losetup", &["--find", "--show", image.to_str().unwrap()]).trim().to_owned();
        let disk = Self { dir, device };
        fs::create_dir(disk.path()).unwrap();
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn mount(&self) {
        run("mount", &["-t", "ext4", &self.device, self.path().to_str().unwrap()]);
    }

    /// The power cut: from here on nothing reaches the image, and the journal's unwritten part is gone.
    #[expect(unsafe_code, reason = "the shutdown ioctl has no safe wrapper")]
    fn cut(&self) {
        /// `_IOR('X', 125, __u32)` of the kernel's ext4.h.
        const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        const NO_LOG_FLUSH: u32 = 2;
        let root = File::open(self.path()).unwrap();
        // SAFETY: the opcode takes a pointer to a u32 that it reads.
        unsafe {
            let flags = rustix::ioctl::Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(&root, flags).expect("ext4 is shut down");
        }
    }

    /// Unmounts and mounts again, which replays the journal. sled's threads let go of the files a moment late.
    fn restart(&self) {
        for _ in 0..200 {
            let done = Command::new("umount").arg(self.path()).output().unwrap().status.success();
            if done {
                return self.mount();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} stays busy", self.path().display());
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Left to itself each of these would outlive the test; a failure has no one to be told.
        let _ = Command::new("umount").args(["--lazy".as_ref(), self.path().as_os_str()]).output();
        let _ = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {} (root is needed)",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A disk that lies.
struct NoSync;

impl Durability for NoSync {
    fn sync_log(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

/// What one power cut did.
#[derive(Debug)]
struct Cut {
    acknowledged: u64,
    outcome: Result<u64, String>,
}

/// Cuts the power `cuts` times under a writer and a reader, going on with what is left each time.
fn cuts(cuts: u64, durability: Arc<dyn Durability>) -> Vec<Cut> {
    let disk = Ext4::new(512);
    let root = disk.path().join("store");
    fs::create_dir(&root).unwrap();
    let mut store = Store::create_in(&root, 1);
    let written: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());
    let mut done = Vec::new();
    for cut in 0..cuts {
        let before = written.lock().unwrap().len() as u64;
        let acknowledged = AtomicU64::new(before);
        let opened = open(store.options_with(durability.clone(), 64 << 10), HeadPolicy::Require);
        let log = match opened {
            Ok(opened) => opened.log,
            Err(error) => {
                // It opened right after the cut: what was left could not be gone on with.
                done.push(Cut { acknowledged: 0, outcome: Err(error.to_string()) });
                break;
            }
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_until_the_cut(&log, &written, &acknowledged));
            let reader = scope.spawn(|| {
                for n in 0..2_000 {
                    let end = log.end().0.max(1);
                    if log.read_at(&[Position(1 + n * 7919 % end)]).is_err() && log.end().0 > 0 {
                        break;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            // In the midst of writing, however busy the machine is.
            let under_way = before + 3 + cut * 37 % 120;
            for _ in 0..40_000 {
                if acknowledged.load(Ordering::SeqCst) >= under_way {
                    break;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            disk.cut();
            writer.join().expect("the writer is told, and ends");
            reader.join().expect("the reader ends");
        });
        drop(log);
        disk.restart();
        let acknowledged = acknowledged.into_inner();
        let outcome = left(&root, acknowledged, &written.lock().unwrap());
        let end = outcome.as_ref().ok().copied();
        done.push(Cut { acknowledged: acknowledged - before, outcome });
        if let Some(end) = end {
            written.lock().unwrap().truncate(end as usize);
        } else {
            // Lost: the next cut begins with a new store.
            fs::remove_dir_all(&root).unwrap();
            fs::create_dir(&root).unwrap();
            store = Store::create_in(&root, 1);
            written.lock().unwrap().clear();
        }
    }
    done
}

fn write_until_the_cut(log: &dyn EventLog, written: &Mutex<Vec<Bytes>>, acknowledged: &AtomicU64) {
    let mut frames = Frames::after(log);
    for n in 0..100_000_u64 {
        let position = Position(log.end().0 + 1);
        let of = stream(u128::from(n % 3));
        let values: Vec<String> = (0..1 + n % 40).map(|event| noise(position.0 << 8 | event, 200)).collect();
        let frame = frames.next(of, position, &values);
        {
            let mut written = written.lock().unwrap();
            written.truncate(position.0 as usize - 1);
            written.push(frame.clone());
        }
        match log.append(vec![append(of, frame)]) {
            Ok(_) => acknowledged.store(position.0, Ordering::SeqCst),
            Err(_) => return,
        }
    }
}

/// How far the log reaches after the cut, if it holds all that was acknowledged.
fn left(root: &Path, acknowledged: u64, written: &[Bytes]) -> Result<u64, String> {
    let opened = Store::at(root, 1).try_open().map_err(|error| error.to_string())?;
    let log = opened.log;
    if log.end().0 < acknowledged {
        return Err(format!("opened short: {} of {acknowledged}", log.end().0));
    }
    let found = crate::suite::try_answers(&log).map_err(|error| error.to_string())?.frames;
    if !found.iter().map(|(_, frame)| frame).eq(written.iter().take(found.len())) {
        return Err("frames differ".to_owned());
    }
    let report = check(&log, |_, _| {});
    if report.is_clean() { Ok(log.end().0) } else { Err(format!("{:?}", report.defects)) }
}

#[test]
fn nothing_acknowledged_is_lost_at_a_power_cut() {
    let done = cuts(5 * u64::from(crate::scale()), Arc::new(Disk));
    let lost: Vec<&Cut> = done.iter().filter(|cut| cut.outcome.is_err()).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    let acknowledged: u64 = done.iter().map(|cut| cut.acknowledged).sum();
    assert!(acknowledged > 10, "only {acknowledged} commits were under way");
}

#[test]
fn without_a_sync_the_power_cuts_lose_what_was_acknowledged() {
    // The system writes what it likes when it likes: it may take a few rounds until it has not.
    let lose = |done: &[Cut]| done.iter().any(|cut| cut.outcome.is_err());
    assert!((0..4).any(|_| lose(&cuts(16, Arc::new(NoSync)))), "64 power cuts lost nothing");
}

/// One of many commits alike, some 30 KiB each.
fn one_of_many(log: &dyn EventLog, frames: &mut Frames) -> Result<Vec<Position>, AppendError> {
    let position = Position(log.end().0 + 1);
    let values: Vec<String> = (0..100).map(|event| noise(position.0 << 8 | event, 300)).collect();
    log.append(vec![append(stream(1), frames.next(stream(1), position, &values))])
}

/// How many of them an empty store takes before one fills a segment of sled's file.
fn commits_in_a_segment() -> usize {
    let store = Store::new();
    let (log, _) = store.open();
    let mut frames = Frames::default();
    let segments = || fs::metadata(store.path.join("log/db")).unwrap().len() / (512 << 10);
    let before = segments();
    (0..100)
        .find(|_| {
            one_of_many(&log, &mut frames).unwrap();
            segments() > before
        })
        .expect("a segment is full some time")
}

#[test]
fn a_commit_that_fills_a_segment_is_told_of_the_power_cut() {
    let commits = commits_in_a_segment();
    for _ in 0..3 {
        let disk = Ext4::new(64);
        let root = disk.path().join("store");
        fs::create_dir(&root).unwrap();
        let (log, _) = Store::create_in(&root, 1).open();
        let mut frames = Frames::default();
        for _ in 0..commits {
            one_of_many(&log, &mut frames).unwrap();
        }
        disk.cut();
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || sender.send(one_of_many(&log, &mut frames).is_err()));
        assert_eq!(told.recv_timeout(Duration::from_secs(15)), Ok(true), "the writer waits for ever");
    }
}

#[test]
fn what_an_unclean_stop_left_is_really_synced_and_forgotten() {
    let disk = Ext4::new(16);
    let path = disk.path().join("file");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.sync_all().unwrap();
    File::open(disk.path()).unwrap().sync_all().unwrap();
    file.write_all_at(&[7; 8192], 0).unwrap();
    // Reads only what needs no disk.
    let is_in_memory = || {
        let mut bytes = [0; 4096];
        let mut buffers = [io::IoSliceMut::new(&mut bytes)];
        rustix::io::preadv2(&file, &mut buffers, 0, rustix::io::ReadWriteFlags::NOWAIT).is_ok()
    };
    Disk.sync_left(&file).unwrap();
    assert!(is_in_memory());
    Disk.forget(&file).unwrap();
    assert!(!is_in_memory(), "what is read next comes from the disk");
    disk.cut();
    drop(file);
    disk.restart();
    assert_eq!(fs::read(&path).unwrap(), [7; 8192]);
}
