//! Customers' documents: JSON that programs keep for a customer, by key, both sealed under the customer's key. The state holds
//! which there are and where they were recorded; what they say is in the log alone.

pub mod command;
pub mod event;
pub mod http;
pub mod keys;
pub mod projection;
mod restore;
pub mod value;

use crate::event::ResourceType;
use crate::ids::{CustomerId, StreamId};
use crate::seal::{BlindName, DataKey, Plain, SealedField};

/// The label of blind ids of documents' keys.
const LABEL: &str = "document";

/// Where something of a document is sealed: its place names the customer and, as `path`, [`value_path`] or [`key_path`].
pub fn field<'a>(stream: StreamId, customer: &'a str, path: &'a str) -> SealedField<'a> {
    SealedField { stream, resource_type: ResourceType::CustomerData, resource_id: customer, field: path }
}

/// The path of what a document says, by what it is found by: as another document's it does not open.
pub fn value_path(document: &str) -> String {
    format!("value/{document}")
}

/// The path of a document's key, likewise.
pub fn key_path(document: &str) -> String {
    format!("key/{document}")
}

/// How a customer's document is recorded, by its key.
pub fn named(stream: StreamId, customer: CustomerId, under: &DataKey, key: &str) -> BlindName {
    let id = under.blind_id(LABEL, key);
    let (place, path) = (customer.to_string(), key_path(&id));
    let sealed = under.seal(&field(stream, &place, &path), &Plain::from(key));
    BlindName { id, sealed }
}
