//! Bringing custom roles and grants of roles back.

use crate::command::{Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::history::description::{Change, Difference};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::{RoleAssignmentId, RoleId};
use crate::settings::roles::access::{self, given, makes_owner};
use crate::settings::roles::command::ROLES_MAX;
use crate::settings::roles::custom::{is_taken, uses};
use crate::settings::roles::event::{RoleCreated, RoleDeleted, RoleUnassigned, RoleUpdated, RolesEvent};
use crate::settings::roles::granting::about_grant;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::projection::{Assignment, CustomRole};
use crate::settings::roles::role::{Grantee, RoleRef};

/// What a step about a role stands for.
const MANAGE: Need = Need::Organization(Permission::RoleManage);
/// What a step about a grant stands for.
const ASSIGN: Need = Need::Organization(Permission::RoleAssign);

/// A step and when it is made, nothing, or why what it is about does not come back.
type Planned = Result<Option<(Phase, Step)>, &'static str>;

/// Plans the steps that make differences go: only where grants are to be as they were.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    // What ends is taken away before the role goes that it gave.
    let is_role = |difference: &&Difference| difference.subject.kind == ResourceType::Role;
    let (roles, grants): (Vec<_>, Vec<_>) = differences.iter().partition(is_role);
    for difference in grants.into_iter().chain(roles) {
        let planned = match difference.subject.kind {
            _ if !outlook.access => Err("access_not_included"),
            ResourceType::Role => role(difference, outlook, plan),
            _ => assignment(difference, outlook),
        };
        match planned {
            Ok(Some((phase, step))) => plan.step(phase, step),
            Ok(None) => {}
            // Of everything, grants are left out silently; whoever names one is told why it stays.
            Err(_) if outlook.whole && !outlook.access => {}
            Err(why) => plan.cannot(difference, why),
        }
    }
}

fn role(difference: &Difference, outlook: &Outlook<'_>, plan: &mut Plan) -> Planned {
    let Ok(id) = difference.subject.id.parse::<RoleId>() else { return Ok(None) };
    match (outlook.past.roles.get(id), outlook.present.roles.get(id)) {
        (Some(past), None) => create_role(difference, past, outlook).map(Some),
        (None, Some(present)) => delete_role(difference, present, outlook).map(Some),
        (Some(past), Some(present)) => Ok(update_role(difference, past, present, outlook, plan)),
        (None, None) => Ok(None),
    }
}

fn create_role(
    difference: &Difference,
    past: &CustomRole,
    outlook: &Outlook<'_>,
) -> Result<(Phase, Step), &'static str> {
    // Where all come back, they fit as they did then.
    if !outlook.whole && outlook.present.roles.custom().count() >= ROLES_MAX {
        return Err("too_many_roles");
    }
    if name_taken(past, outlook) {
        return Err("name_taken");
    }
    let created = RoleCreated {
        role: past.id,
        name: past.name.clone(),
        description: past.description.clone(),
        permissions: past.permissions,
    };
    let event = about(past.id, &past.name, RolesEvent::RoleCreated(created));
    let step = Step::new(difference, event, MANAGE).giving([given(past.permissions, None)]);
    Ok((Phase::Creates, step))
}

fn delete_role(
    difference: &Difference,
    present: &CustomRole,
    outlook: &Outlook<'_>,
) -> Result<(Phase, Step), &'static str> {
    let mut uses = uses(outlook.present, RoleRef::Custom(present.id));
    // Where all is as it was, nobody has it any more but keys, which a restore does not touch.
    uses.retain(|used| !outlook.whole || used.kind == ResourceType::ApiKey);
    if !uses.is_empty() {
        return Err("role_in_use");
    }
    let deleted = RolesEvent::RoleDeleted(RoleDeleted { role: present.id });
    Ok((Phase::Deletes, Step::new(difference, about(present.id, &present.name, deleted), MANAGE)))
}

