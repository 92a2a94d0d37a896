//! Making a store of a snapshot: beside the one in use, verified whole, with all that was taken away for good since taken
//! away again, and only then put in use. A restore always begins another epoch.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::actor::Actor;
use crate::clock::{Clock, Timestamp};
use crate::data_dir::{DataDir, DataDirError, StoreDir};
use crate::event::Recorded;
use crate::ids::{DataKeyId, Fresh, SnapshotId, StoreId, StreamId};
use crate::log::frame::Frame;
use crate::log::head::Epoch;
use crate::log::refill;
use crate::log::sled::SledLog;
use crate::log::sled::open::{self, HeadPolicy, OpenError, SledOptions};
use crate::log::{EventLog, Position};
use crate::metrics::Metrics;
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::event::StoreRestored;
use crate::seal::keyring::snapshot::remove_keys;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::RootKey;
use crate::snapshot::history::{Chunk, History};
use crate::snapshot::keys::{KeysFile, KeysHeader};
use crate::snapshot::renewal::DestroyedKeys;
use crate::snapshot::verify::{Survey, Until, hold_keys, survey};
use crate::snapshot::{Progress, SnapshotError, keys_of};
use crate::store::ledger::{FinishError, Ledger};
use crate::store::load::LoadError;
use crate::store::{Parts, Refusal, Store, Submission};

/// What is restored.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The history.
    pub history: &'a Path,
    /// The keys; those beside the history unless somebody says otherwise.
    pub keys: Option<&'a Path>,
    /// Up to where.
    pub until: Option<Until>,
    /// The root key.
    pub root: &'a RootKey,
}

/// A store that was made of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The new store.
    pub store: StoreId,
    /// Its epoch.
    pub epoch: String,
    /// The position of the last frame that was taken from the snapshot.
    pub position: u64,
    /// How many streams there are.
    pub streams: u64,
    /// How many events were taken from the snapshot.
    pub events: u64,
    /// How much of what was taken away for good later was taken away again.
    pub taken_away: usize,
    /// Data keys of the history that are not among the keys, and of which nothing says that they were destroyed.
    pub lost: Vec<String>,
    /// Where what was destroyed was looked up.
    pub ledgers: Vec<HeldAgainst>,
    /// Up to when the keys are known.
    pub keys_of: Timestamp,
    /// What nobody can know.
    pub unknown: Vec<String>,
}

/// A ledger of what was taken away for good that a restore was held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldAgainst {
    /// The file.
    pub ledger: PathBuf,
    /// How many of its lines are of streams of this history.
    pub lines: u64,
    /// When the last of them was written: what was destroyed after that, it may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// Whether its last line was cut off.
    pub is_torn: bool,
}

