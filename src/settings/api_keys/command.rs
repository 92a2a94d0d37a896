//! Making, changing, rotating and revoking API keys, under ceiling and reach; and recording that they are used.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{ApiKeyId, CustomerId, EnvironmentId};
use crate::organization::Organization;
use crate::settings::api_keys::event::{
    ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated, ApiKeyUsed, ApiKeysEvent, ConnectionRead,
    EnvironmentRead, KeySessionOpened, SecretRead, SecretsRead,
};
use crate::settings::api_keys::projection::{ApiKey, extents};
use crate::settings::api_keys::value::{Limits, RateLimit};
use crate::settings::environments::event::Mode;
use crate::settings::roles::access::{Extent, ceiling, grants, key_holds, reach};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{RoleRef, SystemRole};
use crate::settings::sessions::event::TokenHash;
use crate::text::Name;

/// The most keys of an organization that are not revoked.
pub const API_KEYS_MAX: usize = 100_000;
/// The most values of before of a key that are accepted beside its own, each in its grace.
pub const PREVIOUS_MAX: usize = 32;
/// The most sessions that a key opens on a day.
pub const SESSIONS_PER_DAY_MAX: usize = 64;

/// A command to API keys.
#[derive(Clone, Debug)]
pub enum ApiKeysCommand {
    /// Makes a key.
    Create(CreateApiKey),
    /// Renames, disables, enables or limits one.
    Update(UpdateApiKey),
    /// Revokes one. Revoking it again appends nothing.
    Revoke(RevokeApiKey),
    /// Gives one a new value.
    Rotate(RotateApiKey),
    /// Records that one was used.
    Use(UseApiKey),
}

/// Makes a key.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    /// Its id.
    pub key: ApiKeyId,
    /// Its name.
    pub name: Name,
    /// Test or live, for ever.
    pub mode: Mode,
    /// Its role, for ever.
    pub role: RoleRef,
    /// SHA-256 of its value.
    pub token: TokenHash,
    /// The last four characters of its value.
    pub last4: String,
    /// What it is limited to.
    pub limits: Limits,
}

/// Changes a key; `None` leaves, `Some(None)` lifts a limit.
#[derive(Clone, Debug)]
pub struct UpdateApiKey {
    /// Which.
    pub key: ApiKeyId,
    /// The new name.
    pub name: Option<Name>,
    /// Whether it is to be disabled.
    pub disabled: Option<bool>,
    /// The environments that it is to be limited to.
    pub environments: Option<Option<Vec<EnvironmentId>>>,
    /// The customers that it is to be limited to.
    pub customers: Option<Option<Vec<CustomerId>>>,
    /// When it is to end.
    pub expires_at: Option<Option<Timestamp>>,
    /// The networks that it is to be used from.
    pub allowed_cidrs: Option<Option<Vec<IpNet>>>,
    /// How often it may be used.
    pub rate_limit: Option<Option<RateLimit>>,
}

/// Revokes a key.
#[derive(Clone, Copy, Debug)]
pub struct RevokeApiKey {
    /// Which.
    pub key: ApiKeyId,
}

/// Gives a key a new value.
#[derive(Clone, Debug)]
pub struct RotateApiKey {
    /// Which.
    pub key: ApiKeyId,
    /// SHA-256 of the new value.
    pub token: TokenHash,
    /// The last four characters of the new value.
    pub last4: String,
    /// For how long the old value is accepted, in seconds, whatever becomes of the new one meanwhile. With none, neither
    /// are those that are still in the grace of an earlier rotation.
    pub grace_seconds: u32,
}

/// Records that a key was used.
#[derive(Clone, Debug)]
pub struct UseApiKey {
    /// Which.
    pub key: ApiKeyId,
    /// How often since it was last recorded; `None` for one use, which is recorded where it is the first in its hour or
    /// opens a session.
    pub count: Option<u64>,
    /// The session that it opens: the first from its address on this day.
    pub opened: Option<KeySessionOpened>,
    /// The secrets that it read.
    pub reads: Reads,
}

/// What keys read: whole environments, and secrets by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reads {
    /// Environments.
    pub environments: Vec<EnvironmentRead>,
    /// Secrets.
    pub secrets: Vec<SecretRead>,
    /// Connections.
    pub connections: Vec<ConnectionRead>,
}

