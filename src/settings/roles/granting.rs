//! Giving roles to people and teams, and taking them away.

use crate::actor::ActorId;
use crate::command::{Context, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::organization::Organization;
use crate::settings::roles::access::{ceiling, given, owner_remains, reach, reaches_team};
use crate::settings::roles::command::{AssignRole, RolesRejection, UnassignRole};
use crate::settings::roles::event::{RoleAssigned, RoleUnassigned, RolesEvent};
use crate::settings::roles::projection::Assignment;
use crate::settings::roles::role::{Grantee, RoleRef};

/// Whether there is such a person or team.
pub(super) fn is_there(state: &Organization, grantee: Grantee) -> bool {
    match grantee {
        Grantee::Person(person) => state.people.get(person).is_some(),
        Grantee::Team(team) => state.teams.get(team).is_some(),
    }
}

/// An event about a grant, its beginning or its end: it concerns whoever has the role, which one, and where.
pub(in crate::settings) fn about_grant(grant: &RoleAssigned, event: RolesEvent) -> NewEvent {
    let custom = match grant.role {
        RoleRef::Custom(role) => Some(role.to_string()),
        RoleRef::System(_) => None,
    };
    let grantee = grant.grantee().map(|grantee| grantee.to_string());
    let environment = grant.environment.map(|environment| environment.to_string());
    let event = NewEvent::new(Resource::new(ResourceType::RoleAssignment, grant.assignment), event);
    [grantee, environment, custom].into_iter().flatten().fold(event, NewEvent::relating)
}

impl AssignRole {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let permissions = state.roles.permissions(self.role).ok_or(RolesRejection::UnknownRole)?;
        let gives = [given(permissions, self.environment)];
        ceiling(state, context.actor.id, &gives).map_err(Rejection::Forbidden)?;
        if !is_there(state, self.grantee) {
            return Err(RolesRejection::UnknownGrantee.into());
        }
        if self.environment.is_some_and(|environment| state.environments.get(environment).is_none()) {
            return Err(RolesRejection::UnknownEnvironment.into());
        }
        let same = |held: &Assignment| held.role == self.role && held.environment == self.environment;
        if state.roles.assignments_of(self.grantee).any(|(_, held)| same(held)) {
            return Ok(Vec::new());
        }
        if !state.roles.has_room() {
            return Err(RolesRejection::TooManyAssignments.into());
        }
        let assigned = RoleAssigned::new(self.assignment, self.grantee, self.role, self.environment);
        Ok(vec![about_grant(&assigned, RolesEvent::RoleAssigned(assigned.clone()))])
    }
}

