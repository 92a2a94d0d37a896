//! Making, changing, revealing, deleting and destroying secrets. Values come sealed.

use crate::clock::Timestamp;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{DataKeyId, EnvironmentId, SecretId};
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::environments::event::Mode;
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::described::Described;
use crate::settings::secrets::event::{
    SecretCreated, SecretDeleted, SecretDestroyed, SecretExpired, SecretRevealed, SecretRolledBack,
    SecretUndeleted, SecretUpdated, SecretVersionDestroyed, SecretsEvent,
};
use crate::settings::secrets::projection::{Secret, Secrets};
use crate::settings::secrets::value::Scope;

/// The most secrets of a scope, deleted ones included.
pub const SECRETS_MAX: usize = 10_000;
/// The most values of a secret that are kept, destroyed ones included but for the oldest: destroying the secret removes
/// the keys of all in one batch, which has room for so many.
pub const VALUES_MAX: usize = 1_000;

/// The most values that the secrets of a customer keep in all: erasing the customer removes the keys of all in one batch.
pub const CUSTOMER_VALUES_MAX: usize = 1_000;

/// A command to secrets.
#[derive(Clone, Debug)]
pub enum SecretsCommand {
    /// Makes a secret with its first value.
    Create(CreateSecret),
    /// Renames or describes one, or gives it another value.
    Update(UpdateSecret),
    /// Deletes one; its values stay.
    Delete(At),
    /// Brings a deleted one back.
    Undelete(At),
    /// Makes an earlier value the newest one.
    RollBack(RollBackSecret),
    /// Records that a value is shown.
    Reveal(AtValue),
    /// Destroys one value.
    DestroyVersion(AtValue),
    /// Destroys a secret with all of its values.
    Destroy(At),
    /// Writes many secrets of an environment.
    Import(ImportSecrets),
    /// Warns that a secret is said to have expired.
    Expire(SecretId),
}

/// A secret, and where it belongs: that never changes, so whoever prepares a command can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The secret.
    pub secret: SecretId,
    /// Its scope.
    pub scope: Scope,
}

impl From<&Secret> for At {
    fn from(secret: &Secret) -> Self {
        Self { secret: secret.id, scope: secret.scope }
    }
}

/// One value of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtValue {
    /// The secret.
    pub at: At,
    /// The number of the value.
    pub value_version: u64,
}

/// Makes a secret.
#[derive(Clone, Debug)]
pub struct CreateSecret {
    /// Its id and scope.
    pub at: At,
    /// Its name.
    pub name: ConfigKey,
    /// The modes of the environments in which it is read, of one that is the whole organization's; else none.
    pub modes: Vec<Mode>,
    /// What it is for: a customer's sealed under the customer's key.
    pub description: Option<Described>,
    /// When it is said to expire.
    pub expires_at: Option<Timestamp>,
    /// Its value, under a key of its own.
    pub value: Sealed,
}

/// Changes a secret; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct UpdateSecret {
    /// Which.
    pub at: At,
    /// The new name.
    pub name: Option<ConfigKey>,
    /// The new description: a customer's sealed under the customer's key, so that it is never told to be the same.
    pub description: Option<Option<Described>>,
    /// The new time at which it is said to expire.
    pub expires_at: Option<Option<Timestamp>>,
    /// The new value, under a key of its own.
    pub value: Option<Sealed>,
}

/// Makes an earlier value the newest one.
#[derive(Clone, Debug)]
pub struct RollBackSecret {
    /// Which value, as it never changes.
    pub to: AtValue,
    /// The same value, sealed anew under a key of its own.
    pub value: Sealed,
}

/// Writes many secrets of an environment: all or none.
#[derive(Clone, Debug)]
pub struct ImportSecrets {
    /// The environment.
    pub environment: EnvironmentId,
    /// What is written, each to another secret.
    pub values: Vec<ImportedValue>,
}

/// One of the values of an import.
#[derive(Clone, Debug)]
pub struct ImportedValue {
    /// The secret that it is sealed for.
    pub at: At,
    /// Its name.
    pub name: ConfigKey,
    /// Whether that secret is made.
    pub is_new: bool,
    /// The value, under a key of its own.
    pub value: Sealed,
}

