//! `/v1/teams/{team}/members`: who is in a team, over HTTP.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::history::description::Focus;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::page::{After, Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{TeamId, UserId};
use crate::settings::teams::command::{AddMember, RemoveMember, TeamsCommand};
use crate::settings::teams::http::{AtTeam, named};
use crate::settings::teams::projection::Teams;

/// A member of a team.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamMember)]
pub struct MemberBody {
    /// The person.
    pub id: UserId,
    /// Since when they are a member.
    pub created_at: Timestamp,
}

/// The members of a team, by id.
#[utoipa::path(get, path = "/v1/teams/{team}/members", tag = "people",
    params(("team" = TeamId, Path), PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<MemberBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let (scope, list, cursors) =
        (call.organization.id.to_string(), format!("members {id}"), &call.app.cursors);
    let focus = || Focus::Resource(id.to_string());
    let is_there = |teams: &Teams| teams.get(id).is_some();
    let (request, asked) = match call.asked_page(cursors, &scope, &list, &query).await {
        Ok(asked) => asked,
        Err(problem) => return Err(call.behind_path(&query, focus(), is_there, problem).await),
    };
    let teams = call.seen::<Teams>(&asked, focus()).await?;
    let team = teams.get(id).ok_or_else(Problem::not_found)?;
    let NoParameters {} = asked.query.parse()?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<UserId>().ok());
    let found = team.members.iter().filter(|(person, _)| after.is_none_or(|after| **person > after));
    let found = found.map(|(person, since)| MemberBody { id: *person, created_at: *since });
    let page = cursors
        .page(&scope, &list, &request, found, |last| After { last: last.id.to_string(), version: asked.at });
    Ok(teams.mark(call.list(&call.organization.view, &page)))
}

/// Makes a person a member, who has the team's roles from now on.
#[utoipa::path(put, path = "/v1/teams/{team}/members/{usr}", tag = "people",
    params(("team" = TeamId, Path), ("usr" = UserId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn add(
    path: PathText,
    AtTeam { call, team }: AtTeam,
    _: NoParameters,
) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let command = AddMember { team, person: member(&path)? };
    let done = call.submit(TeamsCommand::AddMember(command), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// Makes a person a member no more.
#[utoipa::path(delete, path = "/v1/teams/{team}/members/{usr}", tag = "people",
    params(("team" = TeamId, Path), ("usr" = UserId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn remove(
    path: PathText,
    AtTeam { call, team }: AtTeam,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = RemoveMember { team, person: member(&path)? };
    let done = call.submit(TeamsCommand::RemoveMember(command), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

fn member(path: &PathText) -> Result<UserId, Problem> {
    path.second().parse().map_err(|_| Problem::not_found())
}