/// A restore that did not happen; what was in use still is.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot is not what was written, or a file could not be reached.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The data directory.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The new log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The new store's keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The new store.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the ledger says could not be done again.
    #[error("what was taken away for good could not be taken away again")]
    TakeAway(#[from] FinishError),
    /// The restore could not be recorded.
    #[error("the restore could not be recorded")]
    Refused(#[from] Refusal),
    /// The ledger or another file.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Io { what, source }
}

/// Makes a store of a snapshot and puts it in use in a data directory; the one before stays beside it. `ledgers` are folders
/// where what was destroyed is looked up; the first is where the new store goes on with that. Blocks.
///
/// # Errors
/// See [`RestoreError`]; nothing has changed then.
pub fn restore(
    dir: &DataDir,
    wanted: &Wanted<'_>,
    ledgers: &[PathBuf],
    clock: &Clock,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    restore_under(dir, wanted, wanted.root, ledgers, clock, progress)
}

/// The same for a store whose keys another root key wraps from then on.
///
/// # Errors
/// As those of [`restore`].
pub fn restore_under(
    dir: &DataDir,
    wanted: &Wanted<'_>,
    root: &RootKey,
    ledgers: &[PathBuf],
    clock: &Clock,
    progress: Progress<'_>,
) -> Result<Restored, RestoreError> {
    forget_unfinished(dir)?;
    let id: StoreId = Fresh.id();
    let mut restored = None;
    let made = dir.create_store(id, |store| {
        let built = Built::make(store, wanted, root, progress)?;
        restored = Some(built.begin_epoch(store, root, ledgers, clock)?);
        Ok::<_, RestoreError>(())
    });
    if let Err(error) = made {
        forget_unfinished(dir)?;
        return Err(error);
    }
    Ok(restored.expect("made above"))
}

/// Removes what restores that came to no end left behind. Their files of keys are overwritten: what is destroyed later would
/// be opened by them otherwise, with the root key.
fn forget_unfinished(dir: &DataDir) -> Result<(), DataDirError> {
    for store in dir.unfinished_stores()? {
        let keys = store.keys();
        let Ok(entries) = fs::read_dir(&keys) else { continue };
        for entry in entries {
            let path = entry.map_err(DataDirError::io("list", &keys))?.path();
            remove_keys(&path).map_err(DataDirError::io("overwrite", &path))?;
        }
    }
    dir.remove_unfinished().map(drop)
}

/// A store's log and keys as a snapshot has them, not in use.
pub struct Built {
    /// Its log, open.
    pub log: Arc<SledLog>,
    history: History,
    epoch: Epoch,
    survey: Survey,
    keys: KeysHeader,
    /// Data keys of the history that are not among the keys.
    pub missing: Vec<(StreamId, DataKeyId)>,
}

impl Built {
    /// Makes them in a folder that has `keys/` and else nothing, the streams' keys wrapped by a root key. Both files are read
    /// twice: all of them is verified before anything is made of them.
    ///
    /// # Errors
    /// With the first place that is not what was written, or the file that could not be made.
    pub fn make(
        store: &StoreDir,
        wanted: &Wanted<'_>,
        wrapped_by: &RootKey,
        progress: Progress<'_>,
    ) -> Result<Self, RestoreError> {
        let mut history = History::open(wanted.history)?;
        let end = history.header.position;
        // It is read twice. Nothing vouches for the number yet.
        let whole = Position(end.saturating_mul(2));
        let keys_path = wanted.keys.map_or_else(|| keys_of(wanted.history), Path::to_owned);
        let survey = survey(&mut history, wanted.until, &mut |at, _| progress(at, whole))?;
        let keys = KeysFile::open(&keys_path, wanted.root)?;
        let header = keys.header;
        let missing = hold_keys(keys, &history, &survey, |_, _| Ok(()))?;

        let epoch = Epoch::fresh();
        let options = SledOptions::new(&store.path, store.id);
        open::create(&options, &epoch)?;
        let log = Arc::new(open::open(options, HeadPolicy::Require)?.log);
        hold_keys(KeysFile::open(&keys_path, wanted.root)?, &history, &survey, |snapshot_key, carried| {
            let opened = snapshot_key.open(&carried).map_err(|what| {
                SnapshotError::damaged(&keys_path, format!("the keys of {}", carried.stream), what)
            })?;
            opened.put(&store.keys(), wrapped_by)?;
            for some in carried.data_keys.chunks(KEYS_AT_ONCE) {
                let some = some.iter().map(|(id, wrapped)| (*id, wrapped.to_vec()));
                refill::data_keys(&*log, carried.stream, some)?;
            }
            Ok(())
        })?;
        fill(&mut history, &survey, &*log, &mut |at, _| progress(Position(end.saturating_add(at.0)), whole))?;
        Ok(Self { log, history, epoch, survey, keys: header, missing })
    }

    /// The snapshot.
    pub fn snapshot(&self) -> SnapshotId {
        self.history.header.snapshot
    }

    /// The missing keys of which nothing says that they were destroyed.
    pub fn lost<'a>(
        &'a self,
        destroyed: &'a DestroyedKeys,
    ) -> impl Iterator<Item = &'a (StreamId, DataKeyId)> {
        self.missing.iter().filter(|key| !destroyed.contains(key))
    }

    /// Closes the log.
    ///
    /// # Errors
    /// When it cannot be closed.
    pub fn close(self) -> Result<(), RestoreError> {
        self.log.close().map_err(failed("the new log could not be closed"))
    }

    /// Takes away again what was taken away for good after the snapshot, records the restore, and closes the log.
    fn begin_epoch(
        self,
        dir: &StoreDir,
        root: &RootKey,
        ledgers: &[PathBuf],
        clock: &Clock,
    ) -> Result<Restored, RestoreError> {
        let Self { log, history, epoch, survey, keys, missing } = self;
        let ledger = ledgers.first().map(|folder| Ledger::open(folder, dir.ledger_mark(), epoch.as_str()));
        let ledger = ledger.transpose().map_err(failed("the ledger of what was destroyed cannot be read"))?;
        let (mut later, ledgers) = read_ledgers(ledgers, dir, &epoch, &survey)?;
        later.extend(survey.taken_away.iter().cloned());
        let store = open_store(dir, &log, root, &epoch, ledger, clock)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("no runtime could be made"))?;
        let header = &history.header;
        let begun = StoreRestored {
            snapshot: header.snapshot,
            of_store: header.store,
            of_epoch: header.epoch.clone(),
            position: survey.end.0,
            store: dir.id,
            epoch: epoch.as_str().to_owned(),
        };
        let taken_away = runtime.block_on(async {
            let taken_away = take_away(&store, &survey, &later).await?;
            let begin = OperationsCommand::BeginEpoch(begun);
            store.execute(store.platform(), Submission::new(begin, Actor::OPERATOR)).await?;
            Ok::<_, RestoreError>(taken_away)
        });
        store.stop();
        drop(store);
        let taken_away = taken_away?;
        log.close().map_err(failed("the new log could not be closed"))?;

        let destroyed: BTreeSet<(StreamId, DataKeyId)> = later
            .iter()
            .flat_map(|event| event.event.destroyed_keys().iter().map(|id| (event.stream, *id)))
            .collect();
        let lost = missing.iter().filter(|key| !destroyed.contains(key));
        let lost: Vec<String> = lost.map(|(stream, id)| format!("{id} of {stream}")).collect();
        let mut unknown = Vec::new();
        // An empty one, and one of another store, know as little as none.
        if ledgers.iter().all(|held| held.lines == 0) {
            unknown.push(format!(
                "no ledger is at hand that tells what was destroyed of this history: whatever was destroyed after {}, \
                 when these keys were written, can be read again, and keys that were revoked are accepted again",
                keys.at
            ));
        }
        for held in ledgers.iter().filter(|held| held.is_torn) {
            unknown.push(format!(
                "the last line of {} was cut off: what it told is not known",
                held.ledger.display()
            ));
        }
        if !lost.is_empty() {
            unknown.push(format!(
                "{} data keys of this history are not among the keys, and nothing says that they were destroyed: \
                 what they seal cannot be read",
                lost.len()
            ));
        }
        Ok(Restored {
            snapshot: header.snapshot,
            store: dir.id,
            epoch: epoch.as_str().to_owned(),
            position: survey.end.0,
            streams: survey.heads.iter().count() as u64,
            events: survey.wanted_events,
            taken_away,
            lost,
            ledgers,
            keys_of: keys.at,
            unknown,
        })
    }
}

