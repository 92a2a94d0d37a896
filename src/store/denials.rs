//! Denials: what is denied an actor is recorded, so many an hour singly, and applies nothing. So is what failed.
//!
//! This is the part of it that stands in the state: how many denials of an actor this hour has. What comes beyond
//! is counted in memory (`store/aggregate.rs`) and recorded as one event with its count.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::command::{Context, NewEvent};
use crate::event::{Event, Outcome, Recorded, Refused, Resource};

/// The most denials of one actor that are recorded singly within an hour.
pub const DENIALS_PER_HOUR_MAX: u32 = 60;

/// How many denials were recorded singly in the present hour, by actor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Denials {
    hour: i64,
    by_actor: RedBlackTreeMapSync<String, u32>,
}

impl Denials {
    fn recorded(&self, actor: &str, at: Timestamp) -> u32 {
        if self.hour == at.hour() { self.by_actor.get(actor).copied().unwrap_or(0) } else { 0 }
    }
}

/// Records that something was denied or failed.
#[derive(Clone, Debug)]
pub struct RecordRefused {
    /// What it was about.
    pub resource: Resource,
    /// Ids of other resources concerned.
    pub related: Vec<String>,
    /// Denied or failed.
    pub outcome: Outcome,
    /// What was attempted.
    pub refused: Refused,
    /// How many, of an aggregate.
    pub count: Option<u64>,
}

/// Why a denial is not recorded singly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenialsRejection {
    /// The actor has its share of this hour.
    #[error("the actor's denials of this hour are only counted")]
    Bounded,
}

impl RecordRefused {
    /// Decides.
    ///
    /// # Errors
    /// [`DenialsRejection::Bounded`] for a single denial beyond the bound.
    pub fn decide(&self, state: &Denials, context: &Context) -> Result<Vec<NewEvent>, DenialsRejection> {
        let single_denial = self.outcome == Outcome::Denied && self.count.is_none();
        if single_denial && state.recorded(&context.actor.id.to_string(), context.now) >= DENIALS_PER_HOUR_MAX
        {
            return Err(DenialsRejection::Bounded);
        }
        Ok(vec![NewEvent {
            resource: self.resource.clone(),
            related: self.related.clone(),
            outcome: self.outcome,
            count: self.count,
            uses: Vec::new(),
            by: None,
            event: Event::Refused(self.refused.clone()),
        }])
    }
}

impl Fold for Denials {
    const NAME: &'static str = "denials";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        if recorded.outcome != Outcome::Denied || recorded.count.is_some() {
            return;
        }
        let hour = recorded.at.hour();
        if self.hour != hour {
            *self = Self { hour, by_actor: RedBlackTreeMapSync::new_sync() };
        }
        let actor = recorded.actor.id.to_string();
        let count = self.by_actor.get(&actor).copied().unwrap_or(0);
        self.by_actor.insert_mut(actor, count + 1);
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.by_actor.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR_SECONDS;
    use crate::event::{RefusedData, ResourceType};
    use crate::given::{by, id, now, person, recorded};
    use crate::ids::StreamId;

    fn refused(outcome: Outcome, count: Option<u64>) -> RecordRefused {
        RecordRefused {
            resource: Resource::new(ResourceType::Organization, "org"),
            related: Vec::new(),
            outcome,
            refused: Refused { action: "config.set".to_owned(), data: RefusedData::default() },
            count,
        }
    }

    fn given(at: Timestamp, outcome: Outcome, times: u64) -> Denials {
        let mut state = Denials::default();
        for version in 1..=times {
            let event = Event::Refused(refused(outcome, None).refused);
            let stream = StreamId::Organization(id(1));
            state.apply(&Recorded { outcome, ..recorded(stream, version, at, person(id(1)), event) });
        }
        state
    }

    #[test]
    fn so_many_denials_an_hour_are_recorded_singly() {
        let denied = refused(Outcome::Denied, None);
        let decide = |given: &Denials, actor| denied.decide(given, &by(person(id(actor))));
        assert_eq!(decide(&given(now(), Outcome::Denied, 59), 1).unwrap().len(), 1);
        let full = given(now(), Outcome::Denied, 60);
        assert_eq!(decide(&full, 1), Err(DenialsRejection::Bounded));
        assert!(decide(&full, 2).is_ok(), "each actor has a share");
        assert!(
            decide(&given(now().plus_seconds(-HOUR_SECONDS), Outcome::Denied, 60), 1).is_ok(),
            "a new hour"
        );
    }

    #[test]
    fn counts_and_failures_are_not_bounded_here() {
        let full = given(now(), Outcome::Denied, 60);
        let counted = refused(Outcome::Denied, Some(7)).decide(&full, &by(person(id(1)))).unwrap();
        assert_eq!((counted[0].count, counted[0].outcome), (Some(7), Outcome::Denied));
        assert!(refused(Outcome::Failure, None).decide(&full, &by(person(id(1)))).is_ok());
        let failures = given(now(), Outcome::Failure, 100);
        assert!(refused(Outcome::Denied, None).decide(&failures, &by(person(id(1)))).is_ok());
    }
}
