//! Accounts as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::{AccountId, DataKeyId, OrganizationId, SessionId, UserId};
use crate::platform::accounts::event::{AccountsEvent, EmailChanged, MailedLink, SignedUp};
use crate::platform::accounts::sign_ups::SignUps;
use crate::platform::foundings::event::FoundingsEvent;
use crate::platform::memberships::event::MembershipsEvent;
use crate::platform::operations::event::OperationsEvent;
use crate::seal::{Commitment, Sealed};
use crate::settings::sessions::event::TokenHash;
use crate::settings::sessions::projection::Session;

/// The most mailed links of one account that are known at a time; the oldest gives way. Links to set a new password, which
/// anybody can ask for, last an hour and are three an hour at most, so they push no other out.
const LINKS_PER_ACCOUNT_MAX: usize = 8;

/// The most organizations in which one account is somebody.
pub const ORGANIZATIONS_PER_ACCOUNT_MAX: usize = 100;

/// All accounts of the server, and the sign-ups that may become some.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    accounts: RedBlackTreeMapSync<AccountId, Account>,
    by_person: RedBlackTreeMapSync<(OrganizationId, UserId), AccountId>,
    /// Accounts to be, until their address is verified.
    pub sign_ups: SignUps,
    links: RedBlackTreeMapSync<TokenHash, Link>,
    /// Accounts whose new address some organization may not know yet, with the generation that it came with.
    email_changes: RedBlackTreeMapSync<AccountId, u64>,
}

/// An account; address, name and password hash are sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Its data key.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// The address.
    pub email: Sealed,
    /// Whether the address was proven to be theirs: by a link that was mailed there.
    pub is_verified: bool,
    /// The name that it signed up with.
    pub name: Sealed,
    /// The argon2id hash of the password.
    pub password: Sealed,
    /// Raised by every new password and address; a session of an earlier one has ended.
    pub generation: u64,
    /// The one session of an earlier generation that goes on: the one in which the credentials were changed.
    pub spared: Option<SessionId>,
    /// The links mailed to it that are known, oldest first.
    links: Vec<TokenHash>,
    /// Whom it is in which organization, oldest first.
    pub persons: Vec<(OrganizationId, UserId)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// A link that was mailed, by its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whose it is.
    pub account: AccountId,
    /// What following it does.
    pub purpose: Purpose,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// What following a mailed link does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// It makes an account of a sign-up.
    Verify,
    /// It sets a new password.
    Reset,
    /// It gives the account another address.
    ChangeEmail {
        /// The address.
        email: Sealed,
        /// The session in which it was asked for.
        session: SessionId,
    },
}

impl Account {
    /// Whether a session is still of the account's present credentials.
    pub fn accepts(&self, session: &Session) -> bool {
        session.generation == self.generation || self.spared == Some(session.id)
    }
}

