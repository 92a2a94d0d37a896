//! Settings told as a flat list: each thing with its fields. What two points in time differ in, and what a restore
//! has to do, is computed on these.
//!
//! When something was made or changed is no part of it: two states are equal as settings exactly when their
//! descriptions are.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::area::Area;
use crate::event::{Outcome, Recorded, Resource, ResourceType, Version};
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::oauth_apps::event::CredentialsOrigin;
use crate::settings::secrets::event::Origin;

/// Which things are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Focus {
    /// All of an area.
    All,
    /// All of an area as far as these of its actions tell.
    Actions(&'static [&'static str]),
    /// The thing with this id, with all that is named inside it.
    Resource(String),
    /// What has this name inside the thing with this id.
    Named(String, String),
}

impl Focus {
    /// Whether the thing with this id is meant.
    pub fn includes(&self, id: &str) -> bool {
        match self {
            Self::All | Self::Actions(_) => true,
            Self::Resource(meant) => meant == id,
            Self::Named(..) => false,
        }
    }

    /// The things of one kind that are meant: all, or the one with the id, which is looked up.
    pub fn among<Id: FromStr, T>(
        &self,
        all: impl Iterator<Item = T>,
        get: impl FnOnce(Id) -> Option<T>,
    ) -> Vec<T> {
        match self {
            Self::All | Self::Actions(_) => all.collect(),
            Self::Resource(id) => id.parse().ok().and_then(get).into_iter().collect(),
            Self::Named(..) => Vec::new(),
        }
    }

    /// Whether what is named inside a thing is meant.
    pub fn includes_named(&self, id: &str, name: &str) -> bool {
        match self {
            Self::Named(meant, named) => meant == id && named == name,
            Self::All | Self::Actions(_) | Self::Resource(_) => self.includes(id),
        }
    }

    /// Whether an area has to take an event in to tell what is meant.
    pub fn takes<A: Area>(&self, recorded: &Recorded) -> bool {
        let action = recorded.event.action();
        if recorded.outcome == Outcome::Denied || !A::READS.contains(&action) {
            return false;
        }
        match self {
            Self::All => true,
            Self::Actions(actions) => actions.contains(&action),
            Self::Resource(_) | Self::Named(..) => {
                self.is_mentioned_by(recorded) || A::CASCADES.contains(&action)
            }
        }
    }

    /// Whether an event mentions what is meant, or what it is named inside.
    pub fn is_mentioned_by(&self, recorded: &Recorded) -> bool {
        match self {
            Self::All | Self::Actions(_) => true,
            Self::Resource(id) => recorded.mentions().any(|mentioned| mentioned == *id),
            Self::Named(id, name) => {
                let (resource, inner) = (&recorded.resource, recorded.resource.is_inner());
                resource.id == *id && (!inner || resource.name.as_ref() == Some(name))
            }
        }
    }
}

/// One thing among an organization's settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Its kind.
    pub kind: ResourceType,
    /// Its id, or that of what it is named inside.
    pub id: String,
    /// The name of what is named inside another thing, as a configuration value is in its environment.
    pub name: Option<String>,
    /// The environment that a thing with an id of its own lies in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentId>,
}

impl Subject {
    /// A thing with an id of its own.
    pub fn new(kind: ResourceType, id: impl std::fmt::Display) -> Self {
        Self { kind, id: id.to_string(), name: None, environment: None }
    }

    /// What is named inside another thing.
    pub fn named(kind: ResourceType, id: impl std::fmt::Display, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::new(kind, id) }
    }

    /// The same, which lies in an environment.
    #[must_use]
    pub fn within(self, environment: Option<EnvironmentId>) -> Self {
        Self { environment, ..self }
    }

    /// The environment that it is, is named inside, or lies in.
    pub fn environment(&self) -> Option<EnvironmentId> {
        self.environment.or_else(|| self.id.parse().ok())
    }

    /// Whether an event about the resource is about this.
    pub fn is(&self, resource: &Resource) -> bool {
        let name = resource.name.as_ref().filter(|_| resource.is_inner());
        (self.kind, &self.id, self.name.as_ref()) == (resource.kind, &resource.id, name)
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// As it is.
    Open(Value),
    /// Sealed: only that it changed is ever shown.
    Sealed(Sealed),
    /// A document, told by the version of the event that has what it says. Never shown, either.
    Recorded(Version),
    /// A secret's value, told by where it was first written: copies of one value are the same. Never shown, either.
    Secret(Origin),
    /// An OAuth app's client secret, told in the same way.
    Credentials(CredentialsOrigin),
}

