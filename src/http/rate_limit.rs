//! How often an API key may be used, and how often people may do what takes no permission: a window of its own for each key
//! that has a limit, and for each person, in memory. A window begins with its first request and ends after its seconds; a
//! restart of the server begins all anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::actor::ActorId;
use crate::http::problem::Problem;
use crate::settings::api_keys::value::RateLimit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Windows that have ended are dropped when there are twice as many windows as the last time, and at least so many.
const SWEPT_AT_LEAST: usize = 1_024;

/// How often somebody may change their own name, or go to another organization: each leaves events in a stream, and takes no
/// permission that could be taken from them.
pub const OWN_CHANGES: RateLimit = RateLimit { requests: 120, window_seconds: 60 };

/// The windows of all keys that have a limit, and of people.
#[derive(Default)]
pub struct RateLimits(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    by_actor: HashMap<ActorId, Window>,
    kept_at_last_sweep: usize,
}

#[derive(Clone, Copy)]
struct Window {
    limit: RateLimit,
    /// By the time since the machine was started, which never jumps.
    ends_at: Duration,
    requests: u32,
}

/// Where a request stands in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    limit: RateLimit,
    /// How many further requests the window allows; `None` where this one was too many.
    left: Option<u32>,
    /// Whole seconds until the window ends, rounded up.
    ends_in_seconds: u64,
}

impl RateLimits {
    /// Counts a request, unless it is too many. `now` is the time since the machine was started.
    pub fn count(&self, actor: ActorId, limit: RateLimit, now: Duration) -> Rate {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.sweep(now);
        let begun = Window {
            limit,
            ends_at: now + Duration::from_secs(u64::from(limit.window_seconds)),
            requests: 0,
        };
        let window = windows.by_actor.entry(actor).or_insert(begun);
        // A limit that was changed begins a window of its own.
        if window.ends_at <= now || window.limit != limit {
            *window = begun;
        }
        let left = limit.requests.checked_sub(window.requests + 1);
        window.requests += u32::from(left.is_some());
        let ends_in = window.ends_at.saturating_sub(now);
        Rate { limit, left, ends_in_seconds: ends_in.as_secs() + u64::from(ends_in.subsec_nanos() > 0) }
    }
}

impl Windows {
    fn sweep(&mut self, now: Duration) {
        if self.by_actor.len() >= SWEPT_AT_LEAST.max(2 * self.kept_at_last_sweep) {
            self.by_actor.retain(|_, window| window.ends_at > now);
            self.kept_at_last_sweep = self.by_actor.len();
        }
    }
}

impl Rate {
    /// Whether the request is within the limit.
    ///
    /// # Errors
    /// 429 with the seconds until the window ends.
    pub fn check(&self) -> Result<(), Problem> {
        match self.left {
            Some(_) => Ok(()),
            None => Err(Problem::too_many_requests(self.ends_in_seconds)),
        }
    }

    /// Says it in the headers of the answer (draft-ietf-httpapi-ratelimit-headers).
    pub fn add_to(&self, headers: &mut HeaderMap) {
        let RateLimit { requests, window_seconds } = self.limit;
        let policy = format!("\"key\";q={requests};w={window_seconds}");
        let limit = format!("\"key\";r={};t={}", self.left.unwrap_or(0), self.ends_in_seconds);
        for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    const TWO_A_MINUTE: RateLimit = RateLimit { requests: 2, window_seconds: 60 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(1_000_000 + millis)
    }

    fn left(limits: &RateLimits, key: u128, millis: u64) -> (Option<u32>, u64) {
        let rate = limits.count(ActorId::ApiKey(id(key)), TWO_A_MINUTE, at(millis));
        (rate.left, rate.ends_in_seconds)
    }

    #[test]
    fn so_many_requests_of_a_window_are_allowed_and_the_next_window_allows_them_again() {
        let limits = RateLimits::default();
        assert_eq!(left(&limits, 1, 0), (Some(1), 60));
        assert_eq!(left(&limits, 1, 500), (Some(0), 60));
        assert_eq!(left(&limits, 1, 1_000), (None, 59));
        assert_eq!(left(&limits, 1, 59_999), (None, 1));
        assert_eq!(left(&limits, 2, 59_999), (Some(1), 60), "each key has its own");
        assert_eq!(left(&limits, 1, 60_000), (Some(1), 60));
    }

    #[test]
    fn a_changed_limit_begins_a_window() {
        let limits = RateLimits::default();
        left(&limits, 1, 0);
        let other = RateLimit { requests: 1, window_seconds: 10 };
        let rate = limits.count(ActorId::ApiKey(id(1)), other, at(0));
        assert_eq!((rate.left, rate.ends_in_seconds), (Some(0), 10));
        assert_eq!(limits.count(ActorId::ApiKey(id(1)), other, at(1)).left, None);
    }

    #[test]
    fn ended_windows_are_dropped() {
        let limits = RateLimits::default();
        for key in 0..SWEPT_AT_LEAST as u128 {
            left(&limits, key, 0);
        }
        left(&limits, 0, 60_000);
        assert_eq!(limits.0.lock().unwrap().by_actor.len(), 1);
    }

    #[test]
    fn an_answer_says_where_the_key_stands() {
        let mut headers = HeaderMap::new();
        let rate = RateLimits::default().count(ActorId::ApiKey(id(1)), TWO_A_MINUTE, at(0));
        rate.add_to(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=2;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=1;t=60");
        assert!(rate.check().is_ok());
    }
}
