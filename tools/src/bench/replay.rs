//! Replay from zero, held against reading and decoding the same events without applying them.

use std::hint::black_box;

use anyhow::{Result, ensure};
use settled::log::frame::Frame;
use settled::log::{EventLog as _, Position};
use settled::store::load::fold;

use super::append::count;
use super::events::Log;
use super::{Length, Row, scratch, seconds};

const EVENTS: usize = 64;

/// Folds a log of one organization.
pub struct Replay {
    batches: usize,
    made: Option<(tempfile::TempDir, Log)>,
    details: Vec<String>,
}

impl Replay {
    /// In logs of a size that takes about this long.
    pub fn new(length: Length) -> Self {
        Self { batches: length.of(3_000), made: None, details: Vec::new() }
    }

    fn events(&self) -> f64 {
        count(self.batches * EVENTS)
    }

    fn log(&mut self) -> Result<&Log> {
        if self.made.is_none() {
            let dir = scratch()?;
            let mut log = Log::create(dir.path())?;
            let frames = log.frames(self.batches, EVENTS)?;
            log.append(frames)?;
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

    fn reference(&mut self) -> Result<f64> {
        let events = self.events();
        let log = self.log()?;
        let mut found = 0;
        let took = seconds(|| -> Result<()> {
            let mut after = Position(0);
            loop {
                let frames = log.log.read(after)?;
                let Some((last, _)) = frames.last() else { return Ok(()) };
                after = *last;
                for (_, bytes) in frames {
                    for event in Frame::parse(bytes)?.events() {
                        black_box(event?);
                        found += 1;
                    }
                }
            }
        })?;
        ensure!((count(found) - events).abs() < 0.5, "{found} of {events} events were read");
        Ok(events / took)
    }

    fn work(&mut self) -> Result<f64> {
        let events = self.events();
        let log = self.log()?;
        let took = seconds(|| fold(&log.log, |_| ()).map(|views| drop(black_box(views))))?;
        self.details.push(format!("{:.0} events/s", events / took));
        Ok(events / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
