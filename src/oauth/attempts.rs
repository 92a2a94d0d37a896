//! Who is at a provider to consent: each attempt by its state, good once, for ten minutes, and in the browser that began it.
//!
//! In memory alone: a restart, like an attempt that took too long, is told to begin again by the link, which is good still.
//! Anybody with a link can begin as often as they like, so it is what is their own that gives way: of a link the oldest, and
//! where there is no room for more, the oldest of the organization that has most. Nobody is ever refused.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::ids::{ConnectionId, StreamId};
use crate::seal::Commitment;
use crate::seal::token::PlainToken;
use crate::settings::connections::granting::CONSENT_SECONDS;
use crate::settings::connections::value::AppRef;

/// How many attempts are remembered, some 4 MiB of them.
const ATTEMPTS_MAX: usize = 10_000;
/// How many of them are by one link.
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

/// When an attempt ends, and how many were begun before it.
type Age = (Timestamp, u64);

#[derive(Default)]
struct Known {
    by_state: BTreeMap<Commitment, (Age, Attempt)>,
    /// Oldest first.
    by_age: BTreeMap<Age, Commitment>,
    by_link: Each<Commitment>,
    by_stream: Each<StreamId>,
    begun: u64,
}

/// The attempts of each link, or of each organization, oldest first.
struct Each<K>(BTreeMap<K, BTreeSet<Age>>);

impl<K> Default for Each<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Each<K> {
    fn add(&mut self, of: K, age: Age) {
        self.0.entry(of).or_default().insert(age);
    }

    fn remove(&mut self, of: K, age: Age) {
        if let Entry::Occupied(mut own) = self.0.entry(of) {
            own.get_mut().remove(&age);
            if own.get().is_empty() {
                own.remove();
            }
        }
    }

    /// The oldest one of a link that has as many as it can.
    fn oldest_of(&self, of: &K, max: usize) -> Option<Age> {
        self.0.get(of).filter(|own| own.len() >= max)?.first().copied()
    }

    /// The oldest one of whoever has most.
    fn oldest_of_most(&self) -> Option<Age> {
        self.0.values().max_by_key(|own| own.len())?.first().copied()
    }
}

impl Known {
    fn remove(&mut self, state: Commitment) -> Option<(Age, Attempt)> {
        let (age, attempt) = self.by_state.remove(&state)?;
        self.by_age.remove(&age);
        self.by_link.remove(attempt.link, age);
        self.by_stream.remove(attempt.stream, age);
        Some((age, attempt))
    }

    fn give_way(&mut self, age: Option<Age>) {
        if let Some(state) = age.and_then(|age| self.by_age.get(&age).copied()) {
            self.remove(state);
        }
    }
}

impl Attempts {
    /// Begins one; the state that the provider is to hand back.
    pub fn begin(&self, attempt: Attempt, now: Timestamp) -> PlainToken {
        let state = PlainToken::draw();
        let mut known = self.known();
        while let Some((age, _)) = known.by_age.first_key_value().filter(|((ends_at, _), _)| *ends_at <= now)
        {
            let age = *age;
            known.give_way(Some(age));
        }
        let of_link = known.by_link.oldest_of(&attempt.link, OF_LINK_MAX);
        known.give_way(of_link);
        if known.by_state.len() >= ATTEMPTS_MAX {
            let of_most = known.by_stream.oldest_of_most();
            known.give_way(of_most);
        }
        let age = (now.plus_seconds(CONSENT_SECONDS), known.begun);
        known.begun += 1;
        known.by_age.insert(age, state.hash());
        known.by_link.add(attempt.link, age);
        known.by_stream.add(attempt.stream, age);
        known.by_state.insert(state.hash(), (age, attempt));
        state
    }

    /// The attempt of a state, which is good for nothing from here on, whatever comes of it.
    pub fn take(&self, state: &str, now: Timestamp) -> Option<Attempt> {
        let ((ends_at, _), attempt) = self.known().remove(PlainToken::presented(state).hash())?;
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

    /// An attempt of an organization by one of its links.
    fn attempt(organization: u128, link: usize) -> Attempt {
        let mut token = [0; 32];
        token[..16].copy_from_slice(&organization.to_be_bytes());
        token[16..24].copy_from_slice(&link.to_be_bytes());
        Attempt {
            stream: StreamId::Organization(id(organization)),
            connection: id(1),
            app: AppRef::Own(id(1)),
            credentials_version: Some(1),
            link: Commitment(token),
            browser: Commitment([2; 32]),
            verifier: Some(Zeroizing::new("verifier".to_owned())),
        }
    }

    #[test]
    fn a_state_is_good_once_and_for_a_while() {
        let attempts = Attempts::default();
        let state = attempts.begin(attempt(1, 1), now());
        assert!(attempts.take("another", now()).is_none());
        let late = now().plus_seconds(CONSENT_SECONDS);
        assert!(attempts.take(state.expose(), late.plus_seconds(-1)).is_some());
        assert!(attempts.take(state.expose(), now()).is_none(), "it was used");
        let state = attempts.begin(attempt(1, 1), now());
        assert!(attempts.take(state.expose(), late).is_none(), "it has ended");
        assert!(attempts.take(state.expose(), now()).is_none(), "and was used with that");
    }

    #[test]
    fn a_link_is_in_no_others_way() {
        let attempts = Attempts::default();
        let other = attempts.begin(attempt(1, 2), now());
        let own: Vec<_> = (0..=OF_LINK_MAX).map(|_| attempts.begin(attempt(1, 1), now())).collect();
        assert!(attempts.take(own[0].expose(), now()).is_none(), "the oldest of the link gave way");
        for state in own[1..].iter().chain([&other]) {
            assert!(attempts.take(state.expose(), now()).is_some());
        }
        let known = attempts.known();
        assert!(known.by_link.0.is_empty() && known.by_stream.0.is_empty() && known.by_age.is_empty());
    }

    #[test]
    fn an_organization_is_in_no_others_way_however_many_links_it_has() {
        let attempts = Attempts::default();
        let begin = |organization, link| attempts.begin(attempt(organization, link), now());
        let others: Vec<_> = (0..3).map(|link| begin(2, link)).collect();
        let greedy: Vec<_> = (0..ATTEMPTS_MAX + 100).map(|link| begin(1, link)).collect();
        let late = begin(3, 1);
        assert_eq!(attempts.known().by_state.len(), ATTEMPTS_MAX);
        for state in others.iter().chain([&late, &greedy[ATTEMPTS_MAX]]) {
            assert!(attempts.take(state.expose(), now()).is_some());
        }
        assert!(attempts.take(greedy[0].expose(), now()).is_none(), "its own oldest gave way");
    }

    #[test]
    fn what_has_ended_makes_room() {
        let attempts = Attempts::default();
        for link in 0..3 {
            attempts.begin(attempt(1, link), now());
        }
        attempts.begin(attempt(2, 1), now().plus_seconds(CONSENT_SECONDS));
        assert_eq!(attempts.known().by_state.len(), 1);
    }
}
