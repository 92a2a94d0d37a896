//! Secrets: what programs need to know and nobody else may. A value is sealed under a key of its own from the moment it
//! is read from a request, is a new version each time it is written, and leaves only when it is revealed, which is an
//! event, or read by a program through `ctx`.
//!
//! Deleting keeps the keys, so what is deleted comes back; so does deleting the environment around it. Destroying removes
//! them and is final.

pub mod command;
pub mod described;
mod description;
mod due;
pub mod event;
pub mod http;
pub mod import;
pub mod listing;
pub mod projection;
pub mod promotion;
mod restore;
pub mod value;
pub mod values;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where a secret's values are sealed.
pub fn value_field(stream: StreamId, secret: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::Secret, resource_id: secret, field: "value" }
}
