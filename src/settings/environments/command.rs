//! Making, changing and deleting environments, and writing their configuration.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::settings::environments::event::{
    ConfigDeleted, ConfigSet, EnvironmentCreated, EnvironmentDeleted, EnvironmentUpdated, EnvironmentsEvent,
    Mode,
};
use crate::settings::environments::projection::{Environment, Environments};
use crate::settings::environments::value::{ConfigKey, Slug};
use crate::settings::roles::permission::Permission;
use crate::text::{Description, Name, seen};

/// The most environments of an organization: lists and per-environment grants stay small.
pub const ENVIRONMENTS_MAX: usize = 1_000;
/// The most configuration values of an environment.
pub const CONFIG_VALUES_MAX: usize = 10_000;

/// A command to environments.
#[derive(Clone, Debug)]
pub enum EnvironmentsCommand {
    /// Makes an environment.
    Create(CreateEnvironment),
    /// Renames or describes one.
    Update(UpdateEnvironment),
    /// Deletes one with its configuration.
    Delete(DeleteEnvironment),
    /// Writes some configuration values, all or none.
    WriteConfig(WriteConfig),
}

/// Makes an environment.
#[derive(Clone, Debug)]
pub struct CreateEnvironment {
    /// Its id.
    pub environment: EnvironmentId,
    /// Its name.
    pub name: Name,
    /// Its slug.
    pub slug: Slug,
    /// Test or live, for ever.
    pub mode: Mode,
    /// What it is for.
    pub description: Option<Description>,
}

/// Renames or describes an environment; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct UpdateEnvironment {
    /// Which.
    pub environment: EnvironmentId,
    /// The new name.
    pub name: Option<Name>,
    /// The new slug.
    pub slug: Option<Slug>,
    /// The new description.
    pub description: Option<Option<Description>>,
}

/// Deletes an environment.
#[derive(Clone, Debug)]
pub struct DeleteEnvironment {
    /// Which.
    pub environment: EnvironmentId,
}

/// Writes configuration values: all or none.
#[derive(Clone, Debug)]
pub struct WriteConfig {
    /// Where.
    pub environment: EnvironmentId,
    /// What a version in the context is compared with.
    pub compares: Compares,
    /// Names and new values (canonical JSON text); `None` deletes.
    pub values: Vec<(ConfigKey, Option<String>)>,
    /// Whether deleting what is not there is refused.
    pub must_exist: bool,
}

/// What an `If-Match` speaks of when configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compares {
    /// The one value that is written.
    Value,
    /// The environment's configuration as a whole.
    Configuration,
}

/// Why a command to environments appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentsRejection {
    /// What is connected there is ended first: its tokens are good on at the provider.
    #[error("the environment has connections")]
    HasConnections,
    /// There is no such environment.
    #[error("there is no such environment")]
    NotFound,
    /// There is no such configuration value.
    #[error("there is no such configuration value")]
    ValueNotFound,
    /// Another environment has this name.
    #[error("another environment has this name")]
    NameTaken,
    /// Another environment has this slug.
    #[error("another environment has this slug")]
    SlugTaken,
    /// More environments than an organization can have.
    #[error("an organization has at most {ENVIRONMENTS_MAX} environments")]
    TooManyEnvironments,
    /// More values than an environment can have.
    #[error("an environment has at most {CONFIG_VALUES_MAX} configuration values")]
    TooManyValues,
}

