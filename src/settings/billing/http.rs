//! `/v1/billing`: an organization's plan, quotas and use over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::OrganizationId;
use crate::organization::Organization;
use crate::platform::plans::projection::Plan;
use crate::settings::billing::command::{BillingCommand, ChangePlan};
use crate::settings::billing::customer_http::CustomerLimitsBody;
use crate::settings::billing::enforcement::{percent, used};
use crate::settings::billing::event::QuotaSet;
use crate::settings::billing::period::Period;
use crate::settings::billing::value::{LIMIT_MAX, Meter, Quota};
use crate::store::Done;
use crate::store::api_requests::ApiRequests;

/// The most customers whose limits are told with the organization's.
const CUSTOMER_LIMITS_SHOWN: usize = 100;

/// An organization's plan, quotas and use.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Billing)]
pub struct BillingBody {
    /// The organization.
    pub id: OrganizationId,
    /// Its plan.
    pub plan: String,
    /// The calendar month in the organization's time zone.
    pub period: PeriodBody,
    /// What is metered.
    pub usage: Vec<MeterUsage>,
    /// What single customers may have, and how much they have: of the first hundred who are limited, by id. Of every other
    /// `GET /v1/customers/{cus}/limits` tells.
    pub customer_limits: Vec<CustomerLimitsBody>,
    /// Which shares of the soft limits that are in force were reached in this period.
    pub alerts: Vec<AlertBody>,
    /// When the organization was founded.
    pub created_at: Timestamp,
    /// When its plan or a quota changed last.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

/// A span of time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingPeriod)]
pub struct PeriodBody {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// How much there is of what is metered, and how much there may be.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeterUsage {
    /// What is metered.
    pub meter: Meter,
    /// How much there is.
    pub used: u64,
    /// The limit that is met first: the plan's, or a lower one of the organization's own. Null where there is none.
    pub limit: Option<u64>,
    /// Whether more than that is only told, and not refused.
    pub soft: bool,
    /// How much of the limit is used, in percent, rounded down. Null where there is none.
    pub percent: Option<u64>,
    /// The plan's limit, or an operator's in its place: the organization's own is never above it.
    pub plan_limit: Option<Quota>,
    /// The organization's own limit.
    pub own_limit: Option<Quota>,
}

/// That use reached a share of a soft limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingAlert)]
pub struct AlertBody {
    /// What is metered.
    pub meter: Meter,
    /// The share, in percent.
    pub threshold: u8,
    /// The limit.
    pub limit: u64,
    /// How much there was.
    pub used: u64,
    /// When.
    pub at: Timestamp,
}

/// The plan to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// The plan.
    plan: String,
}

/// A quota to be set.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuota {
    /// So much.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    limit: u64,
    /// Whether more is only told, and not refused.
    #[serde(default)]
    soft: bool,
}

impl NewQuota {
    /// The quota, whose limit stands at this JSON Pointer.
    ///
    /// # Errors
    /// 422 for a limit that cannot be recorded.
    pub fn checked(self, pointer: &str) -> Result<Quota, Problem> {
        if self.limit > LIMIT_MAX {
            return Err(Problem::invalid_field(pointer, "too_large", "a limit is at most 2^53 - 1"));
        }
        Ok(Quota { limit: self.limit, soft: self.soft })
    }
}

/// What an organization may have, and how much it has.
#[utoipa::path(get, path = "/v1/billing", tag = "billing", params(AsOfParameters), responses(
    (status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = call.asked(&query).await?;
    let NoParameters {} = asked.query.parse()?;
    let (view, now) = (call.state(&asked).await?, call.time_of(&asked).await?);
    let live = asked.at.is_none().then(|| call.organization.handle.requests());
    let body = billing_body(view.organization(), now, live)?;
    Ok(asked.mark(call.resource(StatusCode::OK, &call.organization.view, body.version, &body)))
}