/// Why a command to secrets appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsRejection {
    /// There is no such secret.
    #[error("there is no such secret")]
    NotFound,
    /// The secret has no such value.
    #[error("the secret has no such version")]
    VersionNotFound,
    /// The value was destroyed.
    #[error("this version of the secret was destroyed")]
    VersionDestroyed,
    /// Another secret of the scope has this name.
    #[error("another secret has this name there")]
    NameTaken,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// The environment of a deleted secret is deleted, too.
    #[error("the secret's environment is deleted")]
    EnvironmentGone,
    /// There is no such customer.
    #[error("there is no such customer")]
    UnknownCustomer,
    /// The customer of a deleted secret is deleted, too.
    #[error("the secret's customer is deleted")]
    CustomerGone,
    /// More values than the secrets of a customer can have in all.
    #[error("the secrets of a customer keep at most {CUSTOMER_VALUES_MAX} values in all; destroy some")]
    CustomerFull,
    /// More secrets than a scope can have.
    #[error(
        "there are at most {SECRETS_MAX} secrets in an environment, for a customer in it or for the organization, deleted ones included"
    )]
    TooManySecrets,
    /// More values than a secret can have.
    #[error("a secret keeps at most {VALUES_MAX} versions; destroy the oldest")]
    TooManyVersions,
}

impl At {
    fn needs(self, permission: Permission) -> Need {
        match self.scope.environment() {
            None => Need::Organization(permission),
            Some(environment) => Need::Environment(permission, environment),
        }
    }

    /// The secret, deleted or not.
    fn find(self, secrets: &Secrets) -> Result<&Secret, SecretsRejection> {
        let found = secrets.get(self.secret).filter(|secret| secret.scope == self.scope);
        found.ok_or(SecretsRejection::NotFound)
    }

    /// The secret, unless it is deleted.
    fn find_live(self, secrets: &Secrets) -> Result<&Secret, SecretsRejection> {
        let found = self.find(secrets)?;
        if found.is_deleted() { Err(SecretsRejection::NotFound) } else { Ok(found) }
    }
}

