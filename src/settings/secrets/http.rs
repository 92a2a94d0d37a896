//! `/v1/secrets`: secrets over HTTP, without their values. What shows or moves a value is in `values.rs` beside this.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::access::Access;
use crate::http::app::App;
use crate::http::as_of::{AsOfParameters, Asked};
use crate::http::call::Call;
use crate::http::environment;
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{CustomerId, EnvironmentId, Fresh, SecretId};
use crate::seal::Sealed;
use crate::seal::keyring::NewDataKey;
use crate::settings::environments::event::Mode;
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::command::{At, CreateSecret, SecretsCommand, UpdateSecret};
use crate::settings::secrets::described::{Described, place};
use crate::settings::secrets::projection::{Secret, Secrets};
use crate::settings::secrets::value::{Scope, SecretValue};
use crate::settings::secrets::value_field;
use crate::store::Done;
use crate::text::Description;

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
pub struct SecretBody {
    /// The secret.
    pub id: SecretId,
    /// Its name, an environment variable's.
    pub name: String,
    /// The environment that it belongs to; null where it is the whole organization's.
    pub environment: Option<EnvironmentId>,
    /// The customer that it belongs to.
    pub customer: Option<CustomerId>,
    /// The modes of the environments in which it is read, of one that is the whole organization's.
    pub modes: Option<Vec<Mode>>,
    /// What it is for.
    pub description: Option<String>,
    /// When it is said to expire. That withholds nothing; it is recorded when the time comes.
    pub expires_at: Option<Timestamp>,
    /// The number of its newest value.
    pub value_version: u64,
    /// Whether that value was destroyed, so that there is none to be read.
    pub value_destroyed: bool,
    /// Since when it is deleted.
    pub deleted_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl SecretBody {
    /// A secret as it is told: what a customer's is for only as long as the customer is not erased.
    pub(super) fn of(call: &Call, secret: &Secret) -> Result<Self, Problem> {
        let description = secret.description.as_ref().map(|described| opened(call, secret, described));
        Ok(Self {
            id: secret.id,
            name: secret.name.clone(),
            environment: secret.scope.environment(),
            customer: secret.scope.customer(),
            modes: (secret.scope == Scope::Organization).then(|| secret.modes.clone()),
            description: description.transpose()?.flatten(),
            expires_at: secret.expires_at,
            value_version: secret.value_version,
            value_destroyed: secret.value.is_none(),
            deleted_at: secret.deleted_at,
            created_at: secret.created_at,
            updated_at: secret.updated_at,
            version: secret.version,
        })
    }
}

/// What a secret is for; `None` where its customer was erased since.
fn opened(call: &Call, secret: &Secret, described: &Described) -> Result<Option<String>, Problem> {
    let (sealed, customer) = match (described, secret.scope.customer()) {
        (Described::Open(text), _) => return Ok(Some(text.clone())),
        (Described::Sealed(sealed), Some(customer)) => (sealed, customer),
        (Described::Sealed(_), None) => return Err(Problem::internal()),
    };
    let handle = &call.organization.handle;
    let plain = handle.open_of_customer(customer, || {
        let (stream, ring) = (handle.stream(), call.app.store.ring());
        let view = handle.view();
        let commitment = view.organization().customers.key_of(customer).and_then(|key| key.commitment);
        let key = ring.data_key(stream, sealed.key, commitment)?;
        Ok(key.open(&place(stream, &secret.id.to_string()), sealed)?)
    })?;
    let text = plain.as_ref().map(|plain| plain.as_str().map(ToOwned::to_owned)).transpose();
    text.map_err(|_| Problem::internal())
}

/// What a secret is to be for, as it is kept where the secret belongs.
fn described(call: &Call, at: At, text: &Description) -> Result<Described, Problem> {
    let Some(customer) = at.scope.customer() else { return Ok(Described::Open(text.to_string())) };
    let handle = &call.organization.handle;
    let (stream, ring) = (handle.stream(), call.app.store.ring());
    let key = handle.open_of_customer(customer, || {
        let view = handle.view();
        let key = view.organization().customers.key_of(customer);
        key.map(|key| ring.data_key(stream, key.id, key.commitment)).transpose()
    })?;
    let key = key.flatten().ok_or_else(Problem::not_found)?;
    Ok(Described::seal(stream, &at.secret.to_string(), &key, text.as_str()))
}

/// A secret to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Its name.
    name: ConfigKey,
    /// Its value: text of 1 byte to 64 KiB.
    value: SecretValue,
    /// The environment that it belongs to, by id or slug; the whole organization where it is absent. It never changes.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    environment: Option<String>,
    /// The customer that it belongs to, in the environment.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    customer: Option<CustomerId>,
    /// The modes of the environments in which it is read, of one that is the whole organization's; all where absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, min_items = 1)]
    modes: Option<Vec<Mode>>,
    /// What it is for.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    description: Option<Description>,
    /// When it is said to expire: a time to come.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
}

