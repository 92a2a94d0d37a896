//! What happens to roles and to who has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{EnvironmentId, RoleAssignmentId, RoleId, TeamId, UserId};
use crate::settings::roles::permission::PermissionSet;
use crate::settings::roles::role::{Grantee, RoleRef};

events! {
    /// Roles and who has them.
    pub enum RolesEvent {
        /// A custom role was made.
        "role.create", 1 => RoleCreated(RoleCreated);
        /// A custom role was renamed, described, or allows something else.
        "role.update", 1 => RoleUpdated(RoleUpdated);
        /// A custom role went; nobody had it.
        "role.delete", 1 => RoleDeleted(RoleDeleted);
        /// A subject got a role.
        "role_assignment.create", 1 => RoleAssigned(RoleAssigned);
        /// A subject lost a role.
        "role_assignment.delete", 1 => RoleUnassigned(RoleUnassigned);
    }
}

/// A custom role was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleCreated {
    /// The role.
    pub role: RoleId,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it allows, as `resource:verb`.
    #[schema(value_type = Vec<String>)]
    pub permissions: PermissionSet,
}

/// A custom role was renamed, described, or allows something else; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUpdated {
    /// The role.
    pub role: RoleId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All that it allows from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub permissions: Option<PermissionSet>,
    /// Names of fields that were cleared: `description`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}

/// A custom role went; nobody had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDeleted {
    /// The role.
    pub role: RoleId,
}

/// A person or a team got a role, in the whole organization or in one environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAssigned {
    /// The assignment.
    pub assignment: RoleAssignmentId,
    /// The person who got it; absent where a team did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<UserId>,
    /// The team that got it; absent where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamId>,
    /// The role.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The environment that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentId>,
}

impl RoleAssigned {
    /// That somebody got a role.
    pub fn new(
        assignment: RoleAssignmentId,
        grantee: Grantee,
        role: RoleRef,
        environment: Option<EnvironmentId>,
    ) -> Self {
        let (person, team) = match grantee {
            Grantee::Person(person) => (Some(person), None),
            Grantee::Team(team) => (None, Some(team)),
        };
        Self { assignment, person, team, role, environment }
    }

    /// Who got it. None is never recorded.
    pub fn grantee(&self) -> Option<Grantee> {
        self.person.map(Grantee::Person).or(self.team.map(Grantee::Team))
    }
}

/// A subject lost a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUnassigned {
    /// The assignment that ended.
    pub assignment: RoleAssignmentId,
}
