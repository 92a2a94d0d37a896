//! [`Platform`]: what belongs to no organization, folded over the platform's own stream.
//!
//! The twin of `organization.rs`; only its stream maps an account to people in organizations.

use crate::platform::accounts::projection::Accounts;
use crate::platform::deletions::projection::Deletions;
use crate::platform::foundings::projection::Foundings;
use crate::platform::managed_apps::projection::ManagedApps;
use crate::platform::memberships::projection::Memberships;
use crate::platform::operations::projection::Operations;
use crate::platform::plans::projection::Plans;
use crate::platform::signing_keys::projection::SigningKeys;
use crate::settings::sessions::projection::Sessions;
use crate::store::denials::Denials;
use crate::store::encryption_keys::EncryptionKeys;
use crate::store::requests::Requests;
use crate::stream_state;

pub mod accounts;
pub mod deletions;
pub mod foundings;
pub mod managed_apps;
pub mod memberships;
pub mod operations;
pub mod plans;
pub mod signing_keys;

stream_state! {
    /// The platform's state at a version.
    pub struct Platform {
        settings {}
        beside {
            /// Addresses, passwords, and whom they are in which organization.
            accounts: Accounts,
            /// Organizations being founded.
            foundings: Foundings,
            /// Organizations that were deleted.
            deletions: Deletions,
            /// Accounts about to be somebody in an organization.
            memberships: Memberships,
            /// Sessions of accounts without an organization.
            sessions: Sessions,
            /// The operator's OAuth apps.
            managed_apps: ManagedApps,
            /// What operators did.
            operations: Operations,
            /// What organizations may have.
            plans: Plans,
            /// What checkpoints and snapshots are signed with.
            signing_keys: SigningKeys,
            /// Keys that wrap others.
            encryption_keys: EncryptionKeys,
            /// Idempotency keys of the last day.
            requests: Requests,
            /// How many denials were recorded this hour.
            denials: Denials,
        }
    }
}
