//! Sign-ups: accounts to be, until their address is verified or they are forgotten. A part of the accounts' fold.
//!
//! Anybody can make them, so there are only so many, and of one whose link has ended no more is kept than its key's id.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::ids::{AccountId, DataKeyId};
use crate::platform::accounts::event::MailedLink;
use crate::platform::accounts::projection::Account;
use crate::settings::sessions::event::TokenHash;

/// The most sign-ups that wait to be verified, on the whole server; some KiB each.
const WAITING_MAX: usize = 20_000;
/// For so long after its link has ended the key of a sign-up is kept.
const KEPT_SECONDS: i64 = 30 * DAY_SECONDS;

/// Accounts to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SignUps {
    waiting: RedBlackTreeMapSync<AccountId, SignUp>,
    /// Those, by when their link ends.
    by_end: RedBlackTreeMapSync<(Timestamp, AccountId), ()>,
    ended: RedBlackTreeMapSync<AccountId, Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignUp {
    account: Account,
    link: MailedLink,
}

/// A sign-up that nobody can verify any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    key: DataKeyId,
    link_ended_at: Timestamp,
}

impl Ended {
    fn is_due(self, now: Timestamp) -> bool {
        now >= self.link_ended_at.plus_seconds(KEPT_SECONDS)
    }
}

impl From<&SignUp> for Ended {
    fn from(sign_up: &SignUp) -> Self {
        Self { key: sign_up.account.key, link_ended_at: sign_up.link.ends_at }
    }
}

impl SignUps {
    /// An account to be, until its link has ended.
    pub fn get(&self, id: AccountId) -> Option<&Account> {
        self.waiting.get(&id).map(|sign_up| &sign_up.account)
    }

    /// Whether it is not forgotten.
    pub fn contains(&self, id: AccountId) -> bool {
        self.waiting.contains_key(&id) || self.ended.contains_key(&id)
    }

    /// How many are not forgotten.
    pub fn len(&self) -> usize {
        self.waiting.size() + self.ended.size()
    }

    /// Whether all are forgotten.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one more may wait.
    pub fn has_room(&self, now: Timestamp) -> bool {
        // Those that have ended make room when the next one begins.
        let one_has_ended = || self.by_end.first().is_some_and(|((at, _), ())| *at <= now);
        self.waiting.size() < WAITING_MAX || one_has_ended()
    }

    /// Those that are to be forgotten by now.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = AccountId> {
        self.all().filter(move |(_, ended)| ended.is_due(now)).map(|(id, _)| id)
    }

    /// The keys of all that are not forgotten.
    pub fn keys(&self) -> impl Iterator<Item = (AccountId, DataKeyId)> {
        self.all().map(|(id, ended)| (id, ended.key))
    }

    fn all(&self) -> impl Iterator<Item = (AccountId, Ended)> {
        let waiting = self.waiting.iter().map(|(id, sign_up)| (*id, Ended::from(sign_up)));
        waiting.chain(self.ended.iter().map(|(id, ended)| (*id, *ended)))
    }

    /// The key of one that is to be forgotten by now.
    pub fn key_if_due(&self, id: AccountId, now: Timestamp) -> Option<DataKeyId> {
        let ended = self.ended.get(&id).copied().or_else(|| self.waiting.get(&id).map(Ended::from));
        ended.filter(|ended| ended.is_due(now)).map(|ended| ended.key)
    }

    /// One more waits. Returns the tokens of links that have ended meanwhile.
    pub(super) fn begin(&mut self, account: Account, link: MailedLink, now: Timestamp) -> Vec<TokenHash> {
        let mut tokens = Vec::new();
        while let Some(id) = self.by_end.first().filter(|((at, _), ())| *at <= now).map(|((_, id), ())| *id) {
            let Some(sign_up) = self.take(id) else { break };
            self.ended.insert_mut(id, Ended::from(&sign_up));
            tokens.push(sign_up.link.token);
        }
        self.by_end.insert_mut((link.ends_at, account.id), ());
        self.waiting.insert_mut(account.id, SignUp { account, link });
        tokens
    }

    /// One waits no more: it was verified, or is forgotten. Returns it with its link's token, if its link had not ended.
    pub(super) fn end(&mut self, id: AccountId) -> Option<(Account, TokenHash)> {
        self.ended.remove_mut(&id);
        self.take(id).map(|SignUp { account, link }| (account, link.token))
    }

    fn take(&mut self, id: AccountId) -> Option<SignUp> {
        let sign_up = self.waiting.get(&id)?.clone();
        self.by_end.remove_mut(&(sign_up.link.ends_at, id));
        self.waiting.remove_mut(&id);
        Some(sign_up)
    }
}
