//! What is in the folder of the snapshots, as their headers and manifests tell. Nothing of it is verified here but those.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{SnapshotId, StoreId};
use crate::seal::keyring::snapshot::sweep_keys;
use crate::snapshot::history::History;
use crate::snapshot::{HISTORY, KEYS, SnapshotError, UNFINISHED, keys_of};

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
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
        entries => entries.map_err(SnapshotError::io("list", folder))?,
    };
    for entry in entries {
        let path = entry.map_err(SnapshotError::io("list", folder))?.path();
        if path.extension().is_none_or(|extension| extension != HISTORY) {
            continue;
        }
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

/// Removes what takings and rewritings that were cut off left in the folder. Nobody else may be at work in it.
///
/// # Errors
/// When the folder cannot be read, or a file not be removed.
pub fn sweep(folder: &Path) -> Result<(), SnapshotError> {
    for entry in fs::read_dir(folder).map_err(SnapshotError::io("list", folder))? {
        let path = entry.map_err(SnapshotError::io("list", folder))?.path();
        let whole = path.with_extension("");
        let (what, of) = (path.extension(), whole.extension());
        if what.is_some_and(|what| what == UNFINISHED) && of.is_some_and(|of| of == HISTORY) {
            fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
        } else if of.is_some_and(|of| of == KEYS) {
            sweep_keys(&whole).map_err(SnapshotError::io("sweep", &whole))?;
        }
    }
    Ok(())
}