fn update_role(
    difference: &Difference,
    past: &CustomRole,
    present: &CustomRole,
    outlook: &Outlook<'_>,
    plan: &mut Plan,
) -> Option<(Phase, Step)> {
    let differs = |field: &str| difference.fields.iter().any(|change| change.field == field);
    let mut kept: &[&str] = &[];
    if differs("name") && name_taken(past, outlook) {
        plan.cannot(difference, "name_taken");
        kept = &["name"];
    }
    let described = differs("description");
    let updated = RoleUpdated {
        role: past.id,
        name: (differs("name") && kept.is_empty()).then(|| past.name.clone()),
        description: past.description.clone().filter(|_| described),
        permissions: differs("permissions").then_some(past.permissions),
        cleared: if described && past.description.is_none() {
            vec!["description".to_owned()]
        } else {
            Vec::new()
        },
    };
    if updated.name.is_none() && !described && updated.permissions.is_none() {
        return None;
    }
    let shown = updated.name.as_ref().unwrap_or(&present.name).clone();
    let event = about(past.id, &shown, RolesEvent::RoleUpdated(updated));
    let adds = given(past.permissions.minus(present.permissions), None);
    Some((Phase::Updates, Step::new(difference, event, MANAGE).without(kept).giving([adds])))
}

fn about(role: RoleId, name: &str, event: RolesEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::Role, role, name), event)
}

fn name_taken(past: &CustomRole, outlook: &Outlook<'_>) -> bool {
    !outlook.whole && is_taken(&outlook.present.roles, past.id, &past.name)
}

fn assignment(difference: &Difference, outlook: &Outlook<'_>) -> Planned {
    let Ok(id) = difference.subject.id.parse::<RoleAssignmentId>() else { return Ok(None) };
    let (past, present) = (&outlook.past.roles, &outlook.present.roles);
    match (difference.change, past.assignment(id), present.assignment(id)) {
        (Change::Created, Some(held), _) => assign(difference, id, held, outlook).map(Some),
        (Change::Deleted, _, Some(held)) => unassign(difference, id, held, outlook),
        // An assignment never changes: it is made, and ends.
        _ => Ok(None),
    }
}

fn assign(
    difference: &Difference,
    id: RoleAssignmentId,
    held: &Assignment,
    outlook: &Outlook<'_>,
) -> Result<(Phase, Step), &'static str> {
    match held.grantee {
        Grantee::Person(person) if outlook.present.people.get(person).is_none() => {
            return Err("person_gone");
        }
        Grantee::Team(team) if !outlook.has_team(team) => return Err("team_gone"),
        Grantee::Person(_) | Grantee::Team(_) => {}
    }
    let permissions = outlook.role(held.role).ok_or("role_gone")?;
    if !held.environment.is_none_or(|environment| outlook.has_environment(environment)) {
        return Err("environment_gone");
    }
    let same = |other: &Assignment| (other.role, other.environment) == (held.role, held.environment);
    if !outlook.whole && outlook.present.roles.assignments_of(held.grantee).any(|(_, other)| same(other)) {
        return Err("already_given");
    }
    let assigned = held.assigned(id);
    let event = about_grant(&assigned, RolesEvent::RoleAssigned(assigned.clone()));
    let step = Step::new(difference, event, ASSIGN).giving([given(permissions, held.environment)]);
    Ok((Phase::Grants, step))
}

fn unassign(
    difference: &Difference,
    id: RoleAssignmentId,
    held: &Assignment,
    outlook: &Outlook<'_>,
) -> Planned {
    // It ends with its environment, or with the team that has it.
    let ends = held.environment.is_some_and(|environment| !outlook.has_environment(environment))
        || matches!(held.grantee, Grantee::Team(team) if !outlook.has_team(team));
    if ends {
        return Ok(None);
    }
    if held.is_ownership() && !owner_remains(id, outlook) {
        return Err("last_owner");
    }
    let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: id });
    let event = about_grant(&held.assigned(id), unassigned);
    Ok(Some((Phase::Deletes, Step::new(difference, event, ASSIGN))))
}

/// Whether the organization has an owner once all grants are as they were.
fn owner_remains(gone: RoleAssignmentId, outlook: &Outlook<'_>) -> bool {
    if !outlook.whole {
        return access::owner_remains(outlook.present, |id, _| id == gone);
    }
    outlook.past.roles.assignments().any(|(_, held)| makes_owner(&outlook.present.people, held))
}
