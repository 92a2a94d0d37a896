//! Custom roles, and who has which role, as a fold. What that comes to for whoever has them is told in `access.rs`.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{EnvironmentId, RoleAssignmentId, RoleId};
use crate::organization::Organization;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::roles::event::{RoleAssigned, RoleCreated, RoleUpdated, RolesEvent};
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::restore::restore;
use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
use crate::settings::teams::event::TeamsEvent;

/// The most assignments of an organization.
pub const ASSIGNMENTS_MAX: usize = 100_000;

/// The actions that tell all about custom roles.
pub(super) const ROLE_ACTIONS: &[&str] = &["role.create", "role.update", "role.delete"];
/// The actions that tell all about assignments.
pub(super) const ASSIGNMENT_ACTIONS: &[&str] = &[
    "role_assignment.create",
    "role_assignment.delete",
    "environment.delete",
    "team.delete",
    "person.remove",
    "person.erase",
];

/// Custom roles, and who has which role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Roles {
    custom: RedBlackTreeMapSync<RoleId, CustomRole>,
    assignments: RedBlackTreeMapSync<RoleAssignmentId, Assignment>,
    by_grantee: RedBlackTreeMapSync<(Grantee, RoleAssignmentId), ()>,
}

/// A custom role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomRole {
    /// The role.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it allows.
    pub permissions: PermissionSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// One grant of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who has it.
    pub grantee: Grantee,
    /// The role.
    pub role: RoleRef,
    /// The environment that it is limited to.
    pub environment: Option<EnvironmentId>,
    /// Since when.
    pub created_at: Timestamp,
    /// The stream version of its creation.
    pub version: Version,
}

impl Roles {
    /// A custom role by id.
    pub fn get(&self, id: RoleId) -> Option<&CustomRole> {
        self.custom.get(&id)
    }

    /// All custom roles, by id.
    pub fn custom(&self) -> impl Iterator<Item = &CustomRole> {
        self.custom.values()
    }

    /// What a role allows; `None` if there is no such role.
    pub fn permissions(&self, role: RoleRef) -> Option<PermissionSet> {
        match role {
            RoleRef::System(role) => Some(PermissionSet::of(role)),
            RoleRef::Custom(id) => self.get(id).map(|role| role.permissions),
        }
    }

    /// What a role is called; `None` if there is no such role.
    pub fn name(&self, role: RoleRef) -> Option<&str> {
        match role {
            RoleRef::System(role) => Some(role.name()),
            RoleRef::Custom(id) => self.get(id).map(|role| role.name.as_str()),
        }
    }

    /// An assignment by id.
    pub fn assignment(&self, id: RoleAssignmentId) -> Option<&Assignment> {
        self.assignments.get(&id)
    }

    /// All assignments, by id.
    pub fn assignments(&self) -> impl Iterator<Item = (&RoleAssignmentId, &Assignment)> {
        self.assignments.iter()
    }

    /// Whether one more role can be given.
    pub fn has_room(&self) -> bool {
        self.assignments.size() < ASSIGNMENTS_MAX
    }

    /// The assignments of a person or a team, by id.
    pub fn assignments_of(&self, grantee: Grantee) -> impl Iterator<Item = (&RoleAssignmentId, &Assignment)> {
        let whole = (grantee, RoleAssignmentId::min())..=(grantee, RoleAssignmentId::max());
        self.by_grantee
            .range(whole)
            .filter_map(|((_, id), ())| self.assignments.get(id).map(|held| (id, held)))
    }

    fn create(&mut self, created: &RoleCreated, recorded: &Recorded) {
        let role = CustomRole {
            id: created.role,
            name: created.name.clone(),
            description: created.description.clone(),
            permissions: created.permissions,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.custom.insert_mut(created.role, role);
    }

    fn update(&mut self, updated: &RoleUpdated, recorded: &Recorded) {
        let Some(role) = self.custom.get_mut(&updated.role) else { return };
        if let Some(name) = &updated.name {
            role.name.clone_from(name);
        }
        if let Some(description) = &updated.description {
            role.description = Some(description.clone());
        }
        if updated.cleared.iter().any(|field| field == "description") {
            role.description = None;
        }
        if let Some(permissions) = updated.permissions {
            role.permissions = permissions;
        }
        role.updated_at = recorded.at;
        role.version = recorded.version;
    }

    fn assign(&mut self, assigned: &RoleAssigned, recorded: &Recorded) {
        let Some(grantee) = assigned.grantee() else { return };
        let assignment = Assignment {
            grantee,
            role: assigned.role,
            environment: assigned.environment,
            created_at: recorded.at,
            version: recorded.version,
        };
        self.insert(assigned.assignment, assignment);
    }

    fn insert(&mut self, id: RoleAssignmentId, assignment: Assignment) {
        self.by_grantee.insert_mut((assignment.grantee, id), ());
        self.assignments.insert_mut(id, assignment);
    }

    fn unassign(&mut self, id: RoleAssignmentId) {
        if let Some(grantee) = self.assignments.get(&id).map(|assignment| assignment.grantee) {
            self.assignments.remove_mut(&id);
            self.by_grantee.remove_mut(&(grantee, id));
        }
    }

    fn unassign_all(&mut self, ends: impl Fn(&Assignment) -> bool) {
        let ended = self.assignments.iter().filter(|(_, assignment)| ends(assignment));
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.unassign(id);
        }
    }
}

