//! `/v1/environments/{env}/config`: configuration values over HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::canonical;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::complaint::is_nameable;
use crate::http::environment::InEnvironment;
use crate::http::page::{After, Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::EnvironmentId;
use crate::settings::environments::command::{Compares, EnvironmentsCommand, WriteConfig};
use crate::settings::environments::projection::{ConfigValue, Environment};
use crate::settings::environments::value::ConfigKey;
use crate::store::Done;

/// The most bytes of values on a page; at least one value is on each. Two hundred values of 64 KiB would be an answer
/// of 13 MiB, which a client that does not read makes the server hold.
const PAGE_MAX_BYTES: usize = 1024 * 1024;

/// A configuration value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigValue)]
pub struct ConfigBody {
    /// Its name.
    pub key: String,
    /// Any JSON but null, in canonical form (RFC 8785).
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl ConfigBody {
    fn new(key: &str, value: &ConfigValue) -> Result<Self, Problem> {
        // Only canonical JSON text is ever recorded as a value.
        let raw = RawValue::from_string(value.value.to_string()).map_err(|_| Problem::internal())?;
        Ok(Self {
            key: key.to_owned(),
            value: raw,
            created_at: value.created_at,
            updated_at: value.updated_at,
            version: value.version,
        })
    }
}

/// A value to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewValue<'a> {
    /// Any JSON but null, at most 64 KiB.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
}

/// Values to be set or, where null, deleted, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigPatch {
    /// A value of any JSON, or null, by name.
    #[serde(flatten)]
    #[schema(inline)]
    values: BTreeMap<String, serde_json::Value>,
}

/// All configuration values of an environment, by name.
#[utoipa::path(get, path = "/v1/environments/{env}/config", tag = "environments",
    params(("env" = String, Path, description = "Its id or slug"), PageParameters), responses(
    (status = 200, body = Page<ConfigBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(
    InEnvironment { call, environment }: InEnvironment,
    query: RawQuery,
) -> Result<Response, Problem> {
    let page = page(&call.app, &environment, &query)?;
    Ok(call.resource(StatusCode::OK, &call.organization.view, environment.config_version, &page))
}

/// Sets and deletes several values at once: all or none.
#[utoipa::path(patch, path = "/v1/environments/{env}/config", tag = "environments", request_body = ConfigPatch,
    params(("env" = String, Path, description = "Its id or slug")), responses(
    (status = 200, body = Page<ConfigBody>), (status = "4XX", body = ProblemBody)))]
