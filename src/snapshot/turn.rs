//! Whose turn it is in a folder of snapshots: one works there at a time, whichever process that is. Waiting takes no thread, so
//! that whoever no longer wants to wait, since the server stops, say, just lets go.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::{JoinError, spawn_blocking};

use crate::private;

/// The file that whoever works in a folder of snapshots has locked. The folder may be a data directory, whose `lock` its server
/// holds for as long as it runs.
const LOCK: &str = "snapshots.lock";

/// How long it is waited before it is asked again whether others are at their end, who may be for an hour.
const PAUSE: Duration = Duration::from_millis(50);

/// While it lasts, nobody else works in the folder.
#[derive(Debug)]
pub(super) struct Turn {
    _of_us: OwnedMutexGuard<()>,
    _of_all: Option<File>,
}

impl Turn {
    /// Waits until nobody works in a folder: of this process, who hold `working`, then of all others. A folder that cannot be
    /// locked keeps nobody from working: that is said.
    ///
    /// # Errors
    /// When the thread that asks died.
    pub(super) async fn wait_for(working: &Arc<Mutex<()>>, folder: &Path) -> Result<Self, JoinError> {
        let of_us = Arc::clone(working).lock_owned().await;
        let (shown, mut is_said) = (folder.display(), false);
        loop {
            let asked = folder.to_owned();
            let of_all = match spawn_blocking(move || try_lock(&asked)).await? {
                Ok(locked) => locked,
                Err(TryLockError::WouldBlock) => {
                    if !is_said {
                        tracing::info!(
                            "another process works with the snapshots in {shown}: its end is waited for"
                        );
                    }
                    is_said = true;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(%error, "{shown} cannot be locked: no other store may have its snapshots there");
                    None
                }
            };
            return Ok(Self { _of_us: of_us, _of_all: of_all });
        }
    }
}

/// Locks a folder until the file is closed; one that is not there yet has nothing to lock.
fn try_lock(folder: &Path) -> Result<Option<File>, TryLockError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let options = private::options().write(true).create(true).truncate(false).clone();
    let file = options.open(folder.join(LOCK)).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(Some(file))
}
