//! A durable write over HTTP, held against the ideal group commit.
//!
//! With `c` connections, a server that answers `n` no-op requests a second and a disk that syncs `f` times a second,
//! the best that one can do is to let all `c` requests share one sync: `c / (c/n + 1/f)` writes a second.

use std::rc::Rc;

use anyhow::Result;

use super::load::{BEARER, Body, Request, load};
use super::reference::syncs_per_second;
use super::server::Servers;
use super::{Length, ONE, Peer, Row};
use crate::mix::generate::Size;

/// The length of the value that is set; its event has some 600 bytes as JSON.
pub const VALUE_BYTES: usize = 152;
/// What is sent to Settled and to the no-op.
pub const BODY: Body = Body { template: r#"{"value": "%v"}"#, value_bytes: VALUE_BYTES };

/// An organization for each connection, with a history of its own.
const MANY: Size = Size { events: 64_000, organizations: 64 };

/// Sets configuration values.
pub struct DurableWrite {
    servers: Rc<Servers>,
    connections: u32,
    size: Size,
    length: Length,
    /// Each load sets other values than the one before.
    seed: u32,
    /// Of the newest reference: no-op requests and syncs a second.
    noops_per_second: f64,
    syncs_per_second: f64,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl DurableWrite {
    /// From so many connections, to one organization.
    pub fn new(servers: &Rc<Servers>, connections: u32, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        Self {
            servers: Rc::clone(servers),
            connections,
            size: ONE,
            length,
            seed: connections * 100_000,
            noops_per_second: 0.0,
            syncs_per_second: 0.0,
            details: Vec::new(),
            peers,
        }
    }

    /// From 64 connections, to 64 organizations.
    pub fn to_many(servers: &Rc<Servers>, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        Self { size: MANY, ..Self::new(servers, 64, length, peers) }
    }

    /// The time that an ideal group commit takes, in seconds.
    fn ideal_seconds(&self) -> f64 {
        f64::from(self.connections) / self.noops_per_second + 1.0 / self.syncs_per_second
    }
}

impl Row for DurableWrite {
    fn name(&self) -> &'static str {
        match (self.connections, self.size.organizations) {
            (1, _) => "durable write, 1 connection",
            (_, 1) => "durable write, 64 connections, one organization",
            _ => "durable write, 64 connections, 64 organizations",
        }
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

    fn limit(&self) -> &'static str {
        match (self.connections, self.size.organizations) {
            (1, _) => {
                "the engine writes twice for a commit, its own record and the sync, and a request passes three \
                 threads: the connection's, the writer's, and back"
            }
            (_, 1) => {
                "one writer thread decides, packs, hashes and settles a batch while no other is synced: the engine \
                 can lose a store otherwise"
            }
            _ => "as with one organization, and a frame, a hash and a published state for each of the 64",
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let request = Request {
            method: "POST",
            base: self.servers.noop()?.base(),
            paths: vec!["/noop/%d".to_owned()],
            header: BEARER,
            tokens: self.servers.settled(self.size)?.tokens(),
            body: Some(BODY),
        };
        self.noops_per_second = load(&request, self.connections, self.length.seconds(), 1)?.per_second;
        self.syncs_per_second = syncs_per_second(VALUE_BYTES, f64::from(self.length.seconds()) / 2.0)?;
        Ok(f64::from(self.connections) / self.ideal_seconds())
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let server = self.servers.settled(self.size)?;
        let request = Request {
            method: "PUT",
            base: server.base(),
            paths: vec!["/v1/environments/production/config/SETTING_%d".to_owned()],
            header: BEARER,
            tokens: server.tokens(),
            body: Some(BODY),
        };
        let measured = load(&request, self.connections, self.length.seconds(), self.seed)?;
        self.details.push(format!(
            "{:.0} writes/s, {} of at most {:.2}; n {:.0}/s, a sync {:.0} µs",
            measured.per_second,
            measured.times(),
            3e3 * self.ideal_seconds(),
            self.noops_per_second,
            1e6 / self.syncs_per_second,
        ));
        Ok(measured.per_second)
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
