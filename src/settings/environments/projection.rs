//! Environments and their configuration as a fold.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::settings::environments::event::{EnvironmentUpdated, EnvironmentsEvent, Mode};
use crate::settings::environments::restore::restore;
use crate::settings::roles::permission::Permission;

/// The actions that change configuration values.
const CONFIG_ACTIONS: &[&str] = &["config.set", "config.delete"];

/// The environments of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environments {
    environments: RedBlackTreeMapSync<EnvironmentId, Environment>,
    by_slug: RedBlackTreeMapSync<String, EnvironmentId>,
    by_mode: RedBlackTreeMapSync<(Mode, EnvironmentId), ()>,
}

/// An environment with its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The environment.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// Test or live.
    pub mode: Mode,
    /// What it is for.
    pub description: Option<String>,
    /// Its configuration values by name.
    pub config: RedBlackTreeMapSync<String, ConfigValue>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed; its configuration has versions of its own.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
    /// The stream version of the last change of its configuration; that of its creation before the first.
    pub config_version: Version,
}

/// A configuration value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// Canonical JSON text.
    pub value: Arc<str>,
    /// When it was first set.
    pub created_at: Timestamp,
    /// The stream version at which it was first set.
    pub created_version: Version,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl Environments {
    /// An environment by id.
    pub fn get(&self, id: EnvironmentId) -> Option<&Environment> {
        self.environments.get(&id)
    }

    /// An environment by its slug.
    pub fn by_slug(&self, slug: &str) -> Option<&Environment> {
        self.by_slug.get(slug).and_then(|id| self.environments.get(id))
    }

    /// All environments by mode and id: what holds in those of a mode keeps it, and shares it.
    pub fn by_mode(&self) -> &RedBlackTreeMapSync<(Mode, EnvironmentId), ()> {
        &self.by_mode
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.environments.size()
    }

    /// All environments, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Environment> {
        self.environments.values()
    }

    /// The environments that are meant, or in which something is.
    fn meant(&self, focus: &Focus) -> Vec<&Environment> {
        match focus {
            Focus::All | Focus::Actions(_) => self.iter().collect(),
            Focus::Resource(id) | Focus::Named(id, _) => {
                id.parse().ok().and_then(|id| self.get(id)).into_iter().collect()
            }
        }
    }

    fn update(&mut self, updated: &EnvironmentUpdated, recorded: &Recorded) {
        let Some(environment) = self.environments.get_mut(&updated.environment) else { return };
        if let Some(name) = &updated.name {
            environment.name.clone_from(name);
        }
        if let Some(description) = &updated.description {
            environment.description = Some(description.clone());
        }
        if updated.cleared.iter().any(|field| field == "description") {
            environment.description = None;
        }
        environment.updated_at = recorded.at;
        environment.version = recorded.version;
        if let Some(slug) = &updated.slug {
            let old = std::mem::replace(&mut environment.slug, slug.clone());
            self.free_slug(&old, updated.environment);
            self.by_slug.insert_mut(slug.clone(), updated.environment);
        }
    }

    /// A slug is free once its environment has another or is gone; unless it is already another environment's: a
    /// restore lets two swap theirs.
    fn free_slug(&mut self, slug: &str, of: EnvironmentId) {
        if self.by_slug.get(slug) == Some(&of) {
            self.by_slug.remove_mut(slug);
        }
    }
}

impl Environment {
    /// The environment with as much of its configuration as a focus needs: there can be thousands of values.
    fn narrowed(&self, focus: &Focus) -> Self {
        let none = RedBlackTreeMapSync::new_sync;
        let config = match focus {
            Focus::All | Focus::Resource(_) => self.config.clone(),
            Focus::Actions(actions) if actions.iter().any(|action| CONFIG_ACTIONS.contains(action)) => {
                self.config.clone()
            }
            Focus::Actions(_) => none(),
            Focus::Named(_, name) => match self.config.get(name) {
                Some(value) => none().insert(name.clone(), value.clone()),
                None => none(),
            },
        };
        Self { config, ..self.clone() }
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        let subject = Subject::new(ResourceType::Environment, self.id);
        let id = subject.id.clone();
        if focus.includes(&id) {
            let told = fields([
                ("name", Some(self.name.as_str().into())),
                ("slug", Some(self.slug.as_str().into())),
                ("mode", Some(self.mode.name().into())),
                ("description", self.description.as_deref().map(Into::into)),
            ]);
            into.insert(subject, told);
        }
        let mut tell = |key: &str, value: &ConfigValue| {
            into.insert(
                Subject::named(ResourceType::Config, &id, key),
                fields([("value", Some(value.field()))]),
            );
        };
        if let Focus::Named(_, name) = focus {
            if let Some(value) = self.config.get(name) {
                tell(name, value);
            }
        } else {
            for (key, value) in self.config.iter() {
                tell(key, value);
            }
        }
    }
}

impl ConfigValue {
    /// The value as it is told of the environment's settings.
    pub fn field(&self) -> Field {
        // Only canonical JSON is ever recorded as a value; were it not, its text would still tell two apart.
        Field::Open(serde_json::from_str(&self.value).unwrap_or_else(|_| (*self.value).into()))
    }
}

