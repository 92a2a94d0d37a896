//! The disk that an event takes, everything included, held against 500 bytes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use super::history::{History, Log, frames};
use super::{Length, Peer, Row, count, scratch};

/// What an event may take when 64 share a commit.
const BYTES: f64 = 500.0;
/// Events of a full commit.
pub const EVENTS: usize = 64;

/// How many commits of so many events a measurement has.
pub fn commits(events_per_commit: usize, length: Length) -> usize {
    length.of(if events_per_commit == 1 { 4_000 } else { 2_000 })
}

/// Events for each so many bytes of disk: as in every row, more is better.
pub struct DiskPerEvent {
    history: Rc<History>,
    commits: usize,
    events_per_commit: usize,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl DiskPerEvent {
    /// With so many events a commit: 64, or one.
    pub fn new(history: &Rc<History>, events: usize, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        let (history, commits) = (Rc::clone(history), commits(events, length));
        Self { history, commits, events_per_commit: events, details: Vec::new(), peers }
    }
}

impl Row for DiskPerEvent {
    fn name(&self) -> &'static str {
        if self.events_per_commit == 1 {
            "disk per event, one a commit"
        } else {
            "disk per event, 64 a commit"
        }
    }

    fn reference_name(&self) -> &'static str {
        "500 bytes"
    }

    fn goal(&self) -> f64 {
        // One a commit is reported, and held to nothing.
        if self.events_per_commit == 1 { 0.0 } else { 1.0 }
    }

    fn limit(&self) -> &'static str {
        if self.events_per_commit == 1 {
            "an engine's key, a part's header and a frame's header for each event"
        } else {
            "ids, which do not compress: an event names itself, who did it in which session, what it is about and the \
             request that it came with"
        }
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        let dir = scratch()?;
        let log = Log::create(dir.path())?;
        let events = self.history.first(self.commits * self.events_per_commit)?;
        let appends = frames(events, self.events_per_commit)?;
        let packed: usize = appends.iter().map(|append| append.frame.as_deref().map_or(0, <[u8]>::len)).sum();
        log.append(appends)?;
        log.log.close()?;
        let bytes = allocated(dir.path())?;
        let events = count(events.len());
        self.details.push(format!(
            "{:.0} bytes, of them {:.0} its own",
            bytes / events,
            count(packed) / events
        ));
        Ok(events / bytes)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }
}

/// The blocks that a folder's files take, in bytes.
///
/// # Errors
/// When it cannot be read.
pub fn allocated(dir: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            allocated(&entry.path())?
        } else {
            512.0 * count(usize::try_from(metadata.blocks())?)
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_64_a_commit_takes_less_than_500_bytes_of_disk() {
        let history = Rc::new(History::of(commits(EVENTS, Length::Quick) * EVENTS));
        let mut row = DiskPerEvent::new(&history, EVENTS, Length::Quick, Vec::new());
        let bytes = 1.0 / row.work().unwrap();
        assert!(bytes < BYTES, "{:?}", row.details());
    }
}
