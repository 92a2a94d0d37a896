//! Giving and taking roles, under ceiling and reach.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{EnvironmentId, RoleAssignmentId, UserId};
use crate::organization::Organization;
use crate::settings::roles::event::{RoleAssigned, RoleUnassigned, RolesEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::RoleRef;

/// A command to roles.
#[derive(Clone, Debug)]
pub enum RolesCommand {
    /// Gives a role.
    Assign(AssignRole),
    /// Takes a role away.
    Unassign(UnassignRole),
}

/// Gives a person a role, in the organization or in one environment.
#[derive(Clone, Debug)]
pub struct AssignRole {
    /// The assignment's id.
    pub assignment: RoleAssignmentId,
    /// Who gets it.
    pub person: UserId,
    /// The role.
    pub role: RoleRef,
    /// The environment that it is limited to.
    pub environment: Option<EnvironmentId>,
}

/// Takes a role away.
#[derive(Clone, Debug)]
pub struct UnassignRole {
    /// The assignment that ends.
    pub assignment: RoleAssignmentId,
}

/// Why a command to roles appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolesRejection {
    /// There is no such assignment.
    #[error("there is no such role assignment")]
    NotFound,
    /// There is no such person.
    #[error("there is no such person")]
    UnknownPerson,
    /// There is no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// The organization would be without an owner.
    #[error("the organization needs an owner")]
    LastOwner,
    /// The subject holds a permission that the actor lacks.
    #[error("the subject holds a permission that you lack")]
    AboveYourRights,
}

impl RolesCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::RoleAssign)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`RolesRejection`], or a permission that the role has and the actor lacks.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Assign(command) => command.decide(state, context),
            Self::Unassign(command) => command.decide(state, context),
        }
    }
}

impl AssignRole {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        if state.people.get(self.person).is_none() {
            return Err(RolesRejection::UnknownPerson.into());
        }
        let permissions = state.roles.permissions(self.role).ok_or(RolesRejection::UnknownRole)?;
        let permissions = match self.environment {
            None => permissions,
            Some(environment) => {
                state.environments.get(environment).ok_or(RolesRejection::UnknownEnvironment)?;
                permissions.per_environment()
            }
        };
        state.roles.ceiling(context.actor.id, permissions, self.environment).map_err(Rejection::Forbidden)?;
        let same = state
            .roles
            .assignments_of(self.person)
            .any(|(_, held)| held.role == self.role && held.environment == self.environment);
        if same {
            return Ok(Vec::new());
        }
        let assigned = RoleAssigned {
            assignment: self.assignment,
            person: self.person,
            role: self.role,
            environment: self.environment,
        };
        let event = NewEvent::new(
            Resource::new(ResourceType::RoleAssignment, self.assignment),
            RolesEvent::RoleAssigned(assigned),
        )
        .relating(self.person);
        Ok(vec![match self.environment {
            Some(environment) => event.relating(environment),
            None => event,
        }])
    }
}

impl UnassignRole {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let held = state.roles.assignment(self.assignment).ok_or(RolesRejection::NotFound)?;
        let subject = state.roles.grants(crate::actor::ActorId::Person(held.person));
        let reached = state.roles.ceiling(context.actor.id, subject.organization, None).is_ok()
            && subject.environments.iter().all(|(environment, permissions)| {
                state.roles.ceiling(context.actor.id, *permissions, Some(*environment)).is_ok()
            });
        if !reached {
            return Err(RolesRejection::AboveYourRights.into());
        }
        if held.is_ownership() && !state.roles.owner_remains_without(self.assignment) {
            return Err(RolesRejection::LastOwner.into());
        }
        let event = NewEvent::new(
            Resource::new(ResourceType::RoleAssignment, self.assignment),
            RolesEvent::RoleUnassigned(RoleUnassigned { assignment: self.assignment }),
        );
        Ok(vec![event.relating(held.person)])
    }
}
