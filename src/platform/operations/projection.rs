//! What operators did, as a fold.

use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded};
use crate::ids::SnapshotId;
use crate::platform::operations::event::OperationsEvent;

/// What operators did last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Operations {
    /// The last time that the wall clock was vouched for.
    pub clock_accepted: Option<AcceptedClock>,
    /// The newest snapshot, wherever it lies.
    pub last_snapshot: Option<NotedSnapshot>,
    /// The newest that this store put into the place of its snapshots: by it the schedule tells when the next one is due.
    pub last_in_place: Option<NotedSnapshot>,
    /// The newest snapshot that was restored for practice and came to what is here.
    pub last_verified_restore: Option<NotedSnapshot>,
    /// When this store was made of a snapshot: what was handed out before is void.
    pub restored_at: Option<Timestamp>,
    /// The position of the last frame that it took over then.
    pub restored_until: Option<u64>,
}

/// A wall clock that an operator vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedClock {
    /// What the wall clock said.
    pub wall: Timestamp,
    /// The newest record's time then, over all streams.
    pub newest: Option<Timestamp>,
}

/// A snapshot, and when something was noted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NotedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of its last frame.
    pub position: u64,
    /// When.
    pub at: Timestamp,
}

impl Fold for Operations {
    const NAME: &'static str = "operations";
    const PROJECTION: u32 = 4;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Operations(event) = &recorded.event else { return };
        let at = recorded.at;
        match event {
            OperationsEvent::ClockAccepted(accepted) => {
                self.clock_accepted = Some(AcceptedClock { wall: accepted.wall, newest: accepted.newest });
            }
            OperationsEvent::SnapshotCreated(created) => {
                let (snapshot, position) = (created.snapshot, created.position);
                let noted = NotedSnapshot { snapshot, position, at };
                self.last_snapshot = Some(noted);
                if !created.elsewhere {
                    self.last_in_place = Some(noted);
                }
            }
            OperationsEvent::SnapshotVerified(_) => {}
            OperationsEvent::SnapshotDrilled(drilled) => {
                let (snapshot, position) = (drilled.snapshot, drilled.position);
                // A drill of an older one says nothing of a newer one that held.
                if drilled.sound && self.last_verified_restore.is_none_or(|held| held.position <= position) {
                    self.last_verified_restore = Some(NotedSnapshot { snapshot, position, at });
                }
            }
            OperationsEvent::StoreRestored(restored) => {
                (self.restored_at, self.restored_until) = (Some(at), Some(restored.position));
                // Those are another store's.
                (self.last_in_place, self.last_verified_restore) = (None, None);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        usize::from(self.clock_accepted.is_some())
            + usize::from(self.last_snapshot.is_some())
            + usize::from(self.last_verified_restore.is_some())
    }
}
