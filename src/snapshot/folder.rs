//! What is in the folder of the snapshots, as their headers and manifests tell. Nothing of it is verified here but those.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{SnapshotId, StoreId};
use crate::seal::keyring::snapshot::sweep_keys;
use crate::snapshot::history::History;
use crate::snapshot::keys::{KeysHeader, header_of};
use crate::snapshot::{HISTORY, KEYS, SnapshotError, UNFINISHED, keys_of};

/// Where a drill makes its store.
pub const DRILL: &str = "drill.unfinished";

/// A snapshot as its header and its manifest tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The snapshot.
    pub id: SnapshotId,
    /// The history.
    pub path: PathBuf,
    /// When it was begun.
    pub taken_at: Timestamp,
    /// The store that it is of.
    pub store: StoreId,
    /// The epoch that the store was in.
    pub epoch: String,
    /// The position of its last frame.
    pub position: u64,
    /// How many events it holds.
    pub events: u64,
    /// How many streams.
    pub streams: u64,
    /// The bytes of the history.
    pub bytes: u64,
    /// Whether its keys lie beside it.
    pub has_keys: bool,
}

/// The snapshots of a folder, and what passes for one and is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Oldest first.
    pub data: Vec<Listed>,
    /// What cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// The snapshots of a folder.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn list(folder: &Path) -> Result<Listing, SnapshotError> {
    let mut listing = Listing::default();
    for path in paths(folder)?.into_iter().filter(|path| has_extension(path, HISTORY)) {
        match listed(&path) {
            Ok(found) => listing.data.push(found),
            Err(error) => listing.unreadable.push(with_causes(&error)),
        }
    }
    listing.data.sort_by_key(|found| (found.taken_at, found.id));
    listing.unreadable.sort();
    Ok(listing)
}

/// What a history says of itself.
///
/// # Errors
/// When its header or its manifest is not what was written.
pub fn listed(path: &Path) -> Result<Listed, SnapshotError> {
    let History { header, manifest, bytes, .. } = History::open(path)?;
    Ok(Listed {
        id: header.snapshot,
        path: path.to_owned(),
        taken_at: header.taken_at,
        store: header.store,
        epoch: header.epoch,
        position: header.position,
        events: manifest.events,
        streams: manifest.streams,
        bytes,
        has_keys: keys_of(path).exists(),
    })
}

/// The files of keys of a folder, whether or not their histories are there.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn files_of_keys(folder: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let is_one =
        |path: &PathBuf| has_extension(path, KEYS) && has_extension(&path.with_extension(""), HISTORY);
    let mut found: Vec<PathBuf> = paths(folder)?.into_iter().filter(is_one).collect();
    found.sort();
    Ok(found)
}

/// Keys whose history is not there, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The keys.
    pub path: PathBuf,
    /// Their snapshot.
    pub snapshot: SnapshotId,
    /// When they were written.
    pub at: Timestamp,
}

/// The keys of a folder that no history is listed with.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn orphans(folder: &Path) -> Result<Vec<Orphan>, SnapshotError> {
    let mut found = Vec::new();
    for path in files_of_keys(folder)? {
        if listed(&path.with_extension("")).is_ok() {
            continue;
        }
        // What says nothing of itself is left to whoever put it there.
        if let Ok(KeysHeader { snapshot, at, .. }) = header_of(&path) {
            found.push(Orphan { path, snapshot, at });
        }
    }
    Ok(found)
}

/// What lies in a folder; nothing in one that is not there.
fn paths(folder: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(SnapshotError::io("list", folder))?,
    };
    entries.map(|entry| Ok(entry.map_err(SnapshotError::io("list", folder))?.path())).collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|has| has == extension)
}

/// Removes what takings, rewritings and drills that were cut off left in the folder. Nobody else may be at work in it.
///
/// # Errors
/// When the folder cannot be read, or a file not be removed.
pub fn sweep(folder: &Path) -> Result<(), SnapshotError> {
    for path in paths(folder)? {
        let whole = path.with_extension("");
        if has_extension(&path, UNFINISHED) && has_extension(&whole, HISTORY) {
            fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
        } else if path == folder.join(DRILL) {
            fs::remove_dir_all(&path).map_err(SnapshotError::io("remove", &path))?;
        } else if has_extension(&whole, KEYS) {
            sweep_keys(&whole).map_err(SnapshotError::io("sweep", &whole))?;
        }
    }
    Ok(())
}
