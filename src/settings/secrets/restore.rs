//! Bringing secrets back. A value comes back as a new version, sealed anew by whoever restores; what was destroyed does
//! not.

use std::collections::BTreeMap;

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference, Subject};
use crate::history::restore::plan::{Copied, CopiedFrom, Outlook, Phase, Plan, Step};
use crate::ids::{CustomerId, EnvironmentId, SecretId};
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::{about, check_room, next_version};
use crate::settings::secrets::described::Described;
use crate::settings::secrets::event::{SecretDeleted, SecretUndeleted, SecretUpdated, SecretsEvent};
use crate::settings::secrets::projection::{CurrentValue, Secret};

/// Plans the steps that make differences go. Environments have planned theirs before.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    // How many values come back for each customer by the steps so far.
    let mut coming = BTreeMap::new();
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<SecretId>() else { continue };
        let past = outlook.past.secrets.get(id).filter(|past| !past.is_deleted());
        match (past, outlook.present.secrets.get(id)) {
            (None, Some(present)) => delete(difference, present, outlook, plan),
            (Some(past), Some(present)) => {
                let taken = is_taken(past, differences, outlook);
                Restoring { difference, past, present, taken }.plan(outlook, plan, &mut coming);
            }
            // Nothing but destroying takes a secret out of the state.
            (Some(_), None) => plan.cannot(difference, "destroyed"),
            (None, None) => {}
        }
    }
}

/// What came since goes; with its environment, where that goes, and not where its environment or its customer stays.
fn delete(difference: &Difference, present: &Secret, outlook: &Outlook<'_>, plan: &mut Plan) {
    if present.scope.customer().is_some_and(|customer| outlook.stays(customer)) {
        return;
    }
    if let Some(environment) = present.scope.environment()
        && (change_of(environment, plan) == Some(Change::Deleted) || is_kept(environment, outlook, plan))
    {
        return;
    }
    if present.scope.customer().is_some_and(|id| change_of_customer(id, plan) == Some(Change::Deleted)) {
        return;
    }
    let deleted = SecretsEvent::SecretDeleted(SecretDeleted { secret: present.id });
    plan.step(Phase::Deletes, step(difference, present, &present.name, deleted));
}

/// Whether the name of then is another secret's. One that is meant as well gives it up: then it had another, or was not
/// there.
fn is_taken(past: &Secret, differences: &[Difference], outlook: &Outlook<'_>) -> bool {
    let other = outlook.present.secrets.find(past.scope, &past.name).filter(|other| other.id != past.id);
    other.is_some_and(|other| {
        let id = other.id.to_string();
        !differences.iter().any(|difference| difference.subject.id == id)
    })
}

/// A secret that was there, and is, though perhaps deleted.
struct Restoring<'a> {
    difference: &'a Difference,
    past: &'a Secret,
    present: &'a Secret,
    /// Whether its name of then is another's.
    taken: bool,
}

