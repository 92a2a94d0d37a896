//! Changing the plan and setting quotas. Holding them against what is made is `enforcement.rs`.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{CustomerId, OrganizationId};
use crate::organization::Organization;
use crate::settings::billing::enforcement::used;
use crate::settings::billing::event::{
    BillingEvent, CustomerLimit, CustomerLimitsSet, PlanTaken, QuotaSet, UsageRecorded,
};
use crate::settings::billing::value::{Excess, Meter, Quota};
use crate::settings::roles::permission::Permission;

/// A command to an organization's plan and quotas.
#[derive(Clone, Debug)]
pub enum BillingCommand {
    /// Takes a plan.
    ChangePlan(ChangePlan),
    /// Sets the organization a quota of its own, or lifts it.
    SetQuota(QuotaSet),
    /// Sets the organization a quota in place of the plan's, or lifts it.
    SetOperatorQuota(QuotaSet),
    /// Limits what a single customer may have.
    LimitCustomer(LimitCustomer),
    /// Records what was counted in an hour.
    RecordUsage(RecordUsage),
}

/// Takes a plan as it is now.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    /// The plan.
    pub plan: PlanTaken,
    /// Whether organizations take it themselves.
    pub self_service: bool,
}

/// Limits what a single customer may have.
#[derive(Clone, Debug)]
pub struct LimitCustomer {
    /// The customer.
    pub customer: CustomerId,
    /// All of its limits from now on.
    pub limits: BTreeMap<Meter, u64>,
}

/// Records what was counted in an hour.
#[derive(Clone, Debug)]
pub struct RecordUsage {
    /// What is metered.
    pub meter: Meter,
    /// The hour's first moment.
    pub start: Timestamp,
    /// The month that it counts for.
    pub period: String,
    /// How much.
    pub count: u64,
}

/// Why a command to billing appends nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BillingRejection {
    /// The organization is not founded, or there is no quota to be lifted.
    #[error("there is no such organization or quota")]
    NotFound,
    /// Only an operator gives this plan.
    #[error("only an operator gives this plan")]
    NotSelfService,
    /// The organization has more than the plan allows.
    #[error("the organization has more than the plan allows")]
    Exceeds(Vec<Excess>),
    /// The organization would allow itself more than its plan does.
    #[error("the plan's limit is {0}")]
    AbovePlan(u64),
}

