//! `/v1/api-keys`: API keys over HTTP. A key's value is in the answer that made it, and in no other.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::access::Access;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::{Call, read_history};
use crate::http::environment::visible;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{ApiKeyId, CustomerId, EnvironmentId, Fresh};
use crate::seal::api_key::PlainKey;
use crate::settings::api_keys::command::{
    ApiKeysCommand, CreateApiKey, RevokeApiKey, RotateApiKey, UpdateApiKey,
};
use crate::settings::api_keys::projection::{ApiKey, ApiKeys, Previous, Status};
use crate::settings::api_keys::value::{
    CIDRS_MAX, ENVIRONMENTS_MAX, GRACE_SECONDS_MAX, Limits, OWN_CUSTOMERS_MAX, RateLimit, network, prefix,
};
use crate::settings::environments::event::Mode;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{RoleRef, SystemRole};
use crate::store::Done;
use crate::text::Name;

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyBody {
    /// The key.
    pub id: ApiKeyId,
    /// Its name.
    pub name: String,
    /// Whether it reaches test environments or live ones.
    pub mode: Mode,
    /// Its role.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The environments that it is limited to; null for all of its mode.
    pub environments: Option<Vec<EnvironmentId>>,
    /// The customers that it is limited to; null for all.
    pub customers: Option<Vec<CustomerId>>,
    /// How its value begins.
    pub prefix: &'static str,
    /// How its value ends.
    pub last4: String,
    /// Whether it is accepted.
    pub status: Status,
    /// When it was last used, to the hour.
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The networks that it may be used from; null for all.
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_cidrs: Option<Vec<IpNet>>,
    /// How often it may be used; null for as often as one likes.
    pub rate_limit: Option<RateLimit>,
    /// Until when the value of before the last rotation is accepted, too.
    pub previous_valid_until: Option<Timestamp>,
    /// All values of before that are accepted, the newest first: each until its own grace ends.
    pub previous_values: Vec<PreviousValueBody>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl ApiKeyBody {
    fn new(id: ApiKeyId, key: &ApiKey, now: Timestamp) -> Self {
        let limits = key.limits().clone();
        Self {
            id,
            name: key.name.to_string(),
            mode: key.mode,
            role: key.role,
            environments: limits.environments,
            customers: limits.customers,
            prefix: prefix(key.mode),
            last4: shown(key.last4),
            status: key.status(now),
            last_used_at: key.last_used_at(),
            expires_at: limits.expires_at,
            allowed_cidrs: limits.allowed_cidrs,
            rate_limit: limits.rate_limit,
            previous_valid_until: key.previous_valid_until(now),
            previous_values: key.previous(now).map(PreviousValueBody::from).collect(),
            created_at: key.created_at,
            updated_at: key.updated_at,
            version: key.version,
        }
    }
}

/// A value of an API key of before a rotation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PreviousValue)]
pub struct PreviousValueBody {
    /// How it ends.
    pub last4: String,
    /// Until when it is accepted.
    pub valid_until: Timestamp,
}

impl From<&Previous> for PreviousValueBody {
    fn from(previous: &Previous) -> Self {
        Self { last4: shown(previous.last4), valid_until: previous.valid_until }
    }
}

fn shown(last4: [u8; 4]) -> String {
    String::from_utf8_lossy(&last4).into_owned()
}

/// An API key with its value, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub struct NewApiKeyBody {
    /// The key.
    #[serde(flatten)]
    pub of: ApiKeyBody,
    /// Its value. Nobody can show it again.
    pub key: String,
}

