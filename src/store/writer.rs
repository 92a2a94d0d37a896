//! The writer: one thread, one batch at a time. Decide, append and sync, publish, answer. Between batches it puts data keys
//! that a rotation wrapped anew, and checkpoints that were signed, and takes look-ups that were made.
//!
//! Nothing that a caller is told, not even "no change" or "not found", is told before every event that it rests on
//! is durable: all answers of a batch wait for its sync. The next batch is not begun before.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::ctx::memory::Memory;
use crate::event::Version;
use crate::ids::{DataKeyId, StreamId};
use crate::log::{Append, EventLog, Head, Key, Position};
use crate::metrics::Metrics;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::store::batch::{Admission, Batch, Outcome, Publication};
use crate::store::called::Called;
use crate::store::customers::Sought;
use crate::store::directory::Directory;
use crate::store::ledger::Ledger;
use crate::store::lookup::Lookup;
use crate::store::resident::Handle;
use crate::store::rotation::RotationError;
use crate::store::savepoint;
use crate::store::saver::Saver;
use crate::store::trouble::Trouble;
use crate::store::{DiskGauge, Done, Fatal, Refusal, Store, Submission};

/// What is on its way to the writer.
#[expect(clippy::large_enum_variant, reason = "boxed, each command would be an allocation; rewraps are rare")]
pub(super) enum Job {
    /// A command.
    Decide(Decide),
    /// Data keys, wrapped anew.
    Rewrap(Rewrap),
    /// A checkpoint, signed.
    Keep(Keep),
    /// A look-up, made of what there is.
    Learn(Learn),
}

/// A command. Its handle pins the stream, so the writer never loads one.
pub(super) struct Decide {
    pub(super) handle: Arc<Handle>,
    pub(super) submission: Submission,
    pub(super) reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// Data keys of a stream as they are to be kept from now on. Which of them are there still only the writer knows, for only
/// it removes any.
pub(super) struct Rewrap {
    pub(super) stream: StreamId,
    pub(super) keys: Vec<(DataKeyId, Vec<u8>)>,
    pub(super) reply: oneshot::Sender<Result<(), RotationError>>,
}

/// A stream's look-up. It is taken between batches, so that no batch grants what another's state does not have.
pub(super) struct Learn {
    pub(super) handle: Arc<Handle>,
    pub(super) lookup: Lookup,
    /// The version that it is of.
    pub(super) version: Version,
    pub(super) taken: std::sync::mpsc::Sender<()>,
}

/// A stream's newest checkpoint, which takes the place of the one before.
pub(super) struct Keep {
    pub(super) stream: StreamId,
    pub(super) checkpoint: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<(), Refusal>>,
}

impl Store {
    /// Hands something to the writer, unless its queue is full or it has stopped.
    pub(super) fn enqueue(&self, job: Job) -> Result<(), Refusal> {
        let sender = self.sender().ok_or(Refusal::Stopped)?;
        sender.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.inner.metrics.queue_refused();
                self.inner.trouble.queue_was_full(self.inner.clock.boot_elapsed());
                Refusal::QueueFull
            }
            mpsc::error::TrySendError::Closed(_) => Refusal::Stopped,
        })
    }
}

/// What the writer thread owns or shares.
pub(super) struct Writer {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) clock: Clock,
    pub(super) ring: Arc<KeyRing>,
    pub(super) directory: Arc<Directory>,
    pub(super) ctx: Arc<Memory>,
    pub(super) called: Arc<Called>,
    pub(super) sought: Arc<Sought>,
    pub(super) saver: Arc<Saver>,
    pub(super) disk: DiskGauge,
    pub(super) metrics: Metrics,
    pub(super) trouble: Arc<Trouble>,
    pub(super) fatal: Fatal,
}

/// What a command came to, until its batch is durable.
struct Answer {
    reply: oneshot::Sender<Result<Done, Refusal>>,
    handle: Arc<Handle>,
    /// The stream's version before the batch.
    before: Version,
    result: Result<Done, Refusal>,
}

impl Answer {
    /// Gives the answer, once all that it rests on is durable and published.
    fn give(self) {
        let Self { reply, handle, before, mut result } = self;
        if let Ok(done) = &mut result {
            let published = handle.view();
            if done.replay.is_some() {
                // The earlier request may be of this batch, whose frame only the published state knows.
                done.view = published;
            } else if done.view.version() > before {
                // It was decided before the batch's frame was finished and had its place in the log.
                let version = done.view.version();
                Arc::make_mut(&mut done.view).head = Head { version, ..published.head };
            }
        }
        // A caller that has gone away does not need its answer.
        let _gone = reply.send(result);
    }
}

impl Writer {
    /// Runs until the queue is closed and empty, or until the log fails. A panic ends the process as a failed log does,
    /// for a server that only reads would look well.
    pub(super) fn run_or_end(self, queue: mpsc::Receiver<Job>) {
        let fatal = Arc::clone(&self.fatal);
        let run = std::panic::AssertUnwindSafe(|| self.run(queue));
        if std::panic::catch_unwind(run).is_err() {
            fatal("the writer panicked, which is a bug; the line before says where");
        }
    }

    fn run(self, mut queue: mpsc::Receiver<Job>) {
        let mut first = None;
        loop {
            let Some(job) = first.take().or_else(|| queue.blocking_recv()) else { return };
            self.metrics.queue_length(queue.len());
            let worked = match job {
                Job::Decide(first) => self.batch(first, &mut queue),
                Job::Rewrap(rewrap) => self.rewrap(rewrap).map(|()| None),
                Job::Keep(keep) => self.keep(keep).map(|()| None),
                Job::Learn(Learn { handle, lookup, version, taken }) => {
                    handle.learn(lookup, version);
                    let _gone = taken.send(());
                    Ok(None)
                }
            };
            match worked {
                Ok(left_over) => first = left_over,
                Err(message) => {
                    // Closing first: what waits in the queue is dropped unanswered, never acknowledged.
                    queue.close();
                    (self.fatal)(&message);
                    return;
                }
            }
        }
    }

