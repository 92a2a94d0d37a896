//! Who may do what, over all areas: what an actor was given, and the two rules that every grant goes through, ceiling
//! and reach. Whatever gives rights is told in [`held`], and nowhere else.

use rpds::RedBlackTreeMapSync;

use crate::actor::ActorId;
use crate::ids::{EnvironmentId, RoleAssignmentId, TeamId, UserId};
use crate::organization::Organization;
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::projection::Assignment;
use crate::settings::roles::role::Grantee;
use crate::settings::teams::projection::Teams;

/// How far a permission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// In the whole organization.
    Organization,
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

/// What a role with these permissions gives: in one environment only those that can be granted there.
pub fn given(permissions: PermissionSet, environment: Option<EnvironmentId>) -> Held {
    let permissions = if environment.is_some() { permissions.per_environment() } else { permissions };
    (Extent::of(environment), permissions)
}

/// Everything that an actor was given, grant by grant.
pub fn held(organization: &Organization, actor: ActorId) -> Vec<Held> {
    match actor {
        ActorId::System | ActorId::Operator => vec![(Extent::Organization, PermissionSet::ALL)],
        ActorId::Person(person) => by_assignments(organization, person),
        ActorId::Account(_) | ActorId::ApiKey(_) => Vec::new(),
    }
}

fn by_assignments(organization: &Organization, person: UserId) -> Vec<Held> {
    grantees(&organization.teams, person).flat_map(|grantee| held_by(organization, grantee)).collect()
}

/// A person, and the teams that they are a member of: whose roles they have.
pub fn grantees(teams: &Teams, person: UserId) -> impl Iterator<Item = Grantee> + '_ {
    std::iter::once(Grantee::Person(person)).chain(teams.of(person).map(Grantee::Team))
}

/// What a person or a team was given in its own right, grant by grant.
pub fn held_by(organization: &Organization, grantee: Grantee) -> impl Iterator<Item = Held> {
    let roles = &organization.roles;
    roles.assignments_of(grantee).map(|(_, assignment)| {
        given(roles.permissions(assignment.role).unwrap_or_default(), assignment.environment)
    })
}

/// The ceiling: whoever gives permissions needs each of them, as far as they are to hold, now.
///
/// # Errors
/// The first permission that the actor lacks.
pub fn ceiling(organization: &Organization, actor: ActorId, given: &[Held]) -> Result<(), Permission> {
    match grants(organization, actor).lacking(given) {
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

/// Reach beyond what is acted on: whether nobody loses anything by a change who holds a permission that the actor
/// lacks. `changed` says what the role of an assignment allows afterwards, where that is something else.
pub fn spares_those_above(
    organization: &Organization,
    actor: ActorId,
    people: impl IntoIterator<Item = UserId>,
    changed: impl Fn(RoleAssignmentId, &Assignment) -> Option<PermissionSet>,
) -> bool {
    let roles = &organization.roles;
    let gives = |(id, assignment): (&RoleAssignmentId, &Assignment)| {
        let permissions = changed(*id, assignment).or_else(|| roles.permissions(assignment.role));
        given(permissions.unwrap_or_default(), assignment.environment)
    };
    let grants = grants(organization, actor);
    people.into_iter().all(|person| {
        let before = by_assignments(organization, person);
        let afterwards = || -> Grants {
            let assignments =
                grantees(&organization.teams, person).flat_map(|grantee| roles.assignments_of(grantee));
            assignments.map(&gives).collect()
        };
        grants.lacking(&before).is_none() || afterwards().lacking(&before).is_none()
    })
}

/// Reach over a team of which some assignments end: all that it gives is held, and those above are spared.
pub fn reaches_team(
    organization: &Organization,
    actor: ActorId,
    team: TeamId,
    ends: impl Fn(RoleAssignmentId) -> bool,
) -> bool {
    let held: Vec<Held> = held_by(organization, Grantee::Team(team)).collect();
    let ended = |id, assignment: &Assignment| {
        (assignment.grantee == Grantee::Team(team) && ends(id)).then_some(PermissionSet::NONE)
    };
    ceiling(organization, actor, &held).is_ok()
        && spares_those_above(organization, actor, organization.teams.members(team), ended)
}

/// What an actor may do.
pub fn grants(organization: &Organization, actor: ActorId) -> Grants {
    held(organization, actor).into_iter().collect()
}

/// What one subject may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Everywhere.
    pub organization: PermissionSet,
    /// In single environments, beyond what holds everywhere.
    pub environments: RedBlackTreeMapSync<EnvironmentId, PermissionSet>,
}

impl FromIterator<Held> for Grants {
    fn from_iter<I: IntoIterator<Item = Held>>(all: I) -> Self {
        let mut grants = Self::default();
        for (extent, permissions) in all {
            match extent {
                Extent::Organization => grants.organization = grants.organization.union(permissions),
                Extent::Environment(environment) => {
                    let held = grants.environments.get(&environment).copied().unwrap_or_default();
                    grants.environments.insert_mut(environment, held.union(permissions));
                }
            }
        }
        grants
    }
}

impl Grants {
    /// The first permission of others that is not held as far as theirs is.
    pub fn lacking(&self, others: &[Held]) -> Option<Permission> {
        others.iter().find_map(|(extent, permissions)| permissions.minus(self.at(*extent)).iter().next())
    }

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
        self.allows(permission) || self.environments.values().any(|set| set.contains(permission))
    }

    /// All that is held as far as this.
    pub fn at(&self, extent: Extent) -> PermissionSet {
        match extent {
            Extent::Organization => self.organization,
            Extent::Environment(environment) => {
                let single = self.environments.get(&environment).copied().unwrap_or_default();
                self.organization.union(single)
            }
        }
    }
}
