//! What happens to connections.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{ConnectionId, CustomerId, DataKeyId, EnvironmentId, OauthAppId};
use crate::seal::{Commitment, Sealed};
use crate::settings::connections::value::{AppRef, Kind};
use crate::settings::secrets::value::Scope;

/// The action of a token that was refreshed, or was not.
pub const TOKEN_REFRESH: &str = "credential.token_refresh";

events! {
    /// Connections and their credentials.
    pub enum ConnectionsEvent {
        /// A connection was made, with its credential, or for somebody to consent to.
        "connection.create", 1 => ConnectionCreated(ConnectionCreated);
        /// Somebody consented, and the provider handed out tokens.
        "connection.connect", 1 => ConnectionConnected(ConnectionConnected);
        /// A connection was renamed, or given another credential.
        "connection.update", 1 => ConnectionUpdated(ConnectionUpdated);
        /// Somebody is asked to consent again.
        "connection.reconnect", 1 => ConnectionReconnected(ConnectionReconnected);
        /// A connection was ended.
        "connection.revoke", 1 => ConnectionRevoked(ConnectionRevoked) destroys destroyed_keys;
        /// Somebody asked for another access token before it was due.
        "connection.refresh", 1 => ConnectionRefreshAsked(ConnectionRefreshAsked);
        /// The provider handed out another access token. That it did not is recorded under the same action, as a failure.
        "credential.token_refresh", 1 => TokenRefreshed(TokenRefreshed);
    }
}

/// The link by which somebody comes to consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectLink {
    /// SHA-256 of its token.
    #[schema(value_type = String)]
    pub token: Commitment,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// A connection was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionCreated {
    /// The connection.
    pub connection: ConnectionId,
    /// What is kept of it.
    pub kind: Kind,
    /// The name that programs find it by.
    pub name: String,
    /// The environment that it belongs to.
    pub environment: EnvironmentId,
    /// The customer that it belongs to, in that environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The key that all of it is sealed under.
    pub key: DataKeyId,
    /// Its credential; absent where somebody has to consent first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Sealed>,
    /// The app that people are asked as, where it is the organization's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_app: Option<OauthAppId>,
    /// The provider, where people are asked as the operator's app of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The link by which somebody comes to consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<ConnectLink>,
}

impl ConnectionCreated {
    /// Where it belongs.
    pub fn scope(&self) -> Scope {
        match self.customer {
            None => Scope::Environment(self.environment),
            Some(customer) => Scope::Customer(self.environment, customer),
        }
    }

    /// As whom people are asked to consent; nobody is, of one that has its credential.
    pub fn app(&self) -> Option<AppRef> {
        self.oauth_app.map(AppRef::Own).or_else(|| self.provider.clone().map(AppRef::Managed))
    }
}

/// What a provider handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The number of the credential.
    pub credential_version: u64,
    /// What programs use.
    pub access_token: Sealed,
    /// What another access token is had for; absent where the one before stays, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Sealed>,
    /// When the access token ends; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it is to be refreshed; absent where it cannot be, or need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_at: Option<Timestamp>,
    /// Which of what was asked for was granted, where the provider says that, and where it is not what it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// Somebody consented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionConnected {
    /// The connection.
    pub connection: ConnectionId,
    /// What the provider handed out.
    pub tokens: Tokens,
}

/// A connection was changed; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionUpdated {
    /// The connection.
    pub connection: ConnectionId,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number of its new credential; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_version: Option<u64>,
    /// Its new credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Sealed>,
}

/// Somebody is asked to consent again; what there is stays until they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionReconnected {
    /// The connection.
    pub connection: ConnectionId,
    /// The link by which they come; the one before is void.
    pub link: ConnectLink,
}

/// A connection was ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRevoked {
    /// The connection.
    pub connection: ConnectionId,
    /// The key that went with it.
    pub destroyed_keys: Vec<DataKeyId>,
}

/// The provider handed out another access token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRefreshed {
    /// The connection.
    pub connection: ConnectionId,
    /// What the provider handed out.
    pub tokens: Tokens,
}

/// Somebody asked for another access token; what came of that is recorded by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRefreshAsked {
    /// The connection.
    pub connection: ConnectionId,
}
