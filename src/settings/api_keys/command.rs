//! Making, changing, rotating and revoking API keys, under ceiling and reach; and recording that they are used.

use ipnet::IpNet;

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{ApiKeyId, EnvironmentId};
use crate::organization::Organization;
use crate::settings::api_keys::event::{
    ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated, ApiKeyUsed, ApiKeysEvent, EnvironmentRead,
    KeySessionOpened, SecretRead, SecretsRead,
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
    /// For how long the old value is accepted, in seconds.
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
    /// There are no customers to limit a key to.
    #[error("there are no customers")]
    NoCustomers,
    /// It would end before it begins.
    #[error("the time lies in the past")]
    ExpiryInThePast,
    /// More keys than an organization can have.
    #[error("an organization has at most {API_KEYS_MAX} API keys")]
    TooManyKeys,
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
    if limits.customers.is_some() {
        return Err(ApiKeysRejection::NoCustomers);
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
        let given = key_holds(state, self.role, self.mode, &extents).ok_or(ApiKeysRejection::UnknownRole)?;
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
        Ok(vec![concerning(event, self.limits.environments.as_deref())])
    }
}

/// The event, which concerns the environments that it names, too.
fn concerning(event: NewEvent, environments: Option<&[EnvironmentId]>) -> NewEvent {
    environments.into_iter().flatten().fold(event, NewEvent::relating)
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
        Ok(vec![concerning(event, updated.environments.as_deref())])
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
        let given = key_holds(state, current.role, current.mode, &extents).unwrap_or_default();
        ceiling(state, context.actor.id, &given).map_err(Rejection::Forbidden)?;
        // What was there before is not held against whoever changes something else: environments go, time passes.
        let changed = Limits {
            environments: limits
                .environments
                .clone()
                .filter(|_| limits.environments != current.limits().environments),
            expires_at: limits.expires_at.filter(|_| limits.expires_at != current.limits().expires_at),
            ..Limits::NONE
        };
        Ok(check_limits(state, context, current.mode, &changed)?)
    }

    /// The limits that the key has afterwards.
    fn limits(&self, current: &Limits) -> Limits {
        Limits {
            environments: self.environments.clone().unwrap_or_else(|| current.environments.clone()),
            customers: current.customers.clone(),
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
        lifts("expires_at", old.expires_at.is_some(), limits.expires_at.is_some());
        lifts("allowed_cidrs", old.allowed_cidrs.is_some(), limits.allowed_cidrs.is_some());
        lifts("rate_limit", old.rate_limit.is_some(), limits.rate_limit.is_some());
        let networks = limits.allowed_cidrs.as_deref().map(texts);
        ApiKeyUpdated {
            name: self.name.as_ref().map(ToString::to_string).filter(|name| **name != *current.name),
            disabled: self.disabled.filter(|disabled| *disabled != current.is_disabled()),
            environments: limits.environments.clone().filter(|new| old.environments.as_ref() != Some(new)),
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
        let revoked = ApiKeyRevoked { key: self.key, token: current.token() };
        Ok(vec![about(self.key, &current.name, ApiKeysEvent::ApiKeyRevoked(revoked))])
    }
}

impl RotateApiKey {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = reached(state, context, self.key)?;
        check_maker(state, context, current.mode, current.limits())?;
        context.check_version(current.version)?;
        if current.is_revoked() {
            return Err(ApiKeysRejection::Revoked.into());
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

    /// That secrets were read: about the only one, or the only environment, else about the key; it concerns all.
    fn read(&self, state: &Organization, key: &ApiKey) -> NewEvent {
        let Reads { environments, secrets } = self.reads.clone();
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
        let ids = environments.iter().map(|read| read.environment.to_string());
        let ids = ids.chain(secrets.iter().map(|read| read.secret.to_string())).chain([self.key.to_string()]);
        let related: Vec<_> = ids.filter(|id| *id != resource.id).collect();
        let read = ApiKeysEvent::SecretsRead(SecretsRead { key: self.key, environments, secrets });
        NewEvent { related, ..NewEvent::new(resource, read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        by, by_having_seen, events, founded, granted, id, member, now, organization, person, recorded, sealed,
    };
    use crate::ids::StreamId;
    use crate::seal::Commitment;
    use crate::settings::api_keys::value::network;
    use crate::settings::environments::event::{EnvironmentCreated, EnvironmentDeleted, EnvironmentsEvent};
    use crate::settings::roles::role::Grantee;

    const ADMIN: RoleRef = RoleRef::System(SystemRole::Admin);
    const DEVELOPER: RoleRef = RoleRef::System(SystemRole::Developer);
    const WORKFLOW: RoleRef = RoleRef::System(SystemRole::Workflow);

    fn environment(number: u128, mode: Mode) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: id(number),
            name: format!("E {number}"),
            slug: format!("e-{number}"),
            mode,
            description: None,
        }))
    }

    fn limited(assignment: u128, to: u128, role: RoleRef, environment: u128) -> Event {
        granted(assignment, Grantee::Person(id(to)), role, Some(id(environment)))
    }

    /// Acme with its Owner 1, an Admin 2, a Developer 3, a Developer 4 in environment 1 alone, an Auditor 5; test
    /// environments 1 and 2, live ones 3 and 4; and what follows. Version 17.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let people = [(2, Some(SystemRole::Admin)), (3, Some(SystemRole::Developer)), (4, None)];
        let environments = [(1, Mode::Test), (2, Mode::Test), (3, Mode::Live), (4, Mode::Live)];
        let begun = founded()
            .into_iter()
            .chain(people.into_iter().flat_map(|(number, role)| member(number, role)))
            .chain(member(5, Some(SystemRole::Auditor)))
            .chain(environments.map(|(number, mode)| environment(number, mode)))
            .chain([limited(9, 4, DEVELOPER, 1)]);
        organization(begun.chain(more))
    }

    fn token(number: u128) -> TokenHash {
        Commitment([number as u8; 32])
    }

    fn new(number: u128, mode: Mode, role: RoleRef, limits: Limits) -> CreateApiKey {
        CreateApiKey {
            key: id(number),
            name: Name::try_from("CI").unwrap(),
            mode,
            role,
            token: token(number),
            last4: "abcd".to_owned(),
            limits,
        }
    }

    fn in_environments(numbers: &[u128]) -> Limits {
        Limits { environments: Some(numbers.iter().map(|number| id(*number)).collect()), ..Limits::NONE }
    }

    fn created(number: u128, mode: Mode, role: RoleRef, limits: Limits) -> Event {
        Event::ApiKeys(ApiKeysEvent::ApiKeyCreated(ApiKeyCreated {
            key: id(number),
            name: "CI".to_owned(),
            mode,
            role,
            token: token(number),
            last4: "abcd".to_owned(),
            environments: limits.environments,
            customers: None,
            expires_at: limits.expires_at,
            allowed_cidrs: limits.allowed_cidrs.as_deref().map(texts),
            rate_limit: limits.rate_limit,
        }))
    }

    fn key(number: u128) -> Actor {
        Actor { id: ActorId::ApiKey(id(number)), session: None }
    }

    fn decide(
        command: impl Into<ApiKeysCommand>,
        state: &Organization,
        actor: Actor,
    ) -> Result<Vec<Event>, Rejection> {
        let (command, context) = (command.into(), by(actor));
        command.need().check(state, &context)?;
        events(command.decide(state, &context))
    }

    macro_rules! commands {
        ($($variant:ident($command:ty);)*) => {$(
            impl From<$command> for ApiKeysCommand {
                fn from(command: $command) -> Self {
                    Self::$variant(command)
                }
            }
        )*};
    }

    commands! {
        Create(CreateApiKey);
        Update(UpdateApiKey);
        Revoke(RevokeApiKey);
        Rotate(RotateApiKey);
        Use(UseApiKey);
    }

    fn update(number: u128) -> UpdateApiKey {
        UpdateApiKey {
            key: id(number),
            name: None,
            disabled: None,
            environments: None,
            expires_at: None,
            allowed_cidrs: None,
            rate_limit: None,
        }
    }

    fn rotate(number: u128) -> RotateApiKey {
        RotateApiKey { key: id(number), token: token(200), last4: "wxyz".to_owned(), grace_seconds: 60 }
    }

    fn revoke(number: u128) -> RevokeApiKey {
        RevokeApiKey { key: id(number) }
    }

    const ABOVE: Rejection = Rejection::AboveYourRights;

    fn forbidden(permission: Permission) -> Rejection {
        Rejection::Forbidden(permission)
    }

    #[test]
    fn a_key_is_made() {
        let limits = Limits {
            environments: Some(vec![id(1)]),
            customers: None,
            expires_at: Some(now().plus_seconds(60)),
            allowed_cidrs: Some(vec![network("192.0.2.0/24").unwrap()]),
            rate_limit: Some(RateLimit { requests: 10, window_seconds: 60 }),
        };
        let decided = decide(new(1, Mode::Test, WORKFLOW, limits.clone()), &acme([]), person(id(1)));
        assert_eq!(decided, Ok(vec![created(1, Mode::Test, WORKFLOW, limits)]));
    }

    #[test]
    fn nobody_makes_a_key_that_may_more_than_they() {
        let state = acme([]);
        let make =
            |by, mode, role, limits| decide(new(1, mode, role, limits), &state, person(id(by))).map(|_| ());
        assert_eq!(make(5, Mode::Test, WORKFLOW, Limits::NONE), Err(forbidden(Permission::ApiKeyManage)));
        assert_eq!(make(2, Mode::Live, ADMIN, Limits::NONE), Ok(()));
        assert_eq!(make(3, Mode::Live, DEVELOPER, Limits::NONE), Ok(()));
        assert_eq!(make(3, Mode::Test, ADMIN, Limits::NONE), Err(forbidden(Permission::EnvironmentManage)));
        assert_eq!(make(3, Mode::Live, ADMIN, Limits::NONE), Err(forbidden(Permission::EnvironmentManage)));
        // Whoever is limited to an environment makes keys for it alone, and such that hold nothing beyond it.
        assert_eq!(make(4, Mode::Test, DEVELOPER, in_environments(&[1])), Ok(()));
        assert_eq!(
            make(4, Mode::Test, ADMIN, in_environments(&[1])),
            Err(forbidden(Permission::EnvironmentManage))
        );
        for limits in [Limits::NONE, in_environments(&[1, 2]), in_environments(&[2]), in_environments(&[77])]
        {
            assert_eq!(make(4, Mode::Test, WORKFLOW, limits), Err(forbidden(Permission::ApiKeyManage)));
        }
        assert_eq!(
            make(4, Mode::Live, WORKFLOW, in_environments(&[1])),
            Err(forbidden(Permission::CustomerRead)),
            "what is no environment's a live key holds everywhere"
        );
    }

    #[test]
    fn what_no_key_can_be_is_refused() {
        let state = acme([]);
        let make = |mode, role, limits| {
            decide(new(1, mode, role, limits), &state, person(id(1))).expect_err("it is refused")
        };
        let owner = RoleRef::System(SystemRole::Owner);
        let limits = |expires_at, customers| Limits { expires_at, customers, ..Limits::NONE };
        for (found, rejection) in [
            (make(Mode::Live, owner, Limits::NONE), ApiKeysRejection::OwnerRole),
            (make(Mode::Live, RoleRef::Custom(id(1)), Limits::NONE), ApiKeysRejection::UnknownRole),
            (make(Mode::Live, WORKFLOW, in_environments(&[77])), ApiKeysRejection::UnknownEnvironment),
            (make(Mode::Live, WORKFLOW, in_environments(&[3, 1])), ApiKeysRejection::EnvironmentOfOtherMode),
            (make(Mode::Live, WORKFLOW, limits(Some(now()), None)), ApiKeysRejection::ExpiryInThePast),
            (make(Mode::Live, WORKFLOW, limits(None, Some(vec![id(1)]))), ApiKeysRejection::NoCustomers),
        ] {
            assert_eq!(found, rejection.into());
        }
    }

    #[test]
    fn an_organization_has_so_many_keys_and_no_more() {
        let many =
            (0..API_KEYS_MAX as u128).map(|number| created(number + 10, Mode::Test, WORKFLOW, Limits::NONE));
        let mut state = acme(many);
        let make =
            |state: &Organization| decide(new(1, Mode::Test, WORKFLOW, Limits::NONE), state, person(id(1)));
        assert_eq!(make(&state), Err(ApiKeysRejection::TooManyKeys.into()));
        let revoked = decide(revoke(10), &state, person(id(1))).unwrap().remove(0);
        let stream = StreamId::Organization(id(1));
        state.apply(&recorded(stream, 200_000, now(), person(id(1)), revoked));
        assert!(make(&state).is_ok(), "a revoked one makes room");
    }

    #[test]
    fn only_what_changes_is_recorded() {
        let limits = Limits { expires_at: Some(now().plus_seconds(60)), ..in_environments(&[1]) };
        let state = acme([created(1, Mode::Test, WORKFLOW, limits)]);
        let rate = RateLimit { requests: 1, window_seconds: 1 };
        let change = UpdateApiKey {
            name: Some(Name::try_from("CI").unwrap()),
            disabled: Some(true),
            environments: Some(None),
            expires_at: Some(Some(now().plus_seconds(60))),
            allowed_cidrs: Some(None),
            rate_limit: Some(Some(rate)),
            ..update(1)
        };
        let expected = ApiKeyUpdated {
            disabled: Some(true),
            rate_limit: Some(rate),
            cleared: vec!["environments".to_owned()],
            ..update(1).unchanged()
        };
        let expected = Event::ApiKeys(ApiKeysEvent::ApiKeyUpdated(expected));
        assert_eq!(decide(change.clone(), &state, person(id(1))), Ok(vec![expected.clone()]));
        let before = [created(
            1,
            Mode::Test,
            WORKFLOW,
            Limits { expires_at: Some(now().plus_seconds(60)), ..in_environments(&[1]) },
        )];
        let state = acme(before.into_iter().chain([expected]));
        assert_eq!(decide(change, &state, person(id(1))), Ok(Vec::new()));
    }

    #[test]
    fn nobody_touches_a_key_that_may_more_than_they() {
        let state = acme([
            created(1, Mode::Live, ADMIN, Limits::NONE),
            created(2, Mode::Test, DEVELOPER, Limits::NONE),
        ]);
        for by in [2, 3] {
            let expected = if by == 3 { Err(ABOVE) } else { Ok(1) };
            let told = |decided: Result<Vec<Event>, Rejection>| decided.map(|events| events.len());
            let renamed = UpdateApiKey { name: Some(Name::try_from("Other").unwrap()), ..update(1) };
            assert_eq!(told(decide(renamed, &state, person(id(by)))), expected, "{by}");
            assert_eq!(told(decide(rotate(1), &state, person(id(by)))), expected, "{by}");
            assert_eq!(told(decide(revoke(1), &state, person(id(by)))), expected, "{by}");
        }
        let manage = Err(forbidden(Permission::ApiKeyManage));
        assert_eq!(decide(revoke(2), &state, person(id(4))), manage.clone());
        assert_eq!(decide(rotate(2), &state, person(id(4))), manage);
    }

    #[test]
    fn nobody_widens_a_key_beyond_themselves() {
        let state = acme([created(1, Mode::Test, WORKFLOW, in_environments(&[1]))]);
        for environments in [None, Some(vec![id(1), id(2)])] {
            let widened = UpdateApiKey { environments: Some(environments), ..update(1) };
            assert_eq!(
                decide(widened.clone(), &state, person(id(4))),
                Err(forbidden(Permission::ApiKeyManage))
            );
            assert_eq!(decide(widened, &state, person(id(3))).map(|events| events.len()), Ok(1));
        }
        let other = UpdateApiKey { environments: Some(Some(vec![id(3)])), ..update(1) };
        let rejection = ApiKeysRejection::EnvironmentOfOtherMode;
        assert_eq!(decide(other, &state, person(id(3))), Err(rejection.into()));
    }

    #[test]
    fn a_key_makes_and_enables_only_what_is_within_itself() {
        let narrow = Limits {
            environments: None,
            customers: None,
            expires_at: Some(now().plus_seconds(600)),
            allowed_cidrs: Some(vec![network("192.0.2.0/24").unwrap()]),
            rate_limit: Some(RateLimit { requests: 10, window_seconds: 60 }),
        };
        let maker = created(1, Mode::Test, ADMIN, narrow.clone());
        let wide = created(2, Mode::Test, WORKFLOW, Limits::NONE);
        let disabled = ApiKeyUpdated { disabled: Some(true), ..update(3).unchanged() };
        let off = [
            created(3, Mode::Test, WORKFLOW, Limits::NONE),
            Event::ApiKeys(ApiKeysEvent::ApiKeyUpdated(disabled)),
        ];
        let state = acme([maker, wide].into_iter().chain(off));
        let make =
            |mode, limits| decide(new(9, mode, WORKFLOW, limits), &state, key(1)).map(|events| events.len());
        assert_eq!(make(Mode::Test, narrow.clone()), Ok(1));
        assert_eq!(make(Mode::Test, Limits { environments: Some(vec![id(1)]), ..narrow.clone() }), Ok(1));
        assert_eq!(make(Mode::Live, narrow.clone()), Err(forbidden(Permission::ApiKeyManage)));
        for wider in [
            Limits::NONE,
            Limits { expires_at: Some(now().plus_seconds(601)), ..narrow.clone() },
            Limits { allowed_cidrs: None, ..narrow.clone() },
            Limits { rate_limit: None, ..narrow.clone() },
        ] {
            assert_eq!(make(Mode::Test, wider), Err(ABOVE));
        }
        assert_eq!(decide(rotate(2), &state, key(1)), Err(ABOVE));
        let enables = UpdateApiKey { disabled: Some(false), ..update(3) };
        assert_eq!(decide(enables, &state, key(1)), Err(ABOVE));
        let later = UpdateApiKey { expires_at: Some(Some(now().plus_seconds(601))), ..update(1) };
        assert_eq!(decide(later, &state, key(1)), Err(ABOVE), "nor itself");
        let renames = UpdateApiKey { name: Some(Name::try_from("Other").unwrap()), ..update(2) };
        assert_eq!(decide(renames, &state, key(1)).map(|events| events.len()), Ok(1));
        assert_eq!(decide(revoke(2), &state, key(1)).map(|events| events.len()), Ok(1));
    }

    #[test]
    fn a_rotated_key_keeps_its_old_value_for_its_grace() {
        let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
        let decided = decide(rotate(1), &state, person(id(1))).unwrap();
        let rotated = ApiKeyRotated {
            key: id(1),
            token: token(200),
            last4: "wxyz".to_owned(),
            previous: token(1),
            previous_valid_until: now().plus_seconds(60),
        };
        assert_eq!(decided, [Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated))]);
        let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter().chain(decided));
        let key = state.api_keys.get(id(1)).unwrap();
        let later = |seconds| now().plus_seconds(seconds);
        assert!(key.accepts(token(200), later(60)) && key.accepts(token(1), later(59)));
        assert!(!key.accepts(token(1), later(60)) && !key.accepts(token(2), now()));
    }

    #[test]
    fn a_key_is_revoked_once_and_for_ever() {
        let begun = || [created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter();
        let decided = decide(revoke(1), &acme(begun()), person(id(1))).unwrap();
        let revoked = ApiKeyRevoked { key: id(1), token: token(1) };
        assert_eq!(decided, [Event::ApiKeys(ApiKeysEvent::ApiKeyRevoked(revoked))]);
        let state = acme(begun().chain(decided));
        assert_eq!(decide(revoke(1), &state, person(id(1))), Ok(Vec::new()));
        let enables = UpdateApiKey { disabled: Some(false), ..update(1) };
        assert_eq!(decide(enables, &state, person(id(1))), Err(ApiKeysRejection::Revoked.into()));
        assert_eq!(decide(rotate(1), &state, person(id(1))), Err(ApiKeysRejection::Revoked.into()));
        assert_eq!(decide(revoke(2), &state, person(id(1))), Err(ApiKeysRejection::NotFound.into()));
        assert_eq!(decide(update(2), &state, person(id(1))), Err(ApiKeysRejection::NotFound.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
        let version = state.api_keys.get(id(1)).unwrap().version;
        let commands: [ApiKeysCommand; 3] =
            [UpdateApiKey { disabled: Some(true), ..update(1) }.into(), rotate(1).into(), revoke(1).into()];
        for command in commands {
            let seen = |version| command.decide(&state, &by_having_seen(person(id(1)), version));
            assert_eq!(seen(version - 1), Err(PreconditionFailed.into()));
            assert!(seen(version).is_ok());
        }
    }

    fn used(count: Option<u64>, session: Option<u128>) -> UseApiKey {
        let opened =
            session.map(|number| KeySessionOpened { session: id(number), ip: sealed(1), user_agent: None });
        UseApiKey { key: id(1), count, opened, reads: Reads::default() }
    }

    #[test]
    fn the_first_use_of_an_hour_is_recorded_and_so_is_every_session() {
        let begun = || [created(1, Mode::Test, WORKFLOW, Limits::NONE)].into_iter();
        let first = decide(used(None, Some(1)), &acme(begun()), key(1)).unwrap();
        assert_eq!(first.len(), 1);
        let state = acme(begun().chain(first));
        assert_eq!(decide(used(None, None), &state, key(1)), Ok(Vec::new()));
        assert_eq!(decide(used(None, Some(2)), &state, key(1)).map(|events| events.len()), Ok(1));
        assert_eq!(decide(used(Some(7), None), &state, key(1)).map(|events| events.len()), Ok(1));
        let context = Context { now: now().plus_seconds(3600), ..by(key(1)) };
        assert_eq!(
            ApiKeysCommand::from(used(None, None)).decide(&state, &context).map(|events| events.len()),
            Ok(1)
        );
    }

    #[test]
    fn secrets_that_were_read_are_told_of_the_only_one_its_environment_or_the_key() {
        let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
        let context = by(key(1));
        let whole = |number| EnvironmentRead { environment: id(number), version: "v".to_owned(), count: 1 };
        let value = |number| SecretRead { secret: id(number), value_version: 1, count: 1 };
        for (environments, secrets, about) in [
            (vec![], vec![value(1)], ResourceType::Secret),
            (vec![whole(1)], vec![value(1), value(2)], ResourceType::Environment),
            (vec![whole(1)], vec![], ResourceType::Environment),
            (vec![], vec![value(1), value(2)], ResourceType::ApiKey),
            (vec![whole(1), whole(2)], vec![], ResourceType::ApiKey),
        ] {
            let reads = Reads { environments: environments.clone(), secrets: secrets.clone() };
            let command = UseApiKey { reads, ..used(Some(3), None) };
            let decided = ApiKeysCommand::Use(command).decide(&state, &context).unwrap();
            let read =
                SecretsRead { key: id(1), environments: environments.clone(), secrets: secrets.clone() };
            assert_eq!(decided[0].event, Event::ApiKeys(ApiKeysEvent::SecretsRead(read)));
            assert_eq!((decided[0].resource.kind, decided[0].count), (about, Some(3)));
            assert_eq!(decided[0].related.len(), environments.len() + secrets.len());
        }
    }

    #[test]
    fn a_key_opens_so_many_sessions_a_day_and_no_more() {
        let begun = [created(1, Mode::Test, WORKFLOW, Limits::NONE)];
        let opens = |number: usize| {
            let opened = used(None, Some(number as u128)).opened;
            Event::ApiKeys(ApiKeysEvent::ApiKeyUsed(ApiKeyUsed { key: id(1), opened }))
        };
        let state = acme(begun.into_iter().chain((0..SESSIONS_PER_DAY_MAX).map(opens)));
        assert_eq!(decide(used(None, Some(999)), &state, key(1)), Ok(Vec::new()));
        let tomorrow = Context { now: now().plus_seconds(24 * 3600), ..by(key(1)) };
        let decided = events(ApiKeysCommand::from(used(None, Some(999))).decide(&state, &tomorrow)).unwrap();
        assert_eq!(decided, [opens(999)]);
    }

    #[test]
    fn only_the_key_itself_says_that_it_was_used() {
        let state = acme([created(1, Mode::Test, WORKFLOW, Limits::NONE)]);
        for actor in [person(id(1)), key(2), Actor::SYSTEM] {
            let decided = decide(used(Some(1), None), &state, actor);
            assert_eq!(decided, Err(ApiKeysRejection::NotFound.into()));
        }
    }

    #[test]
    fn a_key_holds_what_its_role_mode_and_environments_say() {
        let deleted = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(2) });
        let state = acme([
            created(1, Mode::Test, ADMIN, Limits::NONE),
            created(2, Mode::Live, ADMIN, Limits::NONE),
            created(3, Mode::Live, DEVELOPER, in_environments(&[3])),
            created(4, Mode::Test, DEVELOPER, in_environments(&[2])),
            Event::Environments(deleted),
            environment(5, Mode::Test),
        ]);
        let held = |number| grants(&state, key(number).id);
        let write = Permission::ConfigWrite;
        let reached = |number: u128| {
            (1..=5)
                .filter(|environment| held(number).allows_in(write, id(*environment)))
                .collect::<Vec<u128>>()
        };
        assert_eq!(
            (reached(1), reached(2), reached(3), reached(4)),
            (vec![1, 5], vec![3, 4], vec![3], vec![])
        );
        for number in 1..=4 {
            assert!(!held(number).allows(write), "what is an environment's holds in environments alone");
            assert_eq!(held(number).allows(Permission::CustomerManage), number == 2 || number == 3);
            assert_eq!(held(number).allows_somewhere(write), number != 4);
            assert!(!held(number).allows(Permission::OrganizationOwn));
        }
    }
}
