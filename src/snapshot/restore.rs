//! Making a store of a snapshot: beside the one in use, verified whole, with all that was taken away for good since taken
//! away again, and only then put in use. A restore always begins another epoch.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::actor::Actor;
use crate::clock::{Clock, Timestamp};
use crate::data_dir::{DataDir, DataDirError, StoreDir};
use crate::ids::{DataKeyId, Fresh, SnapshotId, StoreId, StreamId};
use crate::log::EventLog;
use crate::log::head::Epoch;
use crate::log::refill;
use crate::log::sled::SledLog;
use crate::log::sled::durability::Deferred;
use crate::log::sled::open::{self, HeadPolicy, Known, OpenError, SledOptions};
use crate::metrics::Metrics;
use crate::open::{DirError, forget_unfinished};
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::event::StoreRestored;
use crate::private;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::RootKey;
use crate::snapshot::filling::{Filled, fill};
use crate::snapshot::history::History;
use crate::snapshot::keys::{AcceptedKeys, KeysFile, KeysHeader};
use crate::snapshot::newest_keys::{Newest, newest_keys};
use crate::snapshot::place::Located;
use crate::snapshot::room;
use crate::snapshot::taken_away::{
    Gone, HeldAgainst, KnownKeys, Told, passed_over, read_ledgers, take_away, unknown,
};
use crate::snapshot::verify::{HeldKeys, Survey, Until, hold_keys};
use crate::snapshot::{Progress, SnapshotError};
use crate::store::directory::Directory;
use crate::store::finishing::FinishError;
use crate::store::ledger::lines::Noted;
use crate::store::ledger::{Keeper, Ledger};
use crate::store::load::LoadError;
use crate::store::{Parts, Refusal, Store, Submission};

