//! What operators and the schedule do with snapshots: taking one, verifying it, drilling it; each is noted in the platform's
//! stream. The server and the command line go through here alike.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{Fresh, SnapshotId, StoreId};
use crate::log::Position;
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::event::{SnapshotCreated, SnapshotDrilled, SnapshotVerified};
use crate::private;
use crate::seal::root::RootKey;
use crate::snapshot::create::{Source, create};
use crate::snapshot::drill::{DrillReport, drill};
use crate::snapshot::folder::{Listed, list, listed, sweep};
use crate::snapshot::history::History;
use crate::snapshot::keys::KeysFile;
use crate::snapshot::renewal::Present;
use crate::snapshot::retention::Retention;
use crate::snapshot::verify::{hold_keys, survey};
use crate::snapshot::{HISTORY, Progress, SnapshotError, keys_of};
use crate::store::signing::SigningError;
use crate::store::{Refusal, Store, Submission};

/// The snapshots of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// Their folder.
    pub folder: PathBuf,
    /// The store.
    store: StoreId,
    /// Held by whoever works on one: two at a time would only keep the disk from serving.
    working: Arc<Mutex<()>>,
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
pub enum OperatingError {
    /// There is no such snapshot.
    #[error("there is no snapshot {0} in the folder")]
    NoSuchSnapshot(SnapshotId),
    /// There is none.
    #[error("there is no snapshot in {}", .0.display())]
    NoSnapshot(PathBuf),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It came back as something else than is here.
    #[error("{snapshot} did not come back as it is here: {why}")]
    Unsound {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What was found.
        why: String,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The store takes no note of it now.
    #[error("it could not be noted")]
    Refused(#[from] Refusal),
    /// A thread died.
    #[error("the thread that worked on the snapshot died")]
    Died(#[from] tokio::task::JoinError),
}

/// Why keys could not be rewritten.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("the ledger of what was destroyed cannot be read")]
    Ledger(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl Snapshots {
    /// Those of a store, in a folder.
    pub fn new(folder: PathBuf, store: StoreId) -> Self {
        Self { folder, store, working: Arc::default() }
    }

    /// Takes a snapshot. Without a path it goes into the folder, under its id.
    ///
    /// # Errors
    /// When it cannot be taken or noted; one that could not be noted is there all the same.
    pub async fn take(
        &self,
        store: &Store,
        output: Option<PathBuf>,
        actor: Actor,
        mut progress: impl FnMut(Position, Position) + Send + 'static,
    ) -> Result<Listed, OperatingError> {
        let _alone = self.working.lock().await;
        // Durable before the position is fixed, so that the history names the key that signs it.
        let signer = store.signer().await?;
        let (this, of) = (self.clone(), store.clone());
        let taken = spawn_blocking(move || {
            let snapshot: SnapshotId = Fresh.id();
            let path = this.path_of(snapshot, output)?;
            let source = Source {
                log: &**of.log(),
                ring: of.ring(),
                store: this.store,
                epoch: of.epoch(),
                now: of.clock().now(),
                root: &|_, _| None,
                signer: &signer,
            };
            create(&source, snapshot, &path, || of.hold_keys(), &mut progress)?;
            listed(&path)
        });
        let taken = taken.await??;
        let keys = fs::metadata(keys_of(&taken.path)).map_or(0, |metadata| metadata.len());
        let note = OperationsCommand::NoteSnapshot(SnapshotCreated {
            snapshot: taken.id,
            position: taken.position,
            events: taken.events,
            bytes: taken.bytes + keys,
        });
        store.execute(store.platform(), Submission::new(note, actor)).await?;
        Ok(taken)
    }

    /// Verifies a snapshot of the folder, and its keys where they lie beside it.
    ///
    /// # Errors
    /// When it is not there, or what was found could not be noted. The inner one says what is wrong with it.
    pub async fn verify(
        &self,
        store: &Store,
        snapshot: SnapshotId,
    ) -> Result<Result<Verified, SnapshotError>, OperatingError> {
        let _alone = self.working.lock().await;
        let found = self.find(snapshot)?;
        let root = store.ring().root();
        let verified = spawn_blocking(move || {
            let keys = keys_of(&found.path);
            verify(&found.path, found.has_keys.then_some((&*keys, &root)), &mut |_, _| {})
        });
        let verified = verified.await?;
        let sound = verified.is_ok();
        let note = OperationsCommand::NoteVerification(SnapshotVerified { snapshot, sound });
        store.execute(store.platform(), Submission::new(note, Actor::OPERATOR)).await?;
        Ok(verified)
    }

    /// Restores a snapshot of the folder for practice, the newest unless somebody names one, and compares it with the store.
    ///
    /// # Errors
    /// When there is none, or what came out could not be noted.
    pub async fn drill(
        &self,
        store: &Store,
        snapshot: Option<SnapshotId>,
        actor: Actor,
        mut progress: impl FnMut(Position, Position) + Send + 'static,
    ) -> Result<DrillReport, OperatingError> {
        let _alone = self.working.lock().await;
        let found = match snapshot {
            Some(snapshot) => self.find(snapshot)?,
            None => self.newest()?,
        };
        let (place, of) = (self.folder.join("drill"), store.clone());
        let report = spawn_blocking(move || {
            let drilled = drill(&**of.log(), &of.ring().root(), &found.path, &place, &mut progress);
            drilled.unwrap_or_else(|error| DrillReport::failed(found.id, found.position, with_causes(&error)))
        });
        let report = report.await?;
        let note = OperationsCommand::NoteDrill(SnapshotDrilled {
            snapshot: report.snapshot,
            position: report.position,
            sound: report.is_sound(),
        });
        store.execute(store.platform(), Submission::new(note, actor)).await?;
        Ok(report)
    }

    /// Rewrites the keys of the folder's snapshots without what was destroyed. What cannot be rewritten now is logged, and
    /// tried again with the next look.
    pub async fn renew_keys(&self, store: &Store) {
        let _alone = self.working.lock().await;
        let (this, of) = (self.clone(), store.clone());
        let renewed = spawn_blocking(move || this.renew_all(&of)).await;
        if let Ok(Err(error)) = renewed {
            let error = with_causes(&error);
            tracing::error!(
                error,
                "the keys of older snapshots may open what was destroyed; it is tried again"
            );
        }
    }

    fn renew_all(&self, store: &Store) -> Result<(), RenewalError> {
        let destroyed = match store.ledger() {
            Some(ledger) => ledger.destroyed_keys()?,
            None => BTreeSet::new(),
        };
        let present = Present { store: self.store, ring: store.ring(), destroyed: &destroyed };
        let mut failed = None;
        for found in list(&self.folder)?.data.iter().filter(|found| found.has_keys) {
            match present.renew(&keys_of(&found.path)) {
                Ok(true) => {
                    tracing::info!(snapshot = %found.id, "rewrote its keys without what was destroyed")
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Removes what is not to be kept any longer.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be removed.
    pub async fn expire(&self, now: Timestamp, retention: Retention) -> Result<(), OperatingError> {
        let _alone = self.working.lock().await;
        let folder = self.folder.clone();
        let removed = spawn_blocking(move || {
            let expired = retention.expired(&list(&folder)?, now);
            expired.remove()?;
            Ok::<_, SnapshotError>(expired)
        });
        let expired = removed.await??;
        for path in expired.histories.iter().chain(&expired.keys) {
            tracing::info!(path = %path.display(), "removed what was kept long enough");
        }
        Ok(())
    }

    /// A snapshot of the folder.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, or when the folder cannot be read.
    pub fn find(&self, snapshot: SnapshotId) -> Result<Listed, OperatingError> {
        let found = list(&self.folder)?.data.into_iter().find(|listed| listed.id == snapshot);
        found.ok_or(OperatingError::NoSuchSnapshot(snapshot))
    }

    /// The newest snapshot of the folder that has its keys.
    ///
    /// # Errors
    /// `NoSnapshot`, or when the folder cannot be read.
    pub fn newest(&self) -> Result<Listed, OperatingError> {
        let newest = list(&self.folder)?.data.into_iter().rfind(|found| found.has_keys);
        newest.ok_or_else(|| OperatingError::NoSnapshot(self.folder.clone()))
    }

    fn path_of(&self, snapshot: SnapshotId, output: Option<PathBuf>) -> Result<PathBuf, SnapshotError> {
        if let Some(path) = output {
            return Ok(path);
        }
        private::make_dir_all(&self.folder).map_err(SnapshotError::io("make", &self.folder))?;
        sweep(&self.folder)?;
        Ok(self.folder.join(format!("{snapshot}.{HISTORY}")))
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
            let keys = KeysFile::open(path, root)?;
            let missing = hold_keys(keys, &history, &survey, |_, _| Ok(()))?;
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
