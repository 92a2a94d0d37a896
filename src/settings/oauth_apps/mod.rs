//! OAuth apps: as whom the organization asks people to connect. An app is registered at a provider, of the catalogue
//! (`oauth/providers.toml`) or of the organization's own, whose URLs it then names.
//!
//! The client secret is sealed under a key of its own each time it is written, and leaves only for the provider's token URL:
//! whoever changes a URL has to say the secret again, so that nobody has one sent to where they please; and the connections that
//! were made by way of the URLs before fail, for their tokens are to go nowhere else, either.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
mod restore;
pub mod value;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where an app's client secret is sealed.
pub fn client_secret_field(stream: StreamId, app: &str) -> SealedField<'_> {
    SealedField { stream, resource_type: ResourceType::OauthApp, resource_id: app, field: "client_secret" }
}
