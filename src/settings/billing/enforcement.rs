//! Quotas held against what a command comes to: the one place that every command goes through once it is decided, so that
//! no race and no way of making things passes a limit.
//!
//! How much there is after a command is read from the state after it, folded by the areas' own `apply`: nothing here could
//! count otherwise than they do. A meter of a further area is a line in [`raises`] and one in [`used`].

use std::collections::BTreeMap;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent};
use crate::event::{Event, Recorded, Resource, ResourceType, Version};
use crate::ids::{EventId, StreamId};
use crate::organization::Organization;
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::settings::billing::event::{Alerted, BillingEvent};
use crate::settings::billing::period::Period;
use crate::settings::billing::value::{Excess, Meter, Quota};
use crate::settings::customers::event::CustomersEvent;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::general::projection::Founded;
use crate::settings::people::event::PeopleEvent;
use crate::settings::secrets::event::SecretsEvent;

/// The shares of a soft limit at which there is an alert, in percent.
pub const THRESHOLDS: [u8; 2] = [80, 100];

/// Versions that no event has yet: where the events are tried that a command comes to.
const TRIED_FROM: Version = 1 << 62;

/// The meter that an event may raise. What raises none is never held against a quota.
fn raises(event: &Event) -> Option<Meter> {
    match event {
        Event::People(PeopleEvent::PersonJoined(_)) => Some(Meter::People),
        Event::Customers(CustomersEvent::CustomerCreated(_)) => Some(Meter::Customers),
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(_)) => Some(Meter::Environments),
        Event::Secrets(SecretsEvent::SecretCreated(_) | SecretsEvent::SecretUndeleted(_)) => {
            Some(Meter::Secrets)
        }
        Event::ApiKeys(ApiKeysEvent::ApiKeyCreated(_)) => Some(Meter::ApiKeys),
        Event::Billing(BillingEvent::UsageRecorded(usage)) => Some(usage.meter),
        _ => None,
    }
}

/// How much there is of what is metered; of what is counted, in the period of a time, as far as it is recorded.
pub fn used(organization: &Organization, meter: Meter, now: Timestamp) -> u64 {
    let used = match meter {
        Meter::People => organization.people.count(),
        Meter::Customers => organization.customers.len(),
        Meter::Environments => organization.environments.count(),
        Meter::Secrets => organization.secrets.live(),
        Meter::ApiKeys => organization.api_keys.count(),
        Meter::ApiRequests => {
            let period = Period::of(organization, now).name;
            return organization.billing.counted(meter, &period);
        }
    };
    used as u64
}

/// What a command comes to within the organization's quotas: its events, after an alert for each share of a soft limit
/// that they reach for the first time in the period. The alerts come first, so that the last event stays the command's.
///
/// # Errors
/// [`Excess`] where there would be more of something than there is, and than a hard limit allows.
pub fn within_quotas(
    state: &Organization,
    context: &Context,
    decided: Vec<NewEvent>,
) -> Result<Vec<NewEvent>, Excess> {
    let Some(founded) = state.general.founded() else { return Ok(decided) };
    allows_program(state, context, &decided)?;
    let is_bounded = |meter: &Meter| state.billing.bounds(*meter).nearest().is_some();
    let mut raised: Vec<Meter> =
        decided.iter().filter_map(|event| raises(&event.event)).filter(is_bounded).collect();
    if raised.is_empty() {
        return Ok(decided);
    }
    raised.sort_unstable();
    raised.dedup();
    let after = state_after(state, founded, context, &decided);
    let mut events = Vec::new();
    for meter in raised {
        let (before, now) = (used(state, meter, context.now), used(&after, meter, context.now));
        if now <= before {
            continue;
        }
        let bounds = state.billing.bounds(meter);
        // What has happened is recorded in any case: requests are refused before.
        let refuses = meter != Meter::ApiRequests;
        if let Some(limit) = bounds.hard().filter(|limit| refuses && now > *limit) {
            return Err(Excess { meter, limit, used: before });
        }
        if let Some(quota) = bounds.nearest().filter(|quota| quota.soft) {
            events.extend(alerts(state, founded, context.now, meter, quota, now));
        }
    }
    events.extend(decided);
    Ok(events)
}