/// Why a command to API keys appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeysRejection {
    /// There is no such key.
    #[error("there is no such API key")]
    NotFound,
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked,
    /// There is no such role.
    #[error("there is no such role")]
    UnknownRole,
    /// The role owns the organization, which no key does.
    #[error("no API key owns the organization")]
    OwnerRole,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// An environment is of the other mode.
    #[error("the environment is of the other mode")]
    EnvironmentOfOtherMode,
    /// There is no such customer.
    #[error("there is no such customer")]
    UnknownCustomer,
    /// It would end before it begins.
    #[error("the time lies in the past")]
    ExpiryInThePast,
    /// More keys than an organization can have.
    #[error("an organization has at most {API_KEYS_MAX} API keys")]
    TooManyKeys,
    /// More values of before than a key can have.
    #[error(
        "{PREVIOUS_MAX} earlier values of the API key are in their grace; wait for one to end, or rotate it without grace"
    )]
    TooManyPrevious,
    /// The actor is a key of the other mode.
    #[error("the API key is of the other mode")]
    OtherMode,
}

impl ApiKeysCommand {
    /// What it needs of its actor; how far, `decide` asks.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(_) | Self::Update(_) | Self::Revoke(_) | Self::Rotate(_) => {
                Need::Somewhere(Permission::ApiKeyManage)
            }
            Self::Use(_) => Need::Own,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`ApiKeysRejection`], a missing permission, or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Create(command) => command.decide(state, context),
            Self::Update(command) => command.decide(state, context),
            Self::Revoke(command) => command.decide(state, context),
            Self::Rotate(command) => command.decide(state, context),
            Self::Use(command) => command.decide(state, context),
        }
    }
}

fn find(state: &Organization, id: ApiKeyId) -> Result<&ApiKey, ApiKeysRejection> {
    state.api_keys.get(id).ok_or(ApiKeysRejection::NotFound)
}

/// A key that the actor manages and reaches.
fn reached<'a>(state: &'a Organization, context: &Context, id: ApiKeyId) -> Result<&'a ApiKey, Rejection> {
    let key = find(state, id)?;
    manages(state, context, &key.extents())?;
    if reach(state, context.actor.id, ActorId::ApiKey(id)).is_err() {
        return Err(Rejection::AboveYourRights);
    }
    Ok(key)
}

fn manages(state: &Organization, context: &Context, extents: &[Extent]) -> Result<(), Rejection> {
    let manages = grants(state, context.actor.id).allows_at(Permission::ApiKeyManage, extents);
    if manages { Ok(()) } else { Err(Rejection::Forbidden(Permission::ApiKeyManage)) }
}

/// A key gives nobody more than it has itself: not the other mode, no wider limits.
fn check_maker(
    state: &Organization,
    context: &Context,
    mode: Mode,
    limits: &Limits,
) -> Result<(), Rejection> {
    let ActorId::ApiKey(maker) = context.actor.id else { return Ok(()) };
    let maker = find(state, maker)?;
    if maker.mode != mode {
        return Err(ApiKeysRejection::OtherMode.into());
    }
    if limits.are_within(maker.limits()) { Ok(()) } else { Err(Rejection::AboveYourRights) }
}

/// Whether a key of a mode can be limited so.
fn check_limits(
    state: &Organization,
    context: &Context,
    mode: Mode,
    limits: &Limits,
) -> Result<(), ApiKeysRejection> {
    for id in limits.environments.iter().flatten() {
        let environment = state.environments.get(*id).ok_or(ApiKeysRejection::UnknownEnvironment)?;
        if environment.mode != mode {
            return Err(ApiKeysRejection::EnvironmentOfOtherMode);
        }
    }
    if limits.customers.iter().flatten().any(|id| state.customers.get(*id).is_none()) {
        return Err(ApiKeysRejection::UnknownCustomer);
    }
    if limits.expires_at.is_some_and(|at| at <= context.now) {
        return Err(ApiKeysRejection::ExpiryInThePast);
    }
    Ok(())
}

fn texts(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

fn about(id: ApiKeyId, name: &str, event: ApiKeysEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::ApiKey, id, name), event)
}

impl CreateApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let extents = extents(self.mode, &self.limits);
        manages(state, context, &extents)?;
        let given = key_holds(state, self.role, self.mode, &self.limits);
        let given = given.ok_or(ApiKeysRejection::UnknownRole)?;
        check_maker(state, context, self.mode, &self.limits)?;
        ceiling(state, context.actor.id, &given).map_err(Rejection::Forbidden)?;
        if self.role == RoleRef::System(SystemRole::Owner) {
            return Err(ApiKeysRejection::OwnerRole.into());
        }
        check_limits(state, context, self.mode, &self.limits)?;
        if state.api_keys.count() >= API_KEYS_MAX {
            return Err(ApiKeysRejection::TooManyKeys.into());
        }
        let created = ApiKeyCreated {
            key: self.key,
            name: self.name.to_string(),
            mode: self.mode,
            role: self.role,
            token: self.token,
            last4: self.last4.clone(),
            environments: self.limits.environments.clone(),
            customers: self.limits.customers.clone(),
            expires_at: self.limits.expires_at,
            allowed_cidrs: self.limits.allowed_cidrs.as_deref().map(texts),
            rate_limit: self.limits.rate_limit,
        };
        let event = about(self.key, self.name.as_str(), ApiKeysEvent::ApiKeyCreated(created));
        Ok(vec![concerning(event, self.limits.environments.as_deref(), self.limits.customers.as_deref())])
    }
}

