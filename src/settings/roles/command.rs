//! Giving and taking roles, under ceiling and reach.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{EnvironmentId, RoleAssignmentId, UserId};
use crate::organization::Organization;
use crate::settings::roles::access::{Extent, ceiling, reach};
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
        let given = [(Extent::of(self.environment), permissions)];
        ceiling(state, context.actor.id, &given).map_err(Rejection::Forbidden)?;
        let same = state
            .roles
            .assignments_of(self.person)
            .any(|(_, held)| held.role == self.role && held.environment == self.environment);
        if same {
            return Ok(Vec::new());
        }
        let assigned = RolesEvent::RoleAssigned(RoleAssigned {
            assignment: self.assignment,
            person: self.person,
            role: self.role,
            environment: self.environment,
        });
        Ok(vec![about_grant(self.assignment, self.person, self.environment, assigned)])
    }
}

impl UnassignRole {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let held = state.roles.assignment(self.assignment).ok_or(RolesRejection::NotFound)?;
        if reach(state, context.actor.id, ActorId::Person(held.person)).is_err() {
            return Err(RolesRejection::AboveYourRights.into());
        }
        if held.is_ownership() && !state.roles.owner_remains_without(self.assignment) {
            return Err(RolesRejection::LastOwner.into());
        }
        let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: self.assignment });
        Ok(vec![about_grant(self.assignment, held.person, held.environment, unassigned)])
    }
}

