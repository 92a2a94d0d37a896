//! What the mix does about teams, roles and who has them, and about who is a member.

use std::collections::BTreeSet;

use anyhow::Result;
use settled::actor::Actor;
use settled::ids::{Fresh, RoleAssignmentId, RoleId, TeamId, UserId};
use settled::settings::people::command::PeopleCommand;
use settled::settings::roles::command::{AssignRole, CreateRole, RolesCommand, UnassignRole, UpdateRole};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::teams::command::{AddMember, CreateTeam, RemoveMember, TeamsCommand};
use settled::store::Submission;
use settled::text::{Description, Name};

use super::{Assignment, Company, PEOPLE_KEPT, Person, Team};
use crate::mix::dice::Dice;
use crate::mix::{Kind, words};

/// What custom roles are made of: each has some of these.
const ALLOWED: &[Permission] = &[
    Permission::EnvironmentRead,
    Permission::ConfigRead,
    Permission::ConfigWrite,
    Permission::SecretRead,
    Permission::ApiKeyRead,
    Permission::CustomerRead,
    Permission::ExecutionRead,
    Permission::AuditRead,
    Permission::HistoryRead,
];

impl Company {
    pub(super) fn create_team(&mut self, actor: Actor) -> Result<Submission> {
        let team: TeamId = Fresh.id();
        let name = words::team(self.teams.len());
        self.teams.push(Team { id: team, members: BTreeSet::new() });
        let description = Some(Description::try_from(words::purpose(&mut self.dice))?);
        let command = CreateTeam { team, name: Name::try_from(name.as_str())?, description };
        Ok(self.submit_change(TeamsCommand::Create(command), actor))
    }

    pub(super) fn add_member(&mut self, actor: Actor) -> Submission {
        let at = self.dice.below(self.teams.len());
        let person = 1 + self.dice.below(self.people.len() - 1);
        let team = &mut self.teams[at];
        team.members.insert(person);
        let command = AddMember { team: team.id, person: self.people[person].id };
        self.submit_change(TeamsCommand::AddMember(command), actor)
    }

    pub(super) fn remove_member(&mut self, actor: Actor) -> Submission {
        let all = self.teams.iter().enumerate();
        let all: Vec<_> =
            all.flat_map(|(at, team)| team.members.iter().map(move |person| (at, *person))).collect();
        let (at, person) = all[self.dice.below(all.len())];
        let team = &mut self.teams[at];
        team.members.remove(&person);
        let command = RemoveMember { team: team.id, person: self.people[person].id };
        self.submit_change(TeamsCommand::RemoveMember(command), actor)
    }

    pub(super) fn create_role(&mut self, actor: Actor) -> Result<Submission> {
        let role: RoleId = Fresh.id();
        let name = words::role(self.roles.len());
        self.roles.push(role);
        let command = CreateRole {
            role,
            name: Name::try_from(name.as_str())?,
            description: Some(Description::try_from(words::purpose(&mut self.dice))?),
            permissions: some(&mut self.dice)?,
        };
        Ok(self.submit_change(RolesCommand::Create(command), actor))
    }

    pub(super) fn change_role(&mut self, actor: Actor) -> Result<Submission> {
        let role = self.roles[self.dice.below(self.roles.len())];
        let command = UpdateRole {
            role: RoleRef::Custom(role),
            name: None,
            description: None,
            permissions: Some(some(&mut self.dice)?),
        };
        Ok(self.submit_change(RolesCommand::Update(command), actor))
    }

    pub(super) fn assign(&mut self, actor: Actor) -> Submission {
        use SystemRole::{Auditor, Developer, Viewer};
        let role = [Developer, Developer, Viewer, Auditor][self.dice.below(4)];
        let environment = if role == Viewer && self.dice.happens(500) {
            let at = self.dice.below(self.environments.len());
            self.environments.get(at).map(|environment| environment.id)
        } else {
            None
        };
        let role = match self.roles.len() {
            0 => RoleRef::System(role),
            roles if self.dice.happens(150) => RoleRef::Custom(self.roles[self.dice.below(roles)]),
            _ => RoleRef::System(role),
        };
        // Whoever joined last has waited for a role.
        let person = if self.assignments.len() < self.people.len() {
            self.people.len() - 1
        } else {
            1 + self.dice.below(self.people.len() - 1)
        };
        let held =
            |held: &Assignment| held.person == person && held.role == role && held.environment == environment;
        let assignment: RoleAssignmentId = Fresh.id();
        if !self.assignments.iter().any(held) {
            self.assignments.push(Assignment { id: assignment, person, role, environment });
        }
        let grantee = Grantee::Person(self.people[person].id);
        let command = AssignRole { assignment, grantee, role, environment };
        self.submit_change(RolesCommand::Assign(command), actor)
    }

    pub(super) fn unassign(&mut self, actor: Actor) -> Submission {
        let at = self.dice.below(self.assignments.len());
        let assignment = self.assignments.remove(at).id;
        self.submit_change(RolesCommand::Unassign(UnassignRole { assignment }), actor)
    }

    /// Their sessions end with it. It is a mistake mostly: the next thing is that they are let in again.
    pub(super) fn suspend(&mut self, actor: Actor) -> Submission {
        let at = self.somebody_who_may_go();
        let person = &mut self.people[at];
        person.sessions.clear();
        let id = person.id;
        self.suspended = Some(id);
        self.ahead.push_front(Kind::ReactivatePerson);
        self.submit_change(PeopleCommand::Suspend(id), actor)
    }

    pub(super) fn reactivate(&mut self, actor: Actor) -> Submission {
        let id = self.suspended.take().unwrap_or(self.people[0].id);
        self.submit_change(PeopleCommand::Reactivate(id), actor)
    }

    pub(super) fn remove(&mut self, actor: Actor) -> Submission {
        let at = self.somebody_who_may_go();
        let id = self.goes(at);
        self.submit_change(PeopleCommand::Remove(id), actor)
    }

    pub(super) fn erase(&mut self, actor: Actor) -> Submission {
        let at = self.dice.below(self.gone.len());
        let id = self.gone.remove(at);
        self.submit_change(PeopleCommand::Erase(id), actor)
    }

    fn somebody_who_may_go(&mut self) -> usize {
        PEOPLE_KEPT + self.dice.below(self.people.len() - PEOPLE_KEPT)
    }

    /// Their roles and memberships of teams end with it.
    pub(super) fn goes(&mut self, person: usize) -> UserId {
        let Person { id, .. } = self.people.remove(person);
        self.forget_access_of(person);
        self.gone.push(id);
        id
    }

    /// Whoever comes after somebody that went has their number, less one.
    fn forget_access_of(&mut self, gone: usize) {
        let number = |person: usize| if person > gone { person - 1 } else { person };
        self.assignments.retain(|held| held.person != gone);
        for held in &mut self.assignments {
            held.person = number(held.person);
        }
        for team in &mut self.teams {
            team.members =
                team.members.iter().filter(|person| **person != gone).map(|person| number(*person)).collect();
        }
    }
}

/// Some of what custom roles are made of.
fn some(dice: &mut Dice) -> Result<CustomPermissions> {
    let set: PermissionSet = ALLOWED.iter().copied().filter(|_| dice.happens(500)).collect();
    Ok(CustomPermissions::try_from(set)?)
}