    /// Decides, appends and answers one batch; returns the job that found no room in it.
    fn batch(&self, first: Decide, queue: &mut mpsc::Receiver<Job>) -> Result<Option<Job>, String> {
        let mut batch = Batch::new(self.admission());
        let mut answers: Vec<Answer> = Vec::new();
        let mut next = Some(Job::Decide(first));
        let mut left_over = None;
        while let Some(job) = next.take() {
            let Job::Decide(command) = job else {
                left_over = Some(job);
                break;
            };
            match batch.decide(&command.handle, &command.submission) {
                Outcome::Decided(result) => {
                    let Decide { reply, handle, .. } = command;
                    let before = handle.view().version();
                    answers.push(Answer { reply, handle, before, result: *result });
                }
                Outcome::Full => {
                    left_over = Some(Job::Decide(command));
                    break;
                }
            }
            next = queue.try_recv().ok();
        }
        if !batch.is_empty() {
            let (events, (appends, publications)) = (batch.events(), batch.finish());
            match self.note(&publications) {
                Ok(()) => self.commit(appends, publications, answers.len(), events)?,
                // Nothing was appended, and what was decided may rest on what was to be.
                Err(refusal) => answers.iter_mut().for_each(|answer| answer.result = Err(refusal.clone())),
            }
        }
        answers.into_iter().for_each(Answer::give);
        Ok(left_over)
    }

    /// Puts data keys that were wrapped anew: those that are there still, for one that was removed since it was read must
    /// not come back.
    fn rewrap(&self, rewrap: Rewrap) -> Result<(), String> {
        let Rewrap { stream, keys, reply } = rewrap;
        let put = if (self.disk)() { self.still_there(stream, keys) } else { Err(Refusal::DiskFull.into()) };
        let result = match put {
            Ok(put) => {
                let append = Append { stream, expected: None, frame: None, put, remove: Vec::new() };
                self.append(vec![append]).map(drop)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        let _gone = reply.send(result);
        Ok(())
    }

    fn still_there(
        &self,
        stream: StreamId,
        keys: Vec<(DataKeyId, Vec<u8>)>,
    ) -> Result<Vec<(Key, Vec<u8>)>, RotationError> {
        let mut put = Vec::with_capacity(keys.len());
        for (id, wrapped) in keys {
            let key = Key::DataKey(stream, id);
            if self.log.get(&key).map_err(KeyError::from)?.is_some() {
                put.push((key, wrapped));
            }
        }
        Ok(put)
    }

    /// Puts a checkpoint. It is answered once that is durable, so nobody sees one that a crash takes back.
    fn keep(&self, keep: Keep) -> Result<(), String> {
        let Keep { stream, checkpoint, reply } = keep;
        let result = if (self.disk)() {
            let put = vec![(Key::Checkpoint(stream), checkpoint)];
            self.append(vec![Append { stream, expected: None, frame: None, put, remove: Vec::new() }])?;
            Ok(())
        } else {
            Err(Refusal::DiskFull)
        };
        let _gone = reply.send(result);
        Ok(())
    }

    /// Appends, and says that it does while it lasts.
    fn append(&self, appends: Vec<Append>) -> Result<Vec<Position>, String> {
        self.trouble.commit_begins(self.clock.boot_elapsed());
        let positions = self.log.append(appends).map_err(|error| error.to_string())?;
        self.trouble.commit_ends();
        Ok(positions)
    }

    /// What the clock and the disk say at the beginning of a batch. Asked for removals too: the gauge makes the little
    /// room that they need.
    fn admission(&self) -> Admission {
        Admission { clock: self.clock.writable_now(), disk_has_room: (self.disk)() }
    }

    /// Makes durable in the ledger what the batch takes away for good. If we die from here to the end of the commit, the
    /// next start finishes that, though nobody was told.
    fn note(&self, publications: &[Publication]) -> Result<(), Refusal> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        ledger.note(publications.iter().flat_map(Publication::for_good)).map_err(|error| {
            tracing::error!(ledger = %ledger.path().display(), %error, "the ledger cannot be written");
            Refusal::Ledger(error.to_string())
        })
    }

    fn commit(
        &self,
        appends: Vec<Append>,
        mut publications: Vec<Publication>,
        commands: usize,
        events: usize,
    ) -> Result<(), String> {
        let began = self.clock.boot_elapsed();
        let positions = self.append(appends)?;
        self.metrics.batch(commands, events, self.clock.boot_elapsed().saturating_sub(began));
        self.ledger.iter().for_each(|ledger| ledger.appended());
        let mut heads = Vec::with_capacity(publications.len());
        for (publication, position) in publications.iter_mut().zip(positions) {
            let (head, filled) =
                publication.publish(position, &self.ring, &self.ctx, &self.called, &self.sought);
            heads.push(head);
            let handle = &publication.handle;
            let items = handle.view().state.items();
            if filled || savepoint::is_due(handle.unsaved(), items, handle.saved_bytes()) {
                self.saver.stream(handle);
            }
        }
        let frames: Vec<_> = publications
            .iter()
            .zip(heads)
            .map(|(publication, head)| (publication.handle.stream(), head, &publication.directory[..]))
            .collect();
        self.directory.apply(&frames, self.clock.now());
        if self.directory.is_save_due() {
            self.saver.directory();
        }
        Ok(())
    }
}