/// An API key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// Its name.
    name: Name,
    /// Whether it reaches test environments or live ones. It never changes.
    mode: Mode,
    /// What it may do; it never changes.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<String>, nullable = false, default = "workflow")]
    role: Option<RoleRef>,
    /// The environments that it is limited to, by id or slug; all of its mode where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, min_items = 1, max_items = 100)]
    environments: Option<Vec<String>>,
    /// The customers that it is limited to, by id; all where it is absent. Such a key reads at run time for one of them,
    /// reads and writes their documents and executions, and nothing else.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, min_items = 1, max_items = 100)]
    customers: Option<Vec<CustomerId>>,
    /// When it ends.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
    /// The networks that it may be used from, such as `192.0.2.0/24`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, min_items = 1, max_items = 100)]
    allowed_cidrs: Option<Vec<String>>,
    /// How often it may be used.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    rate_limit: Option<RateLimit>,
}

/// What changes; a field that is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// Whether it is disabled: not accepted until it is enabled again.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    disabled: Option<bool>,
    /// The environments that it is limited to, by id or slug; null for all of its mode.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    environments: Patch<Vec<String>>,
    /// The customers that it is limited to, by id; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<CustomerId>>)]
    customers: Patch<Vec<CustomerId>>,
    /// When it ends; null for never.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Patch<Timestamp>,
    /// The networks that it may be used from; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    allowed_cidrs: Patch<Vec<String>>,
    /// How often it may be used; null for as often as one likes.
    #[serde(default)]
    #[schema(value_type = Option<RateLimit>)]
    rate_limit: Patch<RateLimit>,
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// For how long the old value is accepted, in seconds; none is for what leaked, and ends earlier values, too.
    #[serde(default)]
    #[schema(maximum = 604_800)]
    grace_seconds: u32,
}

/// Which keys are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApiKeyParameters {
    /// Only keys of this mode.
    mode: Option<Mode>,
}

/// All API keys that the caller may see, by id.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api keys",
    params(ApiKeyParameters, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<ApiKeyBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let (request, asked) = call.asked_page(&app.cursors, &scope, "api_keys", &query).await?;
    let ApiKeyParameters { mode } = asked.query.parse()?;
    let now = call.time_of(&asked).await?;
    let keys = call.seen::<ApiKeys>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<ApiKeyId>().ok());
    let found = keys
        .after(after)
        .filter(|(_, key)| mode.is_none_or(|mode| key.mode == mode))
        .filter(|(_, key)| sees(&call.organization.grants, key))
        .map(|(id, key)| ApiKeyBody::new(*id, key, now));
    let page = app.cursors.page(&scope, "api_keys", &request, found, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(keys.mark(call.list(&call.organization.view, &page)))
}

/// Makes an API key. Its value is in this answer alone.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api keys", request_body = ApiKeyRequest, responses(
    (status = 201, body = NewApiKeyBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: ApiKeyRequest = call.body().parse()?;
    let limits = Limits {
        environments: new.environments.map(|listed| environments(&call, &listed)).transpose()?,
        customers: new.customers.map(|listed| customers(&call, listed)).transpose()?,
        expires_at: new.expires_at,
        allowed_cidrs: new.allowed_cidrs.map(|texts| networks(&texts)).transpose()?,
        rate_limit: new.rate_limit.map(rate_limit).transpose()?,
    };
    let (key, plain) = (Fresh.id(), PlainKey::draw(prefix(new.mode)));
    let command = CreateApiKey {
        key,
        name: new.name,
        mode: new.mode,
        role: new.role.unwrap_or(RoleRef::System(SystemRole::Workflow)),
        token: plain.hash(),
        last4: plain.last4().to_owned(),
        limits,
    };
    let done = call.submit(ApiKeysCommand::Create(command), StatusCode::CREATED).await?;
    let location = Some(format!("/v1/api-keys/{key}"));
    shown_once(&call, &done, key, &plain, StatusCode::CREATED, location).await
}

