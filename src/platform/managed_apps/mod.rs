//! Managed OAuth apps: the operator's own registrations at providers, one a provider, which every organization may have
//! people connect through without registering anything. What they are is the operator's alone to see.
//!
//! They are reached over the operator's socket, in `http/operator_oauth.rs`.

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

pub mod command;
pub mod event;
pub mod projection;

/// Where a managed app's client secret is sealed.
pub fn client_secret_field(provider: &str) -> SealedField<'_> {
    SealedField {
        stream: StreamId::Platform,
        resource_type: ResourceType::ManagedOauthApp,
        resource_id: provider,
        field: "client_secret",
    }
}
