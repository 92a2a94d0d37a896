//! Exports: that somebody took events out is itself recorded; each export of the audit log, but reading `/v1/events`
//! and taking bundles once an actor and hour each.
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
        /// An actor read events as recorded, exported the audit log, or took a bundle to prove it by.
        "audit.export", 1 => Exported(Exported);
    }
}

/// An actor took events out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// In which form: `events` for events as recorded, `bundle` for events with their proofs, `csv`, `ndjson` or `ocsf`
    /// for the audit log's rows.
    pub form: String,
}

/// In which form events are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Events as recorded, page by page.
    Events,
    /// Events as recorded, each with its proof.
    Bundle,
    /// The audit log's rows as comma-separated values.
    Csv,
    /// The audit log's rows as lines of JSON.
    Ndjson,
    /// The audit log's rows as events of the Open Cybersecurity Schema Framework, in lines of JSON.
    Ocsf,
}

impl Form {
    /// Those that are taken in many requests, and noted once an hour and actor.
    const HOURLY: [Self; 2] = [Self::Events, Self::Bundle];

    /// Its name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bundle => "bundle",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Ocsf => "ocsf",
        }
    }
}

/// Who took events out in the present hour, of what is noted once in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exports {
    hour: i64,
    /// By form and actor.
    noted: RedBlackTreeMapSync<(String, String), ()>,
}

/// Notes that an actor takes events out. Reading them as recorded is many requests, and so is proving them: within the
/// hour of an earlier note of it, that appends nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoteExport {
    /// In which form.
    pub form: Form,
}

impl NoteExport {
    /// Decides; nothing can be refused.
    pub fn decide(self, state: &Exports, stream: &str, context: &Context) -> Vec<NewEvent> {
        let form = self.form.name().to_owned();
        // Only what is noted hourly is in there.
        let noted = (form.clone(), context.actor.id.to_string());
        if state.hour == context.now.hour() && state.noted.contains_key(&noted) {
            return Vec::new();
        }
        let resource = Resource::new(ResourceType::Audit, stream);
        vec![NewEvent::new(resource, ExportsEvent::Exported(Exported { form }))]
    }
}

impl Fold for Exports {
    const NAME: &'static str = "exports";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Exports(ExportsEvent::Exported(exported)) = &recorded.event else { return };
        if !Form::HOURLY.iter().any(|form| form.name() == exported.form) {
            return;
        }
        let hour = recorded.at.hour();
        if self.hour != hour {
            *self = Self { hour, noted: RedBlackTreeMapSync::new_sync() };
        }
        self.noted.insert_mut((exported.form.clone(), recorded.actor.id.to_string()), ());
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.noted.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{HOUR_SECONDS, Timestamp};
    use crate::given::{by, events, id, now, person, recorded};
    use crate::ids::StreamId;

    fn given(at: Timestamp, form: Form) -> Exports {
        let mut state = Exports::default();
        let event = Event::Exports(ExportsEvent::Exported(Exported { form: form.name().to_owned() }));
        state.apply(&recorded(StreamId::Organization(id(1)), 1, at, person(id(1)), event));
        state
    }

    fn decide(state: &Exports, form: Form, actor: u128) -> usize {
        NoteExport { form }.decide(state, "org", &by(person(id(actor)))).len()
    }

    #[test]
    fn reading_events_is_noted_once_an_hour_and_actor() {
        assert_eq!(decide(&Exports::default(), Form::Events, 1), 1);
        assert_eq!(decide(&given(now(), Form::Events), Form::Events, 1), 0);
        assert_eq!(decide(&given(now(), Form::Events), Form::Events, 2), 1);
        assert_eq!(decide(&given(now().plus_seconds(-HOUR_SECONDS), Form::Events), Form::Events, 1), 1);
        let note = NoteExport { form: Form::Events };
        let decided = events(Ok::<_, ()>(note.decide(&Exports::default(), "org", &by(person(id(1))))));
        assert_eq!(decided.unwrap()[0].action(), "audit.export");
    }

    #[test]
    fn taking_bundles_is_noted_once_an_hour_and_beside_reading_events() {
        assert_eq!(decide(&given(now(), Form::Bundle), Form::Bundle, 1), 0);
        assert_eq!(decide(&given(now(), Form::Events), Form::Bundle, 1), 1);
        assert_eq!(decide(&given(now(), Form::Bundle), Form::Events, 1), 1);
    }

    #[test]
    fn each_export_of_the_audit_log_is_noted_and_spares_no_other_note() {
        for form in [Form::Csv, Form::Ndjson, Form::Ocsf] {
            assert_eq!(decide(&given(now(), form), form, 1), 1);
            assert_eq!(decide(&given(now(), Form::Events), form, 1), 1);
            assert_eq!(decide(&given(now(), form), Form::Events, 1), 1);
        }
    }
}
