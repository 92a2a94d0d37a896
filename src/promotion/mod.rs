//! Two environments beside each other: what differs between them, and carrying configuration and secrets over from one
//! to the other, all at once, by ordinary events.
//!
//! Configuration is compared by value. Of secrets it is told whether both have copies of one value, never whether two
//! values are the same. What is copied is sealed anew under a key of its own.

use crate::command::Rejection;
use crate::event::Version;
use crate::history::restore::plan::Step;
use crate::ids::{EnvironmentId, SecretId};
use crate::organization::Organization;
use crate::settings::environments::command::{CONFIG_VALUES_MAX, EnvironmentsRejection};
use crate::settings::environments::value::ConfigKey;
use crate::settings::secrets::command::SecretsRejection;
use crate::settings::secrets::value::Scope;
use crate::settings::{environments, secrets};

pub mod command;
pub mod difference;
pub mod http;

/// What is to be carried over.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where it is.
    pub from: EnvironmentId,
    /// Where it is to go.
    pub to: EnvironmentId,
    /// Configuration values.
    pub config: Vec<ConfigKey>,
    /// Secrets.
    pub secrets: Vec<ConfigKey>,
}

/// Why nothing can be carried over.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpromotable {
    /// There is no such configuration value: its place among those that are wanted.
    Config(usize),
    /// There is no such secret: its place among those that are wanted.
    Secret(usize),
    /// The areas refuse.
    Rejected(Rejection),
}

impl From<EnvironmentsRejection> for Unpromotable {
    fn from(rejection: EnvironmentsRejection) -> Self {
        Self::Rejected(rejection.into())
    }
}

impl From<SecretsRejection> for Unpromotable {
    fn from(rejection: SecretsRejection) -> Self {
        Self::Rejected(rejection.into())
    }
}

/// The versions of all that a plan rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    config: [Version; 2],
    secrets: [Version; 2],
}

impl Seen {
    /// What a plan would rest on now; `None` where one of the environments is not there.
    pub fn of(state: &Organization, from: EnvironmentId, to: EnvironmentId) -> Option<Self> {
        let config = |id| state.environments.get(id).map(|environment| environment.config_version);
        let secrets = |id| state.secrets.changed(Scope::Environment(id));
        Some(Self { config: [config(from)?, config(to)?], secrets: [secrets(from), secrets(to)] })
    }
}

/// Plans the steps that carry over what is not the same already. `fresh` makes the ids of secrets that are new there.
///
/// # Errors
/// See [`Unpromotable`].
pub fn plan(
    state: &Organization,
    wanted: &Wanted,
    mut fresh: impl FnMut() -> SecretId,
) -> Result<Vec<Step>, Unpromotable> {
    let find = |id| state.environments.get(id).ok_or(EnvironmentsRejection::NotFound);
    let (from, to) = (find(wanted.from)?, find(wanted.to)?);
    let mut steps = Vec::new();
    for (place, key) in wanted.config.iter().enumerate() {
        let value = from.config.get(key.as_str()).ok_or(Unpromotable::Config(place))?;
        steps.extend(environments::promotion::copy(key, value, to));
    }
    let added = wanted.config.iter().filter(|key| to.config.get(key.as_str()).is_none()).count();
    if to.config.size() + added > CONFIG_VALUES_MAX {
        return Err(EnvironmentsRejection::TooManyValues.into());
    }
    for (place, name) in wanted.secrets.iter().enumerate() {
        let secret = state.secrets.find(Scope::Environment(from.id), name.as_str());
        let secret = secret.ok_or(Unpromotable::Secret(place))?;
        steps.extend(secrets::promotion::copy(secret, &state.secrets, to.id, fresh())?);
    }
    Ok(steps)
}
