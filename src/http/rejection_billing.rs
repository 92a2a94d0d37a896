//! Rejections of plans and quotas, as [`crate::http::rejection`] tells them.

use serde_json::json;

use crate::http::problem::Problem;
use crate::platform::plans::command::PlansRejection;
use crate::settings::billing::command::BillingRejection;
use crate::settings::billing::value::Excess;

pub(super) fn billing(rejection: &BillingRejection) -> Problem {
    match rejection {
        BillingRejection::NotFound => Problem::not_found(),
        BillingRejection::NotSelfService => {
            Problem::conflict("plan_not_self_service", "only the operator gives this plan")
        }
        BillingRejection::Exceeds(exceeds) => {
            let told = |Excess { meter, limit, used }: &Excess| json!({"quota": meter.name(), "limit": limit, "use": used});
            Problem::conflict("plan_exceeded", "the organization has more than the plan allows")
                .with("exceeds", exceeds.iter().map(told).collect::<Vec<_>>())
        }
        BillingRejection::AbovePlan(limit) => {
            Problem::conflict("above_plan", "an organization limits itself within its plan")
                .with("limit", *limit)
        }
    }
}

pub(super) fn plans(rejection: PlansRejection) -> Problem {
    match rejection {
        PlansRejection::BuiltIn => Problem::conflict("built_in_plan", "this plan is built in"),
        PlansRejection::TooMany => {
            Problem::conflict("too_many_plans", "there are as many plans as there can be")
        }
    }
}
