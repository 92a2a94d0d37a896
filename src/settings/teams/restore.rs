//! Bringing teams and their members back: only where grants are to be as they were, for a team's members have its roles.

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::{TeamId, UserId};
use crate::settings::roles::access::{Held, given};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::Grantee;
use crate::settings::teams::command::{TEAMS_MAX, about, about_member, is_taken};
use crate::settings::teams::event::{
    MemberAdded, MemberRemoved, TeamCreated, TeamDeleted, TeamUpdated, TeamsEvent,
};
use crate::settings::teams::projection::Team;

/// What each step stands for.
const NEED: Need = Need::Organization(Permission::TeamManage);

/// A step and when it is made, nothing, or why what it is about does not come back.
type Planned = Result<Option<(Phase, Step)>, &'static str>;

/// Plans the steps that make differences go.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<TeamId>() else { continue };
        let planned = match difference.subject.kind {
            _ if !outlook.access => Err("access_not_included"),
            ResourceType::Team => team(difference, id, outlook, plan),
            _ => member(difference, id, outlook),
        };
        match planned {
            Ok(Some((phase, step))) => plan.step(phase, step),
            Ok(None) => {}
            // Of everything, teams are left out silently; whoever names one is told why it stays.
            Err(_) if outlook.whole && !outlook.access => {}
            Err(why) => plan.cannot(difference, why),
        }
    }
}

fn team(difference: &Difference, id: TeamId, outlook: &Outlook<'_>, plan: &mut Plan) -> Planned {
    match (outlook.past.teams.get(id), outlook.present.teams.get(id)) {
        (Some(past), None) => {
            if let Some(why) = refusal(past, outlook) {
                return Err(why);
            }
            let created =
                TeamCreated { team: id, name: past.name.clone(), description: past.description.clone() };
            let event = about(id, &past.name, TeamsEvent::TeamCreated(created));
            Ok(Some((Phase::Creates, Step::new(difference, event, NEED))))
        }
        (None, Some(present)) => {
            let event = about(id, &present.name, TeamsEvent::TeamDeleted(TeamDeleted { team: id }));
            Ok(Some((Phase::Deletes, Step::new(difference, event, NEED))))
        }
        (Some(past), Some(present)) => Ok(update(difference, past, present, outlook, plan)),
        (None, None) => Ok(None),
    }
}

/// Why a team cannot come back beside those that stay. Where all come back, they fit as they did then.
fn refusal(past: &Team, outlook: &Outlook<'_>) -> Option<&'static str> {
    if outlook.whole {
        return None;
    }
    if outlook.present.teams.iter().count() >= TEAMS_MAX {
        return Some("too_many_teams");
    }
    is_taken(&outlook.present.teams, past.id, &past.name).then_some("name_taken")
}

fn update(
    difference: &Difference,
    past: &Team,
    present: &Team,
    outlook: &Outlook<'_>,
    plan: &mut Plan,
) -> Option<(Phase, Step)> {
    let differs = |field: &str| difference.fields.iter().any(|change| change.field == field);
    let mut kept: &[&str] = &[];
    if differs("name") && !outlook.whole && is_taken(&outlook.present.teams, past.id, &past.name) {
        plan.cannot(difference, "name_taken");
        kept = &["name"];
    }
    let described = differs("description");
    let updated = TeamUpdated {
        team: past.id,
        name: (differs("name") && kept.is_empty()).then(|| past.name.clone()),
        description: past.description.clone().filter(|_| described),
        cleared: if described && past.description.is_none() {
            vec!["description".to_owned()]
        } else {
            Vec::new()
        },
    };
    if updated.name.is_none() && !described {
        return None;
    }
    let shown = updated.name.as_ref().unwrap_or(&present.name).clone();
    let event = about(past.id, &shown, TeamsEvent::TeamUpdated(updated));
    Some((Phase::Updates, Step::new(difference, event, NEED).without(kept)))
}

fn member(difference: &Difference, id: TeamId, outlook: &Outlook<'_>) -> Planned {
    let Some(person) = difference.subject.name.as_deref().and_then(|name| name.parse::<UserId>().ok()) else {
        return Ok(None);
    };
    if difference.change == Change::Deleted {
        // Who is in a team that goes leaves with it.
        if outlook.past.teams.get(id).is_none() && !outlook.single {
            return Ok(None);
        }
        let removed = TeamsEvent::MemberRemoved(MemberRemoved { team: id, person });
        let event = about_member(id, person, removed);
        return Ok(Some((Phase::Deletes, Step::new(difference, event, NEED))));
    }
    if outlook.present.teams.get(id).is_none() {
        if outlook.single {
            return Err("team_gone");
        }
        // What keeps the team away is told of the team.
        if outlook.past.teams.get(id).is_none_or(|past| refusal(past, outlook).is_some()) {
            return Ok(None);
        }
    }
    if outlook.present.people.get(person).is_none() {
        return Err("person_gone");
    }
    let added = TeamsEvent::MemberAdded(MemberAdded { team: id, person });
    let event = about_member(id, person, added);
    Ok(Some((Phase::Grants, Step::new(difference, event, NEED).giving(gives(id, outlook)))))
}

/// What a team will give once all is as planned.
fn gives(team: TeamId, outlook: &Outlook<'_>) -> Vec<Held> {
    let state = if outlook.whole { outlook.past } else { outlook.present };
    let assignments = state.roles.assignments_of(Grantee::Team(team));
    let gives = assignments.filter_map(|(_, held)| Some(given(outlook.role(held.role)?, held.environment)));
    gives.collect()
}
