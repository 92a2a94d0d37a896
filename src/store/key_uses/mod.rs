//! What API keys are used for, in memory: that a key is used is recorded before the answer leaves where it is the first
//! time in an hour or from an address on a day, which opens a session; further uses become one event a key and minute,
//! with the secrets that were read (`reads.rs`).
//!
//! A crash loses at most the counts of the open minute. What the store refuses is kept and recorded later; an answer
//! never fails because its key's use could not be recorded.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::actor::{Actor, ActorId};
use crate::clock::{HOUR_SECONDS, MINUTE_SECONDS, Timestamp};
use crate::ids::{ApiKeyId, Fresh, SessionId};
use crate::settings::api_keys::command::{ApiKeysCommand, Reads, SESSIONS_PER_DAY_MAX, UseApiKey};
use crate::settings::api_keys::event::KeySessionOpened;
use crate::store::key_uses::reads::{KnownReads, Read};
use crate::store::resident::Handle;
use crate::store::{Refusal, Store, Submission};

pub mod noting;
pub mod reads;

/// The most keys whose use is remembered; beyond it, uses within an hour of the first are only a number in the metrics.
pub const KEYS_IN_USE_MAX: usize = 16_384;
/// How many counts are on their way to the writer at once, so that they leave room in its queue.
const COUNTS_AT_ONCE: usize = 256;

/// Keys in use.
#[derive(Debug, Default)]
pub struct KeyUses {
    keys: Mutex<HashMap<ApiKeyId, Arc<InUse>>>,
    reads: KnownReads,
}

/// A use of a key.
#[derive(Debug)]
pub struct Use {
    /// The key.
    pub key: ApiKeyId,
    /// The client's address.
    pub from: Option<IpAddr>,
    /// The request that it is.
    pub request_id: Option<String>,
}

/// A key in use.
#[derive(Debug, Default)]
struct InUse {
    /// Held while a use is recorded: of many first ones at once, one is.
    recording: tokio::sync::Mutex<()>,
    open: Mutex<Open>,
}

/// What is known of a key's use, and not recorded of it.
#[derive(Debug, Default)]
struct Open {
    /// The hour in which its use is durable.
    hour: i64,
    /// The day of the sessions.
    day: i64,
    sessions: HashMap<IpAddr, SessionId>,
    /// Whether it opens no further session on that day.
    is_full: bool,
    last: Timestamp,
    count: Count,
}

/// Uses that are not recorded yet.
#[derive(Clone, Debug, Default)]
struct Count {
    uses: u64,
    /// What was read, and how often.
    reads: BTreeMap<Read, u64>,
    /// The session of all of them, if it is one.
    session: Option<SessionId>,
    ends_at: Timestamp,
    /// Pins the stream while there is something to record.
    handle: Option<Arc<Handle>>,
}

impl KeyUses {
    /// A key in use; one that is not remembered where there is no room.
    fn of(&self, key: ApiKeyId) -> (Arc<InUse>, bool) {
        let mut keys = self.keys();
        if let Some(known) = keys.get(&key) {
            return (Arc::clone(known), true);
        }
        let new = Arc::new(InUse::default());
        let has_room = keys.len() < KEYS_IN_USE_MAX;
        if has_room {
            keys.insert(key, Arc::clone(&new));
        }
        (new, has_room)
    }

    /// Takes out the counts whose minute has ended, or all, and forgets keys that were not used for an hour; where there
    /// is little room left, all that have nothing to be recorded: of a key used again that is asked of the stream anew.
    fn take(&self, now: Timestamp, all: bool) -> Vec<(ApiKeyId, Count)> {
        let mut taken = Vec::new();
        let mut keys = self.keys();
        let kept_seconds = if keys.len() < KEYS_IN_USE_MAX / 4 * 3 { HOUR_SECONDS } else { 0 };
        keys.retain(|key, in_use| {
            let mut open = in_use.open();
            if !open.count.is_empty() && (all || open.count.ends_at <= now) {
                taken.push((*key, std::mem::take(&mut open.count)));
            }
            Arc::strong_count(in_use) > 1
                || !open.count.is_empty()
                || now.seconds_since(open.last) < kept_seconds
        });
        taken
    }

