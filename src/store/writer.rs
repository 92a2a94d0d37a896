//! The writer: one thread, one batch at a time. Decide, append and sync, publish, answer.
//!
//! Nothing that a caller is told, not even "no change" or "not found", is told before every event that it rests on
//! is durable: all answers of a batch wait for its sync. The next batch is not begun before.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::event::Version;
use crate::log::{EventLog, Head};
use crate::metrics::Metrics;
use crate::seal::keyring::KeyRing;
use crate::store::batch::{Admission, Batch, Outcome};
use crate::store::directory::Directory;
use crate::store::resident::Handle;
use crate::store::savepoint;
use crate::store::saver::Saver;
use crate::store::trouble::Trouble;
use crate::store::{DiskGauge, Done, Fatal, Refusal, Submission};

/// A command on its way to the writer. Its handle pins the stream, so the writer never loads one.
pub(super) struct Job {
    pub(super) handle: Arc<Handle>,
    pub(super) submission: Submission,
    pub(super) reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// What the writer thread owns or shares.
pub(super) struct Writer {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Clock,
    pub(super) ring: Arc<KeyRing>,
    pub(super) directory: Arc<Directory>,
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
            match self.batch(job, &mut queue) {
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
    fn batch(&self, first: Job, queue: &mut mpsc::Receiver<Job>) -> Result<Option<Job>, String> {
        let mut batch = Batch::new(self.admission());
        let mut answers: Vec<Answer> = Vec::new();
        let mut next = Some(first);
        let mut left_over = None;
        while let Some(job) = next.take() {
            match batch.decide(&job.handle, &job.submission) {
                Outcome::Decided(result) => {
                    let Job { reply, handle, .. } = job;
                    let before = handle.view().version();
                    answers.push(Answer { reply, handle, before, result: *result });
                }
                Outcome::Full => {
                    left_over = Some(job);
                    break;
                }
            }
            next = queue.try_recv().ok();
        }
        if !batch.is_empty() {
            self.commit(batch, answers.len())?;
        }
        answers.into_iter().for_each(Answer::give);
        Ok(left_over)
    }

    /// What the clock and the disk say at the beginning of a batch. Asked for removals too: the gauge makes the little
    /// room that they need.
    fn admission(&self) -> Admission {
        Admission { clock: self.clock.writable_now(), disk_has_room: (self.disk)() }
    }

    fn commit(&self, batch: Batch, commands: usize) -> Result<(), String> {
        let events = batch.events();
        let (appends, publications) = batch.finish();
        let began = self.clock.boot_elapsed();
        self.trouble.commit_begins(began);
        let positions = self.log.append(appends).map_err(|error| error.to_string())?;
        self.trouble.commit_ends();
        self.metrics.batch(commands, events, self.clock.boot_elapsed().saturating_sub(began));
        let mut publications = publications;
        let mut heads = Vec::with_capacity(publications.len());
        for (publication, position) in publications.iter_mut().zip(positions) {
            let (head, filled) = publication.publish(position, &self.ring);
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
