//! Managed OAuth apps, as a fold.

#![warn(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::platform::managed_apps::event::ManagedAppsEvent;
use crate::seal::{Commitment, Sealed};

/// The operator's OAuth apps, by provider.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ManagedApps {
    apps: RedBlackTreeMapSync<String, ManagedApp>,
}

/// A managed OAuth app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedApp {
    /// Its provider.
    pub provider: String,
    /// Its id there.
    pub client_id: String,
    /// Its secret there.
    pub client_secret: Arc<Sealed>,
    /// What history committed to of the secret's key.
    pub commitment: Option<Commitment>,
    /// What its connections ask for unless they say otherwise.
    pub scopes: Vec<String>,
    /// Since when there is one of its provider.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// The version of the platform's stream that set it.
    pub version: Version,
}

impl ManagedApps {
    /// A provider's, if it has one.
    pub fn get(&self, provider: &str) -> Option<&ManagedApp> {
        self.apps.get(provider)
    }

    /// All of them, by provider.
    pub fn iter(&self) -> impl Iterator<Item = &ManagedApp> {
        self.apps.values()
    }
}

impl Fold for ManagedApps {
    const NAME: &'static str = "managed_apps";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::ManagedApps(event) = &recorded.event else { return };
        match event {
            ManagedAppsEvent::ManagedAppSet(set) => {
                let created_at = self.get(&set.provider).map_or(recorded.at, |before| before.created_at);
                let app = ManagedApp {
                    provider: set.provider.clone(),
                    client_id: set.client_id.clone(),
                    client_secret: Arc::new(set.client_secret.clone()),
                    commitment: recorded.keys.get(&set.client_secret.key).copied(),
                    scopes: set.scopes.clone(),
                    created_at,
                    updated_at: recorded.at,
                    version: recorded.version,
                };
                self.apps.insert_mut(set.provider.clone(), app);
            }
            ManagedAppsEvent::ManagedAppDeleted(deleted) => {
                self.apps.remove_mut(&deleted.provider);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.apps.size()
    }
}
