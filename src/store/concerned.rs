//! An organization as it was, as far as somebody needs it: of each area all, one thing, or nothing. Of areas that nobody asks
//! for nothing is read, however much they have.

use std::sync::Arc;

use crate::area::{Area, Fold as _};
use crate::event::{Event, Recorded, Version};
use crate::history::description::Focus;
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::settings::api_keys::projection::ApiKeys;
use crate::settings::connections::projection::Connections;
use crate::settings::customer_data::projection::CustomerData;
use crate::settings::customers::projection::Customers;
use crate::settings::environments::projection::Environments;
use crate::settings::general::projection::General;
use crate::settings::secrets::projection::Secrets;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, State, View};
use crate::store::{Replay, Store};

/// What of an area is needed, by its name and the actions that it reads; `None` where nothing is.
pub type Needed<'a> = dyn Fn(&str, &[&str]) -> Option<Focus> + 'a;

/// The most events of a repeated request that are looked at to tell what it was about.
const EVENTS_MAX: u64 = 64;
/// Areas of which an organization may have very many things: of these a repeated request meets those that it changed.
const OF_MANY: &[&str] = &[Secrets::NAME, ApiKeys::NAME, Connections::NAME];

impl Store {
    /// An organization as of a version, as far as it is needed. What stands beside its settings is left out. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn settings_as_of(
        &self,
        handle: &Handle,
        view: &View,
        version: Version,
        needed: &Needed<'_>,
    ) -> Result<Organization, HistoryError> {
        let reading = Reading { store: self, handle, view, version, needed };
        Ok(Organization {
            general: reading.area()?,
            people: reading.area()?,
            invitations: reading.area()?,
            join_requests: reading.area()?,
            teams: reading.area()?,
            roles: reading.area()?,
            api_keys: reading.area()?,
            environments: reading.area()?,
            customers: reading.area()?,
            customer_data: reading.area()?,
            secrets: reading.area()?,
            oauth_apps: reading.area()?,
            connections: reading.area()?,
            billing: reading.area()?,
            executions: Default::default(),
            sessions: Default::default(),
            requests: Default::default(),
            denials: Default::default(),
            exports: Default::default(),
            encryption_keys: Default::default(),
            revision: Default::default(),
            rights: Default::default(),
        })
    }

    /// What a request that is repeated meets as of a version: as far as it can have asked for it, which its events tell. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn met_as_of(
        &self,
        handle: &Handle,
        version: Version,
        replay: &Replay,
    ) -> Result<Arc<View>, HistoryError> {
        let view = handle.view();
        let versions: Vec<Version> = (replay.first..=replay.version).take(EVENTS_MAX as usize).collect();
        let events = self.recorded(handle, &view, &versions)?;
        let about = events.last().and_then(customer_of);
        let organization = match (about, events.last().map(|event| &event.event)) {
            (Some(customer), Some(Event::Executions(_))) => {
                self.for_executions(handle, &view, version, customer)?
            }
            (Some(customer), _) => self.customer_as_of(handle, &view, version, customer)?,
            (None, _) if replay.version - replay.first < EVENTS_MAX && are_of_areas(&events) => {
                self.settings_as_of(handle, &view, version, &|name, reads| asked_for(&events, name, reads))?
            }
            (None, _) => return self.as_of(handle, version),
        };
        let mut past = View::empty(handle.stream());
        past.head.version = version;
        past.state = State::Organization(Arc::new(organization));
        Ok(Arc::new(past))
    }

    /// What beginning and ending an execution needs. A customer who is still there was there, or nothing could have begun.
    fn for_executions(
        &self,
        handle: &Handle,
        view: &View,
        version: Version,
        customer: CustomerId,
    ) -> Result<Organization, HistoryError> {
        let (customers, focus) = (&view.organization().customers, Focus::Resource(customer.to_string()));
        let is_there = customers.get(customer).is_some();
        let mut met = self.settings_as_of(handle, view, version, &|name, _| match name {
            General::NAME | Environments::NAME => Some(Focus::All),
            Customers::NAME if !is_there => Some(focus.clone()),
            _ => None,
        })?;
        if is_there {
            met.customers = customers.narrowed(&focus);
        }
        Ok(met)
    }
}

/// The customer that an event is about, or about something of.
pub fn customer_of(event: &Recorded) -> Option<CustomerId> {
    match &event.event {
        Event::Customers(_) | Event::CustomerData(_) => event.resource.id.parse().ok(),
        Event::Executions(event) => Some(event.customer()),
        _ => None,
    }
}

/// Whether all that events change is in areas of settings.
fn are_of_areas(events: &[Recorded]) -> bool {
    let is_read =
        |event: &Recorded| Organization::AREAS.iter().any(|area| area.reads.contains(&event.event.action()));
    !events.is_empty() && events.iter().all(is_read)
}

/// What of an area a request with these events can have asked for: all of a small one; of what there may be very many, that
/// which it changed; and of customers the one that it names.
fn asked_for(events: &[Recorded], name: &str, reads: &[&str]) -> Option<Focus> {
    let only = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids.dedup();
        match ids.len() {
            0 => None,
            1 => ids.pop().map(Focus::Resource),
            _ => Some(Focus::All),
        }
    };
    if name == Customers::NAME {
        let named = events.iter().flat_map(Recorded::mentions).filter(|id| id.parse::<CustomerId>().is_ok());
        return only(named.map(|id| id.into_owned()).collect());
    }
    let concerned = events.iter().filter(|event| reads.contains(&event.event.action()));
    match name {
        CustomerData::NAME => None,
        name if OF_MANY.contains(&name) => only(concerned.map(|event| event.resource.id.clone()).collect()),
        _ => Some(Focus::All),
    }
}

/// A version of an organization that is read as far as it is needed.
struct Reading<'a> {
    store: &'a Store,
    handle: &'a Handle,
    view: &'a View,
    version: Version,
    needed: &'a Needed<'a>,
}

impl Reading<'_> {
    fn area<A: Area>(&self) -> Result<A, HistoryError> {
        match (self.needed)(A::NAME, A::READS) {
            Some(focus) => self.store.area_as_of(self.handle, self.view, self.version, &focus),
            None => Ok(A::default()),
        }
    }
}
