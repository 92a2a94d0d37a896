//! Assignments of roles as a fold. What they come to for whoever has them is told in `access.rs`.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{EnvironmentId, RoleAssignmentId, UserId};
use crate::organization::Organization;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::roles::event::RolesEvent;
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::restore::restore;
use crate::settings::roles::role::{RoleRef, SystemRole};

/// Who has which role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Roles {
    assignments: RedBlackTreeMapSync<RoleAssignmentId, Assignment>,
    by_person: RedBlackTreeMapSync<(UserId, RoleAssignmentId), ()>,
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

impl Roles {
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

    /// Whether some owner remains when this assignment goes.
    pub fn owner_remains_without(&self, gone: RoleAssignmentId) -> bool {
        self.assignments.iter().any(|(id, assignment)| *id != gone && assignment.is_ownership())
    }

    fn remove(&mut self, id: RoleAssignmentId) {
        if let Some(person) = self.assignments.get(&id).map(|assignment| assignment.person) {
            self.assignments.remove_mut(&id);
            self.by_person.remove_mut(&(person, id));
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
            Event::General(_)
            | Event::Environments(_)
            | Event::Secrets(_)
            | Event::People(_)
            | Event::ApiKeys(_)
            | Event::Sessions(_)
            | Event::Accounts(_)
            | Event::Foundings(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
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
        &["role_assignment.create", "role_assignment.delete", "environment.delete"];
    const CASCADES: &'static [&'static str] = &["environment.delete"];
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
