//! What random histories ask of plan and quotas.

use proptest::prelude::*;
use settled::actor::Actor;
use settled::settings::billing::command::{BillingCommand, ChangePlan};
use settled::settings::billing::event::{PlanLimit, PlanTaken, QuotaSet};
use settled::settings::billing::value::{Meter, Quota};
use settled::store::Submission;

/// What is asked for. Limits are small, so that histories meet them.
#[derive(Clone, Debug)]
pub enum BillingAsk {
    Plan { limits: Vec<(usize, u64, bool)>, self_service: bool },
    Quota { meter: usize, quota: Option<(u64, bool)>, operator: bool },
}

pub fn billing_ask() -> impl Strategy<Value = BillingAsk> {
    let meter = || 0..Meter::ALL.len();
    let limits = prop::collection::vec((meter(), 0..9u64, any::<bool>()), 0..4);
    let quota = prop::option::weighted(0.7, (0..9u64, any::<bool>()));
    prop_oneof![
        1 => (limits, any::<bool>())
            .prop_map(|(limits, self_service)| BillingAsk::Plan { limits, self_service }),
        2 => (meter(), quota, any::<bool>())
            .prop_map(|(meter, quota, operator)| BillingAsk::Quota { meter, quota, operator }),
    ]
}

impl BillingAsk {
    /// The command that it is: a person's, or an operator's.
    pub fn submission(self, actor: Actor) -> Submission {
        match self {
            Self::Plan { limits, self_service } => {
                let limit = |(meter, limit, soft): (usize, u64, bool)| {
                    (Meter::ALL[meter], PlanLimit { meter: Meter::ALL[meter], limit, soft })
                };
                let limits: std::collections::BTreeMap<_, _> = limits.into_iter().map(limit).collect();
                let plan = PlanTaken { plan: "team".to_owned(), limits: limits.into_values().collect() };
                Submission::new(BillingCommand::ChangePlan(ChangePlan { plan, self_service }), actor)
            }
            Self::Quota { meter, quota, operator } => {
                let quota = quota.map(|(limit, soft)| Quota { limit, soft });
                let set = QuotaSet { meter: Meter::ALL[meter], quota };
                if operator {
                    Submission::new(BillingCommand::SetOperatorQuota(set), Actor::OPERATOR)
                } else {
                    Submission::new(BillingCommand::SetQuota(set), actor)
                }
            }
        }
    }
}
