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
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::complaint::is_nameable;
use crate::http::environment::InEnvironment;
use crate::http::page::{After, Cursors, Filled, Page, PageParameters, PageRequest, json_bytes};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::EnvironmentId;
use crate::settings::environments::command::{Compares, EnvironmentsCommand, WriteConfig};
use crate::settings::environments::http::{asked_of, behind_path, find_asked};
use crate::settings::environments::projection::{ConfigValue, Environment, Environments};
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::permission::Permission;
use crate::store::Done;

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
    params(("env" = String, Path, description = "Its id or slug"), PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<ConfigBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, list) = (call.organization.id.to_string(), list_of(path.first()));
    let asked = call.asked_page(&call.app.cursors, &scope, &list, &query).await;
    let (request, asked) = match asked {
        Ok(asked) => asked,
        Err(problem) => {
            return Err(behind_path(&call, &query, path.first(), Permission::ConfigRead, problem).await);
        }
    };
    let id = find_asked(&call, &asked, path.first(), Permission::ConfigRead).await?;
    let NoParameters {} = asked.query.parse()?;
    let environments = call.seen::<Environments>(&asked, Focus::Resource(id.to_string())).await?;
    let environment = environments.get(id).ok_or_else(Problem::not_found)?;
    let page = page(&call.app.cursors, (&scope, &list), environment, &request, asked.at)?;
    Ok(call.seen_resource(&environments, environment.config_version, &page))
}

/// Sets and deletes several values at once: all or none.
#[utoipa::path(patch, path = "/v1/environments/{env}/config", tag = "environments", request_body = ConfigPatch,
    params(("env" = String, Path, description = "Its id or slug")), responses(
    (status = 200, body = Page<ConfigBody>), (status = "4XX", body = ProblemBody)))]
pub async fn patch(
    path: PathText,
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
    let (scope, list) = (call.organization.id.to_string(), list_of(path.first()));
    let request = call.app.cursors.request(&scope, &list, &RawQuery::default())?;
    let page = page(&call.app.cursors, (&scope, &list), environment, &request, None)?;
    Ok(call.done(&done, StatusCode::OK, environment.config_version, None, &page))
}

/// A configuration value.
#[utoipa::path(get, path = "/v1/environments/{env}/config/{key}", tag = "environments",
    params(("env" = String, Path, description = "The environment's id or slug"), ("key" = ConfigKey, Path),
    AsOfParameters), responses((status = 200, body = ConfigBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = asked_of(&call, &query, path.first(), Permission::ConfigRead).await?;
    let id = find_asked(&call, &asked, path.first(), Permission::ConfigRead).await?;
    let focus = Focus::Named(id.to_string(), path.second().to_owned());
    let environments = call.seen::<Environments>(&asked, focus).await?;
    let value = environments.get(id).and_then(|environment| environment.config.get(path.second()));
    let value = value.ok_or_else(Problem::not_found)?;
    let NoParameters {} = asked.query.parse()?;
    let body = ConfigBody::new(path.second(), value)?;
    Ok(call.seen_resource(&environments, value.version, &body))
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
    AtValue { call, environment, key }: AtValue,
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
}

impl FromRequestParts<App> for AtValue {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let InEnvironment { call, environment } = InEnvironment::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let key = ConfigKey::try_from(path.second()).map_err(|_| Problem::not_found())?;
        if environment.config.get(key.as_str()).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, environment: environment.id, key })
    }
}

/// A list's name in its cursors: with the path's own segment, because a cursor is read before the environment that the
/// segment means at the cursor's point in time can be found.
fn list_of(segment: &str) -> String {
    format!("config {segment}")
}

fn page(
    cursors: &Cursors,
    (scope, list): (&str, &str),
    environment: &Environment,
    request: &PageRequest,
    at: Option<Version>,
) -> Result<Page<ConfigBody>, Problem> {
    let after = request.after.as_ref().map(|after| after.last.clone());
    let rest = environment.config.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
    let mut filled = Filled::new(request.limit);
    for (key, value) in rest {
        let body = ConfigBody::new(key, value)?;
        if !filled.push(json_bytes(&body), body) {
            break;
        }
    }
    Ok(cursors.filled(scope, list, request, filled, |last| After { last: last.key.clone(), version: at }))
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