    /// Puts back a count that could not be recorded; whether there is room for it.
    fn keep(&self, key: ApiKeyId, count: Count) -> bool {
        let (in_use, is_remembered) = self.of(key);
        if !is_remembered {
            return false;
        }
        let mut open = in_use.open();
        let newer = std::mem::replace(&mut open.count, count);
        open.count.add(newer.uses, newer.session);
        for (read, count) in newer.reads {
            *open.count.reads.entry(read).or_default() += count;
        }
        true
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Arc<InUse>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The session of a use from an address, if it need not be opened: the one that it opened, or none where it opens no
    /// further one.
    fn session(&self, from: Option<IpAddr>, now: Timestamp) -> Option<Option<SessionId>> {
        let Some(from) = from else { return Some(None) };
        if self.day != now.day() {
            return None;
        }
        match self.sessions.get(&from) {
            Some(session) => Some(Some(*session)),
            None => self.is_full.then_some(None),
        }
    }

    /// Counts a use, unless it has to be recorded by itself; its session.
    fn count(
        &mut self,
        handle: &Arc<Handle>,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<Option<SessionId>> {
        let session = self.session(from, now)?;
        if self.hour != now.hour() {
            return None;
        }
        self.add(handle, session, now);
        Some(session)
    }

    fn add(&mut self, handle: &Arc<Handle>, session: Option<SessionId>, now: Timestamp) {
        self.begin(handle, session, now);
        self.count.add(1, session);
    }

    /// Begins a count, unless one has begun.
    fn begin(&mut self, handle: &Arc<Handle>, session: Option<SessionId>, now: Timestamp) {
        self.last = now;
        if self.count.is_empty() {
            let (ends_at, handle) = (now.next_full(MINUTE_SECONDS), Some(Arc::clone(handle)));
            self.count = Count { session, ends_at, handle, ..Count::default() };
        }
    }

    /// Notes that a use is durable, with the session that it opened from an address.
    fn recorded(&mut self, opened: Option<(IpAddr, SessionId)>, is_full: bool, now: Timestamp) {
        (self.hour, self.last) = (now.hour(), now);
        if self.day != now.day() {
            (self.day, self.is_full) = (now.day(), false);
            self.sessions.clear();
        }
        self.is_full |= is_full;
        self.sessions.extend(opened);
    }
}

impl Count {
    fn is_empty(&self) -> bool {
        self.uses == 0 && self.reads.is_empty()
    }

    fn add(&mut self, uses: u64, session: Option<SessionId>) {
        self.uses += uses;
        if uses > 0 && self.session != session {
            self.session = None;
        }
    }
}

impl Store {
    /// Records or counts a use of a key, and gives the session that it is in. `open` makes a session of the key from its
    /// address.
    pub async fn use_key(
        &self,
        handle: &Arc<Handle>,
        used: Use,
        open: impl FnOnce(SessionId) -> Option<KeySessionOpened>,
    ) -> Option<SessionId> {
        let (in_use, is_remembered) = self.inner.key_uses.of(used.key);
        let now = self.clock().credible_now();
        let counted = || in_use.open().count(handle, used.from, now);
        if let Some(session) = counted() {
            return session;
        }
        let _turn = in_use.recording.lock().await;
        if let Some(session) = counted() {
            return session;
        }
        let known = in_use.open().session(used.from, now);
        let view = handle.view();
        let key = view.organization().api_keys.get(used.key);
        let is_full = key.is_none_or(|key| key.sessions_on_day(now) >= SESSIONS_PER_DAY_MAX);
        let opened = if known.is_none() && !is_full { open(Fresh.id()) } else { None };
        let session = known.flatten().or_else(|| opened.as_ref().map(|opened| opened.session));
        let new = used.from.zip(opened.as_ref().map(|opened| opened.session));
        let command = UseApiKey { key: used.key, count: None, opened, reads: Reads::default() };
        let mut submission = submission(command, session);
        submission.request_id = used.request_id;
        match self.execute(handle, submission).await {
            Ok(done) => {
                let mut open = in_use.open();
                open.recorded(new, is_full, now);
                // One of this hour was recorded before the key was remembered.
                if done.events == 0 {
                    open.add(handle, session, now);
                    self.unless_remembered(is_remembered);
                }
                session
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "a use of a key is only counted");
                in_use.open().add(handle, None, now);
                self.unless_remembered(is_remembered);
                None
            }
        }
    }

    /// A use of a key for which there is no room is a number in the metrics.
    fn unless_remembered(&self, is_remembered: bool) {
        if !is_remembered {
            self.inner.metrics.key_use_unrecorded();
        }
    }

    /// Records the uses whose minute has ended, or all of them at a stop; keeps what the store refuses.
    pub(super) async fn flush_uses(&self, all: bool) {
        let taken = self.inner.key_uses.take(self.clock().now(), all);
        for counts in taken.chunks(COUNTS_AT_ONCE) {
            let mut recording = tokio::task::JoinSet::new();
            for (key, count) in counts.iter().cloned() {
                let store = self.clone();
                recording.spawn(async move { store.record_uses(key, count).await });
            }
            recording.join_all().await;
        }
    }

    async fn record_uses(&self, key: ApiKeyId, count: Count) {
        let Some(handle) = count.handle.clone() else { return };
        // Of a use that opened a session only what it read may be left to record.
        let uses = Some(count.uses.max(1));
        let reads = reads::told(count.reads.iter().map(|(read, count)| (read, *count)));
        let command = UseApiKey { key, count: uses, opened: None, reads };
        match self.execute(&handle, submission(command, count.session)).await {
            Ok(_) => {}
            // It was revoked, and so many others since, that it is forgotten.
            Err(Refusal::Rejected(rejection)) => {
                tracing::debug!(%rejection, "uses of a key are not recorded")
            }
            Err(_) => self.unless_remembered(self.inner.key_uses.keep(key, count)),
        }
    }
}

fn submission(command: UseApiKey, session: Option<SessionId>) -> Submission {
    let actor = Actor { id: ActorId::ApiKey(command.key), session };
    Submission::new(ApiKeysCommand::Use(command), actor)
}
