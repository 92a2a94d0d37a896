//! The store: the only write path, and the newest state of every stream.
//!
//! [`Store::execute`] takes a command that the edge prepared, hands it to the writer thread, and answers once all
//! that it rests on is durable. Readers take a [`View`] and hold no lock.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::actor::Actor;
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, Precondition, Rejection};
use crate::ctx::memory::Memory;
use crate::event::Version;
use crate::ids::StreamId;
use crate::log::EventLog;
use crate::metrics::Metrics;
use crate::seal::Sealed;
use crate::seal::keyring::{KeyRing, NewDataKey};
use crate::store::aggregate::Aggregator;
use crate::store::api_requests::Counting;
use crate::store::as_of::Pasts;
use crate::store::beside::Beside;
use crate::store::called::Called;
use crate::store::customers::Sought;
use crate::store::derived::DerivedFiles;
use crate::store::directory::Directory;
use crate::store::key_uses::KeyUses;
use crate::store::lanes::Lanes;
use crate::store::ledger::Ledger;
use crate::store::lookup::{Claim, Hasher};
use crate::store::proofs::Newest;
use crate::store::resident::{Handle, View};
use crate::store::residents::Residents;
use crate::store::savepoint::Savepoints;
use crate::store::saver::{Saver, Sources};
use crate::store::segments::Segments;
use crate::store::shown::Shown;
use crate::store::totals::Totals;
use crate::store::trouble::Trouble;
use crate::store::writer::{Decide, Job, Writer};

pub mod absent;
pub mod aggregate;
pub mod api_requests;
pub mod as_of;
mod batch;
mod beside;
pub mod bounded;
pub mod brought;
pub mod called;
pub mod check;
pub mod check_checkpoints;
pub mod check_keys;
pub mod check_ledger;
pub mod checkpoints;
pub mod concerned;
pub mod customers;
pub mod denials;
pub mod derived;
pub mod destroyed;
pub mod directory;
pub mod due;
pub mod encoding;
pub mod encryption_keys;
pub mod exports;
pub mod finishing;
pub mod history;
pub mod index;
pub mod intents;
pub mod key_uses;
mod lanes;
pub mod ledger;
pub mod load;
pub mod looking;
pub mod lookup;
pub mod organizations;
pub mod proofs;
mod rehearsal;
pub mod rechecks;
pub mod replay;
pub mod requests;
pub mod resident;
pub mod residents;
pub mod revision;
pub mod rights;
pub mod rotation;
pub mod savepoint;
pub mod saver;
pub mod scheduler;
pub mod search;
pub mod segments;
pub mod shown;
pub mod signing;
pub mod strangers;
pub mod totals;
pub mod trouble;
pub mod vanishing;
pub mod vouching;
mod writer;

/// Tells whether there is enough free disk to write.
pub type DiskGauge = Arc<dyn Fn() -> bool + Send + Sync>;
/// Called once, with what to do, when the log can no longer be trusted: the process has to end.
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

/// A command with all that the writer needs to decide and record it.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is asked for.
    pub command: Command,
    /// Who asks.
    pub actor: Actor,
    /// What the caller asks of what it changes.
    pub preconditions: Vec<Precondition>,
    /// Of a program's request: which of its organization's in this month it is.
    pub ordinal: Option<u64>,
    /// Why, sealed under the organization's key.
    pub reason: Option<Sealed>,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// The idempotency key that it came with.
    pub idempotency: Option<Idempotency>,
    /// Data keys that the command is the first to use; appended with it.
    pub keys: Vec<NewDataKey>,
    /// Values that must be unique.
    pub claims: Vec<Claim>,
    /// Values that are the owner's no more, once the command has appended something; before the claims are granted.
    pub releases: Vec<Claim>,
}

impl Submission {
    /// A command of an actor, and nothing else.
    pub fn new(command: impl Into<Command>, actor: Actor) -> Self {
        Self {
            command: command.into(),
            actor,
            preconditions: Vec::new(),
            ordinal: None,
            reason: None,
            request_id: None,
            idempotency: None,
            keys: Vec::new(),
            claims: Vec::new(),
            releases: Vec::new(),
        }
    }
}

/// An `Idempotency-Key` as the edge fingerprinted it.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// HMAC of actor, method, path and key.
    pub key: String,
    /// HMAC of the body.
    pub body: String,
    /// The status that a success is answered with.
    pub status: u16,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// The stream right after the command, or of a replay its newest state: what the answer is rendered from. Its
    /// head is where the frame is that holds its version; later commands of the batch may share that frame.
    pub view: Arc<View>,
    /// The stream's version after the command's last event.
    pub version: Version,
    /// How many events it appended.
    pub events: u64,
    /// Set where this repeats an earlier request: nothing was appended.
    pub replay: Option<Replay>,
}