/// The event, which concerns the environments and customers that it names, too.
fn concerning(
    event: NewEvent,
    environments: Option<&[EnvironmentId]>,
    customers: Option<&[CustomerId]>,
) -> NewEvent {
    let event = environments.into_iter().flatten().fold(event, NewEvent::relating);
    customers.into_iter().flatten().fold(event, NewEvent::relating)
}

impl UpdateApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = reached(state, context, self.key)?;
        let limits = self.limits(current.limits());
        let enables = self.disabled == Some(false) && current.is_disabled();
        if enables || limits != *current.limits() {
            self.check_widening(state, context, current, &limits)?;
        }
        context.check_version(current.version)?;
        if current.is_revoked() {
            return Err(ApiKeysRejection::Revoked.into());
        }
        let updated = self.event(current, &limits);
        if updated == self.unchanged() {
            return Ok(Vec::new());
        }
        let name = updated.name.as_deref().unwrap_or(&current.name);
        let event = about(self.key, name, ApiKeysEvent::ApiKeyUpdated(updated.clone()));
        Ok(vec![concerning(event, updated.environments.as_deref(), updated.customers.as_deref())])
    }

    /// Whoever enables a key or limits it otherwise gives what it may do from then on.
    fn check_widening(
        &self,
        state: &Organization,
        context: &Context,
        current: &ApiKey,
        limits: &Limits,
    ) -> Result<(), Rejection> {
        let extents = extents(current.mode, limits);
        manages(state, context, &extents)?;
        check_maker(state, context, current.mode, limits)?;
        let given = key_holds(state, current.role, current.mode, limits).unwrap_or_default();
        ceiling(state, context.actor.id, &given).map_err(Rejection::Forbidden)?;
        // What was there before is not held against whoever changes something else: environments go, time passes.
        let old = current.limits();
        let changed = Limits {
            environments: limits.environments.clone().filter(|_| limits.environments != old.environments),
            customers: limits.customers.clone().filter(|_| limits.customers != old.customers),
            expires_at: limits.expires_at.filter(|_| limits.expires_at != current.limits().expires_at),
            ..Limits::NONE
        };
        Ok(check_limits(state, context, current.mode, &changed)?)
    }

    /// The limits that the key has afterwards.
    fn limits(&self, current: &Limits) -> Limits {
        Limits {
            environments: self.environments.clone().unwrap_or_else(|| current.environments.clone()),
            customers: self.customers.clone().unwrap_or_else(|| current.customers.clone()),
            expires_at: self.expires_at.unwrap_or(current.expires_at),
            allowed_cidrs: self.allowed_cidrs.clone().unwrap_or_else(|| current.allowed_cidrs.clone()),
            rate_limit: self.rate_limit.unwrap_or(current.rate_limit),
        }
    }

    fn unchanged(&self) -> ApiKeyUpdated {
        ApiKeyUpdated {
            key: self.key,
            name: None,
            disabled: None,
            environments: None,
            customers: None,
            expires_at: None,
            allowed_cidrs: None,
            rate_limit: None,
            cleared: Vec::new(),
        }
    }

    /// What changes.
    fn event(&self, current: &ApiKey, limits: &Limits) -> ApiKeyUpdated {
        let old = current.limits();
        let mut cleared = Vec::new();
        let mut lifts = |field: &str, before: bool, after: bool| {
            if before && !after {
                cleared.push(field.to_owned());
            }
        };
        lifts("environments", old.environments.is_some(), limits.environments.is_some());
        lifts("customers", old.customers.is_some(), limits.customers.is_some());
        lifts("expires_at", old.expires_at.is_some(), limits.expires_at.is_some());
        lifts("allowed_cidrs", old.allowed_cidrs.is_some(), limits.allowed_cidrs.is_some());
        lifts("rate_limit", old.rate_limit.is_some(), limits.rate_limit.is_some());
        let networks = limits.allowed_cidrs.as_deref().map(texts);
        ApiKeyUpdated {
            name: self.name.as_ref().map(ToString::to_string).filter(|name| **name != *current.name),
            disabled: self.disabled.filter(|disabled| *disabled != current.is_disabled()),
            environments: limits.environments.clone().filter(|new| old.environments.as_ref() != Some(new)),
            customers: limits.customers.clone().filter(|new| old.customers.as_ref() != Some(new)),
            expires_at: limits.expires_at.filter(|new| old.expires_at != Some(*new)),
            allowed_cidrs: networks.filter(|_| old.allowed_cidrs != limits.allowed_cidrs),
            rate_limit: limits.rate_limit.filter(|new| old.rate_limit != Some(*new)),
            cleared,
            ..self.unchanged()
        }
    }
}

