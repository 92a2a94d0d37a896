//! A small ext4 of its own, on a loop device: to be filled, and to lose its power. Needs root, e2fsprogs and a kernel
//! with loop devices; where they are missing the test fails.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `_IOR('X', 125, __u32)`, and the flag that drops what the journal holds (linux/fs/ext4/ext4.h, fs/xfs/xfs_fs.h).
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
static NO_LOG_FLUSH: u32 = 2;

/// A mounted image; unmounted and detached when dropped.
pub struct Disk {
    dir: tempfile::TempDir,
    device: String,
}

impl Disk {
    /// Makes an ext4 of so many MiB and mounts it.
    pub fn new(mebibytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let image = dir.path().join("image");
        File::create(&image).and_then(|file| file.set_len(mebibytes << 20)).expect("the image can be made");
        // Without reserved blocks: root may write into them, and a test of a full disk runs as root.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)]);
        let device = run("losetup", &["--find", "--show", text(&image)]).trim().to_owned();
        let disk = Self { dir, device };
        std::fs::create_dir(disk.path()).expect("the mount point can be made");
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Every byte of the disk, once it is taken out.
    pub fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Takes the disk out for good; whoever used it must have ended.
    pub fn take_out(&self) {
        run("umount", &[text(&self.path())]);
        run("blockdev", &["--flushbufs", &self.device]);
    }

    /// Cuts the power: from here on nothing reaches the disk, neither data nor journal.
    pub fn cut(&self) {
        let root = File::open(self.path()).expect("the disk is mounted");
        #[expect(unsafe_code, reason = "an ioctl has no safe wrapper")]
        // SAFETY: the descriptor is open, and the kernel reads one u32 behind the pointer.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const NO_LOG_FLUSH) };
        assert_eq!(result, 0, "EXT4_IOC_SHUTDOWN: {}", std::io::Error::last_os_error());
    }

    /// Takes the disk out and in again; whoever used it must have ended.
    pub fn remount(&self) {
        run("umount", &[text(&self.path())]);
        self.mount();
    }

    /// Fills it with a file, until so many bytes are free.
    pub fn fill(&self, leave: u64) {
        let filler =
            File::options().create(true).append(true).open(self.filler()).expect("the filler can be opened");
        loop {
            let free = self.free();
            if free <= leave {
                break;
            }
            let piece = vec![0x5a; usize::try_from((free - leave).min(64 << 10)).unwrap_or(1)];
            if std::io::Write::write(&mut &filler, &piece).is_err() {
                break;
            }
        }
        let _full = filler.sync_all();
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    /// Free bytes.
    pub fn free(&self) -> u64 {
        settled::data_dir::free_bytes(&self.path()).expect("the disk is mounted")
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn mount(&self) {
        run("mount", &[&self.device, text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails here leaves a mount behind and not a wrong result.
        let _ended = Command::new("umount").arg(self.path()).output();
        let _ended = Command::new("losetup").args(["-d", &self.device]).output();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are text")
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; it comes with e2fsprogs or util-linux"));
    assert!(
        output.status.success(),
        "{program} {args:?}, which needs root: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
