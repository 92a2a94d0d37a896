//! Environments and their configuration as a fold.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::Serialize;

use crate::area::{Area, DirectoryEntry};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::EnvironmentId;
use crate::settings::environments::event::{EnvironmentUpdated, EnvironmentsEvent, Mode};

/// The environments of an organization.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Environments {
    environments: RedBlackTreeMapSync<EnvironmentId, Environment>,
    by_slug: RedBlackTreeMapSync<String, EnvironmentId>,
}

/// An environment with its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

    /// All environments, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Environment> {
        self.environments.values()
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
            self.by_slug.remove_mut(&old);
            self.by_slug.insert_mut(slug.clone(), updated.environment);
        }
    }
}

impl Area for Environments {
    const NAME: &'static str = "environments";
    const PROJECTION: u32 = 2;

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
                self.environments.insert_mut(created.environment, environment);
            }
            EnvironmentsEvent::EnvironmentUpdated(updated) => self.update(updated, recorded),
            EnvironmentsEvent::EnvironmentDeleted(deleted) => {
                if let Some(environment) = self.environments.get(&deleted.environment) {
                    self.by_slug.remove_mut(&environment.slug);
                    self.environments.remove_mut(&deleted.environment);
                }
            }
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
}
