//! What happens to customers' documents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Version;
use crate::events;
use crate::ids::CustomerId;
use crate::seal::Sealed;

events! {
    /// Customers' documents.
    pub enum CustomerDataEvent {
        /// A document was written.
        "customer_data.set", 1 => DocumentSet(DocumentSet);
        /// A document was deleted.
        "customer_data.delete", 1 => DocumentDeleted(DocumentDeleted);
    }
}

/// A document was written, or is again what it was. It has one of `value` and `recorded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentSet {
    /// The customer.
    pub customer: CustomerId,
    /// The document's key.
    pub key: String,
    /// What it says, canonical JSON, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Sealed>,
    /// The version of the event that has what it says, where it came back as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Version>,
}

/// A document was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentDeleted {
    /// The customer.
    pub customer: CustomerId,
    /// The document's key.
    pub key: String,
}
