//! What 100,000 customers and 1,000,000 executions of one organization cost: lists, searches and filters, one customer's
//! executions, and memory.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use settled::ids::CustomerId;

use super::history::SEED;
use super::load::{BEARER, KEY, Load, Request, load};
use super::memory::MIB;
use super::programs::FEW;
use super::server::{Server, Servers};
use super::{Length, ONE, Row, count};
use crate::mix::customers::{Customers, external_id};
use crate::mix::programs::Programs;

/// What the figures in `BENCHMARKS.md` are about.
const WHOLE: Customers = Customers { customers: 100_000, executions: 1_000_000 };
/// How many programs read at once.
const CONNECTIONS: u32 = 64;
/// What one customer may take in memory, in bytes.
const CUSTOMER_BYTES: f64 = 1_536.0;

/// A server over a store of one organization with many customers.
pub struct Served {
    /// The server.
    pub server: Server,
    /// One of its customers, which has a secret of its own.
    pub customer: CustomerId,
    /// A key for the environment in which it has that.
    pub key: String,
}

impl Served {
    /// Fills a store and starts a server over it.
    ///
    /// # Errors
    /// When the store cannot be filled, or the server does not start.
    pub fn start(binary: &Path, size: Customers) -> Result<Self> {
        let (server, (customer, key)) = Server::filled(binary, ONE, async |open, organizations| {
            let organization = organizations.first().context("there is one")?;
            let made = size.gather(open, organization, SEED).await?;
            let programs = Programs::of(open, organization).await?;
            programs.environment(FEW.0, FEW.1).await?;
            programs.customers_secret(FEW.0, made.customer).await?;
            let keys = programs.keys(1).await?;
            Ok((made.customer, keys.first().context("a key was made")?.expose().to_owned()))
        })?;
        Ok(Self { server, customer, key })
    }
}

/// How many there are, so that a quick run fills a store in less than a minute.
fn size(length: Length) -> Customers {
    Customers { customers: length.of(WHOLE.customers), executions: length.of(WHOLE.executions) }
}

/// What is asked of an organization with many customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A page of customers.
    List,
    /// Whose name or external id has a text in it.
    Search,
    /// By a tag, a status, an external id.
    Filter,
    /// A page of one customer's executions.
    Executions,
    /// Those of them that failed.
    Failed,
}

/// One answer at a time, held against 20 ms.
pub struct ManyCustomers {
    servers: Rc<Servers>,
    what: What,
    length: Length,
    details: Vec<String>,
}

impl ManyCustomers {
    /// Of one kind.
    pub fn new(servers: &Rc<Servers>, what: What, length: Length) -> Self {
        Self { servers: Rc::clone(servers), what, length, details: Vec::new() }
    }

    /// What is asked for, each with how many things an answer has at least and at most.
    fn asked(&self, customer: CustomerId) -> Vec<(String, RangeInclusive<usize>)> {
        let customers = size(self.length).customers;
        let last = customers - 1;
        let executions = format!("/v1/customers/{customer}/executions");
        let page = |limit: usize| limit.min(customers)..=limit.min(customers);
        match self.what {
            What::List => {
                vec![
                    ("/v1/customers".to_owned(), page(50)),
                    ("/v1/customers?limit=200".to_owned(), page(200)),
                ]
            }
            // Nobody, so that everybody is looked at; the last one by name, and by external id.
            What::Search => vec![
                ("/v1/customers?q=nobody".to_owned(), 0..=0),
                (format!("/v1/customers?q=Customer%20{last}%20"), 1..=1),
                (format!("/v1/customers?q={}", external_id(last)), 1..=1),
            ],
            What::Filter => vec![
                ("/v1/customers?tag.plan=plan-3&tag.region=region-8".to_owned(), 1..=50),
                ("/v1/customers?tag.plan=none".to_owned(), 0..=0),
                ("/v1/customers?status=suspended".to_owned(), 0..=0),
                (format!("/v1/customers?external_id={}", external_id(last)), 1..=1),
            ],
            What::Executions => {
                vec![(executions.clone(), 1..=50), (format!("{executions}?status=running"), 0..=0)]
            }
            What::Failed => vec![(format!("{executions}?status=failed"), 0..=50)],
        }
    }

    /// Where it is asked, once each answer was seen to be what it is to be.
    fn paths(&self, served: &Served, token: &str) -> Result<Vec<String>> {
        let asked = self.asked(served.customer);
        for (path, count) in &asked {
            let answer = served.server.get(path, &[format!("{BEARER}{token}")])?;
            let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
            let page: Value = serde_json::from_str(body).with_context(|| answer.clone())?;
            let found = page["data"].as_array().with_context(|| answer.clone())?.len();
            ensure!(count.contains(&found), "{path} answers with {found} things");
        }
        Ok(asked.into_iter().map(|(path, _)| path).collect())
    }
}

