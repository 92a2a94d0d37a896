//! The disk that an event takes, everything included, held against 500 bytes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Result;

use super::append::count;
use super::events::Log;
use super::{Length, Row, scratch};

/// What an event may take when 64 share a commit.
const BYTES: f64 = 500.0;

/// Events for each so many bytes of disk: as in every row, more is better.
pub struct DiskPerEvent {
    name: &'static str,
    commits: usize,
    events_per_commit: usize,
    details: Vec<String>,
}

impl DiskPerEvent {
    /// With 64 events a commit.
    pub fn batched(length: Length) -> Self {
        Self::of("disk per event, 64 a commit", length.of(2_000), 64)
    }

    /// With one event a commit.
    pub fn single(length: Length) -> Self {
        Self::of("disk per event, one a commit", length.of(4_000), 1)
    }

    fn of(name: &'static str, commits: usize, events_per_commit: usize) -> Self {
        Self { name, commits, events_per_commit, details: Vec::new() }
    }
}

impl Row for DiskPerEvent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reference_name(&self) -> &'static str {
        "500 bytes"
    }

    fn goal(&self) -> f64 {
        // One a commit is reported, and held to nothing.
        if self.events_per_commit == 1 { 0.0 } else { 1.0 }
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        let dir = scratch()?;
        let mut log = Log::create(dir.path())?;
        let frames = log.frames(self.commits, self.events_per_commit)?;
        let packed: usize = frames.iter().map(|append| append.frame.as_deref().map_or(0, <[u8]>::len)).sum();
        log.append(frames)?;
        log.log.close()?;
        let events = count(self.commits * self.events_per_commit);
        let bytes = allocated(dir.path())?;
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
}

/// The blocks that a folder's files take, in bytes.
fn allocated(dir: &Path) -> Result<f64> {
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