/// An event about a grant, its beginning or its end: it concerns whoever has the role, and where.
pub(super) fn about_grant(
    assignment: RoleAssignmentId,
    person: UserId,
    environment: Option<EnvironmentId>,
    event: RolesEvent,
) -> NewEvent {
    let resource = Resource::new(ResourceType::RoleAssignment, assignment);
    let event = NewEvent::new(resource, event).relating(person);
    match environment {
        Some(environment) => event.relating(environment),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{assigned, by, events, founded, id, member, organization, person};
    use crate::settings::environments::event::{
        EnvironmentCreated, EnvironmentDeleted, EnvironmentsEvent, Mode,
    };
    use crate::settings::roles::access::grants;
    use crate::settings::roles::role::SystemRole;

    fn assign(assignment: u128, to: u128, role: RoleRef, environment: Option<EnvironmentId>) -> RolesCommand {
        RolesCommand::Assign(AssignRole { assignment: id(assignment), person: id(to), role, environment })
    }

    fn unassign(assignment: u128) -> RolesCommand {
        RolesCommand::Unassign(UnassignRole { assignment: id(assignment) })
    }

    fn environment() -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: id(1),
            name: "Stage".to_owned(),
            slug: "stage".to_owned(),
            mode: Mode::Test,
            description: None,
        }))
    }

    fn limited(assignment: u128, to: u128, role: SystemRole) -> Event {
        Event::Roles(RolesEvent::RoleAssigned(RoleAssigned {
            assignment: id(assignment),
            person: id(to),
            role: RoleRef::System(role),
            environment: Some(id(1)),
        }))
    }

    /// Acme, its Owner 1, Admin 2, somebody 3, and an environment.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let members = member(2, Some(SystemRole::Admin)).into_iter().chain(member(3, None));
        organization(founded().into_iter().chain(members).chain([environment()]).chain(more))
    }

    #[test]
    fn a_role_is_given_once() {
        let command = assign(4, 3, RoleRef::System(SystemRole::Developer), None);
        let decided = command.decide(&acme([]), &by(person(id(2))));
        assert_eq!(events(decided), Ok(vec![assigned(4, 3, SystemRole::Developer)]));
        let state = acme([assigned(4, 3, SystemRole::Developer)]);
        assert_eq!(command.decide(&state, &by(person(id(2)))), Ok(Vec::new()));
    }

    #[test]
    fn a_role_is_given_in_one_environment() {
        let decided = assign(4, 3, RoleRef::System(SystemRole::Developer), Some(id(1)))
            .decide(&acme([]), &by(person(id(2))));
        assert_eq!(decided.as_ref().unwrap()[0].related.len(), 2);
        assert_eq!(events(decided), Ok(vec![limited(4, 3, SystemRole::Developer)]));
    }

    #[test]
    fn what_is_not_there_cannot_be_given() {
        let developer = RoleRef::System(SystemRole::Developer);
        let decide = |command: RolesCommand| command.decide(&acme([]), &by(person(id(1)))).unwrap_err();
        assert_eq!(decide(assign(4, 9, developer, None)), RolesRejection::UnknownPerson.into());
        assert_eq!(decide(assign(4, 3, RoleRef::Custom(id(1)), None)), RolesRejection::UnknownRole.into());
        assert_eq!(decide(assign(4, 3, developer, Some(id(9)))), RolesRejection::UnknownEnvironment.into());
    }

    #[test]
    fn nobody_gives_what_they_lack() {
        let decided =
            assign(4, 3, RoleRef::System(SystemRole::Owner), None).decide(&acme([]), &by(person(id(2))));
        assert_eq!(decided, Err(Rejection::Forbidden(Permission::OrganizationOwn)));
    }

    #[test]
    fn who_holds_a_role_in_one_environment_gives_it_there_and_nowhere_else() {
        let state = acme([limited(4, 3, SystemRole::Developer)]);
        let here = assign(5, 2, RoleRef::System(SystemRole::Developer), Some(id(1)));
        assert!(here.decide(&state, &by(person(id(3)))).is_ok());
        let everywhere = assign(5, 2, RoleRef::System(SystemRole::Developer), None);
        assert!(matches!(everywhere.decide(&state, &by(person(id(3)))), Err(Rejection::Forbidden(_))));
    }

    #[test]
    fn a_role_is_taken_away() {
        let state = acme([assigned(4, 3, SystemRole::Developer)]);
        let unassigned = RoleUnassigned { assignment: id(4) };
        let decided = unassign(4).decide(&state, &by(person(id(2))));
        assert_eq!(events(decided), Ok(vec![Event::Roles(RolesEvent::RoleUnassigned(unassigned))]));
        assert_eq!(unassign(9).decide(&state, &by(person(id(2)))), Err(RolesRejection::NotFound.into()));
    }

    #[test]
    fn the_end_of_a_grant_concerns_whom_its_beginning_did() {
        for environment in [None, Some(id(1))] {
            let role = RoleRef::System(SystemRole::Developer);
            let given = assign(4, 3, role, environment).decide(&acme([]), &by(person(id(2)))).unwrap();
            let taken = unassign(4).decide(&acme([given[0].event.clone()]), &by(person(id(2)))).unwrap();
            assert_eq!((&taken[0].resource, &taken[0].related), (&given[0].resource, &given[0].related));
        }
    }

    #[test]
    fn nobody_takes_a_role_from_whom_they_do_not_reach() {
        let state = acme([assigned(4, 1, SystemRole::Developer), assigned(5, 3, SystemRole::Owner)]);
        for assignment in [1, 4, 5] {
            let decided = unassign(assignment).decide(&state, &by(person(id(2))));
            assert_eq!(decided, Err(RolesRejection::AboveYourRights.into()), "{assignment}");
        }
    }

    #[test]
    fn the_last_owner_stays_one() {
        assert_eq!(unassign(1).decide(&acme([]), &by(Actor::SYSTEM)), Err(RolesRejection::LastOwner.into()));
        let two = acme([assigned(4, 3, SystemRole::Owner)]);
        assert!(unassign(1).decide(&two, &by(person(id(1)))).is_ok());
        // An Owner of one environment is none.
        let limited = acme([limited(4, 3, SystemRole::Owner)]);
        assert_eq!(unassign(1).decide(&limited, &by(person(id(1)))), Err(RolesRejection::LastOwner.into()));
    }

    #[test]
    fn a_grant_in_an_environment_ends_with_it() {
        let deleted = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(1) });
        let before = acme([limited(4, 3, SystemRole::Developer)]);
        let held = grants(&before, person(id(3)).id);
        assert!(held.allows_in(Permission::ConfigWrite, id(1)));
        assert!(!held.allows(Permission::ConfigWrite));
        assert!(
            !held.allows_somewhere(Permission::CustomerManage),
            "what is no environment's is not granted there"
        );
        let after = acme([limited(4, 3, SystemRole::Developer), Event::Environments(deleted)]);
        assert!(after.roles.assignment(id(4)).is_none());
        assert_eq!(grants(&after, person(id(3)).id), Default::default());
    }

    #[test]
    fn what_one_may_do_is_the_union_of_what_one_was_given() {
        let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: id(4) });
        let two = [assigned(4, 3, SystemRole::Developer), assigned(5, 3, SystemRole::Auditor)];
        let held = grants(&acme(two.clone()), person(id(3)).id);
        assert!(held.allows(Permission::ConfigWrite) && held.allows(Permission::AuditExport));
        let held = grants(&acme(two.into_iter().chain([Event::Roles(unassigned)])), person(id(3)).id);
        assert!(!held.allows(Permission::ConfigWrite) && held.allows(Permission::AuditExport));
    }
}
