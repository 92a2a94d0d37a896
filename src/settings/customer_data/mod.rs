//! Customers' documents: JSON that programs keep for a customer, by key, sealed under the customer's key. The state holds
//! which there are and where they were recorded; what they say is in the log alone.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
mod restore;
pub mod value;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where a document is sealed: its place names the customer and, as `path`, [`path_of`] its key.
pub fn field<'a>(stream: StreamId, customer: &'a str, path: &'a str) -> SealedField<'a> {
    SealedField { stream, resource_type: ResourceType::CustomerData, resource_id: customer, field: path }
}

/// The path of a document with a key: one under another key does not open.
pub fn path_of(key: &str) -> String {
    format!("value/{key}")
}
