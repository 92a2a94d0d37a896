//! Roles as answers show them. They have no routes of their own yet; other areas say which ones somebody holds.

use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::ActorId;
use crate::ids::UserId;
use crate::organization::Organization;
use crate::settings::roles::projection::Roles;
use crate::settings::roles::role::RoleRef;

/// A role by id and name.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = RoleName)]
pub struct RoleBody {
    /// Its id; a system role's is its name.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl From<RoleRef> for RoleBody {
    fn from(role: RoleRef) -> Self {
        let id = role.to_string();
        Self { name: id.clone(), id }
    }
}

/// An actor's roles in the whole organization: a key's, or a person's in the order in which they were given.
pub fn roles_of(organization: &Organization, actor: ActorId) -> Vec<RoleBody> {
    match actor {
        ActorId::Person(person) => roles_of_person(&organization.roles, person),
        ActorId::ApiKey(key) => {
            let key = organization.api_keys.get(key);
            key.map(|key| RoleBody::from(key.role)).into_iter().collect()
        }
        ActorId::Account(_) | ActorId::System | ActorId::Operator => Vec::new(),
    }
}

/// A person's roles in the whole organization, in the order in which they were given.
pub fn roles_of_person(roles: &Roles, person: UserId) -> Vec<RoleBody> {
    let given = roles.assignments_of(person).filter(|(_, assignment)| assignment.environment.is_none());
    given.map(|(_, assignment)| RoleBody::from(assignment.role)).collect()
}
