//! What is in the place of the snapshots, as their headers and manifests tell. Nothing of it is verified here but those.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{SnapshotId, StoreId};
use crate::snapshot::SnapshotError;
use crate::snapshot::history::History;
use crate::snapshot::keys::{KeysHeader, header_of};
use crate::snapshot::place::{Located, Place};

/// A snapshot as its header and its manifest tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The snapshot.
    pub id: SnapshotId,
    /// The history: a path, or the URL of an object.
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

impl Listed {
    /// What the snapshots of one store come in order by, in the epoch that it is in: what a clock said that was wrong for a while
    /// makes none the newest. Within an epoch positions tell; a store that gave up a part of its log has some again, in the next.
    pub fn order(&self, epoch: &str) -> impl Ord + use<> {
        match self.epoch == epoch {
            true => (true, i128::from(self.position), self.id),
            false => (false, i128::from(self.taken_at.micros()), self.id),
        }
    }
}

/// The snapshots of a place, and what passes for one and is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Oldest first.
    pub data: Vec<Listed>,
    /// What cannot be read, and why; and files that are the same snapshot.
    pub unreadable: Vec<String>,
}

/// The snapshots of a place.
///
/// # Errors
/// When it cannot be listed.
pub fn list(place: &Arc<dyn Place>) -> Result<Listing, SnapshotError> {
    let mut listing = Listing::default();
    for file in files(place)?.into_iter().filter(Located::is_history) {
        match listed(&file) {
            Ok(found) => listing.data.push(found),
            Err(error) => listing.unreadable.push(with_causes(&error)),
        }
    }
    listing.data.sort_by_key(|found| (found.taken_at, found.id));
    for both in listing.data.windows(2).filter(|both| both[0].id == both[1].id) {
        let (one, other) = (both[0].path.display(), both[1].path.display());
        listing.unreadable.push(format!("{one} and {other} are both snapshot {}", both[0].id));
    }
    listing.unreadable.sort();
    Ok(listing)
}

/// What a history says of itself.
///
/// # Errors
/// When its header or its manifest is not what was written.
pub fn listed(file: &Located) -> Result<Listed, SnapshotError> {
    let History { header, manifest, bytes, .. } = History::open(file)?;
    Ok(Listed {
        id: header.snapshot,
        path: file.path().to_owned(),
        taken_at: header.taken_at,
        store: header.store,
        epoch: header.epoch,
        position: header.position,
        events: manifest.events,
        streams: manifest.streams,
        bytes,
        has_keys: file.keys().exists()?,
    })
}

/// The files of keys of a place, whether or not their histories are there.
///
/// # Errors
/// When it cannot be listed.
pub fn files_of_keys(place: &Arc<dyn Place>) -> Result<Vec<Located>, SnapshotError> {
    let mut found: Vec<Located> = files(place)?.into_iter().filter(Located::is_keys).collect();
    found.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(found)
}

/// Keys whose history is not there, or cannot be read.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The keys.
    pub keys: Located,
    /// Their snapshot.
    pub snapshot: SnapshotId,
    /// The store that they are of.
    pub store: StoreId,
    /// When they were written.
    pub at: Timestamp,
}

/// The keys of a place that no history of its listing comes with.
///
/// # Errors
/// When it cannot be listed.
pub fn orphans(place: &Arc<dyn Place>, listing: &Listing) -> Result<Vec<Orphan>, SnapshotError> {
    let mut found = Vec::new();
    for keys in files_of_keys(place)? {
        if listing.data.iter().any(|found| found.path == keys.history().path()) {
            continue;
        }
        // What says nothing of itself is left to whoever put it there.
        if let Ok((KeysHeader { snapshot, store, at, .. }, _)) = header_of(&keys) {
            found.push(Orphan { keys, snapshot, store, at });
        }
    }
    Ok(found)
}

fn files(place: &Arc<dyn Place>) -> Result<Vec<Located>, SnapshotError> {
    let names = place.names().map_err(SnapshotError::io("list", &place.root()))?;
    Ok(names.into_iter().map(|name| Located::new(place, name)).collect())
}
