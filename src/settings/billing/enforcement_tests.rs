//! What quotas refuse and what they tell.

use super::*;
use crate::given::{
    by, environment, founded, hard, id, joined, member, organization, person, plan, quota, soft,
};
use crate::settings::billing::event::QuotaSet;
use crate::settings::billing::value::Quota;
use crate::settings::environments::event::{EnvironmentDeleted, EnvironmentsEvent, Mode};
use crate::settings::executions::event::{ExecutionStarted, ExecutionsEvent};
use crate::settings::people::event::{PeopleEvent, PersonNamed, PersonRemoved};

/// Acme on a plan of two meters, with so many environments.
fn acme(environments: u128, limits: &[(Meter, Quota)], more: Vec<Event>) -> Organization {
    let all = (1..=environments).map(|number| environment(number, Mode::Test));
    let plan = Event::from(BillingEvent::PlanChanged(plan("team", limits)));
    organization(founded().into_iter().chain([plan]).chain(all).chain(more))
}

fn makes(number: u128) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Environment, number), environment(number, Mode::Test))
}

fn deletes(number: u128) -> NewEvent {
    let deleted = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(number) });
    NewEvent::new(Resource::new(ResourceType::Environment, number), deleted)
}

/// What is told before these events.
fn tried(state: &Organization, decided: &[NewEvent]) -> Result<Vec<Event>, Excess> {
    let alerts = within_quotas(state, &by(person(id(1))), decided)?;
    assert!(alerts.iter().all(|alert| alert.by == Some(Actor::SYSTEM)));
    Ok(alerts.into_iter().map(|alert| alert.event).collect())
}

fn excess(limit: u64, used: u64) -> Result<Vec<Event>, Excess> {
    Err(Excess { meter: Meter::Environments, limit, used })
}

fn alerted(threshold: u8, limit: u64, used: u64, period: &str) -> Event {
    let (meter, period) = (Meter::Environments, period.to_owned());
    BillingEvent::Alerted(Alerted { meter, threshold, limit, used, period }).into()
}

fn own(of: Option<Quota>) -> BillingEvent {
    BillingEvent::QuotaSet(QuotaSet { meter: Meter::Environments, quota: of })
}

fn sets(event: BillingEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Billing, 1), event)
}

#[test]
fn a_hard_limit_is_reached_and_not_passed() {
    let limits = [(Meter::Environments, hard(3))];
    assert_eq!(tried(&acme(2, &limits, vec![]), &[makes(9)]), Ok(vec![]));
    assert_eq!(tried(&acme(3, &limits, vec![]), &[makes(9)]), excess(3, 3));
    assert_eq!(tried(&acme(2, &limits, vec![]), &[makes(8), makes(9)]), excess(3, 2));
    assert_eq!(tried(&acme(2, &[(Meter::People, hard(1))], vec![]), &[makes(9)]), Ok(vec![]));
}

#[test]
fn what_goes_makes_room_for_what_comes_with_it() {
    let state = acme(3, &[(Meter::Environments, hard(3))], vec![]);
    for decided in [vec![deletes(1), makes(9)], vec![makes(9), deletes(1)]] {
        assert_eq!(tried(&state, &decided), Ok(vec![]));
    }
    assert_eq!(tried(&state, &[deletes(1), makes(8), makes(9)]), excess(3, 3));
}

#[test]
fn above_a_limit_everything_goes_on_but_more() {
    let state = acme(5, &[(Meter::Environments, hard(3))], vec![]);
    assert_eq!(tried(&state, &[makes(9)]), excess(3, 5));
    for decided in [vec![deletes(1)], vec![deletes(1), makes(9)], vec![]] {
        assert_eq!(tried(&state, &decided), Ok(vec![]));
    }
}

