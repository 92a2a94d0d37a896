//! Random sequences of grants: nobody ever comes to hold more than they held and those who acted did, and nobody loses
//! anything by whom they are above.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::command::{Command, Context, Rejection};
use settled::event::Recorded;
use settled::ids::{
    EnvironmentId, Fresh, OrganizationId, RoleAssignmentId, RoleId, StreamId, TeamId, UserId,
};
use settled::organization::Organization;
use settled::seal::{Sealed, SealedBytes};
use settled::settings::environments::command::{CreateEnvironment, EnvironmentsCommand};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::Slug;
use settled::settings::general::command::{FoundOrganization, GeneralCommand, UpdateOrganization};
use settled::settings::general::value::Timezone;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonJoined;
use settled::settings::roles::access::{Grants, Held, given, held};
use settled::settings::roles::command::{
    AssignRole, CreateRole, DeleteRole, RolesCommand, UnassignRole, UpdateRole,
};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::teams::command::{
    AddMember, CreateTeam, DeleteTeam, RemoveMember, TeamsCommand, UpdateTeam,
};
use settled::store::resident::State;
use settled::text::Name;

use crate::scale;

/// What custom roles are made of: what manages access, and some of what access is about.
const PARTS: &[Permission] = &[
    Permission::RoleManage,
    Permission::RoleAssign,
    Permission::TeamManage,
    Permission::OrganizationUpdate,
    Permission::EnvironmentRead,
    Permission::ConfigWrite,
    Permission::SecretReveal,
    Permission::AuditRead,
];

/// An organization in which people, roles and teams are known by their numbers.
#[derive(Clone)]
struct Acme {
    state: State,
    version: u64,
    people: Vec<UserId>,
    environments: Vec<EnvironmentId>,
    roles: Vec<RoleId>,
    teams: Vec<TeamId>,
    assignments: Vec<RoleAssignmentId>,
}

fn name(kind: &str, number: usize) -> Name {
    Name::try_from(format!("{kind} {number}").as_str()).unwrap()
}

fn some(bits: u8) -> CustomPermissions {
    let parts = PARTS.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    CustomPermissions::try_from(parts.map(|(_, part)| *part).collect::<PermissionSet>()).unwrap()
}

fn joined(person: UserId) -> PersonJoined {
    let key = Fresh.id();
    let sealed = || Sealed { key, data: SealedBytes(vec![1; 32].into()) };
    PersonJoined { person, key, name: sealed(), email: sealed() }
}

impl Acme {
    /// An Owner, an Admin, a Developer of one environment, somebody who manages access and little else, and two without
    /// a role; two environments, and a team of each of three kinds.
    fn new() -> Self {
        let organization: OrganizationId = Fresh.id();
        let people: Vec<UserId> = (0..6).map(|_| Fresh.id()).collect();
        let mut acme = Self {
            state: State::empty(StreamId::Organization(organization)),
            version: 0,
            environments: (0..2).map(|_| Fresh.id()).collect(),
            people,
            roles: Vec::new(),
            teams: Vec::new(),
            assignments: Vec::new(),
        };
        acme.system(GeneralCommand::Found(FoundOrganization {
            organization,
            key: Fresh.id(),
            name: name("Acme", 0),
            timezone: Timezone::try_from("UTC").unwrap(),
            plan: None,
            founder: joined(acme.people[0]),
            assignment: Fresh.id(),
        }));
        for person in acme.people.clone().into_iter().skip(1) {
            acme.system(PeopleCommand::Join(joined(person)));
        }
        for (number, environment) in acme.environments.clone().into_iter().enumerate() {
            let slug = Slug::try_from(format!("env-{number}").as_str()).unwrap();
            let (name, mode) = (name("Env", number), Mode::Test);
            let create = CreateEnvironment { environment, name, slug, mode, description: None };
            acme.system(EnvironmentsCommand::Create(create));
        }
        for bits in [0b0000_1111, 0b0011_0000, 0b1111_1111] {
            let create = acme.create_role(bits);
            acme.system(create);
        }
        let system = |role| RoleRef::System(role);
        let manager = RoleRef::Custom(acme.roles[0]);
        let first = Some(acme.environments[0]);
        for (person, role, environment) in [
            (1, system(SystemRole::Admin), None),
            (2, system(SystemRole::Developer), first),
            (3, manager, None),
        ] {
            acme.give(Grantee::Person(acme.people[person]), role, environment);
        }
        let custom = RoleRef::Custom(acme.roles[1]);
        for role in [system(SystemRole::Owner), system(SystemRole::Developer), custom] {
            let create = acme.create_team();
            acme.system(create);
            acme.give(Grantee::Team(*acme.teams.last().unwrap()), role, None);
        }
        acme
    }

