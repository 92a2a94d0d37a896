//! Starting over a long history of many organizations, held against starting over next to none.

use std::rc::Rc;

use anyhow::Result;

use super::server::Servers;
use super::{ONE, Row};
use crate::mix::generate::Size;

/// What a start may take beyond twice that of an empty store.
const BEYOND_SECONDS: f64 = 0.1;

/// Stops a server cleanly, and starts it until it says that it is ready.
pub struct Start {
    servers: Rc<Servers>,
    size: Size,
    details: Vec<String>,
}

impl Start {
    /// Over a store of a size.
    pub fn new(servers: &Rc<Servers>, size: Size) -> Self {
        Self { servers: Rc::clone(servers), size, details: Vec::new() }
    }
}

impl Row for Start {
    fn name(&self) -> &'static str {
        "start-up, 1,000 organizations"
    }

    fn reference_name(&self) -> &'static str {
        "twice a start-up with 1,000 events, and 100 ms"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "what a start reads: opening the engine's pages, and folding what is not in a file of derived state"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / (2.0 * self.servers.settled(ONE)?.restart()? + BEYOND_SECONDS))
    }

    fn work(&mut self) -> Result<f64> {
        let took = self.servers.settled(self.size)?.restart()?;
        self.details.push(format!("{:.0} ms", took * 1e3));
        Ok(1.0 / took)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(self.size)?.process())
    }
}