/// An earlier request with the same idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The status that it was answered with.
    pub status: u16,
    /// The version of its first event: the version before is what it met.
    pub first: Version,
    /// The version that its answer is rendered at.
    pub version: Version,
}

/// Why a command appended nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was decided so.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its idempotency key was used with another body.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The organization has as many idempotency keys as it can.
    #[error("too many idempotency keys within a day")]
    TooManyKeys,
    /// Its events do not fit into one frame.
    #[error("the command's events are too large to be appended at once")]
    TooLarge,
    /// The queue is full.
    #[error("the write queue is full")]
    QueueFull,
    /// The wall clock jumped.
    #[error("{0}")]
    ClockJumped(String),
    /// The disk is nearly full.
    #[error("the disk is nearly full")]
    DiskFull,
    /// What is taken away for good could not be noted where restores look for it, so nothing of the batch was appended.
    #[error("the ledger of what is destroyed cannot be written: {0}")]
    Ledger(String),
    /// The writer has stopped; whether the command was appended is unknown.
    #[error("the store has stopped")]
    Stopped,
    /// An event could not be packed: a mistake in Settled, not of the caller.
    #[error("an event could not be recorded: {0}")]
    Unrecordable(String),
}

/// What a store is made of.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The key ring.
    pub ring: Arc<KeyRing>,
    /// The clock.
    pub clock: Clock,
    /// The epoch that versions belong to.
    pub epoch: String,
    /// The most commands that wait for the writer.
    pub queue_capacity: usize,
    /// Whether there is enough free disk to write.
    pub disk: DiskGauge,
    /// Where derived files are kept, and whether there is so much free disk that they may be; without, all is folded
    /// from the log at each start.
    pub derived: Option<(DerivedFiles, DiskGauge)>,
    /// Where a line is kept for everything that is taken away for good; without, nothing is.
    pub ledger: Option<Ledger>,
    /// What the newest file of the directory says, read before the log was opened.
    pub directory: Option<Directory>,
    /// How many streams are kept in memory, but for those in use.
    pub resident_streams: usize,
    /// Where figures are kept.
    pub metrics: Metrics,
    /// What to do when the log fails.
    pub fatal: Fatal,
}