    fn create_role(&mut self, bits: u8) -> RolesCommand {
        let role = Fresh.id();
        self.roles.push(role);
        let name = name("role", self.roles.len());
        RolesCommand::Create(CreateRole { role, name, description: None, permissions: some(bits) })
    }

    fn create_team(&mut self) -> TeamsCommand {
        let team = Fresh.id();
        self.teams.push(team);
        TeamsCommand::Create(CreateTeam { team, name: name("team", self.teams.len()), description: None })
    }

    fn give(&mut self, grantee: Grantee, role: RoleRef, environment: Option<EnvironmentId>) {
        let assignment = Fresh.id();
        self.assignments.push(assignment);
        self.system(RolesCommand::Assign(AssignRole { assignment, grantee, role, environment }));
    }

    fn system(&mut self, command: impl Into<Command>) {
        self.submit(Actor::SYSTEM, command.into()).expect("the system may");
    }

    /// Decides a command and takes its events in.
    fn submit(&mut self, actor: Actor, command: Command) -> Result<usize, Rejection> {
        let at = Timestamp::from_micros(1_767_323_045_000_000);
        let context = Context { actor, now: at, preconditions: Vec::new(), ordinal: None };
        let events = self.state.decide(&command, &context)?;
        let count = events.len();
        for event in events {
            self.version += 1;
            let stream = StreamId::Platform;
            self.state.apply(&Recorded {
                id: Fresh.id(),
                stream,
                version: self.version,
                at,
                actor,
                resource: event.resource,
                outcome: event.outcome,
                event: event.event,
                related: event.related,
                reason: None,
                request_id: None,
                request: None,
                count: None,
                keys: BTreeMap::new(),
            });
        }
        Ok(count)
    }

    fn organization(&self) -> &Organization {
        match &self.state {
            State::Organization(organization) => organization,
            State::Platform(_) => unreachable!("it is an organization"),
        }
    }

    /// What everybody holds.
    fn held(&self) -> BTreeMap<UserId, Vec<Held>> {
        let of = |person: &UserId| (*person, held(self.organization(), ActorId::Person(*person)));
        self.people.iter().map(of).collect()
    }

    /// What somebody would hold who joins.
    fn of_joining(&self) -> Held {
        let organization = self.organization();
        let role = organization.general.founded().unwrap().join_role;
        given(organization.roles.permissions(role).unwrap(), None)
    }

    fn ask(&mut self, by: UserId, ask: &Ask, which: Index) -> Result<usize, Rejection> {
        let command = self.command(ask, which);
        self.submit(Actor { id: ActorId::Person(by), session: None }, command)
    }

    fn command(&mut self, ask: &Ask, which: Index) -> Command {
        let person = *which.get(&self.people);
        let custom = |roles: &[RoleId]| RoleRef::Custom(*which.get(roles));
        let team = |teams: &[TeamId]| *which.get(teams);
        match *ask {
            Ask::Role(bits) => self.create_role(bits).into(),
            Ask::Allow(bits) => {
                let role = custom(&self.roles);
                let permissions = Some(some(bits));
                RolesCommand::Update(UpdateRole { role, name: None, description: None, permissions }).into()
            }
            Ask::RemoveRole => RolesCommand::Delete(DeleteRole { role: custom(&self.roles) }).into(),
            Ask::Team => self.create_team().into(),
            Ask::RenameTeam(number) => {
                let name = Some(name("renamed", usize::from(number)));
                TeamsCommand::Update(UpdateTeam { team: team(&self.teams), name, description: None }).into()
            }
            Ask::RemoveTeam => TeamsCommand::Delete(DeleteTeam { team: team(&self.teams) }).into(),
            Ask::Add(team) => {
                let team = *team.get(&self.teams);
                TeamsCommand::AddMember(AddMember { team, person }).into()
            }
            Ask::Leave(team) => {
                let team = *team.get(&self.teams);
                TeamsCommand::RemoveMember(RemoveMember { team, person }).into()
            }
            Ask::Give { role, team, environment } => {
                let assignment = Fresh.id();
                self.assignments.push(assignment);
                let custom = self.roles.iter().copied().map(RoleRef::Custom);
                let roles: Vec<_> = SystemRole::ALL.into_iter().map(RoleRef::System).chain(custom).collect();
                let grantee = match team {
                    Some(team) => Grantee::Team(*team.get(&self.teams)),
                    None => Grantee::Person(person),
                };
                let environment = environment.map(|number| self.environments[usize::from(number) % 2]);
                RolesCommand::Assign(AssignRole { assignment, grantee, role: *role.get(&roles), environment })
                    .into()
            }
            Ask::Take => {
                let assignment = *which.get(&self.assignments);
                RolesCommand::Unassign(UnassignRole { assignment }).into()
            }
            Ask::JoinWith => {
                let join_role = Some(custom(&self.roles));
                GeneralCommand::Update(UpdateOrganization { join_role, ..Default::default() }).into()
            }
        }
    }
}

