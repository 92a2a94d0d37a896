//! Setting and deleting managed OAuth apps.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::oauth::provider::provider;
use crate::platform::managed_apps::event::{ManagedAppDeleted, ManagedAppSet, ManagedAppsEvent};
use crate::platform::managed_apps::projection::{ManagedApp, ManagedApps};
use crate::seal::Sealed;

/// A command to managed OAuth apps.
#[derive(Clone, Debug)]
pub enum ManagedAppsCommand {
    /// Sets a provider's.
    Set(SetManagedApp),
    /// Deletes the one of this provider.
    Delete(String),
}

/// Sets a provider's managed app, whether it has one or not.
#[derive(Clone, Debug)]
pub struct SetManagedApp {
    /// The provider.
    pub provider: String,
    /// The app's id there.
    pub client_id: String,
    /// Its secret there, under a key of its own.
    pub client_secret: Sealed,
    /// What its connections ask for unless they say otherwise.
    pub scopes: Vec<String>,
}

/// Why a command to managed OAuth apps appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagedAppsRejection {
    /// The catalogue has no such provider, or it has no managed app.
    #[error("there is no such managed OAuth app")]
    NotFound,
}

impl ManagedAppsCommand {
    /// Decides.
    ///
    /// # Errors
    /// [`ManagedAppsRejection`].
    pub fn decide(&self, state: &ManagedApps) -> Result<Vec<NewEvent>, ManagedAppsRejection> {
        match self {
            Self::Set(set) => set.decide(state),
            Self::Delete(provider) => {
                let current = state.get(provider).ok_or(ManagedAppsRejection::NotFound)?;
                Ok(vec![deleted(current)])
            }
        }
    }
}

impl SetManagedApp {
    fn decide(&self, state: &ManagedApps) -> Result<Vec<NewEvent>, ManagedAppsRejection> {
        let known = provider(&self.provider).ok_or(ManagedAppsRejection::NotFound)?;
        let set = ManagedAppSet {
            provider: self.provider.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            scopes: self.scopes.clone(),
            destroyed_keys: state
                .get(&self.provider)
                .map(|before| before.client_secret.key)
                .into_iter()
                .collect(),
        };
        let resource = Resource::named(ResourceType::ManagedOauthApp, &self.provider, &known.name);
        let event = NewEvent::new(resource, ManagedAppsEvent::ManagedAppSet(set));
        Ok(vec![event.using(self.client_secret.key)])
    }
}

/// That a managed app is deleted, and its secret's key with it.
pub fn deleted(app: &ManagedApp) -> NewEvent {
    let deleted =
        ManagedAppDeleted { provider: app.provider.clone(), destroyed_keys: vec![app.client_secret.key] };
    let resource = Resource::new(ResourceType::ManagedOauthApp, &app.provider);
    NewEvent::new(resource, ManagedAppsEvent::ManagedAppDeleted(deleted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{events, id, platform, sealed};

    fn set(number: u128, provider: &str) -> SetManagedApp {
        SetManagedApp {
            provider: provider.to_owned(),
            client_id: "client".to_owned(),
            client_secret: sealed(number),
            scopes: vec!["read".to_owned()],
        }
    }

    fn was_set(number: u128, destroyed: &[u128]) -> Event {
        Event::ManagedApps(ManagedAppsEvent::ManagedAppSet(ManagedAppSet {
            provider: "github".to_owned(),
            client_id: "client".to_owned(),
            client_secret: sealed(number),
            scopes: vec!["read".to_owned()],
            destroyed_keys: destroyed.iter().map(|number| id(*number)).collect(),
        }))
    }

    fn decide(given: Vec<Event>, command: ManagedAppsCommand) -> Result<Vec<Event>, ManagedAppsRejection> {
        events(command.decide(&platform(given).managed_apps))
    }

    #[test]
    fn another_secret_takes_the_place_of_the_one_before_and_destroys_it() {
        assert_eq!(decide(vec![], ManagedAppsCommand::Set(set(1, "github"))), Ok(vec![was_set(1, &[])]));
        let given = vec![was_set(1, &[])];
        assert_eq!(decide(given, ManagedAppsCommand::Set(set(2, "github"))), Ok(vec![was_set(2, &[1])]));
        let nobody = ManagedAppsCommand::Set(set(1, "nobody"));
        assert_eq!(decide(vec![], nobody), Err(ManagedAppsRejection::NotFound));
    }

    #[test]
    fn what_is_deleted_takes_its_key_along() {
        let delete = || ManagedAppsCommand::Delete("github".to_owned());
        assert_eq!(decide(vec![], delete()), Err(ManagedAppsRejection::NotFound));
        let gone = ManagedAppDeleted { provider: "github".to_owned(), destroyed_keys: vec![id(1)] };
        let gone = Event::ManagedApps(ManagedAppsEvent::ManagedAppDeleted(gone));
        assert_eq!(decide(vec![was_set(1, &[])], delete()), Ok(vec![gone.clone()]));
        let given = vec![was_set(1, &[]), gone];
        assert_eq!(decide(given, delete()), Err(ManagedAppsRejection::NotFound));
    }
}