impl UnassignRole {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let held = state.roles.assignment(self.assignment).ok_or(RolesRejection::NotFound)?;
        let reaches = match held.grantee {
            Grantee::Person(person) => reach(state, context.actor.id, ActorId::Person(person)).is_ok(),
            Grantee::Team(team) => reaches_team(state, context.actor.id, team, |id| id == self.assignment),
        };
        if !reaches {
            return Err(Rejection::AboveYourRights);
        }
        context.check_version(held.version)?;
        if held.is_ownership() && !owner_remains(state, |id, _| id == self.assignment) {
            return Err(RolesRejection::LastOwner.into());
        }
        let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: self.assignment });
        Ok(vec![about_grant(&held.assigned(self.assignment), unassigned)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, custom, environment, events, founded, granted, id, member,
        organization, person, team,
    };
    use crate::ids::{EnvironmentId, TeamId};
    use crate::settings::environments::event::{EnvironmentDeleted, EnvironmentsEvent, Mode};
    use crate::settings::roles::access::{Grants, grants};
    use crate::settings::roles::command::RolesCommand;
    use crate::settings::roles::permission::Permission;
    use crate::settings::roles::role::SystemRole;
    use crate::settings::teams::event::{MemberRemoved, TeamDeleted, TeamsEvent};

    fn assign(assignment: u128, to: u128, role: RoleRef, environment: Option<EnvironmentId>) -> RolesCommand {
        let grantee = Grantee::Person(id(to));
        RolesCommand::Assign(AssignRole { assignment: id(assignment), grantee, role, environment })
    }

    fn unassign(assignment: u128) -> RolesCommand {
        RolesCommand::Unassign(UnassignRole { assignment: id(assignment) })
    }

    fn limited(assignment: u128, to: u128, role: SystemRole) -> Event {
        granted(assignment, Grantee::Person(id(to)), RoleRef::System(role), Some(id(1)))
    }

    fn of_team(assignment: u128, role: SystemRole) -> Event {
        granted(assignment, Grantee::Team(id(1)), RoleRef::System(role), None)
    }

    /// Acme, its Owner 1, Admin 2, somebody 3, and an environment.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let members = member(2, Some(SystemRole::Admin)).into_iter().chain(member(3, None));
        organization(founded().into_iter().chain(members).chain([environment(1, Mode::Test)]).chain(more))
    }

    /// What a person may do.
    fn of(state: &Organization, number: u128) -> Grants {
        grants(state, person(id(number)).id)
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
        assert_eq!(decide(assign(4, 9, developer, None)), RolesRejection::UnknownGrantee.into());
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
            assert_eq!(decided, Err(Rejection::AboveYourRights), "{assignment}");
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
        let grants = of(&before, 3);
        assert!(grants.allows_in(Permission::ConfigWrite, id(1)));
        assert!(!grants.allows(Permission::ConfigWrite));
        assert!(
            !grants.allows_somewhere(Permission::CustomerManage),
            "what is no environment's is not granted there"
        );
        let after = acme([limited(4, 3, SystemRole::Developer), Event::Environments(deleted)]);
        assert!(after.roles.assignment(id(4)).is_none());
        assert_eq!(of(&after, 3), Default::default());
    }

    #[test]
    fn what_one_may_do_is_the_union_of_what_one_was_given() {
        let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: id(4) });
        let two = [assigned(4, 3, SystemRole::Developer), assigned(5, 3, SystemRole::Auditor)];
        let grants = of(&acme(two.clone()), 3);
        assert!(grants.allows(Permission::ConfigWrite) && grants.allows(Permission::AuditExport));
        let grants = of(&acme(two.into_iter().chain([Event::Roles(unassigned)])), 3);
        assert!(!grants.allows(Permission::ConfigWrite) && grants.allows(Permission::AuditExport));
    }

    #[test]
    fn a_team_has_roles_and_each_member_has_them_as_long_as_they_are_one() {
        let assign = RolesCommand::Assign(AssignRole {
            assignment: id(4),
            grantee: Grantee::Team(id(1)),
            role: RoleRef::System(SystemRole::Auditor),
            environment: None,
        });
        let unknown = assign.decide(&acme([]), &by(person(id(2))));
        assert_eq!(unknown, Err(RolesRejection::UnknownGrantee.into()));
        let mut given = team(1, &[3]);
        let decided = assign.decide(&acme(given.clone()), &by(person(id(2)))).unwrap();
        assert_eq!(decided[0].related, [id::<TeamId>(1).to_string()]);
        given.push(of_team(4, SystemRole::Auditor));
        assert_eq!(decided[0].event, given[2]);
        assert!(of(&acme(given.clone()), 3).allows(Permission::AuditRead));
        let left = TeamsEvent::MemberRemoved(MemberRemoved { team: id(1), person: id(3) });
        let gone = TeamsEvent::TeamDeleted(TeamDeleted { team: id(1) });
        for end in [left, gone] {
            let state = acme(given.clone().into_iter().chain([Event::Teams(end.clone())]));
            assert_eq!(of(&state, 3), Grants::default(), "{end:?}");
        }
    }

    #[test]
    fn nobody_takes_from_a_team_what_somebody_above_them_would_lose() {
        let decide = |members: &[u128], more: Vec<Event>| {
            let given = team(1, members).into_iter().chain([of_team(4, SystemRole::Auditor)]).chain(more);
            unassign(4).decide(&acme(given), &by(person(id(2)))).map(|events| events.len())
        };
        assert_eq!(decide(&[3], vec![]), Ok(1));
        assert_eq!(decide(&[1, 3], vec![]), Ok(1), "an Owner has all of it anyway");
        let owns = of_team(5, SystemRole::Owner);
        assert_eq!(decide(&[3], vec![owns]), Err(Rejection::AboveYourRights), "the team is above");
        // Somebody who may audit by the team alone, and do something that an Auditor may not.
        let auditor = [
            custom(1, &[Permission::RoleAssign, Permission::RoleRead]),
            granted(6, Grantee::Person(id(3)), RoleRef::Custom(id(1)), None),
            assigned(7, 1, SystemRole::Auditor),
        ];
        let given = team(1, &[1, 2, 3]).into_iter().chain([of_team(4, SystemRole::Auditor)]).chain(auditor);
        let state = acme(given);
        let decided = unassign(4).decide(&state, &by(person(id(3))));
        assert_eq!(decided.map(|events| events.len()), Ok(1), "nobody above loses what they have otherwise");
        assert!(of(&state, 3).allows(Permission::RoleAssign));
    }

    #[test]
    fn an_owner_by_a_team_is_no_owner_that_remains() {
        let given = team(1, &[3]).into_iter().chain([of_team(4, SystemRole::Owner)]);
        let state = acme(given);
        assert!(of(&state, 3).allows(Permission::OrganizationOwn));
        let decided = unassign(1).decide(&state, &by(person(id(3))));
        assert_eq!(decided, Err(RolesRejection::LastOwner.into()));
        assert!(unassign(4).decide(&state, &by(person(id(1)))).is_ok());
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([assigned(4, 3, SystemRole::Developer)]);
        let decided = unassign(4).decide(&state, &by_having_seen(person(id(2)), 7));
        assert_eq!(decided, Err(PreconditionFailed.into()));
        assert!(unassign(4).decide(&state, &by_having_seen(person(id(2)), 8)).is_ok());
    }
}
