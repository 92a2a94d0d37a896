//! What happens to API keys, and that they are used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{ApiKeyId, ConnectionId, CustomerId, EnvironmentId, SecretId, SessionId};
use crate::seal::Sealed;
use crate::settings::api_keys::value::RateLimit;
use crate::settings::environments::event::Mode;
use crate::settings::roles::role::RoleRef;
use crate::settings::sessions::event::TokenHash;

events! {
    /// API keys.
    pub enum ApiKeysEvent {
        /// A key was made.
        "api_key.create", 1 => ApiKeyCreated(ApiKeyCreated);
        /// A key was renamed, disabled, enabled, or limited otherwise.
        "api_key.update", 1 => ApiKeyUpdated(ApiKeyUpdated);
        /// A key was revoked, for ever.
        "api_key.revoke", 1 => ApiKeyRevoked(ApiKeyRevoked);
        /// A key got a new value.
        "api_key.rotate", 1 => ApiKeyRotated(ApiKeyRotated);
        /// A key was used: the first time in an hour or from an address on a day, or so often in a minute.
        "api_key.use", 1 => ApiKeyUsed(ApiKeyUsed);
        /// A key was used to read secrets: the first time in an hour, or so often in a minute.
        "secret.read", 1 => SecretsRead(SecretsRead);
    }
}

/// A key was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyCreated {
    /// The key.
    pub key: ApiKeyId,
    /// Its name.
    pub name: String,
    /// Test or live.
    pub mode: Mode,
    /// Its role.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// SHA-256 of its value.
    #[schema(value_type = String)]
    pub token: TokenHash,
    /// The last four characters of its value.
    pub last4: String,
    /// The environments that it is limited to; absent for all of its mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<EnvironmentId>>,
    /// The customers that it is limited to; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customers: Option<Vec<CustomerId>>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The networks that it may be used from; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// A key was renamed, disabled, enabled, or limited otherwise; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyUpdated {
    /// The key.
    pub key: ApiKeyId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is disabled from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The environments that it is limited to from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<EnvironmentId>>,
    /// The customers that it is limited to from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customers: Option<Vec<CustomerId>>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The networks that it may be used from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Names of limits that were lifted: `environments`, `customers`, `expires_at`, `allowed_cidrs`, `rate_limit`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}

/// A key was revoked, for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRevoked {
    /// The key.
    pub key: ApiKeyId,
    /// SHA-256 of its value: whoever finds keys by it forgets it some time after this.
    #[schema(value_type = String)]
    pub token: TokenHash,
}

/// A key got a new value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRotated {
    /// The key.
    pub key: ApiKeyId,
    /// SHA-256 of the new value.
    #[schema(value_type = String)]
    pub token: TokenHash,
    /// The last four characters of the new value.
    pub last4: String,
    /// SHA-256 of the value before.
    #[schema(value_type = String)]
    pub previous: TokenHash,
    /// Until when the value before is accepted.
    pub previous_valid_until: Timestamp,
}

/// A key was used. Of several uses the event's count says how many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyUsed {
    /// The key.
    pub key: ApiKeyId,
    /// The session that this use opened: the key's first from its address on this day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<KeySessionOpened>,
}

/// A key was used to read secrets or connections. Of several uses the event's count says how many; some may have read none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsRead {
    /// The key.
    pub key: ApiKeyId,
    /// The environments that were read whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentRead>,
    /// The values that were read by name, and of an environment that was read whole those that this key had not read in the
    /// hour: of the others an event of the hour says so already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRead>,
    /// The connections' credentials of an environment that was read whole that this key had not read in the hour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<ConnectionRead>,
}

/// All that a program sees in an environment was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRead {
    /// The environment.
    pub environment: EnvironmentId,
    /// For which customer; absent where for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The version of what is seen in it, as the program was told.
    pub version: String,
    /// How often.
    pub count: u64,
}

/// A value of a secret was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRead {
    /// The secret.
    pub secret: SecretId,
    /// For which customer it was read by name; absent where for none, and of an environment that was read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The number of the value.
    pub value_version: u64,
    /// How often.
    pub count: u64,
}

/// A connection's credential was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRead {
    /// The connection.
    pub connection: ConnectionId,
    /// The number of the credential.
    pub credential_version: u64,
    /// How often.
    pub count: u64,
}

/// A session of a key. Address and user agent stand here once; later events name the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySessionOpened {
    /// The session.
    pub session: SessionId,
    /// The client's address, sealed under the organization's key.
    pub ip: Sealed,
    /// The client's user agent, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Sealed>,
}
