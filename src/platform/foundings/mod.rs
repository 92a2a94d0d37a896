//! Foundings: an organization comes to be in two streams. The intent stands here, with the pair of account and
//! person; its second half is the organization's first events; then the intent is closed. Open ones are finished
//! at start.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where the name of an organization being founded is sealed, under its founder's account key.
pub fn name_field(organization: &str) -> SealedField<'_> {
    SealedField {
        stream: StreamId::Platform,
        resource_type: ResourceType::Organization,
        resource_id: organization,
        field: "name",
    }
}
