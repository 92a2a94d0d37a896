//! Who is at a provider to consent: each attempt by its state, good once, for ten minutes, and in the browser that began it.
//!
//! In memory alone: a restart, like an attempt that took too long, is told to begin again by the link, which is good still.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::ids::{ConnectionId, StreamId};
use crate::seal::Commitment;
use crate::seal::token::PlainToken;
use crate::settings::connections::granting::CONSENT_SECONDS;
use crate::settings::connections::value::AppRef;

/// How many attempts are remembered; the oldest gives way.
const ATTEMPTS_MAX: usize = 10_000;

/// Somebody at a provider.
pub struct Attempt {
    /// Whose connection it is.
    pub stream: StreamId,
    /// The connection.
    pub connection: ConnectionId,
    /// As whom they were sent there.
    pub app: AppRef,
    /// The number that the app's credentials had then, of an app of the organization's.
    pub credentials_version: Option<u64>,
    /// The link that they came by.
    pub link: Commitment,
    /// SHA-256 of what their browser was given.
    pub browser: Commitment,
    /// The verifier of PKCE, where it is sent.
    pub verifier: Option<Zeroizing<String>>,
}

/// All of them.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    by_state: BTreeMap<Commitment, (Timestamp, Attempt)>,
    /// Oldest first.
    by_age: BTreeMap<(Timestamp, Commitment), ()>,
}

impl Known {
    fn remove(&mut self, state: Commitment) -> Option<(Timestamp, Attempt)> {
        let found = self.by_state.remove(&state)?;
        self.by_age.remove(&(found.0, state));
        Some(found)
    }
}

impl Attempts {
    /// Begins one; the state that the provider is to hand back.
    pub fn begin(&self, attempt: Attempt, now: Timestamp) -> PlainToken {
        let state = PlainToken::draw();
        let mut known = self.known();
        while known.by_state.len() >= ATTEMPTS_MAX {
            let Some((_, oldest)) = known.by_age.keys().next().copied() else { break };
            known.remove(oldest);
        }
        let ends_at = now.plus_seconds(CONSENT_SECONDS);
        known.by_age.insert((ends_at, state.hash()), ());
        known.by_state.insert(state.hash(), (ends_at, attempt));
        state
    }

    /// The attempt of a state, which is good for nothing from here on, whatever comes of it.
    pub fn take(&self, state: &str, now: Timestamp) -> Option<Attempt> {
        let (ends_at, attempt) = self.known().remove(PlainToken::presented(state).hash())?;
        (now < ends_at).then_some(attempt)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    fn attempt(number: u128) -> Attempt {
        Attempt {
            stream: StreamId::Platform,
            connection: id(number),
            app: AppRef::Own(id(1)),
            credentials_version: Some(1),
            link: Commitment([1; 32]),
            browser: Commitment([2; 32]),
            verifier: Some(Zeroizing::new("verifier".to_owned())),
        }
    }

    #[test]
    fn a_state_is_good_once_and_for_a_while() {
        let attempts = Attempts::default();
        let state = attempts.begin(attempt(1), now());
        assert!(attempts.take("another", now()).is_none());
        let late = now().plus_seconds(CONSENT_SECONDS);
        assert_eq!(attempts.take(state.expose(), late.plus_seconds(-1)).unwrap().connection, id(1));
        assert!(attempts.take(state.expose(), now()).is_none(), "it was used");
        let state = attempts.begin(attempt(1), now());
        assert!(attempts.take(state.expose(), late).is_none(), "it has ended");
        assert!(attempts.take(state.expose(), now()).is_none(), "and was used with that");
    }

    #[test]
    fn the_oldest_gives_way() {
        let attempts = Attempts::default();
        let first = attempts.begin(attempt(1), now());
        let second = attempts.begin(attempt(2), now().plus_seconds(1));
        for _ in 0..ATTEMPTS_MAX - 1 {
            attempts.begin(attempt(3), now().plus_seconds(2));
        }
        assert!(attempts.take(first.expose(), now()).is_none());
        assert!(attempts.take(second.expose(), now()).is_some());
    }
}
