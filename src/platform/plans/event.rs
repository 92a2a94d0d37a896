//! What happens to plans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::settings::billing::event::PlanLimit;

events! {
    /// Plans.
    pub enum PlansEvent {
        /// An operator made a plan, or made another of it.
        "plan.set", 1 => PlanSet(PlanSet);
    }
}

/// A plan as it is from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSet {
    /// The plan.
    pub plan: String,
    /// Its name for people.
    pub name: String,
    /// What it limits.
    pub limits: Vec<PlanLimit>,
    /// Whether organizations take it themselves.
    pub self_service: bool,
    /// Whether organizations are founded with it, in place of any other.
    pub default: bool,
}
