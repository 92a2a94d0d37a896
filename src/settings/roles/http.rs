//! Roles as answers show them. They have no routes of their own yet; other areas say which ones somebody holds.

use serde::Serialize;
use utoipa::ToSchema;

use crate::ids::UserId;
use crate::organization::Organization;

/// A role by id and name.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RoleName)]
pub struct RoleBody {
    /// Its id; a system role's is its name.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A person's roles in the whole organization, in the order in which they were given.
pub fn roles_of(organization: &Organization, person: UserId) -> Vec<RoleBody> {
    organization
        .roles
        .assignments_of(person)
        .filter(|(_, assignment)| assignment.environment.is_none())
        .map(|(_, assignment)| {
            let id = assignment.role.to_string();
            RoleBody { name: id.clone(), id }
        })
        .collect()
}
