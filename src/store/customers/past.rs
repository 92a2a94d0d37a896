//! A customer as it was, with what it has and where: what its history is told from, and what a repeated request about it
//! meets. Of all others nothing is read, however many there are.

use crate::area::Fold as _;
use crate::event::Version;
use crate::history::description::Focus;
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::settings::billing::projection::Billing;
use crate::settings::connections::projection::Connections;
use crate::settings::customer_data::projection::CustomerData;
use crate::settings::customers::projection::Customers;
use crate::settings::environments::projection::Environments;
use crate::settings::general::projection::General;
use crate::settings::secrets::projection::Secrets;
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// The areas that have something of a customer.
const OF_CUSTOMERS: &[&str] =
    &[Customers::NAME, CustomerData::NAME, Secrets::NAME, Connections::NAME, Billing::NAME];

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
        self.settings_as_of(handle, view, version, &|name, _| match name {
            General::NAME | Environments::NAME => Some(Focus::All),
            name if OF_CUSTOMERS.contains(&name) => Some(Focus::Resource(customer.to_string())),
            _ => None,
        })
    }
}
