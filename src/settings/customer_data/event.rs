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
        "customer_data.set", 2 => DocumentSet(DocumentSet);
        /// A document was deleted.
        "customer_data.delete", 2 => DocumentDeleted(DocumentDeleted);
    }
}

impl CustomerDataEvent {
    /// Whose document it is.
    pub fn customer(&self) -> CustomerId {
        match self {
            Self::DocumentSet(set) => set.customer,
            Self::DocumentDeleted(deleted) => deleted.customer,
        }
    }

    /// What the document is found by.
    pub fn document(&self) -> &str {
        match self {
            Self::DocumentSet(set) => &set.document,
            Self::DocumentDeleted(deleted) => &deleted.document,
        }
    }

    /// The document's key, under the customer's.
    pub fn key(&self) -> Option<&Sealed> {
        match self {
            Self::DocumentSet(set) => set.key.as_ref(),
            Self::DocumentDeleted(deleted) => deleted.key.as_ref(),
        }
    }
}

/// A document was written, or is again what it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentSet {
    /// The customer.
    pub customer: CustomerId,
    /// What the document is found by: the blind id of its key, or the key itself where it was first written under schema 1.
    pub document: String,
    /// The document's key, under the customer's; absent where it was first written under schema 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sealed>,
    /// What it says.
    pub content: Content,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// This: canonical JSON, under the customer's key.
    Value(Sealed),
    /// What the event of this version has, where it came back as it was.
    Recorded(Version),
}

impl Content {
    /// What it says, where it is this.
    pub fn into_value(self) -> Option<Sealed> {
        match self {
            Self::Value(sealed) => Some(sealed),
            Self::Recorded(_) => None,
        }
    }
}

/// A document was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentDeleted {
    /// The customer.
    pub customer: CustomerId,
    /// What the document is found by, as where it was written.
    pub document: String,
    /// The document's key, under the customer's; absent where it was first written under schema 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sealed>,
}
