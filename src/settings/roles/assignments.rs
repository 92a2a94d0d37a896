//! `/v1/role-assignments`: who has which role, over HTTP.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::environment::by_id_or_slug;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{EnvironmentId, Fresh, RoleAssignmentId};
use crate::settings::environments::http::OWN_ACTIONS;
use crate::settings::environments::projection::Environments;
use crate::settings::roles::command::{AssignRole, RolesCommand, UnassignRole};
use crate::settings::roles::projection::{ASSIGNMENT_ACTIONS, Assignment, Roles};
use crate::settings::roles::role::{Grantee, RoleRef};

/// Who has which role.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoleAssignment)]
pub struct AssignmentBody {
    /// The assignment.
    pub id: RoleAssignmentId,
    /// The person or the team that has the role.
    #[schema(value_type = String)]
    pub subject: Grantee,
    /// The role's id.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The environment that it is limited to; null where it holds in the whole organization.
    pub environment: Option<EnvironmentId>,
    /// Since when.
    pub created_at: Timestamp,
    /// The same: an assignment never changes.
    pub updated_at: Timestamp,
    /// The stream version of its creation.
    pub version: Version,
}

impl AssignmentBody {
    fn new(id: RoleAssignmentId, assignment: &Assignment) -> Self {
        Self {
            id,
            subject: assignment.grantee,
            role: assignment.role,
            environment: assignment.environment,
            created_at: assignment.created_at,
            updated_at: assignment.created_at,
            version: assignment.version,
        }
    }
}

/// A role to be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAssignment {
    /// The id of the person or the team that is to get it.
    #[schema(value_type = String)]
    subject: Grantee,
    /// The role's id.
    #[schema(value_type = String)]
    role: RoleRef,
    /// The environment that it is limited to, by id or slug; the whole organization where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    environment: Option<String>,
}

/// Which assignments are wanted; all where nothing is said.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AssignmentFilter {
    /// Those of this person or team.
    #[param(value_type = Option<String>)]
    subject: Option<Grantee>,
    /// Those of this role.
    #[param(value_type = Option<String>)]
    role: Option<RoleRef>,
    /// Those that are limited to this environment, by id or slug.
    environment: Option<String>,
}

/// A call to an assignment that is there.
pub struct AtAssignment {
    call: Call,
    assignment: RoleAssignmentId,
}

impl FromRequestParts<App> for AtAssignment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let assignment = named(&path)?;
        call.settings().roles.assignment(assignment).ok_or_else(Problem::not_found)?;
        Ok(Self { call, assignment })
    }
}

/// Who has which role, by the assignments' ids.
#[utoipa::path(get, path = "/v1/role-assignments", tag = "roles",
    params(AssignmentFilter, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<AssignmentBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "role-assignments", &query).await?;
    let filter: AssignmentFilter = asked.query.parse()?;
    let environment = match &filter.environment {
        None => None,
        Some(named) => {
            let environments = call.seen::<Environments>(&asked, Focus::Actions(OWN_ACTIONS)).await?;
            let found = by_id_or_slug(&environments, named).map(|environment| environment.id);
            Some(found.ok_or_else(|| {
                Problem::invalid_parameter("environment", "unknown", "there is no such environment")
            })?)
        }
    };
    let roles = call.seen::<Roles>(&asked, Focus::Actions(ASSIGNMENT_ACTIONS)).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<RoleAssignmentId>().ok());
    let all: Box<dyn Iterator<Item = (&RoleAssignmentId, &Assignment)> + Send> = match filter.subject {
        Some(subject) => Box::new(roles.assignments_of(subject)),
        None => Box::new(roles.assignments()),
    };
    let found = all
        .filter(|(id, _)| after.is_none_or(|after| **id > after))
        .filter(|(_, held)| filter.role.is_none_or(|role| held.role == role))
        .filter(|(_, held)| environment.is_none() || held.environment == environment)
        .map(|(id, held)| AssignmentBody::new(*id, held));
    let page = cursors.page(&scope, "role-assignments", &request, found, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(roles.mark(call.list(&call.organization.view, &page)))
}

/// Gives a role; one that is given already stays as it is.
#[utoipa::path(post, path = "/v1/role-assignments", tag = "roles", request_body = NewAssignment, responses(
    (status = 200, body = AssignmentBody), (status = 201, body = AssignmentBody),
    (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let NewAssignment { subject, role, environment } = call.body().parse()?;
    let environment = match environment {
        None => None,
        Some(named) => {
            let found = by_id_or_slug(&call.settings().environments, &named);
            Some(found.ok_or_else(unknown_environment)?.id)
        }
    };
    let command = AssignRole { assignment: Fresh.id(), grantee: subject, role, environment };
    let done = call.submit(RolesCommand::Assign(command), StatusCode::CREATED).await?;
    let roles = &done.view.organization().roles;
    let (id, assignment) = roles
        .assignments_of(subject)
        .find(|(_, held)| (held.role, held.environment) == (role, environment))
        .ok_or_else(Problem::not_found)?;
    let is_new = done.events > 0 || done.replay.is_some();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = is_new.then(|| format!("/v1/role-assignments/{id}"));
    let body = AssignmentBody::new(*id, assignment);
    Ok(call.done(&done, status, assignment.version, location, &body))
}

/// Who has which role, by one assignment.
#[utoipa::path(get, path = "/v1/role-assignments/{ra}", tag = "roles",
    params(("ra" = RoleAssignmentId, Path), AsOfParameters), responses(
    (status = 200, body = AssignmentBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let is_there = |roles: &Roles| roles.assignment(id).is_some();
    let (asked, roles) = call.seen_at::<Roles>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let assignment = roles.assignment(id).ok_or_else(Problem::not_found)?;
    Ok(call.seen_resource(&roles, assignment.version, &AssignmentBody::new(id, assignment)))
}

/// Takes a role away.
#[utoipa::path(delete, path = "/v1/role-assignments/{ra}", tag = "roles",
    params(("ra" = RoleAssignmentId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtAssignment { call, assignment }: AtAssignment,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = RolesCommand::Unassign(UnassignRole { assignment });
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

fn unknown_environment() -> Problem {
    Problem::invalid_field("/environment", "unknown", "there is no such environment")
}

fn named(path: &PathText) -> Result<RoleAssignmentId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}
