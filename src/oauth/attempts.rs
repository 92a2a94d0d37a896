//! Who is at a provider to consent: each attempt by its state, good once, for ten minutes, and in the browser that began it.
//!
//! In memory alone: a restart, like an attempt that took too long, is told to begin again by the link, which is good still.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::ids::{ConnectionId, StreamId};
use crate::seal::Commitment;
use crate::seal::token::PlainToken;
use crate::settings::connections::granting::CONSENT_SECONDS;
use crate::settings::connections::value::AppRef;

/// How many attempts are remembered; where there are so many, nobody begins another.
const ATTEMPTS_MAX: usize = 10_000;
/// How many of them are by one link; the oldest of it gives way, so that nobody is in another's.
const OF_LINK_MAX: usize = 5;

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
    by_age: BTreeSet<(Timestamp, Commitment)>,
    /// Each link's, oldest first.
    by_link: BTreeMap<Commitment, VecDeque<Commitment>>,
}

/// There are as many attempts as there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many people are at providers")]
pub struct TooMany;

impl Known {
    fn remove(&mut self, state: Commitment) -> Option<(Timestamp, Attempt)> {
        let found = self.by_state.remove(&state)?;
        self.by_age.remove(&(found.0, state));
        if let Entry::Occupied(mut of_link) = self.by_link.entry(found.1.link) {
            of_link.get_mut().retain(|other| *other != state);
            if of_link.get().is_empty() {
                of_link.remove();
            }
        }
        Some(found)
    }
}

impl Attempts {
    /// Begins one; the state that the provider is to hand back.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn begin(&self, attempt: Attempt, now: Timestamp) -> Result<PlainToken, TooMany> {
        let state = PlainToken::draw();
        let mut known = self.known();
        while let Some((_, ended)) = known.by_age.first().copied().filter(|(ends_at, _)| *ends_at <= now) {
            known.remove(ended);
        }
        let of_link = known.by_link.get(&attempt.link).filter(|of_link| of_link.len() >= OF_LINK_MAX);
        if let Some(oldest) = of_link.and_then(|of_link| of_link.front().copied()) {
            known.remove(oldest);
        }
        if known.by_state.len() >= ATTEMPTS_MAX {
            return Err(TooMany);
        }
        let ends_at = now.plus_seconds(CONSENT_SECONDS);
        known.by_age.insert((ends_at, state.hash()));
        known.by_link.entry(attempt.link).or_default().push_back(state.hash());
        known.by_state.insert(state.hash(), (ends_at, attempt));
        Ok(state)
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
            link: Commitment([u8::try_from(number % 251).unwrap(); 32]),
            browser: Commitment([2; 32]),
            verifier: Some(Zeroizing::new("verifier".to_owned())),
        }
    }

    #[test]
    fn a_state_is_good_once_and_for_a_while() {
        let attempts = Attempts::default();
        let state = attempts.begin(attempt(1), now()).unwrap();
        assert!(attempts.take("another", now()).is_none());
        let late = now().plus_seconds(CONSENT_SECONDS);
        assert_eq!(attempts.take(state.expose(), late.plus_seconds(-1)).unwrap().connection, id(1));
        assert!(attempts.take(state.expose(), now()).is_none(), "it was used");
        let state = attempts.begin(attempt(1), now()).unwrap();
        assert!(attempts.take(state.expose(), late).is_none(), "it has ended");
        assert!(attempts.take(state.expose(), now()).is_none(), "and was used with that");
    }

    #[test]
    fn a_link_is_in_no_others_way() {
        let attempts = Attempts::default();
        let other = attempts.begin(attempt(2), now()).unwrap();
        let own: Vec<_> = (0..=OF_LINK_MAX).map(|_| attempts.begin(attempt(1), now()).unwrap()).collect();
        assert!(attempts.take(own[0].expose(), now()).is_none(), "the oldest of the link gave way");
        for state in own[1..].iter().chain([&other]) {
            assert!(attempts.take(state.expose(), now()).is_some());
        }
        assert!(attempts.known().by_link.is_empty() && attempts.known().by_age.is_empty());
    }

    #[test]
    fn there_are_so_many_until_some_have_ended() {
        let attempts = Attempts::default();
        let mut link = [0; 32];
        for number in 0..ATTEMPTS_MAX {
            link[..8].copy_from_slice(&number.to_be_bytes());
            attempts.begin(Attempt { link: Commitment(link), ..attempt(1) }, now()).unwrap();
        }
        assert_eq!(attempts.begin(attempt(3), now()).err(), Some(TooMany));
        let later = now().plus_seconds(CONSENT_SECONDS);
        assert!(attempts.begin(attempt(3), later).is_ok());
        assert_eq!(attempts.known().by_state.len(), 1, "those that had ended are gone");
    }
}