/// What changes; a field that is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<ConfigKey>,
    /// The new value, which makes a new version, also where it is the same text.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    value: Option<SecretValue>,
    /// The new description; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    description: Patch<Description>,
    /// The new time at which it is said to expire; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Patch<Timestamp>,
}

/// Makes a secret.
#[utoipa::path(post, path = "/v1/secrets", tag = "secrets", request_body = NewSecret, responses(
    (status = 201, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewSecret = call.body().parse()?;
    let scope = new.scope(&call)?;
    require(&call, Permission::SecretWrite, scope).await?;
    let modes = new.modes(scope)?;
    check_to_come(&call, new.expires_at)?;
    let at = At { secret: Fresh.id(), scope };
    let (value, key) = sealed(&call, at.secret, &new.value)?;
    let description = new.description.as_ref().map(|text| described(&call, at, text)).transpose()?;
    let command = CreateSecret { at, name: new.name, modes, description, expires_at: new.expires_at, value };
    let done = call.submit_sealed(SecretsCommand::Create(command), vec![key], StatusCode::CREATED).await?;
    // A replay shows the secret that the first request made, which has another id.
    let secrets = &done.view.organization().secrets;
    let created = secrets
        .get(at.secret)
        .or_else(|| secrets.iter().find(|secret| secret.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/secrets/{}", created.id);
    Ok(call.done(
        &done,
        StatusCode::CREATED,
        created.version,
        Some(location),
        &SecretBody::of(&call, created)?,
    ))
}

impl NewSecret {
    /// Where it is to belong.
    fn scope(&self, call: &Call) -> Result<Scope, Problem> {
        let Some(named) = &self.environment else {
            return match self.customer {
                None => Ok(Scope::Organization),
                Some(_) => {
                    let message = "a customer's secret belongs to an environment";
                    Err(Problem::invalid_field("/environment", "missing", message))
                }
            };
        };
        let environment = environment::visible(call, &call.settings().environments, named);
        let environment = environment.ok_or_else(|| {
            Problem::invalid_field("/environment", "unknown", "there is no such environment")
        })?;
        let Some(customer) = self.customer else { return Ok(Scope::Environment(environment)) };
        if call.settings().customers.get(customer).is_none() {
            return Err(Problem::invalid_field("/customer", "unknown", "there is no such customer"));
        }
        Ok(Scope::Customer(environment, customer))
    }

    /// The modes that it is to have, in their order.
    fn modes(&self, scope: Scope) -> Result<Vec<Mode>, Problem> {
        match (scope, &self.modes) {
            (Scope::Organization, None) => Ok(vec![Mode::Test, Mode::Live]),
            (Scope::Organization, Some(modes)) if modes.is_empty() => {
                Err(Problem::invalid_field("/modes", "too_short", "expected at least one mode"))
            }
            (Scope::Organization, Some(modes)) => {
                Ok([Mode::Test, Mode::Live].into_iter().filter(|mode| modes.contains(mode)).collect())
            }
            (Scope::Environment(_) | Scope::Customer(..), None) => Ok(Vec::new()),
            (Scope::Environment(_) | Scope::Customer(..), Some(_)) => {
                Err(Problem::invalid_field("/modes", "not_allowed", "an environment has its own mode"))
            }
        }
    }
}

/// A secret.
#[utoipa::path(get, path = "/v1/secrets/{sec}", tag = "secrets",
    params(("sec" = SecretId, Path), AsOfParameters), responses(
    (status = 200, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = asked_of(&call, &query, path.first()).await?;
    let secrets = call.seen::<Secrets>(&asked, Focus::Resource(path.first().to_owned())).await?;
    let secret = visible(&call, &secrets, path.first())?;
    let NoParameters {} = asked.query.parse()?;
    Ok(call.seen_resource(&secrets, secret.version, &SecretBody::of(&call, secret)?))
}

/// Renames or describes a secret, or gives it another value.
#[utoipa::path(patch, path = "/v1/secrets/{sec}", tag = "secrets", request_body = SecretPatch,
    params(("sec" = SecretId, Path)), responses(
    (status = 200, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(AtSecret { call, secret }: AtSecret, _: NoParameters) -> Result<Response, Problem> {
    let patch: SecretPatch = call.body().parse()?;
    if let Patch::Value(expires_at) = patch.expires_at {
        check_to_come(&call, Some(expires_at))?;
    }
    let sealed = patch.value.as_ref().map(|value| sealed(&call, secret.id, value)).transpose()?;
    let (value, key) = sealed.unzip();
    let at = At::from(&secret);
    let description = patch.description.into_option();
    let describe = |text: Option<Description>| text.map(|text| described(&call, at, &text)).transpose();
    let command = UpdateSecret {
        at,
        name: patch.name,
        description: description.map(describe).transpose()?,
        expires_at: patch.expires_at.into_option(),
        value,
    };
    let keys = key.into_iter().collect();
    let done = call.submit_sealed(SecretsCommand::Update(command), keys, StatusCode::OK).await?;
    answer(&call, &done, secret.id)
}

/// Deletes a secret. Its values stay, and it can be brought back.
#[utoipa::path(delete, path = "/v1/secrets/{sec}", tag = "secrets", params(("sec" = SecretId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(AtSecret { call, secret }: AtSecret, _: NoParameters) -> Result<Response, Problem> {
    let command = SecretsCommand::Delete(At::from(&secret));
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// Brings a deleted secret back.
#[utoipa::path(post, path = "/v1/secrets/{sec}/undelete", tag = "secrets", params(("sec" = SecretId, Path)),
    responses((status = 200, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn undelete(
    AtKeptSecret { call, secret }: AtKeptSecret,
    _: NoParameters,
) -> Result<Response, Problem> {
    let NoFields {} = call.body().parse()?;
    let done = call.submit(SecretsCommand::Undelete(At::from(&secret)), StatusCode::OK).await?;
    answer(&call, &done, secret.id)
}

/// Destroys a secret, deleted or not, with all of its values, for ever.
#[utoipa::path(post, path = "/v1/secrets/{sec}/destroy", tag = "secrets", params(("sec" = SecretId, Path)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn destroy(
    AtKeptSecret { call, secret }: AtKeptSecret,
    _: NoParameters,
) -> Result<Response, Problem> {
    let NoFields {} = call.body().parse()?;
    let command = SecretsCommand::Destroy(At::from(&secret));
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// A body without fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

/// A call to a secret that is not deleted, for which the caller holds the route's permission.
pub struct AtSecret {
    pub(super) call: Call,
    pub(super) secret: Secret,
}

/// A call to a secret that may be deleted, but was not destroyed.
pub struct AtKeptSecret {
    call: Call,
    secret: Secret,
}

impl FromRequestParts<App> for AtSecret {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtKeptSecret { call, secret } = AtKeptSecret::find(parts, app, Secret::is_deleted).await?;
        Ok(Self { call, secret })
    }
}

impl FromRequestParts<App> for AtKeptSecret {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Self::find(parts, app, |_| false).await
    }
}

impl AtKeptSecret {
    /// The secret of the path, unless the caller may not see it or it is `hidden`.
    async fn find(parts: &mut Parts, app: &App, hidden: fn(&Secret) -> bool) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let Access::Environment(permission) = call.row().access else {
            tracing::error!("a route of a secret asks for no permission in an environment");
            return Err(Problem::internal());
        };
        let id = path.first().parse().map_err(|_| Problem::not_found())?;
        let grants = &call.organization.grants;
        let found = call.settings().secrets.get(id).filter(|secret| !hidden(secret));
        let seen = found.filter(|secret| sees(grants, secret.scope));
        let secret = seen.ok_or_else(Problem::not_found)?.clone();
        require(&call, permission, secret.scope).await?;
        Ok(Self { call, secret })
    }
}

/// Whether somebody holds a permission where a secret belongs.
pub(super) fn holds(grants: &Grants, permission: Permission, scope: Scope) -> bool {
    match scope.environment() {
        None => grants.allows(permission),
        Some(environment) => grants.allows_in(permission, environment),
    }
}

/// Whether somebody sees what belongs there: a key that is limited to some customers none of others'.
pub(super) fn sees(grants: &Grants, scope: Scope) -> bool {
    holds(grants, Permission::SecretRead, scope)
        && scope.customer().is_none_or(|customer| grants.reaches(customer))
}

/// Asks for a permission where a secret belongs.
async fn require(call: &Call, permission: Permission, scope: Scope) -> Result<(), Problem> {
    match scope.environment() {
        None => call.require(permission).await,
        Some(environment) => call.require_in(permission, environment).await,
    }
}

/// A secret as it was at the point in time asked about, if the caller may see it today.
pub(super) fn visible<'a>(call: &Call, secrets: &'a Secrets, id: &str) -> Result<&'a Secret, Problem> {
    let found = id.parse().ok().and_then(|id| secrets.get(id)).filter(|secret| !secret.is_deleted());
    found.filter(|secret| sees(&call.organization.grants, secret.scope)).ok_or_else(Problem::not_found)
}

/// The query of a GET about the secret of a path's segment. That there is no such secret comes before what is wrong with
/// the query.
pub(super) async fn asked_of(call: &Call, query: &RawQuery, segment: &str) -> Result<Asked, Problem> {
    match call.asked(query).await {
        Err(problem) if problem.status() != StatusCode::FORBIDDEN => {
            Err(visible(call, &call.settings().secrets, segment).err().unwrap_or(problem))
        }
        asked => asked,
    }
}

/// The secret after a command.
pub(super) fn answer(call: &Call, done: &Done, id: SecretId) -> Result<Response, Problem> {
    let secret = done.view.organization().secrets.get(id).ok_or_else(Problem::not_found)?;
    Ok(call.done(done, StatusCode::OK, secret.version, None, &SecretBody::of(call, secret)?))
}

/// A value, sealed for a secret under a key of its own.
pub(super) fn sealed(
    call: &Call,
    id: SecretId,
    value: &SecretValue,
) -> Result<(Sealed, NewDataKey), Problem> {
    let stream = call.organization.handle.stream();
    let key = call.app.store.ring().mint(stream)?;
    Ok((key.key().seal(&value_field(stream, &id.to_string()), value.plain()), key))
}

/// Refuses a time that has passed already; of a repeated request it may have, since.
fn check_to_come(call: &Call, expires_at: Option<Timestamp>) -> Result<(), Problem> {
    match expires_at {
        Some(at) if at <= call.app.store.clock().now() && !call.is_repeated() => {
            Err(Problem::invalid_field("/expires_at", "in_the_past", "expected a time to come"))
        }
        _ => Ok(()),
    }
}