impl Accounts {
    /// An account by id.
    pub fn get(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// The account behind a person of an organization.
    pub fn by_person(&self, organization: OrganizationId, person: UserId) -> Option<&Account> {
        self.by_person.get(&(organization, person)).and_then(|id| self.accounts.get(id))
    }

    /// Who is, or is to be, somebody in an organization.
    pub fn persons_of(&self, organization: OrganizationId) -> Vec<UserId> {
        let from = (organization, UserId::from_uuid(uuid::Uuid::nil()));
        let own = self.by_person.range(from..).take_while(|((of, _), _)| *of == organization);
        own.map(|((_, person), _)| *person).collect()
    }

    /// All accounts, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// What a link does that somebody followed; nothing once it was used, is void or has ended.
    pub fn link(&self, token: TokenHash, now: Timestamp) -> Option<&Link> {
        self.links.get(&token).filter(|link| now < link.ends_at)
    }

    /// Accounts whose new address some organization may not know yet.
    pub fn email_changes(&self) -> impl Iterator<Item = AccountId> {
        self.email_changes.keys().copied()
    }

    /// The credential generation that such an address came with.
    pub fn email_change(&self, id: AccountId) -> Option<u64> {
        self.email_changes.get(&id).copied()
    }

    fn sign_up_began(&mut self, signed_up: &SignedUp, recorded: &Recorded) {
        let account = Account {
            id: signed_up.account,
            key: signed_up.key,
            commitment: recorded.keys.get(&signed_up.key).copied(),
            email: signed_up.email.clone(),
            is_verified: false,
            name: signed_up.name.clone(),
            password: signed_up.password.clone(),
            generation: 1,
            spared: None,
            links: Vec::new(),
            persons: Vec::new(),
            created_at: recorded.at,
            version: recorded.version,
        };
        match signed_up.link {
            None => self.accounts.insert_mut(account.id, account),
            Some(link) => {
                let kept = Link { account: account.id, purpose: Purpose::Verify, ends_at: link.ends_at };
                self.links.insert_mut(link.token, kept);
                for token in self.sign_ups.begin(account, link, recorded.at) {
                    self.links.remove_mut(&token);
                }
            }
        }
    }

    fn sign_up_ended(&mut self, id: AccountId) -> Option<Account> {
        let (account, token) = self.sign_ups.end(id)?;
        self.links.remove_mut(&token);
        Some(account)
    }

    fn link_mailed(&mut self, account: AccountId, mailed: MailedLink, purpose: Purpose, recorded: &Recorded) {
        let Some(held) = self.accounts.get_mut(&account) else { return };
        held.version = recorded.version;
        held.links.push(mailed.token);
        self.links.insert_mut(mailed.token, Link { account, purpose, ends_at: mailed.ends_at });
        let has_ended =
            |token: &TokenHash| self.links.get(token).is_none_or(|link| link.ends_at <= recorded.at);
        let mut gone: Vec<_> = held.links.extract_if(.., |token| has_ended(token)).collect();
        if held.links.len() > LINKS_PER_ACCOUNT_MAX {
            gone.push(held.links.remove(0));
        }
        for token in gone {
            self.links.remove_mut(&token);
        }
    }

    /// New credentials of an account: whatever was mailed before is void.
    fn credentials_changed(&mut self, id: AccountId, recorded: &Recorded, change: impl FnOnce(&mut Account)) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        for token in account.links.drain(..) {
            self.links.remove_mut(&token);
        }
        account.version = recorded.version;
        change(account);
    }

    fn email_changed(&mut self, changed: &EmailChanged, recorded: &Recorded) {
        self.credentials_changed(changed.account, recorded, |account| {
            account.email = changed.email.clone();
            account.is_verified = true;
            account.generation = changed.generation;
            account.spared = Some(changed.spares);
        });
        if self.get(changed.account).is_some_and(|account| !account.persons.is_empty()) {
            self.email_changes.insert_mut(changed.account, changed.generation);
        }
    }

    /// The store was made of a snapshot: sessions and mailed links of before may have ended since, and nobody knows.
    fn all_handed_out_is_void(&mut self) {
        self.links = RedBlackTreeMapSync::default();
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        for id in ids {
            if let Some(account) = self.accounts.get_mut(&id) {
                account.links.clear();
                account.generation += 1;
                account.spared = None;
            }
        }
    }

    fn paired(&mut self, id: AccountId, pair: (OrganizationId, UserId)) {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.persons.push(pair);
            self.by_person.insert_mut(pair, id);
        }
    }

    fn parted(&mut self, pair: (OrganizationId, UserId), recorded: &Recorded) {
        let Some(id) = self.by_person.get(&pair).copied() else { return };
        self.by_person.remove_mut(&pair);
        if let Some(account) = self.accounts.get_mut(&id) {
            account.persons.retain(|person| *person != pair);
            account.version = recorded.version;
        }
    }

    fn deleted(&mut self, id: AccountId) {
        let Some(account) = self.accounts.get(&id).cloned() else { return };
        for token in &account.links {
            self.links.remove_mut(token);
        }
        for person in &account.persons {
            self.by_person.remove_mut(person);
        }
        self.email_changes.remove_mut(&id);
        self.accounts.remove_mut(&id);
    }
}

