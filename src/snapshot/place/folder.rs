//! Snapshots in a folder. A file has another name until it is whole and synced; keys that go are overwritten. Whoever writes one
//! has it locked under that name, so that what nobody has locked was left by somebody who is gone.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Begun, Over, Place, ReadAt, has_extension, is_keys};
use crate::data_dir;
use crate::private;
use crate::seal::keyring::snapshot::{remove_keys, replace_keys, sweep_keys};
use crate::snapshot::HISTORY;

/// What a file is called until it is whole.
const UNFINISHED: &str = "unfinished";

/// A folder of snapshots. It is made by whoever writes into it first.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Place for Folder {
    fn root(&self) -> PathBuf {
        self.0.clone()
    }

    fn path(&self, name: &OsStr) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.file_name())).collect(),
        }
    }

    fn has(&self, name: &OsStr) -> io::Result<bool> {
        self.path(name).try_exists()
    }

    fn open(&self, name: &OsStr) -> io::Result<Box<dyn ReadAt>> {
        let file = private::open_regular(&self.path(name))?;
        let bytes = file.metadata()?.len();
        Ok(Box::new(Whole { file, bytes }))
    }

    fn begin(&self, name: &OsStr, over: Over) -> io::Result<Box<dyn Begun>> {
        let path = self.path(name);
        let options = private::options().write(true).create_new(true).clone();
        let file = options.open(path.with_added_extension(UNFINISHED))?;
        let begun = Unfinished { path, file, over };
        // Whoever sweeps may have it between the two.
        match try_lock(&begun.file) && is_named(&begun.file, &begun.path)? {
            true => Ok(Box::new(begun)),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        let path = self.path(name);
        if is_keys(&path) {
            return remove_keys(&path);
        }
        fs::remove_file(&path)?;
        private::sync_dir(&self.0)
    }

    fn sweep(&self, name: &OsStr) -> io::Result<()> {
        let path = self.path(name);
        let left = match private::open_regular(&path.with_added_extension(UNFINISHED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            left => Some(left?),
        };
        if let Some(left) = &left
            && !(try_lock(left) && is_named(left, &path)?)
        {
            return Ok(());
        }
        if is_keys(&path) {
            return sweep_keys(&path);
        }
        match fs::remove_file(path.with_added_extension(UNFINISHED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sweep_all(&self) -> io::Result<()> {
        for name in self.names()? {
            let whole = Path::new(&name).with_extension("");
            let is_history = has_extension(Path::new(&name), UNFINISHED) && has_extension(&whole, HISTORY);
            if (is_keys(&whole) || is_history)
                && let Err(error) = self.sweep(whole.as_os_str())
            {
                // One that cannot go, which may be no file of ours, keeps no other from going.
                tracing::warn!(%error, "{} could not be swept", self.path(&name).display());
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        data_dir::free_bytes(&self.0).map(Some)
    }
}

/// Locks a file that is being written, or was, until it is closed; gives whether nobody else has it. Where the file system has no
/// locks, nobody has: that is said of the folder.
fn try_lock(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Whether a file is the one that is being written of a name.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, fs::metadata(path.with_added_extension(UNFINISHED)));
    Ok(named.is_ok_and(|named| (open.dev(), open.ino()) == (named.dev(), named.ino())))
}

/// A file that is there.
#[derive(Debug)]
struct Whole {
    file: File,
    bytes: u64,
}

impl ReadAt for Whole {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// A file under its other name.
struct Unfinished {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
    over: Over,
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Begun for Unfinished {
    fn finish(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn publish(self: Box<Self>) -> io::Result<()> {
        if !is_named(&self.file, &self.path)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed while it was written"));
        }
        match self.over {
            Over::TheOneBefore => replace_keys(&self.path),
            Over::Nothing => {
                private::rename_new(&self.path.with_added_extension(UNFINISHED), &self.path)?;
                private::sync_dir(self.path.parent().unwrap_or(Path::new(".")))
            }
        }
    }
}
