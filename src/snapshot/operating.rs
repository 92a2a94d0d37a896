//! What operators and the schedule do with snapshots: taking one, verifying it, drilling it; each is noted in the platform's
//! stream. The server and the command line go through here alike.

use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::ids::{Fresh, SnapshotId, StoreId};
use crate::log::Position;
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::event::{SnapshotCreated, SnapshotDrilled, SnapshotVerified};
use crate::private;
use crate::seal::root::RootKey;
use crate::seal::signing::Signer;
use crate::snapshot::create::{Source, create};
use crate::snapshot::drill::{DrillReport, drill};
use crate::snapshot::history::History;
use crate::snapshot::keys::KeysFile;
use crate::snapshot::listing::{Listed, list, listed, orphans};
use crate::snapshot::place::folder::Folder;
use crate::snapshot::place::{Located, Place};
use crate::snapshot::renewal::Renewal;
use crate::snapshot::restore::RestoreError;
use crate::snapshot::retention::Retention;
use crate::snapshot::room;
use crate::snapshot::turn::Turn;
use crate::snapshot::verify::{hold_keys, survey};
use crate::snapshot::{HISTORY, Progress, SnapshotError};
use crate::store::ledger::Ledger;
use crate::store::signing::SigningError;
use crate::store::{Refusal, Store, Submission};

/// Where a drill makes its store.
pub const DRILL: &str = "drill.unfinished";