impl Fold for Accounts {
    const NAME: &'static str = "accounts";
    const PROJECTION: u32 = 4;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Accounts(event) => self.apply_own(event, recorded),
            Event::Foundings(FoundingsEvent::FoundingOpened(opened)) => {
                self.paired(opened.account, (opened.organization, opened.person));
            }
            Event::Memberships(MembershipsEvent::MembershipOpened(opened)) => {
                self.paired(opened.account, (opened.organization, opened.person));
            }
            Event::Memberships(MembershipsEvent::MembershipClosed(closed)) => {
                if closed.refused {
                    self.parted((closed.organization, closed.person), recorded);
                }
            }
            Event::Operations(OperationsEvent::StoreRestored(_)) => self.all_handed_out_is_void(),
            Event::Operations(
                OperationsEvent::ClockAccepted(_)
                | OperationsEvent::SnapshotCreated(_)
                | OperationsEvent::SnapshotVerified(_)
                | OperationsEvent::SnapshotDrilled(_),
            )
            | Event::Foundings(FoundingsEvent::FoundingClosed(_))
            | Event::Deletions(_)
            | Event::General(_)
            | Event::Teams(_)
            | Event::Customers(_)
            | Event::CustomerData(_)
            | Event::Executions(_)
            | Event::ApiKeys(_)
            | Event::Environments(_)
            | Event::Secrets(_)
            | Event::People(_)
            | Event::Roles(_)
            | Event::Sessions(_)
            | Event::Invitations(_)
            | Event::JoinRequests(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
            | Event::OauthApps(_)
            | Event::Connections(_)
            | Event::ManagedApps(_)
            | Event::SigningKeys(_)
            | Event::Billing(_)
            | Event::Plans(_)
            | Event::Refused(_) => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.accounts.size() + self.sign_ups.len()
    }
}

impl Accounts {
    fn apply_own(&mut self, event: &AccountsEvent, recorded: &Recorded) {
        match event {
            AccountsEvent::SignedUp(signed_up) => self.sign_up_began(signed_up, recorded),
            AccountsEvent::EmailVerified(verified) => {
                // One to be, or one that was made just now by whoever has proven it.
                let account = self.sign_up_ended(verified.account);
                if let Some(mut account) = account.or_else(|| self.get(verified.account).cloned()) {
                    account.is_verified = true;
                    account.version = recorded.version;
                    self.accounts.insert_mut(account.id, account);
                }
            }
            AccountsEvent::SignUpExpired(expired) => drop(self.sign_up_ended(expired.account)),
            AccountsEvent::PasswordChanged(changed) => {
                self.credentials_changed(changed.account, recorded, |account| {
                    account.password = changed.password.clone();
                    account.generation = changed.generation;
                    account.spared = changed.spares;
                });
            }
            AccountsEvent::PasswordResetRequested(requested) => {
                self.link_mailed(requested.account, requested.link, Purpose::Reset, recorded);
            }
            AccountsEvent::PasswordReset(reset) => {
                self.credentials_changed(reset.account, recorded, |account| {
                    account.password = reset.password.clone();
                    // The link was mailed to the address that the account has.
                    account.is_verified = true;
                    account.generation = reset.generation;
                    account.spared = None;
                });
            }
            AccountsEvent::EmailChangeRequested(requested) => {
                let (email, session) = (requested.email.clone(), requested.session);
                let purpose = Purpose::ChangeEmail { email, session };
                self.link_mailed(requested.account, requested.link, purpose, recorded);
            }
            AccountsEvent::EmailChanged(changed) => self.email_changed(changed, recorded),
            AccountsEvent::EmailChangeClosed(closed) => {
                if self.email_changes.get(&closed.account) == Some(&closed.generation) {
                    self.email_changes.remove_mut(&closed.account);
                }
            }
            AccountsEvent::MembershipEnded(ended) => {
                self.parted((ended.organization, ended.person), recorded);
            }
            AccountsEvent::AccountDeleted(deleted) => self.deleted(deleted.account),
        }
    }
}
