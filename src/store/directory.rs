//! [`Directory`]: the one projection over the whole log, always in memory. It finds a credential's stream, and
//! knows what is due when.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::area::DirectoryEntry;
use crate::clock::Timestamp;
use crate::ids::{SessionId, StreamId};
use crate::seal::Commitment;
use crate::settings::sessions::projection::{SESSION_IDLE_SECONDS, SESSION_MAX_SECONDS};

/// A credential that some stream opened and none closed.
#[derive(Debug)]
pub struct Credential {
    /// The stream that says more about it.
    pub stream: StreamId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// When it was opened, in microseconds; see [`Directory::bring_back`].
    opened_at: AtomicI64,
    /// When it was last used, in microseconds; memory only, a restart counts as use.
    last_seen: AtomicI64,
}

impl Credential {
    /// Whether its time is not over, by age and by idleness.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at() && now.seconds_since(self.last_seen()) < SESSION_IDLE_SECONDS
    }

    /// When it ends at the latest.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.opened_at.load(Ordering::Relaxed)).plus_seconds(SESSION_MAX_SECONDS)
    }

    /// When it was last used.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_micros(self.last_seen.load(Ordering::Relaxed))
    }

    /// Notes a use.
    pub fn touch(&self, now: Timestamp) {
        self.last_seen.fetch_max(now.micros(), Ordering::Relaxed);
    }
}

/// Credentials of the whole server, by the SHA-256 of their token.
#[derive(Debug, Default)]
pub struct Directory {
    credentials: RwLock<HashMap<[u8; 32], Arc<Credential>>>,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    tokens: HashMap<SessionId, [u8; 32]>,
    /// Entries whose session has ended by age at that time.
    due: BTreeSet<(Timestamp, SessionId)>,
}