/// What is restored.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The history.
    pub history: Located,
    /// The keys; the newest beside the history that know all of it, unless somebody says otherwise.
    pub keys: Option<Located>,
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
    /// How many data keys of the history are taken for destroyed, since its keys do not have them.
    pub absent: usize,
    /// Data keys of the history that are not among the keys, and that nothing destroys.
    pub lost: Vec<String>,
    /// How many API keys were revoked, since the keys do not have the values that they have in the history.
    pub revoked: usize,
    /// Where what was destroyed was looked up.
    pub ledgers: Vec<HeldAgainst>,
    /// The keys that it was restored with.
    pub keys: PathBuf,
    /// Up to when the keys are known.
    pub keys_of: Timestamp,
    /// The store that was in use before, which stays beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<StoreId>,
    /// The folder of a ledger that stores elsewhere go on with, too: each heeds, at its next restore, what this one destroys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_ledger: Option<PathBuf>,
    /// What nobody can know.
    pub unknown: Vec<String>,
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
    /// What an earlier one left.
    #[error("what was left of an earlier restore could not be removed")]
    Unfinished(#[source] DirError),
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

pub(super) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> RestoreError {
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
    forget_unfinished(dir).map_err(RestoreError::Unfinished)?;
    room::look_for(room::of_store(History::open(&wanted.history)?.bytes), dir.root())?;
    let id: StoreId = Fresh.id();
    let replaced = dir.current()?.map(|before| before.id);
    let beside = dir.store_ids()?;
    let mut restored = None;
    let made = dir.create_store(id, |store| {
        let built = Built::make(store, wanted, root, &beside, progress)?.settled(store)?;
        restored = Some(built.begin_epoch(store, root, &beside, ledgers, clock)?);
        Ok::<_, RestoreError>(())
    });
    if let Err(error) = made {
        forget_unfinished(dir).map_err(RestoreError::Unfinished)?;
        return Err(error);
    }
    Ok(Restored { replaced, ..restored.expect("made above") })
}

/// A store's log and keys as a snapshot has them, not in use; nor on the disk, until they are [settled](Built::settled).
pub struct Built {
    /// Its log, open.
    pub log: Arc<SledLog>,
    history: History,
    epoch: Epoch,
    survey: Survey,
    /// What the log means to a server.
    directory: Directory,
    keys: KeysHeader,
    keys_at: Located,
    /// Newer ones of a store elsewhere.
    keys_elsewhere: Option<Located>,
    /// Data keys of the history that are not among the keys.
    pub missing: BTreeSet<(StreamId, DataKeyId)>,
    /// The API keys that were accepted when the keys were written, where that is known.
    accepted: Option<AcceptedKeys>,
}

impl Built {
    /// Makes them in a folder that has `keys/` and else nothing, the streams' keys wrapped by a root key, among the stores that
    /// are `here`. Both files are read once, and verified while the log is made of them: after an error nothing in the folder
    /// counts for anything. Nothing is synced: whoever only looks at it, and removes it, keeps no disk busy that others write to.
    ///
    /// # Errors
    /// With the first place that is not what was written, or the file that could not be made.
    pub fn make(
        store: &StoreDir,
        wanted: &Wanted<'_>,
        wrapped_by: &RootKey,
        here: &BTreeSet<StoreId>,
        progress: Progress<'_>,
    ) -> Result<Self, RestoreError> {
        let mut history = History::open(&wanted.history)?;
        let newest = || newest_keys(&history, wanted.root.fingerprint(), here);
        let named = |keys| Ok(Newest { keys, elsewhere: None });
        let Newest { keys: keys_at, elsewhere } = wanted.keys.clone().map_or_else(newest, named)?;
        // Before the long work: that they are there, and that the root key is theirs.
        let keys = KeysFile::open(&keys_at, wanted.root)?;
        let header = keys.header.clone();

        let epoch = Epoch::fresh();
        let options = SledOptions::new(&store.path, store.id);
        open::create(&options, &epoch)?;
        let deferred = SledOptions { durability: Arc::new(Deferred), ..options };
        let log = open::open(deferred, HeadPolicy::Require)?.log;
        let Filled { survey, directory } = fill(&mut history, wanted.until, &log, progress)?;
        let mut waiting = Vec::new();
        let HeldKeys { missing, accepted } = hold_keys(keys, &history, &survey, |snapshot_key, carried| {
            let opened = snapshot_key.open(&carried).map_err(|what| {
                SnapshotError::damaged(keys_at.path(), format!("the keys of {}", carried.stream), what)
            })?;
            opened.put_undurably(&store.keys(), wrapped_by)?;
            for (id, wrapped) in &carried.data_keys {
                waiting.push((carried.stream, *id, wrapped.to_vec()));
                if waiting.len() == KEYS_AT_ONCE {
                    refill::data_keys(&log, waiting.drain(..))?;
                }
            }
            Ok(())
        })?;
        refill::data_keys(&log, waiting).map_err(SnapshotError::from)?;
        Ok(Self {
            log: Arc::new(log),
            history,
            epoch,
            survey,
            directory,
            keys: header,
            keys_at,
            keys_elsewhere: elsewhere,
            missing,
            accepted,
        })
    }

    /// The snapshot.
    pub fn snapshot(&self) -> SnapshotId {
        self.history.header.snapshot
    }

    /// Brings all of it onto the disk, where its store's folder is. From then on its log is one as any other.
    fn settled(self, store: &StoreDir) -> Result<Self, RestoreError> {
        private::sync_all_under(&store.keys()).map_err(failed("the new store's keys could not be synced"))?;
        self.log.close().map_err(failed("the new log could not be closed"))?;
        let known = Known { end: self.directory.end(), heads: self.directory.heads() };
        let options = SledOptions { known: Some(known), ..SledOptions::new(&store.path, store.id) };
        let log = open::open(options, HeadPolicy::Require)?.log;
        Ok(Self { log: Arc::new(log), ..self })
    }

    /// Takes away again what was taken away for good after the snapshot, records the restore, and closes the log.
    fn begin_epoch(
        self,
        dir: &StoreDir,
        root: &RootKey,
        beside: &BTreeSet<StoreId>,
        folders: &[PathBuf],
        clock: &Clock,
    ) -> Result<Restored, RestoreError> {
        let Self { log, history, epoch, survey, directory, keys, keys_at, keys_elsewhere, missing, accepted } =
            self;
        let keeper = Keeper {
            store: dir.id,
            beside: beside.clone(),
            mark: dir.ledger_mark(),
            epoch: epoch.as_str().to_owned(),
        };
        let ledger = folders.first().map(|folder| Ledger::open(folder, keeper.clone()));
        let ledger = ledger.transpose().map_err(failed("the ledger of what was destroyed cannot be read"))?;
        let Told { entries: mut later, in_first, is_shared, ledgers } =
            read_ledgers(folders, &keeper, &survey)?;
        let of = Some(history.header.store);
        let rest = survey.taken_away.iter().cloned();
        later.extend(rest.map(|event| Noted { store: of, event }));
        let store = open_store(dir, &log, directory, root, &epoch, clock)?;
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
        let known = KnownKeys { is_all: keys.know(header, survey.end), accepted, at: keys.at };
        let gone = runtime.block_on(async {
            let gone = take_away(&store, &survey, later, missing, &known).await?;
            let begin = OperationsCommand::BeginEpoch(begun);
            store.execute(store.platform(), Submission::new(begin, Actor::OPERATOR)).await?;
            Ok::<_, RestoreError>(gone)
        });
        store.stop();
        drop(store);
        let Gone { taken_away, absent, lost, revoked, facts } = gone?;
        if let Some(ledger) = ledger {
            // What another ledger or the history told of is in this one from now on: older snapshots are held against it.
            let news = facts.iter().filter(|noted| !in_first.contains(&noted.event.id));
            ledger.note_told(news).map_err(failed("the ledger of what was destroyed cannot be written"))?;
        }
        log.close().map_err(failed("the new log could not be closed"))?;

        // Its own store goes on with the ledger that lies beside the history, and that one is not in this data directory.
        let is_elsewhere = |folder: &PathBuf| {
            let of = history.at().place().root().canonicalize();
            !beside.contains(&header.store)
                && of.is_ok_and(|of| folder.canonicalize().is_ok_and(|it| it == of))
        };
        let lost: Vec<String> = lost.iter().map(|(stream, id)| format!("{id} of {stream}")).collect();
        let mut unknown = unknown(&ledgers, &keys, &known, lost.len());
        unknown.extend(keys_elsewhere.map(|newer| passed_over(newer.path())));
        Ok(Restored {
            snapshot: header.snapshot,
            store: dir.id,
            epoch: epoch.as_str().to_owned(),
            position: survey.end.0,
            streams: survey.heads.iter().count() as u64,
            events: survey.wanted_events,
            taken_away,
            absent,
            lost,
            revoked,
            ledgers,
            keys: keys_at.path().to_owned(),
            keys_of: keys.at,
            replaced: None,
            shared_ledger: folders.first().filter(|folder| is_shared || is_elsewhere(folder)).cloned(),
            unknown,
        })
    }
}

/// Data keys that are put into the log at a time, of however many streams.
const KEYS_AT_ONCE: usize = 256;

fn open_store(
    dir: &StoreDir,
    log: &Arc<SledLog>,
    directory: Directory,
    root: &RootKey,
    epoch: &Epoch,
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
        // Others act on what a ledger says. What is only concluded here, of a store that is not in use yet, is not for them.
        ledger: None,
        directory: Some(directory),
        resident_streams: 64,
        metrics: Metrics::new(),
        fatal: Arc::new(|why| tracing::error!(why, "the new log cannot be written")),
    })?)
}
