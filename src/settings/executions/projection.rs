//! Executions as a fold: those that run, and which ended lately.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::{CustomerId, EnvironmentId, ExecutionId};
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::executions::event::{ExecutionStarted, ExecutionsEvent};

/// How many executions of an organization that ended are known beside those that run: who ends one while somebody else does is
/// told that it ended. Of all others history says so, which whoever asks has read.
pub const ENDED_MAX: usize = 10_000;

/// The executions of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Executions {
    running: RedBlackTreeMapSync<ExecutionId, Running>,
    /// Those that run, by customer and the version at which they began.
    by_customer: RedBlackTreeMapSync<(CustomerId, Version), ExecutionId>,
    ended: RedBlackTreeMapSync<ExecutionId, CustomerId>,
    /// Those that ended, by the version at which they did.
    by_end: RedBlackTreeMapSync<Version, ExecutionId>,
    /// The newest month in which one began, as `2026-11`; empty before the first.
    period: String,
    /// How many began in it.
    begun: u64,
    /// For each customer.
    begun_for: RedBlackTreeMapSync<CustomerId, u64>,
}

/// An execution that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// For whom.
    pub customer: CustomerId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// Since when.
    pub started_at: Timestamp,
    /// The stream version of its beginning.
    pub version: Version,
}

impl Running {
    /// One that begins.
    pub fn of(started: &ExecutionStarted, version: Version, at: Timestamp) -> Self {
        Self { customer: started.customer, environment: started.environment, started_at: at, version }
    }
}

impl Executions {
    /// An execution that runs.
    pub fn get(&self, id: ExecutionId) -> Option<&Running> {
        self.running.get(&id)
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.size()
    }

    /// Those that run for a customer, by the version at which they began.
    pub fn running_for(&self, customer: CustomerId) -> impl Iterator<Item = (Version, ExecutionId)> + '_ {
        let whole = (customer, 0)..=(customer, Version::MAX);
        self.by_customer.range(whole).map(|((_, version), id)| (*version, *id))
    }

    /// Whether a customer's execution is among those that ended lately.
    pub fn ended_lately(&self, id: ExecutionId, customer: CustomerId) -> bool {
        self.ended.get(&id) == Some(&customer)
    }

    /// The newest month in which one began, as `2026-11`; empty before the first.
    pub fn period(&self) -> &str {
        &self.period
    }

    /// How many began in a month, if it is the newest one.
    pub fn begun(&self, period: &str) -> u64 {
        if self.period == period { self.begun } else { 0 }
    }

    /// How many of them for a customer.
    pub fn begun_for(&self, customer: CustomerId, period: &str) -> u64 {
        if self.period == period { self.begun_for.get(&customer).copied().unwrap_or(0) } else { 0 }
    }

    fn start(&mut self, started: &ExecutionStarted, recorded: &Recorded) {
        let running = Running::of(started, recorded.version, recorded.at);
        self.running.insert_mut(started.execution, running);
        self.by_customer.insert_mut((started.customer, recorded.version), started.execution);
        if let Some(period) = &started.period {
            self.count(period, started.customer);
        }
    }

    /// What belongs to an earlier month than the newest one is in the log alone.
    fn count(&mut self, period: &String, customer: CustomerId) {
        if *period > self.period {
            self.period.clone_from(period);
            self.begun = 0;
            self.begun_for = RedBlackTreeMapSync::new_sync();
        }
        if *period == self.period {
            self.begun += 1;
            let of_customer = self.begun_for.get(&customer).copied().unwrap_or(0);
            self.begun_for.insert_mut(customer, of_customer + 1);
        }
    }

    fn end(&mut self, id: ExecutionId) {
        if let Some(Running { customer, version, .. }) = self.running.get(&id) {
            self.by_customer.remove_mut(&(*customer, *version));
            self.running.remove_mut(&id);
        }
    }

    fn remember(&mut self, id: ExecutionId, customer: CustomerId, version: Version) {
        self.ended.insert_mut(id, customer);
        self.by_end.insert_mut(version, id);
        if self.by_end.size() > ENDED_MAX
            && let Some((version, oldest)) = self.by_end.first().map(|(version, id)| (*version, *id))
        {
            self.by_end.remove_mut(&version);
            self.ended.remove_mut(&oldest);
        }
    }

    /// What runs for somebody who goes, or in an environment that goes, ends without a word.
    fn abandon(&mut self, is_meant: impl Fn(&Running) -> bool) {
        let meant = self.running.iter().filter(|(_, running)| is_meant(running));
        let ids: Vec<ExecutionId> = meant.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.end(id));
    }
}

