//! What programs read with their keys, held against the server's own no-op route, and against each other.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};

use super::load::{KEY, Load, Request, load};
use super::programs::{FEW, MANY, Programmed};
use super::server::Servers;
use super::{Length, Peer, Row};
use crate::mix::words;

const CONNECTIONS: u32 = 64;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// All of an environment with ten secrets.
    Environment,
    /// The same with the tag of what it is: nothing but that it is unchanged.
    Unchanged,
    /// One of ten secrets.
    Secret,
    /// One of ten thousand secrets.
    SecretOfMany,
}

/// What a read is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The route that reads nothing.
    Noop,
    /// Another read, which it is to be about as fast as.
    Read(What),
}

/// Reads one thing, over and over, with one key.
pub struct Ctx {
    servers: Rc<Servers>,
    what: What,
    against: Against,
    length: Length,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl Ctx {
    /// Held against something, beside others who read as much.
    pub fn new(
        servers: &Rc<Servers>,
        what: What,
        against: Against,
        length: Length,
        peers: Vec<Box<dyn Peer>>,
    ) -> Self {
        Self { servers: Rc::clone(servers), what, against, length, details: Vec::new(), peers }
    }

    fn read(&self, what: What) -> Result<Load> {
        let programs = self.servers.programs()?;
        let whole = format!("/v1/ctx?environment={}", FEW.0);
        match what {
            What::Environment => self.load(&programs, whole, Vec::new()),
            What::Unchanged => {
                let tag = tag(&programs, &whole)?;
                self.load(&programs, whole, vec![tag])
            }
            What::Secret => self.load(&programs, secret(FEW), Vec::new()),
            What::SecretOfMany => self.load(&programs, secret(MANY), Vec::new()),
        }
    }

    fn load(&self, programs: &Programmed, path: String, headers: Vec<String>) -> Result<Load> {
        let tokens = vec![programs.key.clone()];
        let request =
            Request { header: KEY, headers, ..Request::get(programs.server.base(), vec![path], tokens) };
        load(&request, CONNECTIONS, self.length.seconds(), 0)
    }
}

/// Where one secret of an environment is read: one in the middle, by its number.
fn secret((slug, secrets): (&str, usize)) -> String {
    format!("/v1/ctx/secrets/{}?environment={slug}", words::secret(secrets / 2))
}

/// The header that asks for what changed since now, and is answered that nothing did.
fn tag(programs: &Programmed, path: &str) -> Result<String> {
    let key = format!("{KEY}{}", programs.key);
    let answer = programs.server.get(path, std::slice::from_ref(&key))?;
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: "));
    let header = format!("if-none-match: {}", tag.with_context(|| format!("there is no tag: {answer}"))?);
    let again = programs.server.get(path, &[key, header.clone()])?;
    ensure!(again.starts_with("HTTP/1.1 304"), "it is not unchanged: {again}");
    Ok(header)
}

impl Row for Ctx {
    fn name(&self) -> &'static str {
        match (self.what, self.against) {
            (What::Environment, _) => "ctx with 10 secrets, 64 connections",
            (What::Unchanged, Against::Noop) => "ctx unchanged (304), 64 connections",
            (What::Unchanged, Against::Read(_)) => "ctx unchanged (304) beside ctx with 10 secrets",
            (What::Secret, _) => "ctx, one of 10 secrets, 64 connections",
            (What::SecretOfMany, _) => "ctx, one of 10,000 secrets, 64 connections",
        }
    }

    fn reference_name(&self) -> &'static str {
        match self.against {
            Against::Noop => "GET /v1/version",
            Against::Read(What::Environment | What::Unchanged) => "ctx with 10 secrets",
            Against::Read(What::Secret | What::SecretOfMany) => "ctx, one of 10 secrets",
        }
    }

    fn goal(&self) -> f64 {
        match (self.against, self.what) {
            (Against::Noop, _) => 0.7,
            (Against::Read(_), What::Unchanged) => 1.0,
            (Against::Read(_), _) => 0.9,
        }
    }

    fn limit(&self) -> &'static str {
        match self.what {
            What::Environment | What::Secret => {
                "HTTP itself, as for every read; what is beyond the no-op is the key's hash and look-up, its status, \
                 address and grant, and that the read is counted"
            }
            What::Unchanged => "as with the body, which costs little beside the rest",
            What::SecretOfMany => "the look-up by name in a larger map, and the caches of the processor",
        }
    }

    fn reference(&mut self) -> Result<f64> {
        let measured = match self.against {
            Against::Noop => self.load(&*self.servers.programs()?, "/v1/version".to_owned(), Vec::new())?,
            Against::Read(what) => self.read(what)?,
        };
        Ok(measured.per_second)
    }

    fn work(&mut self) -> Result<f64> {
        let measured = self.read(self.what)?;
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
        Ok(self.servers.programs()?.server.process())
    }
}
