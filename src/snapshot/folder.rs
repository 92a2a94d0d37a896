//! The folder of the snapshots: taking one there, listing them, verifying and drilling one of them, each noted in the
//! platform's stream. The server and the command line go through here alike.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{Fresh, SnapshotId, StoreId};
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::event::{SnapshotCreated, SnapshotDrilled, SnapshotVerified};
use crate::seal::root::RootKey;
use crate::snapshot::create::{Source, create};
use crate::snapshot::drill::{DrillReport, drill};
use crate::snapshot::history::History;
use crate::snapshot::keys::KeysFile;
use crate::snapshot::restore::RestoreError;
use crate::snapshot::verify::{hold_keys, survey};
use crate::snapshot::{HISTORY, Progress, SnapshotError, keys_of};
use crate::store::{Refusal, Store, Submission};

/// The folder of the snapshots of a store.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// The store.
    pub store: StoreId,
}

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

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of its last frame.
    pub position: u64,
    /// How many events were read.
    pub events: u64,
    /// How many streams there are.
    pub streams: u64,
    /// How many data keys its history has.
    pub data_keys: u64,
    /// Of them, how many are not among its keys; nothing where there were no keys to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_keys: Option<u64>,
}

/// What could not be done with a snapshot, or was done and could not be noted.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such snapshot.
    #[error("there is no snapshot {0} in the folder")]
    NoSuchSnapshot(SnapshotId),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It did not come back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The store takes no note of it now.
    #[error("it could not be noted")]
    Refused(#[from] Refusal),
    /// A thread died.
    #[error("the thread that worked on the snapshot died")]
    Died(#[from] tokio::task::JoinError),
}

impl Folder {
    /// Takes a snapshot; blocks, and notes nothing. Without a path it goes into the folder, under its id.
    ///
    /// # Errors
    /// See [`create`].
    pub fn take(
        &self,
        store: &Store,
        output: Option<PathBuf>,
        progress: Progress<'_>,
    ) -> Result<Listed, SnapshotError> {
        let snapshot: SnapshotId = Fresh.id();
        let path = match output {
            Some(path) => path,
            None => {
                crate::private::make_dir_all(&self.path).map_err(SnapshotError::io("make", &self.path))?;
                self.path.join(format!("{snapshot}.{HISTORY}"))
            }
        };
        let source = Source {
            log: &**store.log(),
            ring: store.ring(),
            store: self.store,
            epoch: store.epoch(),
            now: store.clock().now(),
            root: &|_, _| None,
            sign: &|_| None,
        };
        create(&source, snapshot, &path, || store.hold_keys(), progress)?;
        listed(&path)
    }

    /// Notes that a snapshot was taken.
    ///
    /// # Errors
    /// When the store takes nothing now.
    pub async fn note_taken(store: &Store, taken: &Listed, actor: Actor) -> Result<(), Refusal> {
        let keys = fs::metadata(keys_of(&taken.path)).map_or(0, |metadata| metadata.len());
        let note = OperationsCommand::NoteSnapshot(SnapshotCreated {
            snapshot: taken.id,
            position: taken.position,
            events: taken.events,
            bytes: taken.bytes + keys,
        });
        store.execute(store.platform(), Submission::new(note, actor)).await.map(drop)
    }

    /// Notes what a verification came to.
    ///
    /// # Errors
    /// When the store takes nothing now.
    pub async fn note_verified(store: &Store, snapshot: SnapshotId, sound: bool) -> Result<(), Refusal> {
        let note = OperationsCommand::NoteVerification(SnapshotVerified { snapshot, sound });
        store.execute(store.platform(), Submission::new(note, Actor::OPERATOR)).await.map(drop)
    }

    /// Notes what a drill came to.
    ///
    /// # Errors
    /// When the store takes nothing now.
    pub async fn note_drilled(
        store: &Store,
        (snapshot, position): (SnapshotId, u64),
        sound: bool,
        actor: Actor,
    ) -> Result<(), Refusal> {
        let note = OperationsCommand::NoteDrill(SnapshotDrilled { snapshot, position, sound });
        store.execute(store.platform(), Submission::new(note, actor)).await.map(drop)
    }

    /// What is in the folder.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn list(&self) -> Result<Listing, SnapshotError> {
        list(&self.path)
    }

    /// A snapshot of the folder.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, or when the folder cannot be read.
    pub fn find(&self, snapshot: SnapshotId) -> Result<Listed, FolderError> {
        let found = self.list()?.data.into_iter().find(|listed| listed.id == snapshot);
        found.ok_or(FolderError::NoSuchSnapshot(snapshot))
    }

    /// Restores a snapshot for practice, beside the folder's files, and compares it with the store; blocks, and notes
    /// nothing.
    ///
    /// # Errors
    /// See [`drill`].
    pub fn drill(
        &self,
        store: &Store,
        history: &Path,
        progress: Progress<'_>,
    ) -> Result<DrillReport, RestoreError> {
        let place = self.path.join("drill");
        drill(&**store.log(), &store.ring().root(), history, &place, progress)
    }
}

/// Verifies a snapshot from its first byte to its last; its keys too, where a root key is at hand. Blocks.
///
/// # Errors
/// With the first place that is not what was written.
pub fn verify(
    history: &Path,
    keys: Option<(&Path, &RootKey)>,
    progress: Progress<'_>,
) -> Result<Verified, SnapshotError> {
    let mut history = History::open(history)?;
    let survey = survey(&mut history, None, progress)?;
    let missing = match keys {
        Some((path, root)) => {
            let missing = hold_keys(KeysFile::open(path, root)?, &survey, |_, _| Ok(()))?;
            Some(missing.len() as u64)
        }
        None => None,
    };
    Ok(Verified {
        snapshot: history.header.snapshot,
        position: survey.end.0,
        events: survey.events,
        streams: survey.heads.iter().count() as u64,
        data_keys: survey.keys.len() as u64,
        missing_keys: missing,
    })
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
