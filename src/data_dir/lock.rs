//! The lock of a data directory: one process has it open at a time, and says which.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use super::DataDirError;
use crate::private;

/// Locks a data directory for as long as the file is open.
///
/// # Errors
/// `InUse` with the process that has it, or when the file cannot be made.
pub(super) fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("lock");
    let mut file = private::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(DataDirError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid);
            let pid = pid.trim_end().to_owned();
            let pid = if read.is_ok() && !pid.is_empty() { pid } else { "unknown".to_owned() };
            Err(DataDirError::InUse { dir: root.to_owned(), pid })
        }
        Err(TryLockError::Error(source)) => Err(DataDirError::Io { action: "lock", path, source }),
    }
}

/// Says which process has it.
///
/// # Errors
/// Those of the file system.
pub(super) fn note_process(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}
