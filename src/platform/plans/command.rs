//! Setting plans.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::platform::plans::event::{PlanSet, PlansEvent};
use crate::platform::plans::projection::Plans;
use crate::settings::billing::value::UNLIMITED;

/// The most plans of a server: their list is one page.
pub const PLANS_MAX: usize = 200;

/// A command to plans. Only operators give one.
#[derive(Clone, Debug)]
pub enum PlansCommand {
    /// Makes a plan, or makes another of it.
    Set(PlanSet),
}

/// Why a command to plans appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlansRejection {
    /// The plan is built in.
    #[error("the plan {UNLIMITED} is built in")]
    BuiltIn,
    /// More plans than a server can have.
    #[error("a server has at most {PLANS_MAX} plans")]
    TooMany,
}

impl PlansCommand {
    /// Decides.
    ///
    /// # Errors
    /// [`PlansRejection`].
    pub fn decide(&self, plans: &Plans) -> Result<Vec<NewEvent>, PlansRejection> {
        let Self::Set(set) = self;
        if set.plan == UNLIMITED {
            return Err(PlansRejection::BuiltIn);
        }
        match plans.get(&set.plan) {
            Some(plan) if plan.is(set, plans) => return Ok(Vec::new()),
            Some(_) => {}
            None if plans.count() >= PLANS_MAX => return Err(PlansRejection::TooMany),
            None => {}
        }
        let resource = Resource::named(ResourceType::Plan, &set.plan, set.name.as_str());
        Ok(vec![NewEvent::new(resource, PlansEvent::PlanSet(set.clone()))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{events, platform};
    use crate::settings::billing::event::PlanLimit;
    use crate::settings::billing::value::Meter;

    fn team(people: u64) -> PlanSet {
        PlanSet {
            plan: "team".to_owned(),
            name: "Team".to_owned(),
            limits: vec![PlanLimit { meter: Meter::People, limit: people, soft: false }],
            self_service: true,
            default: false,
        }
    }

    fn decide(set: PlanSet, given: Vec<Event>) -> Result<Vec<Event>, PlansRejection> {
        events(PlansCommand::Set(set).decide(&platform(given).plans))
    }

    fn was(set: PlanSet) -> Event {
        PlansEvent::PlanSet(set).into()
    }

    #[test]
    fn a_plan_is_made_and_another_is_made_of_it() {
        assert_eq!(decide(team(5), vec![]), Ok(vec![was(team(5))]));
        assert_eq!(decide(team(5), vec![was(team(5))]), Ok(vec![]));
        assert_eq!(decide(team(6), vec![was(team(5))]), Ok(vec![was(team(6))]));
        let state = platform([was(team(5)), was(team(6))]).plans;
        assert_eq!(state.get("team").unwrap().taken().limits, team(6).limits);
        assert_eq!(state.count(), 1);
    }

    #[test]
    fn organizations_are_founded_with_one_plan() {
        let founding = |given: Vec<Event>| platform(given).plans.founding().map(|plan| plan.id.clone());
        let default = |set: PlanSet| PlanSet { default: true, ..set };
        let other = || PlanSet { plan: "other".to_owned(), ..team(1) };
        assert_eq!(founding(vec![was(team(5))]), None);
        let given = vec![was(default(team(5))), was(default(other()))];
        assert_eq!(founding(given.clone()).as_deref(), Some("other"));
        // It is not the one any more, so saying so again is a change.
        assert_eq!(decide(default(team(5)), given.clone()), Ok(vec![was(default(team(5)))]));
        assert_eq!(decide(team(5), given.clone()), Ok(vec![]));
        assert_eq!(founding([given, vec![was(other())]].concat()), None);
    }

    #[test]
    fn what_limits_nothing_is_built_in() {
        let unlimited = PlanSet { plan: UNLIMITED.to_owned(), ..team(5) };
        assert_eq!(decide(unlimited, vec![]), Err(PlansRejection::BuiltIn));
        let plans = Plans::default();
        assert_eq!(plans.get(UNLIMITED).map(|plan| plan.limits.len()), Some(0));
        assert_eq!(plans.iter().map(|plan| plan.id.as_str()).collect::<Vec<_>>(), [UNLIMITED]);
    }

    #[test]
    fn a_server_has_so_many_plans_and_no_more() {
        let numbered = |number: usize| PlanSet { plan: format!("plan-{number}"), ..team(5) };
        let full: Vec<Event> = (0..PLANS_MAX).map(numbered).map(was).collect();
        assert!(decide(team(5), full[1..].to_vec()).is_ok());
        assert_eq!(decide(team(5), full.clone()), Err(PlansRejection::TooMany));
        assert!(decide(PlanSet { self_service: false, ..numbered(0) }, full).is_ok());
    }
}
