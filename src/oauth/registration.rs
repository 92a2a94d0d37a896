//! A registration at a provider: an organization's app or the operator's, with its secret opened, and where the provider is
//! asked. Made anew for each use, so that the secret is in memory no longer than it is needed.

use crate::ids::StreamId;
use crate::oauth::provider::{ClientAuthentication, Pkce, Provider, Separator, provider};
use crate::organization::Organization;
use crate::outgoing::Guard;
use crate::outgoing::endpoint::Endpoint;
use crate::platform::managed_apps;
use crate::seal::Plain;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::settings::connections::value::AppRef;
use crate::settings::oauth_apps::client_secret_field;
use crate::store::Store;

/// A registration at a provider.
pub struct Registration {
    /// What the provider is called.
    pub provider_name: String,
    /// The app's name.
    pub app_name: String,
    /// The number of its credentials, of an app of the organization's.
    pub credentials_version: Option<u64>,
    /// The app's id at the provider.
    pub client_id: String,
    /// Its secret there.
    pub client_secret: Plain,
    /// How it proves to be itself.
    pub authentication: ClientAuthentication,
    /// Whether PKCE is sent.
    pub sends_pkce: bool,
    /// Where people are sent to consent.
    pub authorize_url: Endpoint,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Endpoint,
    /// Where tokens are given back.
    pub revoke_url: Option<Endpoint>,
    /// What the provider calls itself in its answers, where that is known.
    pub issuer: Option<String>,
    /// What the catalogue says of the provider.
    pub catalogued: Option<&'static Provider>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoRegistration {
    /// The app, or its provider, is gone, or a URL may not be asked any more.
    #[error("the app cannot be used any more")]
    Gone,
    /// The thread that opens it died.
    #[error("the thread that opens the app died")]
    Died,
    /// Its secret could not be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Registration {
    /// The app that people are asked as. Blocks where its key is not in memory.
    ///
    /// # Errors
    /// See [`NoRegistration`].
    pub fn find(
        store: &Store,
        guard: Guard,
        stream: StreamId,
        organization: &Organization,
        app: &AppRef,
    ) -> Result<Self, NoRegistration> {
        match app {
            AppRef::Own(id) => {
                let app = organization.oauth_apps.get(*id).ok_or(NoRegistration::Gone)?;
                let urls = app.effective_urls().ok_or(NoRegistration::Gone)?;
                let endpoint = |url: &str| Endpoint::parse(url, guard).map_err(|_| NoRegistration::Gone);
                let catalogued = provider(&app.provider);
                let secret = &app.client_secret;
                let key = store.ring().data_key(stream, secret.sealed.key, secret.commitment)?;
                let field = id.to_string();
                let client_secret =
                    key.open(&client_secret_field(stream, &field), &secret.sealed).map_err(KeyError::from)?;
                let authorize_url = endpoint(&urls.authorize_url)?;
                // What a custom app calls itself is no provider's name.
                let host = || authorize_url.host().to_string();
                Ok(Self {
                    provider_name: catalogued.map_or_else(host, |found| found.name.clone()),
                    app_name: app.name.clone(),
                    credentials_version: Some(secret.credentials_version),
                    client_id: app.client_id.clone(),
                    client_secret,
                    authentication: app.effective_authentication(),
                    sends_pkce: app.sends_pkce(),
                    token_url: endpoint(&urls.token_url)?,
                    authorize_url,
                    revoke_url: urls.revoke_url.as_deref().map(endpoint).transpose()?,
                    issuer: urls.issuer,
                    catalogued,
                })
            }
            AppRef::Managed(name) => Self::managed(store.ring(), store, guard, name),
        }
    }