/// Data keys that are put into the log at a time.
const KEYS_AT_ONCE: usize = 256;

/// Frames come from a history in pieces of some 1 MiB, which are committed in pieces that sled writes at once.
const COMMIT_BYTES: usize = 1 << 20;

fn fill(
    history: &mut History,
    survey: &Survey,
    log: &dyn EventLog,
    progress: Progress<'_>,
) -> Result<(), SnapshotError> {
    history.read(|chunk| {
        let Chunk::Frames(frames) = chunk else { return Ok(()) };
        let mut batch = Vec::new();
        let mut bytes = 0;
        let wanted = frames.into_iter().filter(|(position, _)| *position <= survey.end);
        for (position, frame) in wanted {
            bytes += frame.len();
            let parsed = Frame::parse(frame.clone());
            let stream = parsed.expect("it was verified").header().stream;
            batch.push((stream, frame));
            if bytes >= COMMIT_BYTES {
                refill::frames(log, batch.drain(..))?;
                bytes = 0;
                progress(position, survey.end);
            }
        }
        if !batch.is_empty() {
            refill::frames(log, batch)?;
        }
        progress(log.end(), survey.end);
        Ok::<_, SnapshotError>(())
    })?;
    if log.end() == survey.end {
        return Ok(());
    }
    let what = format!("the new log ends at position {}, not at {}", log.end().0, survey.end.0);
    Err(SnapshotError::damaged(history.path(), "its frames", what))
}

