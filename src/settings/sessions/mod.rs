//! Sessions: who is logged in. A session belongs to one organization and stands in its stream, or to none and
//! stands in the platform's; both streams fold this same area.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where the address that a session was opened from is sealed, under its holder's key.
pub fn ip_field(stream: StreamId, session: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::Session, resource_id: session, field: "ip" }
}

/// Where the user agent that a session was opened with is sealed, under its holder's key.
pub fn user_agent_field(stream: StreamId, session: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::Session, resource_id: session, field: "user_agent" }
}
