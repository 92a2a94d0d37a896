//! Bringing custom roles and grants of roles back.

use crate::command::{Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::history::description::{Change, Difference};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::{RoleAssignmentId, RoleId};
use crate::settings::roles::access::{self, given, makes_owner};
use crate::settings::roles::command::ROLES_MAX;
use crate::settings::roles::custom::{keys, namesake, uses};
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
    if stays(present.id, outlook) {
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

/// Whether a role cannot go. Where all is as it was, nobody has it any more but keys, which a restore does not touch.
fn stays(id: RoleId, outlook: &Outlook<'_>) -> bool {
    let role = RoleRef::Custom(id);
    if outlook.whole {
        keys(outlook.present, role).next().is_some()
    } else {
        !uses(outlook.present, role).is_empty()
    }
}

/// Whether the name of then is another role's, which keeps it.
fn name_taken(past: &CustomRole, outlook: &Outlook<'_>) -> bool {
    let mut wanted = past;
    while let Some(holder) = namesake(&outlook.present.roles, wanted.id, &wanted.name) {
        // Where all is as it was, who has the name gives it up for the one of then; unless that is kept by another, and
        // so on. Names are one role's each, so whoever comes round comes back to the first.
        match outlook.past.roles.get(holder.id) {
            _ if !outlook.whole => return true,
            None => return stays(holder.id, outlook),
            Some(before) if before.id == past.id => return false,
            Some(before) => wanted = before,
        }
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{custom, founded, granted, id, organization};
    use crate::history::description::Focus;
    use crate::history::restore::plan::plan;
    use crate::organization::Organization;
    use crate::seal::token::PlainToken;
    use crate::settings::api_keys::event::{ApiKeyCreated, ApiKeysEvent};
    use crate::settings::environments::event::Mode;

    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(founded().into_iter().chain(more))
    }

    fn renamed(number: u128, name: &str) -> Event {
        Event::Roles(RolesEvent::RoleUpdated(RoleUpdated {
            role: id(number),
            name: Some(name.to_owned()),
            description: None,
            permissions: None,
            cleared: Vec::new(),
        }))
    }

    fn deleted(number: u128) -> Event {
        Event::Roles(RolesEvent::RoleDeleted(RoleDeleted { role: id(number) }))
    }

    fn key(number: u128, role: u128) -> Event {
        Event::ApiKeys(ApiKeysEvent::ApiKeyCreated(ApiKeyCreated {
            key: id(number),
            name: "Deploy".to_owned(),
            mode: Mode::Test,
            role: RoleRef::Custom(id(role)),
            token: PlainToken::presented("a key").hash(),
            last4: "4444".to_owned(),
            environments: None,
            customers: None,
            expires_at: None,
            allowed_cidrs: None,
            rate_limit: None,
        }))
    }

    /// The steps that bring everything back, and why what stays away does.
    fn restored(past: &Organization, present: &Organization) -> (Vec<Event>, Vec<&'static str>) {
        let (steps, cannot) = plan(past, present, &Focus::All, true).finish();
        let events = steps.into_iter().map(|step| step.event.event).collect();
        (events, cannot.into_iter().map(|cannot| cannot.why).collect())
    }

    #[test]
    fn roles_get_the_names_back_that_they_passed_round() {
        let then = || [custom(1, &[]), custom(2, &[]), custom(3, &[])];
        let round = [renamed(1, "x"), renamed(2, "role 1"), renamed(3, "role 2"), renamed(1, "role 3")];
        let steps = vec![renamed(1, "role 1"), renamed(2, "role 2"), renamed(3, "role 3")];
        assert_eq!(restored(&acme(then()), &acme(then().into_iter().chain(round))), (steps, vec![]));
    }

    #[test]
    fn a_role_of_a_key_stays_and_keeps_its_name_however_many_have_it() {
        let then = || [custom(1, &[]), custom(2, &[])];
        // Role 1 is called as role 2 was, and role 3, which a key has, as role 1 was.
        let since = || {
            let mut since =
                vec![renamed(2, "x"), renamed(1, "role 2"), custom(3, &[]), renamed(3, "role 1"), key(1, 3)];
            let held = |number| granted(number, Grantee::Person(id(1)), RoleRef::Custom(id(3)), None);
            since.extend((10..50).map(held));
            since
        };
        let (past, present) = (acme(then()), acme(then().into_iter().chain(since())));
        let (steps, cannot) = restored(&past, &present);
        assert_eq!(cannot, ["name_taken", "name_taken", "role_in_use"]);
        assert_eq!(steps.len(), 40, "the grants end, and nothing else changes");
        // Once it is gone, so is what stood in the way.
        let present = acme(then().into_iter().chain([renamed(2, "x"), renamed(1, "role 2"), custom(3, &[])]));
        assert_eq!(
            restored(&past, &present),
            (vec![deleted(3), renamed(1, "role 1"), renamed(2, "role 2")], vec![])
        );
    }
}
