//! The newest 50 rows of the audit log that match a filter, with their total, held against the server's no-op route.

use std::rc::Rc;

use anyhow::Result;
use settled::clock::Timestamp;

use super::load::{Load, Request, load};
use super::server::{Server, Servers, now};
use super::{Length, Peer, Row};
use crate::mix::generate::Size;

/// Audit pages make a server work so long that more connections would only wait for each other.
pub const CONNECTIONS: u32 = 16;
/// How much history the cost of a page is compared with.
const SHORT: Size = Size { events: 10_000, organizations: 1 };
/// How many different requests are sent in turn.
pub const DIFFERENT: usize = 48;
/// The actions that are asked for in turn, frequent and rare ones.
pub const ACTIONS: &[&str] = &["config.set", "auth.login", "config.delete", "role_assignment.create"];
/// The outcomes that are asked for in turn.
pub const OUTCOMES: &[&str] = &["success", "denied"];

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// One who acted.
    User,
    /// One action within a week.
    ActionAndWeek,
    /// One who acted, one action, one outcome.
    UserActionOutcome,
}

/// One request's filter.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who acted.
    pub user: Option<String>,
    /// The action.
    pub action: Option<&'static str>,
    /// The outcome.
    pub outcome: Option<&'static str>,
    /// Since when and until when.
    pub within: Option<(Timestamp, Timestamp)>,
}

impl Filter {
    /// The requests that are sent in turn, over the year that ends now; among these people.
    pub fn asked(self, people: &[String]) -> Vec<Asked> {
        let end = now();
        let ask = |number: usize| {
            let user = people.get(number % people.len().max(1)).cloned();
            let action = ACTIONS[number % ACTIONS.len()];
            let outcome = OUTCOMES[number / ACTIONS.len() % OUTCOMES.len()];
            let week = 7 * 24 * 3_600 * i64::try_from(number).unwrap_or_default();
            let until = end.plus_seconds(-week);
            let within = (until.plus_seconds(-7 * 24 * 3_600), until);
            match self {
                Self::User => Asked { user, action: None, outcome: None, within: None },
                Self::ActionAndWeek => {
                    Asked { user: None, action: Some(action), outcome: None, within: Some(within) }
                }
                Self::UserActionOutcome => {
                    Asked { user, action: Some(action), outcome: Some(outcome), within: None }
                }
            }
        };
        (0..DIFFERENT).map(ask).collect()
    }

    /// The filter in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "by user",
            Self::ActionAndWeek => "by action and a week",
            Self::UserActionOutcome => "by user, action and outcome",
        }
    }
}

impl Asked {
    /// As the query of a URL.
    pub fn query(&self) -> String {
        let mut query = "limit=50".to_owned();
        for (name, value) in [
            ("user", self.user.clone()),
            ("action", self.action.map(str::to_owned)),
            ("outcome", self.outcome.map(str::to_owned)),
            ("from", self.within.map(|(from, _)| from.to_string())),
            ("to", self.within.map(|(_, to)| to.to_string())),
        ] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={value}"));
            }
        }
        query
    }
}

fn pages(server: &Server, filter: Filter, length: Length) -> Result<Load> {
    let first = server.first()?;
    let people: Vec<_> = first.known.people.iter().map(ToString::to_string).collect();
    let paths = filter.asked(&people).iter().map(|asked| format!("/v1/audit?{}", asked.query())).collect();
    let request = Request::get(server.base(), paths, vec![first.token.clone()]);
    load(&request, CONNECTIONS, length.seconds(), 0)
}

/// Asks for pages of a long history, against the no-op.
pub struct AuditPage {
    servers: Rc<Servers>,
    filter: Filter,
    size: Size,
    length: Length,
    details: Vec<String>,
    peers: Vec<Box<dyn Peer>>,
}

impl AuditPage {
    /// Through a filter, over so many events, beside others who answer the same.
    pub fn new(
        servers: &Rc<Servers>,
        filter: Filter,
        events: u64,
        length: Length,
        peers: Vec<Box<dyn Peer>>,
    ) -> Self {
        let size = Size { events, organizations: 1 };
        Self { servers: Rc::clone(servers), filter, size, length, details: Vec::new(), peers }
    }
}

impl Row for AuditPage {
    fn name(&self) -> &'static str {
        match self.filter {
            Filter::User => "audit page by user",
            Filter::ActionAndWeek => "audit page by action and a week",
            Filter::UserActionOutcome => "audit page by user, action and outcome",
        }
    }

    fn reference_name(&self) -> &'static str {
        "GET /v1/version"
    }

    fn goal(&self) -> f64 {
        0.15
    }

    fn limit(&self) -> &'static str {
        "a page is fifty events read from the log, unpacked, joined with names and written as JSON; finding them is \
         the lesser part"
    }

    fn reference(&mut self) -> Result<f64> {
        let server = self.servers.settled(self.size)?;
        let token = server.first()?.token.clone();
        let request = Request::get(server.base(), vec!["/v1/version".to_owned()], vec![token]);
        Ok(load(&request, CONNECTIONS, self.length.seconds(), 0)?.per_second)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.servers.settled(self.size)?;
        let measured = pages(&server, self.filter, self.length)?;
        self.details.push(format!("{:.0} pages/s, {}", measured.per_second, measured.times()));
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

/// Asks for pages of a long history, against those of a short one.
pub struct AuditAtSize {
    servers: Rc<Servers>,
    size: Size,
    length: Length,
    details: Vec<String>,
}

impl AuditAtSize {
    /// Over so many events.
    pub fn new(servers: &Rc<Servers>, events: u64, length: Length) -> Self {
        let size = Size { events, organizations: 1 };
        Self { servers: Rc::clone(servers), size, length, details: Vec::new() }
    }

    fn pages(&mut self, size: Size) -> Result<f64> {
        let server = self.servers.settled(size)?;
        let measured = pages(&server, Filter::UserActionOutcome, self.length)?;
        self.details.push(format!("{} events: {:.0} pages/s", size.events, measured.per_second));
        Ok(measured.per_second)
    }
}

impl Row for AuditAtSize {
    fn name(&self) -> &'static str {
        "audit page over a long history"
    }

    fn reference_name(&self) -> &'static str {
        "the same over 10,000 events"
    }

    fn goal(&self) -> f64 {
        0.5
    }

    fn limit(&self) -> &'static str {
        "what a filter touches of each 65,536 events, though it shows fifty"
    }

    fn reference(&mut self) -> Result<f64> {
        self.pages(SHORT)
    }

    fn work(&mut self) -> Result<f64> {
        self.pages(self.size)
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
    fn a_filter_asks_for_what_it_is_named_after() {
        let people = ["usr_a".to_owned(), "usr_b".to_owned()];
        let first = |filter: Filter| filter.asked(&people)[1].query();
        assert_eq!(first(Filter::User), "limit=50&user=usr_b");
        assert_eq!(first(Filter::UserActionOutcome), "limit=50&user=usr_b&action=auth.login&outcome=success");
        let week = first(Filter::ActionAndWeek);
        assert!(week.starts_with("limit=50&action=auth.login&from=20"), "{week}");
        let asked = Filter::ActionAndWeek.asked(&people);
        let (from, to) = asked[0].within.unwrap();
        assert_eq!(to.seconds_since(from), 7 * 24 * 3_600);
    }
}
