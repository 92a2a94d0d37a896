//! What operators can do.

use crate::clock::Timestamp;
use crate::command::{Context, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::platform::operations::event::{
    ClockAccepted, OperationsEvent, SnapshotCreated, SnapshotDrilled, SnapshotVerified, StoreRestored,
};

/// An operator's command.
#[derive(Clone, Debug)]
pub enum OperationsCommand {
    /// Vouches for the wall clock.
    AcceptClock {
        /// What it says.
        wall: Timestamp,
        /// The newest record's time over all streams.
        newest: Option<Timestamp>,
    },
    /// Notes a snapshot.
    NoteSnapshot(SnapshotCreated),
    /// Notes what a verification came to.
    NoteVerification(SnapshotVerified),
    /// Notes what a drill came to.
    NoteDrill(SnapshotDrilled),
    /// Begins the epoch of a store that was made of a snapshot.
    BeginEpoch(StoreRestored),
}

impl OperationsCommand {
    /// Decides; nothing can be refused.
    pub fn decide(&self, _context: &Context) -> Vec<NewEvent> {
        let snapshot = |id: &dyn ToString| Resource::new(ResourceType::Snapshot, id.to_string());
        let (resource, event) = match self.clone() {
            Self::AcceptClock { wall, newest } => (
                Resource::new(ResourceType::Server, "clock"),
                OperationsEvent::ClockAccepted(ClockAccepted { wall, newest }),
            ),
            Self::NoteSnapshot(created) => {
                (snapshot(&created.snapshot), OperationsEvent::SnapshotCreated(created))
            }
            Self::NoteVerification(verified) => {
                (snapshot(&verified.snapshot), OperationsEvent::SnapshotVerified(verified))
            }
            Self::NoteDrill(drilled) => {
                (snapshot(&drilled.snapshot), OperationsEvent::SnapshotDrilled(drilled))
            }
            Self::BeginEpoch(restored) => {
                (Resource::new(ResourceType::Server, "store"), OperationsEvent::StoreRestored(restored))
            }
        };
        vec![NewEvent::new(resource, event)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{by, events, id, now, platform};

    fn decided(command: OperationsCommand) -> Vec<Event> {
        events(Ok::<_, ()>(command.decide(&by(Actor::OPERATOR)))).unwrap()
    }

    #[test]
    fn an_operator_vouches_for_the_clock() {
        let (wall, newest) = (now().plus_seconds(-60), Some(now()));
        let decided = decided(OperationsCommand::AcceptClock { wall, newest });
        let accepted = OperationsEvent::ClockAccepted(ClockAccepted { wall, newest });
        assert_eq!(decided, [Event::Operations(accepted)]);
        assert_eq!(platform(decided).operations.clock_accepted.unwrap().wall, wall);
    }

    #[test]
    fn the_newest_snapshot_and_the_newest_drill_that_held_are_known() {
        let created = |number, elsewhere| {
            let snapshot = id(number);
            OperationsCommand::NoteSnapshot(SnapshotCreated {
                snapshot,
                position: 7,
                events: 9,
                bytes: 1_000,
                elsewhere,
            })
        };
        let drilled = |number, position, sound| {
            OperationsCommand::NoteDrill(SnapshotDrilled { snapshot: id(number), position, sound })
        };
        let all = [
            created(1, false),
            drilled(1, 7, true),
            created(2, true),
            drilled(2, 9, false),
            // An older one, for once.
            drilled(3, 4, true),
        ];
        let operations = platform(all.into_iter().flat_map(decided)).operations;
        assert_eq!(operations.last_snapshot.unwrap().snapshot, id(2));
        assert_eq!(operations.last_in_place.unwrap().snapshot, id(1), "the second one lies elsewhere");
        assert_eq!(operations.last_verified_restore.unwrap().snapshot, id(1), "the second one did not hold");
    }

    #[test]
    fn a_verification_is_in_the_audit_log_and_changes_nothing() {
        let verified = SnapshotVerified { snapshot: id(1), sound: false };
        let decided = decided(OperationsCommand::NoteVerification(verified.clone()));
        assert_eq!(decided, [Event::Operations(OperationsEvent::SnapshotVerified(verified))]);
        assert!(platform(decided).operations.last_snapshot.is_none());
    }

    #[test]
    fn an_epoch_begins_with_a_restore() {
        let restored = StoreRestored {
            snapshot: id(1),
            of_store: id(2),
            of_epoch: "0".to_owned(),
            position: 7,
            store: id(3),
            epoch: "k3x9".to_owned(),
        };
        let created =
            SnapshotCreated { snapshot: id(1), position: 7, events: 9, bytes: 1_000, elsewhere: false };
        let drilled = SnapshotDrilled { snapshot: id(1), position: 9, sound: true };
        let taken = [OperationsCommand::NoteSnapshot(created), OperationsCommand::NoteDrill(drilled)];
        let taken = taken.into_iter().flat_map(decided);
        let begun = decided(OperationsCommand::BeginEpoch(restored));
        let operations = platform(taken.chain(begun)).operations;
        assert_eq!((operations.restored_at, operations.restored_until), (Some(now()), Some(7)));
        assert!(operations.last_snapshot.is_some() && operations.last_in_place.is_none(), "it has none yet");
        assert!(operations.last_verified_restore.is_none(), "nor has one of it come back");
    }
}
