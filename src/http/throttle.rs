//! How often one may try to log in. Nobody is ever locked out: the longest wait is five minutes.
//!
//! What is counted is the pair of a typed address and the client's network: the few who share an office do
//! not slow each other, and a stranger who tries my address from elsewhere does not slow me. So that neither
//! many addresses from one network nor many networks against one address go unnoticed, each side is also
//! counted alone, with a hundred free attempts (NIST SP 800-63B §5.2.2 allows as many for one account).
//!
//! Who logged in to an address from a network within the last 30 days, or set its password there by a mailed link, is taken
//! for its owner there: only what comes from that network counts against them, so strangers elsewhere, however many, cannot
//! keep them out. What the network tries at other addresses does count: else a neighbour could tell an address that is exempt
//! from one that is nobody's. A restart of the server forgets it.

use std::collections::HashMap;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::Sha256;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::http::client::network;

/// Attempts of one address from one network before the first wait.
const FREE_PAIR: u32 = 5;
/// Attempts of one address from anywhere, and of any address from one network, before the first wait.
const FREE_SIDE: u32 = 100;
/// The longest wait, in seconds.
const LONGEST_WAIT: i64 = 300;
/// After so many seconds without an attempt a count is forgotten.
const MEMORY: i64 = 3600;
/// For so many seconds after its last login a pair is taken for its owner's.
const KNOWN: i64 = 30 * 24 * 3600;
/// The most counts kept, and the most pairs that logged in.
const CAPACITY: usize = 100_000;

/// Too many attempts: try again after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next may come in {retry_after_seconds} s")]
pub struct Throttled {
    /// Whole seconds, rounded up, at least 1.
    pub retry_after_seconds: u64,
}

/// Counts attempts to log in.
pub struct Throttle {
    /// A key of this process: the counts say nothing about addresses, and nobody can aim for a collision.
    key: [u8; 32],
    counts: Mutex<Counts>,
}

impl Throttle {
    /// A throttle that has counted nothing.
    pub fn new() -> Self {
        let mut key = [0; 32];
        SysRng.try_fill_bytes(&mut key).expect("the operating system has randomness once it has started");
        Self { key, counts: Mutex::new(Counts::default()) }
    }

