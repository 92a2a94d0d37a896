//! The memory that many API keys cost a server that holds all of them ready, held against 40 MiB.

use std::cell::OnceCell;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};

use super::Row;
use super::load::BEARER;
use super::memory::MIB;
use super::server::{Server, Servers};
use crate::mix::generate::Size;

/// How many keys.
const KEYS: usize = 100_000;
/// What they may take.
const ALLOWED_BYTES: f64 = 40.0 * MIB;
/// Two organizations, since one has room for so many and no more.
const SIZE: Size = Size { events: 2_000, organizations: 2 };

/// Looks at a server with keys and at one without them.
pub struct KeysMemory {
    servers: Rc<Servers>,
    both: OnceCell<[Server; 2]>,
    details: Vec<String>,
}

impl KeysMemory {
    /// Starts nothing yet.
    pub fn new(servers: &Rc<Servers>) -> Self {
        Self { servers: Rc::clone(servers), both: OnceCell::new(), details: Vec::new() }
    }

    /// The one without keys, and the one with them.
    fn both(&self) -> Result<&[Server; 2]> {
        if let Some(both) = self.both.get() {
            return Ok(both);
        }
        let both = [self.servers.with_keys(SIZE, 0)?, self.servers.with_keys(SIZE, KEYS)?];
        Ok(self.both.get_or_init(|| both))
    }
}

/// The memory of a server that was started anew and has every organization loaded.
fn loaded_bytes(server: &Server) -> Result<f64> {
    server.restart()?;
    for token in server.tokens() {
        let answer = server.get("/v1/api-keys?limit=1", &[format!("{BEARER}{token}")])?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the keys are not listed: {answer}");
    }
    server.resident_bytes()
}

impl Row for KeysMemory {
    fn name(&self) -> &'static str {
        "resident memory of 100,000 API keys"
    }

    fn reference_name(&self) -> &'static str {
        "40 MiB"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "an entry of the directory for each key, and the key itself in its organization's state, both in maps"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / ALLOWED_BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        let [without, with] = self.both()?;
        let (without, with) = (loaded_bytes(without)?, loaded_bytes(with)?);
        self.details.push(format!("{:.1} MiB beyond {:.1} MiB", (with - without) / MIB, without / MIB));
        // Less than nothing would be a measurement that failed.
        let cost = (with > without).then_some(with - without).context("keys cost nothing")?;
        Ok(1.0 / cost)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.both()?[1].process())
    }
}
