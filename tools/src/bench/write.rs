//! A durable write over HTTP, held against the ideal group commit.
//!
//! With `c` connections, a server that answers `n` no-op requests a second and a disk that syncs `f` times a second,
//! the best that one can do is to let all `c` requests share one sync: `c / (c/n + 1/f)` writes a second.

use std::rc::Rc;

use anyhow::Result;

use super::load::{Request, load};
use super::server::{Servers, syncs_per_second};
use super::{Length, Row};

/// The length of the value that is set; its event has some 600 bytes as JSON.
const VALUE_BYTES: usize = 150;

/// Sets configuration values of one organization.
pub struct DurableWrite {
    servers: Rc<Servers>,
    connections: u32,
    name: &'static str,
    length: Length,
    /// Each load sets other values than the one before.
    seed: u32,
    /// Of the newest reference: no-op requests and syncs a second.
    noops_per_second: f64,
    syncs_per_second: f64,
    details: Vec<String>,
}

impl DurableWrite {
    /// From so many connections.
    pub fn new(servers: &Rc<Servers>, connections: u32, length: Length) -> Self {
        let name =
            if connections == 1 { "durable write, 1 connection" } else { "durable write, 64 connections" };
        Self {
            servers: Rc::clone(servers),
            connections,
            name,
            length,
            seed: connections * 100_000,
            noops_per_second: 0.0,
            syncs_per_second: 0.0,
            details: Vec::new(),
        }
    }

    /// The time that an ideal group commit takes, in seconds.
    fn ideal_seconds(&self) -> f64 {
        f64::from(self.connections) / self.noops_per_second + 1.0 / self.syncs_per_second
    }
}

impl Row for DurableWrite {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reference_name(&self) -> &'static str {
        "ideal group commit"
    }

    fn goal(&self) -> f64 {
        // What matters on a fast disk is the work beside the sync, and there is more of it for each sync of many.
        match (1.0 / self.syncs_per_second < 0.000_5, self.connections) {
            (true, 1) => 0.3,
            (true, _) => 0.4,
            (false, _) => 0.7,
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let server = self.servers.settled()?;
        let request = Request {
            method: "POST",
            url: self.servers.noop()?.url(),
            token: Some(server.token()),
            value_bytes: Some(VALUE_BYTES),
        };
        self.noops_per_second = load(&request, self.connections, self.length.seconds(), 1)?.per_second;
        self.syncs_per_second = syncs_per_second(VALUE_BYTES, f64::from(self.length.seconds()) / 2.0)?;
        Ok(f64::from(self.connections) / self.ideal_seconds())
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let server = self.servers.settled()?;
        let request = Request {
            method: "PUT",
            url: server.url("/v1/environments/bench/config/SETTING_%d"),
            token: Some(server.token()),
            value_bytes: Some(VALUE_BYTES),
        };
        let measured = load(&request, self.connections, self.length.seconds(), self.seed)?;
        self.details.push(format!(
            "{:.0} writes/s, p99 {:.2} ms of at most {:.2}; n {:.0}/s, a sync {:.0} µs",
            measured.per_second,
            measured.p99.as_secs_f64() * 1e3,
            3e3 * self.ideal_seconds(),
            self.noops_per_second,
            1e6 / self.syncs_per_second,
        ));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
