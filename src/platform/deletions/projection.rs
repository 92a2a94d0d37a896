//! Deletions as a fold: which organizations were deleted, and which of them are not finished.

#![warn(clippy::wildcard_enum_match_arm)]

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::event::{Event, Recorded};
use crate::ids::OrganizationId;
use crate::platform::deletions::event::DeletionsEvent;

/// Organizations that were deleted, each with whether that is not finished.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Deletions {
    organizations: RedBlackTreeMapSync<OrganizationId, bool>,
}

impl Deletions {
    /// Whether an organization was deleted.
    pub fn has(&self, organization: OrganizationId) -> bool {
        self.organizations.contains_key(&organization)
    }

    /// Whether its deletion is not finished.
    pub fn is_open(&self, organization: OrganizationId) -> bool {
        self.organizations.get(&organization).is_some_and(|open| *open)
    }

    /// Those whose deletion is not finished.
    pub fn open(&self) -> impl Iterator<Item = OrganizationId> {
        self.organizations.iter().filter(|(_, open)| **open).map(|(organization, _)| *organization)
    }
}

impl Fold for Deletions {
    const NAME: &'static str = "deletions";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Deletions(event) = &recorded.event else { return };
        match event {
            DeletionsEvent::OrganizationDeleted(deleted) => {
                self.organizations.insert_mut(deleted.organization, true);
            }
            DeletionsEvent::DeletionClosed(closed) => {
                self.organizations.insert_mut(closed.organization, false);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.organizations.size()
    }
}
