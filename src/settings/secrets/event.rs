//! What happens to secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{CustomerId, DataKeyId, EnvironmentId, SecretId};
use crate::seal::Sealed;
use crate::settings::environments::event::Mode;
use crate::settings::secrets::value::Scope;

events! {
    /// Secrets and their values.
    pub enum SecretsEvent {
        /// A secret was created with its first value.
        "secret.create", 1 => SecretCreated(SecretCreated);
        /// A secret was renamed, described, given another value or another time at which it expires.
        "secret.update", 1 => SecretUpdated(SecretUpdated);
        /// A secret was deleted. Its values stayed, to be brought back.
        "secret.delete", 1 => SecretDeleted(SecretDeleted);
        /// A deleted secret came back.
        "secret.undelete", 1 => SecretUndeleted(SecretUndeleted);
        /// An earlier value became the newest one.
        "secret.rollback", 1 => SecretRolledBack(SecretRolledBack);
        /// Somebody was shown a value.
        "secret.reveal", 1 => SecretRevealed(SecretRevealed);
        /// One value was destroyed.
        "secret.destroy_version", 1 => SecretVersionDestroyed(SecretVersionDestroyed) destroys destroyed_keys;
        /// A secret was destroyed with all of its values.
        "secret.destroy", 1 => SecretDestroyed(SecretDestroyed) destroys destroyed_keys;
        /// The time passed at which a secret was said to expire.
        "secret.expire", 1 => SecretExpired(SecretExpired);
    }
}

impl SecretsEvent {
    /// The value that it gave its secret.
    pub fn value(&self) -> Option<&Sealed> {
        match self {
            Self::SecretCreated(created) => Some(&created.value),
            Self::SecretUpdated(updated) => updated.value.as_ref(),
            Self::SecretRolledBack(rolled_back) => Some(&rolled_back.value),
            _ => None,
        }
    }

    /// The same, to be sealed anew before it is recorded.
    pub fn value_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Self::SecretCreated(created) => Some(&mut created.value),
            Self::SecretUpdated(updated) => updated.value.as_mut(),
            Self::SecretRolledBack(rolled_back) => Some(&mut rolled_back.value),
            _ => None,
        }
    }
}

/// Where a value came from that was copied: always its first origin, whatever it was copied through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The secret that it was written to.
    pub resource: SecretId,
    /// Which of its values it was.
    pub value_version: u64,
}

/// A secret was created with its first value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretCreated {
    /// The secret.
    pub secret: SecretId,
    /// Its name.
    pub name: String,
    /// The environment that it belongs to; absent where it is the whole organization's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentId>,
    /// The customer that it belongs to, in that environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The modes of the environments in which it is read, of one that is the whole organization's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<Mode>,
    /// What it is for, unless it is a customer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What a customer's is for, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_description: Option<Sealed>,
    /// When it is said to expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The number of its value: 1.
    pub value_version: u64,
    /// Its value, under a key of its own.
    pub value: Sealed,
    /// Where the value was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<Origin>,
}

impl SecretCreated {
    /// Where it belongs.
    pub fn scope(&self) -> Scope {
        match (self.environment, self.customer) {
            (None, _) => Scope::Organization,
            (Some(environment), None) => Scope::Environment(environment),
            (Some(environment), Some(customer)) => Scope::Customer(environment, customer),
        }
    }
}

/// A secret was changed; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretUpdated {
    /// The secret.
    pub secret: SecretId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description, unless it is a customer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new description of a customer's, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_description: Option<Sealed>,
    /// The new time at which it is said to expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Names of fields that were cleared: `description`, `expires_at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
    /// The number of the new value; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_version: Option<u64>,
    /// The new value, under a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Sealed>,
    /// Where the new value was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<Origin>,
}

impl SecretUpdated {
    /// A change of nothing yet.
    pub fn of(secret: SecretId) -> Self {
        Self {
            secret,
            name: None,
            description: None,
            sealed_description: None,
            expires_at: None,
            cleared: Vec::new(),
            value_version: None,
            value: None,
            copied_from: None,
        }
    }
}

/// A secret was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretDeleted {
    /// The secret.
    pub secret: SecretId,
}

/// A deleted secret came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretUndeleted {
    /// The secret.
    pub secret: SecretId,
    /// When it is said to expire, where nobody was warned of that yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An earlier value became the newest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRolledBack {
    /// The secret.
    pub secret: SecretId,
    /// The number of the earlier value.
    pub to_version: u64,
    /// The number that it has as the newest one.
    pub value_version: u64,
    /// The value, sealed anew under a key of its own.
    pub value: Sealed,
    /// Where the value was written first.
    pub copied_from: Origin,
}

/// Somebody was shown a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRevealed {
    /// The secret.
    pub secret: SecretId,
    /// The number of the value.
    pub value_version: u64,
}

/// One value was destroyed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretVersionDestroyed {
    /// The secret.
    pub secret: SecretId,
    /// The number of the value.
    pub value_version: u64,
    /// The key that went with it.
    pub destroyed_keys: Vec<DataKeyId>,
}

/// A secret was destroyed with all of its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretDestroyed {
    /// The secret.
    pub secret: SecretId,
    /// The keys that went with it.
    pub destroyed_keys: Vec<DataKeyId>,
}

/// The time passed at which a secret was said to expire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretExpired {
    /// The secret.
    pub secret: SecretId,
    /// The time that was said.
    pub expires_at: Timestamp,
}