#[test]
fn a_soft_limit_tells_once_of_each_share_and_period() {
    let limits = [(Meter::Environments, soft(5))];
    let told = |existing, more, decided: &[NewEvent]| tried(&acme(existing, &limits, more), decided);
    let month = "2026-01";
    assert_eq!(told(2, vec![], &[makes(9)]), Ok(vec![]));
    assert_eq!(told(3, vec![], &[makes(9)]), Ok(vec![alerted(80, 5, 4, month)]));
    assert_eq!(told(4, vec![alerted(80, 5, 4, month)], &[makes(9)]), Ok(vec![alerted(100, 5, 5, month)]));
    let both = vec![alerted(80, 5, 5, month), alerted(100, 5, 5, month)];
    assert_eq!(told(3, vec![], &[makes(8), makes(9)]), Ok(both.clone()));
    assert_eq!(told(6, both, &[makes(9)]), Ok(vec![]), "more is not refused");
    let last_month = vec![alerted(80, 5, 4, "2025-12"), alerted(100, 5, 5, "2025-12")];
    assert_eq!(told(3, last_month, &[makes(9)]), Ok(vec![alerted(80, 5, 4, month)]));
}

#[test]
fn each_soft_limit_is_told_of_and_none_silences_another() {
    let month = "2026-01";
    let told = |existing, plan, mut before: Vec<Event>| {
        before.push(own(Some(soft(5))).into());
        tried(&acme(existing, &[(Meter::Environments, plan)], before), &[makes(9)])
    };
    assert_eq!(told(7, soft(10), vec![]).unwrap().len(), 3);
    let owns = || vec![alerted(80, 5, 4, month), alerted(100, 5, 5, month)];
    let after = |state: u128, before: Vec<Event>| {
        let own = std::iter::once(Event::from(own(Some(soft(5)))));
        let state = acme(state, &[(Meter::Environments, soft(10))], own.chain(before).collect());
        tried(&state, &[makes(9)])
    };
    assert_eq!(after(7, owns()), Ok(vec![alerted(80, 10, 8, month)]));
    let all = [owns(), vec![alerted(80, 10, 8, month)]].concat();
    // Going back and forth over both tells nothing anew.
    assert_eq!(after(3, all.clone()), Ok(vec![]));
    assert_eq!(after(7, all), Ok(vec![]));
    assert_eq!(told(4, soft(5), vec![]).unwrap().len(), 2, "the same limit twice is told of once");
    assert_eq!(told(4, hard(9), vec![]).unwrap().len(), 2, "beside a hard one");
}

#[test]
fn a_limit_that_is_set_anew_is_told_of_at_once() {
    let month = "2026-01";
    let limits = [(Meter::Environments, soft(9))];
    let lowered = |to| tried(&acme(4, &limits, vec![]), &[sets(own(Some(to)))]);
    assert_eq!(lowered(soft(6)), Ok(vec![]));
    assert_eq!(lowered(soft(5)), Ok(vec![alerted(80, 5, 4, month)]));
    assert_eq!(lowered(soft(3)).unwrap().len(), 2);
    assert_eq!(lowered(hard(1)), Ok(vec![]), "what is there stays, and whoever makes more is refused");
    let operators = BillingEvent::OperatorQuotaSet(quota(Meter::Environments, soft(5)));
    assert_eq!(tried(&acme(4, &limits, vec![]), &[sets(operators)]).unwrap().len(), 1);
    let another = BillingEvent::PlanChanged(plan("small", &[(Meter::Environments, soft(4))]));
    assert_eq!(tried(&acme(4, &limits, vec![]), &[sets(another)]).unwrap().len(), 2);
    // The first quota of all, and one that is set again after it was lifted.
    let set = || sets(own(Some(soft(5))));
    assert_eq!(tried(&acme(4, &[], vec![]), &[set()]), Ok(vec![alerted(80, 5, 4, month)]));
    let before = vec![own(Some(soft(5))).into(), alerted(80, 5, 4, month)];
    assert_eq!(tried(&acme(3, &[], before.clone()), &[makes(9)]), Ok(vec![]));
    let lifted = [before, vec![own(None).into()]].concat();
    assert_eq!(tried(&acme(4, &[], lifted), &[set()]), Ok(vec![alerted(80, 5, 4, month)]));
}

