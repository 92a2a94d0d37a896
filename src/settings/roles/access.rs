//! Who may do what, over all areas: what an actor was given, and the two rules that every grant goes through, ceiling
//! and reach. Whatever gives rights is told in [`sources`], and nowhere else.

use rpds::RedBlackTreeMapSync;

use crate::actor::ActorId;
use crate::ids::{ApiKeyId, CustomerId, EnvironmentId, RoleAssignmentId, TeamId, UserId};
use crate::organization::Organization;
use crate::settings::api_keys::projection::extents;
use crate::settings::api_keys::value::Limits;
use crate::settings::environments::event::Mode;
use crate::settings::people::projection::People;
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::projection::Assignment;
use crate::settings::roles::role::{Grantee, RoleRef};
use crate::settings::teams::projection::Teams;

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

/// What a role with these permissions gives: in one environment only those that can be granted there.
pub fn given(permissions: PermissionSet, environment: Option<EnvironmentId>) -> Held {
    let permissions = if environment.is_some() { permissions.per_environment() } else { permissions };
    (Extent::of(environment), permissions)
}

/// Why an actor holds what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is Settled itself, or whoever operates it.
    System,
    /// A role was given to it, or to a team that it is in.
    Assignment(RoleAssignmentId, Grantee, RoleRef),
    /// It is a key with this role.
    Key(RoleRef),
}

/// Everything that an actor was given, grant by grant, and why.
pub fn sources(organization: &Organization, actor: ActorId) -> Vec<(Source, Held)> {
    match actor {
        ActorId::System | ActorId::Operator => {
            vec![(Source::System, (Extent::Organization, PermissionSet::ALL))]
        }
        ActorId::Person(person) if organization.people.active(person).is_some() => {
            assigned(organization, person)
        }
        ActorId::ApiKey(key) => by_key(organization, key),
        ActorId::Person(_) | ActorId::Account(_) => Vec::new(),
    }
}

/// What a person was given, grant by grant; somebody who is suspended holds nothing of it until they are let in again.
fn assigned(organization: &Organization, person: UserId) -> Vec<(Source, Held)> {
    grantees(&organization.teams, person)
        .flat_map(|grantee| organization.roles.assignments_of(grantee))
        .map(|(id, assignment)| {
            let source = Source::Assignment(*id, assignment.grantee, assignment.role);
            (source, gives(organization, assignment))
        })
        .collect()
}

/// Everything that an actor was given, grant by grant.
pub fn held(organization: &Organization, actor: ActorId) -> Vec<Held> {
    sources(organization, actor).into_iter().map(|(_, held)| held).collect()
}

/// A person, and the teams that they are a member of: whose roles they have.
pub fn grantees(teams: &Teams, person: UserId) -> impl Iterator<Item = Grantee> + '_ {
    std::iter::once(Grantee::Person(person)).chain(teams.of(person).map(Grantee::Team))
}

/// What a person or a team was given in its own right, grant by grant.
pub fn held_by(organization: &Organization, grantee: Grantee) -> Vec<Held> {
    let assignments = organization.roles.assignments_of(grantee);
    assignments.map(|(_, assignment)| gives(organization, assignment)).collect()
}

fn gives(organization: &Organization, assignment: &Assignment) -> Held {
    let permissions = organization.roles.permissions(assignment.role).unwrap_or_default();
    given(permissions, assignment.environment)
}

fn by_key(organization: &Organization, key: ApiKeyId) -> Vec<(Source, Held)> {
    let Some(key) = organization.api_keys.get(key).filter(|key| !key.is_revoked()) else { return Vec::new() };
    let held = key_holds(organization, key.role, key.mode, key.limits()).unwrap_or_default();
    held.into_iter().map(|held| (Source::Key(key.role), held)).collect()
}

/// What a key that is limited to some customers can hold: what is about customers one by one, and what it reads at run
/// time. Nothing that tells of all of them at once, or lets it give somebody more than it has.
const OF_BOUND_KEYS: [Permission; 10] = [
    Permission::EnvironmentRead,
    Permission::ConfigRead,
    Permission::SecretRead,
    Permission::CtxRead,
    Permission::ConnectionRead,
    Permission::CustomerRead,
    Permission::CustomerDataRead,
    Permission::CustomerDataWrite,
    Permission::ExecutionRead,
    Permission::ExecutionWrite,
];

/// What a key of this role and mode holds: what is an environment's as far as it is meant for, what is not only if it is
/// live, and the organization itself never. One that is limited to some environments takes no log out, which tells of all
/// of them; one that is limited to some customers holds little else. `None` if there is no such role.
pub fn key_holds(
    organization: &Organization,
    role: RoleRef,
    mode: Mode,
    limits: &Limits,
) -> Option<Vec<Held>> {
    let role = organization.roles.permissions(role)?;
    let mut permissions = role.minus(PermissionSet::of_one(Permission::OrganizationOwn));
    if limits.environments.is_some() {
        permissions = permissions.minus(PermissionSet::of_one(Permission::AuditExport));
    }
    if limits.customers.is_some() {
        let others = permissions.minus(OF_BOUND_KEYS.into_iter().collect());
        permissions = permissions.minus(others);
    }
    let extents = extents(mode, limits);
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
    match grants(organization, actor).lacking(given) {
        Some(missing) => Err(missing),
        None => Ok(()),
    }
}

