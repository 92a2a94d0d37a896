//! `/v1/plans`: which plans there are. Operators set them on their socket (`http/operator_billing.rs`).

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::page::{After, Page, PageParameters};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::platform::plans::projection::{Plan, Plans};
use crate::settings::billing::value::{Meter, Quota, UNLIMITED};

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanBody {
    /// The plan.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it limits; what is absent is not limited.
    pub limits: BTreeMap<Meter, Quota>,
    /// Whether organizations take it themselves.
    pub self_service: bool,
    /// Whether organizations are founded with it.
    pub default: bool,
}

impl PlanBody {
    /// A plan among the others.
    pub fn of(plan: &Plan, among: &Plans) -> Self {
        let limits = plan.limits.iter();
        Self {
            id: plan.id.clone(),
            name: plan.name.clone(),
            limits: limits
                .map(|limit| (limit.meter, Quota { limit: limit.limit, soft: limit.soft }))
                .collect(),
            self_service: plan.self_service,
            default: among.is_founding(&plan.id),
        }
    }
}

/// The plans that organizations take themselves, the one that limits nothing and the organization's own, by id.
#[utoipa::path(get, path = "/v1/plans", tag = "billing", params(PageParameters), responses(
    (status = 200, body = Page<PlanBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let own = call.settings().billing.plan();
    let concerns = |plan: &Plan| plan.self_service || [UNLIMITED, own].contains(&plan.id.as_str());
    let page = page(&app, &call.organization.id.to_string(), &query, concerns)?;
    Ok(call.list(&call.organization.view, &page))
}

/// A page of the plans that whoever asks is shown.
///
/// # Errors
/// 422 for what is no list's parameter.
pub fn page(
    app: &App,
    scope: &str,
    query: &RawQuery,
    shows: impl Fn(&Plan) -> bool,
) -> Result<Page<PlanBody>, Problem> {
    let request = app.cursors.request(scope, "plans", query)?;
    let NoParameters {} = request.filters.parse()?;
    let platform = app.store.platform().view();
    let plans = &platform.platform().plans;
    let after = request.after.as_ref().map(|after| after.last.as_str());
    let follows = |plan: &&Plan| after.is_none_or(|after| plan.id.as_str() > after);
    let found = plans.iter().filter(|plan| shows(plan)).filter(follows);
    let last = |last: &PlanBody| After { last: last.id.clone(), version: None };
    Ok(app.cursors.page(scope, "plans", &request, found.map(|plan| PlanBody::of(plan, plans)), last))
}