impl Restoring<'_> {
    fn plan(&self, outlook: &Outlook<'_>, plan: &mut Plan, coming: &mut BTreeMap<CustomerId, usize>) {
        let Self { difference, past, present, taken } = *self;
        let comes_back = present.is_deleted();
        if comes_back && !past.scope.environment().is_none_or(|id| will_exist(id, outlook, plan)) {
            return plan.cannot(difference, "environment_gone");
        }
        if comes_back && !past.scope.customer().is_none_or(|id| customer_will_exist(id, outlook, plan)) {
            return plan.cannot(difference, "customer_gone");
        }
        if comes_back && taken {
            return plan.cannot(difference, "name_taken");
        }
        let mut kept = Vec::new();
        if taken {
            plan.cannot(difference, "name_taken");
            kept.push("name");
        }
        let value = match self.value(outlook, coming) {
            Ok(value) => value,
            Err(why) => {
                plan.cannot(difference, why);
                kept.push("value");
                None
            }
        };
        let updated = self.updated(taken, value);
        if comes_back {
            // Changed while it is still deleted, so that it never shows under a name that is another's by now.
            let undeleted = SecretsEvent::SecretUndeleted(self.undeleted());
            plan.step(Phase::Creates, step(difference, present, &past.name, undeleted).without(&kept));
        }
        if updated == SecretUpdated::of(past.id) {
            return;
        }
        let name = updated.name.as_ref().unwrap_or(&present.name).clone();
        let step = step(difference, present, &name, SecretsEvent::SecretUpdated(updated)).without(&kept);
        plan.step(
            Phase::Updates,
            match value {
                Some(value) => {
                    step.copying(Copied { from: CopiedFrom::Secret(past.id), commitment: value.commitment })
                }
                None => step,
            },
        );
    }

    /// The value that has to come back, if it is not there already.
    fn value(
        &self,
        outlook: &Outlook<'_>,
        coming: &mut BTreeMap<CustomerId, usize>,
    ) -> Result<Option<&CurrentValue>, &'static str> {
        let Self { past, present, .. } = self;
        let origin = past.current_origin();
        if origin == present.current_origin() {
            return Ok(None);
        }
        // Without a value then there is none to go back to: it had been destroyed.
        let Some(value) = &past.value else { return Err("version_destroyed") };
        let kept = present.versions.get(&past.value_version).is_some_and(|version| !version.destroyed);
        if !kept {
            return Err("version_destroyed");
        }
        next_version(present).map_err(|_| "too_many_versions")?;
        if let Some(customer) = present.scope.customer() {
            let coming = coming.entry(customer).or_default();
            check_room(&outlook.present.secrets, present.scope, *coming).map_err(|_| "too_many_versions")?;
            *coming += 1;
        }
        Ok(Some(value))
    }

    /// What brings it back, with the time of then at which it expires, unless somebody was warned of that.
    fn undeleted(&self) -> SecretUndeleted {
        let Self { past, present, .. } = self;
        let warned = present.expired && past.expires_at == present.expires_at;
        SecretUndeleted { secret: past.id, expires_at: past.expires_at.filter(|_| !warned) }
    }

    fn updated(&self, keeps_name: bool, value: Option<&CurrentValue>) -> SecretUpdated {
        let Self { past, present, .. } = self;
        let name = Some(&past.name).filter(|name| !keeps_name && **name != present.name);
        let description = past.description != present.description;
        let expires_at = past.expires_at != present.expires_at;
        let cleared = [
            ("description", description && past.description.is_none()),
            ("expires_at", expires_at && past.expires_at.is_none()),
        ];
        // What is sealed under the customer's key is recorded again as it was.
        let (open, sealed) = Described::fields(past.description.as_ref().filter(|_| description));
        SecretUpdated {
            name: name.cloned(),
            description: open,
            sealed_description: sealed,
            expires_at: past.expires_at.filter(|_| expires_at),
            cleared: cleared.into_iter().filter(|(_, is)| *is).map(|(field, _)| field.to_owned()).collect(),
            value_version: value.map(|_| present.value_version + 1),
            value: value.map(|value| (*value.sealed).clone()),
            copied_from: value.and_then(|_| past.current_origin()),
            ..SecretUpdated::of(past.id)
        }
    }
}

fn step(difference: &Difference, secret: &Secret, name: &str, event: SecretsEvent) -> Step {
    let need = match secret.scope.environment() {
        None => Need::Organization(Permission::SecretWrite),
        Some(environment) => Need::Environment(Permission::SecretWrite, environment),
    };
    Step::new(difference, about(secret.into(), name, event), need)
}

/// What the plan does to an environment.
fn change_of(environment: EnvironmentId, plan: &Plan) -> Option<Change> {
    plan.change_of(&Subject::new(ResourceType::Environment, environment))
}

/// Whether the plan was to take an environment away, which stays with all that is in it.
fn is_kept(environment: EnvironmentId, outlook: &Outlook<'_>, plan: &Plan) -> bool {
    let environment_cannot = || plan.refuses(&Subject::new(ResourceType::Environment, environment));
    outlook.keeps(environment) && environment_cannot()
}

