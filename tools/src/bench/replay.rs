//! Replay from zero, held against reading and decoding the same events without applying them.

use std::hint::black_box;
use std::rc::Rc;

use anyhow::{Result, ensure};
use settled::store::load::fold;

use super::history::{History, Log, each_frame, frames};
use super::{Length, Peer, Row, count, scratch, seconds};

const EVENTS_PER_FRAME: usize = 64;

/// How many events a measurement has.
pub fn events(length: Length) -> usize {
    length.of(3_000) * EVENTS_PER_FRAME
}

/// Folds a log of one organization.
pub struct Replay {
    events: usize,
    history: Rc<History>,
    made: Option<(tempfile::TempDir, Log)>,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl Replay {
    /// Of a history, beside others who scan the same.
    pub fn new(history: &Rc<History>, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        let history = Rc::clone(history);
        Self { events: events(length), history, made: None, details: Vec::new(), peers }
    }

    fn log(&mut self) -> Result<&Log> {
        if self.made.is_none() {
            let dir = scratch()?;
            let log = Log::create(dir.path())?;
            log.append(frames(self.history.first(self.events)?, EVENTS_PER_FRAME)?)?;
            self.made = Some((dir, log.reopened()?));
        }
        self.made.as_ref().map(|(_, log)| log).ok_or_else(|| anyhow::anyhow!("made just now"))
    }
}

impl Row for Replay {
    fn name(&self) -> &'static str {
        "replay from zero"
    }

    fn reference_name(&self) -> &'static str {
        "scan + decode of the log"
    }

    fn goal(&self) -> f64 {
        0.7
    }

    fn limit(&self) -> &'static str {
        "decoding, which both do; beyond it, persistent maps that copy a path for each change"
    }

    fn reference(&mut self) -> Result<f64> {
        let events = self.events;
        let log = self.log()?;
        let mut found = 0;
        let took = seconds(|| {
            each_frame(&log.log, |frame| {
                for event in frame.events() {
                    black_box(event?);
                    found += 1;
                }
                Ok(())
            })
        })?;
        ensure!(found == events, "{found} of {events} events were read");
        Ok(count(events) / took)
    }

    fn work(&mut self) -> Result<f64> {
        let events = count(self.events);
        let log = self.log()?;
        let took = seconds(|| fold(&log.log, |_| ()).map(|views| drop(black_box(views))))?;
        self.details.push(format!("{:.0} events/s", events / took));
        Ok(events / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }
}
