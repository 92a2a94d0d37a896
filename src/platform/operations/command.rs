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
        /// The newest record's time over all streams.
        newest: Option<Timestamp>,
    },
}

impl OperationsCommand {
    /// Decides; nothing can be refused.
    pub fn decide(&self, _context: &Context) -> Vec<NewEvent> {
        let Self::AcceptClock { wall, newest } = *self;
        vec![NewEvent::new(
            Resource::new(ResourceType::Server, "clock"),
            OperationsEvent::ClockAccepted(ClockAccepted { wall, newest }),
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{by, events, now, platform};

    #[test]
    fn an_operator_vouches_for_the_clock() {
        let (wall, newest) = (now().plus_seconds(-60), Some(now()));
        let decided = OperationsCommand::AcceptClock { wall, newest }.decide(&by(Actor::OPERATOR));
        let decided = events(Ok::<_, ()>(decided)).unwrap();
        let accepted = OperationsEvent::ClockAccepted(ClockAccepted { wall, newest });
        assert_eq!(decided, [Event::Operations(accepted)]);
        assert_eq!(platform(decided).operations.clock_accepted.unwrap().wall, wall);
    }
}
