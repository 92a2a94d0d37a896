//! The data directory: which store is in use, who holds it, and the room that it needs.
//!
//! ```text
//! DIR/
//!   current       names the store in use
//!   stores/<id>/  log/ keys/ head derived/ ledger-mark
//!   snapshots/    ledger; elsewhere where `serve` is told so
//!   ballast  lock  server.json  setup-token  root.key  operator.sock  operator-token  demo
//! ```
//! A store is made under another name and complete before `current` names it, so a store without `current`, or a
//! `current` without its store, is damage and never a reason to begin anew. What is inside a store is the
//! business of `log/` and `seal/`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use self::lock::{lock, note_process};
use crate::ids::StoreId;
use crate::private;

mod lock;

/// The size of the ballast unless told otherwise: more than sled needs to open, which writes its page table.
pub const DEFAULT_BALLAST_BYTES: u64 = 8 << 20;

/// With less free than this the ballast is given up while the store is open: what must go on on a full disk (logging
/// out, revoking, a clean stop) takes some pages, and sled grows its file by half a MiB at a time.
const LAST_ROOM_BYTES: u64 = 1 << 20;

/// The folder of the snapshots in a data directory.
pub const SNAPSHOTS: &str = "snapshots";

/// The file of the token that operators need on their port, unless told otherwise.
pub const OPERATOR_TOKEN: &str = "operator-token";

/// What a store is called until it is complete.
const UNFINISHED: &str = "unfinished-";

/// Names, in a store that was replaced, the store that replaced it.
const SUCCESSOR: &str = "succeeded-by";

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file could not be reached.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may write into it, so whatever lies there may be theirs.
    #[error("others may write into {} (mode {mode:04o}); take that away with `chmod go-w`, and look at what is in it", dir.display())]
    Permissions {
        /// The data directory.
        dir: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by process {pid}; stop it, or talk to it over its socket", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The other process, or `unknown`.
        pid: String,
    },
    /// Stores are there, and nothing says which one is in use.
    #[error(
        "{} is missing or unreadable, and {stores} in {} may be the one in use; write its name into `current` again, \
         for nothing is set up beside a store that exists", current.display(), dir.display()
    )]
    StoresWithoutCurrent {
        /// The file that should name the store.
        current: PathBuf,
        /// The folder of the stores.
        dir: PathBuf,
        /// The stores that are there.
        stores: String,
    },
    /// `current` names a store that is not there.
    #[error("`current` names {store}, which is not in {}; put it back, or restore a snapshot", dir.display())]
    NoSuchStore {
        /// The store that it names.
        store: StoreId,
        /// The folder of the stores.
        dir: PathBuf,
    },
    /// `current` names a store that another one has replaced.
    #[error(
        "`current` names {store}, which {successor} has replaced; write {successor} into `current`, or remove {} to \
         go back to the older store", marker.display()
    )]
    Replaced {
        /// The store that it names.
        store: StoreId,
        /// The store that replaced it.
        successor: StoreId,
        /// The file that says so.
        marker: PathBuf,
    },
}

impl DataDirError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// A data directory, locked for this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    ballast_bytes: u64,
    ballast_freed: bool,
    /// The lock lasts as long as this handle is open.
    lock: File,
}

/// The folder of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDir {
    /// The store.
    pub id: StoreId,
    /// Its folder.
    pub path: PathBuf,
}

impl StoreDir {
    /// The log's folder.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The folder of the streams' keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The head file.
    pub fn head(&self) -> PathBuf {
        self.path.join("head")
    }

    /// How far the ledger was held against the log.
    pub fn ledger_mark(&self) -> PathBuf {
        self.path.join("ledger-mark")
    }

    /// What can be deleted at any time and is built anew.
    pub fn derived(&self) -> PathBuf {
        self.path.join("derived")
    }
}