impl Field {
    /// What may be shown of it.
    pub fn shown(&self) -> Option<&Value> {
        match self {
            Self::Open(value) => Some(value),
            Self::Sealed(_) | Self::Recorded(_) | Self::Secret(_) | Self::Credentials(_) => None,
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Open(Value::from(text))
    }
}

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Self::Open(Value::from(value))
    }
}

impl From<&Sealed> for Field {
    fn from(sealed: &Sealed) -> Self {
        Self::Sealed(sealed.clone())
    }
}

/// A thing's fields by name; what is not set is absent.
pub type Fields = BTreeMap<&'static str, Field>;

/// Fields of which some are not set.
pub fn fields<const N: usize>(all: [(&'static str, Option<Field>); N]) -> Fields {
    all.into_iter().filter_map(|(name, field)| Some((name, field?))).collect()
}

/// Settings, each thing with its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description(BTreeMap<Subject, Fields>);

impl Description {
    /// All areas' settings, as far as they are meant.
    pub fn of(organization: &Organization, focus: &Focus) -> Self {
        let mut description = Self::default();
        for area in Organization::AREAS {
            (area.describe)(organization, focus, &mut description);
        }
        description
    }

    /// Tells of one more thing.
    pub fn insert(&mut self, subject: Subject, fields: Fields) {
        self.0.insert(subject, fields);
    }

    /// The fields of a thing, if it is there.
    pub fn get(&self, subject: &Subject) -> Option<&Fields> {
        self.0.get(subject)
    }

    /// All things, by kind, id and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, &Fields)> {
        self.0.iter()
    }

    /// What has to change in this to become `to`: nothing exactly when they are equal.
    pub fn differences(&self, to: &Self) -> Vec<Difference> {
        let empty = Fields::new();
        let gone = self.0.iter().filter(|(subject, _)| !to.0.contains_key(*subject));
        let mut found: Vec<_> = gone
            .map(|(subject, was)| Difference::between(subject, Change::Deleted, was, &empty))
            .chain(to.0.iter().filter_map(|(subject, is)| match self.0.get(subject) {
                None => Some(Difference::between(subject, Change::Created, &empty, is)),
                Some(was) if was == is => None,
                Some(was) => Some(Difference::between(subject, Change::Updated, was, is)),
            }))
            .collect();
        found.sort_by(|one, other| one.subject.cmp(&other.subject));
        found
    }
}

/// What happened to a thing between two points in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is there since.
    Created,
    /// Some of its fields are others.
    Updated,
    /// It is there no more.
    Deleted,
}

/// How one thing differs between two points in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The thing.
    pub subject: Subject,
    /// What happened to it.
    pub change: Change,
    /// The fields that differ, by name.
    pub fields: Vec<FieldChange>,
    /// Its name for people: afterwards, or before where it is gone.
    pub shown: Option<String>,
}

/// How one field differs; [`None`] where it is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field's name.
    pub field: &'static str,
    /// Before.
    pub from: Option<Field>,
    /// Afterwards.
    pub to: Option<Field>,
}

impl Difference {
    fn between(subject: &Subject, change: Change, from: &Fields, to: &Fields) -> Self {
        let names: std::collections::BTreeSet<_> = from.keys().chain(to.keys()).copied().collect();
        let fields = names
            .into_iter()
            .map(|field| FieldChange { field, from: from.get(field).cloned(), to: to.get(field).cloned() })
            .filter(|change| change.from != change.to)
            .collect();
        let name = |fields: &Fields| match fields.get("name") {
            Some(Field::Open(Value::String(name))) => Some(name.clone()),
            _ => None,
        };
        let shown = subject.name.clone().or_else(|| name(to)).or_else(|| name(from));
        Self { subject: subject.clone(), change, fields, shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(all: &[(&str, &[(&'static str, &str)])]) -> Description {
        let mut description = Description::default();
        for (id, given) in all {
            let fields = given.iter().map(|(name, value)| (*name, Field::from(*value))).collect();
            description.insert(Subject::new(ResourceType::Environment, id), fields);
        }
        description
    }

    #[test]
    fn a_difference_names_what_came_went_and_changed() {
        let from = description(&[("a", &[("name", "A")]), ("b", &[("name", "B"), ("slug", "b")])]);
        let to = description(&[("b", &[("name", "B"), ("slug", "c")]), ("c", &[("name", "C")])]);
        let found = from.differences(&to);
        let told: Vec<_> = found
            .iter()
            .map(|difference| {
                let fields: Vec<_> = difference.fields.iter().map(|change| change.field).collect();
                (difference.subject.id.as_str(), difference.change, fields, difference.shown.as_deref())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", Change::Deleted, vec!["name"], Some("A")),
                ("b", Change::Updated, vec!["slug"], Some("B")),
                ("c", Change::Created, vec!["name"], Some("C")),
            ]
        );
        assert_eq!(from.differences(&from), []);
    }
}
