//! Keys of snapshots that are rewritten without what was destroyed: an older file of them must not open what nothing else opens
//! any more. Each stream concerned gets another key in the file, too, since copies of what was destroyed may lie about that
//! were wrapped by the one before.
//!
//! Only files of this store, and of those beside it in its data directory, are touched: a store elsewhere that this one was made
//! of may go on, and would lose what is destroyed here alone, for practice, say. Nobody here can tell, so operators are told of
//! files of others that open what was destroyed.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinError;

use crate::causes::with_causes;
use crate::ids::{StoreId, StreamId};
use crate::seal::keyring::snapshot::{CarriedKeys, SnapshotKey};
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::RootKey;
use crate::snapshot::SnapshotError;
use crate::snapshot::keys::{KeysFile, KeysWriter, header_of};
use crate::snapshot::listing::files_of_keys;
use crate::snapshot::operating::Snapshots;
use crate::snapshot::place::Located;
use crate::store::Store;
use crate::store::ledger::lines::DestroyedKeys;

/// What operators are told of keys that are not rewritten begins so, and why follows.
pub const PROBLEM: &str = "the keys of older snapshots may open what was destroyed";

/// Why, between asking that they are rewritten and the end of the look that comes of it.
pub const WAITING: &str = "they are rewritten once nobody else works with snapshots";

/// What is known of the files of keys.
#[derive(Debug, Default)]
pub struct Renewal {
    renewed: Mutex<Renewed>,
    standing: Mutex<Standing>,
    /// Wakes whoever looks.
    wanted: Notify,
}

/// What was asked, and what the last look came to.
#[derive(Debug, Default)]
struct Standing {
    /// How many times somebody asked for a look.
    asked: u64,
    /// How many of them had asked when the last look that ended began.
    answered: u64,
    /// Why not all files could be rewritten at that look.
    failure: Option<String>,
    /// The files of stores elsewhere that open what was destroyed here.
    elsewhere: Vec<PathBuf>,
}

/// What changes what is to be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Against {
    /// How many data keys were destroyed.
    destroyed: usize,
    /// How many times keys of streams were replaced.
    rotations: u64,
}

/// The files of keys that need not be read again, as long as nothing more is destroyed and no key of a stream is replaced.
#[derive(Debug, Default)]
struct Renewed {
    against: Option<Against>,
    files: BTreeSet<PathBuf>,
    /// Those of stores elsewhere that open what was destroyed here.
    elsewhere: BTreeSet<PathBuf>,
}

impl Renewed {
    /// Forgets the files if they were held against something else.
    fn since(&mut self, against: Against) {
        if self.against.replace(against) != Some(against) {
            self.files.clear();
            self.elsewhere.clear();
        }
    }
}

