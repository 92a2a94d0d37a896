//! Which values the audit log's filters can take, each with its number of events.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::ActorKind;
use crate::audit::row::Rows;
use crate::event::{Outcome, ResourceType};
use crate::store::search;

/// The most values of one dimension that are shown.
const VALUES_MAX: usize = 1_000;

/// The values that the matching events have, those of most events first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditFacets)]
pub struct Facets {
    /// Who acted.
    pub users: Vec<UserCount>,
    /// What was done.
    pub actions: Vec<ActionCount>,
    /// To what type of thing.
    pub types: Vec<TypeCount>,
    /// How it ended.
    pub outcomes: Vec<OutcomeCount>,
    /// How many events match in all, exactly.
    pub total: u64,
    /// Of which dimensions there are more than the 1,000 values shown.
    pub more: Vec<&'static str>,
}

/// An actor and how many events are theirs.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserCount {
    /// The id of a person or an API key, `system` or `operator`.
    pub id: String,
    /// The kind of actor.
    pub kind: ActorKind,
    /// A person's name as of now; null where there is none.
    pub name: Option<String>,
    /// How many events.
    pub count: u64,
}

/// An action and how many events have it.
#[derive(Serialize, ToSchema)]
pub struct ActionCount {
    /// The action.
    pub action: String,
    /// How many events.
    pub count: u64,
}

/// A type of resource and how many events are about one.
#[derive(Serialize, ToSchema)]
pub struct TypeCount {
    /// The type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// How many events.
    pub count: u64,
}

/// An outcome and how many events have it.
#[derive(Serialize, ToSchema)]
pub struct OutcomeCount {
    /// The outcome.
    pub outcome: Outcome,
    /// How many events.
    pub count: u64,
}

impl Facets {
    /// What was counted, with names of people.
    pub fn of(counted: search::Facets, rows: &mut Rows) -> Self {
        let mut more = Vec::new();
        let actors = most(counted.actors, |actor| actor.to_string(), "users", &mut more);
        let users = actors.into_iter().map(|(actor, count)| {
            let user = rows.user(actor);
            UserCount { id: user.id, kind: user.kind, name: user.name, count }
        });
        Self {
            users: users.collect(),
            actions: most(counted.actions, Clone::clone, "actions", &mut more)
                .into_iter()
                .map(|(action, count)| ActionCount { action, count })
                .collect(),
            types: most(counted.types, |kind| kind.name(), "types", &mut more)
                .into_iter()
                .map(|(kind, count)| TypeCount { kind, count })
                .collect(),
            outcomes: most(counted.outcomes, |outcome| outcome.name(), "outcomes", &mut more)
                .into_iter()
                .map(|(outcome, count)| OutcomeCount { outcome, count })
                .collect(),
            total: counted.total,
            more,
        }
    }
}

/// The values of most events, most first, among equals by what they are called; says where there are more.
fn most<T, N: Ord>(
    counts: BTreeMap<T, u64>,
    name: impl Fn(&T) -> N,
    dimension: &'static str,
    more: &mut Vec<&'static str>,
) -> Vec<(T, u64)> {
    let mut values: Vec<(T, u64)> = counts.into_iter().collect();
    values.sort_by_cached_key(|(value, count)| (Reverse(*count), name(value)));
    if values.len() > VALUES_MAX {
        more.push(dimension);
        values.truncate(VALUES_MAX);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_values_come_first_and_equals_by_name() {
        let counts = BTreeMap::from([("a", 1), ("b", 3), ("c", 3), ("d", 2)]);
        let mut more = Vec::new();
        let values = most(counts, |value| *value, "actions", &mut more);
        assert_eq!(values, [("b", 3), ("c", 3), ("d", 2), ("a", 1)]);
        assert!(more.is_empty());
    }

    #[test]
    fn a_dimension_with_too_many_values_says_so() {
        let counts: BTreeMap<usize, u64> = (0..=VALUES_MAX).map(|value| (value, value as u64)).collect();
        let mut more = Vec::new();
        let values = most(counts, |value| *value, "users", &mut more);
        assert_eq!((values.len(), values[0], more), (VALUES_MAX, (VALUES_MAX, 1_000), vec!["users"]));
    }
}
