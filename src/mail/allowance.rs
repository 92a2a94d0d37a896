//! How many mails one address may get. Whoever asks for mails to somebody else's address fills no mailbox.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::{HOUR_SECONDS, Timestamp};
use crate::platform::accounts::email::folded;

/// The most mails to one address within an hour.
pub const MAILS_PER_HOUR_MAX: usize = 3;
/// The most addresses that are remembered, some 60 bytes each.
const ADDRESSES_MAX: usize = 100_000;

/// Why a mail is sent. Each has an allowance of its own, so that who may have mails sent by an address alone withholds none
/// of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody asked for a link to an address, whoever they are.
    Asked,
    /// An organization invites.
    Invited,
    /// An account is told what happens to it.
    Told,
}

/// Counts mails by address. A restart of the server forgets it.
pub struct Allowance {
    /// A key of this process: the counts say nothing about addresses.
    key: [u8; 32],
    sent: Mutex<HashMap<[u8; 16], Sent>>,
}

/// When the last mails to one address were sent, oldest first.
type Sent = [Timestamp; MAILS_PER_HOUR_MAX];

impl Default for Allowance {
    /// Nothing was sent yet.
    fn default() -> Self {
        Self { key: rand::random(), sent: Mutex::default() }
    }
}

impl Allowance {
    /// Takes one mail to an address off its allowance, if there is one left: what it is counted as, by which it can be
    /// given back.
    ///
    /// With as many addresses as are remembered, and a mail to each within this hour, a further one gets none: whoever
    /// floods us must not make us forget.
    pub fn take(&self, occasion: Occasion, address: &str, now: Timestamp) -> Option<Timestamp> {
        let an_hour_ago = now.plus_seconds(-HOUR_SECONDS);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.digest(occasion, address);
        if sent.len() >= ADDRESSES_MAX && !sent.contains_key(&key) {
            sent.retain(|_, times| times[MAILS_PER_HOUR_MAX - 1] > an_hour_ago);
            if sent.len() >= ADDRESSES_MAX {
                return None;
            }
        }
        let times = sent.entry(key).or_insert([Timestamp::EPOCH; MAILS_PER_HOUR_MAX]);
        // A clock that was set back must not keep mails back for longer than an hour.
        times.iter_mut().for_each(|time| *time = (*time).min(now));
        if times[0] > an_hour_ago {
            return None;
        }
        times.rotate_left(1);
        times[MAILS_PER_HOUR_MAX - 1] = now;
        Some(now)
    }

    /// Gives back what was taken for a mail that is not sent. After a clock that was set back it may not be known any more,
    /// and stays counted.
    pub fn give_back(&self, occasion: Occasion, address: &str, taken: Timestamp) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.digest(occasion, address);
        let Some(times) = sent.get_mut(&key) else { return };
        let Some(at) = times.iter().rposition(|time| *time == taken) else { return };
        times[..=at].rotate_right(1);
        times[0] = Timestamp::EPOCH;
        // Whoever is refused again and again must not fill the memory.
        if *times == [Timestamp::EPOCH; MAILS_PER_HOUR_MAX] {
            sent.remove(&key);
        }
    }

    fn digest(&self, occasion: Occasion, address: &str) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(&[occasion as u8]);
        mac.update(folded(address).as_bytes());
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|at| full[at])
    }
}

#[cfg(test)]
mod tests {
    use super::Occasion::{Asked, Invited, Told};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).plus_seconds(seconds)
    }

    #[test]
    fn an_address_gets_three_mails_within_any_hour() {
        let allowance = Allowance::default();
        let took = |seconds: &[i64]| -> Vec<bool> {
            seconds
                .iter()
                .map(|seconds| allowance.take(Asked, "ada@example.com", at(*seconds)).is_some())
                .collect()
        };
        assert_eq!(took(&[0, 10, 20, 30, 3_599]), [true, true, true, false, false]);
        assert_eq!(took(&[3_600, 3_601, 3_610, 3_611]), [true, false, true, false]);
        assert!(allowance.take(Asked, "bob@example.com", at(30)).is_some(), "another address has its own");
        for occasion in [Invited, Told] {
            assert!(
                allowance.take(occasion, "ada@example.com", at(30)).is_some(),
                "and so has another occasion"
            );
        }
    }

    #[test]
    fn what_was_not_sent_is_given_back_and_nothing_else() {
        let allowance = Allowance::default();
        let take = |seconds| allowance.take(Asked, "ada@example.com", at(seconds));
        for second in 0..10 {
            allowance.give_back(Asked, "ADA@example.com", take(second).unwrap());
        }
        assert!(allowance.sent.lock().unwrap().is_empty(), "it is as if there had been nothing");
        let taken = [20, 21, 22].map(|second| take(second).unwrap());
        allowance.give_back(Asked, "ada@example.com", taken[1]);
        allowance.give_back(Asked, "ada@example.com", taken[1]);
        allowance.give_back(Asked, "bob@example.com", taken[0]);
        assert!(take(23).is_some() && take(24).is_none());
        assert!(take(3_620).is_some() && take(3_621).is_none(), "the others keep their times");
    }

    #[test]
    fn another_spelling_is_the_same_address() {
        let allowance = Allowance::default();
        for address in ["ada@example.com", "Ada@Example.com", "ADA@EXAMPLE.COM"] {
            assert!(allowance.take(Asked, address, at(0)).is_some());
        }
        assert!(allowance.take(Asked, "aDa@example.com", at(0)).is_none());
    }

    #[test]
    fn a_clock_set_back_keeps_nothing_back_for_longer_than_an_hour() {
        let allowance = Allowance::default();
        for _ in 0..3 {
            assert!(allowance.take(Asked, "ada@example.com", at(0)).is_some());
        }
        let back = -10 * HOUR_SECONDS;
        assert!(allowance.take(Asked, "ada@example.com", at(back)).is_none());
        assert!(allowance.take(Asked, "ada@example.com", at(back + HOUR_SECONDS)).is_some());
    }

    #[test]
    fn a_flood_of_addresses_makes_it_forget_none_of_this_hour() {
        let allowance = Allowance::default();
        for _ in 0..3 {
            assert!(allowance.take(Asked, "ada@example.com", at(0)).is_some());
        }
        let admitted = (0..ADDRESSES_MAX)
            .filter(|n| allowance.take(Asked, &format!("{n}@example.com"), at(1)).is_some());
        assert_eq!(admitted.count(), ADDRESSES_MAX - 1);
        assert!(allowance.take(Asked, "ada@example.com", at(1)).is_none());
        assert!(
            allowance.take(Asked, "new@example.com", at(3_602)).is_some(),
            "an hour later there is room again"
        );
    }
}
