//! The memory of a server that serves many organizations, while it does, held against 200 MiB.

use std::rc::Rc;

use anyhow::Result;

use super::load::{Request, load};
use super::server::Servers;
use super::write::values;
use super::{Length, Peer, Row};
use crate::mix::generate::Size;

/// Bytes of a mebibyte.
pub(super) const MIB: f64 = 1_048_576.0;
/// What it may take.
const ALLOWED_BYTES: f64 = 200.0 * MIB;

/// Reads and writes in every organization, and looks at the process in between.
pub struct Memory {
    servers: Rc<Servers>,
    size: Size,
    length: Length,
    seed: u32,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl Memory {
    /// Over a store of a size, beside others who hold as much.
    pub fn new(servers: &Rc<Servers>, size: Size, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        Self { servers: Rc::clone(servers), size, length, seed: 7_000, details: Vec::new(), peers }
    }
}

impl Row for Memory {
    fn name(&self) -> &'static str {
        "resident memory under load, 1,000 organizations"
    }

    fn reference_name(&self) -> &'static str {
        "200 MiB"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "the engine's cache, the states of the organizations in memory, and what the allocator keeps"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / ALLOWED_BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let server = self.servers.settled(self.size)?;
        let reads = Request::get(
            server.base(),
            ["/v1/general", "/v1/environments", "/v1/environments/production/config?limit=50"]
                .map(str::to_owned)
                .into(),
            server.tokens(),
        );
        let writes = values(&server);
        let (seconds, seed) = (self.length.seconds(), self.seed);
        let ((), highest) = server.highest_resident_bytes(|| {
            load(&reads, 64, seconds, seed).and_then(|_| load(&writes, 64, seconds, seed)).map(drop)
        })?;
        self.details.push(format!("{:.0} MiB", highest / MIB));
        Ok(1.0 / highest)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(self.size)?.process())
    }
}
