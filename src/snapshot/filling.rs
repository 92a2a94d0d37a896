//! Filling a new log out of a history, frame by frame, while a thread of its own verifies them: what has been verified is
//! written while what follows is. The log counts for nothing before both have come to their end.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::log::frame::Frame;
use crate::log::{AppendError, EventLog, refill};
use crate::snapshot::history::History;
use crate::snapshot::verify::{Survey, Until, survey_and_take};
use crate::snapshot::{Progress, SnapshotError};
use crate::store::directory::Directory;
use crate::store::resident::directory_entries;

/// A commit of the new log has so many bytes of frames.
const COMMIT_BYTES: usize = 1 << 20;

/// So many commits wait to be written, at most.
const WAITING: usize = 4;

/// What a log was filled with.
pub(super) struct Filled {
    /// What the history was found to hold.
    pub(super) survey: Survey,
    /// What the frames in the log mean to a server.
    pub(super) directory: Directory,
}

/// Verifies a history from its first byte to its last, and fills an empty log with what of it is wanted.
///
/// # Errors
/// With the first place that is not what was written, or when the log cannot be written. What the log holds then counts for
/// nothing.
pub(super) fn fill(
    history: &mut History,
    until: Option<Until>,
    log: &dyn EventLog,
    progress: Progress<'_>,
) -> Result<Filled, SnapshotError> {
    let directory = Directory::default();
    let (sender, receiver) = sync_channel(WAITING);
    let (survey, written) = thread::scope(|scope| {
        let writing = scope.spawn(|| write(log, receiver));
        let mut commits = Commits { sender, frames: Vec::new(), bytes: 0 };
        let mut entries = Vec::new();
        let survey = survey_and_take(history, until, progress, |frame, head, events| {
            entries.clear();
            events.iter().for_each(|event| directory_entries(event, &mut entries));
            // Whoever opens a store of it counts that as the last use of all that is in it.
            directory.apply(&[(frame.header().stream, head, &entries)], Timestamp::EPOCH);
            commits.take(frame)
        });
        let sent = commits.finish();
        (
            survey.and_then(|survey| sent.map(|()| survey)),
            writing.join().expect("whoever writes does not panic"),
        )
    });
    // First: where writing failed, reading was broken off for it.
    written?;
    let survey = survey?;
    if log.end() == survey.end {
        return Ok(Filled { survey, directory });
    }
    let what = format!("the new log ends at position {}, not at {}", log.end().0, survey.end.0);
    Err(SnapshotError::damaged(history.path(), "its frames", what))
}

fn write(log: &dyn EventLog, commits: Receiver<Vec<(StreamId, Bytes)>>) -> Result<(), AppendError> {
    commits.into_iter().try_for_each(|frames| refill::frames(log, frames))
}

/// Frames on their way to whoever writes them.
struct Commits {
    sender: SyncSender<Vec<(StreamId, Bytes)>>,
    frames: Vec<(StreamId, Bytes)>,
    bytes: usize,
}

impl Commits {
    /// Takes a frame.
    ///
    /// # Errors
    /// Once writing has failed, which says itself why: what else there is to read is read for nothing.
    fn take(&mut self, frame: &Frame) -> Result<(), SnapshotError> {
        self.bytes += frame.bytes().len();
        self.frames.push((frame.header().stream, frame.bytes().clone()));
        if self.bytes >= COMMIT_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), SnapshotError> {
        self.bytes = 0;
        let sent = self.sender.send(mem::take(&mut self.frames));
        sent.map_err(|_| AppendError::Fatal("nothing is written any more".to_owned()).into())
    }

    fn finish(mut self) -> Result<(), SnapshotError> {
        if self.frames.is_empty() { Ok(()) } else { self.send() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_nobody_writes_any_more_nothing_is_taken() {
        let (sender, receiver) = sync_channel(WAITING);
        let mut commits = Commits { sender, frames: Vec::new(), bytes: 0 };
        let one = || (StreamId::Platform, Bytes::from_static(b"a frame"));
        commits.frames.push(one());
        commits.send().expect("it waits to be written");
        drop(receiver);
        commits.frames.push(one());
        assert!(commits.send().is_err());
        commits.frames.push(one());
        assert!(commits.finish().is_err());
    }
}