pub async fn patch(
    InEnvironment { call, environment }: InEnvironment,
    _: NoParameters,
) -> Result<Response, Problem> {
    let environment = environment.id;
    let values: BTreeMap<Cow<'_, str>, &RawValue> = call.body().parse()?;
    let values = values
        .into_iter()
        .map(|(name, raw)| {
            // A name that cannot be one may be a value that slipped into its place: it is not repeated.
            let key = ConfigKey::try_from(&*name).map_err(|error| {
                let pointer = if is_nameable(&name) { format!("/{name}") } else { String::new() };
                Problem::invalid_field(pointer, "invalid_key", format!("a name {error}"))
            })?;
            let pointer = format!("/{key}");
            let deletes = raw.get() == "null";
            let value = if deletes { None } else { Some(canonical_value(raw, &pointer)?) };
            Ok((key, value))
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let command = WriteConfig { environment, compares: Compares::Configuration, values, must_exist: false };
    let done = call.submit(EnvironmentsCommand::WriteConfig(command), StatusCode::OK).await?;
    let environment =
        done.view.organization().environments.get(environment).ok_or_else(Problem::not_found)?;
    let page = page(&call.app, environment, &RawQuery::default())?;
    Ok(call.done(&done, StatusCode::OK, environment.config_version, None, &page))
}

/// A configuration value.
#[utoipa::path(get, path = "/v1/environments/{env}/config/{key}", tag = "environments",
    params(("env" = String, Path, description = "The environment's id or slug"), ("key" = ConfigKey, Path)),
    responses((status = 200, body = ConfigBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(AtValue { call, key, value, .. }: AtValue, _: NoParameters) -> Result<Response, Problem> {
    let body = ConfigBody::new(key.as_str(), &value)?;
    Ok(call.resource(StatusCode::OK, &call.organization.view, value.version, &body))
}

/// Sets a configuration value.
#[utoipa::path(put, path = "/v1/environments/{env}/config/{key}", tag = "environments",
    request_body = NewValue<'static>,
    params(("env" = String, Path, description = "The environment's id or slug"), ("key" = ConfigKey, Path)),
    responses((status = 200, body = ConfigBody), (status = 201, body = ConfigBody), (status = "4XX", body = ProblemBody)))]
pub async fn put(
    InEnvironment { call, environment }: InEnvironment,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    let environment = environment.id;
    let key = ConfigKey::try_from(path.second())
        .map_err(|error| Problem::invalid_parameter("key", "invalid", error.to_string()))?;
    let new: NewValue<'_> = call.body().parse()?;
    let value = canonical_value(new.value, "/value")?;
    let done = write(&call, environment, key, Some(value), false).await?;
    let environment =
        done.view.organization().environments.get(environment).ok_or_else(Problem::not_found)?;
    let value = environment.config.get(path.second()).ok_or_else(Problem::not_found)?;
    let body = ConfigBody::new(path.second(), value)?;
    // Of two first writes at once, one creates: what the writer decided says which.
    let created = done.events > 0 && value.created_version == done.version;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let location = (status == StatusCode::CREATED)
        .then(|| format!("/v1/environments/{}/config/{}", environment.id, body.key));
    Ok(call.done(&done, status, value.version, location, &body))
}

/// Deletes a configuration value.
#[utoipa::path(delete, path = "/v1/environments/{env}/config/{key}", tag = "environments",
    params(("env" = String, Path, description = "The environment's id or slug"), ("key" = ConfigKey, Path)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtValue { call, environment, key, .. }: AtValue,
    _: NoParameters,
) -> Result<Response, Problem> {
    let done = write(&call, environment, key, None, true).await?;
    Ok(call.no_content(&done))
}

/// A call to a configuration value that is there.
pub struct AtValue {
    call: Call,
    environment: EnvironmentId,
    key: ConfigKey,
    value: ConfigValue,
}

impl FromRequestParts<App> for AtValue {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let InEnvironment { call, environment } = InEnvironment::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let key = ConfigKey::try_from(path.second()).map_err(|_| Problem::not_found())?;
        let value = environment.config.get(key.as_str()).ok_or_else(Problem::not_found)?.clone();
        Ok(Self { call, environment: environment.id, key, value })
    }
}

fn page(app: &App, environment: &Environment, query: &RawQuery) -> Result<Page<ConfigBody>, Problem> {
    let scope = environment.id.to_string();
    let mut request = app.cursors.request(&scope, "config", query)?;
    let NoParameters {} = request.filters.parse()?;
    let after = request.after.as_ref().map(|after| after.last.clone());
    let rest = environment.config.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
    let (mut found, mut bytes) = (Vec::new(), 0);
    for (key, value) in rest.take(request.limit + 1) {
        bytes += value.value.len();
        if bytes > PAGE_MAX_BYTES && !found.is_empty() {
            request.limit = request.limit.min(found.len());
        }
        found.push(ConfigBody::new(key, value)?);
        if found.len() > request.limit {
            break;
        }
    }
    Ok(app
        .cursors
        .page(&scope, "config", &request, found, |last| After { last: last.key.clone(), version: None }))
}

async fn write(
    call: &Call,
    environment: EnvironmentId,
    key: ConfigKey,
    value: Option<String>,
    must_exist: bool,
) -> Result<Done, Problem> {
    let command =
        WriteConfig { environment, compares: Compares::Value, values: vec![(key, value)], must_exist };
    call.submit(EnvironmentsCommand::WriteConfig(command), StatusCode::OK).await
}

fn canonical_value(raw: &RawValue, pointer: &str) -> Result<String, Problem> {
    canonical::config_value(raw.get())
        .map_err(|error| Problem::invalid_field(pointer, error.code(), error.to_string()))
}
