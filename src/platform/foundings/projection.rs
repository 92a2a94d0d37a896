//! Foundings as a fold: the open intents, and whether the server was ever set up.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::event::{Event, Recorded};
use crate::ids::{AccountId, OrganizationId};
use crate::platform::foundings::event::{FoundingOpened, FoundingsEvent};

/// Organizations being founded, and how many ever were.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Foundings {
    open: RedBlackTreeMapSync<OrganizationId, FoundingOpened>,
    ever: u64,
}

impl Foundings {
    /// Intents whose second half may be missing.
    pub fn open(&self) -> impl Iterator<Item = &FoundingOpened> {
        self.open.values()
    }

    /// The intent to found an organization, while it is open.
    pub fn get(&self, organization: OrganizationId) -> Option<&FoundingOpened> {
        self.open.get(&organization)
    }

    /// Those of one account.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = &FoundingOpened> {
        self.open().filter(move |open| open.account == account)
    }

    /// Whether an organization was ever founded, or is about to be.
    pub fn any_ever(&self) -> bool {
        self.ever > 0
    }
}

impl Fold for Foundings {
    const NAME: &'static str = "foundings";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Foundings(event) = &recorded.event else { return };
        match event {
            FoundingsEvent::FoundingOpened(opened) => {
                self.open.insert_mut(opened.organization, opened.clone());
                self.ever += 1;
            }
            FoundingsEvent::FoundingClosed(closed) => {
                self.open.remove_mut(&closed.organization);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.open.size()
    }
}
