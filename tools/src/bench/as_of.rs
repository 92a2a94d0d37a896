//! Reading what was, anywhere in a long history, held against the time that it may take.

use std::rc::Rc;

use anyhow::{Context as _, Result};

use super::load::{Request, load};
use super::server::{Server, Servers};
use super::{Length, Row};
use crate::mix::dice::Dice;
use crate::mix::generate::Size;

/// How many different points in the past are asked for in turn.
const POINTS: usize = 512;

/// What is read as of then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One configuration value.
    Value,
    /// All environments.
    List,
}

/// Reads at one connection, for the time of a single answer.
pub struct AsOf {
    servers: Rc<Servers>,
    what: What,
    size: Size,
    length: Length,
    details: Vec<String>,
}

impl AsOf {
    /// Over so many events of one organization.
    pub fn new(servers: &Rc<Servers>, what: What, events: u64, length: Length) -> Self {
        let size = Size { events, organizations: 1 };
        Self { servers: Rc::clone(servers), what, size, length, details: Vec::new() }
    }

    fn allowed_seconds(&self) -> f64 {
        match self.what {
            What::Value => 0.002,
            What::List => 0.010,
        }
    }

    fn paths(&self, server: &Server) -> Result<Vec<String>> {
        let (slug, keys) = server.first()?.known.environments.first().context("there is an environment")?;
        let path = match self.what {
            What::Value => {
                let key = keys.first().context("there is a value")?;
                format!("/v1/environments/{slug}/config/{key}")
            }
            What::List => "/v1/environments".to_owned(),
        };
        let versions = points(usize::try_from(self.size.events)?);
        Ok(versions.iter().map(|version| format!("{path}?as_of={version}")).collect())
    }
}

/// Versions over the later nine tenths of so many events: what is asked for was there by then.
fn points(events: usize) -> Vec<usize> {
    let mut dice = Dice::new(events as u64);
    (0..POINTS).map(|_| events / 10 + dice.below(events - events / 10)).collect()
}

impl Row for AsOf {
    fn name(&self) -> &'static str {
        match self.what {
            What::Value => "one value as of any version",
            What::List => "a list as of any version",
        }
    }

    fn reference_name(&self) -> &'static str {
        match self.what {
            What::Value => "2 ms median",
            What::List => "10 ms median",
        }
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        match self.what {
            What::Value => {
                "the events that mention the resource since the savepoint before, read from the log"
            }
            What::List => {
                "the section of the savepoint before, and the events since that change environments"
            }
        }
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / self.allowed_seconds())
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.servers.settled(self.size)?;
        let token = server.first()?.token.clone();
        let request = Request::get(server.base(), self.paths(&server)?, vec![token]);
        let measured = load(&request, 1, self.length.seconds(), 0)?;
        self.details.push(measured.times());
        // `wrk` shows times in steps of its own; a time of zero would be below them.
        Ok(1.0 / measured.p50.as_secs_f64().max(1e-6))
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(self.size)?.process())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_in_the_later_nine_tenths() {
        let points = points(1_000);
        assert_eq!(points.len(), POINTS);
        assert!(points.iter().all(|version| (100..1_000).contains(version)));
        assert!(points.iter().any(|version| *version < 200) && points.iter().any(|version| *version > 900));
    }
}