/// Refuses what a program would change beyond its organization's requests of the period. What it reads, and what it takes
/// away from somebody, goes on; so does what people do.
fn allows_program(state: &Organization, context: &Context, decided: &[NewEvent]) -> Result<(), Excess> {
    let Some(ordinal) = context.ordinal else { return Ok(()) };
    let meter = Meter::ApiRequests;
    match state.billing.bounds(meter).hard() {
        Some(limit) if ordinal > limit && decided.iter().any(|event| changes(event.event.action())) => {
            Err(Excess { meter, limit, used: ordinal })
        }
        _ => Ok(()),
    }
}

/// Whether an action is no reading and no taking away, by its verb.
fn changes(action: &str) -> bool {
    let verb = action.rsplit_once('.').map_or(action, |(_, verb)| verb);
    let reads = ["use", "read", "reveal", "export"];
    let takes_away = [
        "delete",
        "destroy",
        "destroy_version",
        "erase",
        "remove",
        "remove_member",
        "revoke",
        "suspend",
        "decline",
    ];
    !reads.contains(&verb) && !takes_away.contains(&verb)
}

/// The state that events lead to.
fn state_after(
    state: &Organization,
    founded: &Founded,
    context: &Context,
    decided: &[NewEvent],
) -> Organization {
    let mut after = state.clone();
    for (version, event) in (TRIED_FROM..).zip(decided) {
        after.apply(&Recorded {
            id: EventId::min(),
            stream: StreamId::Organization(founded.organization),
            version,
            at: context.now,
            actor: context.actor,
            resource: event.resource.clone(),
            outcome: event.outcome,
            event: event.event.clone(),
            related: event.related.clone(),
            reason: None,
            request_id: None,
            request: None,
            count: event.count,
            keys: BTreeMap::new(),
        });
    }
    after
}

/// An alert for each share of a soft limit that is reached and was not before in this period.
fn alerts(
    state: &Organization,
    founded: &Founded,
    now: Timestamp,
    meter: Meter,
    quota: Quota,
    used: u64,
) -> Vec<NewEvent> {
    let reached = |threshold: &u8| percent(used, quota.limit) >= u64::from(*threshold);
    let reached: Vec<u8> = THRESHOLDS.into_iter().filter(reached).collect();
    if reached.is_empty() {
        return Vec::new();
    }
    let period = Period::containing(&founded.timezone, now).name;
    let is_new =
        |threshold: &u8| state.billing.alert(meter, *threshold).is_none_or(|alert| alert.period < period);
    let alert = |threshold| {
        let alerted = Alerted { meter, threshold, limit: quota.limit, used, period: period.clone() };
        let resource = Resource::new(ResourceType::Billing, founded.organization);
        NewEvent::new(resource, BillingEvent::Alerted(alerted)).by(Actor::SYSTEM)
    };
    reached.into_iter().filter(is_new).map(alert).collect()
}

