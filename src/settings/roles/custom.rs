//! Making, changing and deleting custom roles.

use crate::actor::ActorId;
use crate::command::{Context, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{ApiKeyId, RoleId, UserId};
use crate::organization::Organization;
use crate::settings::api_keys::projection::ApiKey;
use crate::settings::roles::access::{Extent, ceiling, spares_those_above};
use crate::settings::roles::command::{CreateRole, DeleteRole, ROLES_MAX, RolesRejection, UpdateRole};
use crate::settings::roles::event::{RoleCreated, RoleDeleted, RoleUpdated, RolesEvent};
use crate::settings::roles::permission::PermissionSet;
use crate::settings::roles::projection::{Assignment, CustomRole, Roles};
use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
use crate::text::{Name, seen};

/// The most things that are named where a role is in use.
const USES_SHOWN: usize = 20;

/// The role with this id, if it can be changed.
fn find(roles: &Roles, role: RoleRef) -> Result<&CustomRole, RolesRejection> {
    match role {
        RoleRef::System(_) => Err(RolesRejection::SystemRole),
        RoleRef::Custom(id) => roles.get(id).ok_or(RolesRejection::NotFound),
    }
}

/// Another custom role whose name looks like this one.
pub(super) fn namesake<'a>(roles: &'a Roles, own: RoleId, name: &str) -> Option<&'a CustomRole> {
    let name = seen(name);
    roles.custom().find(|other| other.id != own && seen(&other.name) == name)
}

fn check_free(roles: &Roles, own: RoleId, name: &Name) -> Result<(), RolesRejection> {
    let is_system = SystemRole::ALL.iter().any(|role| role.name() == seen(name.as_str()));
    let is_taken = is_system || namesake(roles, own, name.as_str()).is_some();
    if is_taken { Err(RolesRejection::NameTaken) } else { Ok(()) }
}

/// Where a role is in use: the organization, if whoever joins gets it, and the first of its assignments and keys.
pub(super) fn uses(state: &Organization, role: RoleRef) -> Vec<Resource> {
    let joins = state.general.founded().filter(|general| general.join_role == role);
    let joins = joins.map(|general| {
        Resource::named(ResourceType::Organization, general.organization, general.name.as_str())
    });
    let assignments = state.roles.assignments().filter(|(_, assignment)| assignment.role == role);
    let assignments = assignments.map(|(id, _)| Resource::new(ResourceType::RoleAssignment, id));
    let keys = keys(state, role).map(|(id, key)| Resource::named(ResourceType::ApiKey, *id, &*key.name));
    joins.into_iter().chain(assignments).chain(keys).take(USES_SHOWN).collect()
}

/// The keys that have a role.
pub(super) fn keys(state: &Organization, role: RoleRef) -> impl Iterator<Item = (&ApiKeyId, &ApiKey)> {
    state.api_keys.after(None).filter(move |(_, key)| key.role == role && !key.is_revoked())
}

/// What is in a role is given in the whole organization, wherever the role will be given; and nobody changes a role
/// that allows more than they hold.
fn check_rights(
    state: &Organization,
    actor: ActorId,
    allowed: PermissionSet,
    added: PermissionSet,
) -> Result<(), Rejection> {
    let everywhere = |permissions| [(Extent::Organization, permissions)];
    ceiling(state, actor, &everywhere(allowed)).map_err(|_| Rejection::AboveYourRights)?;
    ceiling(state, actor, &everywhere(added)).map_err(Rejection::Forbidden)
}

/// Everybody who has a role, by themselves or by a team; twice, if twice.
fn holders(state: &Organization, role: RoleRef) -> impl Iterator<Item = UserId> {
    let assignments = state.roles.assignments().filter(move |(_, assignment)| assignment.role == role);
    assignments.flat_map(|(_, assignment)| match assignment.grantee {
        Grantee::Person(person) => vec![person],
        Grantee::Team(team) => state.teams.members(team).collect(),
    })
}

fn about(role: RoleId, name: &str, event: RolesEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::Role, role, name), event)
}