impl RevokeApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(state, self.key)?;
        manages(state, context, &current.extents())?;
        if current.is_revoked() {
            return Ok(Vec::new());
        }
        let current = reached(state, context, self.key)?;
        context.check_version(current.version)?;
        Ok(vec![revoked(self.key, current)])
    }
}

/// That a key is revoked.
pub fn revoked(id: ApiKeyId, key: &ApiKey) -> NewEvent {
    about(id, &key.name, ApiKeysEvent::ApiKeyRevoked(ApiKeyRevoked { key: id, token: key.token() }))
}

impl RotateApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = reached(state, context, self.key)?;
        check_maker(state, context, current.mode, current.limits())?;
        context.check_version(current.version)?;
        if current.is_revoked() {
            return Err(ApiKeysRejection::Revoked.into());
        }
        if self.grace_seconds > 0 && current.previous(context.now).count() >= PREVIOUS_MAX {
            return Err(ApiKeysRejection::TooManyPrevious.into());
        }
        let rotated = ApiKeyRotated {
            key: self.key,
            token: self.token,
            last4: self.last4.clone(),
            previous: current.token(),
            previous_valid_until: context.now.plus_seconds(i64::from(self.grace_seconds)),
        };
        Ok(vec![about(self.key, &current.name, ApiKeysEvent::ApiKeyRotated(rotated))])
    }
}

impl UseApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(state, self.key)?;
        if context.actor.id != ActorId::ApiKey(self.key) {
            return Err(ApiKeysRejection::NotFound.into());
        }
        let has_room = current.sessions_on_day(context.now) < SESSIONS_PER_DAY_MAX;
        let opened = self.opened.clone().filter(|_| has_room);
        if self.reads != Reads::default() {
            return Ok(vec![NewEvent { count: self.count, ..self.read(state, current) }]);
        }
        if current.is_noted(context.now) && opened.is_none() && self.count.is_none() {
            return Ok(Vec::new());
        }
        let session = opened.as_ref().map(|opened| opened.session);
        let used = ApiKeyUsed { key: self.key, opened };
        let event = about(self.key, &current.name, ApiKeysEvent::ApiKeyUsed(used));
        let event = NewEvent { count: self.count, ..event };
        Ok(vec![session.into_iter().fold(event, NewEvent::relating)])
    }

    /// That secrets were read: about the only one, or the only environment, else about the key; it concerns all, and the
    /// customers for whom.
    fn read(&self, state: &Organization, key: &ApiKey) -> NewEvent {
        let Reads { environments, secrets, connections } = self.reads.clone();
        let resource = match (&environments[..], &secrets[..]) {
            ([], [only]) => {
                let name = state.secrets.get(only.secret).map(|secret| secret.name.clone());
                Resource { name, ..Resource::new(ResourceType::Secret, only.secret) }
            }
            ([only], _) => {
                let name =
                    state.environments.get(only.environment).map(|environment| environment.name.clone());
                Resource { name, ..Resource::new(ResourceType::Environment, only.environment) }
            }
            _ => Resource::named(ResourceType::ApiKey, self.key, &*key.name),
        };
        let customers = environments.iter().map(|read| read.customer);
        let customers = customers.chain(secrets.iter().map(|read| read.customer)).flatten();
        let ids = environments.iter().map(|read| read.environment.to_string());
        let ids = ids.chain(secrets.iter().map(|read| read.secret.to_string()));
        let ids = ids.chain(connections.iter().map(|read| read.connection.to_string()));
        let ids = ids.chain([self.key.to_string()]).chain(customers.map(|customer| customer.to_string()));
        // Many customers are read for in one environment.
        let mut named = BTreeSet::from([resource.id.clone()]);
        let related: Vec<_> = ids.filter(|id| named.insert(id.clone())).collect();
        let read = SecretsRead { key: self.key, environments, secrets, connections };
        let read = ApiKeysEvent::SecretsRead(read);
        NewEvent { related, ..NewEvent::new(resource, read) }
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