/// Takes a plan that organizations take themselves.
#[utoipa::path(put, path = "/v1/billing/plan", tag = "billing", request_body = NewPlan, responses(
    (status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn change_plan(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let plan = known_plan(&app, &call.body().parse::<NewPlan>()?)?;
    let change = ChangePlan { plan: plan.taken(), self_service: plan.self_service };
    let done = call.submit(BillingCommand::ChangePlan(change), StatusCode::OK).await?;
    changed(&call, &done)
}

/// Sets the organization a quota of its own, within its plan.
#[utoipa::path(put, path = "/v1/billing/quotas/{meter}", tag = "billing", request_body = NewQuota,
    params(("meter" = Meter, Path, description = "What is metered")), responses(
    (status = 200, body = BillingBody), (status = "4XX", body = ProblemBody)))]
pub async fn set_quota(path: PathText, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let meter = meter(path.first())?;
    let quota = call.body().parse::<NewQuota>()?.checked("/limit")?;
    let set = QuotaSet { meter, quota: Some(quota) };
    let done = call.submit(BillingCommand::SetQuota(set), StatusCode::OK).await?;
    changed(&call, &done)
}

/// Lifts a quota of the organization's own: from there on its plan's counts alone.
#[utoipa::path(delete, path = "/v1/billing/quotas/{meter}", tag = "billing",
    params(("meter" = Meter, Path, description = "What is metered")), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn lift_quota(path: PathText, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let lift = QuotaSet { meter: meter(path.first())?, quota: None };
    let done = call.submit(BillingCommand::SetQuota(lift), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// The meter that a path names.
///
/// # Errors
/// 404 where there is none of this name.
pub fn meter(segment: &str) -> Result<Meter, Problem> {
    segment.parse().map_err(|_| Problem::not_found())
}

/// The plan that a body names.
///
/// # Errors
/// 422 where there is none of this name.
pub fn known_plan(app: &App, new: &NewPlan) -> Result<Plan, Problem> {
    let platform = app.store.platform().view();
    let plan = platform.platform().plans.get(&new.plan).cloned();
    plan.ok_or_else(|| Problem::invalid_field("/plan", "unknown", "there is no such plan"))
}

/// What an organization may have, and how much it has at a time; of requests also those that are not recorded yet, where they
/// are given.
///
/// # Errors
/// 404 if it is not founded.
pub fn billing_body(
    organization: &Organization,
    now: Timestamp,
    requests: Option<&ApiRequests>,
) -> Result<BillingBody, Problem> {
    let founded = organization.general.founded().ok_or_else(Problem::not_found)?;
    let billing = &organization.billing;
    let period = Period::containing(&founded.timezone, now);
    let used_by = |meter| {
        let counted = requests.filter(|_| meter == Meter::ApiRequests);
        counted.and_then(|live| live.used_in(&period.name)).unwrap_or_else(|| used(organization, meter, now))
    };
    let alerts = billing.alerts().filter(|(.., alert)| alert.period == period.name);
    Ok(BillingBody {
        id: founded.organization,
        plan: billing.plan().to_owned(),
        usage: Meter::ALL.into_iter().map(|meter| usage(organization, meter, used_by(meter))).collect(),
        customer_limits: billing
            .limited_customers()
            .filter(|customer| organization.customers.get(*customer).is_some())
            .take(CUSTOMER_LIMITS_SHOWN)
            .map(|customer| CustomerLimitsBody::of(organization, customer, now))
            .collect(),
        alerts: alerts
            .map(|(meter, threshold, limit, alert)| AlertBody {
                meter,
                threshold,
                limit,
                used: alert.used,
                at: alert.at,
            })
            .collect(),
        period: PeriodBody { start: period.start, end: period.end },
        created_at: billing.created_at(),
        updated_at: billing.updated_at(),
        version: billing.version(),
    })
}

fn usage(organization: &Organization, meter: Meter, used: u64) -> MeterUsage {
    let bounds = organization.billing.bounds(meter);
    let nearest = bounds.nearest();
    MeterUsage {
        meter,
        used,
        limit: nearest.map(|quota| quota.limit),
        soft: nearest.is_some_and(|quota| quota.soft),
        percent: nearest.map(|quota| percent(used, quota.limit)),
        plan_limit: bounds.ceiling,
        own_limit: bounds.own,
    }
}

fn changed(call: &Call, done: &Done) -> Result<Response, Problem> {
    let now = call.app.store.clock().credible_now();
    let live = Some(call.organization.handle.requests());
    let body = billing_body(done.view.organization(), now, live)?;
    Ok(call.done(done, StatusCode::OK, body.version, None, &body))
}
