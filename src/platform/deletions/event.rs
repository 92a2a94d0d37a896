//! The deletion of an organization: an intent here, its other halves in the organization's own stream and in accounts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::OrganizationId;

events! {
    /// Organizations being deleted.
    pub enum DeletionsEvent {
        /// An operator deletes an organization.
        "organization.delete", 1 => OrganizationDeleted(OrganizationDeleted);
        /// Nothing of it can be opened any more.
        "deletion.close", 1 => DeletionClosed(DeletionClosed);
    }
}

/// An operator deletes an organization. Whoever finds this open finishes it; a store that is restored from an older snapshot does
/// it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationDeleted {
    /// The organization.
    pub organization: OrganizationId,
}

/// Its people are nobody there any more, its data keys are destroyed, and the key that wrapped them is replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletionClosed {
    /// The organization.
    pub organization: OrganizationId,
}
