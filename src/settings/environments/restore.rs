//! Bringing environments and their configuration back.

use std::collections::BTreeSet;

use crate::command::{Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::history::description::{Change, Difference};
use crate::history::restore::plan::{Outlook, Phase, Plan, Step};
use crate::ids::EnvironmentId;
use crate::settings::environments::command::{CONFIG_VALUES_MAX, ENVIRONMENTS_MAX, is_taken};
use crate::settings::environments::event::{
    ConfigDeleted, ConfigSet, EnvironmentCreated, EnvironmentDeleted, EnvironmentUpdated, EnvironmentsEvent,
};
use crate::settings::environments::projection::Environment;
use crate::settings::roles::permission::Permission;

/// Plans the steps that make differences go. An environment that went comes back under its id, with its values.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    // Environments are told before what is named inside them.
    let mut planned = Planned::default();
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<EnvironmentId>() else { continue };
        match &difference.subject.name {
            None => planned.environment(difference, id, outlook, plan),
            Some(key) => planned.value(difference, id, key, outlook, plan),
        }
    }
}

/// What becomes of the environments themselves.
#[derive(Default)]
struct Planned {
    /// They go, and their values with them.
    deleted: BTreeSet<EnvironmentId>,
    /// They come back.
    created: BTreeSet<EnvironmentId>,
    /// They should, and cannot.
    refused: BTreeSet<EnvironmentId>,
}

impl Planned {
    fn environment(
        &mut self,
        difference: &Difference,
        id: EnvironmentId,
        outlook: &Outlook<'_>,
        plan: &mut Plan,
    ) {
        let (past, present) = (outlook.past.environments.get(id), outlook.present.environments.get(id));
        match (past, present) {
            (None, Some(_)) if outlook.keeps(id) => {
                self.refused.insert(id);
                plan.cannot(difference, "has_connections");
            }
            (None, Some(present)) => {
                self.deleted.insert(id);
                let event = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id });
                let event = NewEvent::new(named(id, &present.name), event);
                let need = Need::Environment(Permission::EnvironmentManage, id);
                plan.step(Phase::Deletes, Step::new(difference, event, need));
            }
            (Some(past), None) => match refusal(past, outlook) {
                Some(why) => {
                    self.refused.insert(id);
                    plan.cannot(difference, why);
                }
                None => {
                    self.created.insert(id);
                    let created = EnvironmentCreated {
                        environment: id,
                        name: past.name.clone(),
                        slug: past.slug.clone(),
                        mode: past.mode,
                        description: past.description.clone(),
                    };
                    let event =
                        NewEvent::new(named(id, &past.name), EnvironmentsEvent::EnvironmentCreated(created));
                    let need = Need::Organization(Permission::EnvironmentManage);
                    plan.step(Phase::Creates, Step::new(difference, event, need));
                }
            },
            (Some(past), Some(present)) => update(difference, past, present, outlook, plan),
            (None, None) => {}
        }
    }

    fn value(
        &self,
        difference: &Difference,
        id: EnvironmentId,
        key: &str,
        outlook: &Outlook<'_>,
        plan: &mut Plan,
    ) {
        if self.deleted.contains(&id) || self.refused.contains(&id) {
            return;
        }
        let present = outlook.present.environments.get(id);
        let past = outlook.past.environments.get(id).and_then(|environment| environment.config.get(key));
        let adds = difference.change == Change::Created;
        let (phase, event) = match past {
            Some(_) if present.is_none() && !self.created.contains(&id) => {
                plan.cannot(difference, "environment_gone");
                return;
            }
            // All values of an environment fitted into it then; one alone may not fit beside those of now.
            Some(_) if adds && outlook.single && present.is_some_and(is_full) => {
                plan.cannot(difference, "too_many_values");
                return;
            }
            Some(past) => {
                let (key, value) = (key.to_owned(), past.value.to_string());
                let phase = if adds { Phase::Creates } else { Phase::Updates };
                (phase, EnvironmentsEvent::ConfigSet(ConfigSet { environment: id, key, value }))
            }
            None => {
                let deleted = ConfigDeleted { environment: id, key: key.to_owned() };
                (Phase::Deletes, EnvironmentsEvent::ConfigDeleted(deleted))
            }
        };
        let event = NewEvent::new(Resource::named(ResourceType::Config, id, key), event);
        let need = Need::Environment(Permission::ConfigWrite, id);
        plan.step(phase, Step::new(difference, event, need));
    }
}

fn is_full(environment: &Environment) -> bool {
    environment.config.size() >= CONFIG_VALUES_MAX
}

fn named(id: EnvironmentId, name: &str) -> Resource {
    Resource::named(ResourceType::Environment, id, name)
}

/// The environments that another comes back beside: where all come back, those alone that cannot go.
fn staying<'a>(outlook: &Outlook<'a>) -> impl Iterator<Item = &'a Environment> {
    let outlook = *outlook;
    outlook.present.environments.iter().filter(move |other| !outlook.whole || outlook.keeps(other.id))
}

/// Why an environment cannot come back beside those that stay. Where all come back, they fit as they did then.
fn refusal(past: &Environment, outlook: &Outlook<'_>) -> Option<&'static str> {
    let coming = if outlook.whole { outlook.past.environments.iter().count() } else { 1 };
    if staying(outlook).count() + coming > ENVIRONMENTS_MAX {
        return Some("too_many_environments");
    }
    name_taken(past, outlook).or_else(|| slug_taken(past, outlook))
}

fn name_taken(past: &Environment, outlook: &Outlook<'_>) -> Option<&'static str> {
    is_taken(staying(outlook), past.id, &past.name).then_some("name_taken")
}

fn slug_taken(past: &Environment, outlook: &Outlook<'_>) -> Option<&'static str> {
    let is = |other: &Environment| other.id != past.id && other.slug == past.slug;
    staying(outlook).any(is).then_some("slug_taken")
}

fn update(
    difference: &Difference,
    past: &Environment,
    present: &Environment,
    outlook: &Outlook<'_>,
    plan: &mut Plan,
) {
    let differs = |field: &str| difference.fields.iter().any(|change| change.field == field);
    let mut kept = Vec::new();
    for (field, taken) in [("name", name_taken(past, outlook)), ("slug", slug_taken(past, outlook))] {
        if let Some(why) = taken.filter(|_| differs(field)) {
            plan.cannot(difference, why);
            kept.push(field);
        }
    }
    let changes = |field: &'static str| differs(field) && !kept.contains(&field);
    let described = changes("description");
    let updated = EnvironmentUpdated {
        environment: past.id,
        name: changes("name").then(|| past.name.clone()),
        slug: changes("slug").then(|| past.slug.clone()),
        description: past.description.clone().filter(|_| described),
        cleared: if described && past.description.is_none() {
            vec!["description".to_owned()]
        } else {
            Vec::new()
        },
    };
    if updated.name.is_none() && updated.slug.is_none() && !described {
        return;
    }
    let shown = updated.name.as_ref().unwrap_or(&present.name).clone();
    let event = NewEvent::new(named(past.id, &shown), EnvironmentsEvent::EnvironmentUpdated(updated));
    let need = Need::Environment(Permission::EnvironmentManage, past.id);
    plan.step(Phase::Updates, Step::new(difference, event, need).without(&kept));
}