/// How much of a limit is used, in percent, rounded down; all of it where nothing is allowed.
pub fn percent(used: u64, limit: u64) -> u64 {
    used.saturating_mul(100).checked_div(limit).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{
        by, environment, founded, hard, id, joined, member, organization, person, plan, quota, soft,
    };
    use crate::settings::environments::event::{EnvironmentDeleted, Mode};
    use crate::settings::people::event::{PersonNamed, PersonRemoved};

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

    fn tried(state: &Organization, decided: &[NewEvent]) -> Result<Vec<NewEvent>, Excess> {
        within_quotas(state, &by(person(id(1))), decided.to_vec())
    }

    fn excess(limit: u64, used: u64) -> Result<Vec<NewEvent>, Excess> {
        Err(Excess { meter: Meter::Environments, limit, used })
    }

    fn alerted(threshold: u8, limit: u64, used: u64, period: &str) -> Event {
        let (meter, period) = (Meter::Environments, period.to_owned());
        BillingEvent::Alerted(Alerted { meter, threshold, limit, used, period }).into()
    }

    #[test]
    fn a_hard_limit_is_reached_and_not_passed() {
        let limits = [(Meter::Environments, hard(3))];
        assert_eq!(tried(&acme(2, &limits, vec![]), &[makes(9)]), Ok(vec![makes(9)]));
        assert_eq!(tried(&acme(3, &limits, vec![]), &[makes(9)]), excess(3, 3));
        assert_eq!(tried(&acme(2, &limits, vec![]), &[makes(8), makes(9)]), excess(3, 2));
        assert_eq!(tried(&acme(2, &[(Meter::People, hard(1))], vec![]), &[makes(9)]), Ok(vec![makes(9)]));
    }

    #[test]
    fn what_goes_makes_room_for_what_comes_with_it() {
        let state = acme(3, &[(Meter::Environments, hard(3))], vec![]);
        for decided in [vec![deletes(1), makes(9)], vec![makes(9), deletes(1)]] {
            assert_eq!(tried(&state, &decided), Ok(decided));
        }
        assert_eq!(tried(&state, &[deletes(1), makes(8), makes(9)]), excess(3, 3));
    }

    #[test]
    fn above_a_limit_everything_goes_on_but_more() {
        let state = acme(5, &[(Meter::Environments, hard(3))], vec![]);
        assert_eq!(tried(&state, &[makes(9)]), excess(3, 5));
        for decided in [vec![deletes(1)], vec![deletes(1), makes(9)], vec![]] {
            assert_eq!(tried(&state, &decided), Ok(decided));
        }
    }

    #[test]
    fn a_soft_limit_tells_once_of_each_share_and_period() {
        let limits = [(Meter::Environments, soft(5))];
        let said = |existing, more, decided: &[NewEvent]| {
            let events = tried(&acme(existing, &limits, more), decided).unwrap();
            let (alerts, rest) = events.split_at(events.len() - decided.len());
            assert_eq!(rest, decided, "the command's own events come last");
            assert!(alerts.iter().all(|alert| alert.by == Some(Actor::SYSTEM)));
            alerts.iter().map(|alert| alert.event.clone()).collect::<Vec<_>>()
        };
        let month = "2026-01";
        assert_eq!(said(2, vec![], &[makes(9)]), []);
        assert_eq!(said(3, vec![], &[makes(9)]), [alerted(80, 5, 4, month)]);
        assert_eq!(said(4, vec![alerted(80, 5, 4, month)], &[makes(9)]), [alerted(100, 5, 5, month)]);
        let both = [alerted(80, 5, 5, month), alerted(100, 5, 5, month)];
        assert_eq!(said(3, vec![], &[makes(8), makes(9)]), both);
        assert_eq!(said(6, both.to_vec(), &[makes(9)]), [], "more is not refused");
        let last_month = vec![alerted(80, 5, 4, "2025-12"), alerted(100, 5, 5, "2025-12")];
        assert_eq!(said(3, last_month, &[makes(9)]), [alerted(80, 5, 4, month)]);
    }

    #[test]
    fn an_own_quota_holds_beside_the_plans() {
        let own = |of: Quota| Event::from(BillingEvent::QuotaSet(quota(Meter::Environments, of)));
        let state = |existing, plan, of| acme(existing, &[(Meter::Environments, plan)], vec![own(of)]);
        assert_eq!(tried(&state(2, hard(5), hard(2)), &[makes(9)]), excess(2, 2));
        // It cannot make a hard limit a soft one, and one of before that is above its plan now counts for nothing.
        assert_eq!(tried(&state(5, hard(5), soft(5)), &[makes(9)]), excess(5, 5));
        assert_eq!(tried(&state(5, hard(5), hard(9)), &[makes(9)]), excess(5, 5));
        let warned = tried(&state(1, hard(5), soft(2)), &[makes(9)]).unwrap();
        assert_eq!(warned[0].event, alerted(80, 2, 2, "2026-01"));
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
        assert_eq!(told.len(), THRESHOLDS.len() + 1);
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
        let first =
            NewEvent::new(Resource::new(ResourceType::Person, 1), PeopleEvent::PersonJoined(joined(1)));
        assert!(tried(&organization([]), &[first]).is_ok());
    }

    #[test]
    fn shares_are_rounded_down() {
        assert_eq!([percent(0, 3), percent(2, 3), percent(3, 3), percent(4, 3)], [0, 66, 100, 133]);
        assert_eq!([percent(0, 0), percent(7, 0), percent(u64::MAX, 1)], [100, 100, u64::MAX]);
    }
}