/// An API key.
#[utoipa::path(get, path = "/v1/api-keys/{api_key}", tag = "api keys", params(("api_key" = ApiKeyId, Path), AsOfParameters),
    responses((status = 200, body = ApiKeyBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = call.asked(&query).await?;
    let id: ApiKeyId = path.first().parse().map_err(|_| Problem::not_found())?;
    let now = call.time_of(&asked).await?;
    let keys = call.seen::<ApiKeys>(&asked, Focus::Resource(id.to_string())).await?;
    let key = keys.get(id).filter(|key| sees(&call.organization.grants, key));
    let key = key.ok_or_else(Problem::not_found)?;
    let NoParameters {} = asked.query.parse()?;
    Ok(call.seen_resource(&keys, key.version, &ApiKeyBody::new(id, key, now)))
}

/// Renames, disables or enables an API key, or limits it otherwise.
#[utoipa::path(patch, path = "/v1/api-keys/{api_key}", tag = "api keys", params(("api_key" = ApiKeyId, Path)),
    request_body = ApiKeyPatch, responses(
    (status = 200, body = ApiKeyBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(AtKey { call, key }: AtKey, _: NoParameters) -> Result<Response, Problem> {
    let patch: ApiKeyPatch = call.body().parse()?;
    let listed = patch.environments.into_option();
    let cidrs = patch.allowed_cidrs.into_option();
    let rate = patch.rate_limit.into_option();
    let command = UpdateApiKey {
        key,
        name: patch.name,
        disabled: patch.disabled,
        environments: each(listed, |listed| environments(&call, &listed))?,
        customers: each(patch.customers.into_option(), |listed| customers(&call, listed))?,
        expires_at: patch.expires_at.into_option(),
        allowed_cidrs: each(cidrs, |texts| networks(&texts))?,
        rate_limit: each(rate, rate_limit)?,
    };
    let done = call.submit(ApiKeysCommand::Update(command), StatusCode::OK).await?;
    let updated = done.view.organization().api_keys.get(key).ok_or_else(Problem::not_found)?;
    let body = ApiKeyBody::new(key, updated, done.view.head.at);
    Ok(call.done(&done, StatusCode::OK, updated.version, None, &body))
}

/// Revokes an API key, at once and for ever.
#[utoipa::path(delete, path = "/v1/api-keys/{api_key}", tag = "api keys", params(("api_key" = ApiKeyId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn revoke(AtKey { call, key }: AtKey, _: NoParameters) -> Result<Response, Problem> {
    let command = ApiKeysCommand::Revoke(RevokeApiKey { key });
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// Gives an API key a new value, which is in this answer alone. The old one is accepted for as long as is said, and
/// those of earlier rotations until their own grace ends, up to 32 in all; without grace, none of before is accepted.
#[utoipa::path(post, path = "/v1/api-keys/{api_key}/rotate", tag = "api keys", params(("api_key" = ApiKeyId, Path)),
    request_body = RotateRequest, responses(
    (status = 200, body = NewApiKeyBody), (status = "4XX", body = ProblemBody)))]
pub async fn rotate(AtKey { call, key }: AtKey, _: NoParameters) -> Result<Response, Problem> {
    let RotateRequest { grace_seconds } = call.body().parse()?;
    if grace_seconds > GRACE_SECONDS_MAX {
        return Err(Problem::invalid_field("/grace_seconds", "invalid", "expected 0 to 604800"));
    }
    let mode = call.settings().api_keys.get(key).ok_or_else(Problem::not_found)?.mode;
    let plain = PlainKey::draw(prefix(mode));
    let command = RotateApiKey { key, token: plain.hash(), last4: plain.last4().to_owned(), grace_seconds };
    let done = call.submit(ApiKeysCommand::Rotate(command), StatusCode::OK).await?;
    shown_once(&call, &done, key, &plain, StatusCode::OK, None).await
}

/// A call to an API key that the path names and the caller may see.
pub struct AtKey {
    call: Call,
    key: ApiKeyId,
}

impl FromRequestParts<App> for AtKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let id: ApiKeyId = path.first().parse().map_err(|_| Problem::not_found())?;
        let key = call.settings().api_keys.get(id).filter(|key| sees(&call.organization.grants, key));
        let extents = key.ok_or_else(Problem::not_found)?.extents();
        let Access::Environment(permission) = call.row().access else {
            tracing::error!("a route of an API key asks for no permission somewhere");
            return Err(Problem::internal());
        };
        call.require_at(permission, &extents).await?;
        Ok(Self { call, key: id })
    }
}

