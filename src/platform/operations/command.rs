//! What operators can do.

use crate::clock::Timestamp;
use crate::command::{Context, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::platform::operations::event::{ClockAccepted, OperationsEvent};

/// An operator's command.
#[derive(Clone, Copy, Debug)]
pub enum OperationsCommand {
    /// Vouches for the wall clock.
    AcceptClock {
        /// What it says.
        wall: Timestamp,
    },
}

impl OperationsCommand {
    /// Decides; nothing can be refused.
    pub fn decide(&self, _context: &Context) -> Vec<NewEvent> {
        let Self::AcceptClock { wall } = *self;
        vec![NewEvent::new(
            Resource::new(ResourceType::Server, "clock"),
            OperationsEvent::ClockAccepted(ClockAccepted { wall }),
        )]
    }
}
