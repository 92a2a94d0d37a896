//! People: who belongs to the organization. Names and addresses are sealed under each person's own key and stay
//! sealed in the projection; they are opened only to be shown.

pub mod command;
pub mod event;
pub mod http;
pub mod joining;
pub mod projection;
pub mod standing;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{Plain, SealedField};
use crate::settings::people::projection::Person;

/// What somebody who was erased is called.
pub const ERASED: &str = "erased person";

/// Where a person's name is sealed.
pub fn name_field(stream: StreamId, person: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::Person, resource_id: person, field: "name" }
}

/// Where a person's e-mail address is sealed.
pub fn email_field(stream: StreamId, person: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::Person, resource_id: person, field: "email" }
}

/// A person's name.
///
/// # Errors
/// When their key is not to be had.
pub fn open_name(stream: StreamId, person: &Person, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(stream, person.key, person.commitment)?;
    Ok(key.open(&name_field(stream, &person.id.to_string()), &person.name)?)
}

/// A person's e-mail address.
///
/// # Errors
/// When their key is not to be had.
pub fn open_email(stream: StreamId, person: &Person, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(stream, person.key, person.commitment)?;
    Ok(key.open(&email_field(stream, &person.id.to_string()), &person.email)?)
}