impl BillingCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::ChangePlan(_) | Self::SetQuota(_) | Self::LimitCustomer(_) => {
                Need::Organization(Permission::BillingManage)
            }
            Self::SetOperatorQuota(_) | Self::RecordUsage(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`BillingRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let billing = &state.billing;
        let organization = billing.organization().ok_or(BillingRejection::NotFound)?;
        let event = match self {
            Self::ChangePlan(change) => {
                context.check_version(billing.version())?;
                change.decide(state, context)?
            }
            Self::SetQuota(set) => {
                let bounds = billing.bounds(set.meter);
                let is_new = changes(set, bounds.own)?;
                context.check_version(billing.version())?;
                within(set, bounds.ceiling)?;
                is_new.then(|| BillingEvent::QuotaSet(set.clone()))
            }
            Self::SetOperatorQuota(set) => {
                let is_new = changes(set, billing.operators(set.meter))?;
                is_new.then(|| BillingEvent::OperatorQuotaSet(set.clone()))
            }
            Self::LimitCustomer(limit) => return limit.decide(state, context),
            Self::RecordUsage(usage) => {
                let RecordUsage { meter, start, ref period, count } = *usage;
                let recorded = UsageRecorded { meter, start, period: period.clone() };
                let event = about(organization, BillingEvent::UsageRecorded(recorded));
                return Ok(vec![NewEvent { count: Some(count), ..event }]);
            }
        };
        Ok(event.map(|event| about(organization, event)).into_iter().collect())
    }
}

fn about(organization: OrganizationId, event: BillingEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Billing, organization), event)
}

impl LimitCustomer {
    /// About the customer, whose id billing is told by here.
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let customer = self.customer;
        if state.customers.get(customer).is_none() {
            return Err(BillingRejection::NotFound.into());
        }
        let current = state.billing.customer_limits(customer);
        context.check_version(current.map_or(0, |current| current.version))?;
        let is_same = match current {
            Some(current) => current.limits.iter().eq(&self.limits),
            None => self.limits.is_empty(),
        };
        if is_same {
            return Ok(Vec::new());
        }
        let limit = |(meter, limit): (&Meter, &u64)| CustomerLimit { meter: *meter, limit: *limit };
        let limits = self.limits.iter().map(limit).collect();
        let event = BillingEvent::CustomerLimitsSet(CustomerLimitsSet { customer, limits });
        Ok(vec![NewEvent::new(Resource::new(ResourceType::Billing, customer), event)])
    }
}

impl ChangePlan {
    /// An operator gives any plan, also one that the organization exceeds: then nothing more is made until it does not.
    fn decide(
        &self,
        state: &Organization,
        context: &Context,
    ) -> Result<Option<BillingEvent>, BillingRejection> {
        if state.billing.has(&self.plan) {
            return Ok(None);
        }
        if !context.actor.id.is_system() {
            if !self.self_service {
                return Err(BillingRejection::NotSelfService);
            }
            let exceeds = self.exceeded_by(state, context.now);
            if !exceeds.is_empty() {
                return Err(BillingRejection::Exceeds(exceeds));
            }
        }
        Ok(Some(BillingEvent::PlanChanged(self.plan.clone())))
    }

    /// What the organization has more of than it may have by the plan, or by an operator's quota in its place.
    fn exceeded_by(&self, state: &Organization, now: Timestamp) -> Vec<Excess> {
        let limits = self.plan.quotas();
        let excess = |meter: Meter| {
            let ceiling = state.billing.operators(meter).or_else(|| limits.get(&meter).copied());
            let (limit, used) = (ceiling.and_then(Quota::hard)?, used(state, meter, now));
            (used > limit).then_some(Excess { meter, limit, used })
        };
        Meter::ALL.into_iter().filter_map(excess).collect()
    }
}

/// Whether a quota is another one; lifting what is not there is refused.
fn changes(set: &QuotaSet, current: Option<Quota>) -> Result<bool, BillingRejection> {
    match (set.quota, current) {
        (None, None) => Err(BillingRejection::NotFound),
        (new, current) => Ok(new != current),
    }
}

/// Refuses an organization's own quota above its ceiling. A soft one below a hard ceiling is no way around that: both hold.
fn within(set: &QuotaSet, ceiling: Option<Quota>) -> Result<(), BillingRejection> {
    match (set.quota, ceiling) {
        (Some(quota), Some(ceiling)) if quota.limit > ceiling.limit => {
            Err(BillingRejection::AbovePlan(ceiling.limit))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        by, by_having_seen, environment, events, founded, hard, id, organization, person, plan, quota, soft,
    };
    use crate::settings::environments::event::Mode;

    /// Acme with two environments.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let two = [environment(1, Mode::Test), environment(2, Mode::Live)];
        organization(founded().into_iter().chain(two).chain(more))
    }

    fn change(name: &str, limit: u64, self_service: bool) -> BillingCommand {
        let plan = plan(name, &[(Meter::Environments, hard(limit))]);
        BillingCommand::ChangePlan(ChangePlan { plan, self_service })
    }

    fn on_plan(limit: u64) -> Event {
        BillingEvent::PlanChanged(plan("team", &[(Meter::Environments, hard(limit))])).into()
    }

    fn own(set: Option<Quota>) -> BillingCommand {
        BillingCommand::SetQuota(QuotaSet { meter: Meter::Environments, quota: set })
    }

    fn operators(set: Option<Quota>) -> BillingCommand {
        BillingCommand::SetOperatorQuota(QuotaSet { meter: Meter::Environments, quota: set })
    }

    fn decide(command: &BillingCommand, state: &Organization, actor: Actor) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(actor)))
    }

    #[test]
    fn a_plan_that_fits_is_taken_once_and_again_where_it_has_changed() {
        let owner = person(id(1));
        assert_eq!(decide(&change("team", 2, true), &acme([]), owner), Ok(vec![on_plan(2)]));
        assert_eq!(decide(&change("team", 2, true), &acme([on_plan(2)]), owner), Ok(vec![]));
        assert_eq!(decide(&change("team", 3, true), &acme([on_plan(2)]), owner), Ok(vec![on_plan(3)]));
    }

    #[test]
    fn a_plan_that_is_exceeded_is_refused_with_what_exceeds_it() {
        let excess = Excess { meter: Meter::Environments, limit: 1, used: 2 };
        let refused = Err(BillingRejection::Exceeds(vec![excess]).into());
        assert_eq!(decide(&change("team", 1, true), &acme([]), person(id(1))), refused);
        let soft = plan("team", &[(Meter::Environments, soft(1))]);
        let soft = BillingCommand::ChangePlan(ChangePlan { plan: soft, self_service: true });
        assert!(decide(&soft, &acme([]), person(id(1))).is_ok(), "a soft limit refuses nothing");
        let more = BillingEvent::OperatorQuotaSet(quota(Meter::Environments, hard(2)));
        assert!(decide(&change("team", 1, true), &acme([more.into()]), person(id(1))).is_ok());
    }

    #[test]
    fn what_is_no_self_service_an_operator_gives_also_where_it_is_exceeded() {
        let refused = Err(BillingRejection::NotSelfService.into());
        assert_eq!(decide(&change("team", 1, false), &acme([]), person(id(1))), refused);
        let given = decide(&change("team", 1, false), &acme([]), Actor::OPERATOR);
        assert_eq!(given, Ok(vec![on_plan(1)]));
        let kept = decide(&change("team", 1, false), &acme([on_plan(1)]), person(id(1)));
        assert_eq!(kept, Ok(vec![]), "what it has already it may ask for");
    }

    #[test]
    fn an_organization_sets_itself_a_quota_up_to_its_plan_and_lifts_it() {
        let (owner, team) = (person(id(1)), || acme([on_plan(5)]));
        let set = |quota| Event::from(BillingEvent::QuotaSet(QuotaSet { meter: Meter::Environments, quota }));
        for allowed in [hard(5), soft(5), hard(0), soft(1)] {
            assert_eq!(decide(&own(Some(allowed)), &team(), owner), Ok(vec![set(Some(allowed))]));
        }
        for above in [hard(6), soft(6)] {
            let refused = Err(BillingRejection::AbovePlan(5).into());
            assert_eq!(decide(&own(Some(above)), &team(), owner), refused);
        }
        assert_eq!(decide(&own(None), &team(), owner), Err(BillingRejection::NotFound.into()));
        let limited = acme([on_plan(5), set(Some(hard(3)))]);
        assert_eq!(decide(&own(Some(hard(3))), &limited, owner), Ok(vec![]));
        assert_eq!(decide(&own(None), &limited, owner), Ok(vec![set(None)]));
    }

    #[test]
    fn an_operators_quota_stands_in_place_of_the_plans() {
        let set = |quota| {
            Event::from(BillingEvent::OperatorQuotaSet(QuotaSet { meter: Meter::Environments, quota }))
        };
        let decided = decide(&operators(Some(hard(9))), &acme([on_plan(5)]), Actor::OPERATOR);
        assert_eq!(decided, Ok(vec![set(Some(hard(9)))]));
        let state = acme([on_plan(5), set(Some(hard(9)))]);
        assert_eq!(decide(&operators(Some(hard(9))), &state, Actor::OPERATOR), Ok(vec![]));
        assert!(decide(&own(Some(hard(9))), &state, person(id(1))).is_ok());
        assert_eq!(decide(&operators(None), &state, Actor::OPERATOR), Ok(vec![set(None)]));
        let none = decide(&operators(None), &acme([on_plan(5)]), Actor::OPERATOR);
        assert_eq!(none, Err(BillingRejection::NotFound.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let (state, seen) = (acme([on_plan(5)]), by_having_seen(person(id(1)), 6));
        assert!(own(Some(hard(1))).decide(&state, &seen).is_ok());
        let stale = by_having_seen(person(id(1)), 5);
        assert_eq!(own(Some(hard(9))).decide(&state, &stale), Err(PreconditionFailed.into()));
        assert_eq!(change("team", 1, false).decide(&state, &stale), Err(PreconditionFailed.into()));
    }

    #[test]
    fn what_is_not_founded_has_no_plan() {
        let decided = decide(&change("team", 1, true), &organization([]), Actor::OPERATOR);
        assert_eq!(decided, Err(BillingRejection::NotFound.into()));
    }
}
