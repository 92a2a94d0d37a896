//! What happens to requests to join.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{DataKeyId, JoinRequestId, UserId};
use crate::seal::Sealed;
use crate::settings::roles::role::RoleRef;

events! {
    /// Requests to join.
    pub enum JoinRequestsEvent {
        /// Somebody asked to join.
        "join_request.create", 1 => JoinRequestCreated(JoinRequestCreated);
        /// They were let in: the same command records that they joined, and with which role.
        "join_request.approve", 1 => JoinRequestApproved(JoinRequestApproved);
        /// They were not, or took it back, and are forgotten.
        "join_request.decline", 1 => JoinRequestDeclined(JoinRequestDeclined) destroys destroyed_keys;
    }
}

/// Somebody asked to join. Name and address are sealed where the person's would be, under the key that would be theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequestCreated {
    /// The request.
    pub join_request: JoinRequestId,
    /// Who they would be.
    pub person: UserId,
    /// The data key that would be theirs.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// Their name.
    pub name: Sealed,
    /// Their e-mail address, which is proven to be theirs.
    pub email: Sealed,
    /// The domain that the address is in.
    pub domain: String,
}

/// Somebody was let in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequestApproved {
    /// The request.
    pub join_request: JoinRequestId,
    /// The role that they got.
    #[schema(value_type = String)]
    pub role: RoleRef,
}

/// Somebody was not let in, or waits no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequestDeclined {
    /// The request.
    pub join_request: JoinRequestId,
    /// The key that would have been theirs.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}