impl Directory {
    /// Finds a credential: one hash and one look-up, whatever the number of streams.
    pub fn credential(&self, token: Commitment) -> Option<Arc<Credential>> {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).get(&token.0).cloned()
    }

    /// The credential of a session.
    pub fn of_session(&self, session: SessionId) -> Option<Arc<Credential>> {
        let token = *self.sessions().tokens.get(&session)?;
        self.credential(Commitment(token))
    }

    /// How many credentials are open.
    pub fn len(&self) -> usize {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in what durable events mean. `now` counts as the last use of credentials that are opened: a restart
    /// counts as seen.
    pub fn apply(&self, stream: StreamId, entries: &[DirectoryEntry], now: Timestamp) {
        if entries.is_empty() {
            return;
        }
        let mut sessions = self.sessions();
        let mut credentials = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            match entry {
                DirectoryEntry::CredentialOpened { token, session, opened_at } => {
                    let last_seen = AtomicI64::new(now.micros().max(opened_at.micros()));
                    let opened_micros = AtomicI64::new(opened_at.micros());
                    let credential =
                        Credential { stream, session: *session, opened_at: opened_micros, last_seen };
                    credentials.insert(token.0, Arc::new(credential));
                    sessions.tokens.insert(*session, token.0);
                    sessions.due.insert((opened_at.plus_seconds(SESSION_MAX_SECONDS), *session));
                }
                DirectoryEntry::CredentialClosed { session } => {
                    if let Some(token) = sessions.tokens.remove(session)
                        && let Some(credential) = credentials.remove(&token)
                    {
                        sessions.due.remove(&(credential.expires_at(), *session));
                    }
                }
            }
        }
    }

    /// When something is next due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.sessions().due.first().map(|(at, _)| *at)
    }

    /// Counts sessions that are dated after `now` as opened and used now, so that they end as all others do.
    ///
    /// There are such only after an operator vouched for a clock behind the log: the log's time then stands still, and
    /// whatever is opened is dated there. How long ago that was the log does not tell, so a restart counts anew.
    pub fn bring_back(&self, now: Timestamp) {
        let mut sessions = self.sessions();
        let latest = now.plus_seconds(SESSION_MAX_SECONDS);
        while let Some((at, session)) = sessions.due.last().copied().filter(|(at, _)| *at > latest) {
            sessions.due.remove(&(at, session));
            sessions.due.insert((latest, session));
            let token = sessions.tokens.get(&session).copied();
            if let Some(credential) = token.and_then(|token| self.credential(Commitment(token))) {
                credential.opened_at.fetch_min(now.micros(), Ordering::Relaxed);
                credential.last_seen.fetch_min(now.micros(), Ordering::Relaxed);
            }
        }
    }

    /// Drops the entries of sessions that have ended by age; returns how many.
    pub fn drop_ended(&self, now: Timestamp) -> usize {
        let mut sessions = self.sessions();
        let mut credentials = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        while let Some((at, session)) = sessions.due.first().copied() {
            if at > now {
                break;
            }
            sessions.due.remove(&(at, session));
            if let Some(token) = sessions.tokens.remove(&session) {
                credentials.remove(&token);
                dropped += 1;
            }
        }
        dropped
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Fresh;

    const START: Timestamp = Timestamp::EPOCH;

    fn opened(session: SessionId, token: u8) -> DirectoryEntry {
        DirectoryEntry::CredentialOpened { token: Commitment([token; 32]), session, opened_at: START }
    }

    #[test]
    fn a_closed_credential_is_not_found() {
        let directory = Directory::default();
        let session = Fresh.id();
        directory.apply(StreamId::Platform, &[opened(session, 1)], START);
        assert_eq!(directory.credential(Commitment([1; 32])).unwrap().session, session);
        directory.apply(StreamId::Platform, &[DirectoryEntry::CredentialClosed { session }], START);
        assert!(directory.credential(Commitment([1; 32])).is_none());
        assert_eq!(directory.next_due(), None);
    }

    #[test]
    fn ended_sessions_are_dropped_after_30_days_and_not_before() {
        let directory = Directory::default();
        directory.apply(StreamId::Platform, &[opened(Fresh.id(), 1)], START);
        let due = directory.next_due().unwrap();
        assert_eq!(directory.drop_ended(due.plus_seconds(-1)), 0);
        assert_eq!(directory.drop_ended(due), 1);
        assert!(directory.is_empty());
    }

    #[test]
    fn sessions_dated_in_the_future_end_as_if_they_were_opened_now() {
        let directory = Directory::default();
        let future = START.plus_seconds(1_000_000_000);
        directory.apply(StreamId::Platform, &[opened(Fresh.id(), 1)], START);
        let session = Fresh.id();
        let entry =
            DirectoryEntry::CredentialOpened { token: Commitment([2; 32]), session, opened_at: future };
        directory.apply(StreamId::Platform, &[entry], START);
        let now = START.plus_seconds(60);
        directory.bring_back(now);
        let credential = directory.credential(Commitment([2; 32])).unwrap();
        assert!(credential.is_alive(now.plus_seconds(SESSION_IDLE_SECONDS - 1)));
        assert!(!credential.is_alive(now.plus_seconds(SESSION_IDLE_SECONDS)));
        assert_eq!(credential.expires_at(), now.plus_seconds(SESSION_MAX_SECONDS));
        directory.bring_back(now.plus_seconds(60));
        assert_eq!(credential.expires_at(), now.plus_seconds(SESSION_MAX_SECONDS), "once");
        assert_eq!(directory.drop_ended(now.plus_seconds(SESSION_MAX_SECONDS)), 2);
        assert_eq!(directory.next_due(), None);
        // Closed, it leaves nothing behind.
        let entry =
            DirectoryEntry::CredentialOpened { token: Commitment([3; 32]), session, opened_at: future };
        directory.apply(StreamId::Platform, &[entry], START);
        directory.bring_back(now);
        directory.apply(StreamId::Platform, &[DirectoryEntry::CredentialClosed { session }], START);
        assert_eq!(directory.next_due(), None);
    }

    #[test]
    fn a_credential_dies_idle_or_old() {
        let directory = Directory::default();
        directory.apply(StreamId::Platform, &[opened(Fresh.id(), 1)], START);
        let credential = directory.credential(Commitment([1; 32])).unwrap();
        assert!(credential.is_alive(START.plus_seconds(SESSION_IDLE_SECONDS - 1)));
        assert!(!credential.is_alive(START.plus_seconds(SESSION_IDLE_SECONDS)));
        for hour in 1..=720 {
            credential.touch(START.plus_seconds(hour * 3600));
        }
        assert!(credential.is_alive(START.plus_seconds(SESSION_MAX_SECONDS - 1)));
        assert!(!credential.is_alive(START.plus_seconds(SESSION_MAX_SECONDS)));
    }
}
