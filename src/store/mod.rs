//! The store: the only write path, and the newest state of every stream.
//!
//! [`Store::execute`] takes a command that the edge prepared, hands it to the writer thread, and answers once all
//! that it rests on is durable. Readers take a [`View`] and hold no lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::actor::Actor;
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, Precondition, Rejection};
use crate::event::Version;
use crate::ids::{OrganizationId, StreamId};
use crate::log::{EventLog, Head};
use crate::metrics::Metrics;
use crate::seal::Sealed;
use crate::seal::keyring::{KeyRing, NewDataKey};
use crate::store::aggregate::Aggregator;
use crate::store::directory::Directory;
use crate::store::lookup::{Claim, Hasher};
use crate::store::resident::{Handle, View};
use crate::store::writer::{Job, Writer};

pub mod aggregate;
pub mod as_of;
mod batch;
pub mod directory;
pub mod encoding;
pub mod exports;
pub mod history;
pub mod intents;
pub mod load;
pub mod lookup;
pub mod refusals;
mod rehearsal;
pub mod replay;
pub mod requests;
pub mod resident;
pub mod revision;
pub mod scheduler;
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
    /// What the caller saw of what it changes.
    pub precondition: Option<Precondition>,
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
}

impl Submission {
    /// A command of an actor, and nothing else.
    pub fn new(command: impl Into<Command>, actor: Actor) -> Self {
        Self {
            command: command.into(),
            actor,
            precondition: None,
            reason: None,
            request_id: None,
            idempotency: None,
            keys: Vec::new(),
            claims: Vec::new(),
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
    /// The stream right after the command, or of a replay its newest state: what the answer is rendered from.
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
    clock: Clock,
    epoch: String,
    metrics: Metrics,
    disk: DiskGauge,
    directory: Arc<Directory>,
    hasher: Hasher,
    aggregator: Aggregator,
    platform: Arc<Handle>,
    organizations: RwLock<HashMap<OrganizationId, Arc<Handle>>>,
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    queue_capacity: usize,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Runs the writer; a panic in it ends the process as a failed log does, for a server that only reads would look well.
fn run_writer(writer: Writer, queue: mpsc::Receiver<Job>, fatal: &Fatal) {
    let run = std::panic::AssertUnwindSafe(|| writer.run(queue));
    if std::panic::catch_unwind(run).is_err() {
        fatal("the writer panicked, which is a bug; the line before says where");
    }
}

impl Store {
    /// Opens a store over a log: replays it, and starts the writer. Blocks.
    ///
    /// # Errors
    /// When the log is damaged, or a key that a look-up needs is not there.
    pub fn open(parts: Parts) -> Result<Self, load::LoadError> {
        let hasher = Hasher::new();
        let directory = Arc::new(Directory::default());
        let loaded = load::load(&*parts.log, &parts.ring, &hasher, &directory, parts.clock.now())?;
        let (sender, receiver) = mpsc::channel(parts.queue_capacity);
        let writer = Writer {
            log: Arc::clone(&parts.log),
            clock: parts.clock.clone(),
            directory: Arc::clone(&directory),
            disk: Arc::clone(&parts.disk),
            metrics: parts.metrics.clone(),
            fatal: Arc::clone(&parts.fatal),
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || run_writer(writer, receiver, &parts.fatal))
            .map_err(load::LoadError::Thread)?;
        parts.metrics.streams_in_memory(loaded.organizations.len() + 1);
        Ok(Self {
            inner: Arc::new(Inner {
                log: parts.log,
                ring: parts.ring,
                clock: parts.clock,
                epoch: parts.epoch,
                metrics: parts.metrics,
                disk: parts.disk,
                directory,
                hasher,
                aggregator: Aggregator::default(),
                platform: loaded.platform,
                organizations: RwLock::new(loaded.organizations),
                queue: Mutex::new(Some(sender)),
                queue_capacity: parts.queue_capacity,
                writer: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Appends what a command decides, and answers once all that the answer rests on is durable.
    ///
    /// # Errors
    /// See [`Refusal`]; after any of them but `Stopped` nothing was appended.
    pub async fn execute(&self, handle: &Arc<Handle>, submission: Submission) -> Result<Done, Refusal> {
        let keys = submission.keys.clone();
        let (reply, answer) = oneshot::channel();
        let job = Job { handle: Arc::clone(handle), submission, reply };
        let sender = self.sender().ok_or(Refusal::Stopped)?;
        sender.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.inner.metrics.queue_refused();
                Refusal::QueueFull
            }
            mpsc::error::TrySendError::Closed(_) => Refusal::Stopped,
        })?;
        drop(sender);
        let done = answer.await.map_err(|_| Refusal::Stopped)??;
        if done.events > 0 {
            for key in keys {
                self.inner.ring.remember(handle.stream(), key);
            }
        }
        Ok(done)
    }

    fn sender(&self) -> Option<mpsc::Sender<Job>> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the writer finish what is queued, and waits for it. Later commands are refused. Blocks.
    pub fn stop(&self) {
        drop(self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }

    /// The platform's stream.
    pub fn platform(&self) -> &Arc<Handle> {
        &self.inner.platform
    }

    /// An organization's stream, if it was founded.
    pub fn organization(&self, id: OrganizationId) -> Option<Arc<Handle>> {
        let organizations = self.inner.organizations.read().unwrap_or_else(PoisonError::into_inner);
        organizations.get(&id).filter(|handle| handle.view().version() > 0).cloned()
    }

    /// The handle of a stream that may not have an event yet.
    pub(crate) fn handle_for_founding(&self, id: OrganizationId) -> Arc<Handle> {
        let mut organizations = self.inner.organizations.write().unwrap_or_else(PoisonError::into_inner);
        let handle = organizations
            .entry(id)
            .or_insert_with(|| Arc::new(Handle::new(View::empty(StreamId::Organization(id)))));
        let handle = Arc::clone(handle);
        self.inner.metrics.streams_in_memory(organizations.len() + 1);
        handle
    }

    /// Every organization's stream.
    pub fn organizations(&self) -> Vec<Arc<Handle>> {
        let organizations = self.inner.organizations.read().unwrap_or_else(PoisonError::into_inner);
        organizations.values().filter(|handle| handle.view().version() > 0).cloned().collect()
    }

    /// The projection over the whole log.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// The key ring.
    pub fn ring(&self) -> &KeyRing {
        &self.inner.ring
    }

    /// Makes look-up keys of this process.
    pub fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }

    /// The log, to read.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.inner.log
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

    /// How many commands wait, and how many can.
    pub fn queue(&self) -> (usize, usize) {
        let capacity = self.inner.queue_capacity;
        let free = self.sender().map_or(capacity, |sender| sender.capacity());
        (capacity - free, capacity)
    }

    /// Whether commands are taken.
    pub fn is_ready(&self) -> bool {
        self.sender().is_some_and(|sender| !sender.is_closed())
    }

    /// What writes wait for, for operators.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.is_ready() {
            problems.push("the writer has stopped".to_owned());
        }
        if let Err(jumped) = self.inner.clock.writable_now() {
            problems.push(jumped.to_string());
        }
        if !(self.inner.disk)() {
            problems.push("the disk is nearly full".to_owned());
        }
        let (length, capacity) = self.queue();
        if length >= capacity {
            problems.push("the write queue is full".to_owned());
        }
        problems
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
        self.inner.log.streams().into_iter().map(|(_, Head { at, .. })| at).max()
    }
}
