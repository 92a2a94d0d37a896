//! Reading a setting over HTTP, held against the server's own no-op route.

use std::rc::Rc;

use anyhow::Result;

use super::load::{Load, Request, load};
use super::server::Servers;
use super::{Length, Row};

const CONNECTIONS: u32 = 64;

/// Reads one route, over and over.
pub struct Read {
    servers: Rc<Servers>,
    name: &'static str,
    path: &'static str,
    length: Length,
    details: Vec<String>,
}

impl Read {
    /// The organization's general settings.
    pub fn general(servers: &Rc<Servers>, length: Length) -> Self {
        Self::of("read general, 64 connections", "/v1/general", servers, length)
    }

    /// One configuration value.
    pub fn config_value(servers: &Rc<Servers>, length: Length) -> Self {
        let path = "/v1/environments/bench/config/SETTING_0";
        Self::of("read a config value, 64 connections", path, servers, length)
    }

    fn of(name: &'static str, path: &'static str, servers: &Rc<Servers>, length: Length) -> Self {
        Self { servers: Rc::clone(servers), name, path, length, details: Vec::new() }
    }

    fn load(&self, path: &str) -> Result<Load> {
        let server = self.servers.settled()?;
        let token = Some(server.token());
        let request = Request { method: "GET", url: server.url(path), token, value_bytes: None };
        load(&request, CONNECTIONS, self.length.seconds(), 0)
    }
}

impl Row for Read {
    fn name(&self) -> &'static str {
        self.name
    }

    fn reference_name(&self) -> &'static str {
        "GET /v1/version"
    }

    fn goal(&self) -> f64 {
        0.7
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(self.load("/v1/version")?.per_second)
    }

    fn work(&mut self) -> Result<f64> {
        let measured = self.load(self.path)?;
        let ms = measured.p99.as_secs_f64() * 1e3;
        self.details.push(format!("{:.0} reads/s, p99 {ms:.2} ms", measured.per_second));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