fn open_store(
    dir: &StoreDir,
    log: &Arc<SledLog>,
    root: &RootKey,
    epoch: &Epoch,
    ledger: Option<Ledger>,
    clock: &Clock,
) -> Result<Store, RestoreError> {
    let log: Arc<dyn EventLog> = Arc::clone(log) as Arc<dyn EventLog>;
    let ring = Arc::new(KeyRing::open(dir.keys(), root.clone(), Arc::clone(&log))?);
    ring.create_stream_key(StreamId::Platform)?;
    Ok(Store::open(Parts {
        log,
        ring,
        clock: clock.clone(),
        epoch: epoch.as_str().to_owned(),
        queue_capacity: 1,
        disk: Arc::new(|| true),
        derived: None,
        // What another ledger or the history told of is in this one from now on: older snapshots are held against it.
        ledger,
        directory: None,
        resident_streams: 64,
        metrics: Metrics::new(),
        fatal: Arc::new(|why| tracing::error!(why, "the new log cannot be written")),
    })?)
}

/// What ledgers say was taken away for good, and which of them are there.
fn read_ledgers(
    folders: &[PathBuf],
    dir: &StoreDir,
    epoch: &Epoch,
    survey: &Survey,
) -> Result<(Vec<Recorded>, Vec<HeldAgainst>), RestoreError> {
    let streams: BTreeSet<StreamId> = survey.heads.iter().map(|(stream, _)| stream).collect();
    let mut entries = Vec::new();
    let mut found = Vec::new();
    for folder in folders {
        let ledger = Ledger::open(folder, dir.ledger_mark(), epoch.as_str())
            .map_err(failed("the ledger of what was destroyed cannot be read"))?;
        if !ledger.path().exists() {
            continue;
        }
        let mut held =
            HeldAgainst { ledger: ledger.path().to_owned(), lines: 0, last_at: None, is_torn: false };
        let mut at = 0;
        loop {
            let lines = ledger
                .read(at..u64::MAX)
                .map_err(failed("the ledger of what was destroyed cannot be read"))?;
            if let Some(what) = lines.damaged.into_iter().next() {
                let damaged = io::Error::new(io::ErrorKind::InvalidData, what);
                return Err(failed("the ledger of what was destroyed is damaged")(damaged));
            }
            for (_, entry) in lines.entries {
                if streams.contains(&entry.stream) {
                    (held.lines, held.last_at) = (held.lines + 1, held.last_at.max(Some(entry.at)));
                }
                entries.push(entry);
            }
            held.is_torn |= lines.torn;
            if lines.next == at {
                break;
            }
            at = lines.next;
        }
        found.push(held);
    }
    Ok((entries, found))
}

/// Takes away again what is of this history; gives how much.
async fn take_away(store: &Store, survey: &Survey, later: &[Recorded]) -> Result<usize, RestoreError> {
    let mut taken = 0;
    let mut done = BTreeSet::new();
    for entry in later {
        let keys: Vec<DataKeyId> = entry.event.destroyed_keys().to_vec();
        let is_of_it = keys.is_empty() || survey.has_any_of(entry.stream, &entry.event);
        // The ledger and the history beyond a time may both tell of it.
        let is_told = !keys.is_empty() && !done.insert((entry.stream, keys));
        if is_of_it && !is_told && store.take_away_again(entry.clone()).await? {
            taken += 1;
        }
    }
    Ok(taken)
}
