//! A customer as it was, with what it has and where: what its history is told from, and what a repeated request about it
//! meets. Of all others nothing is read, however many there are.

use std::sync::Arc;

use crate::event::{Event, Recorded, Version};
use crate::history::description::Focus;
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, State, View};

/// The customer that an event is about, or about something of.
pub fn customer_of(event: &Recorded) -> Option<CustomerId> {
    match &event.event {
        Event::Customers(_) | Event::CustomerData(_) => event.resource.id.parse().ok(),
        Event::Executions(event) => Some(event.customer()),
        _ => None,
    }
}

impl Store {
    /// What an organization was as of a version, as far as a customer is concerned: the customer, its documents,
    /// secrets, connections and limits, and the environments. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn customer_as_of(
        &self,
        handle: &Handle,
        view: &View,
        version: Version,
        customer: CustomerId,
    ) -> Result<Organization, HistoryError> {
        let focus = Focus::Resource(customer.to_string());
        Ok(Organization {
            general: self.area_as_of(handle, view, version, &Focus::All)?,
            environments: self.area_as_of(handle, view, version, &Focus::All)?,
            customers: self.area_as_of(handle, view, version, &focus)?,
            customer_data: self.area_as_of(handle, view, version, &focus)?,
            secrets: self.area_as_of(handle, view, version, &focus)?,
            connections: self.area_as_of(handle, view, version, &focus)?,
            billing: self.area_as_of(handle, view, version, &focus)?,
            ..Organization::default()
        })
    }

    /// What a request that is repeated meets as of a version: where its last event, at `told`, is about a customer, as far
    /// as that customer is concerned, else the whole organization. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn met_as_of(
        &self,
        handle: &Handle,
        version: Version,
        told: Version,
    ) -> Result<Arc<View>, HistoryError> {
        let view = handle.view();
        let event = self.recorded(handle, &view, &[told])?.pop();
        let Some(customer) = event.as_ref().and_then(customer_of) else { return self.as_of(handle, version) };
        let organization = self.customer_as_of(handle, &view, version, customer)?;
        let mut past = View::empty(handle.stream());
        past.head.version = version;
        past.state = State::Organization(Arc::new(organization));
        Ok(Arc::new(past))
    }
}