/// Why keys could not be rewritten.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("the ledger of what was destroyed cannot be read")]
    Ledger(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the thread that rewrites keys died")]
    Died(#[from] JoinError),
}

impl Snapshots {
    /// Rewrites the keys that lie in the folder without what was destroyed, whether or not their histories are there; gives
    /// whether all could be. What cannot be rewritten now is logged, told by [`Snapshots::problem`], and tried again with the
    /// next look.
    pub async fn renew_keys(&self, store: &Store) -> bool {
        let of = store.clone();
        let asked = self.standing().asked;
        let renewed = self.alone(move |this| this.renew_all(&of)).await.map_err(RenewalError::from).flatten();
        let (elsewhere, failure) = match renewed {
            Ok(elsewhere) => (elsewhere, None),
            Err(error) => (Vec::new(), Some(with_causes(&error))),
        };
        if let Some(error) = &failure {
            tracing::error!(
                error,
                "the keys of older snapshots may open what was destroyed; it is tried again"
            );
        }
        let is_done = failure.is_none();
        let mut standing = self.standing();
        *standing = Standing { asked: standing.asked, answered: asked, failure, elsewhere };
        is_done
    }

    /// Asks for a look at the keys without waiting for it, which may take as long as a snapshot or a drill: whoever looks each
    /// hour does it next.
    pub fn ask_to_renew_keys(&self) {
        self.standing().asked += 1;
        self.renewal.wanted.notify_one();
    }

    /// Waits until somebody asks for a look.
    pub(super) async fn asked_to_renew_keys(&self) {
        self.renewal.wanted.notified().await;
    }

    /// What is wrong with the keys of older snapshots, for operators: what was destroyed is gone here, and its keys lie there
    /// still. [`WAITING`] as long as a look that was asked for has not ended.
    pub fn problem(&self) -> Option<String> {
        let standing = self.standing();
        let is_waiting = standing.answered < standing.asked;
        let failure = || standing.failure.clone().or_else(|| of_others(&standing.elsewhere));
        let why = if is_waiting { Some(WAITING.to_owned()) } else { failure() };
        why.map(|why| format!("{PROBLEM}: {why}"))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.renewal.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the files of stores elsewhere that open what was destroyed here.
    fn renew_all(&self, store: &Store) -> Result<Vec<PathBuf>, RenewalError> {
        self.sweep()?;
        let destroyed = match store.ledger() {
            Some(ledger) => ledger.keys_destroyed_here()?,
            None => DestroyedKeys::new(),
        };
        let is_ours = |of| of == self.store || store.ledger().is_some_and(|ledger| ledger.is_ours(of));
        let mut renewed = self.renewal.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.since(Against { destroyed: destroyed.len(), rotations: store.ring().rotations() });
        let present = Present { ring: store.ring(), destroyed: &destroyed };
        let mut failed = None;
        let files = files_of_keys(&self.place)?;
        renewed.elsewhere.retain(|path| files.iter().any(|file| file.path() == path));
        for file in files {
            if renewed.files.contains(file.path()) || renewed.elsewhere.contains(file.path()) {
                continue;
            }
            let (path, shown) = (file.path().to_owned(), file.path().display());
            match present.look_at(&file, is_ours) {
                Ok(Found::Nothing) => drop(renewed.files.insert(path)),
                Ok(Found::Rewritten) => {
                    tracing::info!(path = %shown, "rewrote these keys without what was destroyed");
                    renewed.files.insert(path);
                }
                Ok(Found::OfOthers) => {
                    tracing::warn!(path = %shown, "these keys of a store elsewhere open what was destroyed here");
                    renewed.elsewhere.insert(path);
                }
                // As a rotation of the root key leaves them: they open with the one before, if anybody has kept it.
                Err(error @ SnapshotError::WrongRootKey { .. }) => {
                    tracing::warn!(%error, "these keys cannot be rewritten")
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or_else(|| Ok(renewed.elsewhere.iter().cloned().collect()), |error| Err(error.into()))
    }
}

/// What operators are to do about files of others.
fn of_others(files: &[PathBuf]) -> Option<String> {
    let shown: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    (!files.is_empty()).then(|| {
        format!(
            "{} are of stores elsewhere, which may go on; if those are gone for good, remove these files once a snapshot of \
             this store lies there",
            shown.join(", ")
        )
    })
}

/// What there was to do about a file of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Nothing,
    /// It had something that was destroyed here, and has not any more.
    Rewritten,
    /// It has, and is not this store's to rewrite.
    OfOthers,
}

/// Against what files of keys are held.
pub struct Present<'a> {
    /// The keys of the store in use.
    pub ring: &'a KeyRing,
    /// What was destroyed, as the ledger says.
    pub destroyed: &'a DestroyedKeys,
}

impl Present<'_> {
    /// Rewrites a file of keys if it is one of ours, and needs it.
    fn look_at(&self, file: &Located, is_ours: impl Fn(StoreId) -> bool) -> Result<Found, SnapshotError> {
        let (header, _) = header_of(file)?;
        Ok(match is_ours(header.store) {
            true if self.renew(file)? => Found::Rewritten,
            false if self.has_destroyed(file)? => Found::OfOthers,
            _ => Found::Nothing,
        })
    }

    /// Whether a file of keys has any that was destroyed.
    fn has_destroyed(&self, file: &Located) -> Result<bool, SnapshotError> {
        let mut has = false;
        KeysFile::open(file, &self.ring.root())?.read(|_, keys| {
            has |= self.is_any_destroyed(&keys);
            Ok::<_, SnapshotError>(())
        })?;
        Ok(has)
    }

    fn is_any_destroyed(&self, keys: &CarriedKeys) -> bool {
        keys.data_keys.iter().any(|(id, _)| self.destroyed.contains(&(keys.stream, *id)))
    }

    /// Rewrites a file of keys if it has anything that was destroyed, or a key that this store has replaced since; gives
    /// whether it did. A crash leaves the old file or the new one, and repeating this is safe. Blocks.
    ///
    /// # Errors
    /// When the file is damaged or another root key's, or cannot be written.
    pub fn renew(&self, file: &Located) -> Result<bool, SnapshotError> {
        let root = self.ring.root();
        let concerned = self.concerned(file, &root)?;
        if concerned.is_empty() {
            return Ok(false);
        }
        let keys = KeysFile::open(file, &root)?;
        let key = self.ring.snapshot_key(keys.header.snapshot);
        let mut renewed = KeysWriter::beside(file, &keys.header, key)?;
        let accepted = keys.read(|by, carried| {
            let carried = match concerned.contains(&carried.stream) {
                true => self.without_destroyed(file, by, carried, renewed.key())?,
                false => carried_over(file, by, carried, renewed.key())?,
            };
            renewed.stream(&carried)
        })?;
        if let Some(accepted) = accepted {
            renewed.accepted(&accepted)?;
        }
        renewed.finish()?.publish()?;
        Ok(true)
    }

    /// The streams of a file that have something which must go.
    fn concerned(&self, file: &Located, root: &RootKey) -> Result<BTreeSet<StreamId>, SnapshotError> {
        let mut concerned = BTreeSet::new();
        KeysFile::open(file, root)?.read(|_, keys| {
            let stream = keys.stream;
            let newest = keys.generations.last().map_or(0, |(generation, _)| *generation);
            if self.is_any_destroyed(&keys) || newest < self.generation(stream)? {
                concerned.insert(stream);
            }
            Ok::<_, SnapshotError>(())
        })?;
        Ok(concerned)
    }

    fn without_destroyed(
        &self,
        file: &Located,
        by: &SnapshotKey,
        mut carried: CarriedKeys,
        to: &SnapshotKey,
    ) -> Result<CarriedKeys, SnapshotError> {
        let stream = carried.stream;
        let newest = carried.generations.last().map_or(0, |(generation, _)| *generation);
        carried.data_keys.retain(|(id, _)| !self.destroyed.contains(&(stream, *id)));
        let opened = by.open(&carried).map_err(|what| damaged(file, stream, what))?;
        let generation = self.generation(stream)?.max(newest.saturating_add(1));
        opened.renewed(generation, &carried.data_keys, to).map_err(|what| damaged(file, stream, what))
    }

    /// The generation of a stream's key in the store; none of a stream that it does not have.
    fn generation(&self, stream: StreamId) -> Result<u32, SnapshotError> {
        match self.ring.generation(stream) {
            Err(KeyError::StreamKeyMissing { .. }) => Ok(0),
            generation => Ok(generation?),
        }
    }
}

fn carried_over(
    file: &Located,
    by: &SnapshotKey,
    carried: CarriedKeys,
    to: &SnapshotKey,
) -> Result<CarriedKeys, SnapshotError> {
    let opened = by.open(&carried).map_err(|what| damaged(file, carried.stream, what))?;
    Ok(CarriedKeys { generations: opened.carried_by(to), ..carried })
}

fn damaged(file: &Located, stream: StreamId, what: String) -> SnapshotError {
    SnapshotError::damaged(file.path(), format!("the keys of {stream}"), what)
}
