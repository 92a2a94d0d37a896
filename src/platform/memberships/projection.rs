//! Memberships to be as a fold: the open intents, and how often somebody asked. The pairs of accounts and persons are with the accounts.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::event::{Event, Recorded};
use crate::ids::{AccountId, OrganizationId, UserId};
use crate::platform::memberships::asks::Asks;
use crate::platform::memberships::event::{MembershipOpened, MembershipsEvent};

/// Memberships that an organization is about to decide.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memberships {
    open: RedBlackTreeMapSync<(OrganizationId, UserId), MembershipOpened>,
    /// How often accounts asked to join.
    pub asks: Asks,
}

impl Memberships {
    /// Intents whose second half may be missing.
    pub fn open(&self) -> impl Iterator<Item = &MembershipOpened> {
        self.open.values()
    }

    /// Those of one account.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = &MembershipOpened> {
        self.open().filter(move |open| open.account == account)
    }

    /// The intent of one person.
    pub fn get(&self, organization: OrganizationId, person: UserId) -> Option<&MembershipOpened> {
        self.open.get(&(organization, person))
    }
}

impl Fold for Memberships {
    const NAME: &'static str = "memberships";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Memberships(event) = &recorded.event else { return };
        match event {
            MembershipsEvent::MembershipOpened(opened) => {
                self.open.insert_mut((opened.organization, opened.person), opened.clone());
                if opened.join_request.is_some() {
                    self.asks.ask(opened.account, opened.organization, recorded.at);
                }
            }
            MembershipsEvent::MembershipClosed(closed) => {
                self.open.remove_mut(&(closed.organization, closed.person));
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.open.size()
    }
}
