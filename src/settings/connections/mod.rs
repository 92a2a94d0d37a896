//! Connections: access to somebody's account elsewhere, for programs that read it at run time through `ctx`. A token or a
//! name with a password that somebody has, or what a person consents to on a provider's page, sent there by an OAuth app.
//!
//! All of a connection is sealed under a key of its own, which goes with it. Of what a provider hands out, access tokens reach
//! programs and refresh tokens nobody; both are asked for by `oauth/`, which is told here what became of that.

pub mod command;
pub mod connection;
pub mod event;
pub mod granting;
pub mod http;
pub mod linking;
pub mod projection;
pub mod value;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where one of a connection's credentials is sealed: `credential`, `access_token` or `refresh_token`.
pub fn credential_field<'a>(stream: StreamId, connection: &'a str, field: &'a str) -> SealedField<'a> {
    SealedField { stream, resource_type: ResourceType::Connection, resource_id: connection, field }
}

/// What a token, or a name with a password, is sealed as.
pub const CREDENTIAL: &str = "credential";
/// What an access token is sealed as.
pub const ACCESS_TOKEN: &str = "access_token";
/// What a refresh token is sealed as.
pub const REFRESH_TOKEN: &str = "refresh_token";
