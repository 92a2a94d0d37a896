//! What happens to environments and their configuration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::EnvironmentId;

events! {
    /// Environments and their configuration.
    pub enum EnvironmentsEvent {
        /// An environment was created.
        "environment.create", 1 => EnvironmentCreated(EnvironmentCreated);
        /// An environment was renamed or described.
        "environment.update", 1 => EnvironmentUpdated(EnvironmentUpdated);
        /// An environment went, with its configuration.
        "environment.delete", 1 => EnvironmentDeleted(EnvironmentDeleted);
        /// Configuration and secrets were carried over from another environment.
        "environment.promote", 1 => EnvironmentPromoted(EnvironmentPromoted);
        /// A configuration value was set.
        "config.set", 1 => ConfigSet(ConfigSet);
        /// A configuration value was deleted.
        "config.delete", 1 => ConfigDeleted(ConfigDeleted);
    }
}

/// Whether programs reach an environment with test keys or with live ones. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Reached by test keys.
    Test,
    /// Reached by live keys.
    Live,
}

impl Mode {
    /// The mode's name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

/// An environment was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentCreated {
    /// The environment.
    pub environment: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// Test or live.
    pub mode: Mode,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An environment was renamed or described; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentUpdated {
    /// The environment.
    pub environment: EnvironmentId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of fields that were cleared: `description`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}

/// An environment went, with its configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentDeleted {
    /// The environment.
    pub environment: EnvironmentId,
}

/// Configuration and secrets were carried over from another environment, by the events before this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentPromoted {
    /// Where they came from.
    pub from: EnvironmentId,
    /// Where they went.
    pub to: EnvironmentId,
    /// How many events did it.
    pub steps: u64,
}

/// A configuration value was set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigSet {
    /// The environment.
    pub environment: EnvironmentId,
    /// The variable's name.
    pub key: String,
    /// The value as canonical JSON text (RFC 8785): what a user wrote as JSON is text in a record.
    pub value: String,
}

/// A configuration value was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigDeleted {
    /// The environment.
    pub environment: EnvironmentId,
    /// The variable's name.
    pub key: String,
}
