//! Exports: that somebody took events out is itself recorded, once an actor and hour for `/v1/events`.
//!
//! The audit log has no event of its own; what was read from it stands here, beside what was refused.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::area::{DirectoryEntry, Fold};
use crate::command::{Context, NewEvent};
use crate::event::{Event, Recorded, Resource, ResourceType};
use crate::events;

events! {
    /// What was taken out of a stream.
    pub enum ExportsEvent {
        /// An actor read events as recorded, or exported the audit log.
        "audit.export", 1 => Exported(Exported);
    }
}

/// An actor took events out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// In which form: `events` for events as recorded.
    pub form: String,
}

/// Who exported in the present hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exports {
    hour: i64,
    actors: RedBlackTreeMapSync<String, ()>,
}

/// Notes that an actor reads events as recorded; within the hour of an earlier note it appends nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoteExport;

impl NoteExport {
    /// Decides; nothing can be refused.
    pub fn decide(self, state: &Exports, stream: &str, context: &Context) -> Vec<NewEvent> {
        let actor = context.actor.id.to_string();
        if state.hour == context.now.hour() && state.actors.contains_key(&actor) {
            return Vec::new();
        }
        vec![NewEvent::new(
            Resource::new(ResourceType::Audit, stream),
            ExportsEvent::Exported(Exported { form: "events".to_owned() }),
        )]
    }
}

impl Fold for Exports {
    const NAME: &'static str = "exports";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Exports(ExportsEvent::Exported(_)) = &recorded.event else { return };
        let hour = recorded.at.hour();
        if self.hour != hour {
            *self = Self { hour, actors: RedBlackTreeMapSync::new_sync() };
        }
        self.actors.insert_mut(recorded.actor.id.to_string(), ());
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.actors.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{HOUR_SECONDS, Timestamp};
    use crate::given::{by, events, id, now, person, recorded};
    use crate::ids::StreamId;

    fn given(at: Timestamp) -> Exports {
        let mut state = Exports::default();
        let event = Event::Exports(ExportsEvent::Exported(Exported { form: "events".to_owned() }));
        state.apply(&recorded(StreamId::Organization(id(1)), 1, at, person(id(1)), event));
        state
    }

    #[test]
    fn an_export_is_noted_once_an_hour_and_actor() {
        let decide = |state: &Exports, actor| NoteExport.decide(state, "org", &by(person(id(actor)))).len();
        assert_eq!(decide(&Exports::default(), 1), 1);
        assert_eq!(decide(&given(now()), 1), 0);
        assert_eq!(decide(&given(now()), 2), 1);
        assert_eq!(decide(&given(now().plus_seconds(-HOUR_SECONDS)), 1), 1);
        let decided = events(Ok::<_, ()>(NoteExport.decide(&Exports::default(), "org", &by(person(id(1))))));
        assert_eq!(decided.unwrap()[0].action(), "audit.export");
    }
}