impl Row for ManyCustomers {
    fn name(&self) -> &'static str {
        match self.what {
            What::List => "a page of 100,000 customers",
            What::Search => "a search among 100,000 customers",
            What::Filter => "100,000 customers by tag, status and external id",
            What::Executions => "one customer's executions of 1,000,000",
            What::Failed => "one customer's failed executions of 1,000,000",
        }
    }

    fn reference_name(&self) -> &'static str {
        "20 ms median"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        match self.what {
            What::List => "opening what is sealed of each that is shown",
            What::Search | What::Filter => {
                "reading the text of all of them, which were opened by the first search"
            }
            What::Executions | What::Failed => {
                "the index of each 65,536 events, of which as many are in memory as fit"
            }
        }
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / 0.020)
    }

    fn work(&mut self) -> Result<f64> {
        let served = self.servers.with_customers(size(self.length))?;
        let token = served.server.first()?.token.clone();
        let paths = self.paths(&served, &token)?;
        let request = Request::get(served.server.base(), paths, vec![token]);
        let measured = load(&request, 1, self.length.seconds(), 0)?;
        self.details.push(measured.times());
        Ok(1.0 / measured.p50.as_secs_f64().max(1e-6))
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.with_customers(size(self.length))?.server.process())
    }
}

/// What a program reads for one of many customers, held against the server's own no-op route.
pub struct CustomersCtx {
    servers: Rc<Servers>,
    length: Length,
    details: Vec<String>,
}

impl CustomersCtx {
    /// Over the same store as the lists.
    pub fn new(servers: &Rc<Servers>, length: Length) -> Self {
        Self { servers: Rc::clone(servers), length, details: Vec::new() }
    }

    fn load(&self, path: impl Fn(&Served) -> String) -> Result<Load> {
        let served = self.servers.with_customers(size(self.length))?;
        let (path, key) = (path(&served), served.key.clone());
        let answer = served.server.get(&path, &[format!("{KEY}{key}")])?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "nothing is read: {answer}");
        let request = Request { header: KEY, ..Request::get(served.server.base(), vec![path], vec![key]) };
        load(&request, CONNECTIONS, self.length.seconds(), 0)
    }
}

impl Row for CustomersCtx {
    fn name(&self) -> &'static str {
        "ctx of one of 100,000 customers, 64 connections"
    }

    fn reference_name(&self) -> &'static str {
        "GET /v1/version"
    }

    fn goal(&self) -> f64 {
        0.7
    }

    fn limit(&self) -> &'static str {
        "as ctx without a customer, and the look-up of the customer and of its secrets"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(self.load(|_| "/v1/version".to_owned())?.per_second)
    }

    fn work(&mut self) -> Result<f64> {
        let measured =
            self.load(|served| format!("/v1/ctx?environment={}&customer={}", FEW.0, served.customer))?;
        self.details.push(format!("{:.0} reads/s, {}", measured.per_second, measured.times()));
        Ok(measured.per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.with_customers(size(self.length))?.server.process())
    }
}

/// The memory that each customer costs a server that has searched among them.
pub struct CustomersMemory {
    servers: Rc<Servers>,
    length: Length,
    both: OnceCell<[Served; 2]>,
    details: Vec<String>,
}

impl CustomersMemory {
    /// Starts nothing yet.
    pub fn new(servers: &Rc<Servers>, length: Length) -> Self {
        Self { servers: Rc::clone(servers), length, both: OnceCell::new(), details: Vec::new() }
    }

    /// The one with a single customer, and the one with many; without executions.
    fn both(&self) -> Result<&[Served; 2]> {
        if let Some(both) = self.both.get() {
            return Ok(both);
        }
        let of = |customers| self.servers.customers_apart(Customers { customers, executions: 0 });
        let both = [of(1)?, of(size(self.length).customers)?];
        Ok(self.both.get_or_init(|| both))
    }
}

/// The memory of a server that was started anew and has looked for one of its customers.
fn searched_bytes(served: &Served) -> Result<f64> {
    served.server.restart()?;
    let token = &served.server.first()?.token;
    for path in ["/v1/customers?q=nobody", "/v1/customers?external_id=nobody"] {
        let answer = served.server.get(path, &[format!("{BEARER}{token}")])?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "customers are not listed: {answer}");
    }
    served.server.resident_bytes()
}

impl Row for CustomersMemory {
    fn name(&self) -> &'static str {
        "resident memory of a customer, of 100,000"
    }

    fn reference_name(&self) -> &'static str {
        "1.5 KiB"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "four sealed values of at least 65 bytes, an entry of each map, and the text that a search reads"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / CUSTOMER_BYTES)
    }

    fn work(&mut self) -> Result<f64> {
        let [one, many] = self.both()?;
        let (without, with) = (searched_bytes(one)?, searched_bytes(many)?);
        // Less than nothing would be a measurement that failed.
        let cost = (with > without).then_some(with - without).context("customers cost nothing")?;
        let each = cost / count(size(self.length).customers);
        self.details.push(format!("{each:.0} bytes each beyond {:.1} MiB", without / MIB));
        Ok(1.0 / each)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.both()?[1].server.process())
    }
}