impl DataDir {
    /// Opens a data directory, makes it if need be, and locks it. On a disk that is full its ballast is freed.
    ///
    /// # Errors
    /// When it cannot be made, others may write into it, or another process has it open.
    pub fn open(root: impl Into<PathBuf>, ballast_bytes: u64) -> Result<Self, DataDirError> {
        let root = root.into();
        private::make_dir_all(&root).map_err(DataDirError::io("make", &root))?;
        let mode = fs::metadata(&root).map_err(DataDirError::io("look at", &root))?.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(DataDirError::Permissions { dir: root, mode });
        }
        let lock = lock(&root)?;
        let mut dir = Self { root, ballast_bytes, ballast_freed: false, lock };
        dir.free_ballast_if_short()?;
        let path = dir.root.join("lock");
        note_process(&mut dir.lock).map_err(DataDirError::io("write", &path))?;
        let stores = dir.stores_dir();
        private::make_dir_all(&stores).map_err(DataDirError::io("make", &stores))?;
        private::sync_dir(&dir.root).map_err(DataDirError::io("sync", &dir.root))?;
        Ok(dir)
    }

    /// The store in use; `None` in a directory that never had one.
    ///
    /// # Errors
    /// When stores are there and nothing names one, or one is named that is not there or was replaced.
    pub fn current(&self) -> Result<Option<StoreDir>, DataDirError> {
        let current = self.root.join("current");
        let dir = self.stores_dir();
        let named = match fs::read_to_string(&current) {
            Ok(text) => text.trim_end().parse::<StoreId>().ok(),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                None
            }
            Err(error) => return Err(DataDirError::io("read", &current)(error)),
        };
        let Some(id) = named else {
            let unreadable = current.try_exists().map_err(DataDirError::io("look for", &current))?;
            let stores = self.stores()?;
            return if stores.is_empty() && !unreadable {
                Ok(None)
            } else {
                let stores = if stores.is_empty() { "nothing".to_owned() } else { stores.join(", ") };
                Err(DataDirError::StoresWithoutCurrent { current, dir, stores })
            };
        };
        let store = self.store(id);
        if !store.path.is_dir() {
            // A crash between naming a complete store and giving it its name.
            let unfinished = self.unfinished(id);
            if !unfinished.is_dir() {
                return Err(DataDirError::NoSuchStore { store: id, dir });
            }
            fs::rename(&unfinished, &store.path).map_err(DataDirError::io("rename", &unfinished))?;
            private::sync_dir(&dir).map_err(DataDirError::io("sync", &dir))?;
        }
        let marker = store.path.join(SUCCESSOR);
        if let Some(successor) =
            fs::read_to_string(&marker).ok().and_then(|text| text.trim_end().parse().ok())
            && self.store(successor).path.is_dir()
        {
            return Err(DataDirError::Replaced { store: id, successor, marker });
        }
        Ok(Some(store))
    }

    /// Makes a store and puts it in use. `fill` gets its folder, empty, under a name that nothing takes for a
    /// store, and makes all that is in it, synced. A store that was in use stays beside it.
    ///
    /// # Errors
    /// Those of `fill`, and when a file cannot be made; nothing has changed then.
    pub fn create_store<E: From<DataDirError>>(
        &self,
        id: StoreId,
        fill: impl FnOnce(&StoreDir) -> Result<(), E>,
    ) -> Result<StoreDir, E> {
        let before = self.current()?;
        let unfinished = StoreDir { id, path: self.unfinished(id) };
        private::make_dir(&unfinished.path).map_err(DataDirError::io("make", &unfinished.path))?;
        for path in [unfinished.keys(), unfinished.derived()] {
            private::make_dir(&path).map_err(DataDirError::io("make", &path))?;
        }
        fill(&unfinished)?;
        let dir = self.stores_dir();
        for path in [&unfinished.path, &dir] {
            private::sync_dir(path).map_err(DataDirError::io("sync", path))?;
        }
        if let Some(before) = before {
            // Until the new store has its name, this is not believed.
            let marker = before.path.join(SUCCESSOR);
            private::write(&marker, format!("{id}\n").as_bytes())
                .map_err(DataDirError::io("write", &marker))?;
        }
        let current = self.root.join("current");
        private::write(&current, format!("{id}\n").as_bytes())
            .map_err(DataDirError::io("write", &current))?;
        // From here on the new store is the one; `current` gives it its name if we die before the next line.
        let store = self.store(id);
        fs::rename(&unfinished.path, &store.path).map_err(DataDirError::io("rename", &unfinished.path))?;
        private::sync_dir(&dir).map_err(DataDirError::io("sync", &dir))?;
        Ok(store)
    }

    /// What interrupted set-ups and restores left behind, beside the store in use.
    ///
    /// # Errors
    /// Those of [`DataDir::current`].
    pub fn unfinished_stores(&self) -> Result<Vec<StoreDir>, DataDirError> {
        self.current()?;
        let names = self.names_in_stores()?;
        let ids = names.iter().filter_map(|name| name.strip_prefix(UNFINISHED)?.parse().ok());
        Ok(ids.map(|id| StoreDir { id, path: self.unfinished(id) }).collect())
    }

    /// Removes what interrupted set-ups and restores left behind; gives their names. The store in use is none of it: one
    /// that is named and has yet to get its own name gets it here.
    ///
    /// # Errors
    /// Those of [`DataDir::current`], and when one cannot be removed.
    pub fn remove_unfinished(&self) -> Result<Vec<String>, DataDirError> {
        self.current()?;
        let names = self.names_in_stores()?;
        let unfinished: Vec<String> = names.into_iter().filter(|name| name.starts_with(UNFINISHED)).collect();
        for name in &unfinished {
            let path = self.stores_dir().join(name);
            fs::remove_dir_all(&path).map_err(DataDirError::io("remove", &path))?;
        }
        Ok(unfinished)
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a running server says of itself to the command line.
    pub fn server_file(&self) -> PathBuf {
        self.root.join("server.json")
    }

    /// The one-time token of the first set-up.
    pub fn setup_token(&self) -> PathBuf {
        self.root.join("setup-token")
    }

    /// The root key, if it was made here.
    pub fn root_key(&self) -> PathBuf {
        self.root.join("root.key")
    }

    /// Where operators talk to a running server.
    pub fn operator_socket(&self) -> PathBuf {
        self.root.join("operator.sock")
    }

    /// The bytes that this process may still write to the disk.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.root)
    }

    /// Whether opening had to free the ballast.
    pub fn ballast_freed(&self) -> bool {
        self.ballast_freed
    }

    /// Makes the ballast, or makes it again, if so many bytes stay free beside it. Returns whether it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_ballast(&self, keep_free_bytes: u64) -> io::Result<bool> {
        keep_ballast(&self.root, self.ballast_bytes, keep_free_bytes)
    }

    /// sled cannot open without room for its page table.
    fn free_ballast_if_short(&mut self) -> Result<(), DataDirError> {
        let path = self.ballast();
        let free = self.free_bytes().map_err(DataDirError::io("ask for the free space of", &self.root))?;
        if free >= self.ballast_bytes {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Ok(()) => self.ballast_freed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(DataDirError::io("remove", &path)(error)),
        }
        private::sync_dir(&self.root).map_err(DataDirError::io("sync", &self.root))
    }

    fn ballast(&self) -> PathBuf {
        ballast(&self.root)
    }

    fn stores_dir(&self) -> PathBuf {
        self.root.join("stores")
    }

    fn store(&self, id: StoreId) -> StoreDir {
        StoreDir { id, path: self.stores_dir().join(id.to_string()) }
    }

    fn unfinished(&self, id: StoreId) -> PathBuf {
        self.stores_dir().join(format!("{UNFINISHED}{id}"))
    }

    /// Every store that is there, in use or not.
    ///
    /// # Errors
    /// When the folder of the stores cannot be listed.
    pub fn store_dirs(&self) -> Result<Vec<StoreDir>, DataDirError> {
        let names = self.stores()?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).map(|id| self.store(id)).collect())
    }

    /// What else lies among them, under names that are no store's, such as a copy that somebody made by hand.
    ///
    /// # Errors
    /// As those of [`DataDir::store_dirs`].
    pub fn strays(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let names = self.stores()?.into_iter().filter(|name| name.parse::<StoreId>().is_err());
        Ok(names.map(|name| self.stores_dir().join(name)).collect())
    }

    /// The stores by their ids.
    ///
    /// # Errors
    /// As those of [`DataDir::store_dirs`].
    pub fn store_ids(&self) -> Result<BTreeSet<StoreId>, DataDirError> {
        Ok(self.store_dirs()?.into_iter().map(|store| store.id).collect())
    }

    fn stores(&self) -> Result<Vec<String>, DataDirError> {
        let names = self.names_in_stores()?;
        Ok(names.into_iter().filter(|name| !name.starts_with(UNFINISHED)).collect())
    }

    fn names_in_stores(&self) -> Result<Vec<String>, DataDirError> {
        let dir = self.stores_dir();
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        };
        list().map_err(DataDirError::io("list", &dir))
    }
}

