//! What operators did, as a fold.

use serde::Serialize;

use crate::area::{Area, DirectoryEntry};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded};
use crate::platform::operations::event::OperationsEvent;

/// What operators did last.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Operations {
    /// When the wall clock was last vouched for, as recorded.
    pub clock_accepted_at: Option<Timestamp>,
}

impl Area for Operations {
    const NAME: &'static str = "operations";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Operations(OperationsEvent::ClockAccepted(_)) = &recorded.event else { return };
        self.clock_accepted_at = Some(recorded.at);
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}
}