/// Reach: whoever acts on a subject holds all that the subject does, or will when it is a person who is suspended.
///
/// # Errors
/// The first permission that the subject holds and the actor lacks.
pub fn reach(organization: &Organization, actor: ActorId, subject: ActorId) -> Result<(), Permission> {
    let given = match subject {
        ActorId::Person(person) => given_to(organization, person),
        other => held(organization, other),
    };
    ceiling(organization, actor, &given)
}

/// What a person was given, as far as it holds; also while they are suspended.
fn given_to(organization: &Organization, person: UserId) -> Vec<Held> {
    assigned(organization, person).into_iter().map(|(_, held)| held).collect()
}

/// Whether the organization has an owner once some grants are gone. Somebody who is suspended is none meanwhile.
pub fn owner_remains(
    organization: &Organization,
    gone: impl Fn(RoleAssignmentId, &Assignment) -> bool,
) -> bool {
    let mut grants = organization.roles.assignments();
    grants.any(|(id, held)| !gone(*id, held) && makes_owner(&organization.people, held))
}

/// Whether a grant makes somebody an owner who can act as one.
pub fn makes_owner(people: &People, held: &Assignment) -> bool {
    let can_act = match held.grantee {
        Grantee::Person(person) => people.active(person).is_some(),
        Grantee::Team(_) => false,
    };
    held.is_ownership() && can_act
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
    let afterwards = |person| {
        let assignments =
            grantees(&organization.teams, person).flat_map(|grantee| roles.assignments_of(grantee));
        let held = assignments.map(|(id, assignment)| match changed(*id, assignment) {
            Some(permissions) => given(permissions, assignment.environment),
            None => gives(organization, assignment),
        });
        Grants::of(organization, held)
    };
    let grants = grants(organization, actor);
    people.into_iter().all(|person| {
        let before = given_to(organization, person);
        grants.lacking(&before).is_none() || afterwards(person).lacking(&before).is_none()
    })
}

/// Reach over a team of which some assignments end: all that it gives is held, and those above are spared.
pub fn reaches_team(
    organization: &Organization,
    actor: ActorId,
    team: TeamId,
    ends: impl Fn(RoleAssignmentId) -> bool,
) -> bool {
    let grantee = Grantee::Team(team);
    let ended = |id, assignment: &Assignment| {
        (assignment.grantee == grantee && ends(id)).then_some(PermissionSet::NONE)
    };
    ceiling(organization, actor, &held_by(organization, grantee)).is_ok()
        && spares_those_above(organization, actor, organization.teams.members(team), ended)
}

/// What an actor may do.
pub fn grants(organization: &Organization, actor: ActorId) -> Grants {
    let customers = match actor {
        ActorId::ApiKey(key) => organization.api_keys.get(key).and_then(|key| key.limits().customers.clone()),
        ActorId::Person(_) | ActorId::Account(_) | ActorId::System | ActorId::Operator => None,
    };
    Grants { customers, ..Grants::of(organization, held(organization, actor)) }
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
    /// The customers that it is limited to, by id; `None` for all.
    pub customers: Option<Vec<CustomerId>>,
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
    /// What some grants come to together.
    pub fn of(organization: &Organization, held: impl IntoIterator<Item = Held>) -> Self {
        let mut grants = Self::default();
        for (extent, permissions) in held {
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

    /// The first permission of others that is not held as far as theirs is.
    pub fn lacking(&self, others: &[Held]) -> Option<Permission> {
        others.iter().find_map(|(extent, permissions)| permissions.minus(self.at(*extent)).iter().next())
    }

    /// Whether what is held reaches a customer.
    pub fn reaches(&self, customer: CustomerId) -> bool {
        self.customers.as_ref().is_none_or(|customers| customers.binary_search(&customer).is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{founded, has_customer, id, organization};
    use crate::seal::Commitment;
    use crate::settings::api_keys::event::{ApiKeyCreated, ApiKeysEvent};
    use crate::settings::roles::role::SystemRole;

    fn key(number: u128, customers: Option<Vec<CustomerId>>) -> Event {
        Event::ApiKeys(ApiKeysEvent::ApiKeyCreated(ApiKeyCreated {
            key: id(number),
            name: "CI".to_owned(),
            mode: Mode::Live,
            role: RoleRef::System(SystemRole::Admin),
            token: Commitment([7; 32]),
            last4: "abcd".to_owned(),
            environments: None,
            customers,
            expires_at: None,
            allowed_cidrs: None,
            rate_limit: None,
        }))
    }

    #[test]
    fn a_key_that_is_limited_to_customers_holds_what_is_about_them_alone() {
        let keys = [key(1, Some(vec![id(1)])), key(2, None)];
        let state = organization(founded().into_iter().chain([has_customer(1), has_customer(2)]).chain(keys));
        let of = |number| grants(&state, ActorId::ApiKey(id(number)));
        let (one, all) = (of(1), of(2));
        assert!(one.reaches(id(1)) && !one.reaches(id(2)) && all.reaches(id(2)));
        for permission in Permission::ALL.iter().copied().filter(|one| *one != Permission::OrganizationOwn) {
            let about_them = OF_BOUND_KEYS.contains(&permission);
            assert!(all.allows_somewhere(permission), "{permission}");
            assert_eq!(one.allows_somewhere(permission), about_them, "{permission}");
        }
        for permission in [Permission::AuditRead, Permission::HistoryRead, Permission::RoleAssign] {
            assert!(!one.allows_somewhere(permission), "it would tell of all, or give more: {permission}");
        }
    }
}
