//! Reading settings over HTTP, held against the server's own no-op route.

use std::rc::Rc;

use anyhow::{Context as _, Result};

use super::load::{Load, Request, load};
use super::server::{Server, Servers};
use super::{Length, ONE, Peer, Row};

const CONNECTIONS: u32 = 64;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The organization's general settings.
    General,
    /// One configuration value.
    Value,
    /// A page of an environment's configuration.
    List,
}

/// Reads one route, over and over.
pub struct Read {
    servers: Rc<Servers>,
    what: What,
    length: Length,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl Read {
    /// Of one kind, beside others who answer the same.
    pub fn new(servers: &Rc<Servers>, what: What, length: Length, peers: Vec<Box<dyn Peer>>) -> Self {
        Self { servers: Rc::clone(servers), what, length, details: Vec::new(), peers }
    }

    fn path(&self, server: &Server) -> Result<String> {
        let (slug, keys) = server.first()?.known.environments.first().context("there is an environment")?;
        Ok(match self.what {
            What::General => "/v1/general".to_owned(),
            What::Value => {
                let key = keys.first().context("there is a value")?;
                format!("/v1/environments/{slug}/config/{key}")
            }
            What::List => format!("/v1/environments/{slug}/config?limit=50"),
        })
    }

    fn load(&self, server: &Server, path: String) -> Result<Load> {
        let token = server.first()?.token.clone();
        let request = Request::get(server.base(), vec![path], vec![token]);
        load(&request, CONNECTIONS, self.length.seconds(), 0)
    }
}

impl Row for Read {
    fn name(&self) -> &'static str {
        match self.what {
            What::General => "read general, 64 connections",
            What::Value => "read a config value, 64 connections",
            What::List => "read a page of config, 64 connections",
        }
    }

    fn reference_name(&self) -> &'static str {
        "GET /v1/version"
    }

    fn goal(&self) -> f64 {
        // A page of values is so many bytes more than the no-op's answer that it is shown, and held to nothing.
        if self.what == What::List { 0.0 } else { 0.7 }
    }

    fn limit(&self) -> &'static str {
        match self.what {
            What::General | What::Value => {
                "HTTP itself: parsing the request, the layers around every route and the socket's calls are most of \
                 both routes; what is beyond the no-op is the token's hash, the look-up, the grant and the body"
            }
            What::List => "making the JSON of fifty values, and sending it",
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let server = self.servers.settled(ONE)?;
        Ok(self.load(&server, "/v1/version".to_owned())?.per_second)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.servers.settled(ONE)?;
        let measured = self.load(&server, self.path(&server)?)?;
        self.details.push(format!("{:.0} reads/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn peers(&mut self) -> &mut [Box<dyn Peer>] {
        &mut self.peers
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(ONE)?.process())
    }
}
