//! `/v1/environments`: environments over HTTP. Their configuration is in `config.rs` beside this.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::{AsOfParameters, Asked};
use crate::http::call::Call;
use crate::http::environment::{InEnvironment, by_id_or_slug, enter};
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{EnvironmentId, Fresh};
use crate::settings::environments::command::{
    CreateEnvironment, DeleteEnvironment, EnvironmentsCommand, UpdateEnvironment,
};
use crate::settings::environments::event::Mode;
use crate::settings::environments::projection::{Environment, Environments};
use crate::settings::environments::value::Slug;
use crate::settings::roles::permission::Permission;
use crate::text::{Description, Name};

/// What tells all about environments but their configuration.
pub const OWN_ACTIONS: &[&str] = &["environment.create", "environment.update", "environment.delete"];

/// An environment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Environment)]
pub struct EnvironmentBody {
    /// The environment.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Its slug, which stands for its id in paths.
    pub slug: String,
    /// Whether test keys or live keys reach it.
    pub mode: Mode,
    /// What it is for.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; its configuration has versions of its own.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl From<&Environment> for EnvironmentBody {
    fn from(environment: &Environment) -> Self {
        Self {
            id: environment.id,
            name: environment.name.clone(),
            slug: environment.slug.clone(),
            mode: environment.mode,
            description: environment.description.clone(),
            created_at: environment.created_at,
            updated_at: environment.updated_at,
            version: environment.version,
        }
    }
}

/// An environment to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnvironment {
    /// Its name.
    name: Name,
    /// Its slug; made from the name where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    slug: Option<Slug>,
    /// Whether test keys or live keys will reach it. It never changes.
    mode: Mode,
    /// What it is for.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    description: Option<Description>,
}

/// What changes; a field that is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new slug.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    slug: Option<Slug>,
    /// The new description; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    description: Patch<Description>,
}

/// All environments that the caller may see, by id.
#[utoipa::path(get, path = "/v1/environments", tag = "environments",
    params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<EnvironmentBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let (request, asked) = call.asked_page(&app.cursors, &scope, "environments", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let environments = call.seen::<Environments>(&asked, Focus::Actions(OWN_ACTIONS)).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<EnvironmentId>().ok());
    let found = environments
        .iter()
        .filter(|environment| after.is_none_or(|after| environment.id > after))
        .filter(|environment| call.organization.grants.allows_in(Permission::EnvironmentRead, environment.id))
        .map(EnvironmentBody::from);
    let page = app.cursors.page(&scope, "environments", &request, found, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(environments.mark(call.list(&call.organization.view, &page)))
}

/// Makes an environment.
#[utoipa::path(post, path = "/v1/environments", tag = "environments", request_body = NewEnvironment, responses(
    (status = 201, body = EnvironmentBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewEnvironment = call.body().parse()?;
    let slug = match new.slug {
        Some(slug) => slug,
        None => Slug::from_name(new.name.as_str()).ok_or_else(|| {
            Problem::invalid_field("/slug", "missing", "no slug can be made from the name; give one")
        })?,
    };
    let environment = Fresh.id();
    let command =
        CreateEnvironment { environment, name: new.name, slug, mode: new.mode, description: new.description };
    let done = call.submit(EnvironmentsCommand::Create(command), StatusCode::CREATED).await?;
    // A replay shows the environment that the first request made, which has another id.
    let environments = &done.view.organization().environments;
    let created = environments
        .get(environment)
        .or_else(|| environments.iter().find(|environment| environment.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/environments/{}", created.id);
    let body = EnvironmentBody::from(created);
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &body))
}

/// An environment.
#[utoipa::path(get, path = "/v1/environments/{env}", tag = "environments",
    params(("env" = String, Path, description = "Its id or slug"), AsOfParameters), responses(
    (status = 200, body = EnvironmentBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = asked_of(&call, &query, path.first(), Permission::EnvironmentRead).await?;
    let id = find_asked(&call, &asked, path.first(), Permission::EnvironmentRead).await?;
    let NoParameters {} = asked.query.parse()?;
    let environments = call.seen::<Environments>(&asked, Focus::Resource(id.to_string())).await?;
    let environment = environments.get(id).ok_or_else(Problem::not_found)?;
    let body = EnvironmentBody::from(environment);
    Ok(call.seen_resource(&environments, environment.version, &body))
}

/// Renames or describes an environment.
#[utoipa::path(patch, path = "/v1/environments/{env}", tag = "environments", request_body = EnvironmentPatch,
    params(("env" = String, Path, description = "Its id or slug")), responses(
    (status = 200, body = EnvironmentBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(
    InEnvironment { call, environment }: InEnvironment,
    _: NoParameters,
) -> Result<Response, Problem> {
    let environment = environment.id;
    let patch: EnvironmentPatch = call.body().parse()?;
    let command = UpdateEnvironment {
        environment,
        name: patch.name,
        slug: patch.slug,
        description: patch.description.into_option(),
    };
    let done = call.submit(EnvironmentsCommand::Update(command), StatusCode::OK).await?;
    let updated = done.view.organization().environments.get(environment).ok_or_else(Problem::not_found)?;
    let body = EnvironmentBody::from(updated);
    Ok(call.done(&done, StatusCode::OK, updated.version, None, &body))
}

/// Deletes an environment with its configuration.
#[utoipa::path(delete, path = "/v1/environments/{env}", tag = "environments",
    params(("env" = String, Path, description = "Its id or slug")), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    InEnvironment { call, environment }: InEnvironment,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = DeleteEnvironment { environment: environment.id };
    let done = call.submit(EnvironmentsCommand::Delete(command), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// The query of a GET about the environment of a path's segment.
///
/// # Errors
/// As [`Call::asked`], in the order of [`behind_path`].
pub(super) async fn asked_of(
    call: &Call,
    query: &RawQuery,
    segment: &str,
    permission: Permission,
) -> Result<Asked, Problem> {
    match call.asked(query).await {
        Ok(asked) => Ok(asked),
        Err(problem) => Err(behind_path(call, query, segment, permission, problem).await),
    }
}

/// What is wrong with a query, unless something is wrong with what the path names, which comes first. Where the query
/// says no point in time that is one, the path names what it names now.
pub async fn behind_path(
    call: &Call,
    query: &RawQuery,
    segment: &str,
    permission: Permission,
    problem: Problem,
) -> Problem {
    if problem.status() == StatusCode::FORBIDDEN {
        return problem;
    }
    let (_, rest) = query.split(&["limit", "cursor"]);
    let asked = call.asked(&rest).await.unwrap_or_default();
    find_asked(call, &asked, segment, permission).await.err().unwrap_or(problem)
}

/// The environment of a path's segment at the point in time that a GET asks about, by id or by its slug of then, if
/// the caller holds a permission in it today.
///
/// # Errors
/// 404 where there was none that the caller may see today; 403, which is recorded.
pub async fn find_asked(
    call: &Call,
    asked: &Asked,
    segment: &str,
    permission: Permission,
) -> Result<EnvironmentId, Problem> {
    let environments = call.seen::<Environments>(asked, Focus::Actions(OWN_ACTIONS)).await?;
    let environment = by_id_or_slug(&environments, segment).ok_or_else(Problem::not_found)?;
    enter(call, environment, permission).await?;
    Ok(environment.id)
}
