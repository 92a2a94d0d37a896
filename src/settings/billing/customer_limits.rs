//! Limits of single customers: which meters can be limited for one, how much one has of them, and holding what a command
//! comes to against that. They stand beside the organization's quotas, and are hard.

use std::collections::BTreeSet;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::CustomerId;
use crate::organization::Organization;
use crate::settings::billing::event::CustomerLimitsSet;
use crate::settings::billing::period::Period;
use crate::settings::billing::value::{Excess, Meter};
use crate::settings::secrets::value::Scope;

/// The meters that can be limited for a customer, in the order in which they are shown.
pub const OF_CUSTOMERS: [Meter; 3] = [Meter::Secrets, Meter::Connections, Meter::Executions];

/// A customer's limits, and when they changed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerLimits {
    /// How much there may be, by meter; what has none is not limited.
    pub limits: RedBlackTreeMapSync<Meter, u64>,
    /// When they changed last.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

impl CustomerLimits {
    /// Those that were set by an event.
    pub fn of(set: &CustomerLimitsSet, recorded: &Recorded) -> Self {
        let limits = set.limits.iter().map(|limit| (limit.meter, limit.limit)).collect();
        Self { limits, updated_at: recorded.at, version: recorded.version }
    }
}

/// How much a customer has of what can be limited for one; of the rest nothing is counted by customer.
pub fn used_by(organization: &Organization, customer: CustomerId, meter: Meter, now: Timestamp) -> u64 {
    match meter {
        Meter::Secrets => {
            let own = organization.secrets.of_customer(customer);
            own.filter(|secret| !secret.is_deleted()).count() as u64
        }
        Meter::Connections => {
            let environments = organization.environments.iter();
            let scopes = environments.map(|environment| Scope::Customer(environment.id, customer));
            scopes.map(|scope| organization.connections.count(scope)).sum::<usize>() as u64
        }
        Meter::Executions => {
            let executions = &organization.executions;
            executions.begun_for(customer, &Period::counting(organization, executions.period(), now))
        }
        Meter::People | Meter::Customers | Meter::Environments | Meter::ApiKeys | Meter::ApiRequests => 0,
    }
}

/// Refuses what comes to more than there was for a customer, and than its limit allows. A command that takes nothing in is
/// never refused.
///
/// # Errors
/// The first [`Excess`].
pub fn within_customer_limits<'a>(
    before: &Organization,
    after: &Organization,
    events: impl Iterator<Item = &'a Event>,
    now: Timestamp,
) -> Result<(), Excess> {
    let concerned: BTreeSet<CustomerId> = events.filter_map(|event| customer_of(before, event)).collect();
    for customer in concerned {
        let Some(limited) = before.billing.customer_limits(customer) else { continue };
        for (&meter, &limit) in &limited.limits {
            let [was, is] = [before, after].map(|state| used_by(state, customer, meter, now));
            if is > was && is > limit {
                return Err(Excess { meter, limit, used: was });
            }
        }
    }
    Ok(())
}

/// The customer of whom an event may come to more.
fn customer_of(before: &Organization, event: &Event) -> Option<CustomerId> {
    use crate::settings::connections::event::ConnectionsEvent::ConnectionCreated;
    use crate::settings::executions::event::ExecutionsEvent::ExecutionStarted;
    use crate::settings::secrets::event::SecretsEvent::{SecretCreated, SecretUndeleted};
    match event {
        Event::Secrets(SecretCreated(created)) => created.customer,
        Event::Secrets(SecretUndeleted(back)) => before.secrets.get(back.secret)?.scope.customer(),
        Event::Connections(ConnectionCreated(created)) => created.customer,
        Event::Executions(ExecutionStarted(started)) => Some(started.customer),
        _ => None,
    }
}
