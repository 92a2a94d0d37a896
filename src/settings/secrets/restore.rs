//! Bringing secrets back. A value comes back as a new version, sealed anew by whoever restores; what was destroyed does
//! not.

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference, Subject};
use crate::history::restore::plan::{Copied, Outlook, Phase, Plan, Step};
use crate::ids::{EnvironmentId, SecretId};
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::{about, next_version};
use crate::settings::secrets::event::{SecretDeleted, SecretUndeleted, SecretUpdated, SecretsEvent};
use crate::settings::secrets::projection::{CurrentValue, Secret};

/// Plans the steps that make differences go. Environments have planned theirs before.
pub(super) fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
    for difference in differences {
        let Ok(id) = difference.subject.id.parse::<SecretId>() else { continue };
        let past = outlook.past.secrets.get(id).filter(|past| !past.is_deleted());
        match (past, outlook.present.secrets.get(id)) {
            (None, Some(present)) => delete(difference, present, plan),
            (Some(past), Some(present)) => Restoring { difference, past, present }.plan(outlook, plan),
            // Nothing but destroying takes a secret out of the state.
            (Some(_), None) => plan.cannot(difference, "destroyed"),
            (None, None) => {}
        }
    }
}

/// What came since goes; with its environment, where that goes.
fn delete(difference: &Difference, present: &Secret, plan: &mut Plan) {
    if let Some(environment) = present.scope.environment()
        && change_of(environment, plan) == Some(Change::Deleted)
    {
        return;
    }
    let deleted = SecretsEvent::SecretDeleted(SecretDeleted { secret: present.id });
    plan.step(Phase::Deletes, step(difference, present, &present.name, deleted));
}

/// A secret that was there, and is, though perhaps deleted.
struct Restoring<'a> {
    difference: &'a Difference,
    past: &'a Secret,
    present: &'a Secret,
}

impl Restoring<'_> {
    fn plan(&self, outlook: &Outlook<'_>, plan: &mut Plan) {
        let Self { difference, past, present } = *self;
        let comes_back = present.is_deleted();
        if comes_back && !past.scope.environment().is_none_or(|id| will_exist(id, outlook, plan)) {
            return plan.cannot(difference, "environment_gone");
        }
        // Where all come back, their names are free as they were then.
        let other = outlook.present.secrets.find(past.scope, &past.name);
        let taken = !outlook.whole && other.is_some_and(|other| other.id != past.id);
        if comes_back && taken {
            return plan.cannot(difference, "name_taken");
        }
        let mut kept = Vec::new();
        if taken {
            plan.cannot(difference, "name_taken");
            kept.push("name");
        }
        let value = match self.value() {
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
                Some(value) => step.copying(Copied { from: past.id, commitment: value.commitment }),
                None => step,
            },
        );
    }

    /// The value that has to come back, if it is not there already.
    fn value(&self) -> Result<Option<&CurrentValue>, &'static str> {
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
        SecretUpdated {
            name: name.cloned(),
            description: past.description.clone().filter(|_| description),
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

/// Whether an environment is there once the plan is carried out.
fn will_exist(environment: EnvironmentId, outlook: &Outlook<'_>, plan: &Plan) -> bool {
    match change_of(environment, plan) {
        Some(change) => change != Change::Deleted,
        None => outlook.present.environments.get(environment).is_some(),
    }
}
