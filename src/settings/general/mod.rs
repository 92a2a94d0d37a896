//! General: the organization's own settings. Its name, time zone and e-mail domain, and what happens to people
//! whose address is in that domain.

pub mod command;
pub mod domain;
pub mod ending;
pub mod event;
pub mod http;
pub mod projection;
mod restore;
pub mod value;

use std::sync::Arc;

use crate::event::ResourceType;
use crate::ids::{DataKeyId, StreamId};
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{DataKey, SealedField};
use crate::settings::general::projection::General;

/// The name of the DNS TXT record that proves an e-mail domain: one of its own, so that it is in nobody's way.
pub fn challenge_name(domain: &str) -> String {
    format!("_settled-verification.{domain}")
}

/// The key of an organization itself, which seals what belongs to no person and no secret of it.
///
/// # Errors
/// When it is not to be had; that of an organization which was never founded is lost.
pub fn own_key(stream: StreamId, general: &General, ring: &KeyRing) -> Result<Arc<DataKey>, KeyError> {
    let founded = general.founded().ok_or(KeyError::Lost { stream, id: DataKeyId::min() })?;
    ring.data_key(stream, founded.key, founded.commitment)
}

/// Where a reason is sealed: in the stream, under the organization's key. It belongs to the event that names it.
pub fn reason_field(stream: StreamId, organization: &str) -> SealedField<'_> {
    SealedField {
        stream,
        resource_type: ResourceType::Organization,
        resource_id: organization,
        field: "reason",
    }
}