impl Fold for Environments {
    const NAME: &'static str = "environments";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Environments(event) = &recorded.event else { return };
        match event {
            EnvironmentsEvent::EnvironmentCreated(created) => {
                let environment = Environment {
                    id: created.environment,
                    name: created.name.clone(),
                    slug: created.slug.clone(),
                    mode: created.mode,
                    description: created.description.clone(),
                    config: RedBlackTreeMapSync::new_sync(),
                    created_at: recorded.at,
                    updated_at: recorded.at,
                    version: recorded.version,
                    config_version: recorded.version,
                };
                self.by_slug.insert_mut(created.slug.clone(), created.environment);
                self.by_mode.insert_mut((created.mode, created.environment), ());
                self.environments.insert_mut(created.environment, environment);
            }
            EnvironmentsEvent::EnvironmentUpdated(updated) => self.update(updated, recorded),
            EnvironmentsEvent::EnvironmentDeleted(deleted) => {
                if let Some(environment) = self.environments.get(&deleted.environment) {
                    let (slug, mode) = (environment.slug.clone(), environment.mode);
                    self.free_slug(&slug, deleted.environment);
                    self.by_mode.remove_mut(&(mode, deleted.environment));
                    self.environments.remove_mut(&deleted.environment);
                }
            }
            // What it did stands in events of their own.
            EnvironmentsEvent::EnvironmentPromoted(_) => {}
            EnvironmentsEvent::ConfigSet(set) => {
                if let Some(environment) = self.environments.get_mut(&set.environment) {
                    let created = match environment.config.get(&set.key) {
                        Some(value) => (value.created_at, value.created_version),
                        None => (recorded.at, recorded.version),
                    };
                    let value = ConfigValue {
                        value: Arc::from(set.value.as_str()),
                        created_at: created.0,
                        created_version: created.1,
                        updated_at: recorded.at,
                        version: recorded.version,
                    };
                    environment.config.insert_mut(set.key.clone(), value);
                    environment.config_version = recorded.version;
                }
            }
            EnvironmentsEvent::ConfigDeleted(deleted) => {
                if let Some(environment) = self.environments.get_mut(&deleted.environment) {
                    environment.config.remove_mut(&deleted.key);
                    environment.config_version = recorded.version;
                }
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.iter().map(|environment| 1 + environment.config.size()).sum()
    }
}

impl Area for Environments {
    const READS: &'static [&'static str] =
        &["environment.create", "environment.update", "environment.delete", "config.set", "config.delete"];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] = &[
        Reads { kind: ResourceType::Environment, permission: Permission::EnvironmentRead },
        Reads { kind: ResourceType::Config, permission: Permission::ConfigRead },
    ];

    fn of(organization: &Organization) -> &Self {
        &organization.environments
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let mut narrowed = Self::default();
        for environment in self.meant(focus) {
            narrowed.by_mode.insert_mut((environment.mode, environment.id), ());
            narrowed.environments.insert_mut(environment.id, environment.narrowed(focus));
        }
        // Amid a restore two environments can have one slug; whose it is then, only this map knows.
        for (slug, id) in self.by_slug.iter().filter(|(_, id)| narrowed.environments.contains_key(id)) {
            narrowed.by_slug.insert_mut(slug.clone(), *id);
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for environment in self.meant(focus) {
            environment.describe(focus, into);
        }
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, organization};
    use crate::settings::environments::event::{EnvironmentCreated, EnvironmentDeleted};

    fn created(number: u128, slug: &str) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentCreated(EnvironmentCreated {
            environment: id(number),
            name: slug.to_owned(),
            slug: slug.to_owned(),
            mode: Mode::Test,
            description: None,
        }))
    }

    fn renamed(number: u128, slug: &str) -> Event {
        Event::Environments(EnvironmentsEvent::EnvironmentUpdated(EnvironmentUpdated {
            environment: id(number),
            name: None,
            slug: Some(slug.to_owned()),
            description: None,
            cleared: Vec::new(),
        }))
    }

    fn found(events: impl IntoIterator<Item = Event>, slug: &str) -> Option<EnvironmentId> {
        organization(events).environments.by_slug(slug).map(|environment| environment.id)
    }

    #[test]
    fn two_environments_swap_their_slugs() {
        let swapped = [created(1, "a"), created(2, "b"), renamed(1, "b"), renamed(2, "a")];
        assert_eq!(found(swapped.clone(), "a"), Some(id(2)));
        assert_eq!(found(swapped, "b"), Some(id(1)));
    }

    #[test]
    fn a_deleted_environment_leaves_anothers_slug_alone() {
        let deleted = EnvironmentsEvent::EnvironmentDeleted(EnvironmentDeleted { environment: id(1) });
        let taken = [created(1, "a"), created(2, "b"), renamed(2, "a"), Event::Environments(deleted)];
        assert_eq!(found(taken, "a"), Some(id(2)));
        assert_eq!(found([created(1, "a"), renamed(1, "b")], "a"), None);
    }
}