/// What somebody asks for; what of, an index says.
#[derive(Clone, Debug)]
enum Ask {
    Role(u8),
    Allow(u8),
    RemoveRole,
    Team,
    RenameTeam(u8),
    RemoveTeam,
    Add(Index),
    Leave(Index),
    Give { role: Index, team: Option<Index>, environment: Option<u8> },
    Take,
    JoinWith,
}

fn ask() -> impl Strategy<Value = Ask> {
    let index = any::<Index>;
    prop_oneof![
        2 => any::<u8>().prop_map(Ask::Role),
        4 => any::<u8>().prop_map(Ask::Allow),
        1 => Just(Ask::RemoveRole),
        1 => Just(Ask::Team),
        1 => (0..3u8).prop_map(Ask::RenameTeam),
        1 => Just(Ask::RemoveTeam),
        4 => index().prop_map(Ask::Add),
        3 => index().prop_map(Ask::Leave),
        6 => (index(), prop::option::weighted(0.4, index()), prop::option::weighted(0.3, 0..2u8))
            .prop_map(|(role, team, environment)| Ask::Give { role, team, environment }),
        3 => Just(Ask::Take),
        1 => Just(Ask::JoinWith),
    ]
}

#[test]
fn nobody_rises_above_those_who_acted_and_nobody_falls_by_those_below() {
    let sequences = 1_000 * scale() as usize;
    let acme = Acme::new();
    let steps = prop::collection::vec((0..6usize, ask(), any::<Index>()), 1..24);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut appended = 0;
    for _ in 0..sequences {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        appended += assert_bounded(&acme, &steps);
    }
    assert!(appended > 3 * sequences, "{appended} commands appended something");
}

/// Follows a sequence; how many of its commands appended something.
fn assert_bounded(acme_at_first: &Acme, steps: &[(usize, Ask, Index)]) -> usize {
    let mut acme = acme_at_first.clone();
    let at_first = acme.held();
    // What those who acted held before anybody did.
    let mut sum: Vec<Held> = Vec::new();
    let (mut before, mut appended) = (at_first.clone(), 0);
    for (number, (by, ask, which)) in steps.iter().enumerate() {
        let actor = acme.people[*by];
        if !acme.ask(actor, ask, *which).is_ok_and(|events| events > 0) {
            continue;
        }
        appended += 1;
        sum.extend(&at_first[&actor]);
        let after = acme.held();
        let grants = |held: &[Held]| Grants::of(acme.organization(), held.iter().copied());
        let actors = grants(&before[&actor]);
        let most = Grants::of(acme.organization(), sum.iter().copied().chain([acme_at_first.of_joining()]));
        assert_eq!(
            most.lacking(&[acme.of_joining()]),
            None,
            "whoever joins rose by step {number} of {steps:?}"
        );
        for person in &acme.people {
            let most = grants(&[&at_first[person][..], &sum].concat());
            let risen = most.lacking(&after[person]);
            assert_eq!(risen, None, "{person} rose by step {number} of {steps:?}");
            if actors.lacking(&before[person]).is_some() {
                let lost = grants(&after[person]).lacking(&before[person]);
                assert_eq!(lost, None, "{person} fell by step {number} of {steps:?}");
            }
        }
        before = after;
    }
    appended
}
