//! General: the organization's own settings. Its name, time zone and e-mail domain, and what happens to people
//! whose address is in that domain.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
pub mod value;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where a reason is sealed: in the stream, under the organization's key. It belongs to the event that names it.
pub fn reason_field(stream: StreamId, organization: &str) -> SealedField<'_> {
    SealedField {
        stream,
        resource_type: ResourceType::Organization,
        resource_id: organization,
        field: "reason",
    }
}
