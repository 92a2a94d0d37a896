//! Appending to a ledger that other processes may append to as well: one at a time, and what fails takes nothing with it that
//! another one wrote.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::lines::end_of_last;
use crate::private;

/// How often it is asked whether it is our turn, and how long it is waited in between: 10 seconds in all, while others need
/// the time of a sync. All writes of this store wait meanwhile.
const ASKS_MAX: u32 = 2_000;
const PAUSE: Duration = Duration::from_millis(5);

/// Opens a ledger, and makes it where there is none.
///
/// # Errors
/// Those of the file system.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let is_new = !path.try_exists()?;
    if is_new {
        private::make_durable_dir(folder)?;
    }
    let file = private::options().read(true).append(true).create(true).open(path)?;
    if is_new {
        private::sync_dir(folder)?;
    }
    Ok(file)
}

/// Appends whole lines after the last whole one, durable before this returns; gives where they lie.
///
/// # Errors
/// Those of the file system, and `WouldBlock` where others do not come to an end. What was written of the lines is taken back
/// then, as far as that can be: what is refused must not be finished at the next start.
pub(super) fn append(file: &File, lines: &[u8]) -> io::Result<Range<u64>> {
    let _turn = Turn::wait_for(file)?;
    let start = end_of_last(file)?;
    if file.metadata()?.len() > start {
        // Nobody is in the midst of writing it, so a crash was.
        file.set_len(start)?;
    }
    let mut appends = file;
    if let Err(error) = appends.write_all(lines).and_then(|()| file.sync_data()) {
        let taken_back = file.set_len(start).and_then(|()| file.sync_data());
        return taken_back.and(Err(error));
    }
    Ok(start..start + lines.len() as u64)
}

/// While it lasts, no other process appends.
struct Turn<'a>(&'a File);

impl<'a> Turn<'a> {
    fn wait_for(file: &'a File) -> io::Result<Self> {
        for _ in 0..ASKS_MAX {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            "another store is writing the ledger and does not come to an end",
        ))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closing the file would do it, too.
        let _unlocked = self.0.unlock();
    }
}
