//! Opening and closing sled itself: what its files need before and after, and what it does when they are damaged.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Config, Db};

use super::durability::Durability;
use super::open::{Finding, OpenError};
use crate::private::sync_dir;

/// sled's data file within its folder.
const DATA_FILE: &str = "db";

/// What a snapshot that was moved aside is called from then on; sled looks at names that begin with `snap.`.
const ASIDE: &str = "aside.";

/// sled's threads let go of its lock a moment after it is dropped.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The files of an engine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    /// sled's folder.
    pub(super) dir: PathBuf,
    /// There after a clean stop only.
    pub(super) marker: PathBuf,
    /// Bytes of pages that sled keeps in memory.
    pub(super) cache_bytes: u64,
}

impl Engine {
    /// Opens an engine that exists.
    pub(super) fn open(&self, disk: &dyn Durability, findings: &mut Vec<Finding>) -> Result<Db, OpenError> {
        let data = self.data_file();
        if !data.try_exists().map_err(OpenError::io("look for", &data))? {
            return Err(OpenError::Missing { path: data });
        }
        self.remove_unfinished(findings)?;
        self.trust_only_the_disk(disk, findings)?;
        match self.start() {
            Ok(db) => Ok(db),
            Err(Failure::Other(error)) => Err(OpenError::Engine { dir: self.dir.clone(), what: error }),
            Err(Failure::Damaged(what)) => {
                if !self.move_snapshots_aside(findings)? {
                    return Err(OpenError::Engine { dir: self.dir.clone(), what });
                }
                let db = self.start().map_err(|failure| OpenError::Engine {
                    dir: self.dir.clone(),
                    what: format!("{}; without its `snap.` file: {}", what, failure.what()),
                })?;
                Ok(db)
            }
        }
    }

    /// Makes a new engine in an empty folder.
    pub(super) fn create(&self) -> Result<Db, OpenError> {
        self.start()
            .map_err(|failure| OpenError::Engine { dir: self.dir.clone(), what: failure.what().to_owned() })
    }

    /// Our own handle to sled's data file: sled never syncs it.
    pub(super) fn file(&self) -> Result<File, OpenError> {
        let path = self.data_file();
        File::options().read(true).write(true).open(&path).map_err(OpenError::io("open", &path))
    }

    /// After the last handle is dropped: opens and closes once more, because sled writes its page table only
    /// when it opens, and the next start would otherwise read the whole file; then leaves the marker.
    pub(super) fn close(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        let db = self.start().map_err(|failure| io::Error::other(failure.what().to_owned()))?;
        drop_engine(db)?;
        file.sync_all()?;
        sync_dir(&self.dir)?;
        fs::write(&self.marker, b"")?;
        File::open(&self.marker)?.sync_all()?;
        sync_dir(parent(&self.marker))
    }

    fn data_file(&self) -> PathBuf {
        self.dir.join(DATA_FILE)
    }

    fn start(&self) -> Result<Db, Failure> {
        for attempt in 0.. {
            let config = Config::new()
                .path(&self.dir)
                .cache_capacity(self.cache_bytes)
                // sled's own flusher would write between a batch and its sync.
                .flush_every_ms(None);
            return match catch_unwind(AssertUnwindSafe(|| config.open())) {
                Ok(Ok(db)) => Ok(db),
                Ok(Err(error)) if is_lock(&error) && attempt < LOCK_TRIES => {
                    std::thread::sleep(LOCK_PAUSE);
                    continue;
                }
                Ok(Err(error @ sled::Error::Corruption { .. })) => Err(Failure::Damaged(error.to_string())),
                Ok(Err(error)) => Err(Failure::Other(error.to_string())),
                Err(panic) => Err(Failure::Damaged(format!("sled panicked: {}", message(&*panic)))),
            };
        }
        Err(Failure::Other("its lock is not let go".to_owned()))
    }

    /// A start that was interrupted while it wrote a page table leaves a file that sled takes for one and never
    /// opens again (sled issues 1527 and 1533). The store's lock is ours, so nobody is writing it.
    fn remove_unfinished(&self, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        for path in self.files()? {
            let name = name_of(&path);
            if name.starts_with("snap.") && name.ends_with(".generating") {
                fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
                findings.push(Finding::UnfinishedRemoved { path });
            }
        }
        sync_dir(&self.dir).map_err(OpenError::io("sync", &self.dir))
    }

    /// After a failed sync, reads show pages that the disk lacks. Unless the last stop was a clean one, all
    /// files are synced and the system's copies dropped, so that what is read is what is there.
    fn trust_only_the_disk(
        &self,
        disk: &dyn Durability,
        findings: &mut Vec<Finding>,
    ) -> Result<(), OpenError> {
        match fs::remove_file(&self.marker) {
            Ok(()) => {
                let dir = parent(&self.marker);
                return sync_dir(dir).map_err(OpenError::io("sync", dir));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => findings.push(Finding::UncleanStop),
            Err(error) => return Err(OpenError::io("remove", &self.marker)(error)),
        }
        for path in self.files()? {
            let file = File::open(&path).map_err(OpenError::io("open", &path))?;
            disk.sync_left(&file).map_err(OpenError::io("sync", &path))?;
            disk.forget(&file).map_err(OpenError::io("drop cached pages of", &path))?;
        }
        Ok(())
    }

    fn move_snapshots_aside(&self, findings: &mut Vec<Finding>) -> Result<bool, OpenError> {
        let mut moved = false;
        for path in self.files()? {
            if name_of(&path).starts_with("snap.") {
                let to = self.dir.join(format!("{ASIDE}{}", name_of(&path)));
                fs::rename(&path, &to).map_err(OpenError::io("rename", &path))?;
                findings.push(Finding::PageTableMovedAside { to });
                moved = true;
            }
        }
        sync_dir(&self.dir).map_err(OpenError::io("sync", &self.dir))?;
        Ok(moved)
    }

    fn files(&self) -> Result<Vec<PathBuf>, OpenError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    files.push(entry.path());
                }
            }
            Ok(files)
        };
        list().map_err(OpenError::io("list", &self.dir))
    }
}

/// Drops the last handle. sled writes and syncs then, and panics where it cannot.
pub(super) fn drop_engine(db: Db) -> io::Result<()> {
    guarded(|| {
        drop(db);
        Ok(())
    })
}

/// Runs a call into sled; a panic inside becomes an error.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(io::Error::other(error.to_string())),
        Err(panic) => Err(io::Error::other(format!("sled panicked: {}", message(&*panic)))),
    }
}

enum Failure {
    /// sled found damage, or stumbled over it.
    Damaged(String),
    Other(String),
}

impl Failure {
    fn what(&self) -> &str {
        match self {
            Self::Damaged(what) | Self::Other(what) => what,
        }
    }
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