impl SecretsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(command) => command.at.needs(Permission::SecretWrite),
            Self::Update(command) => command.at.needs(Permission::SecretWrite),
            Self::Delete(at) | Self::Undelete(at) => at.needs(Permission::SecretWrite),
            Self::RollBack(command) => command.to.at.needs(Permission::SecretWrite),
            Self::Reveal(value) => value.at.needs(Permission::SecretReveal),
            Self::DestroyVersion(value) => value.at.needs(Permission::SecretDestroy),
            Self::Destroy(at) => at.needs(Permission::SecretDestroy),
            Self::Import(command) => Need::Environment(Permission::SecretWrite, command.environment),
            Self::Expire(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`SecretsRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let secrets = &state.secrets;
        match self {
            Self::Create(command) => Ok(command.decide(state)?),
            Self::Update(command) => command.decide(secrets, context),
            Self::Delete(at) => delete(*at, secrets, context),
            Self::Undelete(at) => undelete(*at, state, context),
            Self::RollBack(command) => command.decide(secrets, context),
            Self::Reveal(value) => value.reveal(secrets, context),
            Self::DestroyVersion(value) => value.destroy(secrets, context),
            Self::Destroy(at) => destroy(*at, secrets, context),
            Self::Import(command) => command.decide(state, context),
            Self::Expire(secret) => Ok(expire(*secret, secrets, context)),
        }
    }
}

/// An event about a secret, which concerns the environment that the secret lies in, and the customer whose it is.
pub(super) fn about(at: At, name: &str, event: SecretsEvent) -> NewEvent {
    let event = NewEvent::new(Resource::named(ResourceType::Secret, at.secret, name), event);
    let event = at.scope.environment().into_iter().fold(event, NewEvent::relating);
    at.scope.customer().into_iter().fold(event, NewEvent::relating)
}

/// Refuses a name that another secret of the scope has.
fn check_free(secrets: &Secrets, at: At, name: &str) -> Result<(), SecretsRejection> {
    match secrets.find(at.scope, name) {
        Some(other) if other.id != at.secret => Err(SecretsRejection::NameTaken),
        _ => Ok(()),
    }
}

/// Refuses one more value where the secrets of its customer have as many as they can, or will with those to come.
pub(super) fn check_room(secrets: &Secrets, scope: Scope, coming: usize) -> Result<(), SecretsRejection> {
    let Some(customer) = scope.customer() else { return Ok(()) };
    let kept = secrets.of_customer(customer).flat_map(Secret::kept_keys).count();
    if kept + coming < CUSTOMER_VALUES_MAX { Ok(()) } else { Err(SecretsRejection::CustomerFull) }
}

/// The number of a secret's next value.
pub(super) fn next_version(secret: &Secret) -> Result<u64, SecretsRejection> {
    let oldest = secret.versions.first().is_some_and(|(_, oldest)| !oldest.destroyed);
    if secret.versions.size() >= VALUES_MAX && oldest {
        return Err(SecretsRejection::TooManyVersions);
    }
    Ok(secret.value_version + 1)
}

impl CreateSecret {
    /// One of an environment, with a name and a value alone.
    fn plain(at: At, name: ConfigKey, value: Sealed) -> Self {
        Self { at, name, modes: Vec::new(), description: None, expires_at: None, value }
    }

    fn decide(&self, state: &Organization) -> Result<Vec<NewEvent>, SecretsRejection> {
        let At { secret, scope } = self.at;
        if scope.customer().is_some_and(|customer| state.customers.get(customer).is_none()) {
            return Err(SecretsRejection::UnknownCustomer);
        }
        if scope.environment().is_some_and(|environment| state.environments.get(environment).is_none()) {
            return Err(SecretsRejection::UnknownEnvironment);
        }
        check_free(&state.secrets, self.at, self.name.as_str())?;
        if state.secrets.count(scope) >= SECRETS_MAX {
            return Err(SecretsRejection::TooManySecrets);
        }
        check_room(&state.secrets, scope, 0)?;
        let (description, sealed_description) = Described::fields(self.description.as_ref());
        let created = SecretCreated {
            secret,
            name: self.name.to_string(),
            environment: scope.environment(),
            customer: scope.customer(),
            modes: self.modes.clone(),
            description,
            sealed_description,
            expires_at: self.expires_at,
            value_version: 1,
            value: self.value.clone(),
            copied_from: None,
        };
        let event = about(self.at, self.name.as_str(), SecretsEvent::SecretCreated(created));
        Ok(vec![event.using(self.value.key)])
    }
}

impl UpdateSecret {
    /// A new value alone.
    fn value(at: At, value: Sealed) -> Self {
        Self { at, name: None, description: None, expires_at: None, value: Some(value) }
    }

    fn decide(&self, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = self.at.find_live(secrets)?;
        context.check_version(current.version)?;
        let name = self.name.as_ref().filter(|name| name.as_str() != current.name);
        let description = self.description.as_ref().filter(|new| **new != current.description);
        let expires_at = self.expires_at.filter(|new| *new != current.expires_at);
        if name.is_none() && description.is_none() && expires_at.is_none() && self.value.is_none() {
            return Ok(Vec::new());
        }
        if let Some(name) = name {
            check_free(secrets, self.at, name.as_str())?;
        }
        if self.value.is_some() {
            check_room(secrets, self.at.scope, 0)?;
        }
        let (open, sealed) = Described::fields(description.and_then(Option::as_ref));
        let cleared = [("description", description == Some(&None)), ("expires_at", expires_at == Some(None))];
        let updated = SecretUpdated {
            name: name.map(ToString::to_string),
            description: open,
            sealed_description: sealed,
            expires_at: expires_at.flatten(),
            cleared: cleared.into_iter().filter(|(_, is)| *is).map(|(field, _)| field.to_owned()).collect(),
            value_version: self.value.as_ref().map(|_| next_version(current)).transpose()?,
            value: self.value.clone(),
            ..SecretUpdated::of(current.id)
        };
        let shown = updated.name.clone().unwrap_or_else(|| current.name.clone());
        let event = about(self.at, &shown, SecretsEvent::SecretUpdated(updated));
        Ok(vec![match &self.value {
            Some(value) => event.using(value.key),
            None => event,
        }])
    }
}

impl ImportSecrets {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let scope = Scope::Environment(self.environment);
        let made = self.values.iter().filter(|value| value.is_new).count();
        if state.secrets.count(scope) + made > SECRETS_MAX {
            return Err(SecretsRejection::TooManySecrets.into());
        }
        let mut events = Vec::with_capacity(self.values.len());
        for ImportedValue { at, name, is_new, value } in &self.values {
            let present = state.secrets.find(scope, name.as_str()).map(|secret| secret.id);
            if present != (!is_new).then_some(at.secret) {
                // The name came or went since the value was sealed for its secret.
                return Err(Rejection::Stale);
            }
            events.extend(if *is_new {
                CreateSecret::plain(*at, name.clone(), value.clone()).decide(state)?
            } else {
                UpdateSecret::value(*at, value.clone()).decide(&state.secrets, context)?
            });
        }
        Ok(events)
    }
}

fn delete(at: At, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let current = at.find_live(secrets)?;
    context.check_version(current.version)?;
    let deleted = SecretsEvent::SecretDeleted(SecretDeleted { secret: at.secret });
    Ok(vec![about(at, &current.name, deleted)])
}

fn undelete(at: At, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let current = at.find(&state.secrets)?;
    context.check_version(current.version)?;
    if !current.is_deleted() {
        return Ok(Vec::new());
    }
    if at.scope.environment().is_some_and(|environment| state.environments.get(environment).is_none()) {
        return Err(SecretsRejection::EnvironmentGone.into());
    }
    if at.scope.customer().is_some_and(|customer| state.customers.get(customer).is_none()) {
        return Err(SecretsRejection::CustomerGone.into());
    }
    check_free(&state.secrets, at, &current.name)?;
    let expires_at = current.expires_at.filter(|_| !current.expired);
    let undeleted = SecretsEvent::SecretUndeleted(SecretUndeleted { secret: at.secret, expires_at });
    Ok(vec![about(at, &current.name, undeleted)])
}

impl RollBackSecret {
    fn decide(&self, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let AtValue { at, value_version: to_version } = self.to;
        let current = at.find_live(secrets)?;
        let earlier = current.versions.get(&to_version).ok_or(SecretsRejection::VersionNotFound)?;
        let copied_from = current.origin(to_version).ok_or(SecretsRejection::VersionNotFound)?;
        context.check_version(current.version)?;
        if earlier.destroyed {
            return Err(SecretsRejection::VersionDestroyed.into());
        }
        if current.current_origin() == Some(copied_from) {
            return Ok(Vec::new());
        }
        check_room(secrets, at.scope, 0)?;
        let rolled_back = SecretRolledBack {
            secret: at.secret,
            to_version,
            value_version: next_version(current)?,
            value: self.value.clone(),
            copied_from,
        };
        let event = about(at, &current.name, SecretsEvent::SecretRolledBack(rolled_back));
        Ok(vec![event.using(self.value.key)])
    }
}

impl AtValue {
    fn reveal(&self, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = self.at.find_live(secrets)?;
        let version = current.versions.get(&self.value_version).ok_or(SecretsRejection::VersionNotFound)?;
        context.check_version(current.version)?;
        if version.destroyed {
            return Err(SecretsRejection::VersionDestroyed.into());
        }
        let revealed = SecretRevealed { secret: current.id, value_version: self.value_version };
        Ok(vec![about(self.at, &current.name, SecretsEvent::SecretRevealed(revealed))])
    }

    fn destroy(&self, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = self.at.find_live(secrets)?;
        let version = current.versions.get(&self.value_version).ok_or(SecretsRejection::VersionNotFound)?;
        context.check_version(current.version)?;
        if version.destroyed {
            return Ok(Vec::new());
        }
        Ok(vec![version_destroyed(current, self.value_version, version.key)])
    }
}

/// That a value of a secret is destroyed, and its key with it.
pub fn version_destroyed(secret: &Secret, value_version: u64, key: DataKeyId) -> NewEvent {
    let destroyed = SecretVersionDestroyed { secret: secret.id, value_version, destroyed_keys: vec![key] };
    let at = At { secret: secret.id, scope: secret.scope };
    about(at, &secret.name, SecretsEvent::SecretVersionDestroyed(destroyed))
}

fn destroy(at: At, secrets: &Secrets, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let current = at.find(secrets)?;
    context.check_version(current.version)?;
    let destroyed = SecretDestroyed { secret: at.secret, destroyed_keys: current.kept_keys().collect() };
    Ok(vec![about(at, &current.name, SecretsEvent::SecretDestroyed(destroyed))])
}

/// Warns once, when the time has come; of what is gone or says otherwise by now, nobody.
fn expire(secret: SecretId, secrets: &Secrets, context: &Context) -> Vec<NewEvent> {
    let Some(current) = secrets.get(secret).filter(|secret| !secret.is_deleted() && !secret.expired) else {
        return Vec::new();
    };
    match current.expires_at {
        Some(expires_at) if expires_at <= context.now => {
            let expired = SecretsEvent::SecretExpired(SecretExpired { secret, expires_at });
            vec![about(current.into(), &current.name, expired)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
