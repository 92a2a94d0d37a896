//! Assignments, and what each subject may do, as a fold. Authorisation is a query on it.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{EnvironmentId, RoleAssignmentId, UserId};
use crate::organization::Organization;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::people::event::PeopleEvent;
use crate::settings::roles::event::RolesEvent;
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::restore::restore;
use crate::settings::roles::role::{RoleRef, SystemRole};

/// Who has which role, and so may do what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Roles {
    assignments: RedBlackTreeMapSync<RoleAssignmentId, Assignment>,
    by_person: RedBlackTreeMapSync<(UserId, RoleAssignmentId), ()>,
    grants: RedBlackTreeMapSync<UserId, Grants>,
}

/// One grant of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who has it.
    pub person: UserId,
    /// The role.
    pub role: RoleRef,
    /// The environment that it is limited to.
    pub environment: Option<EnvironmentId>,
    /// Since when.
    pub created_at: Timestamp,
    /// The stream version of its creation.
    pub version: Version,
}

/// What one subject may do: computed once per change of its assignments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Everywhere.
    pub organization: PermissionSet,
    /// In single environments, beyond what holds everywhere.
    pub environments: RedBlackTreeMapSync<EnvironmentId, PermissionSet>,
}

impl Grants {
    /// All permissions, of Settled itself and of operators.
    fn all() -> Self {
        Self {
            organization: Permission::ALL.iter().copied().collect(),
            environments: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// Whether the permission is held in the whole organization.
    pub fn allows(&self, permission: Permission) -> bool {
        self.organization.contains(permission)
    }

    /// Whether the permission is held in this environment.
    pub fn allows_in(&self, permission: Permission, environment: EnvironmentId) -> bool {
        self.allows(permission)
            || self.environments.get(&environment).is_some_and(|set| set.contains(permission))
    }

    /// Whether the permission is held anywhere.
    pub fn allows_somewhere(&self, permission: Permission) -> bool {
        self.allows(permission) || self.environments.values().any(|set| set.contains(permission))
    }
}

impl Roles {
    /// What an actor may do.
    pub fn grants(&self, actor: ActorId) -> Grants {
        match actor {
            ActorId::System | ActorId::Operator => Grants::all(),
            ActorId::Person(person) => self.grants.get(&person).cloned().unwrap_or_default(),
            ActorId::Account(_) | ActorId::ApiKey(_) => Grants::default(),
        }
    }

    /// An assignment by id.
    pub fn assignment(&self, id: RoleAssignmentId) -> Option<&Assignment> {
        self.assignments.get(&id)
    }

    /// All assignments, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&RoleAssignmentId, &Assignment)> {
        self.assignments.iter()
    }

    /// The assignments of a person, by id.
    pub fn assignments_of(&self, person: UserId) -> impl Iterator<Item = (&RoleAssignmentId, &Assignment)> {
        let whole = (person, RoleAssignmentId::min())..=(person, RoleAssignmentId::max());
        self.by_person
            .range(whole)
            .filter_map(|((_, id), ())| self.assignments.get(id).map(|held| (id, held)))
    }

    /// What a role allows; `None` if there is no such role.
    pub fn permissions(&self, role: RoleRef) -> Option<PermissionSet> {
        match role {
            RoleRef::System(role) => Some(PermissionSet::of(role)),
            RoleRef::Custom(_) => None,
        }
    }

    /// The ceiling: whoever adds permissions to a subject needs each of them, at that scope, now.
    ///
    /// # Errors
    /// The first permission that the actor lacks.
    pub fn ceiling(
        &self,
        actor: ActorId,
        added: PermissionSet,
        environment: Option<EnvironmentId>,
    ) -> Result<(), Permission> {
        let grants = self.grants(actor);
        let held = match environment {
            None => grants.organization,
            Some(environment) => {
                grants.organization.union(grants.environments.get(&environment).copied().unwrap_or_default())
            }
        };
        match added.minus(held).iter().next() {
            Some(missing) => Err(missing),
            None => Ok(()),
        }
    }

    /// Whether some owner remains when this assignment goes.
    pub fn owner_remains_without(&self, gone: RoleAssignmentId) -> bool {
        self.assignments.iter().any(|(id, assignment)| *id != gone && assignment.is_ownership())
    }

    /// Whether some owner remains when this person goes.
    pub fn owner_remains_without_person(&self, gone: UserId) -> bool {
        let mut ownerships = self.assignments.values().filter(|assignment| assignment.is_ownership());
        ownerships.any(|assignment| assignment.person != gone)
    }

    fn recompute(&mut self, person: UserId) {
        let mut grants = Grants::default();
        for (_, assignment) in self.assignments_of(person) {
            let permissions = self.permissions(assignment.role).unwrap_or_default();
            match assignment.environment {
                None => grants.organization = grants.organization.union(permissions),
                Some(environment) => {
                    let held = grants.environments.get(&environment).copied().unwrap_or_default();
                    grants.environments.insert_mut(environment, held.union(permissions.per_environment()));
                }
            }
        }
        if grants == Grants::default() {
            self.grants.remove_mut(&person);
        } else {
            self.grants.insert_mut(person, grants);
        }
    }

    fn remove(&mut self, id: RoleAssignmentId) {
        if let Some(person) = self.assignments.get(&id).map(|assignment| assignment.person) {
            self.assignments.remove_mut(&id);
            self.by_person.remove_mut(&(person, id));
            self.recompute(person);
        }
    }
}

impl Assignment {
    /// Whether it makes somebody an owner.
    pub fn is_ownership(&self) -> bool {
        self.role == RoleRef::System(SystemRole::Owner) && self.environment.is_none()
    }
}

impl Fold for Roles {
    const NAME: &'static str = "roles";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Roles(RolesEvent::RoleAssigned(assigned)) => {
                let assignment = Assignment {
                    person: assigned.person,
                    role: assigned.role,
                    environment: assigned.environment,
                    created_at: recorded.at,
                    version: recorded.version,
                };
                self.assignments.insert_mut(assigned.assignment, assignment);
                self.by_person.insert_mut((assigned.person, assigned.assignment), ());
                self.recompute(assigned.person);
            }
            Event::Roles(RolesEvent::RoleUnassigned(unassigned)) => self.remove(unassigned.assignment),
            // A grant limited to an environment ends with it.
            Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted)) => {
                let limited: Vec<_> = self
                    .assignments
                    .iter()
                    .filter(|(_, assignment)| assignment.environment == Some(deleted.environment))
                    .map(|(id, _)| *id)
                    .collect();
                for id in limited {
                    self.remove(id);
                }
            }
            // So does a grant with the membership of whoever has it.
            Event::People(PeopleEvent::PersonRemoved(removed)) => {
                let held: Vec<_> = self.assignments_of(removed.person).map(|(id, _)| *id).collect();
                for id in held {
                    self.remove(id);
                }
            }
            Event::General(_)
            | Event::Environments(_)
            | Event::People(_)
            | Event::Sessions(_)
            | Event::Accounts(_)
            | Event::Foundings(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::Refused(_) => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.assignments.size()
    }
}

impl Area for Roles {
    const READS: &'static [&'static str] =
        &["role_assignment.create", "role_assignment.delete", "environment.delete", "person.remove"];
    const CASCADES: &'static [&'static str] = &["environment.delete", "person.remove"];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::RoleAssignment, permission: Permission::RoleRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.roles
    }

    fn narrowed(&self, _focus: &Focus) -> Self {
        self.clone()
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for (id, held) in focus.among(self.iter(), |id| self.assignments.get_key_value(&id)) {
            let environment = held.environment.map(|environment| environment.to_string());
            let told = fields([
                ("person", Some(held.person.to_string().as_str().into())),
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