/// The store. Cheap to clone; the writer ends when [`Store::stop`] is called.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<dyn EventLog>,
    ring: Arc<KeyRing>,
    /// Held by whoever rotates keys.
    rotating: tokio::sync::Mutex<()>,
    /// Held by whoever asks DNS again about domains.
    rechecking: tokio::sync::Mutex<()>,
    /// Held by whoever decides a membership to be.
    deciding: Lanes,
    /// Held by whoever signs a checkpoint of a stream.
    checkpointing: Lanes,
    /// Held by whoever changes a customer that others change at the same time.
    changing: Lanes,
    clock: Clock,
    epoch: String,
    metrics: Metrics,
    disk: DiskGauge,
    directory: Arc<Directory>,
    hasher: Hasher,
    aggregator: Aggregator,
    key_uses: KeyUses,
    requests: Counting,
    ledger: Option<Arc<Ledger>>,
    beside: Beside,
    ctx: Arc<Memory>,
    called: Arc<Called>,
    sought: Arc<Sought>,
    savepoints: Option<Arc<Savepoints>>,
    pasts: Pasts,
    totals: Totals,
    shown: Shown,
    newest_leaves: Newest,
    segments: Arc<Segments>,
    saver: Arc<Saver>,
    platform: Arc<Handle>,
    residents: Residents,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    queue_capacity: usize,
    trouble: Arc<Trouble>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens a store over a log: reads the directory and the platform's stream, and starts the writer. Blocks.
    ///
    /// # Errors
    /// When the log is damaged, or a key that a look-up needs is not there.
    pub fn open(parts: Parts) -> Result<Self, load::LoadError> {
        let hasher = Hasher::new();
        let directory = Arc::new(parts.directory.unwrap_or_default());
        directory.touch_all(parts.clock.now());
        load::catch_up_directory(&*parts.log, &directory, parts.clock.now())?;
        // By the log's own time: the machine's clock may be wrong, and the scheduler looks soon.
        directory.drop_ended(directory.newest().unwrap_or_else(|| parts.clock.now()));
        let (files, derived_disk): (_, DiskGauge) = match parts.derived {
            Some((files, disk)) => (Some(files.mending()), disk),
            None => (None, Arc::new(|| false)),
        };
        let savepoints = files.clone().map(|files| Arc::new(Savepoints::new(files)));
        let mut loaded = load::load_stream(&*parts.log, savepoints.as_deref(), StreamId::Platform)?;
        loaded.view.lookup = load::account_lookup(&loaded.view, &parts.ring, &hasher)?;
        let platform = Arc::new(Handle::new(loaded.view, loaded.index, loaded.saved));
        let residents = Residents::new(parts.resident_streams);
        residents.insert(Arc::clone(&platform));

        let segments = Arc::new(Segments::new(Arc::clone(&parts.log), files, Arc::clone(&derived_disk)));
        let sources = Sources {
            savepoints: savepoints.clone(),
            segments: Arc::clone(&segments),
            directory: Arc::clone(&directory),
            disk: derived_disk,
        };
        let saver = Saver::start(sources);
        let saver = Arc::new(saver.map_err(load::LoadError::Thread)?);
        let (sender, receiver) = mpsc::channel(parts.queue_capacity);
        let ledger = parts.ledger.map(Arc::new);
        let (trouble, ctx) = (Arc::new(Trouble::default()), Arc::new(Memory::default()));
        let (called, sought) = (Arc::new(Called::default()), Arc::new(Sought::default()));
        let writer = Writer {
            log: Arc::clone(&parts.log),
            ledger: ledger.clone(),
            clock: parts.clock.clone(),
            ring: Arc::clone(&parts.ring),
            directory: Arc::clone(&directory),
            ctx: Arc::clone(&ctx),
            called: Arc::clone(&called),
            sought: Arc::clone(&sought),
            saver: Arc::clone(&saver),
            disk: Arc::clone(&parts.disk),
            metrics: parts.metrics.clone(),
            trouble: Arc::clone(&trouble),
            fatal: Arc::clone(&parts.fatal),
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run_or_end(receiver))
            .map_err(load::LoadError::Thread)?;
        parts.metrics.streams_in_memory(1);
        Ok(Self {
            inner: Arc::new(Inner {
                log: parts.log,
                ring: parts.ring,
                rotating: tokio::sync::Mutex::default(),
                rechecking: tokio::sync::Mutex::default(),
                deciding: Lanes::default(),
                checkpointing: Lanes::default(),
                changing: Lanes::default(),
                clock: parts.clock,
                epoch: parts.epoch,
                metrics: parts.metrics,
                disk: parts.disk,
                directory,
                hasher,
                aggregator: Aggregator::default(),
                key_uses: KeyUses::default(),
                requests: Counting::default(),
                ledger,
                beside: Beside::default(),
                ctx,
                called,
                sought,
                savepoints,
                pasts: Pasts::default(),
                totals: Totals::default(),
                shown: Shown::default(),
                newest_leaves: Newest::default(),
                segments,
                saver,
                platform,
                residents,
                queue: Mutex::new(Some(sender)),
                queue_capacity: parts.queue_capacity,
                trouble,
                writer: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Appends what a command decides, and answers once all that the answer rests on is durable.
    ///
    /// # Errors
    /// See [`Refusal`]; after any of them but `Stopped` nothing was appended.
    pub async fn execute(&self, handle: &Arc<Handle>, submission: Submission) -> Result<Done, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Decide(Decide { handle: Arc::clone(handle), submission, reply }))?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }

    fn sender(&self) -> Option<mpsc::Sender<Job>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the writer finish what is queued, and waits for it; then saves what spares the next start work. Later
    /// commands are refused. Blocks.
    pub fn stop(&self) {
        drop(self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread panicked");
        }
        self.remember_ledger(0);
        self.inner.saver.stop(&self.inner.residents.all());
    }

    /// The platform's stream.
    pub fn platform(&self) -> &Arc<Handle> {
        &self.inner.platform
    }

    /// The projection over the whole log.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// The key ring.
    pub fn ring(&self) -> &KeyRing {
        &self.inner.ring
    }

    /// What was opened for programs.
    pub fn ctx(&self) -> &Memory {
        &self.inner.ctx
    }

    /// What people are called, as far as somebody searched among them.
    pub fn called(&self) -> &Called {
        &self.inner.called
    }

    /// Makes look-up keys of this process.
    pub fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }

    /// The log, to read.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.inner.log
    }

    /// The derived files, if there are any.
    pub fn files(&self) -> Option<&DerivedFiles> {
        self.inner.savepoints.as_ref().map(|savepoints| savepoints.files())
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What versions belong to: `0`, or an id drawn when an operator restored a snapshot.
    pub fn epoch(&self) -> &str {
        &self.inner.epoch
    }

    /// Figures.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Counts of what is recorded only in aggregate.
    pub fn aggregator(&self) -> &Aggregator {
        &self.inner.aggregator
    }

    /// Makes the clock's guard hold the wall clock against the log; to be called once, before anything is written.
    pub fn resume_clock(&self) {
        let Some(newest) = self.newest() else { return };
        let baseline = match self.platform().view().platform().operations.clock_accepted {
            // The log's time has stood still since an operator accepted a clock behind it.
            Some(accepted) if accepted.newest.is_some_and(|then| newest <= then) => accepted.wall,
            Some(_) | None => newest,
        };
        self.inner.clock.resume(baseline);
    }

    /// The newest frame's time over all streams; `None` in an empty log.
    pub fn newest(&self) -> Option<Timestamp> {
        self.inner.directory.newest()
    }
}
