//! What random histories ask of teams, roles and grants.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::command::Command;
use settled::ids::{EnvironmentId, Fresh, RoleAssignmentId, RoleId, TeamId, UserId};
use settled::settings::roles::command::{
    AssignRole, CreateRole, DeleteRole, RolesCommand, UnassignRole, UpdateRole,
};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::teams::command::{
    AddMember, CreateTeam, DeleteTeam, RemoveMember, TeamsCommand, UpdateTeam,
};
use settled::store::Submission;
use settled::text::Name;

use crate::histories::chosen;
use crate::test_store::{Founded, TestStore};

/// What custom roles allow.
const ALLOWED: [&[Permission]; 4] = [
    &[],
    &[Permission::EnvironmentRead, Permission::ConfigRead, Permission::ConfigWrite],
    &[Permission::RoleManage, Permission::RoleAssign, Permission::TeamManage],
    &[Permission::EnvironmentManage, Permission::OrganizationUpdate, Permission::PersonInvite],
];

/// What is asked for. Indices choose among what earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum AccessAsk {
    Role { name: u8, allows: usize },
    ChangeRole { which: Index, name: Option<u8>, allows: Option<usize> },
    DeleteRole(Index),
    Team(u8),
    RenameTeam { which: Index, name: u8 },
    DeleteTeam(Index),
    Member { team: Index, person: Index, leaves: bool },
    Assign { to: Index, role: Index, team: bool, environment: Option<Index> },
    Unassign(Index),
}

pub fn access_ask() -> impl Strategy<Value = AccessAsk> {
    let index = any::<Index>;
    let allows = || 0..ALLOWED.len();
    prop_oneof![
        3 => (0..4u8, allows()).prop_map(|(name, allows)| AccessAsk::Role { name, allows }),
        2 => (index(), prop::option::of(0..4u8), prop::option::of(allows()))
            .prop_map(|(which, name, allows)| AccessAsk::ChangeRole { which, name, allows }),
        2 => index().prop_map(AccessAsk::DeleteRole),
        3 => (0..4u8).prop_map(AccessAsk::Team),
        2 => (index(), 0..4u8).prop_map(|(which, name)| AccessAsk::RenameTeam { which, name }),
        2 => index().prop_map(AccessAsk::DeleteTeam),
        7 => (index(), index(), prop::bool::weighted(0.4))
            .prop_map(|(team, person, leaves)| AccessAsk::Member { team, person, leaves }),
        5 => (index(), index(), prop::bool::weighted(0.3), prop::option::of(index()))
            .prop_map(|(to, role, team, environment)| AccessAsk::Assign { to, role, team, environment }),
        3 => index().prop_map(AccessAsk::Unassign),
    ]
}

/// What earlier steps tried to make.
#[derive(Clone, Default)]
pub struct MadeAccess {
    roles: Vec<RoleId>,
    teams: Vec<TeamId>,
    assignments: Vec<RoleAssignmentId>,
}

impl MadeAccess {
    /// A custom role, a team that has it, and somebody in that.
    pub async fn begin(store: &TestStore, founded: &Founded, person: UserId, mark: &str) -> Self {
        let (role, team, assignment): (RoleId, TeamId, RoleAssignmentId) =
            (Fresh.id(), Fresh.id(), Fresh.id());
        let name = || Name::try_from(mark).unwrap();
        let (grantee, to) = (Grantee::Team(team), RoleRef::Custom(role));
        let commands: [Command; 4] = [
            RolesCommand::Create(CreateRole {
                role,
                name: name(),
                description: None,
                permissions: allowed(1),
            })
            .into(),
            TeamsCommand::Create(CreateTeam { team, name: name(), description: None }).into(),
            TeamsCommand::AddMember(AddMember { team, person }).into(),
            RolesCommand::Assign(AssignRole { assignment, grantee, role: to, environment: None }).into(),
        ];
        for command in commands {
            store.execute(founded, Submission::new(command, founded.owner)).await.unwrap();
        }
        Self { roles: vec![role], teams: vec![team], assignments: vec![assignment] }
    }

    /// A team that somebody tried to make.
    pub fn team(&self, which: Index) -> TeamId {
        chosen(&self.teams, which, Fresh.id())
    }
}

impl AccessAsk {
    /// The command that it is; what is to be made joins what was.
    pub fn command(
        self,
        made: &mut MadeAccess,
        people: &[UserId],
        named: impl Fn(u8) -> Name,
        environment: impl Fn(Index) -> EnvironmentId,
    ) -> Command {
        let role = |which| RoleRef::Custom(chosen(&made.roles, which, Fresh.id()));
        match self {
            Self::Role { name, allows } => {
                let role = Fresh.id();
                made.roles.push(role);
                let (name, permissions) = (named(name), allowed(allows));
                RolesCommand::Create(CreateRole { role, name, description: None, permissions }).into()
            }
            Self::ChangeRole { which, name, allows } => RolesCommand::Update(UpdateRole {
                role: role(which),
                name: name.map(named),
                description: None,
                permissions: allows.map(allowed),
            })
            .into(),
            Self::DeleteRole(which) => RolesCommand::Delete(DeleteRole { role: role(which) }).into(),
            Self::Team(name) => {
                let team = Fresh.id();
                made.teams.push(team);
                TeamsCommand::Create(CreateTeam { team, name: named(name), description: None }).into()
            }
            Self::RenameTeam { which, name } => {
                let update =
                    UpdateTeam { team: made.team(which), name: Some(named(name)), description: None };
                TeamsCommand::Update(update).into()
            }
            Self::DeleteTeam(which) => TeamsCommand::Delete(DeleteTeam { team: made.team(which) }).into(),
            Self::Member { team: which, person, leaves } => {
                let (team, person) = (made.team(which), *person.get(people));
                if leaves {
                    TeamsCommand::RemoveMember(RemoveMember { team, person }).into()
                } else {
                    TeamsCommand::AddMember(AddMember { team, person }).into()
                }
            }
            Self::Assign { to, role, team: of_team, environment: limited } => {
                let custom = made.roles.iter().copied().map(RoleRef::Custom);
                let roles: Vec<_> = SystemRole::ALL.into_iter().map(RoleRef::System).chain(custom).collect();
                let grantee =
                    if of_team { Grantee::Team(made.team(to)) } else { Grantee::Person(*to.get(people)) };
                let (assignment, environment) = (Fresh.id(), limited.map(environment));
                made.assignments.push(assignment);
                let assign = AssignRole { assignment, grantee, role: *role.get(&roles), environment };
                RolesCommand::Assign(assign).into()
            }
            Self::Unassign(which) => {
                let assignment = chosen(&made.assignments, which, Fresh.id());
                RolesCommand::Unassign(UnassignRole { assignment }).into()
            }
        }
    }
}

fn allowed(number: usize) -> CustomPermissions {
    let set: PermissionSet = ALLOWED[number].iter().copied().collect();
    CustomPermissions::try_from(set).unwrap()
}
