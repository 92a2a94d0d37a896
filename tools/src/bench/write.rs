//! A durable write over HTTP, held against the ideal group commit.
//!
//! With `c` connections, a server that answers `n` no-op requests a second and a disk that syncs `f` times a second,
//! the best that one can do is to let all `c` requests share one sync: `c / (c/n + 1/f)` writes a second.

use std::rc::Rc;

use anyhow::Result;

use super::load::{BEARER, Body, Request, load};
use super::reference::syncs_per_second;
use super::server::{Server, Servers};
use super::{Length, ONE, Peer, Row};
use crate::mix::generate::Size;

/// The length of the value that is set; its event has some 600 bytes as JSON.
pub const VALUE_BYTES: usize = 152;
/// What is sent to Settled and to the no-op.
pub const BODY: Body = Body { template: r#"{"value": "%v"}"#, value_bytes: VALUE_BYTES };

/// What makes an API key, about as long as the other; a name is no longer than this.
const KEY_BODY: Body = Body { template: r#"{"name": "%v", "mode": "live"}"#, value_bytes: 100 };

/// An organization for each connection, with a history of its own.
const MANY: Size = Size { events: 64_000, organizations: 64 };

/// Organizations in which keys are made, one after the other: none has room for all.
const KEYED: Size = Size { events: 6_400, organizations: 64 };

/// The secrets that are written: each keeps a thousand values and no more.
const SECRETS: usize = 1_000;

/// What sets configuration values in every organization of a server.
pub fn values(server: &Server) -> Request {
    Request {
        method: "PUT",
        base: server.base(),
        paths: vec!["/v1/environments/production/config/SETTING_%d".to_owned()],
        header: BEARER,
        tokens: server.tokens(),
        headers: Vec::new(),
        body: Some(BODY),
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Configuration values are set.
    Value,
    /// Secrets get new values.
    Secret,
    /// API keys are made.
    Key,
}

/// Writes one kind of thing.
pub struct DurableWrite {
    servers: Rc<Servers>,
    what: What,
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
            what: What::Value,
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

    /// Of what programs use, from 64 connections, to one organization.
    pub fn of(servers: &Rc<Servers>, what: What, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        Self { what, ..Self::new(servers, 64, length, peers) }
    }

    fn body(&self) -> Body {
        match self.what {
            What::Value | What::Secret => BODY,
            What::Key => KEY_BODY,
        }
    }

    /// The request to the real server that writes.
    fn request(&self) -> Result<Request> {
        let body = Some(self.body());
        let to = |server: &Server, method, paths, tokens| {
            let base = server.base();
            Request { method, base, paths, header: BEARER, tokens, headers: Vec::new(), body }
        };
        Ok(match self.what {
            What::Value => values(&*self.servers.settled(self.size)?),
            What::Secret => {
                let programs = self.servers.programs()?;
                let paths = programs.secrets.iter().take(SECRETS).map(|id| format!("/v1/secrets/{id}"));
                to(&programs.server, "PATCH", paths.collect(), programs.server.tokens())
            }
            What::Key => {
                let server = self.servers.settled(KEYED)?;
                let mut tokens = server.tokens();
                let token = tokens.swap_remove(self.seed as usize % KEYED.organizations);
                to(&server, "POST", vec!["/v1/api-keys".to_owned()], vec![token])
            }
        })
    }

    /// The time that an ideal group commit takes, in seconds.
    fn ideal_seconds(&self) -> f64 {
        f64::from(self.connections) / self.noops_per_second + 1.0 / self.syncs_per_second
    }
}

impl Row for DurableWrite {
    fn name(&self) -> &'static str {
        match (self.what, self.connections, self.size.organizations) {
            (What::Secret, ..) => "durable write of a secret, 64 connections",
            (What::Key, ..) => "durable creation of an API key, 64 connections",
            (What::Value, 1, _) => "durable write, 1 connection",
            (What::Value, _, 1) => "durable write, 64 connections, one organization",
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
        match (self.what, self.connections, self.size.organizations) {
            (What::Secret, ..) => {
                "as with configuration; and a data key is drawn, wrapped and kept for each value, which is sealed"
            }
            (What::Key, ..) => {
                "as with configuration; and the key is drawn, hashed, entered in the directory, and answered whole"
            }
            (What::Value, 1, _) => {
                "the engine writes twice for a commit, its own record and the sync, and a request passes three \
                 threads: the connection's, the writer's, and back"
            }
            (What::Value, _, 1) => {
                "one writer thread decides, packs, hashes and settles a batch while no other is synced: the engine \
                 can lose a store otherwise"
            }
            _ => "as with one organization, and a frame, a hash and a published state for each of the 64",
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let tokens = self.request()?.tokens;
        let request = Request {
            method: "POST",
            base: self.servers.noop()?.base(),
            paths: vec!["/noop/%d".to_owned()],
            header: BEARER,
            tokens,
            headers: Vec::new(),
            body: Some(self.body()),
        };
        self.noops_per_second = load(&request, self.connections, self.length.seconds(), 1)?.per_second;
        self.syncs_per_second =
            syncs_per_second(self.body().value_bytes, f64::from(self.length.seconds()) / 2.0)?;
        Ok(f64::from(self.connections) / self.ideal_seconds())
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let measured = load(&self.request()?, self.connections, self.length.seconds(), self.seed)?;
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
        Ok(match self.what {
            What::Value => self.servers.settled(self.size)?.process(),
            What::Secret => self.servers.programs()?.server.process(),
            What::Key => self.servers.settled(KEYED)?.process(),
        })
    }
}