/// What the plan does to a customer.
fn change_of_customer(customer: CustomerId, plan: &Plan) -> Option<Change> {
    plan.change_of(&Subject::new(ResourceType::Customer, customer))
}

/// Whether a customer is there once the plan is carried out.
fn customer_will_exist(customer: CustomerId, outlook: &Outlook<'_>, plan: &Plan) -> bool {
    match change_of_customer(customer, plan) {
        Some(change) => change != Change::Deleted,
        None => outlook.present.customers.get(customer).is_some(),
    }
}

/// Whether an environment is there once the plan is carried out.
fn will_exist(environment: EnvironmentId, outlook: &Outlook<'_>, plan: &Plan) -> bool {
    match change_of(environment, plan) {
        Some(change) => change != Change::Deleted,
        None => outlook.present.environments.get(environment).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{environment, founded, id, organization, sealed};
    use crate::history::description::Focus;
    use crate::history::restore::plan::plan;
    use crate::organization::Organization;
    use crate::settings::environments::event::Mode;
    use crate::settings::secrets::event::SecretCreated;

    fn created(number: u128, name: &str) -> Event {
        Event::Secrets(SecretsEvent::SecretCreated(SecretCreated {
            secret: id(number),
            name: name.to_owned(),
            environment: Some(id(1)),
            customer: None,
            modes: Vec::new(),
            description: None,
            sealed_description: None,
            expires_at: None,
            value_version: 1,
            value: sealed(number),
            copied_from: None,
        }))
    }

    fn renamed(number: u128, name: &str) -> Event {
        let updated = SecretUpdated { name: Some(name.to_owned()), ..SecretUpdated::of(id(number)) };
        Event::Secrets(SecretsEvent::SecretUpdated(updated))
    }

    fn deleted(number: u128) -> Event {
        Event::Secrets(SecretsEvent::SecretDeleted(SecretDeleted { secret: id(number) }))
    }

    /// Acme with secrets `A` and `B` in an environment, and what followed.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let given = [environment(1, Mode::Test), created(1, "A"), created(2, "B")];
        organization(founded().into_iter().chain(given).chain(more))
    }

    fn restored(present: &Organization, focus: &Focus) -> (Vec<Event>, Vec<&'static str>) {
        let (steps, cannot) = plan(&acme([]), present, focus, false).finish();
        let events = steps.into_iter().map(|step| step.event.event).collect();
        (events, cannot.into_iter().map(|cannot| cannot.why).collect())
    }

    #[test]
    fn a_name_is_free_once_whoever_has_it_gives_it_up() {
        let back = Event::Secrets(SecretsEvent::SecretUndeleted(SecretUndeleted {
            secret: id(1),
            expires_at: None,
        }));
        let whole = Focus::Resource(id::<EnvironmentId>(1).to_string());
        let alone = Focus::Resource(id::<SecretId>(1).to_string());

        // The other one has another name again.
        let present = acme([deleted(1), renamed(2, "A")]);
        assert_eq!(restored(&present, &whole), (vec![renamed(2, "B"), back.clone()], vec![]));
        assert_eq!(restored(&present, &alone), (vec![], vec!["name_taken"]));
        // They swapped theirs.
        let present = acme([renamed(1, "C"), renamed(2, "A"), renamed(1, "B")]);
        assert_eq!(restored(&present, &whole), (vec![renamed(1, "A"), renamed(2, "B")], vec![]));
        assert_eq!(restored(&present, &alone), (vec![], vec!["name_taken"]));
        // The other one came since, and goes.
        let present = acme([deleted(1), created(3, "A")]);
        assert_eq!(restored(&present, &whole), (vec![deleted(3), back], vec![]));
        assert_eq!(restored(&present, &alone), (vec![], vec!["name_taken"]));
    }
}
