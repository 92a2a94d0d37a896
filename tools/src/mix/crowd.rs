//! An organization grown large: many people in many teams with many roles. What authorisation costs is measured there.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::command::Command;
use settled::ids::{Fresh, RoleId, TeamId, UserId};
use settled::seal::Plain;
use settled::settings::people::command::PeopleCommand;
use settled::settings::people::event::PersonJoined;
use settled::settings::people::{email_field, name_field};
use settled::settings::roles::command::{AssignRole, CreateRole, RolesCommand};
use settled::settings::roles::permission::{Permission, PermissionSet};
use settled::settings::roles::role::{Grantee, RoleRef};
use settled::settings::roles::value::CustomPermissions;
use settled::settings::teams::command::{AddMember, CreateTeam, TeamsCommand};
use settled::store::resident::Handle;
use settled::store::{Store, Submission};
use settled::text::Name;

use super::dice::Dice;
use super::generate::Filled;
use super::store::OpenStore;

/// In how many teams everybody is.
const TEAMS_EACH: usize = 3;
/// One of so many people has a role of their own, too.
const OWN_ROLE_PER: usize = 5;

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crowd {
    /// Custom roles.
    pub roles: usize,
    /// Teams, each with a role.
    pub teams: usize,
    /// People, each in some teams.
    pub people: usize,
}

/// What the figures in `BENCHMARKS.md` are about.
pub const CROWD: Crowd = Crowd { roles: 200, teams: 500, people: 10_000 };

impl Crowd {
    /// Lets an organization become so large, as its Owner; gives where it is published.
    ///
    /// # Errors
    /// When the store refuses anything.
    pub async fn gather(self, open: &OpenStore, filled: &Filled, seed: u64) -> Result<Arc<Handle>> {
        let store = &open.store;
        let handle = store.organization(filled.known.organization).await?;
        let handle = handle.context("the organization is there")?;
        let owner = Actor { id: ActorId::Person(filled.known.owner), session: None };
        let mut dice = Dice::new(seed);
        let roles: Vec<RoleId> = (0..self.roles).map(|_| Fresh.id()).collect();
        let teams: Vec<TeamId> = (0..self.teams).map(|_| Fresh.id()).collect();
        let people: Vec<UserId> = (0..self.people).map(|_| Fresh.id()).collect();
        let mut submissions = Vec::new();
        let mut submit = |command: Command| submissions.push(Submission::new(command, owner));
        for (number, role) in roles.iter().enumerate() {
            submit(create_role(*role, number, &mut dice)?.into());
        }
        for (number, team) in teams.iter().enumerate() {
            let name = Name::try_from(format!("Team {number}").as_str())?;
            submit(TeamsCommand::Create(CreateTeam { team: *team, name, description: None }).into());
            submit(assign(Grantee::Team(*team), roles[dice.below(roles.len())]).into());
        }
        for (number, person) in people.iter().enumerate() {
            submissions.push(join(store, &handle, owner, *person, number)?);
        }
        for (number, person) in people.iter().enumerate() {
            for _ in 0..TEAMS_EACH {
                let team = teams[dice.below(teams.len())];
                let add = TeamsCommand::AddMember(AddMember { team, person: *person });
                submissions.push(Submission::new(add, owner));
            }
            if number % OWN_ROLE_PER == 0 {
                let own = assign(Grantee::Person(*person), roles[dice.below(roles.len())]);
                submissions.push(Submission::new(own, owner));
            }
        }
        open.submit_all(&handle, submissions.into_iter().map(Ok)).await?;
        Ok(handle)
    }
}

/// A role that allows a few things.
fn create_role(role: RoleId, number: usize, dice: &mut Dice) -> Result<RolesCommand> {
    let all = Permission::ALL.iter().copied().filter(|permission| *permission != Permission::OrganizationOwn);
    let set: PermissionSet = all.filter(|_| dice.happens(150)).collect();
    let name = Name::try_from(format!("Role {number}").as_str())?;
    let permissions = CustomPermissions::try_from(set)?;
    Ok(RolesCommand::Create(CreateRole { role, name, description: None, permissions }))
}

fn assign(grantee: Grantee, role: RoleId) -> RolesCommand {
    let (assignment, role) = (Fresh.id(), RoleRef::Custom(role));
    RolesCommand::Assign(AssignRole { assignment, grantee, role, environment: None })
}

fn join(store: &Store, handle: &Handle, owner: Actor, person: UserId, number: usize) -> Result<Submission> {
    let (stream, id) = (handle.stream(), person.to_string());
    let new = store.ring().mint(stream)?;
    let joined = PersonJoined {
        person,
        key: new.id(),
        name: new.key().seal(&name_field(stream, &id), &Plain::from(format!("Person {number}"))),
        email: new.key().seal(&email_field(stream, &id), &Plain::from(format!("p{number}@example.com"))),
    };
    let mut submission = Submission::new(PeopleCommand::Join(joined), owner);
    submission.keys = vec![new];
    Ok(submission)
}
