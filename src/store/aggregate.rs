//! High-volume facts, counted in memory and recorded as one event with a count.
//!
//! A crash loses at most the open counts. The number of counts is bounded: beyond it a fact is only a number in the
//! metrics. Its first user is denials; what is written down singly stands in `store/denials.rs`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use crate::actor::Actor;
use crate::clock::{HOUR_SECONDS, MINUTE_SECONDS, Timestamp};
use crate::command::{Command, OrganizationCommand, PlatformCommand};
use crate::ids::StreamId;
use crate::store::denials::RecordRefused;
use crate::store::resident::Handle;
use crate::store::{Refusal, Store, Submission};

/// The most counts that are open at a time.
pub const OPEN_COUNTS_MAX: usize = 10_000;

/// Within which span facts of one kind become one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A clock minute.
    Minute,
    /// A clock hour.
    Hour,
}

impl Window {
    fn end(self, now: Timestamp) -> Timestamp {
        now.next_full(match self {
            Self::Minute => MINUTE_SECONDS,
            Self::Hour => HOUR_SECONDS,
        })
    }
}

/// Counts that are not recorded yet.
#[derive(Debug, Default)]
pub struct Aggregator {
    counts: Mutex<HashMap<Key, Count>>,
}

/// Facts that are counted together: one actor's, of one kind, in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    stream: StreamId,
    actor: String,
    kind: String,
}

impl Key {
    /// Of a failure: of one kind, about one thing.
    fn of_failure(handle: &Handle, fact: &RecordRefused) -> Self {
        Self {
            stream: handle.stream(),
            actor: fact.resource.id.clone(),
            kind: fact.refused.action.clone() + fact.refused.data.cause.as_deref().unwrap_or_default(),
        }
    }
}

/// An open count. Its handle pins the stream.
#[derive(Clone, Debug)]
struct Count {
    handle: Arc<Handle>,
    actor: Actor,
    fact: RecordRefused,
    ends_at: Timestamp,
    more: u64,
}

impl Aggregator {
    /// Counts a fact. Returns whether it is the first in its window, which is recorded singly at once; `false`
    /// where it was counted, or where there is no room to count.
    fn first_in_window(&self, key: Key, count: impl FnOnce() -> Count, now: Timestamp) -> Counted {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = counts.len() >= OPEN_COUNTS_MAX;
        match counts.entry(key) {
            Entry::Occupied(mut open) if open.get().ends_at > now || open.get().more > 0 => {
                open.get_mut().more += 1;
                Counted::Again
            }
            Entry::Occupied(mut ended) => {
                ended.insert(count());
                Counted::First
            }
            Entry::Vacant(_) if full => Counted::NoRoom,
            Entry::Vacant(vacant) => {
                vacant.insert(count());
                Counted::First
            }
        }
    }

    /// Takes out the counts whose window has ended, or all.
    fn take(&self, ended_by: Option<Timestamp>) -> Vec<(Key, Count)> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.extract_if(|_, count| ended_by.is_none_or(|now| count.ends_at <= now)).collect()
    }

    /// Puts back a count that could not be recorded.
    fn keep(&self, key: Key, count: Count) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.entry(key) {
            Entry::Occupied(mut newer) => newer.get_mut().more += count.more,
            Entry::Vacant(vacant) => {
                vacant.insert(count);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Counted {
    First,
    Again,
    NoRoom,
}

impl Store {
    /// Records that a known actor was denied: singly within its bound, else counted. Waits for the log, but not
    /// for room in its queue.
    pub async fn record_denial(
        &self,
        handle: &Arc<Handle>,
        actor: Actor,
        fact: RecordRefused,
        request_id: Option<String>,
    ) {
        let single = Submission { request_id, ..submission(handle, actor, fact.clone()) };
        if let Err(refusal) = self.execute(handle, single).await {
            tracing::debug!(%refusal, "a denial is only counted");
            let key = Key { stream: handle.stream(), actor: actor.id.to_string(), kind: "denied".to_owned() };
            let count = || self.count(handle, actor, fact, Window::Hour, 1);
            // The first beyond the bound is counted too, not recorded singly.
            if self.inner.aggregator.first_in_window(key, count, self.clock().now()) == Counted::NoRoom {
                self.inner.metrics.denial_unrecorded();
            }
        }
    }

    /// Counts a failure: those of its kind and minute become one event.
    pub(super) fn count_failure(&self, handle: &Arc<Handle>, actor: Actor, fact: RecordRefused) {
        let key = Key::of_failure(handle, &fact);
        let count = || self.count(handle, actor, fact, Window::Minute, 1);
        if self.inner.aggregator.first_in_window(key, count, self.clock().now()) == Counted::NoRoom {
            self.inner.metrics.denial_unrecorded();
        }
    }

    /// Records a failure: the first of its kind and actor in a minute singly, further ones as one count.
    pub async fn record_failure(&self, handle: &Arc<Handle>, actor: Actor, fact: RecordRefused) {
        let key = Key::of_failure(handle, &fact);
        let count = || self.count(handle, actor, fact.clone(), Window::Minute, 0);
        match self.inner.aggregator.first_in_window(key.clone(), count, self.clock().now()) {
            Counted::First => {
                let single = submission(handle, actor, fact.clone());
                if let Err(refusal) = self.execute(handle, single).await {
                    tracing::debug!(%refusal, "a failure is only counted");
                    self.inner.aggregator.keep(key, self.count(handle, actor, fact, Window::Minute, 1));
                }
            }
            Counted::Again => {}
            Counted::NoRoom => {
                self.inner.metrics.denial_unrecorded();
            }
        }
    }

    /// Records the counts whose window has ended, or all of them at a stop; keeps what the store refuses. They go to
    /// the writer together, so that few syncs serve many.
    pub async fn flush_counts(&self, all: bool) {
        let ended_by = if all { None } else { Some(self.clock().now()) };
        let mut recording = tokio::task::JoinSet::new();
        for (key, count) in self.inner.aggregator.take(ended_by) {
            if count.more > 0 {
                let store = self.clone();
                recording.spawn(async move { store.record_count(key, count).await });
            }
        }
        recording.join_all().await;
        self.flush_uses(all).await;
        self.flush_requests(all).await;
    }

    async fn record_count(&self, key: Key, count: Count) {
        let fact = RecordRefused { count: Some(count.more), ..count.fact.clone() };
        match self.execute(&count.handle, submission(&count.handle, count.actor, fact)).await {
            Ok(_) => {}
            Err(Refusal::Rejected(rejection)) => {
                tracing::error!(%rejection, "a count of denials was rejected");
            }
            Err(_) => self.inner.aggregator.keep(key, count),
        }
    }

    fn count(
        &self,
        handle: &Arc<Handle>,
        actor: Actor,
        fact: RecordRefused,
        window: Window,
        more: u64,
    ) -> Count {
        Count { handle: Arc::clone(handle), actor, fact, ends_at: window.end(self.clock().now()), more }
    }
}

fn submission(handle: &Handle, actor: Actor, fact: RecordRefused) -> Submission {
    let command = match handle.stream() {
        StreamId::Platform => Command::Platform(PlatformCommand::Refuse(fact)),
        StreamId::Organization(_) => Command::Organization(OrganizationCommand::Refuse(fact)),
    };
    Submission::new(command, actor)
}