/// The snapshots of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// The folder of what is at hand in any case: the ledger, and the store of a drill.
    pub folder: PathBuf,
    /// Where they lie.
    pub place: Arc<dyn Place>,
    /// The store.
    pub(super) store: StoreId,
    /// The bytes of the folder's disk that are left to the log.
    left: u64,
    /// Held by whoever works on one: two at a time would only keep the disk from serving.
    working: Arc<Mutex<()>>,
    /// What is known of the files of keys.
    pub(super) renewal: Arc<Renewal>,
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
    #[error("there is no snapshot {0}")]
    NoSuchSnapshot(SnapshotId),
    /// Two files are this snapshot.
    #[error("{} and {} are both snapshot {snapshot}: remove one of them, or move it elsewhere", one.display(), other.display())]
    Twice {
        /// The snapshot.
        snapshot: SnapshotId,
        /// A history.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// There is none.
    #[error("there is no snapshot in {}", .0.display())]
    NoSnapshot(PathBuf),
    /// A history is to be called so.
    #[error("{} does not end with .{HISTORY}, as histories are called", .0.display())]
    NoName(PathBuf),
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
    Died(#[from] JoinError),
}

impl Snapshots {
    /// Those of a store, in a folder.
    pub fn new(folder: PathBuf, store: StoreId) -> Self {
        let place = Arc::new(Folder(folder.clone()));
        Self { folder, place, store, left: 0, working: Arc::default(), renewal: Arc::default() }
    }

    /// The same, which takes no room that would leave less than so many bytes of the folder's disk: that of a log which
    /// takes no writes without them.
    pub fn leaving(self, bytes: u64) -> Self {
        Self { left: bytes, ..self }
    }

    /// The same in another place. What is at hand in any case stays in the folder.
    pub fn in_place(self, place: Arc<dyn Place>) -> Self {
        Self { place, ..self }
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
        let (this, store) = (self.clone(), store.clone());
        to_its_end(async move {
            // Durable before the position is fixed, so that the history names the key that signs it.
            let signer = store.signer().await?;
            if output.is_none() {
                // There to be locked, also for the first one.
                let folder = this.folder.clone();
                let made = spawn_blocking(move || private::make_durable_dir(&folder)).await?;
                made.map_err(SnapshotError::io("make", &this.folder))?;
            }
            let (of, elsewhere) = (store.clone(), output.is_some());
            let write = move |this: &Self| this.write(&of, output, &signer, &mut progress);
            let (taken, bytes) = this.alone(write).await??;
            let note = OperationsCommand::NoteSnapshot(SnapshotCreated {
                snapshot: taken.id,
                position: taken.position,
                events: taken.events,
                bytes,
                elsewhere,
            });
            store.execute(store.platform(), Submission::new(note, actor)).await?;
            Ok(taken)
        })
        .await
    }

    fn write(
        &self,
        store: &Store,
        output: Option<PathBuf>,
        signer: &Signer,
        progress: Progress<'_>,
    ) -> Result<(Listed, u64), OperatingError> {
        let snapshot: SnapshotId = Fresh.id();
        let to = self.locate(snapshot, output)?;
        let source = Source {
            log: &**store.log(),
            ring: store.ring(),
            store: self.store,
            epoch: store.epoch(),
            now: store.clock().now(),
            root: &|stream, size| store.root_over(stream, size),
            accepted: &|| store.directory().accepted_keys(),
            signer,
        };
        let created = create(&source, snapshot, &to, || store.hold_keys(), progress)?;
        Ok((listed(&to)?, created.bytes))
    }

    /// Verifies a snapshot of the folder, and its keys where they lie beside it.
    ///
    /// # Errors
    /// When it is not there or cannot be reached, or what was found could not be noted. The inner one says what is wrong with it.
    pub async fn verify(
        &self,
        store: &Store,
        snapshot: SnapshotId,
    ) -> Result<Result<Verified, SnapshotError>, OperatingError> {
        let (this, store) = (self.clone(), store.clone());
        to_its_end(async move {
            let root = store.ring().root();
            let looks = move |this: &Self| {
                let found = this.find(snapshot)?;
                let history = this.located(&found);
                let keys = history.keys();
                Ok(verify(&history, found.has_keys.then_some((&keys, &root)), &mut |_, _| {}))
            };
            let verified: Result<_, OperatingError> = this.alone(looks).await?;
            let verified = match verified? {
                Err(error) if !error.is_verdict() => return Err(error.into()),
                verified => verified,
            };
            let sound = verified.is_ok();
            let note = OperationsCommand::NoteVerification(SnapshotVerified { snapshot, sound });
            store.execute(store.platform(), Submission::new(note, Actor::OPERATOR)).await?;
            Ok(verified)
        })
        .await
    }

    /// Restores a snapshot of the folder for practice, the newest unless somebody names one, and compares it with the store.
    ///
    /// # Errors
    /// When there is none, when it cannot be reached, or when what came out could not be noted.
    pub async fn drill(
        &self,
        store: &Store,
        snapshot: Option<SnapshotId>,
        actor: Actor,
        mut progress: impl FnMut(Position, Position) + Send + 'static,
    ) -> Result<DrillReport, OperatingError> {
        let (this, store) = (self.clone(), store.clone());
        to_its_end(async move {
            let of = store.clone();
            let report = this.alone(move |this| this.practise(&of, snapshot, &mut progress)).await??;
            let note = OperationsCommand::NoteDrill(SnapshotDrilled {
                snapshot: report.snapshot,
                position: report.position,
                sound: report.is_sound(),
            });
            store.execute(store.platform(), Submission::new(note, actor)).await?;
            Ok(report)
        })
        .await
    }

    fn practise(
        &self,
        store: &Store,
        snapshot: Option<SnapshotId>,
        progress: Progress<'_>,
    ) -> Result<DrillReport, OperatingError> {
        let found = match snapshot {
            Some(snapshot) => self.find(snapshot)?,
            None => self.newest(store.epoch())?,
        };
        private::make_durable_dir(&self.folder).map_err(SnapshotError::io("make", &self.folder))?;
        room::look_for(room::of_store(found.bytes).saturating_add(self.left), &self.folder)?;
        let failed = |error: &dyn Error| DrillReport::failed(found.id, found.position, with_causes(error));
        // Without a server the store has none, and it lies where the snapshots do.
        let destroyed = match store.ledger() {
            Some(ledger) => ledger.destroyed_keys().map(Some),
            None => Ledger::destroyed_keys_in(&self.folder),
        };
        let destroyed = destroyed.map_err(SnapshotError::io("read the ledger in", &self.folder))?;
        let (root, place) = (store.ring().root(), self.folder.join(DRILL));
        let drilled = drill(
            (self.store, &**store.log()),
            &root,
            destroyed.as_ref(),
            &self.located(&found),
            &place,
            progress,
        );
        match drilled {
            Err(RestoreError::Snapshot(error)) if !error.is_verdict() => Err(error.into()),
            drilled => Ok(drilled.unwrap_or_else(|error| failed(&error))),
        }
    }

    /// Removes what is not to be kept any longer.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be removed.
    pub async fn expire(&self, store: &Store, retention: Retention) -> Result<(), OperatingError> {
        let (epoch, now) = (store.epoch().to_owned(), store.clock().credible_now());
        let removed = self.alone(move |this| {
            let listing = list(&this.place)?;
            let orphans = orphans(&this.place, &listing)?;
            let expired = retention.expired(this.store, &epoch, &listing, &orphans, now);
            expired.remove(&this.place)?;
            Ok::<_, SnapshotError>(expired)
        });
        let expired = removed.await??;
        for path in expired.histories.iter().chain(&expired.keys) {
            tracing::info!(path = %path.display(), "removed what was kept long enough");
        }
        Ok(())
    }

    /// Works on a thread of its own, with the snapshots to itself until it ends, also where other stores' servers, or somebody
    /// at the command line, have theirs in the same folder: whatever is unfinished in it was left by somebody who is gone.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let (this, turn) = (self.clone(), Turn::wait_for(&self.working, &self.folder).await?);
        spawn_blocking(move || {
            let _turn = turn;
            work(&this)
        })
        .await
    }

    /// A snapshot of the folder.
    ///
    /// # Errors
    /// `NoSuchSnapshot`, or when the folder cannot be read.
    pub fn find(&self, snapshot: SnapshotId) -> Result<Listed, OperatingError> {
        let mut found = list(&self.place)?.data.into_iter().filter(|listed| listed.id == snapshot);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(one), Some(other)) => {
                Err(OperatingError::Twice { snapshot, one: one.path, other: other.path })
            }
            (None, _) => Err(OperatingError::NoSuchSnapshot(snapshot)),
        }
    }

    /// The newest snapshot of the folder that has its keys: this store's, which is in an epoch, and where it has none yet,
    /// whichever is there.
    ///
    /// # Errors
    /// `NoSnapshot`, or when the folder cannot be read.
    pub fn newest(&self, epoch: &str) -> Result<Listed, OperatingError> {
        let all = list(&self.place)?.data.into_iter().filter(|found| found.has_keys);
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|found| found.store == self.store);
        let newest =
            own.into_iter().max_by_key(|found| found.order(epoch)).or(others.into_iter().next_back());
        newest.ok_or_else(|| OperatingError::NoSnapshot(self.place.root()))
    }

    /// The history of a snapshot that is listed.
    pub fn located(&self, listed: &Listed) -> Located {
        Located::new(&self.place, listed.path.file_name().unwrap_or_default())
    }

    /// Where a snapshot goes.
    fn locate(&self, snapshot: SnapshotId, output: Option<PathBuf>) -> Result<Located, OperatingError> {
        let to = match output {
            Some(path) => {
                Some(Located::from(&*path)).filter(Located::is_history).ok_or(OperatingError::NoName(path))?
            }
            None => {
                self.sweep()?;
                Located::new(&self.place, format!("{snapshot}.{HISTORY}"))
            }
        };
        // A bucket that cannot be listed now keeps nobody from taking one elsewhere.
        if let Some(free) = to.free_bytes()? {
            let listing = list(&self.place).unwrap_or_default();
            room::refuse(
                room::of_next(&listing, self.store).saturating_add(self.left),
                Some(free),
                to.path(),
            )?;
        }
        Ok(to)
    }

    /// Removes what takings, rewritings and drills that were cut off left. Nobody else may be at work with these snapshots.
    pub(super) fn sweep(&self) -> Result<(), SnapshotError> {
        self.place.sweep_all().map_err(SnapshotError::io("sweep", &self.place.root()))?;
        let drill = self.folder.join(DRILL);
        match fs::remove_dir_all(&drill) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SnapshotError::io("remove", &drill)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Does something to its end, also where whoever asked for it goes away: what is taken is noted.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, OperatingError>> + Send + 'static,
) -> Result<T, OperatingError> {
    tokio::spawn(work).await?
}

/// Verifies a snapshot from its first byte to its last; its keys too, where a root key is at hand. Blocks.
///
/// # Errors
/// With the first place that is not what was written.
pub fn verify(
    history: &Located,
    keys: Option<(&Located, &RootKey)>,
    progress: Progress<'_>,
) -> Result<Verified, SnapshotError> {
    let mut history = History::open(history)?;
    let survey = survey(&mut history, None, progress)?;
    let missing = match keys {
        Some((keys, root)) => {
            let keys = KeysFile::open(keys, root)?;
            let held = hold_keys(keys, &history, &survey, |_, _| Ok(()))?;
            Some(held.missing.len() as u64)
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
