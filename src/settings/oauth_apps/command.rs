//! Making, changing and deleting OAuth apps. Secrets come sealed, URLs checked.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::OauthAppId;
use crate::oauth::provider::{CUSTOM, ClientAuthentication, provider};
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::oauth_apps::event::{
    CustomUrls, OauthAppCreated, OauthAppDeleted, OauthAppUpdated, OauthAppsEvent,
};
use crate::settings::oauth_apps::projection::{OauthApp, OauthApps};
use crate::settings::oauth_apps::value::{ClientId, ProviderName, Scopes};
use crate::settings::roles::permission::Permission;
use crate::text::Name;

/// The most apps of an organization.
pub const OAUTH_APPS_MAX: usize = 1_000;

/// A command to OAuth apps.
#[derive(Clone, Debug)]
pub enum OauthAppsCommand {
    /// Makes an app.
    Create(CreateOauthApp),
    /// Changes one.
    Update(UpdateOauthApp),
    /// Deletes one.
    Delete(OauthAppId),
}

/// Makes an app.
#[derive(Clone, Debug)]
pub struct CreateOauthApp {
    /// Its id.
    pub app: OauthAppId,
    /// Its provider.
    pub provider: ProviderName,
    /// Its name; the provider's where it has none.
    pub name: Option<Name>,
    /// Its id at the provider.
    pub client_id: ClientId,
    /// Its secret there, under a key of its own.
    pub client_secret: Sealed,
    /// What its connections ask for unless they say otherwise.
    pub scopes: Scopes,
    /// The URLs of a custom provider.
    pub urls: Option<CustomUrls>,
    /// How it proves to be itself at a custom provider.
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent to a custom provider.
    pub pkce: Option<bool>,
}

/// Changes an app; `None` leaves.
#[derive(Clone, Debug)]
pub struct UpdateOauthApp {
    /// Which.
    pub app: OauthAppId,
    /// Its new name.
    pub name: Option<Name>,
    /// Its new id at the provider.
    pub client_id: Option<ClientId>,
    /// Its new secret there, under a key of its own.
    pub client_secret: Option<Sealed>,
    /// Its new scopes.
    pub scopes: Option<Scopes>,
    /// Its new URLs.
    pub urls: UrlsPatch,
    /// How it proves to be itself from now on.
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent from now on.
    pub pkce: Option<bool>,
}

/// Which of the URLs of a custom provider change; `None` leaves, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct UrlsPatch {
    /// Where people are sent to consent.
    pub authorize_url: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Option<String>,
    /// Where tokens are given back.
    pub revoke_url: Option<Option<String>>,
    /// What the provider calls itself.
    pub issuer: Option<Option<String>>,
}

impl UrlsPatch {
    fn is_empty(&self) -> bool {
        self.authorize_url.is_none()
            && self.token_url.is_none()
            && self.revoke_url.is_none()
            && self.issuer.is_none()
    }

    fn apply(&self, to: &CustomUrls) -> CustomUrls {
        let Self { authorize_url, token_url, revoke_url, issuer } = self;
        CustomUrls {
            authorize_url: authorize_url.as_ref().unwrap_or(&to.authorize_url).clone(),
            token_url: token_url.as_ref().unwrap_or(&to.token_url).clone(),
            revoke_url: revoke_url.as_ref().unwrap_or(&to.revoke_url).clone(),
            issuer: issuer.as_ref().unwrap_or(&to.issuer).clone(),
        }
    }
}

/// Why a command to OAuth apps appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OauthAppsRejection {
    /// There is no such app.
    #[error("there is no such OAuth app")]
    NotFound,
    /// The catalogue has no such provider.
    #[error("there is no such provider")]
    UnknownProvider,
    /// The provider has its own URLs, its own way to tell apps apart, and its own about PKCE.
    #[error("only an app of provider `{CUSTOM}` has URLs of its own")]
    NotCustom,
    /// A custom provider needs its URLs.
    #[error("an app of provider `{CUSTOM}` needs its URLs")]
    UrlsMissing,
    /// A URL changes, and the secret does not come with it.
    #[error("whoever changes a URL says the client secret again")]
    SecretMissing,
    /// People were asked for connections as this app.
    #[error("the OAuth app has connections")]
    InUse,
    /// More apps than an organization can have.
    #[error("an organization has at most {OAUTH_APPS_MAX} OAuth apps")]
    TooMany,
}