impl CreateRole {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        check_rights(state, context.actor.id, PermissionSet::NONE, self.permissions.set())?;
        if state.roles.custom().count() >= ROLES_MAX {
            return Err(RolesRejection::TooManyRoles.into());
        }
        check_free(&state.roles, self.role, &self.name)?;
        let created = RoleCreated {
            role: self.role,
            name: self.name.to_string(),
            description: self.description.as_ref().map(ToString::to_string),
            permissions: self.permissions.set(),
        };
        Ok(vec![about(self.role, self.name.as_str(), RolesEvent::RoleCreated(created))])
    }
}

impl UpdateRole {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(&state.roles, self.role)?;
        let permissions = self.permissions.map_or(current.permissions, |permissions| permissions.set());
        self.check_rights(state, context.actor.id, current, permissions)?;
        context.check_version(current.version)?;
        let name = self.name.as_ref().filter(|name| name.as_str() != current.name);
        let described = match &self.description {
            Some(Some(new)) if current.description.as_deref() != Some(new.as_str()) => Some(new.to_string()),
            _ => None,
        };
        let clears = self.description == Some(None) && current.description.is_some();
        let allows = Some(permissions).filter(|permissions| *permissions != current.permissions);
        if name.is_none() && described.is_none() && !clears && allows.is_none() {
            return Ok(Vec::new());
        }
        if let Some(name) = name {
            check_free(&state.roles, current.id, name)?;
        }
        let updated = RoleUpdated {
            role: current.id,
            name: name.map(ToString::to_string),
            description: described,
            permissions: allows,
            cleared: if clears { vec!["description".to_owned()] } else { Vec::new() },
        };
        let shown = updated.name.clone().unwrap_or_else(|| current.name.clone());
        Ok(vec![about(current.id, &shown, RolesEvent::RoleUpdated(updated))])
    }

    fn check_rights(
        &self,
        state: &Organization,
        actor: ActorId,
        current: &CustomRole,
        permissions: PermissionSet,
    ) -> Result<(), Rejection> {
        check_rights(state, actor, current.permissions, permissions.minus(current.permissions))?;
        if current.permissions.minus(permissions) == PermissionSet::NONE {
            return Ok(());
        }
        let changed = |_, assignment: &Assignment| (assignment.role == self.role).then_some(permissions);
        let spares = spares_those_above(state, actor, holders(state, self.role), changed);
        if spares { Ok(()) } else { Err(Rejection::AboveYourRights) }
    }
}

impl DeleteRole {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(&state.roles, self.role)?;
        check_rights(state, context.actor.id, current.permissions, PermissionSet::NONE)?;
        context.check_version(current.version)?;
        let uses = uses(state, self.role);
        if !uses.is_empty() {
            return Err(RolesRejection::InUse(uses).into());
        }
        let deleted = RolesEvent::RoleDeleted(RoleDeleted { role: current.id });
        Ok(vec![about(current.id, &current.name, deleted)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        assigned, by, by_having_seen, custom, events, founded, granted, id, member, organization, person,
        team,
    };
    use crate::settings::general::event::{GeneralEvent, OrganizationUpdated};
    use crate::settings::roles::access::grants;
    use crate::settings::roles::command::RolesCommand;
    use crate::settings::roles::permission::Permission;
    use crate::settings::roles::value::CustomPermissions;

    const READER: &[Permission] = &[Permission::ConfigRead, Permission::EnvironmentRead];

    fn allowing(permissions: &[Permission]) -> CustomPermissions {
        let set: PermissionSet = permissions.iter().copied().collect();
        CustomPermissions::try_from(set).unwrap()
    }

    fn create(number: u128, name: &str, permissions: &[Permission]) -> RolesCommand {
        RolesCommand::Create(CreateRole {
            role: id(number),
            name: Name::try_from(name).unwrap(),
            description: None,
            permissions: allowing(permissions),
        })
    }

    fn update(number: u128) -> UpdateRole {
        UpdateRole { role: RoleRef::Custom(id(number)), name: None, description: None, permissions: None }
    }

    fn allow(permissions: &[Permission]) -> RolesCommand {
        RolesCommand::Update(UpdateRole { permissions: Some(allowing(permissions)), ..update(1) })
    }

    fn delete(role: RoleRef) -> RolesCommand {
        RolesCommand::Delete(DeleteRole { role })
    }

    fn updated(permissions: Option<&[Permission]>, name: Option<&str>) -> Event {
        Event::Roles(RolesEvent::RoleUpdated(RoleUpdated {
            role: id(1),
            name: name.map(ToOwned::to_owned),
            description: None,
            permissions: permissions.map(|permissions| permissions.iter().copied().collect()),
            cleared: Vec::new(),
        }))
    }

    /// Acme, its Owner 1, Admin 2, somebody 3.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let members = member(2, Some(SystemRole::Admin)).into_iter().chain(member(3, None));
        organization(founded().into_iter().chain(members).chain(more))
    }

