//! etcd, over its HTTP/JSON gateway: a client over gRPC would save it a translation within the process.

use std::cell::OnceCell;
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use super::child::{Running, free_address};
use crate::bench::load::{BEARER, Body, Request, load};
use crate::bench::write::VALUE_BYTES;
use crate::bench::{Length, Peer, scratch};

/// The one node, started when it is first asked for.
#[derive(Default)]
pub(super) struct Shared {
    running: OnceCell<Running>,
}

impl Shared {
    fn running(&self) -> Result<&Running> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let dir = scratch()?;
        let (clients, peers) = (free_address()?, free_address()?);
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(dir.path().join("data"));
        let (clients_url, peers_url) = (format!("http://{clients}"), format!("http://{peers}"));
        etcd.args(["--listen-client-urls", &clients_url, "--advertise-client-urls", &clients_url]);
        etcd.args(["--listen-peer-urls", &peers_url, "--initial-advertise-peer-urls", &peers_url]);
        etcd.args(["--initial-cluster", &format!("default={peers_url}"), "--log-level", "warn"]);
        let running = Running::start(etcd, clients, dir)?;
        Ok(self.running.get_or_init(|| running))
    }
}

/// `SETTING_` and a value, both as base64: digits and letters are, as long as there are multiples of four.
const BODY: Body = Body { template: r#"{"key": "U0VUVElOR18=", "value": "%v"}"#, value_bytes: VALUE_BYTES };

/// Puts one key.
pub(super) struct Write {
    shared: Rc<Shared>,
    connections: u32,
    length: Length,
    seed: u32,
    details: Vec<String>,
}

impl Write {
    pub(super) fn new(shared: &Rc<Shared>, connections: u32, length: Length) -> Self {
        Self { shared: Rc::clone(shared), connections, length, seed: 0, details: Vec::new() }
    }
}

impl Peer for Write {
    fn name(&self) -> &str {
        "etcd (HTTP gateway)"
    }

    fn work(&mut self) -> Result<f64> {
        self.seed += 1;
        let request = Request {
            method: "POST",
            base: format!("http://{}", self.shared.running()?.address),
            paths: vec!["/v3/kv/put".to_owned()],
            header: BEARER,
            tokens: Vec::new(),
            headers: Vec::new(),
            body: Some(BODY),
        };
        let measured = load(&request, self.connections, self.length.seconds(), self.seed)?;
        self.details.push(format!("{:.0} writes/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }
}