#[test]
fn an_own_quota_holds_beside_the_plans() {
    let state =
        |existing, plan, of| acme(existing, &[(Meter::Environments, plan)], vec![own(Some(of)).into()]);
    assert_eq!(tried(&state(2, hard(5), hard(2)), &[makes(9)]), excess(2, 2));
    // It cannot make a hard limit a soft one, and one of before that is above its plan now counts for nothing.
    assert_eq!(tried(&state(5, hard(5), soft(5)), &[makes(9)]), excess(5, 5));
    assert_eq!(tried(&state(5, hard(5), hard(9)), &[makes(9)]), excess(5, 5));
    let warned = tried(&state(1, hard(5), soft(2)), &[makes(9)]).unwrap();
    assert_eq!(warned[0], alerted(80, 2, 2, "2026-01"));
}

#[test]
fn executions_are_counted_by_the_month() {
    let begun = |number: u128, period: &str| {
        let started = ExecutionStarted {
            execution: id(number),
            customer: id(1),
            environment: id(1),
            workflow_id: "sync".to_owned(),
            workflow: None,
            trigger: None,
            period: Some(period.to_owned()),
        };
        Event::Executions(ExecutionsEvent::ExecutionStarted(started))
    };
    let next = || NewEvent::new(Resource::new(ResourceType::Execution, 9), begun(9, "2026-01"));
    let state = |of, events: &[Event]| acme(0, &[(Meter::Executions, of)], events.to_vec());
    let both = [begun(1, "2026-01"), begun(2, "2026-01")];
    assert_eq!(tried(&state(hard(3), &both), &[next()]), Ok(vec![]));
    let refused = Err(Excess { meter: Meter::Executions, limit: 2, used: 2 });
    assert_eq!(tried(&state(hard(2), &both), &[next()]), refused);
    assert_eq!(tried(&state(soft(3), &both), &[next()]).unwrap().len(), 2);
    let last_month = [begun(1, "2025-12"), begun(2, "2025-12")];
    assert_eq!(tried(&state(hard(1), &last_month), &[next()]), Ok(vec![]));
}

#[test]
fn an_operators_quota_goes_before_the_plans() {
    let set = BillingEvent::OperatorQuotaSet(quota(Meter::Environments, hard(9)));
    let state = acme(5, &[(Meter::Environments, hard(5))], vec![set.into()]);
    assert!(tried(&state, &[makes(9)]).is_ok());
}

#[test]
fn nothing_is_allowed_where_the_limit_is_zero() {
    assert_eq!(tried(&acme(0, &[(Meter::Environments, hard(0))], vec![]), &[makes(9)]), excess(0, 0));
    let told = tried(&acme(0, &[(Meter::Environments, soft(0))], vec![]), &[makes(9)]).unwrap();
    assert_eq!(told.len(), THRESHOLDS.len());
}

#[test]
fn suspending_frees_nothing_and_removing_does() {
    let joins =
        || NewEvent::new(Resource::new(ResourceType::Person, 9), PeopleEvent::PersonJoined(joined(9)));
    let person = id(2);
    let limited =
        |events: Vec<Event>| acme(0, &[(Meter::People, hard(2))], [member(2, None), events].concat());
    let full = Err(Excess { meter: Meter::People, limit: 2, used: 2 });
    assert_eq!(tried(&limited(vec![]), &[joins()]), full);
    let suspended = PeopleEvent::PersonSuspended(PersonNamed { person });
    assert_eq!(tried(&limited(vec![suspended.into()]), &[joins()]), full);
    let removed = PeopleEvent::PersonRemoved(PersonRemoved { person });
    assert!(tried(&limited(vec![removed.into()]), &[joins()]).is_ok());
}

#[test]
fn a_founding_is_never_refused() {
    let first = NewEvent::new(Resource::new(ResourceType::Person, 1), PeopleEvent::PersonJoined(joined(1)));
    assert!(tried(&organization([]), &[first]).is_ok());
}

#[test]
fn shares_are_rounded_down() {
    assert_eq!([percent(0, 3), percent(2, 3), percent(3, 3), percent(4, 3)], [0, 66, 100, 133]);
    assert_eq!([percent(0, 0), percent(7, 0), percent(u64::MAX, 1)], [100, 100, u64::MAX]);
}
