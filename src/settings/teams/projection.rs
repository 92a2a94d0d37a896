//! Teams and who is in them as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{TeamId, UserId};
use crate::organization::Organization;
use crate::settings::roles::permission::Permission;
use crate::settings::teams::event::{TeamUpdated, TeamsEvent};
use crate::settings::teams::restore::restore;

/// The most memberships of an organization, over all teams.
pub const MEMBERSHIPS_MAX: usize = 100_000;

/// The teams of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Teams {
    teams: RedBlackTreeMapSync<TeamId, Team>,
    by_person: RedBlackTreeMapSync<(UserId, TeamId), ()>,
}

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// The team.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its members, each with the time since when.
    pub members: RedBlackTreeMapSync<UserId, Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, or its members were.
    pub updated_at: Timestamp,
    /// The stream version of that change.
    pub version: Version,
}

impl Teams {
    /// A team by id.
    pub fn get(&self, id: TeamId) -> Option<&Team> {
        self.teams.get(&id)
    }

    /// All teams, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Team> {
        self.teams.values()
    }

    /// The teams that a person is in, by id.
    pub fn of(&self, person: UserId) -> impl Iterator<Item = TeamId> + '_ {
        let whole = (person, TeamId::min())..=(person, TeamId::max());
        self.by_person.range(whole).map(|((_, team), ())| *team)
    }

    /// The members of a team, by id; none where there is no such team.
    pub fn members(&self, team: TeamId) -> impl Iterator<Item = UserId> + '_ {
        self.get(team).into_iter().flat_map(|team| team.members.keys().copied())
    }

    /// Whether so many more memberships can be.
    pub fn has_room_for(&self, memberships: usize) -> bool {
        self.by_person.size() + memberships <= MEMBERSHIPS_MAX
    }

    /// A team, to be changed by an event.
    fn changed(&mut self, id: TeamId, recorded: &Recorded) -> Option<&mut Team> {
        let team = self.teams.get_mut(&id)?;
        team.updated_at = recorded.at;
        team.version = recorded.version;
        Some(team)
    }

    fn update(&mut self, updated: &TeamUpdated, recorded: &Recorded) {
        let Some(team) = self.changed(updated.team, recorded) else { return };
        if let Some(name) = &updated.name {
            team.name.clone_from(name);
        }
        if let Some(description) = &updated.description {
            team.description = Some(description.clone());
        }
        if updated.cleared.iter().any(|field| field == "description") {
            team.description = None;
        }
    }

    fn remove_member(&mut self, id: TeamId, person: UserId, recorded: &Recorded) {
        if let Some(team) = self.changed(id, recorded) {
            team.members.remove_mut(&person);
            self.by_person.remove_mut(&(person, id));
        }
    }

    fn leave_all(&mut self, person: UserId, recorded: &Recorded) {
        for id in self.of(person).collect::<Vec<_>>() {
            self.remove_member(id, person, recorded);
        }
    }

    fn delete(&mut self, id: TeamId) {
        for person in self.members(id).collect::<Vec<_>>() {
            self.by_person.remove_mut(&(person, id));
        }
        self.teams.remove_mut(&id);
    }
}

impl Fold for Teams {
    const NAME: &'static str = "teams";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let event = match &recorded.event {
            Event::Teams(event) => event,
            // Whoever leaves the organization leaves its teams.
            Event::People(event) => {
                if let Some(person) = event.departed() {
                    self.leave_all(person, recorded);
                }
                return;
            }
            _ => return,
        };
        match event {
            TeamsEvent::TeamCreated(created) => {
                let team = Team {
                    id: created.team,
                    name: created.name.clone(),
                    description: created.description.clone(),
                    members: RedBlackTreeMapSync::new_sync(),
                    created_at: recorded.at,
                    updated_at: recorded.at,
                    version: recorded.version,
                };
                self.teams.insert_mut(created.team, team);
            }
            TeamsEvent::TeamUpdated(updated) => self.update(updated, recorded),
            TeamsEvent::TeamDeleted(deleted) => self.delete(deleted.team),
            TeamsEvent::MemberAdded(added) => {
                if let Some(team) = self.changed(added.team, recorded) {
                    team.members.insert_mut(added.person, recorded.at);
                    self.by_person.insert_mut((added.person, added.team), ());
                }
            }
            TeamsEvent::MemberRemoved(removed) => {
                self.remove_member(removed.team, removed.person, recorded);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.teams.size() + self.by_person.size()
    }
}

impl Area for Teams {
    const READS: &'static [&'static str] = &[
        "team.create",
        "team.update",
        "team.delete",
        "team.add_member",
        "team.remove_member",
        "person.remove",
        "person.erase",
    ];
    const CASCADES: &'static [&'static str] = &["person.remove", "person.erase"];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] = &[
        Reads { kind: ResourceType::Team, permission: Permission::PersonRead },
        Reads { kind: ResourceType::TeamMember, permission: Permission::PersonRead },
    ];

    fn of(organization: &Organization) -> &Self {
        &organization.teams
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let (Focus::Resource(id) | Focus::Named(id, _)) = focus else { return self.clone() };
        let mut narrowed = Self::default();
        if let Some(team) = id.parse().ok().and_then(|id| self.get(id)) {
            narrowed.teams.insert_mut(team.id, team.clone());
            for person in team.members.keys() {
                narrowed.by_person.insert_mut((*person, team.id), ());
            }
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        let meant: Vec<&Team> = match focus {
            Focus::All | Focus::Actions(_) => self.iter().collect(),
            Focus::Resource(id) | Focus::Named(id, _) => {
                id.parse().ok().and_then(|id| self.get(id)).into_iter().collect()
            }
        };
        for team in meant {
            let id = team.id.to_string();
            if focus.includes(&id) {
                let told = fields([
                    ("name", Some(team.name.as_str().into())),
                    ("description", team.description.as_deref().map(Into::into)),
                ]);
                into.insert(Subject::new(ResourceType::Team, &id), told);
            }
            for person in team.members.keys().map(ToString::to_string) {
                if focus.includes_named(&id, &person) {
                    let told = fields([("person", Some(person.as_str().into()))]);
                    into.insert(Subject::named(ResourceType::TeamMember, &id, &person), told);
                }
            }
        }
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
