//! What operators did, as a fold.

use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded};
use crate::platform::operations::event::OperationsEvent;

/// What operators did last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Operations {
    /// The last time that the wall clock was vouched for.
    pub clock_accepted: Option<AcceptedClock>,
}

/// A wall clock that an operator vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedClock {
    /// What the wall clock said.
    pub wall: Timestamp,
    /// The newest record's time then, over all streams.
    pub newest: Option<Timestamp>,
}

impl Fold for Operations {
    const NAME: &'static str = "operations";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Operations(OperationsEvent::ClockAccepted(accepted)) = &recorded.event else { return };
        self.clock_accepted = Some(AcceptedClock { wall: accepted.wall, newest: accepted.newest });
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        usize::from(self.clock_accepted.is_some())
    }
}