    fn has(assignment: u128, number: u128, role: u128) -> Event {
        granted(assignment, Grantee::Person(id(number)), RoleRef::Custom(id(role)), None)
    }

    #[test]
    fn a_role_is_made_and_gives_what_it_says_to_whoever_gets_it() {
        let decided = create(1, "role 1", READER).decide(&acme([]), &by(person(id(2))));
        assert_eq!(events(decided), Ok(vec![custom(1, READER)]));
        let grants = grants(&acme([custom(1, READER), has(4, 3, 1)]), person(id(3)).id);
        assert!(grants.allows(Permission::ConfigRead) && !grants.allows(Permission::ConfigWrite));
    }

    #[test]
    fn a_name_is_one_roles_in_any_case_and_a_system_roles_is_taken() {
        let state = acme([custom(1, READER), custom(2, READER)]);
        for name in ["Role 1", "owner", "Workflow", "Ow\u{200d}ner", "R\u{2060}ole 1", "\u{ff2f}wner"] {
            let decided = create(3, name, READER).decide(&state, &by(person(id(2))));
            assert_eq!(decided, Err(RolesRejection::NameTaken.into()), "{name}");
        }
        let rename = |name: &str| {
            let name = Some(Name::try_from(name).unwrap());
            events(RolesCommand::Update(UpdateRole { name, ..update(1) }).decide(&state, &by(person(id(2)))))
        };
        assert_eq!(rename("role 2"), Err(RolesRejection::NameTaken.into()));
        assert_eq!(rename("ROLE 1"), Ok(vec![updated(None, Some("ROLE 1"))]), "its own is not taken");
    }

    #[test]
    fn only_what_changes_is_recorded() {
        let state = acme([custom(1, READER)]);
        let decide = |command: RolesCommand| events(command.decide(&state, &by(person(id(2)))));
        assert_eq!(decide(allow(READER)), Ok(vec![]));
        let clear = UpdateRole { description: Some(None), ..update(1) };
        assert_eq!(decide(RolesCommand::Update(clear)), Ok(vec![]));
        let less = &[Permission::ConfigRead];
        assert_eq!(decide(allow(less)), Ok(vec![updated(Some(less), None)]));
    }

    #[test]
    fn a_system_role_never_changes_and_an_unknown_one_is_not_there() {
        let state = acme([]);
        let owner = RoleRef::System(SystemRole::Owner);
        let rename = RolesCommand::Update(UpdateRole { role: owner, ..update(1) });
        for command in [rename, delete(owner)] {
            let decided = command.decide(&state, &by(person(id(1))));
            assert_eq!(decided, Err(RolesRejection::SystemRole.into()));
        }
        let unknown = delete(RoleRef::Custom(id(9))).decide(&state, &by(person(id(1))));
        assert_eq!(unknown, Err(RolesRejection::NotFound.into()));
    }

