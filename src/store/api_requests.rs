//! Requests of programs, counted in memory by the hours of their organization's clocks, and recorded as one event an hour.
//!
//! A crash loses at most what is not recorded: the open hour, which then counts for no limit either. What the store refuses
//! is kept and recorded later; a request never waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::organization::Organization;
use crate::settings::billing::command::{BillingCommand, RecordUsage};
use crate::settings::billing::enforcement::THRESHOLDS;
use crate::settings::billing::period::{Period, hour};
use crate::settings::billing::value::Meter;
use crate::store::resident::{Handle, View};
use crate::store::{Refusal, Store, Submission};

/// The most organizations whose requests are counted at a time; beyond it they are only a number in the metrics.
pub const ORGANIZATIONS_MAX: usize = 16_384;

/// The organizations with requests that are not recorded yet: each is pinned in memory until they are.
#[derive(Debug, Default)]
pub struct Counting(Mutex<HashMap<StreamId, Arc<Handle>>>);

/// The requests of one organization.
#[derive(Debug, Default)]
pub struct ApiRequests {
    open: Mutex<Open>,
    /// Held while hours are recorded, so that none is twice.
    recording: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Open {
    /// The newest period in which a request was counted.
    period: String,
    /// How many of that period are recorded.
    recorded: u64,
    /// What is not recorded, oldest first.
    hours: Vec<Hour>,
}

/// Requests of one hour.
#[derive(Clone, Debug)]
struct Hour {
    start: Timestamp,
    end: Timestamp,
    period: String,
    count: u64,
}

impl ApiRequests {
    /// Counts one. Which of the period's it is, and whether it is the first that is to be recorded.
    fn count(&self, organization: &Organization, now: Timestamp) -> (u64, bool) {
        let mut open = self.open();
        let is_first = open.hours.is_empty();
        if open.hours.last().is_none_or(|hour| hour.end <= now) {
            open.begin(organization, now);
        }
        if let Some(hour) = open.hours.last_mut() {
            hour.count += 1;
        }
        (open.used(), is_first)
    }

    /// How many there were in a period, if it is the newest in which any was counted here.
    pub fn used_in(&self, period: &str) -> Option<u64> {
        let open = self.open();
        (open.period == period).then(|| open.used())
    }

    /// What is not recorded: the first moment of each hour, and how many requests there were.
    pub fn unrecorded(&self) -> Vec<(Timestamp, u64)> {
        self.open().hours.iter().map(|hour| (hour.start, hour.count)).collect()
    }

    /// The hours that have ended, or all.
    fn to_record(&self, ended_by: Option<Timestamp>) -> Vec<Hour> {
        let open = self.open();
        let has_ended = |hour: &&Hour| ended_by.is_none_or(|now| hour.end <= now);
        open.hours.iter().filter(has_ended).cloned().collect()
    }

    /// Notes that so many requests of an hour are recorded.
    fn recorded(&self, recorded: &Hour) {
        let mut open = self.open();
        if open.period == recorded.period {
            open.recorded += recorded.count;
        }
        if let Some(hour) = open.hours.iter_mut().find(|hour| hour.start == recorded.start) {
            hour.count -= recorded.count;
        }
        open.hours.retain(|hour| hour.count > 0);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Begins an hour.
    fn begin(&mut self, organization: &Organization, now: Timestamp) {
        let timezone = organization.general.founded().map_or("UTC", |founded| founded.timezone.as_str());
        let period = Period::counting(organization, organization.billing.period(), now);
        if self.period < period {
            self.recorded = organization.billing.counted(Meter::ApiRequests, &period);
            self.period = period;
        }
        let (start, end) = hour(timezone, now);
        self.hours.push(Hour { start, end, period: self.period.clone(), count: 0 });
    }

    fn used(&self) -> u64 {
        let of_period = self.hours.iter().filter(|hour| hour.period == self.period);
        self.recorded + of_period.map(|hour| hour.count).sum::<u64>()
    }
}

impl Store {
    /// Counts a request of a program. Which of its organization's it is in the period.
    pub fn count_request(&self, handle: &Arc<Handle>, view: &View) -> u64 {
        let organization = view.organization();
        let (ordinal, is_first) = handle.requests().count(organization, self.clock().credible_now());
        if is_first && !self.inner.requests.pin(handle) {
            self.inner.metrics.api_request_unpinned();
        }
        let mut limits = organization.billing.bounds(Meter::ApiRequests).soft();
        if limits.any(|limit| reaches_a_share(limit, ordinal)) {
            // Whoever pays hears of it now, and not when the hour is over.
            let (store, handle) = (self.clone(), Arc::clone(handle));
            tokio::spawn(async move { store.record_requests(&handle, None).await });
        }
        ordinal
    }

    /// Records the hours that are over, or all at a stop; keeps what the store refuses.
    pub(super) async fn flush_requests(&self, all: bool) {
        let ended_by = if all { None } else { Some(self.clock().now()) };
        for handle in self.inner.requests.handles() {
            self.record_requests(&handle, ended_by).await;
            self.inner.requests.unpin(&handle);
        }
    }

    async fn record_requests(&self, handle: &Arc<Handle>, ended_by: Option<Timestamp>) {
        let requests = handle.requests();
        let _turn = requests.recording.lock().await;
        for hour in requests.to_record(ended_by) {
            let Hour { start, ref period, count, .. } = hour;
            let usage = RecordUsage { meter: Meter::ApiRequests, start, period: period.clone(), count };
            let submission = Submission::new(BillingCommand::RecordUsage(usage), Actor::SYSTEM);
            match self.execute(handle, submission).await {
                Ok(_) => requests.recorded(&hour),
                // The organization was deleted.
                Err(Refusal::Rejected(rejection)) => {
                    tracing::debug!(%rejection, "requests are not recorded");
                    requests.recorded(&hour);
                }
                Err(refusal) => {
                    tracing::debug!(refusal = with_causes(&refusal), "requests are not recorded yet");
                    return;
                }
            }
        }
    }
}

/// Whether this request is the one by which a share of a soft limit is reached.
fn reaches_a_share(limit: u64, ordinal: u64) -> bool {
    let first = |share: u8| limit.saturating_mul(u64::from(share)).div_ceil(100);
    THRESHOLDS.iter().any(|share| first(*share) == ordinal)
}

impl Counting {
    /// Keeps an organization in memory; whether there is room for it.
    fn pin(&self, handle: &Arc<Handle>) -> bool {
        let mut counting = self.counting();
        let has_room = counting.len() < ORGANIZATIONS_MAX || counting.contains_key(&handle.stream());
        if has_room {
            counting.insert(handle.stream(), Arc::clone(handle));
        }
        has_room
    }

    /// Lets go of it, if nothing is to be recorded. Nothing is counted meanwhile that would not be pinned again.
    fn unpin(&self, handle: &Handle) {
        let mut counting = self.counting();
        if handle.requests().open().hours.is_empty() {
            counting.remove(&handle.stream());
        }
    }

    fn handles(&self) -> Vec<Arc<Handle>> {
        self.counting().values().cloned().collect()
    }

    fn counting(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Handle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
