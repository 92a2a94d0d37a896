//! [`Filter`]: which events of a stream are meant. An intersection of conditions, each a union of values.

use crate::clock::Timestamp;
use crate::event::{Outcome, Recorded, ResourceType, Version};

/// Which events of a stream are meant; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// Ids of actors; `system` and `operator` are their own.
    pub actors: Vec<String>,
    /// Actions.
    pub actions: Vec<ActionPattern>,
    /// Actions that are left out unless a pattern names them exactly.
    pub unless_named: &'static [&'static str],
    /// Types of the resource.
    pub types: Vec<ResourceType>,
    /// Ids of the resource, or of one concerned.
    pub resources: Vec<String>,
    /// What events say that they are found by: [`Event::mark`](crate::event::Event::mark).
    pub marks: Vec<String>,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// After this version.
    pub after: Option<Version>,
    /// Up to and including this version.
    pub until: Option<Version>,
}

/// An action, or all that begin alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionPattern {
    /// This one.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

impl ActionPattern {
    /// Reads a pattern: a trailing `*` stands for any end.
    pub fn read(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// Whether an action is meant.
    pub fn matches(&self, action: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == action,
            Self::Prefix(prefix) => action.starts_with(prefix.as_str()),
        }
    }
}

impl Filter {
    /// Whether an event is meant.
    pub fn matches(&self, event: &Recorded) -> bool {
        any(&self.actors, |actor| *actor == event.actor.id.to_string())
            && self.means_action(event.event.action())
            && any(&self.types, |kind| *kind == event.resource.kind)
            && (self.resources.is_empty()
                || event.mentions().any(|id| self.resources.iter().any(|wanted| *wanted == id)))
            && any(&self.marks, |mark| event.event.mark() == Some(mark.as_str()))
            && any(&self.outcomes, |outcome| *outcome == event.outcome)
            && self.from.is_none_or(|from| event.at >= from)
            && self.to.is_none_or(|to| event.at < to)
            && self.after.is_none_or(|after| event.version > after)
            && self.until.is_none_or(|until| event.version <= until)
    }

    /// The same at any time and version.
    pub fn anywhere(&self) -> Self {
        Self { from: None, to: None, after: None, until: None, ..self.clone() }
    }

    /// How many bytes the values take.
    pub fn value_bytes(&self) -> usize {
        let texts = self.actors.iter().chain(&self.resources).chain(&self.marks).map(String::len);
        let actions = self.actions.iter().map(|pattern| match pattern {
            ActionPattern::Exact(text) | ActionPattern::Prefix(text) => text.len(),
        });
        texts.chain(actions).map(|bytes| bytes + size_of::<ActionPattern>()).sum()
    }

    /// Whether an event of this action is meant, as far as actions go.
    pub fn means_action(&self, action: &str) -> bool {
        let named = || self.actions.iter().any(|pattern| *pattern == ActionPattern::Exact(action.to_owned()));
        any(&self.actions, |pattern| pattern.matches(action))
            && (!self.unless_named.contains(&action) || named())
    }
}

fn any<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_star_stands_for_any_end() {
        assert!(ActionPattern::read("config.*").matches("config.set"));
        assert!(ActionPattern::read("*").matches("config.set"));
        assert!(!ActionPattern::read("config").matches("config.set"));
        assert!(!ActionPattern::read("config.*").matches("configuration"));
    }

    #[test]
    fn some_actions_show_only_when_named() {
        let filter = |actions: &[&str]| Filter {
            actions: actions.iter().map(|text| ActionPattern::read(text)).collect(),
            unless_named: &["billing.usage"],
            ..Filter::default()
        };
        assert!(!filter(&[]).means_action("billing.usage"));
        assert!(!filter(&["billing.*"]).means_action("billing.usage"));
        assert!(filter(&["billing.usage"]).means_action("billing.usage"));
        assert!(filter(&[]).means_action("billing.alert"));
    }
}
