//! Quotas held against what a command comes to: the one place that every command goes through once it is decided, so that
//! no race and no way of making things passes a limit.
//!
//! How much there is after a command is read from the state after it, folded by the areas' own `apply`: nothing here could
//! count otherwise than they do, and no event can be forgotten that makes more of something.

use std::collections::BTreeMap;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent};
use crate::event::{Event, Recorded, Resource, ResourceType, Version};
use crate::ids::{EventId, StreamId};
use crate::organization::Organization;
use crate::settings::billing::customer_limits::within_customer_limits;
use crate::settings::billing::event::{Alerted, BillingEvent};
use crate::settings::billing::period::Period;
use crate::settings::billing::projection::{Billing, Bounds};
use crate::settings::billing::value::{Excess, Meter};
use crate::settings::general::projection::Founded;

/// The shares of a soft limit at which there is an alert, in percent.
pub const THRESHOLDS: [u8; 2] = [80, 100];

/// Versions that no event has yet: where the events are tried that a command comes to.
const TRIED_FROM: Version = 1 << 62;

/// Whether an event may come to more of what is bounded, or bound it otherwise: any event of an area that holds something
/// metered, so that only a further area is to be placed here, which the compiler asks for.
fn concerns_quotas(billing: &Billing, event: &Event) -> bool {
    match event {
        Event::Billing(_) => true,
        Event::People(_)
        | Event::Customers(_)
        | Event::Environments(_)
        | Event::Secrets(_)
        | Event::ApiKeys(_)
        | Event::Connections(_)
        | Event::Executions(_) => billing.is_bounded(),
        Event::General(_)
        | Event::OauthApps(_)
        | Event::CustomerData(_)
        | Event::Invitations(_)
        | Event::JoinRequests(_)
        | Event::Teams(_)
        | Event::Roles(_)
        | Event::Sessions(_)
        | Event::Accounts(_)
        | Event::Foundings(_)
        | Event::Deletions(_)
        | Event::Memberships(_)
        | Event::ManagedApps(_)
        | Event::Operations(_)
        | Event::Plans(_)
        | Event::SigningKeys(_)
        | Event::Exports(_)
        | Event::EncryptionKeys(_)
        | Event::Refused(_) => false,
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
        Meter::Connections => organization.connections.total(),
        Meter::Executions => {
            let executions = &organization.executions;
            return executions.begun(&Period::counting(organization, executions.period(), now));
        }
        Meter::ApiRequests => {
            let billing = &organization.billing;
            return billing.counted(meter, &Period::counting(organization, billing.period(), now));
        }
    };
    used as u64
}

/// Whether there is as much of something as a hard limit allows.
pub fn is_full(organization: &Organization, meter: Meter, now: Timestamp) -> bool {
    let hard = organization.billing.bounds(meter).hard();
    hard.is_some_and(|limit| used(organization, meter, now) >= limit)
}

/// Holds what a command comes to against the organization's quotas: an alert for each share of a soft limit that is reached
/// with it and was not told of yet in the period. Alerts go before the command's events, so that the last one stays its own.
///
/// # Errors
/// [`Excess`] where there would be more of something than there is, and than a hard limit allows.
pub fn within_quotas(
    state: &Organization,
    context: &Context,
    decided: &[NewEvent],
) -> Result<Vec<NewEvent>, Excess> {
    let Some(founded) = state.general.founded() else { return Ok(Vec::new()) };
    allows_program(state, context, decided)?;
    if !decided.iter().any(|event| concerns_quotas(&state.billing, &event.event)) {
        return Ok(Vec::new());
    }
    let after = state_after(state, founded, context, decided);
    within_customer_limits(state, &after, decided.iter().map(|event| &event.event), context.now)?;
    let mut told = Vec::new();
    for meter in Meter::ALL {
        let bounds = after.billing.bounds(meter);
        if bounds == Bounds::default() {
            continue;
        }
        let (before, now) = (used(state, meter, context.now), used(&after, meter, context.now));
        // What has happened is recorded in any case: requests are refused before.
        let refuses = now > before && meter != Meter::ApiRequests;
        if let Some(limit) = bounds.hard().filter(|limit| refuses && now > *limit) {
            return Err(Excess { meter, limit, used: before });
        }
        if now > before || bounds != state.billing.bounds(meter) {
            let limits = bounds.soft();
            told.extend(limits.flat_map(|limit| alerts(state, founded, context.now, meter, limit, now)));
        }
    }
    Ok(told)
}

/// Refuses what a program would change beyond its organization's requests of the period. What it reads, what it takes away
/// from somebody, and that what it had begun has ended, goes on; so does what people do.
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

/// Whether an action is no reading, no taking away and no ending, by its verb.
fn changes(action: &str) -> bool {
    let verb = action.rsplit_once('.').map_or(action, |(_, verb)| verb);
    let reads = ["use", "read", "reveal", "export"];
    let takes_away_or_ends = [
        "delete",
        "destroy",
        "destroy_version",
        "erase",
        "remove",
        "remove_member",
        "revoke",
        "suspend",
        "decline",
        "finish",
    ];
    !reads.contains(&verb) && !takes_away_or_ends.contains(&verb)
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

/// An alert for each share of a soft limit that is reached and was not told of yet in this period.
fn alerts(
    state: &Organization,
    founded: &Founded,
    now: Timestamp,
    meter: Meter,
    limit: u64,
    used: u64,
) -> Vec<NewEvent> {
    let reached = |threshold: &u8| percent(used, limit) >= u64::from(*threshold);
    let reached: Vec<u8> = THRESHOLDS.into_iter().filter(reached).collect();
    if reached.is_empty() {
        return Vec::new();
    }
    let period = Period::containing(&founded.timezone, now).name;
    let is_new = |threshold: &u8| {
        state.billing.alert(meter, *threshold, limit).is_none_or(|alert| alert.period < period)
    };
    let alert = |threshold| {
        let alerted = Alerted { meter, threshold, limit, used, period: period.clone() };
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
#[path = "enforcement_tests.rs"]
mod tests;
