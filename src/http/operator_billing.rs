//! The operator's routes about billing, on the socket in the data directory: plans, and what one organization may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::http::app::App;
use crate::http::input::RawBody;
use crate::http::page::{Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::OrganizationId;
use crate::platform::plans;
use crate::platform::plans::command::PlansCommand;
use crate::platform::plans::event::PlanSet;
use crate::platform::plans::http::PlanBody;
use crate::settings::billing::command::{BillingCommand, ChangePlan};
use crate::settings::billing::event::{PlanLimit, QuotaSet};
use crate::settings::billing::http::{BillingBody, NewPlan, NewQuota, billing_body, known_plan, meter};
use crate::settings::billing::value::{Meter, PlanId, Quota};
use crate::store::Submission;
use crate::store::resident::Handle;
use crate::text::Name;

/// What cursors of these lists are of: no organization has such an id.
const SCOPE: &str = "operator";

/// A plan as it is to be: what is absent is not limited, not self-service, and not the one to be founded with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanAsSet {
    name: Name,
    #[serde(default)]
    limits: BTreeMap<Meter, NewQuota>,
    #[serde(default)]
    self_service: bool,
    #[serde(default)]
    default: bool,
}

/// All plans, by id.
#[utoipa::path(get, path = "/v1/operator/plans", tag = "operators", params(PageParameters), responses((status = 200, body = Page<PlanBody>), (status = "4XX", body = ProblemBody)))]
pub async fn plans(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    Ok(Json(plans::http::page(&app, SCOPE, &query, |_| true)?).into_response())
}

/// One of them.
#[utoipa::path(get, path = "/v1/operator/plans/{plan}", tag = "operators", params(("plan" = String, Path)), responses((status = 200, body = PlanBody), (status = "4XX", body = ProblemBody)))]
pub async fn plan(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    shown(&app, path.first())
}

/// Makes a plan, or makes another of it, for whoever takes it from now on.
#[utoipa::path(put, path = "/v1/operator/plans/{plan}", tag = "operators", request_body = PlanAsSet, params(("plan" = String, Path)), responses((status = 200, body = PlanBody), (status = "4XX", body = ProblemBody)))]
pub async fn set_plan(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let id = PlanId::try_from(path.first())
        .map_err(|error| Problem::invalid_parameter("plan", "invalid", error.to_string()))?;
    let PlanAsSet { name, limits, self_service, default } = body.parse()?;
    let limit = |(meter, quota): (Meter, NewQuota)| {
        let Quota { limit, soft } = quota.checked(&format!("/limits/{meter}/limit"))?;
        Ok(PlanLimit { meter, limit, soft })
    };
    let set = PlanSet {
        plan: id.to_string(),
        name: name.to_string(),
        limits: limits.into_iter().map(limit).collect::<Result<_, Problem>>()?,
        self_service,
        default,
    };
    app.store.execute(app.store.platform(), Submission::new(PlansCommand::Set(set), Actor::OPERATOR)).await?;
    shown(&app, id.as_str())
}

fn shown(app: &App, id: &str) -> Result<Response, Problem> {
    let platform = app.store.platform().view();
    let plans = &platform.platform().plans;
    let plan = plans.get(id).ok_or_else(Problem::not_found)?;
    Ok(Json(PlanBody::of(plan, plans)).into_response())
}

/// What an organization may have, and how much it has.
#[utoipa::path(get, path = "/v1/operator/organizations/{organization}/billing", tag = "operators", params(("organization" = OrganizationId, Path)), responses((status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn billing(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    let handle = organization(&app, path.first()).await?;
    answer(&app, &handle)
}

/// Gives an organization any plan, also one that it exceeds: then nothing more is made until it does not.
#[utoipa::path(put, path = "/v1/operator/organizations/{organization}/plan", tag = "operators", request_body = NewPlan, params(("organization" = OrganizationId, Path)), responses((status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn change_plan(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let handle = organization(&app, path.first()).await?;
    let plan = known_plan(&app, &body.parse::<NewPlan>()?)?;
    let change = ChangePlan { plan: plan.taken(), self_service: plan.self_service };
    submit(&app, &handle, BillingCommand::ChangePlan(change)).await
}

/// Sets an organization a quota in place of its plan's.
#[utoipa::path(put, path = "/v1/operator/organizations/{organization}/quotas/{meter}", tag = "operators", request_body = NewQuota, params(("organization" = OrganizationId, Path), ("meter" = Meter, Path)), responses((status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn set_quota(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let handle = organization(&app, path.first()).await?;
    let meter = meter(path.second())?;
    let quota = body.parse::<NewQuota>()?.checked("/limit")?;
    let set = QuotaSet { meter, quota: Some(quota) };
    submit(&app, &handle, BillingCommand::SetOperatorQuota(set)).await
}

/// Lifts it: the plan's counts again.
#[utoipa::path(delete, path = "/v1/operator/organizations/{organization}/quotas/{meter}", tag = "operators", params(("organization" = OrganizationId, Path), ("meter" = Meter, Path)), responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn lift_quota(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
) -> Result<StatusCode, Problem> {
    let handle = organization(&app, path.first()).await?;
    let lift = QuotaSet { meter: meter(path.second())?, quota: None };
    submit(&app, &handle, BillingCommand::SetOperatorQuota(lift)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn organization(app: &App, id: &str) -> Result<Arc<Handle>, Problem> {
    let id = id.parse().map_err(|_| Problem::not_found())?;
    app.store.organization(id).await?.ok_or_else(Problem::not_found)
}

async fn submit(app: &App, handle: &Arc<Handle>, command: BillingCommand) -> Result<Response, Problem> {
    app.store.execute(handle, Submission::new(command, Actor::OPERATOR)).await?;
    answer(app, handle)
}

fn answer(app: &App, handle: &Handle) -> Result<Response, Problem> {
    let now = app.store.clock().credible_now();
    let body = billing_body(handle.view().organization(), now, Some(handle.requests()))?;
    Ok(Json(body).into_response())
}
