//! Carrying a secret's value over from one environment to another, as a copy under a key of its own.

use crate::command::Need;
use crate::event::ResourceType;
use crate::history::description::{Change, Difference, Field, FieldChange, Subject};
use crate::history::restore::plan::{Copied, CopiedFrom, Step};
use crate::ids::{EnvironmentId, SecretId};
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::{At, SECRETS_MAX, SecretsRejection, about, next_version};
use crate::settings::secrets::described::Described;
use crate::settings::secrets::event::{Origin, SecretCreated, SecretUpdated, SecretsEvent};
use crate::settings::secrets::projection::{CurrentValue, Secret, Secrets};
use crate::settings::secrets::value::Scope;

/// The step that gives the secret of the same name in an environment a secret's value, or makes one with the id; `None`
/// where it has a copy of the same already.
///
/// # Errors
/// A value that was destroyed, and where there is no room.
pub fn copy(
    secret: &Secret,
    secrets: &Secrets,
    to: EnvironmentId,
    id: SecretId,
) -> Result<Option<Step>, SecretsRejection> {
    let (Some(value), Some(origin)) = (&secret.value, secret.current_origin()) else {
        return Err(SecretsRejection::VersionDestroyed);
    };
    let there = secrets.find(Scope::Environment(to), &secret.name);
    if there.is_some_and(|there| there.current_origin() == Some(origin)) {
        return Ok(None);
    }
    let (id, event) = match there {
        Some(there) => (there.id, SecretsEvent::SecretUpdated(updated(there, value, origin)?)),
        None if secrets.count(Scope::Environment(to)) >= SECRETS_MAX => {
            return Err(SecretsRejection::TooManySecrets);
        }
        None => (id, SecretsEvent::SecretCreated(created(secret, value, origin, to, id))),
    };
    let at = At { secret: id, scope: Scope::Environment(to) };
    let written = |origin| Field::Secret(origin);
    let change = FieldChange {
        field: "value",
        from: there.and_then(Secret::current_origin).map(written),
        to: Some(written(origin)),
    };
    let difference = Difference {
        subject: Subject::new(ResourceType::Secret, id).within(Some(to)),
        change: if there.is_some() { Change::Updated } else { Change::Created },
        fields: vec![change],
        shown: Some(secret.name.clone()),
    };
    let need = Need::Environment(Permission::SecretWrite, to);
    let step = Step::new(&difference, about(at, &secret.name, event), need);
    Ok(Some(step.copying(Copied { from: CopiedFrom::Secret(secret.id), commitment: value.commitment })))
}

fn updated(there: &Secret, value: &CurrentValue, origin: Origin) -> Result<SecretUpdated, SecretsRejection> {
    Ok(SecretUpdated {
        value_version: Some(next_version(there)?),
        value: Some((*value.sealed).clone()),
        copied_from: Some(origin),
        ..SecretUpdated::of(there.id)
    })
}

fn created(
    secret: &Secret,
    value: &CurrentValue,
    origin: Origin,
    to: EnvironmentId,
    id: SecretId,
) -> SecretCreated {
    let (description, sealed_description) = Described::fields(secret.description.as_ref());
    SecretCreated {
        secret: id,
        name: secret.name.clone(),
        environment: Some(to),
        customer: None,
        modes: Vec::new(),
        description,
        sealed_description,
        expires_at: secret.expires_at,
        value_version: 1,
        value: (*value.sealed).clone(),
        copied_from: Some(origin),
    }
}
