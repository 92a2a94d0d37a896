//! The founding of an organization: an intent here, its second half in the organization's own stream.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{AccountId, OrganizationId, UserId};
use crate::seal::Sealed;

events! {
    /// Organizations being founded.
    pub enum FoundingsEvent {
        /// An account began to found an organization, and is paired with its person there.
        "founding.open", 1 => FoundingOpened(FoundingOpened);
        /// The organization's stream has its second half.
        "founding.close", 1 => FoundingClosed(FoundingClosed);
    }
}

/// An account began to found an organization. Harmless alone: whoever finds it open finishes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundingOpened {
    /// The organization to be.
    pub organization: OrganizationId,
    /// The founder's account.
    pub account: AccountId,
    /// The founder in the organization.
    pub person: UserId,
    /// The organization's name, sealed under the account's key.
    pub name: Sealed,
    /// An IANA time zone name.
    pub timezone: String,
    /// The plan that it will have; absent where that is the one that limits nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// The organization's stream has its second half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundingClosed {
    /// The organization.
    pub organization: OrganizationId,
}
