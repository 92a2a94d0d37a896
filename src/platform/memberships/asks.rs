//! How often accounts asked to join organizations within a day. A part of the memberships' fold.
//!
//! Who is declined, or takes a request back, may ask again, and each time leaves events and a destroyed key in a stream that
//! is not theirs. So they do that only so often.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::ids::{AccountId, OrganizationId};

/// How often an account asks to join one organization within a day.
pub const ASKS_PER_DAY_MAX: u32 = 10;

/// Who asked where, of the last day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Asks {
    asked: RedBlackTreeMapSync<(AccountId, OrganizationId), Asked>,
    /// Those, by when their day ends.
    by_end: RedBlackTreeMapSync<(Timestamp, AccountId, OrganizationId), ()>,
}

/// How often in the day that began with the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    count: u32,
    ends_at: Timestamp,
}

impl Asks {
    /// For how many seconds an account may not ask an organization any more, if it has asked as often as it may.
    pub fn wait_seconds(
        &self,
        account: AccountId,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Option<u64> {
        let asked = self.asked.get(&(account, organization)).filter(|asked| now < asked.ends_at)?;
        let seconds = asked.ends_at.seconds_since(now).unsigned_abs().max(1);
        (asked.count >= ASKS_PER_DAY_MAX).then_some(seconds)
    }

    /// An account asks an organization. Days that have ended are forgotten.
    pub(super) fn ask(&mut self, account: AccountId, organization: OrganizationId, now: Timestamp) {
        while let Some(ended) = self.by_end.first().map(|(key, ())| *key).filter(|(at, ..)| *at <= now) {
            self.by_end.remove_mut(&ended);
            self.asked.remove_mut(&(ended.1, ended.2));
        }
        let first = Asked { count: 0, ends_at: now.plus_seconds(DAY_SECONDS) };
        let Asked { count, ends_at } = self.asked.get(&(account, organization)).copied().unwrap_or(first);
        self.asked.insert_mut((account, organization), Asked { count: count + 1, ends_at });
        self.by_end.insert_mut((ends_at, account, organization), ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    #[test]
    fn an_account_asks_an_organization_so_often_a_day_and_no_more() {
        let mut asks = Asks::default();
        let wait = |asks: &Asks, account, organization, after| {
            asks.wait_seconds(id(account), id(organization), now().plus_seconds(after))
        };
        for number in 0..ASKS_PER_DAY_MAX {
            assert_eq!(wait(&asks, 1, 1, 60), None, "{number}");
            asks.ask(id(1), id(1), now().plus_seconds(i64::from(number)));
        }
        assert_eq!(wait(&asks, 1, 1, 60), Some(DAY_SECONDS.unsigned_abs() - 60));
        assert_eq!(wait(&asks, 1, 1, DAY_SECONDS - 1), Some(1));
        assert_eq!([wait(&asks, 1, 2, 60), wait(&asks, 2, 1, 60), wait(&asks, 1, 1, DAY_SECONDS)], [None; 3]);
    }

    #[test]
    fn what_is_over_is_forgotten_with_the_next_one() {
        let mut asks = Asks::default();
        for account in 1..=20 {
            asks.ask(id(account), id(1), now());
        }
        asks.ask(id(7), id(1), now().plus_seconds(DAY_SECONDS));
        assert_eq!((asks.asked.size(), asks.by_end.size()), (1, 1));
        let left = asks.asked.get(&(id(7), id(1))).map(|asked| asked.count);
        assert_eq!(left, Some(1), "its new day begins with this one");
    }
}
