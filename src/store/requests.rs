//! Idempotency keys of the last 24 hours, as a fold: which request a command's first event came from, and where
//! its answer is to be rendered again. No answer is stored.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::event::{Recorded, Version};

/// How long a key is kept, in seconds.
pub const REQUEST_KEPT_SECONDS: i64 = DAY_SECONDS;
/// The most keys of one organization at a time; beyond it a request with a key is 503.
pub const REQUESTS_MAX: usize = 100_000;

/// The idempotency keys of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Requests {
    by_key: RedBlackTreeMapSync<String, Request>,
    by_age: RedBlackTreeMapSync<(Timestamp, Version), String>,
}

/// A request that appended events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// HMAC of the body.
    pub body: String,
    /// The answer's status.
    pub status: u16,
    /// The version of the command's first event.
    pub first: Version,
    /// The version of its last event: the answer is rendered as of it.
    pub last: Version,
    /// When.
    pub at: Timestamp,
}

impl Requests {
    /// The request with this key's HMAC, if it is not older than a day.
    pub fn get(&self, key: &str, now: Timestamp) -> Option<&Request> {
        self.by_key.get(key).filter(|request| now.seconds_since(request.at) < REQUEST_KEPT_SECONDS)
    }

    /// Whether another key can be kept.
    pub fn has_room(&self, now: Timestamp) -> bool {
        let oldest_is_due =
            || self.by_age.first().is_some_and(|((at, _), _)| now.seconds_since(*at) >= REQUEST_KEPT_SECONDS);
        self.by_key.size() < REQUESTS_MAX || oldest_is_due()
    }

    fn drop_old(&mut self, now: Timestamp) {
        while let Some((age, key)) = self.by_age.first().map(|(age, key)| (*age, key.clone())) {
            if now.seconds_since(age.0) < REQUEST_KEPT_SECONDS {
                break;
            }
            self.by_age.remove_mut(&age);
            // The key may have been used again since, for a younger request.
            if self.by_key.get(&key).is_some_and(|request| request.first == age.1) {
                self.by_key.remove_mut(&key);
            }
        }
    }
}

impl Fold for Requests {
    const NAME: &'static str = "requests";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Some(mark) = &recorded.request else { return };
        self.drop_old(recorded.at);
        let request = Request {
            body: mark.body.clone(),
            status: mark.status,
            first: recorded.version,
            last: recorded.version + mark.events.saturating_sub(1),
            at: recorded.at,
        };
        self.by_age.insert_mut((recorded.at, recorded.version), mark.key.clone());
        self.by_key.insert_mut(mark.key.clone(), request);
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.by_key.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Refused, RefusedData, RequestMark};
    use crate::given::{id, now, person, recorded};
    use crate::ids::StreamId;

    fn take(state: &mut Requests, version: Version, at: Timestamp, key: &str, events: u64) {
        let refused = Refused { action: "config.set".to_owned(), data: RefusedData::default() };
        let stream = StreamId::Organization(id(1));
        let mark = RequestMark { key: key.to_owned(), body: "body".to_owned(), status: 201, events };
        state.apply(&Recorded {
            request: Some(mark),
            ..recorded(stream, version, at, person(id(1)), Event::Refused(refused))
        });
    }

    #[test]
    fn a_key_is_known_for_a_day() {
        let mut state = Requests::default();
        take(&mut state, 5, now(), "key", 3);
        let request = state.get("key", now()).unwrap();
        assert_eq!((request.first, request.last, request.status), (5, 7, 201));
        assert!(state.get("key", now().plus_seconds(REQUEST_KEPT_SECONDS - 1)).is_some());
        assert!(state.get("key", now().plus_seconds(REQUEST_KEPT_SECONDS)).is_none());
        assert!(state.get("other", now()).is_none());
    }

    #[test]
    fn old_keys_leave_with_the_next_and_a_key_used_again_stays() {
        let mut state = Requests::default();
        take(&mut state, 1, now(), "old", 1);
        take(&mut state, 2, now(), "again", 1);
        let next_day = now().plus_seconds(REQUEST_KEPT_SECONDS);
        take(&mut state, 3, next_day, "again", 1);
        assert_eq!((state.by_key.size(), state.by_age.size()), (1, 1));
        assert_eq!(state.get("again", next_day).unwrap().first, 3);
    }

    #[test]
    fn there_is_room_for_so_many_keys_until_the_oldest_is_a_day_old() {
        let mut state = Requests::default();
        for version in 1..=REQUESTS_MAX as u64 {
            assert!(state.has_room(now()));
            take(&mut state, version, now(), &version.to_string(), 1);
        }
        assert!(!state.has_room(now()));
        assert!(state.has_room(now().plus_seconds(REQUEST_KEPT_SECONDS)));
    }
}