    #[test]
    fn a_role_goes_once_nobody_has_it_and_nobody_joins_with_it() {
        let role = RoleRef::Custom(id(1));
        let decide = |more: Vec<Event>| {
            let state = acme(std::iter::once(custom(1, READER)).chain(more));
            events(delete(role).decide(&state, &by(person(id(2)))))
        };
        let deleted = Event::Roles(RolesEvent::RoleDeleted(RoleDeleted { role: id(1) }));
        assert_eq!(decide(vec![]), Ok(vec![deleted]));
        let uses = |kind, id: String| Err(RolesRejection::InUse(vec![Resource::new(kind, id)]).into());
        let assignment = id::<crate::ids::RoleAssignmentId>(4).to_string();
        assert_eq!(decide(vec![has(4, 3, 1)]), uses(ResourceType::RoleAssignment, assignment));
        let joins = OrganizationUpdated { join_role: Some(role), ..Default::default() };
        let joins = Event::General(GeneralEvent::OrganizationUpdated(joins));
        let Err(Rejection::Roles(RolesRejection::InUse(uses))) = decide(vec![joins]) else {
            panic!("whoever joins would get a role that is no more");
        };
        assert_eq!(uses[0].kind, ResourceType::Organization);
    }

    #[test]
    fn nobody_puts_into_a_role_what_they_lack() {
        // Somebody who manages roles, and reads configuration.
        let manager = [Permission::RoleManage, Permission::ConfigRead, Permission::EnvironmentRead];
        let state = acme([custom(2, &manager), has(4, 3, 2), custom(1, READER)]);
        let more = [Permission::ConfigRead, Permission::EnvironmentRead, Permission::ConfigWrite];
        let missing = Err(Rejection::Forbidden(Permission::ConfigWrite));
        assert_eq!(create(5, "more", &more).decide(&state, &by(person(id(3)))), missing);
        assert_eq!(allow(&more).decide(&state, &by(person(id(3)))), missing);
        assert!(create(5, "same", &manager).decide(&state, &by(person(id(3)))).is_ok());
    }

    #[test]
    fn nobody_changes_a_role_that_allows_more_than_they_hold() {
        let manager = [Permission::RoleManage, Permission::ConfigRead];
        let state = acme([custom(2, &manager), has(4, 3, 2), custom(1, READER)]);
        let rename = UpdateRole { name: Some(Name::try_from("x").unwrap()), ..update(1) };
        for command in [RolesCommand::Update(rename), allow(&[]), delete(RoleRef::Custom(id(1)))] {
            assert_eq!(command.decide(&state, &by(person(id(3)))), Err(Rejection::AboveYourRights));
        }
    }

    #[test]
    fn nobody_takes_from_a_role_what_somebody_above_them_would_lose() {
        // 3 manages roles and reads configuration; 4 reads it by role 1 alone, and may search the audit log.
        let manager = [Permission::RoleManage, Permission::ConfigRead, Permission::EnvironmentRead];
        let given = || {
            let mut given = vec![custom(2, &manager), has(4, 3, 2), custom(1, READER)];
            given.push(custom(3, &[Permission::AuditRead]));
            given.extend(member(4, None));
            given.extend([has(6, 4, 3)]);
            given
        };
        let decide = |more: Vec<Event>| {
            let state = acme(given().into_iter().chain(more));
            allow(&[Permission::ConfigRead]).decide(&state, &by(person(id(3)))).map(|events| events.len())
        };
        assert_eq!(decide(vec![]), Ok(1), "nobody has it");
        assert_eq!(decide(vec![has(7, 4, 1)]), Err(Rejection::AboveYourRights));
        let viewer = assigned(8, 4, SystemRole::Viewer);
        assert_eq!(decide(vec![has(7, 4, 1), viewer]), Ok(1), "what goes is had otherwise");
        let by_team = granted(7, Grantee::Team(id(1)), RoleRef::Custom(id(1)), None);
        let members = |members: &[u128]| team(1, members).into_iter().chain([by_team.clone()]).collect();
        assert_eq!(decide(members(&[4])), Err(Rejection::AboveYourRights));
        assert_eq!(decide(members(&[1, 2, 3])), Ok(1));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([custom(1, READER)]);
        let seen = |command: &RolesCommand, version| {
            command.decide(&state, &by_having_seen(person(id(2)), version)).map(|events| events.len())
        };
        for command in [allow(&[]), delete(RoleRef::Custom(id(1)))] {
            assert_eq!(seen(&command, 6), Err(PreconditionFailed.into()));
            assert_eq!(seen(&command, 7), Ok(1));
        }
    }
}
