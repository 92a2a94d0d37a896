//! `/v1/customers/{cus}/limits`: what a single customer may have, over HTTP.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::input::member;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::settings::billing::command::{BillingCommand, LimitCustomer};
use crate::settings::billing::customer_limits::{OF_CUSTOMERS, used_by};
use crate::settings::billing::value::{LIMIT_MAX, Meter};
use crate::settings::customers::http::{AtCustomer, named};

/// What a customer may have, and how much it has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerLimits)]
pub struct CustomerLimitsBody {
    /// The customer.
    pub customer: CustomerId,
    /// What can be limited for a customer.
    pub usage: Vec<CustomerUsage>,
    /// When a limit changed last; null before the first was set.
    pub updated_at: Option<Timestamp>,
    /// The stream version of that; 0 before the first.
    pub version: Version,
}

/// How much a customer has of what is metered, and how much it may have.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerUsage {
    /// What is metered.
    pub meter: Meter,
    /// How much there is; of executions those that began in the organization's month.
    pub used: u64,
    /// How much there may be; more is refused (402). Null where the customer is not limited.
    pub limit: Option<u64>,
}

impl CustomerLimitsBody {
    /// Of a customer, as of a time.
    pub fn of(organization: &Organization, customer: CustomerId, now: Timestamp) -> Self {
        let limited = organization.billing.customer_limits(customer);
        let usage = OF_CUSTOMERS.map(|meter| CustomerUsage {
            meter,
            used: used_by(organization, customer, meter, now),
            limit: limited.and_then(|limited| limited.limits.get(&meter).copied()),
        });
        Self {
            customer,
            usage: usage.into(),
            updated_at: limited.map(|limited| limited.updated_at),
            version: limited.map_or(0, |limited| limited.version),
        }
    }
}

/// What a customer may have, and how much it has.
#[utoipa::path(get, path = "/v1/customers/{cus}/limits", tag = "billing",
    params(("cus" = CustomerId, Path), AsOfParameters), responses(
    (status = 200, body = CustomerLimitsBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let customer = named(&path)?;
    let asked = call.asked(&query).await?;
    let (view, now) = (call.state(&asked).await?, call.time_of(&asked).await?);
    let is_there = view.organization().customers.get(customer).is_some();
    if !is_there || !call.organization.grants.reaches(customer) {
        return Err(Problem::not_found());
    }
    let NoParameters {} = asked.query.parse()?;
    let body = CustomerLimitsBody::of(view.organization(), customer, now);
    Ok(asked.mark(call.resource(StatusCode::OK, &call.organization.view, body.version, &body)))
}

/// Limits what a customer may have: these meters to so much, and no other. What it has above a limit stays; nothing more is
/// made (402 `quota_exceeded`).
#[utoipa::path(put, path = "/v1/customers/{cus}/limits", tag = "billing", request_body = BTreeMap<String, u64>,
    params(("cus" = CustomerId, Path)), responses(
    (status = 200, body = CustomerLimitsBody), (status = "4XX", body = ProblemBody)))]
pub async fn set(AtCustomer { call, customer }: AtCustomer, _: NoParameters) -> Result<Response, Problem> {
    let limits = limits(&call.body().parse()?)?;
    let command = LimitCustomer { customer, limits };
    let done = call.submit(BillingCommand::LimitCustomer(command), StatusCode::OK).await?;
    let now = call.app.store.clock().now();
    let body = CustomerLimitsBody::of(done.view.organization(), customer, now);
    Ok(call.done(&done, StatusCode::OK, body.version, None, &body))
}

fn limits(body: &BTreeMap<String, u64>) -> Result<BTreeMap<Meter, u64>, Problem> {
    let limit = |(name, limit): (&String, &u64)| {
        let meter = name.parse().ok().filter(|meter| OF_CUSTOMERS.contains(meter));
        let meter = meter.ok_or_else(|| {
            let message = "nothing of this name is limited for single customers";
            Problem::invalid_field(member(name), "unknown", message)
        })?;
        if *limit > LIMIT_MAX {
            let pointer = format!("/{meter}");
            return Err(Problem::invalid_field(pointer, "too_large", "a limit is at most 2^53 - 1"));
        }
        Ok((meter, *limit))
    };
    body.iter().map(limit).collect()
}
