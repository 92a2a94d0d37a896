//! What happens to managed OAuth apps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::DataKeyId;
use crate::seal::Sealed;

events! {
    /// The operator's OAuth apps.
    pub enum ManagedAppsEvent {
        /// A provider has this managed app from now on; the secret of the one before is destroyed.
        "managed_oauth_app.set", 1 => ManagedAppSet(ManagedAppSet) destroys destroyed_keys;
        /// A provider has no managed app any more.
        "managed_oauth_app.delete", 1 => ManagedAppDeleted(ManagedAppDeleted) destroys destroyed_keys;
    }
}

/// A provider has this managed app from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedAppSet {
    /// The provider, one of the catalogue.
    pub provider: String,
    /// The app's id there.
    pub client_id: String,
    /// Its secret there, under a key of its own.
    pub client_secret: Sealed,
    /// What its connections ask for unless they say otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The key of the secret before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destroyed_keys: Vec<DataKeyId>,
}

/// A provider has no managed app any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedAppDeleted {
    /// The provider.
    pub provider: String,
    /// The key of its secret.
    pub destroyed_keys: Vec<DataKeyId>,
}