/// Whether a key may be seen: wherever it is of use.
fn sees(grants: &Grants, key: &ApiKey) -> bool {
    grants.allows_at(Permission::ApiKeyRead, &key.extents())
}

/// The answer with a key's value; that of a repeated request has none to show.
async fn shown_once(
    call: &Call,
    done: &Done,
    key: ApiKeyId,
    plain: &PlainKey,
    status: StatusCode,
    location: Option<String>,
) -> Result<Response, Problem> {
    if let Some(replay) = done.replay {
        let (store, organization) = (call.app.store.clone(), call.organization.clone());
        let read =
            move || store.recorded(&organization.handle, &organization.handle.view(), &[replay.version]);
        let first = read_history(read).await?.pop().ok_or_else(Problem::internal)?;
        let detail = "the value of the key was in the first answer, and cannot be shown again";
        return Err(Problem::conflict("one_time_value_spent", detail).with("id", first.resource.id));
    }
    let made = done.view.organization().api_keys.get(key).ok_or_else(Problem::not_found)?;
    let of = ApiKeyBody::new(key, made, done.view.head.at);
    let body = NewApiKeyBody { of, key: plain.expose().to_owned() };
    Ok(call.done(done, status, made.version, location, &body))
}

/// A field of a patch, read: absent and null stay what they are.
fn each<T, U>(
    field: Option<Option<T>>,
    read: impl FnOnce(T) -> Result<U, Problem>,
) -> Result<Option<Option<U>>, Problem> {
    field.map(|value| value.map(read).transpose()).transpose()
}

/// Environments by id or slug, each once. One that the caller does not see is as one that is not there.
fn environments(call: &Call, listed: &[String]) -> Result<Vec<EnvironmentId>, Problem> {
    if !(1..=ENVIRONMENTS_MAX).contains(&listed.len()) {
        return Err(Problem::invalid_field("/environments", "invalid", "expected 1 to 100 environments"));
    }
    let find = |(at, named): (usize, &String)| {
        visible(call, &call.settings().environments, named).ok_or_else(|| {
            let pointer = format!("/environments/{at}");
            Problem::invalid_field(pointer, "unknown", "there is no such environment")
        })
    };
    let mut found: Vec<_> = listed.iter().enumerate().map(find).collect::<Result<_, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Customers, each once. Whoever names one by its id need not see what it is called.
fn customers(call: &Call, mut listed: Vec<CustomerId>) -> Result<Vec<CustomerId>, Problem> {
    if !(1..=OWN_CUSTOMERS_MAX).contains(&listed.len()) {
        return Err(Problem::invalid_field("/customers", "invalid", "expected 1 to 100 customers"));
    }
    let is_there = |id: &CustomerId| call.settings().customers.get(*id).is_some();
    if let Some(at) = listed.iter().position(|id| !is_there(id)) {
        let pointer = format!("/customers/{at}");
        return Err(Problem::invalid_field(pointer, "unknown", "there is no such customer"));
    }
    listed.sort_unstable();
    listed.dedup();
    Ok(listed)
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Problem> {
    if !(1..=CIDRS_MAX).contains(&texts.len()) {
        return Err(Problem::invalid_field("/allowed_cidrs", "invalid", "expected 1 to 100 networks"));
    }
    let read = |(at, text): (usize, &String)| {
        network(text).map_err(|error| {
            Problem::invalid_field(format!("/allowed_cidrs/{at}"), "invalid", error.to_string())
        })
    };
    texts.iter().enumerate().map(read).collect()
}

fn rate_limit(limit: RateLimit) -> Result<RateLimit, Problem> {
    if limit.is_valid() {
        return Ok(limit);
    }
    let message = "expected 1 to 1000000 requests in 1 to 86400 seconds";
    Err(Problem::invalid_field("/rate_limit", "invalid", message))
}
