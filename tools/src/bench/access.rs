//! What access costs in an organization of 200 roles, 500 teams and 10,000 people: letting a request in, and the lists.

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::ActorId;
use settled::settings::roles::permission::Permission;
use settled::store::resident::{Handle, View};
use settled::store::rights::KnownRights;

use super::history::SEED;
use super::load::{Request, load};
use super::server::{Server, Servers, now};
use super::{Length, Row, count, seconds};
use crate::mix::crowd::CROWD;
use crate::mix::dice::Dice;
use crate::mix::generate::{Filled, beginning, fill};
use crate::mix::store::OpenStore;

/// The share of a read's time that authorising it may take.
const SHARE: f64 = 0.03;
/// How many requests are let in, a measurement.
const REQUESTS: usize = 2_000_000;
/// After so many the rights of somebody change, and everybody's are computed anew.
const REQUESTS_PER_CHANGE: usize = 100_000;

/// Letting requests of everybody in, held against reads of a configuration value over HTTP.
pub struct Authorise {
    servers: Rc<Servers>,
    length: Length,
    view: Option<Arc<View>>,
    details: Vec<String>,
}

impl Authorise {
    /// In this process, beside reads of a server.
    pub fn new(servers: &Rc<Servers>, length: Length) -> Self {
        Self { servers: Rc::clone(servers), length, view: None, details: Vec::new() }
    }

    fn view(&mut self) -> Result<Arc<View>> {
        if let Some(view) = &self.view {
            return Ok(Arc::clone(view));
        }
        let end = now();
        let open = OpenStore::in_memory(beginning(end))?;
        let filled = fill(&open, super::ONE, SEED, end)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let view = runtime.block_on(gather(&open, &filled))?.view();
        open.close()?;
        self.view = Some(Arc::clone(&view));
        Ok(view)
    }
}

/// Lets the first organization of a store grow large.
async fn gather(open: &OpenStore, organizations: &[Filled]) -> Result<Arc<Handle>> {
    CROWD.gather(open, organizations.first().context("there is one")?, SEED).await
}

/// A server over a store of one large organization.
///
/// # Errors
/// When the store cannot be filled, or the server does not start.
pub fn crowded(binary: &Path) -> Result<Server> {
    Ok(Server::filled(binary, super::ONE, gather)?.0)
}

impl Row for Authorise {
    fn name(&self) -> &'static str {
        "authorising a request, 10,000 people"
    }

    fn reference_name(&self) -> &'static str {
        "reads of a config value, each by 3 %"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "finding what is known of somebody; computing it once after a change is some thousand times as much"
    }

    fn reference(&mut self) -> Result<f64> {
        let server = self.servers.settled(super::ONE)?;
        let filled = server.first()?;
        let (slug, keys) = filled.known.environments.first().context("there is an environment")?;
        let path = format!("/v1/environments/{slug}/config/{}", keys.first().context("there is a value")?);
        let request = Request::get(server.base(), vec![path], vec![filled.token.clone()]);
        Ok(load(&request, 64, self.length.seconds(), 0)?.per_second / SHARE)
    }

    fn work(&mut self) -> Result<f64> {
        let view = self.view()?;
        let people: Vec<ActorId> =
            view.organization().people.iter().map(|person| ActorId::Person(person.id)).collect();
        let (mut dice, requests) = (Dice::new(SEED), self.length.of(REQUESTS));
        let mut known = KnownRights::default();
        let took = seconds(|| {
            for request in 0..requests {
                if request % REQUESTS_PER_CHANGE == 0 {
                    known = KnownRights::default();
                }
                let actor = people[dice.below(people.len())];
                black_box(known.of(view.organization(), actor).allows(Permission::ConfigRead));
            }
            Ok::<(), anyhow::Error>(())
        })?;
        let per_second = count(requests) / took;
        self.details.push(format!("{per_second:.0}/s"));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(super::ONE)?.process())
    }
}

/// What is asked of a large organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// What each role allows.
    Matrix,
    /// A page of roles, of teams, of assignments.
    Lists,
    /// Who may do something.
    Everybody,
    /// Whose name or address has a text in it.
    Search,
}

/// One answer at a time, held against 20 ms.
pub struct LargeOrganization {
    servers: Rc<Servers>,
    what: What,
    length: Length,
    details: Vec<String>,
}

impl LargeOrganization {
    /// Of one kind.
    pub fn new(servers: &Rc<Servers>, what: What, length: Length) -> Self {
        Self { servers: Rc::clone(servers), what, length, details: Vec::new() }
    }

    fn paths(&self) -> Vec<String> {
        let paths: &[&str] = match self.what {
            What::Matrix => &["/v1/roles/matrix"],
            What::Lists => &[
                "/v1/people?limit=200",
                "/v1/roles?limit=200",
                "/v1/teams?limit=200",
                "/v1/role-assignments?limit=200",
            ],
            What::Everybody => &[
                "/v1/access/explain?permission=organization:own",
                "/v1/access/explain?permission=config:read",
            ],
            // Nobody, so that everybody is looked at; one by name, and one by address.
            What::Search => &["/v1/people?q=nobody", "/v1/people?q=Person%207777", "/v1/people?q=p5555@"],
        };
        paths.iter().map(|path| (*path).to_owned()).collect()
    }
}

impl Row for LargeOrganization {
    fn name(&self) -> &'static str {
        match self.what {
            What::Matrix => "the matrix of 200 roles",
            What::Lists => "lists of people, roles, teams and assignments, 10,000 people",
            What::Everybody => "who may, of 10,000 people",
            What::Search => "a search among 10,000 people",
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
            What::Matrix | What::Lists => "making the JSON of it, and sending it",
            What::Everybody => "computing what each of them was given, until a page is full",
            What::Search => "comparing each name and address, which were opened by the first search",
        }
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / 0.020)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.servers.crowded()?;
        let token = server.first()?.token.clone();
        let request = Request::get(server.base(), self.paths(), vec![token]);
        let measured = load(&request, 1, self.length.seconds(), 0)?;
        self.details.push(measured.times());
        Ok(1.0 / measured.p50.as_secs_f64().max(1e-6))
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.crowded()?.process())
    }
}
