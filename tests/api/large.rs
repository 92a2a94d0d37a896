//! An organization of 200 roles, 500 teams and 10,000 people: what authorising a request costs there, and what the lists
//! do. `cargo xtask bench` holds the release build to tighter bounds.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use settled::actor::{Actor, ActorId};
use settled::clock::Clock;
use settled::command::Command;
use settled::ids::{Fresh, RoleId, TeamId, UserId};
use settled::seal::Plain;
use settled::seal::keyring::NewDataKey;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonJoined;
use settled::settings::people::{email_field, name_field};
use settled::settings::roles::command::{AssignRole, CreateRole, RolesCommand};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef, SystemRole};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::teams::command::{AddMember, CreateTeam, TeamsCommand};
use settled::store::Submission;
use settled::store::rights::KnownRights;
use settled::text::Name;

use crate::server::{Somebody, TestServer};

const ROLES: usize = 200;
const TEAMS: usize = 500;
const PEOPLE: usize = 10_000;
/// In how many teams everybody is.
const TEAMS_EACH: usize = 3;
/// What a list may take at most: three times what the release build is held to.
const LIST_MOST: Duration = Duration::from_millis(60);
/// How many commands wait for the writer at once.
const IN_FLIGHT: usize = 512;
/// The store's side of an organization that grows large.
struct Growing<'a> {
    server: &'a TestServer,
    owner: &'a Somebody,
}

impl Growing<'_> {
    /// Submits commands, many at a time.
    async fn submit(&self, commands: Vec<(Command, Option<NewDataKey>)>) {
        let store = &self.server.app().store;
        let handle = self.server.handle(self.owner.organization);
        let mut rest = commands.into_iter();
        loop {
            let next: Vec<_> = rest.by_ref().take(IN_FLIGHT).collect();
            if next.is_empty() {
                return;
            }
            let executed = join_all(next.into_iter().map(|(command, key)| {
                let mut submission = Submission::new(command, Actor::SYSTEM);
                submission.keys.extend(key);
                store.execute(&handle, submission)
            }));
            assert!(executed.await.iter().all(|done| done.as_ref().is_ok_and(|done| done.events == 1)));
        }
    }

    async fn grow(&self) {
        let roles: Vec<RoleId> = (0..ROLES).map(|_| Fresh.id()).collect();
        let teams: Vec<TeamId> = (0..TEAMS).map(|_| Fresh.id()).collect();
        let people: Vec<UserId> = (0..PEOPLE).map(|_| Fresh.id()).collect();
        let created = roles.iter().enumerate().map(|(number, role)| (create(*role, number).into(), None));
        self.submit(created.collect()).await;
        let created = teams.iter().enumerate().map(|(number, team)| {
            let create = CreateTeam { team: *team, name: name("Team", number), description: None };
            (TeamsCommand::Create(create).into(), None)
        });
        self.submit(created.collect()).await;
        let joined = tokio::task::block_in_place(|| people.iter().map(|person| self.join(*person)).collect());
        self.submit(joined).await;
        let mut given = Vec::new();
        for (number, team) in teams.iter().enumerate() {
            given.push((assign(Grantee::Team(*team), roles[number % ROLES]), None));
        }
        for (number, person) in people.iter().enumerate() {
            for of in 0..TEAMS_EACH {
                let team = teams[(number + of * 7) % TEAMS];
                given.push((TeamsCommand::AddMember(AddMember { team, person: *person }).into(), None));
            }
            if number % 5 == 0 {
                given.push((assign(Grantee::Person(*person), roles[number % ROLES]), None));
            }
        }
        self.submit(given).await;
    }

    fn join(&self, person: UserId) -> (Command, Option<NewDataKey>) {
        let stream = self.server.handle(self.owner.organization).stream();
        let (key, id) = (self.server.app().store.ring().mint(stream).unwrap(), person.to_string());
        let joined = PersonJoined {
            person,
            key: key.id(),
            name: key.key().seal(&name_field(stream, &id), &Plain::from("Somebody")),
            email: key.key().seal(&email_field(stream, &id), &Plain::from("somebody@example.com")),
        };
        (PeopleCommand::Join(joined).into(), Some(key))
    }
}

fn name(kind: &str, number: usize) -> Name {
    Name::try_from(format!("{kind} {number}").as_str()).unwrap()
}

/// A role that allows every third permission, beginning with another one each.
fn create(role: RoleId, number: usize) -> RolesCommand {
    let all = Permission::ALL.iter().copied().filter(|permission| *permission != Permission::OrganizationOwn);
    let some: PermissionSet = all.skip(number % 3).step_by(3).collect();
    let permissions = CustomPermissions::try_from(some).unwrap();
    RolesCommand::Create(CreateRole { role, name: name("Role", number), description: None, permissions })
}

fn assign(grantee: Grantee, role: RoleId) -> Command {
    let (assignment, role) = (Fresh.id(), RoleRef::Custom(role));
    RolesCommand::Assign(AssignRole { assignment, grantee, role, environment: None }).into()
}

/// The shortest of some times: what else the machine does makes each longer.
async fn shortest(clock: &Clock, server: &TestServer, who: &Somebody, path: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..10 {
        let began = clock.boot_elapsed();
        server.get(path, who).await.is(200);
        times.push(clock.boot_elapsed() - began);
    }
    times.into_iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn authorising_is_a_small_part_of_a_read_and_lists_are_quick() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.put("/v1/environments/dev/config/A", &owner, &json!({"value": 1})).await.is(201);
    Growing { server: &server, owner: &owner }.grow().await;
    let clock = Clock::system();

    let view = server.handle(owner.organization).view();
    let people: Vec<ActorId> =
        view.organization().people.iter().map(|person| ActorId::Person(person.id)).collect();
    assert_eq!(people.len(), PEOPLE + 1);
    let known = KnownRights::default();
    let all = || {
        let began = clock.boot_elapsed();
        let may = people
            .iter()
            .filter(|actor| known.of(view.organization(), **actor).allows(Permission::ConfigRead));
        (may.count(), clock.boot_elapsed() - began)
    };
    let (computed, known) = (all(), all());
    assert_eq!(computed.0, known.0);
    assert!(computed.0 > PEOPLE / 4 && computed.0 < PEOPLE, "{} may", computed.0);
    let read = shortest(&clock, &server, &owner, "/v1/environments/dev/config/A").await;
    let authorising = known.1 / u32::try_from(people.len()).unwrap();
    assert!(authorising * 100 <= read * 3, "{authorising:?} of {read:?}");

    // Of the last one, everybody is looked at.
    for (path, most) in [
        ("/v1/roles/matrix", LIST_MOST),
        ("/v1/roles?limit=200", LIST_MOST),
        ("/v1/teams?limit=200", LIST_MOST),
        ("/v1/role-assignments?limit=200", LIST_MOST),
        ("/v1/access/explain?permission=config:read", LIST_MOST),
        ("/v1/access/explain?permission=organization:own", 10 * LIST_MOST),
    ] {
        let took = shortest(&clock, &server, &owner, path).await;
        assert!(took <= most, "{path}: {took:?}");
    }
    let matrix = server.get("/v1/roles/matrix", &owner).await.is(200).json();
    assert_eq!(matrix["roles"].as_array().unwrap().len(), SystemRole::ALL.len() + ROLES);
}