impl Assignment {
    /// The event that makes it what it is.
    pub fn assigned(&self, id: RoleAssignmentId) -> RoleAssigned {
        RoleAssigned::new(id, self.grantee, self.role, self.environment)
    }

    /// Whether it makes a person an owner. Whoever owns by a team may do all that an owner does, but an organization
    /// has an owner of its own, whatever becomes of its teams.
    pub fn is_ownership(&self) -> bool {
        self.role == RoleRef::System(SystemRole::Owner)
            && self.environment.is_none()
            && matches!(self.grantee, Grantee::Person(_))
    }
}

impl Fold for Roles {
    const NAME: &'static str = "roles";
    const PROJECTION: u32 = 5;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Roles(RolesEvent::RoleCreated(created)) => self.create(created, recorded),
            Event::Roles(RolesEvent::RoleUpdated(updated)) => self.update(updated, recorded),
            Event::Roles(RolesEvent::RoleDeleted(deleted)) => {
                self.custom.remove_mut(&deleted.role);
            }
            Event::Roles(RolesEvent::RoleAssigned(assigned)) => self.assign(assigned, recorded),
            Event::Roles(RolesEvent::RoleUnassigned(unassigned)) => self.unassign(unassigned.assignment),
            // A grant limited to an environment ends with it, and a team's with the team.
            Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted)) => {
                self.unassign_all(|assignment| assignment.environment == Some(deleted.environment));
            }
            Event::Teams(TeamsEvent::TeamDeleted(deleted)) => {
                self.unassign_all(|assignment| assignment.grantee == Grantee::Team(deleted.team));
            }
            // So does a grant with the membership of whoever has it.
            Event::People(event) => {
                if let Some(person) = event.departed() {
                    self.unassign_all(|assignment| assignment.grantee == Grantee::Person(person));
                }
            }
            Event::General(_)
            | Event::Environments(_)
            | Event::Secrets(_)
            | Event::Teams(_)
            | Event::Customers(_)
            | Event::CustomerData(_)
            | Event::Executions(_)
            | Event::ApiKeys(_)
            | Event::Sessions(_)
            | Event::Accounts(_)
            | Event::Foundings(_)
            | Event::Deletions(_)
            | Event::Invitations(_)
            | Event::JoinRequests(_)
            | Event::Memberships(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
            | Event::OauthApps(_)
            | Event::Connections(_)
            | Event::ManagedApps(_)
            | Event::SigningKeys(_)
            | Event::Billing(_)
            | Event::Plans(_)
            | Event::Refused(_) => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.custom.size() + self.assignments.size()
    }
}

impl Area for Roles {
    const READS: &'static [&'static str] = &[
        "role.create",
        "role.update",
        "role.delete",
        "role_assignment.create",
        "role_assignment.delete",
        "environment.delete",
        "team.delete",
        "person.remove",
        "person.erase",
    ];
    const CASCADES: &'static [&'static str] =
        &["environment.delete", "team.delete", "person.remove", "person.erase"];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] = &[
        Reads { kind: ResourceType::Role, permission: Permission::RoleRead },
        Reads { kind: ResourceType::RoleAssignment, permission: Permission::RoleRead },
    ];

    fn of(organization: &Organization) -> &Self {
        &organization.roles
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let all = matches!(focus, Focus::All);
        let told_by = |told: &[&str]| match focus {
            Focus::Actions(actions) => actions.iter().any(|action| told.contains(action)),
            Focus::All | Focus::Resource(_) | Focus::Named(..) => all,
        };
        let mut narrowed = Self::default();
        if told_by(ROLE_ACTIONS) {
            narrowed.custom = self.custom.clone();
        }
        if told_by(ASSIGNMENT_ACTIONS) {
            narrowed.assignments = self.assignments.clone();
            narrowed.by_grantee = self.by_grantee.clone();
        }
        if let Focus::Resource(id) = focus {
            if let Some(role) = id.parse().ok().and_then(|id| self.get(id)) {
                narrowed.custom.insert_mut(role.id, role.clone());
            }
            if let Ok(id) = id.parse()
                && let Some(assignment) = self.assignment(id)
            {
                narrowed.insert(id, assignment.clone());
            }
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for role in focus.among(self.custom(), |id| self.get(id)) {
            let permissions = role.permissions.iter().map(|permission| permission.to_string());
            let told = fields([
                ("name", Some(role.name.as_str().into())),
                ("description", role.description.as_deref().map(Into::into)),
                ("permissions", Some(Field::Open(Value::from_iter(permissions)))),
            ]);
            into.insert(Subject::new(ResourceType::Role, role.id), told);
        }
        for (id, held) in focus.among(self.assignments(), |id| self.assignments.get_key_value(&id)) {
            let grantee = match held.grantee {
                Grantee::Person(_) => "person",
                Grantee::Team(_) => "team",
            };
            let environment = held.environment.map(|environment| environment.to_string());
            let told = fields([
                (grantee, Some(held.grantee.to_string().as_str().into())),
                ("role", Some(held.role.to_string().as_str().into())),
                ("environment", environment.as_deref().map(Into::into)),
            ]);
            into.insert(Subject::new(ResourceType::RoleAssignment, id), told);
        }
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
