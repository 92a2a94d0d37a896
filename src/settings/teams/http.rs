//! `/v1/teams`: teams over HTTP. Their members are in `members.rs` beside this.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{Fresh, TeamId};
use crate::settings::teams::command::{CreateTeam, DeleteTeam, TeamsCommand, UpdateTeam};
use crate::settings::teams::projection::{Team, Teams};
use crate::text::{Description, Name};

/// A team.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Team)]
pub struct TeamBody {
    /// The team.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// How many members it has.
    pub member_count: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, or its members were.
    pub updated_at: Timestamp,
    /// The stream version of that change.
    pub version: Version,
}

impl From<&Team> for TeamBody {
    fn from(team: &Team) -> Self {
        Self {
            id: team.id,
            name: team.name.clone(),
            description: team.description.clone(),
            member_count: team.members.size(),
            created_at: team.created_at,
            updated_at: team.updated_at,
            version: team.version,
        }
    }
}

/// A team to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// Its name.
    name: Name,
    /// What it is for.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    description: Option<Description>,
}

/// What changes; a field that is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new description; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    description: Patch<Description>,
}

/// A call to a team that is there.
pub struct AtTeam {
    /// The call.
    pub call: Call,
    /// The team.
    pub team: TeamId,
}

impl FromRequestParts<App> for AtTeam {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let team = named(&path)?;
        if call.settings().teams.get(team).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, team })
    }
}

/// All teams, by id.
#[utoipa::path(get, path = "/v1/teams", tag = "people", params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<TeamBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "teams", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let teams = call.seen::<Teams>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<TeamId>().ok());
    let found = teams.iter().filter(|team| after.is_none_or(|after| team.id > after)).map(TeamBody::from);
    let page = cursors.page(&scope, "teams", &request, found, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(teams.mark(call.list(&call.organization.view, &page)))
}

/// Makes a team, without members.
#[utoipa::path(post, path = "/v1/teams", tag = "people", request_body = NewTeam, responses(
    (status = 201, body = TeamBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewTeam = call.body().parse()?;
    let team = Fresh.id();
    let command = CreateTeam { team, name: new.name, description: new.description };
    let done = call.submit(TeamsCommand::Create(command), StatusCode::CREATED).await?;
    // A replay shows the team that the first request made, which has another id.
    let teams = &done.view.organization().teams;
    let created = teams
        .get(team)
        .or_else(|| teams.iter().find(|team| team.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/teams/{}", created.id);
    let body = TeamBody::from(created);
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &body))
}

/// A team.
#[utoipa::path(get, path = "/v1/teams/{team}", tag = "people",
    params(("team" = TeamId, Path), AsOfParameters), responses(
    (status = 200, body = TeamBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let is_there = |teams: &Teams| teams.get(id).is_some();
    let (asked, teams) = call.seen_at::<Teams>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let team = teams.get(id).ok_or_else(Problem::not_found)?;
    let body = TeamBody::from(team);
    Ok(call.seen_resource(&teams, team.version, &body))
}

/// Renames or describes a team.
#[utoipa::path(patch, path = "/v1/teams/{team}", tag = "people", request_body = TeamPatch,
    params(("team" = TeamId, Path)), responses(
    (status = 200, body = TeamBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(AtTeam { call, team }: AtTeam, _: NoParameters) -> Result<Response, Problem> {
    let patch: TeamPatch = call.body().parse()?;
    let command = UpdateTeam { team, name: patch.name, description: patch.description.into_option() };
    let done = call.submit(TeamsCommand::Update(command), StatusCode::OK).await?;
    let updated = done.view.organization().teams.get(team).ok_or_else(Problem::not_found)?;
    let body = TeamBody::from(updated);
    Ok(call.done(&done, StatusCode::OK, updated.version, None, &body))
}

/// Deletes a team; the roles that it has end.
#[utoipa::path(delete, path = "/v1/teams/{team}", tag = "people", params(("team" = TeamId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(AtTeam { call, team }: AtTeam, _: NoParameters) -> Result<Response, Problem> {
    let done = call.submit(TeamsCommand::Delete(DeleteTeam { team }), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// The team that a path's first segment names by its id.
pub(super) fn named(path: &PathText) -> Result<TeamId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}
