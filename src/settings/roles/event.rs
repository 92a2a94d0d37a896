//! What happens to roles and to who has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{EnvironmentId, RoleAssignmentId, UserId};
use crate::settings::roles::role::RoleRef;

events! {
    /// Roles and who has them.
    pub enum RolesEvent {
        /// A subject got a role.
        "role_assignment.create", 1 => RoleAssigned(RoleAssigned);
        /// A subject lost a role.
        "role_assignment.delete", 1 => RoleUnassigned(RoleUnassigned);
    }
}

/// A subject got a role, in the whole organization or in one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAssigned {
    /// The assignment.
    pub assignment: RoleAssignmentId,
    /// Who got it.
    pub person: UserId,
    /// The role.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The environment that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentId>,
}

/// A subject lost a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUnassigned {
    /// The assignment that ended.
    pub assignment: RoleAssignmentId,
}
