//! Appending in process, held against writing and syncing the same bytes to a plain file.

use std::io::Write as _;

use anyhow::Result;
use settled::log::Append;

use super::events::Log;
use super::server::allocated_file;
use super::{Length, Row, scratch, seconds};

const EVENTS: usize = 256;

/// Batches of 256 events of some 600 bytes, each a commit.
pub struct AppendInProcess {
    batches: usize,
    /// The next batches: both the reference and the work write these bytes.
    next: Option<(tempfile::TempDir, Log, Vec<Append>)>,
    details: Vec<String>,
}

impl AppendInProcess {
    /// In loads of about this length.
    pub fn new(length: Length) -> Self {
        Self { batches: length.of(400), next: None, details: Vec::new() }
    }

    fn next(&mut self) -> Result<&mut (tempfile::TempDir, Log, Vec<Append>)> {
        if self.next.is_none() {
            let dir = scratch()?;
            let mut log = Log::create(dir.path())?;
            let mut frames = Vec::new();
            let packing = seconds(|| log.frames(self.batches, EVENTS).map(|built| frames = built))?;
            let per_event = packing * 1e6 / count(self.batches * EVENTS);
            self.details.push(format!("packing, before it is measured: {per_event:.1} µs an event"));
            self.next = Some((dir, log, frames));
        }
        self.next.as_mut().ok_or_else(|| anyhow::anyhow!("made just now"))
    }
}

impl Row for AppendInProcess {
    fn name(&self) -> &'static str {
        "append in process, batches of 256"
    }

    fn reference_name(&self) -> &'static str {
        "write + fdatasync of the same bytes"
    }

    fn goal(&self) -> f64 {
        0.2
    }

    fn reference(&mut self) -> Result<f64> {
        let events = count(self.batches * EVENTS);
        let (_, _, appends) = self.next()?;
        let dir = scratch()?;
        let bytes = appends.iter().filter_map(|append| append.frame.as_ref()).map(|frame| frame.len()).sum();
        let mut file = allocated_file(&dir.path().join("raw"), bytes)?;
        let took = seconds(|| {
            for append in appends.iter() {
                file.write_all(append.frame.as_deref().unwrap_or_default())?;
                file.sync_data()?;
            }
            Ok::<_, std::io::Error>(())
        })?;
        Ok(events / took)
    }

    fn work(&mut self) -> Result<f64> {
        let events = count(self.batches * EVENTS);
        let (_, log, appends) = self.next()?;
        // The frames are cheap to copy: they share their bytes.
        let appends = appends.clone();
        let took = seconds(|| log.append(appends))?;
        self.details.push(format!("{:.0} events/s", events / took));
        // The reference after it writes the bytes of a fresh log.
        self.next = None;
        Ok(events / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}

/// A count as a number to divide by.
pub(super) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