    fn managed(ring: &KeyRing, store: &Store, guard: Guard, name: &str) -> Result<Self, NoRegistration> {
        let platform = store.platform().view();
        let app = platform.platform().managed_apps.get(name).ok_or(NoRegistration::Gone)?;
        let found = provider(name).ok_or(NoRegistration::Gone)?;
        let endpoint = |url: &str| Endpoint::parse(url, guard).map_err(|_| NoRegistration::Gone);
        let key = ring.data_key(StreamId::Platform, app.client_secret.key, app.commitment)?;
        let field = managed_apps::client_secret_field(name);
        Ok(Self {
            provider_name: found.name.clone(),
            app_name: found.name.clone(),
            credentials_version: None,
            client_id: app.client_id.clone(),
            client_secret: key.open(&field, &app.client_secret).map_err(KeyError::from)?,
            authentication: found.client_authentication,
            sends_pkce: found.pkce != Pkce::Refused,
            authorize_url: endpoint(&found.authorize_url)?,
            token_url: endpoint(&found.token_url)?,
            revoke_url: found.revoke_url.as_deref().map(endpoint).transpose()?,
            issuer: found.issuer.clone(),
            catalogued: Some(found),
        })
    }

    /// Where an app's tokens are refreshed, by host and port, with nothing opened; `None` where that is nowhere any more.
    pub fn token_host(guard: Guard, organization: &Organization, app: &AppRef) -> Option<String> {
        let url = match app {
            AppRef::Own(id) => organization.oauth_apps.get(*id)?.effective_urls()?.token_url,
            AppRef::Managed(name) => provider(name)?.token_url.clone(),
        };
        let url = Endpoint::parse(&url, guard).ok()?;
        Some(format!("{}:{}", url.host(), url.port()))
    }

    /// What stands between scopes.
    pub fn separator(&self) -> char {
        match self.catalogued.map(|provider| provider.scope_separator) {
            Some(Separator::Comma) => ',',
            Some(Separator::Space) | None => ' ',
        }
    }

    /// Whether an answer is the provider's own by what it calls itself (RFC 9207 §2.4): the issuer that the app names, which it
    /// then has to say, or that the catalogue does, where it says any; where neither does, a URL of the host that people were
    /// sent to, or that the code is exchanged at.
    pub fn is_issuer(&self, issuer: Option<&str>) -> bool {
        match (&self.issuer, issuer) {
            (Some(expected), Some(said)) => said == expected,
            (Some(_), None) => self.catalogued.is_some(),
            (None, None) => true,
            (None, Some(said)) => {
                let origin = url::Url::parse(said).map(|url| url.origin());
                origin.is_ok_and(|origin| {
                    [&self.authorize_url, &self.token_url].iter().any(|own| own.url().origin() == origin)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(provider_name: &str, issuer: Option<&str>) -> Registration {
        let endpoint = |url| Endpoint::parse(url, Guard::Public).unwrap();
        let catalogued = provider(provider_name);
        let issuer = issuer.map(ToOwned::to_owned);
        Registration {
            provider_name: provider_name.to_owned(),
            app_name: "Ours".to_owned(),
            credentials_version: None,
            client_id: "client".to_owned(),
            client_secret: Plain::from("secret"),
            authentication: ClientAuthentication::Body,
            sends_pkce: true,
            authorize_url: endpoint("https://login.example.com/authorize"),
            token_url: endpoint("https://api.example.com/token"),
            revoke_url: None,
            issuer: issuer.or_else(|| catalogued?.issuer.clone()),
            catalogued,
        }
    }

    #[test]
    fn an_issuer_is_the_one_that_is_named_or_of_the_providers_own_hosts() {
        let (own, elsewhere) = ("https://login.example.com/oauth2", "https://evil.example.net");
        for (provider, named, said, is) in [
            ("custom", None, None, true),
            ("custom", None, Some(own), true),
            ("custom", None, Some("https://api.example.com"), true),
            ("custom", None, Some(elsewhere), false),
            ("custom", None, Some("nonsense"), false),
            ("custom", Some("https://id.example.org"), Some("https://id.example.org"), true),
            ("custom", Some("https://id.example.org"), Some(own), false),
            ("custom", Some("https://id.example.org"), None, false),
            // The catalogue knows what Google calls itself, but not whether it always says so.
            ("google", None, Some("https://accounts.google.com"), true),
            ("google", None, Some("https://accounts.google.com/"), false),
            ("google", None, Some(own), false),
            ("google", None, None, true),
        ] {
            let registration = registration(provider, named);
            assert_eq!(registration.is_issuer(said), is, "{provider} {named:?} {said:?}");
        }
    }
}