impl Fold for Executions {
    const NAME: &'static str = "executions";
    const PROJECTION: u32 = 4;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Executions(ExecutionsEvent::ExecutionStarted(started)) => self.start(started, recorded),
            Event::Executions(ExecutionsEvent::ExecutionFinished(finished)) => {
                self.end(finished.execution);
                self.remember(finished.execution, finished.customer, recorded.version);
            }
            Event::Customers(event) => {
                if let Some(customer) = event.departed() {
                    for (_, id) in self.running_for(customer).collect::<Vec<_>>() {
                        self.end(id);
                    }
                }
            }
            Event::Environments(EnvironmentsEvent::EnvironmentDeleted(deleted)) => {
                self.abandon(|running| running.environment == deleted.environment);
            }
            _ => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.running.size() + self.ended.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{founded, has_customer, id, organization};
    use crate::settings::executions::event::{Ending, ExecutionFinished};

    #[test]
    fn what_ended_ages_out_of_memory() {
        let one = |number: u128| {
            let started = ExecutionStarted {
                execution: id(number),
                customer: id(1),
                environment: id(1),
                workflow_id: "sync".to_owned(),
                workflow: None,
                trigger: None,
                period: Some("2026-01".to_owned()),
            };
            let finished = ExecutionFinished {
                execution: id(number),
                customer: id(1),
                status: Ending::Succeeded,
                started: 1,
                error: None,
                duration_ms: None,
                usage: None,
            };
            [ExecutionsEvent::ExecutionStarted(started), ExecutionsEvent::ExecutionFinished(finished)]
                .map(Event::Executions)
        };
        let count = ENDED_MAX as u128 + 50;
        let events = founded().into_iter().chain([has_customer(1)]).chain((0..count).flat_map(one));
        let state = organization(events).executions;
        assert_eq!((state.running(), state.items()), (0, ENDED_MAX));
        assert!(!state.ended_lately(id(49), id(1)) && state.ended_lately(id(50), id(1)));
        assert_eq!(state.by_customer.size() + state.running.size(), 0);
        assert_eq!([state.begun("2026-01"), state.begun("2026-02")], [count as u64, 0]);
    }

    #[test]
    fn what_began_is_counted_by_the_month_that_its_event_says() {
        let begun = |months: &[Option<&str>]| {
            let start = |(number, month): (u128, &Option<&str>)| {
                Event::Executions(ExecutionsEvent::ExecutionStarted(ExecutionStarted {
                    execution: id(number),
                    customer: id(1),
                    environment: id(1),
                    workflow_id: "sync".to_owned(),
                    workflow: None,
                    trigger: None,
                    period: month.map(ToOwned::to_owned),
                }))
            };
            let state = organization(founded().into_iter().chain((10..).zip(months).map(start))).executions;
            let counted = state.begun(state.period());
            (state.period, counted)
        };
        let (january, february) = (Some("2026-01"), Some("2026-02"));
        assert_eq!(begun(&[None, january, january]), ("2026-01".to_owned(), 2));
        assert_eq!(begun(&[january, february, january, None]), ("2026-02".to_owned(), 1));
        assert_eq!(begun(&[None]), (String::new(), 0));
    }
}