impl EnvironmentsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(_) => Need::Organization(Permission::EnvironmentManage),
            Self::Update(command) => Need::Environment(Permission::EnvironmentManage, command.environment),
            Self::Delete(command) => Need::Environment(Permission::EnvironmentManage, command.environment),
            Self::WriteConfig(command) => Need::Environment(Permission::ConfigWrite, command.environment),
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`EnvironmentsRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let environments = &state.environments;
        match self {
            Self::Create(command) => Ok(command.decide(environments)?),
            Self::Update(command) => command.decide(environments, context),
            Self::Delete(command) => command.decide(state, context),
            Self::WriteConfig(command) => command.decide(environments, context),
        }
    }
}

fn resource(environment: &Environment) -> Resource {
    Resource::named(ResourceType::Environment, environment.id, environment.name.as_str())
}

fn find(environments: &Environments, id: EnvironmentId) -> Result<&Environment, EnvironmentsRejection> {
    environments.get(id).ok_or(EnvironmentsRejection::NotFound)
}

/// Whether another environment's name, of these, looks like this one.
pub(super) fn is_taken<'a>(
    mut environments: impl Iterator<Item = &'a Environment>,
    own: EnvironmentId,
    name: &str,
) -> bool {
    let name = seen(name);
    environments.any(|other| other.id != own && seen(&other.name) == name)
}

fn check_free(
    environments: &Environments,
    own: EnvironmentId,
    name: Option<&Name>,
    slug: Option<&Slug>,
) -> Result<(), EnvironmentsRejection> {
    if name.is_some_and(|name| is_taken(environments.iter(), own, name.as_str())) {
        return Err(EnvironmentsRejection::NameTaken);
    }
    match slug.and_then(|slug| environments.by_slug(slug.as_str())) {
        Some(other) if other.id != own => Err(EnvironmentsRejection::SlugTaken),
        _ => Ok(()),
    }
}

impl CreateEnvironment {
    fn decide(&self, environments: &Environments) -> Result<Vec<NewEvent>, EnvironmentsRejection> {
        if environments.count() >= ENVIRONMENTS_MAX {
            return Err(EnvironmentsRejection::TooManyEnvironments);
        }
        check_free(environments, self.environment, Some(&self.name), Some(&self.slug))?;
        let created = EnvironmentCreated {
            environment: self.environment,
            name: self.name.to_string(),
            slug: self.slug.to_string(),
            mode: self.mode,
            description: self.description.as_ref().map(ToString::to_string),
        };
        Ok(vec![NewEvent::new(
            Resource::named(ResourceType::Environment, self.environment, self.name.as_str()),
            EnvironmentsEvent::EnvironmentCreated(created),
        )])
    }
}

impl UpdateEnvironment {
    fn decide(&self, environments: &Environments, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(environments, self.environment)?;
        context.check_version(current.version)?;
        let name = self.name.as_ref().filter(|name| name.as_str() != current.name);
        let slug = self.slug.as_ref().filter(|slug| slug.as_str() != current.slug);
        let described = match &self.description {
            Some(Some(new)) if current.description.as_deref() != Some(new.as_str()) => Some(new.to_string()),
            _ => None,
        };
        let clears = self.description == Some(None) && current.description.is_some();
        if name.is_none() && slug.is_none() && described.is_none() && !clears {
            return Ok(Vec::new());
        }
        check_free(environments, self.environment, name, slug)?;
        let updated = EnvironmentUpdated {
            environment: self.environment,
            name: name.map(ToString::to_string),
            slug: slug.map(ToString::to_string),
            description: described,
            cleared: if clears { vec!["description".to_owned()] } else { Vec::new() },
        };
        let shown = updated.name.as_deref().unwrap_or(&current.name);
        Ok(vec![NewEvent::new(
            Resource::named(ResourceType::Environment, current.id, shown),
            EnvironmentsEvent::EnvironmentUpdated(updated),
        )])
    }
}

impl DeleteEnvironment {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(&state.environments, self.environment)?;
        context.check_version(current.version)?;
        if state.connections.has_any_in(self.environment) {
            return Err(EnvironmentsRejection::HasConnections.into());
        }
        let deleted = EnvironmentDeleted { environment: self.environment };
        Ok(vec![NewEvent::new(resource(current), EnvironmentsEvent::EnvironmentDeleted(deleted))])
    }
}

impl WriteConfig {
    fn decide(&self, environments: &Environments, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let environment = find(environments, self.environment)?;
        self.check_preconditions(environment, context)?;
        let mut count = environment.config.size();
        let mut events = Vec::new();
        for (key, new) in &self.values {
            let current = environment.config.get(key.as_str());
            let event = match (new, current) {
                (Some(new), Some(current)) if *current.value == **new => continue,
                (Some(new), current) => {
                    count += usize::from(current.is_none());
                    EnvironmentsEvent::ConfigSet(ConfigSet {
                        environment: self.environment,
                        key: key.to_string(),
                        value: new.clone(),
                    })
                }
                (None, Some(_)) => {
                    count -= 1;
                    EnvironmentsEvent::ConfigDeleted(ConfigDeleted {
                        environment: self.environment,
                        key: key.to_string(),
                    })
                }
                (None, None) if self.must_exist => return Err(EnvironmentsRejection::ValueNotFound.into()),
                (None, None) => continue,
            };
            events.push(NewEvent::new(
                Resource::named(ResourceType::Config, self.environment, key.as_str()),
                event,
            ));
        }
        if count > CONFIG_VALUES_MAX {
            return Err(EnvironmentsRejection::TooManyValues.into());
        }
        Ok(events)
    }

    fn check_preconditions(&self, environment: &Environment, context: &Context) -> Result<(), Rejection> {
        match self.compares {
            Compares::Configuration => context.check_version(environment.config_version)?,
            Compares::Value => {
                for (key, _) in &self.values {
                    let current = environment.config.get(key.as_str());
                    if current.is_none() && self.must_exist {
                        return Err(EnvironmentsRejection::ValueNotFound.into());
                    }
                    context.check_version(current.map_or(0, |value| value.version))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Precondition, PreconditionFailed};
    use crate::event::Event;
    use crate::given::{by, by_having_seen, events, founded, id, organization, person};

    fn name(text: &str) -> Name {
        Name::try_from(text).unwrap()
    }

    fn create(number: u128, text: &str, slug: &str) -> EnvironmentsCommand {
        EnvironmentsCommand::Create(CreateEnvironment {
            environment: id(number),
            name: name(text),
            slug: Slug::try_from(slug).unwrap(),
            mode: Mode::Live,
            description: None,
        })
    }

    fn created(number: u128, name: &str, slug: &str) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: id(number),
            name: name.to_owned(),
            slug: slug.to_owned(),
            mode: Mode::Live,
            description: None,
        }))
    }

    fn set(key: &str, value: &str) -> Event {
        Event::Environments(EnvironmentsEvent::ConfigSet(ConfigSet {
            environment: id(1),
            key: key.to_owned(),
            value: value.to_owned(),
        }))
    }

    fn unset(key: &str) -> Event {
        let deleted = ConfigDeleted { environment: id(1), key: key.to_owned() };
        Event::Environments(EnvironmentsEvent::ConfigDeleted(deleted))
    }

    fn update(number: u128) -> UpdateEnvironment {
        UpdateEnvironment { environment: id(number), name: None, slug: None, description: None }
    }

    fn write(values: &[(&str, Option<&str>)]) -> WriteConfig {
        let value = |(key, value): &(&str, Option<&str>)| {
            (ConfigKey::try_from(*key).unwrap(), value.map(ToOwned::to_owned))
        };
        WriteConfig {
            environment: id(1),
            compares: Compares::Configuration,
            values: values.iter().map(value).collect(),
            must_exist: false,
        }
    }

    fn write_one(key: &str, value: Option<&str>) -> WriteConfig {
        WriteConfig { compares: Compares::Value, ..write(&[(key, value)]) }
    }

    /// Acme at version 3, with Production at version 4 and what follows.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        organization(founded().into_iter().chain([created(1, "Production", "production")]).chain(more))
    }

    fn decide(command: EnvironmentsCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(1)))))
    }

    #[test]
    fn an_environment_is_made() {
        let decided = decide(create(2, "Stage", "stage"), &acme([]));
        assert_eq!(decided, Ok(vec![created(2, "Stage", "stage")]));
    }

    #[test]
    fn names_and_slugs_are_unique_without_regard_to_letter_case() {
        let decide = |command| decide(command, &acme([])).unwrap_err();
        for name in ["PRODUCTION", "Produc\u{200d}tion", "\u{ff30}roduction"] {
            assert_eq!(decide(create(2, name, "other")), EnvironmentsRejection::NameTaken.into(), "{name:?}");
        }
        assert_eq!(decide(create(2, "Other", "production")), EnvironmentsRejection::SlugTaken.into());
    }

    #[test]
    fn an_organization_has_so_many_environments_and_no_more() {
        let many = |count: usize| {
            let one =
                |number: usize| created(number as u128 + 10, &format!("E {number}"), &format!("e-{number}"));
            organization(founded().into_iter().chain((0..count).map(one)))
        };
        assert!(decide(create(2, "Stage", "stage"), &many(ENVIRONMENTS_MAX - 1)).is_ok());
        let decided = decide(create(2, "Stage", "stage"), &many(ENVIRONMENTS_MAX));
        assert_eq!(decided, Err(EnvironmentsRejection::TooManyEnvironments.into()));
    }

    #[test]
    fn only_what_changes_is_recorded() {
        let change = UpdateEnvironment {
            name: Some(name("Live")),
            slug: Some(Slug::try_from("production").unwrap()),
            description: Some(None),
            ..update(1)
        };
        let updated = EnvironmentUpdated {
            environment: id(1),
            name: Some("Live".to_owned()),
            slug: None,
            description: None,
            cleared: Vec::new(),
        };
        let decided = decide(EnvironmentsCommand::Update(change.clone()), &acme([]));
        let expected = vec![Event::Environments(EnvironmentsEvent::EnvironmentUpdated(updated))];
        assert_eq!(decided, Ok(expected.clone()));
        assert_eq!(decide(EnvironmentsCommand::Update(change), &acme(expected)), Ok(Vec::new()));
    }

    #[test]
    fn an_environment_keeps_its_own_name_in_another_case() {
        let change = UpdateEnvironment { name: Some(name("PRODUCTION")), ..update(1) };
        assert_eq!(decide(EnvironmentsCommand::Update(change), &acme([])).unwrap().len(), 1);
        let change = UpdateEnvironment { name: Some(name("production")), ..update(2) };
        let state = acme([created(2, "Stage", "stage")]);
        let decided = decide(EnvironmentsCommand::Update(change), &state);
        assert_eq!(decided, Err(EnvironmentsRejection::NameTaken.into()));
    }

    #[test]
    fn an_environment_is_deleted_with_its_configuration() {
        let delete = EnvironmentsCommand::Delete(DeleteEnvironment { environment: id(1) });
        let decided = decide(delete, &acme([set("A", "1")])).unwrap();
        let state = acme([set("A", "1")].into_iter().chain(decided));
        assert!(state.environments.get(id(1)).is_none());
        assert!(state.environments.by_slug("production").is_none());
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let state = acme([]);
        for command in [
            EnvironmentsCommand::Update(update(9)),
            EnvironmentsCommand::Delete(DeleteEnvironment { environment: id(9) }),
            EnvironmentsCommand::WriteConfig(WriteConfig {
                environment: id(9),
                ..write(&[("A", Some("1"))])
            }),
        ] {
            assert_eq!(decide(command, &state), Err(EnvironmentsRejection::NotFound.into()));
        }
    }

    #[test]
    fn values_are_written_all_at_once_and_only_where_they_change() {
        let state = acme([set("A", "1"), set("B", "2")]);
        let values = [("A", Some("1")), ("B", Some("3")), ("C", Some("4")), ("D", None)];
        let decided = decide(EnvironmentsCommand::WriteConfig(write(&values)), &state);
        assert_eq!(decided, Ok(vec![set("B", "3"), set("C", "4")]));
        let decided = decide(EnvironmentsCommand::WriteConfig(write(&[("A", None)])), &state);
        assert_eq!(decided, Ok(vec![unset("A")]));
    }

    #[test]
    fn a_value_can_be_only_created_or_only_deleted() {
        let state = acme([set("A", "1")]);
        let decide = |command| decide(EnvironmentsCommand::WriteConfig(command), &state);
        let only_created = Context { preconditions: vec![Precondition::Absent], ..by(person(id(1))) };
        let created = |key| {
            let command = EnvironmentsCommand::WriteConfig(write_one(key, Some("2")));
            events(command.decide(&state, &only_created))
        };
        assert_eq!(created("A"), Err(PreconditionFailed.into()));
        assert_eq!(created("B"), Ok(vec![set("B", "2")]));
        let deleted = WriteConfig { must_exist: true, ..write_one("B", None) };
        assert_eq!(decide(deleted), Err(EnvironmentsRejection::ValueNotFound.into()));
        let deleted = WriteConfig { must_exist: true, ..write(&[("A", None), ("B", None)]) };
        assert_eq!(decide(deleted), Err(EnvironmentsRejection::ValueNotFound.into()));
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([set("A", "1")]);
        let seen = |command: EnvironmentsCommand, version| {
            command.decide(&state, &by_having_seen(person(id(1)), version)).map(|events| events.len())
        };
        let failed = Err(PreconditionFailed.into());
        let delete = || EnvironmentsCommand::Delete(DeleteEnvironment { environment: id(1) });
        assert_eq!(seen(delete(), 3), failed);
        assert_eq!(seen(delete(), 4), Ok(1), "configuration does not change the environment");
        let one = || EnvironmentsCommand::WriteConfig(write_one("A", Some("2")));
        assert_eq!((seen(one(), 4), seen(one(), 5)), (failed.clone(), Ok(1)));
        let whole = || EnvironmentsCommand::WriteConfig(write(&[("A", Some("2"))]));
        assert_eq!((seen(whole(), 4), seen(whole(), 5)), (failed, Ok(1)));
    }
}
