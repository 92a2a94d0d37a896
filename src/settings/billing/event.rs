//! What happens to an organization's plan and quotas.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::CustomerId;
use crate::settings::billing::value::{Meter, Quota, Quotas};

events! {
    /// An organization's plan and quotas.
    pub enum BillingEvent {
        /// The organization has another plan, or its plan as it is now.
        "billing.change_plan", 1 => PlanChanged(PlanTaken);
        /// The organization set itself a quota, or lifted it.
        "billing.set_quota", 1 => QuotaSet(QuotaSet);
        /// An operator set the organization a quota in place of the plan's, or lifted it.
        "organization.set_quota", 1 => OperatorQuotaSet(QuotaSet);
        /// A single customer may have so much, and no more.
        "billing.set_customer_limit", 1 => CustomerLimitsSet(CustomerLimitsSet);
        /// Use reached a share of a soft limit, by the events after this one.
        "billing.alert", 1 => Alerted(Alerted);
        /// What was counted in an hour; the event's count says how much.
        "billing.usage", 1 => UsageRecorded(UsageRecorded);
    }
}

/// A plan as it was when an organization took it: later changes of the plan are not the organization's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanTaken {
    /// The plan.
    pub plan: String,
    /// What it limits.
    pub limits: Vec<PlanLimit>,
}

/// What a plan allows of what is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanLimit {
    /// What is metered.
    pub meter: Meter,
    /// How much there may be.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub limit: u64,
    /// Whether more is only told, and not refused.
    pub soft: bool,
}

impl PlanTaken {
    /// The limits by meter.
    pub fn quotas(&self) -> Quotas {
        let quota = |limit: &PlanLimit| (limit.meter, Quota { limit: limit.limit, soft: limit.soft });
        self.limits.iter().map(quota).collect()
    }
}

/// A quota was set, or lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaSet {
    /// What is metered.
    pub meter: Meter,
    /// The quota; absent where there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// A customer's limits from now on, all of them: hard ones, beside the organization's quotas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerLimitsSet {
    /// The customer.
    pub customer: CustomerId,
    /// Its limits; what has none is not limited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<CustomerLimit>,
}

/// How much a customer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerLimit {
    /// What is metered.
    pub meter: Meter,
    /// So much, and no more.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub limit: u64,
}

/// Use reached a share of a soft limit, for the first time in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Alerted {
    /// What is metered.
    pub meter: Meter,
    /// The share of the limit that was reached, in percent.
    pub threshold: u8,
    /// The soft limit.
    pub limit: u64,
    /// How much there is with what the alert is about.
    pub used: u64,
    /// The month, as `2026-11`, in the organization's time zone.
    pub period: String,
}

/// What was counted in an hour. Of one hour there may be several, which together are all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRecorded {
    /// What is metered.
    pub meter: Meter,
    /// The hour's first moment, by the organization's clocks.
    pub start: Timestamp,
    /// The month that it counts for, as `2026-11`.
    pub period: String,
}
