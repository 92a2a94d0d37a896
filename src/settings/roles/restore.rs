//! Bringing grants of roles back.

use crate::command::Need;
use crate::history::description::{Change, Difference};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::{EnvironmentId, RoleAssignmentId};
use crate::settings::roles::command::about_grant;
use crate::settings::roles::event::{RoleAssigned, RoleUnassigned, RolesEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::projection::{Assignment, Roles};

/// What a step about a grant stands for.
const NEED: Need = Need::Organization(Permission::RoleAssign);

/// Plans the steps that make differences go: only where grants are to be as they were.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        if !outlook.access {
            // Of everything, grants are left out silently; whoever names one is told why it stays.
            if !outlook.whole {
                plan.cannot(difference, "access_not_included");
            }
            continue;
        }
        let Ok(id) = difference.subject.id.parse::<RoleAssignmentId>() else { continue };
        let (past, present) = (&outlook.past.roles, &outlook.present.roles);
        let result = match (difference.change, past.assignment(id), present.assignment(id)) {
            (Change::Created, Some(held), _) => create(difference, id, held, outlook).map(Some),
            (Change::Deleted, _, Some(held)) => delete(difference, id, held, outlook),
            // An assignment never changes: it is made, and ends.
            _ => Ok(None),
        };
        match result {
            Ok(Some((phase, step))) => plan.step(phase, step),
            Ok(None) => {}
            Err(why) => plan.cannot(difference, why),
        }
    }
}

fn create(
    difference: &Difference,
    id: RoleAssignmentId,
    held: &Assignment,
    outlook: &Outlook<'_>,
) -> Result<(Phase, Step), &'static str> {
    if outlook.present.people.get(held.person).is_none() {
        return Err("person_gone");
    }
    if outlook.present.roles.permissions(held.role).is_none() {
        return Err("role_gone");
    }
    if !held.environment.is_none_or(|environment| will_exist(environment, outlook)) {
        return Err("environment_gone");
    }
    let same = |other: &Assignment| (other.role, other.environment) == (held.role, held.environment);
    if !outlook.whole && outlook.present.roles.assignments_of(held.person).any(|(_, other)| same(other)) {
        return Err("already_given");
    }
    let assigned =
        RoleAssigned { assignment: id, person: held.person, role: held.role, environment: held.environment };
    let event = about_grant(id, held.person, held.environment, RolesEvent::RoleAssigned(assigned));
    Ok((Phase::Grants, Step::new(difference, event, NEED).giving(held.role, held.environment)))
}

fn delete(
    difference: &Difference,
    id: RoleAssignmentId,
    held: &Assignment,
    outlook: &Outlook<'_>,
) -> Result<Option<(Phase, Step)>, &'static str> {
    if held.environment.is_some_and(|environment| !will_exist(environment, outlook)) {
        // It ends with its environment.
        return Ok(None);
    }
    if held.is_ownership() && !owner_remains(id, outlook) {
        return Err("last_owner");
    }
    let unassigned = RolesEvent::RoleUnassigned(RoleUnassigned { assignment: id });
    let event = about_grant(id, held.person, held.environment, unassigned);
    Ok(Some((Phase::Deletes, Step::new(difference, event, NEED))))
}

fn will_exist(environment: EnvironmentId, outlook: &Outlook<'_>) -> bool {
    let state = if outlook.whole { outlook.past } else { outlook.present };
    state.environments.get(environment).is_some()
}

/// Whether the organization has an owner once all grants are as they were.
fn owner_remains(gone: RoleAssignmentId, outlook: &Outlook<'_>) -> bool {
    if !outlook.whole {
        return outlook.present.roles.owner_remains_without(gone);
    }
    let owns = |roles: &Roles| {
        roles.iter().any(|(_, held)| held.is_ownership() && outlook.present.people.get(held.person).is_some())
    };
    owns(&outlook.past.roles)
}
