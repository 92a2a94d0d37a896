//! Appending in process, held against writing and syncing the same bytes to a plain file.

use std::io::Write as _;
use std::rc::Rc;

use anyhow::Result;
use settled::log::Append;

use super::history::{History, Log, frames};
use super::reference::allocated_file;
use super::{Length, Peer, Row, count, scratch, seconds};

/// The events of a batch.
pub const EVENTS: usize = 256;

/// Batches of 256 events, each a commit.
pub struct AppendInProcess {
    batches: usize,
    history: Rc<History>,
    /// The batches: both the reference and the work write these bytes.
    packed: Vec<Append>,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

/// How many batches a measurement has.
pub fn batches(length: Length) -> usize {
    length.of(400)
}

impl AppendInProcess {
    /// Of a history, beside others who append the same.
    pub fn new(history: &Rc<History>, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        let (batches, history) = (batches(length), Rc::clone(history));
        Self { batches, history, packed: Vec::new(), details: Vec::new(), peers }
    }

    /// Frames are cheap to copy: they share their bytes.
    fn appends(&mut self) -> Result<Vec<Append>> {
        if self.packed.is_empty() {
            let events = self.history.first(self.batches * EVENTS)?;
            let packing = seconds(|| frames(events, EVENTS).map(|packed| self.packed = packed))?;
            let per_event = packing * 1e6 / count(events.len());
            self.details.push(format!("packing, before it is measured: {per_event:.1} µs an event"));
        }
        Ok(self.packed.clone())
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

    fn limit(&self) -> &'static str {
        "the engine: it writes each part into a record of its own, holds a lock of the whole process for it, and \
         reads the last batch back before the next"
    }

    fn reference(&mut self) -> Result<f64> {
        let appends = self.appends()?;
        let dir = scratch()?;
        let bytes = appends.iter().filter_map(|append| append.frame.as_ref()).map(|frame| frame.len()).sum();
        let mut file = allocated_file(&dir.path().join("raw"), bytes)?;
        let took = seconds(|| {
            for append in &appends {
                file.write_all(append.frame.as_deref().unwrap_or_default())?;
                file.sync_data()?;
            }
            Ok::<_, std::io::Error>(())
        })?;
        Ok(count(self.batches * EVENTS) / took)
    }

    fn work(&mut self) -> Result<f64> {
        let appends = self.appends()?;
        let dir = scratch()?;
        let log = Log::create(dir.path())?;
        let took = seconds(|| log.append(appends))?;
        let per_second = count(self.batches * EVENTS) / took;
        self.details.push(format!("{per_second:.0} events/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }
}
