//! What happens to OAuth apps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::OauthAppId;
use crate::oauth::provider::ClientAuthentication;
use crate::seal::Sealed;

events! {
    /// OAuth apps and their credentials.
    pub enum OauthAppsEvent {
        /// An app was made.
        "oauth_app.create", 1 => OauthAppCreated(OauthAppCreated);
        /// An app was renamed, or given other credentials, scopes or URLs.
        "oauth_app.update", 1 => OauthAppUpdated(OauthAppUpdated);
        /// An app was deleted. The keys of its secrets stayed, for a restore to bring it back.
        "oauth_app.delete", 1 => OauthAppDeleted(OauthAppDeleted);
    }
}

impl OauthAppsEvent {
    /// The client secret in it, to be sealed anew before it is recorded.
    pub fn client_secret_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Self::OauthAppCreated(created) => Some(&mut created.client_secret),
            Self::OauthAppUpdated(updated) => updated.client_secret.as_mut(),
            Self::OauthAppDeleted(_) => None,
        }
    }
}

/// Where credentials were first written that were copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsOrigin {
    /// The app.
    pub resource: OauthAppId,
    /// Which of its credentials.
    pub credentials_version: u64,
}

/// The URLs of a provider that the catalogue does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomUrls {
    /// Where people are sent to consent.
    pub authorize_url: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: String,
    /// Where tokens are given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<String>,
    /// What the provider calls itself in its answers (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// An app was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthAppCreated {
    /// The app.
    pub app: OauthAppId,
    /// Its provider: one of the catalogue, or `custom`.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Its id at the provider.
    pub client_id: String,
    /// The number of its credentials: 1, or of an app that came back the one after the last that it had.
    pub credentials_version: u64,
    /// Its secret at the provider, under a key of its own.
    pub client_secret: Sealed,
    /// What its connections ask for unless they say otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The URLs of a custom provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<CustomUrls>,
    /// How the app proves to be itself at a custom provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent to a custom provider; it is where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkce: Option<bool>,
    /// Where its secret was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CredentialsOrigin>,
}

/// An app was changed; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthAppUpdated {
    /// The app.
    pub app: OauthAppId,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its new id at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The number of its new secret; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_version: Option<u64>,
    /// Its new secret at the provider, under a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Sealed>,
    /// The new scopes, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The new URLs of a custom provider, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<CustomUrls>,
    /// How it proves to be itself from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkce: Option<bool>,
    /// Where its new secret was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<CredentialsOrigin>,
}

impl OauthAppUpdated {
    /// A change of nothing yet.
    pub fn of(app: OauthAppId) -> Self {
        Self {
            app,
            name: None,
            client_id: None,
            credentials_version: None,
            client_secret: None,
            scopes: None,
            urls: None,
            client_authentication: None,
            pkce: None,
            copied_from: None,
        }
    }
}

/// An app was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthAppDeleted {
    /// The app.
    pub app: OauthAppId,
}
