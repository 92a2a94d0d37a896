//! Accounts as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::{AccountId, DataKeyId, OrganizationId, SessionId, UserId};
use crate::platform::accounts::event::AccountsEvent;
use crate::platform::foundings::event::FoundingsEvent;
use crate::seal::{Commitment, Sealed};
use crate::settings::sessions::projection::Session;

/// All accounts of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    accounts: RedBlackTreeMapSync<AccountId, Account>,
    by_person: RedBlackTreeMapSync<(OrganizationId, UserId), AccountId>,
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
    /// The name that it signed up with.
    pub name: Sealed,
    /// The argon2id hash of the password.
    pub password: Sealed,
    /// Raised by every new password; a session of an earlier one has ended.
    pub generation: u64,
    /// The one session of an earlier generation that goes on: the one in which the password was changed.
    pub spared: Option<SessionId>,
    /// Whom it is in which organization, oldest first.
    pub persons: Vec<(OrganizationId, UserId)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
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

    /// All accounts, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

impl Fold for Accounts {
    const NAME: &'static str = "accounts";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Accounts(AccountsEvent::SignedUp(signed_up)) => {
                let account = Account {
                    id: signed_up.account,
                    key: signed_up.key,
                    commitment: recorded.keys.get(&signed_up.key).copied(),
                    email: signed_up.email.clone(),
                    name: signed_up.name.clone(),
                    password: signed_up.password.clone(),
                    generation: 1,
                    spared: None,
                    persons: Vec::new(),
                    created_at: recorded.at,
                    version: recorded.version,
                };
                self.accounts.insert_mut(signed_up.account, account);
            }
            Event::Accounts(AccountsEvent::PasswordChanged(changed)) => {
                if let Some(account) = self.accounts.get_mut(&changed.account) {
                    account.password = changed.password.clone();
                    account.generation = changed.generation;
                    account.spared = changed.spares;
                    account.version = recorded.version;
                }
            }
            Event::Foundings(FoundingsEvent::FoundingOpened(opened)) => {
                if let Some(account) = self.accounts.get_mut(&opened.account) {
                    account.persons.push((opened.organization, opened.person));
                    self.by_person.insert_mut((opened.organization, opened.person), opened.account);
                }
            }
            Event::Foundings(FoundingsEvent::FoundingClosed(_))
            | Event::General(_)
            | Event::Teams(_)
            | Event::ApiKeys(_)
            | Event::Environments(_)
            | Event::Secrets(_)
            | Event::People(_)
            | Event::Roles(_)
            | Event::Sessions(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
            | Event::Refused(_) => {}
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.accounts.size()
    }
}
