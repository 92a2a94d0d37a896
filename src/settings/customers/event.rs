//! What happens to customers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{CustomerId, DataKeyId};
use crate::seal::Sealed;

events! {
    /// The customers of an organization.
    pub enum CustomersEvent {
        /// A customer came to be, or came back after being deleted.
        "customer.create", 1 => CustomerCreated(CustomerCreated);
        /// Something of a customer is another.
        "customer.update", 1 => CustomerUpdated(CustomerUpdated);
        /// Programs read nothing for a customer until they are let again.
        "customer.suspend", 1 => CustomerSuspended(CustomerNamed);
        /// Programs read for a suspended customer again.
        "customer.reactivate", 1 => CustomerReactivated(CustomerNamed);
        /// A customer was deleted. What was sealed stayed, to be brought back.
        "customer.delete", 1 => CustomerDeleted(CustomerNamed);
        /// A customer is forgotten.
        "customer.erase", 1 => CustomerErased(CustomerErased) destroys destroyed_keys;
    }
}

impl CustomersEvent {
    /// Who is no customer from here on.
    pub fn departed(&self) -> Option<CustomerId> {
        match self {
            Self::CustomerDeleted(deleted) => Some(deleted.customer),
            Self::CustomerErased(erased) => Some(erased.customer),
            Self::CustomerCreated(_)
            | Self::CustomerUpdated(_)
            | Self::CustomerSuspended(_)
            | Self::CustomerReactivated(_) => None,
        }
    }
}

/// A customer came to be. All of it is sealed under the customer's own key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerCreated {
    /// The customer.
    pub customer: CustomerId,
    /// The customer's data key.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// Its name.
    pub name: Sealed,
    /// The id that others know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Sealed>,
    /// Its tags, as the text of one JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Sealed>,
    /// What else is noted of it, as the text of one JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Sealed>,
    /// Whether it is suspended, as one that comes back may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// The field of a customer that no two of an organization have the same of.
pub const EXTERNAL_ID: &str = "external_id";
/// The fields that a customer may lack, by the names that a change clears them by.
pub const OPTIONAL: [&str; 3] = [EXTERNAL_ID, "tags", "metadata"];

/// Something of a customer is another; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerUpdated {
    /// The customer.
    pub customer: CustomerId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Sealed>,
    /// The new id that others know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Sealed>,
    /// Its tags from now on, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Sealed>,
    /// What else is noted of it from now on, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Sealed>,
    /// Names of fields that were cleared: `external_id`, `tags`, `metadata`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}

impl CustomerUpdated {
    /// A change of nothing yet.
    pub fn of(customer: CustomerId) -> Self {
        Self { customer, name: None, external_id: None, tags: None, metadata: None, cleared: Vec::new() }
    }

    /// What it gives the fields of [`OPTIONAL`], in their order.
    pub fn optional(&self) -> [&Option<Sealed>; 3] {
        [&self.external_id, &self.tags, &self.metadata]
    }

    /// All that it seals.
    pub fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        self.optional().into_iter().chain([&self.name]).flatten()
    }

    /// Whether a field was cleared.
    pub fn clears(&self, field: &str) -> bool {
        self.cleared.iter().any(|cleared| cleared == field)
    }
}

/// A customer, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerNamed {
    /// The customer.
    pub customer: CustomerId,
}

/// A customer is forgotten: what was sealed under its key, or under one of what it had, is gone with the keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerErased {
    /// The customer.
    pub customer: CustomerId,
    /// The keys that were destroyed: the customer's, and those of its secrets.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}