/// The bytes that this process may still write to the disk of a path.
///
/// # Errors
/// When the system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether two paths lie on one disk; what is not there yet lies where the folder above it does.
pub fn on_one_disk(one: &Path, other: &Path) -> bool {
    let disk = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        path.ancestors().find_map(|above| fs::metadata(above).ok()).map(|found| found.dev())
    };
    disk(one) == disk(other)
}

/// Makes the ballast of a data directory, or makes it whole again, if so many bytes stay free beside it. Returns
/// whether it is there.
///
/// # Errors
/// When it cannot be written.
pub fn keep_ballast(root: &Path, ballast_bytes: u64, keep_free_bytes: u64) -> io::Result<bool> {
    let path = ballast(root);
    let present = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    if present >= ballast_bytes {
        return Ok(true);
    }
    if free_bytes(root)? < ballast_bytes.saturating_add(keep_free_bytes) {
        return Ok(false);
    }
    let file = private::options().write(true).create(true).truncate(true).open(&path)?;
    // Zeros are written rather than reserved: some file systems reserve nothing.
    let chunk = [0; 64 << 10];
    let mut left = ballast_bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        if let Err(error) = (&file).write_all(&chunk[..part]) {
            drop(file);
            fs::remove_file(&path)?;
            return Err(error);
        }
        left -= part as u64;
    }
    file.sync_all()?;
    private::sync_dir(root)?;
    Ok(true)
}

/// Gives up the ballast of a data directory, all but `keep` bytes of it, where almost nothing is free; the next start
/// with enough room makes it whole again. Returns whether it did.
///
/// # Errors
/// When the system does not say what is free, or the ballast cannot be cut.
pub fn give_up_ballast(root: &Path, keep: u64) -> io::Result<bool> {
    if free_bytes(root)? >= LAST_ROOM_BYTES {
        return Ok(false);
    }
    let file = match private::options().write(true).open(ballast(root)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() <= keep {
        return Ok(false);
    }
    file.set_len(keep)?;
    file.sync_all().map(|()| true)
}

fn ballast(root: &Path) -> PathBuf {
    root.join("ballast")
}
