//! Who may do what, over all areas: what an actor was given, and the two rules that every grant goes through, ceiling
//! and reach. Whatever gives rights (assignments and keys so far) is told in [`held`], and nowhere else.

use rpds::RedBlackTreeMapSync;

use crate::actor::ActorId;
use crate::ids::{ApiKeyId, EnvironmentId, UserId};
use crate::organization::Organization;
use crate::settings::environments::event::Mode;
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::role::RoleRef;

/// How far a permission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// In the whole organization.
    Organization,
    /// In all environments of a mode, those to come included.
    Mode(Mode),
    /// In one environment.
    Environment(EnvironmentId),
}

impl Extent {
    /// The whole organization, or one environment of it.
    pub fn of(environment: Option<EnvironmentId>) -> Self {
        environment.map_or(Self::Organization, Self::Environment)
    }
}

/// Permissions, and how far they hold.
pub type Held = (Extent, PermissionSet);

/// Everything that an actor was given, grant by grant.
pub fn held(organization: &Organization, actor: ActorId) -> Vec<Held> {
    match actor {
        ActorId::System | ActorId::Operator => vec![(Extent::Organization, PermissionSet::ALL)],
        ActorId::Person(person) => by_assignments(organization, person),
        ActorId::ApiKey(key) => by_key(organization, key),
        ActorId::Account(_) => Vec::new(),
    }
}

fn by_assignments(organization: &Organization, person: UserId) -> Vec<Held> {
    let roles = &organization.roles;
    let given = roles.assignments_of(person).map(|(_, assignment)| {
        let permissions = roles.permissions(assignment.role).unwrap_or_default();
        match assignment.environment {
            None => (Extent::Organization, permissions),
            Some(environment) => (Extent::Environment(environment), permissions.per_environment()),
        }
    });
    given.collect()
}

fn by_key(organization: &Organization, key: ApiKeyId) -> Vec<Held> {
    let Some(key) = organization.api_keys.get(key).filter(|key| !key.is_revoked()) else { return Vec::new() };
    key_holds(organization, key.role, key.mode, &key.extents()).unwrap_or_default()
}

/// What a key of this role and mode holds: what is an environment's as far as it is meant for, what is not only if it is
/// live, and the organization itself never. `None` if there is no such role.
pub fn key_holds(
    organization: &Organization,
    role: RoleRef,
    mode: Mode,
    extents: &[Extent],
) -> Option<Vec<Held>> {
    let role = organization.roles.permissions(role)?;
    let permissions = role.minus(PermissionSet::of_one(Permission::OrganizationOwn));
    let scoped = permissions.per_environment();
    let mut held: Vec<Held> = extents.iter().map(|extent| (*extent, scoped)).collect();
    if mode == Mode::Live {
        held.push((Extent::Organization, permissions.minus(scoped)));
    }
    Some(held)
}

/// The ceiling: whoever gives permissions needs each of them, as far as they are to hold, now.
///
/// # Errors
/// The first permission that the actor lacks.
pub fn ceiling(organization: &Organization, actor: ActorId, given: &[Held]) -> Result<(), Permission> {
    let grants = grants(organization, actor);
    let lacks = |(extent, permissions): &Held| permissions.minus(grants.at(*extent)).iter().next();
    match given.iter().find_map(lacks) {
        Some(missing) => Err(missing),
        None => Ok(()),
    }
}

/// Reach: whoever acts on a subject holds all that the subject does.
///
/// # Errors
/// The first permission that the subject holds and the actor lacks.
pub fn reach(organization: &Organization, actor: ActorId, subject: ActorId) -> Result<(), Permission> {
    ceiling(organization, actor, &held(organization, subject))
}

/// What an actor may do.
pub fn grants(organization: &Organization, actor: ActorId) -> Grants {
    let mut grants = Grants::default();
    for (extent, permissions) in held(organization, actor) {
        match extent {
            Extent::Organization => grants.organization = grants.organization.union(permissions),
            Extent::Environment(environment) if organization.environments.get(environment).is_some() => {
                let held = grants.environments.get(&environment).copied().unwrap_or_default();
                grants.environments.insert_mut(environment, held.union(permissions));
            }
            // An environment that is gone may be brought back; until then nothing holds in it.
            Extent::Environment(_) => {}
            Extent::Mode(mode) => {
                let environments = organization.environments.by_mode().clone();
                grants.in_mode = Some(InMode { mode, permissions, environments });
            }
        }
    }
    grants
}

/// What one subject may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Everywhere.
    pub organization: PermissionSet,
    /// In single environments, beyond what holds everywhere.
    pub environments: RedBlackTreeMapSync<EnvironmentId, PermissionSet>,
    /// In the environments of a mode, of a key that is not limited to some of them.
    pub in_mode: Option<InMode>,
}

/// What holds in all environments of a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InMode {
    mode: Mode,
    permissions: PermissionSet,
    /// The environments that there are, of either mode; shared with the state.
    environments: RedBlackTreeMapSync<(Mode, EnvironmentId), ()>,
}

impl InMode {
    fn includes(&self, environment: EnvironmentId) -> bool {
        self.environments.contains_key(&(self.mode, environment))
    }
}

impl Grants {
    /// Whether the permission is held in the whole organization.
    pub fn allows(&self, permission: Permission) -> bool {
        self.organization.contains(permission)
    }

    /// Whether the permission is held in this environment.
    pub fn allows_in(&self, permission: Permission, environment: EnvironmentId) -> bool {
        self.at(Extent::Environment(environment)).contains(permission)
    }

    /// Whether the permission is held anywhere.
    pub fn allows_somewhere(&self, permission: Permission) -> bool {
        self.allows(permission)
            || self.environments.values().any(|set| set.contains(permission))
            || self.in_mode.as_ref().is_some_and(|held| held.permissions.contains(permission))
    }

    /// Whether the permission is held as far as each of these.
    pub fn allows_at(&self, permission: Permission, extents: &[Extent]) -> bool {
        extents.iter().all(|extent| self.at(*extent).contains(permission))
    }

    /// All that is held as far as this.
    pub fn at(&self, extent: Extent) -> PermissionSet {
        let (single, in_mode) = match extent {
            Extent::Organization => (None, None),
            Extent::Mode(mode) => (None, self.in_mode.as_ref().filter(|held| held.mode == mode)),
            Extent::Environment(environment) => (
                self.environments.get(&environment).copied(),
                self.in_mode.as_ref().filter(|held| held.includes(environment)),
            ),
        };
        let beyond =
            single.unwrap_or_default().union(in_mode.map(|held| held.permissions).unwrap_or_default());
        self.organization.union(beyond)
    }
}