    /// Counts one attempt, before its password is looked at: of many at once, none gets ahead of the count.
    ///
    /// `address` is the e-mail address as typed, case-folded by the caller, known or not.
    ///
    /// # Errors
    /// [`Throttled`]; such an attempt is not counted, so it lengthens no wait.
    pub fn attempt(&self, address: &str, client: Option<IpAddr>, now: Timestamp) -> Result<(), Throttled> {
        let keys = self.keys(address, client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let [pair, by_address, by_network] = keys;
        let elsewhere = (!counts.is_known(&pair.0, now)).then_some(by_address);
        let held_against = [Some(pair), Some(by_network), elsewhere];
        let wait = held_against
            .iter()
            .flatten()
            .map(|(key, free)| counts.wait_micros(key, *free, now))
            .max()
            .unwrap_or(0);
        if wait > 0 {
            let seconds = u64::try_from(wait).unwrap_or(0).div_ceil(1_000_000);
            return Err(Throttled { retry_after_seconds: seconds });
        }
        for (key, _) in keys {
            counts.add(key, now);
        }
        Ok(())
    }

    /// The attempt was right: the address begins anew, here and from this network, which is known from now on.
    pub fn succeeded(&self, address: &str, client: Option<IpAddr>, now: Timestamp) {
        self.proven(address, client, now);
        let [_, _, (by_network, _)] = self.keys(address, client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Not a reset: else one account of one's own would buy a hundred more guesses at others.
        counts.take_back(&by_network);
    }

    /// The address was proven to be the client's without an attempt, by a mailed link: it begins anew, here and from this
    /// network, which is known from now on.
    pub fn proven(&self, address: &str, client: Option<IpAddr>, now: Timestamp) {
        let [(pair, _), (by_address, _), _] = self.keys(address, client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.attempts.remove(&pair);
        counts.attempts.remove(&by_address);
        counts.known.insert(pair, now);
    }

    /// The attempt was never looked at (the server was too busy): it does not count.
    pub fn withdrawn(&self, address: &str, client: Option<IpAddr>) {
        let keys = self.keys(address, client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in keys {
            counts.take_back(&key);
        }
    }

    fn keys(&self, address: &str, client: Option<IpAddr>) -> [(Key, u32); 3] {
        let network = client.map_or(String::new(), |client| network(client).to_string());
        [
            (self.digest(b"pair", address, &network), FREE_PAIR),
            (self.digest(b"address", address, ""), FREE_SIDE),
            (self.digest(b"network", "", &network), FREE_SIDE),
        ]
    }

    fn digest(&self, kind: &[u8], address: &str, network: &str) -> Key {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        for part in [kind, network.as_bytes(), address.as_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        let full = mac.finalize().into_bytes();
        let mut key = [0; 16];
        key.copy_from_slice(&full[..16]);
        key
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

type Key = [u8; 16];

#[derive(Clone, Copy)]
struct Count {
    attempts: u32,
    last: Timestamp,
}

#[derive(Default)]
struct Counts {
    attempts: Bounded<Count>,
    /// When a pair logged in last.
    known: Bounded<Timestamp>,
}

impl Counts {
    fn get(&self, key: &Key, now: Timestamp) -> Option<Count> {
        self.attempts.get(key).filter(|count| now.seconds_since(count.last) < MEMORY)
    }

    fn is_known(&self, pair: &Key, now: Timestamp) -> bool {
        self.known.get(pair).is_some_and(|last| now.seconds_since(last) < KNOWN)
    }

    fn wait_micros(&self, key: &Key, free: u32, now: Timestamp) -> i64 {
        let Some(count) = self.get(key, now) else { return 0 };
        if count.attempts < free {
            return 0;
        }
        let doubled = 1_i64.checked_shl(count.attempts - free + 1).unwrap_or(LONGEST_WAIT);
        let wait = if (1..LONGEST_WAIT).contains(&doubled) { doubled } else { LONGEST_WAIT };
        // A clock that was set back must not make the wait longer than it is.
        (count.last.plus_seconds(wait).micros() - now.micros()).clamp(0, wait * 1_000_000)
    }

    fn add(&mut self, key: Key, now: Timestamp) {
        let attempts = self.get(&key, now).map_or(0, |count| count.attempts).saturating_add(1);
        self.attempts.insert(key, Count { attempts, last: now });
    }

    fn take_back(&mut self, key: &Key) {
        self.attempts.change(key, |count| count.attempts = count.attempts.saturating_sub(1));
    }
}

/// Two generations: when the young one is full it becomes the old one, whose entries are gone unless they
/// were touched since. So memory is bounded without an order to keep, and only floods make it forget.
struct Bounded<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
}

impl<V: Copy> Bounded<V> {
    fn get(&self, key: &Key) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn insert(&mut self, key: Key, value: V) {
        if self.young.len() >= CAPACITY / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn change(&mut self, key: &Key, change: impl Fn(&mut V)) {
        [&mut self.young, &mut self.old].into_iter().filter_map(|kept| kept.get_mut(key)).for_each(change);
    }
}

impl<V> Default for Bounded<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(START + seconds * 1_000_000)
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect("an address"))
    }

    fn wait(result: Result<(), Throttled>) -> u64 {
        result.map_or_else(|throttled| throttled.retry_after_seconds, |()| 0)
    }

    fn exhausted() -> Throttle {
        let throttle = Throttle::new();
        for _ in 0..5 {
            assert_eq!(throttle.attempt("a@example.com", from("192.0.2.1"), at(0)), Ok(()));
        }
        throttle
    }

    #[test]
    fn five_are_free_then_each_wait_doubles_up_to_five_minutes() {
        let throttle = exhausted();
        let mut now = 0;
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(now))), expected);
            now += i64::try_from(expected).expect("small");
            assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(now))), 0);
        }
    }

    #[test]
    fn a_refused_attempt_lengthens_no_wait() {
        let throttle = exhausted();
        for _ in 0..1000 {
            assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(1))), 1);
        }
        assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(2))), 0);
    }

    #[test]
    fn neither_another_address_nor_another_network_is_slowed() {
        let throttle = exhausted();
        assert_eq!(wait(throttle.attempt("b@example.com", from("192.0.2.1"), at(0))), 0);
        assert_eq!(wait(throttle.attempt("a@example.com", from("198.51.100.1"), at(0))), 0);
    }

    #[test]
    fn neighbours_in_the_network_count_as_one() {
        let throttle = exhausted();
        assert_ne!(wait(throttle.attempt("a@example.com", from("192.0.2.77"), at(0))), 0);
        assert_ne!(wait(throttle.attempt("a@example.com", from("::ffff:192.0.2.77"), at(0))), 0);
        let throttle = Throttle::new();
        for host in 0..5 {
            assert_eq!(wait(throttle.attempt("a", from(&format!("2001:db8::{host}:1")), at(0))), 0);
        }
        assert_ne!(wait(throttle.attempt("a", from("2001:db8::ffff:ffff:ffff:ffff"), at(0))), 0);
        assert_eq!(wait(throttle.attempt("a", from("2001:db8:0:1::1"), at(0))), 0);
    }

    #[test]
    fn success_resets_the_address() {
        let throttle = exhausted();
        throttle.succeeded("a@example.com", from("192.0.2.1"), at(0));
        for _ in 0..5 {
            assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(0))), 0);
        }
    }

    #[test]
    fn guessing_at_many_addresses_from_one_network_is_slowed() {
        let throttle = Throttle::new();
        for n in 0..100 {
            assert_eq!(wait(throttle.attempt(&format!("{n}"), from("192.0.2.1"), at(0))), 0);
            if throttle.attempt("mine", from("192.0.2.1"), at(0)).is_ok() {
                throttle.succeeded("mine", from("192.0.2.1"), at(0));
            }
        }
        assert_ne!(wait(throttle.attempt("another", from("192.0.2.1"), at(0))), 0);
    }

    #[test]
    fn guessing_at_one_address_from_many_networks_is_slowed() {
        let throttle = Throttle::new();
        for n in 0..100 {
            assert_eq!(wait(throttle.attempt("a", from(&format!("10.0.{n}.1")), at(0))), 0);
        }
        assert_ne!(wait(throttle.attempt("a", from("192.0.2.1"), at(0))), 0);
    }

    #[test]
    fn strangers_who_poll_an_address_do_not_keep_its_owner_out() {
        let throttle = Throttle::new();
        let (office, home) = (from("198.51.100.7"), from("203.0.113.9"));
        let day = 24 * 3600;
        throttle.attempt("ada", office, at(0)).expect("the first is free");
        throttle.succeeded("ada", office, at(0));
        // From a hundred networks, again and again, for as long as they like.
        for n in 0..150 {
            throttle.attempt("ada", from(&format!("10.0.{n}.1")), at(29 * day)).ok();
        }
        assert_ne!(wait(throttle.attempt("ada", home, at(29 * day))), 0, "nothing is known of that network");
        assert_eq!(wait(throttle.attempt("ada", office, at(29 * day))), 0);
        // What comes from there counts as ever.
        for _ in 0..4 {
            throttle.attempt("ada", office, at(29 * day)).expect("five are free");
        }
        assert_ne!(wait(throttle.attempt("ada", office, at(29 * day))), 0);
        // What the network tries at others is held against all there alike, so none stands out as somebody's.
        let neighbours = Throttle::new();
        neighbours.attempt("ada", office, at(0)).expect("the first is free");
        neighbours.succeeded("ada", office, at(0));
        for n in 0..100 {
            neighbours.attempt(&format!("nobody-{n}"), office, at(1)).ok();
        }
        assert_ne!(wait(neighbours.attempt("ada", office, at(1))), 0);
        assert_ne!(wait(neighbours.attempt("nobody", office, at(1))), 0);
        // Nor is the network known for any other address.
        assert_eq!(wait(throttle.attempt("bob", office, at(29 * day))), 0);
        for n in 0..150 {
            throttle.attempt("bob", from(&format!("10.1.{n}.1")), at(29 * day)).ok();
        }
        assert_ne!(wait(throttle.attempt("bob", office, at(29 * day))), 0);
    }

    #[test]
    fn a_mailed_link_lets_its_owner_in_from_a_new_network_in_the_midst_of_an_attack() {
        let throttle = Throttle::new();
        let home = from("203.0.113.9");
        let attack = || {
            for n in 0..150 {
                throttle.attempt("ada", from(&format!("10.0.{n}.1")), at(0)).ok();
            }
        };
        attack();
        assert_ne!(wait(throttle.attempt("ada", home, at(0))), 0);
        throttle.proven("ada", home, at(0));
        attack();
        for _ in 0..5 {
            assert_eq!(wait(throttle.attempt("ada", home, at(0))), 0);
        }
        assert_ne!(wait(throttle.attempt("ada", home, at(0))), 0, "five are free there, too");
        assert_ne!(
            wait(throttle.attempt("ada", from("198.51.100.7"), at(0))),
            0,
            "no other network is known"
        );
    }

    #[test]
    fn a_network_is_known_for_thirty_days() {
        let throttle = Throttle::new();
        throttle.succeeded("ada", from("198.51.100.7"), at(0));
        for n in 0..150 {
            throttle.attempt("ada", from(&format!("10.0.{n}.1")), at(KNOWN)).ok();
        }
        assert_ne!(wait(throttle.attempt("ada", from("198.51.100.7"), at(KNOWN))), 0);
    }

    #[test]
    fn an_hour_of_peace_forgets() {
        let throttle = exhausted();
        for _ in 0..5 {
            assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(3600))), 0);
        }
    }

    #[test]
    fn a_clock_set_back_makes_no_wait_longer() {
        let throttle = exhausted();
        assert_eq!(wait(throttle.attempt("a@example.com", from("192.0.2.1"), at(-86_400))), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::new();
        for n in 0..60_000_u32 {
            let client = IpAddr::from((n << 8).to_be_bytes());
            throttle.attempt(&n.to_string(), Some(client), at(0)).ok();
        }
        let counts = throttle.counts.lock().expect("no panic");
        let kept = counts.attempts.young.len() + counts.attempts.old.len();
        assert!((CAPACITY / 2..=CAPACITY).contains(&kept), "{kept}");
    }

    #[test]
    fn a_withdrawn_attempt_does_not_count() {
        let throttle = Throttle::new();
        let now = Timestamp::from_micros(START);
        for _ in 0..200 {
            assert_eq!(throttle.attempt("ada@example.com", None, now), Ok(()));
            throttle.withdrawn("ada@example.com", None);
        }
    }
}