impl OauthAppsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::OauthAppManage)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`OauthAppsRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let apps = &state.oauth_apps;
        match self {
            Self::Create(command) => Ok(command.decide(apps)?),
            Self::Update(command) => command.decide(apps, context),
            Self::Delete(app) => delete(*app, state, context),
        }
    }
}

/// An event about an app.
pub(super) fn about(app: OauthAppId, name: &str, event: OauthAppsEvent) -> NewEvent {
    NewEvent::new(Resource::named(ResourceType::OauthApp, app, name), event)
}

fn find(apps: &OauthApps, app: OauthAppId) -> Result<&OauthApp, OauthAppsRejection> {
    apps.get(app).ok_or(OauthAppsRejection::NotFound)
}

impl CreateOauthApp {
    fn decide(&self, apps: &OauthApps) -> Result<Vec<NewEvent>, OauthAppsRejection> {
        let known = provider(self.provider.as_str());
        let is_custom = self.provider.as_str() == CUSTOM;
        match (known, &self.urls) {
            (None, _) if !is_custom => return Err(OauthAppsRejection::UnknownProvider),
            (None, None) => return Err(OauthAppsRejection::UrlsMissing),
            (Some(_), Some(_)) => return Err(OauthAppsRejection::NotCustom),
            (Some(_), None) if self.client_authentication.is_some() || self.pkce.is_some() => {
                return Err(OauthAppsRejection::NotCustom);
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if apps.count() >= OAUTH_APPS_MAX {
            return Err(OauthAppsRejection::TooMany);
        }
        let provider_name = known.map_or(CUSTOM, |provider| &provider.name);
        let name = self.name.as_ref().map_or(provider_name, Name::as_str);
        let created = OauthAppCreated {
            app: self.app,
            provider: self.provider.to_string(),
            name: name.to_owned(),
            client_id: self.client_id.to_string(),
            credentials_version: 1,
            client_secret: self.client_secret.clone(),
            scopes: self.scopes.to_texts(),
            urls: self.urls.clone(),
            // Both said in any case, so that a restore knows what to bring back.
            client_authentication: is_custom.then(|| self.client_authentication.unwrap_or_default()),
            pkce: is_custom.then(|| self.pkce.unwrap_or(true)),
            copied_from: None,
        };
        let event = about(self.app, name, OauthAppsEvent::OauthAppCreated(created));
        Ok(vec![event.using(self.client_secret.key)])
    }
}

impl UpdateOauthApp {
    fn decide(&self, apps: &OauthApps, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = find(apps, self.app)?;
        let of_its_own = !self.urls.is_empty() || self.client_authentication.is_some() || self.pkce.is_some();
        if current.urls.is_none() && of_its_own {
            return Err(OauthAppsRejection::NotCustom.into());
        }
        let urls = current.urls.as_ref().map(|urls| self.urls.apply(urls));
        let urls = urls.filter(|urls| current.urls.as_ref() != Some(urls));
        if urls.is_some() && self.client_secret.is_none() {
            return Err(OauthAppsRejection::SecretMissing.into());
        }
        context.check_version(current.version)?;
        let updated = OauthAppUpdated {
            name: changed(self.name.as_ref().map(ToString::to_string), &current.name),
            client_id: changed(self.client_id.as_ref().map(ToString::to_string), &current.client_id),
            credentials_version: self
                .client_secret
                .as_ref()
                .map(|_| current.client_secret.credentials_version + 1),
            client_secret: self.client_secret.clone(),
            scopes: changed(self.scopes.as_ref().map(Scopes::to_texts), &current.scopes),
            urls,
            client_authentication: self
                .client_authentication
                .filter(|new| current.client_authentication != Some(*new)),
            pkce: self.pkce.filter(|new| current.pkce != Some(*new)),
            ..OauthAppUpdated::of(current.id)
        };
        if updated == OauthAppUpdated::of(current.id) {
            return Ok(Vec::new());
        }
        let shown = updated.name.as_ref().unwrap_or(&current.name).clone();
        let event = about(current.id, &shown, OauthAppsEvent::OauthAppUpdated(updated));
        Ok(vec![match &self.client_secret {
            Some(secret) => event.using(secret.key),
            None => event,
        }])
    }
}

/// What is new, unless it is what there is.
fn changed<T: PartialEq>(new: Option<T>, current: &T) -> Option<T> {
    new.filter(|new| new != current)
}

fn delete(app: OauthAppId, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
    let current = find(&state.oauth_apps, app)?;
    context.check_version(current.version)?;
    if state.connections.use_app(app) {
        return Err(OauthAppsRejection::InUse.into());
    }
    Ok(vec![about(app, &current.name, OauthAppsEvent::OauthAppDeleted(OauthAppDeleted { app }))])
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
