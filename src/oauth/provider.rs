//! The catalogue of providers, as data: `providers.toml` beside this. Where providers differ, a field says how; there is no
//! code for any one of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an app of a provider that the catalogue does not have names as its provider.
pub const CUSTOM: &str = "custom";

/// The parameters by which people are sent to consent that are the flow's own, or would take the place of those (RFC 6749
/// §4.1.1, RFC 7636 §4.3, RFC 9101 §5, OAuth 2.0 Multiple Response Type Encoding Practices §2.1): no URL has any of them.
pub const OWN_PARAMETERS: [&str; 10] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// A provider, as its documentation describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name in the API: lowercase letters, digits and hyphens.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Where people are sent to consent.
    pub authorize_url: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: String,
    /// Where tokens are given back (RFC 7009), where it has such a place.
    pub revoke_url: Option<String>,
    /// What a connection asks for at least to be of any use.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What stands between scopes.
    #[serde(default)]
    pub scope_separator: Separator,
    /// What it does about PKCE (RFC 7636), which is sent wherever it is not refused.
    #[serde(default)]
    pub pkce: Pkce,
    /// How an app proves to be itself.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
    /// What is to be sent beside when people are asked to consent, as for a refresh token to be given at all.
    #[serde(default)]
    pub authorize_parameters: BTreeMap<String, String>,
    /// What becomes of a refresh token when it is used.
    #[serde(default)]
    pub refresh: Refresh,
    /// How long an access token is good for, in seconds, where the answer that brings it does not say so.
    pub access_token_seconds: Option<u64>,
    /// What it calls its bearer tokens where it calls them something else (RFC 6749 §7.1).
    #[serde(default)]
    pub token_types: Vec<String>,
    /// What it calls itself in its answers, where it does (RFC 9207).
    pub issuer: Option<String>,
    /// Where its documentation says all this.
    pub source: String,
}

/// What stands between scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// A space (RFC 6749 §3.3).
    #[default]
    Space,
    /// A comma.
    Comma,
}

/// What a provider does about PKCE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pkce {
    /// It refuses whoever comes without.
    Required,
    /// It checks it where it is sent.
    Supported,
    /// Its documentation knows nothing of it, and what it does not know it ignores (RFC 6749 §3.1, §3.2).
    #[default]
    Unsupported,
    /// It takes nobody's code who sends it.
    Refused,
}

/// How an app proves to be itself (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// In the header `Authorization`.
    Basic,
    /// In the form.
    #[default]
    Body,
}

/// What becomes of a refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refresh {
    /// It is good until it is revoked.
    #[default]
    Keeps,
    /// Each use may give another, and then ends the one before.
    Rotates,
    /// There are none: access tokens do not end, or somebody has to consent again.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    provider: Vec<Provider>,
}

static CATALOGUE: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let Catalogue { provider } =
        toml::from_str(include_str!("providers.toml")).expect("a test reads the catalogue");
    provider
});

/// All of them, by id.
pub fn providers() -> &'static [Provider] {
    &CATALOGUE
}

/// One by its id.
pub fn provider(id: &str) -> Option<&'static Provider> {
    let at = CATALOGUE.binary_search_by(|provider| provider.id.as_str().cmp(id)).ok()?;
    CATALOGUE.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::Guard;
    use crate::outgoing::endpoint::Endpoint;
    use crate::settings::oauth_apps::value::{ProviderName, Scope};

    #[test]
    fn the_catalogue_is_in_order_and_each_of_it_is_found() {
        assert!(providers().len() >= 40, "{} providers", providers().len());
        for pair in providers().windows(2) {
            assert!(pair[0].id < pair[1].id, "{} stands before {}", pair[0].id, pair[1].id);
        }
        for found in providers() {
            assert_eq!(provider(&found.id).map(|provider| &provider.name), Some(&found.name));
            assert!(ProviderName::try_from(found.id.as_str()).is_ok(), "{}", found.id);
            assert!(!found.name.is_empty() && found.name.trim() == found.name, "{}", found.id);
        }
        assert!(provider(CUSTOM).is_none() && provider("").is_none());
    }

    #[test]
    fn each_url_is_one_that_may_be_asked_and_each_scope_one_that_may_be_set() {
        for provider in providers() {
            let Provider { id, authorize_url, token_url, revoke_url, issuer, source, .. } = provider;
            for url in [authorize_url, token_url, source].into_iter().chain(revoke_url) {
                let plain = url.split('#').next().unwrap();
                let endpoint =
                    Endpoint::parse(plain, Guard::Public).unwrap_or_else(|e| panic!("{id}: {url}: {e}"));
                assert_eq!(endpoint.to_string(), plain, "{id}: as it is sent");
            }
            for scope in &provider.scopes {
                assert!(Scope::try_from(scope.as_str()).is_ok(), "{id}: {scope}");
            }
            for own in OWN_PARAMETERS {
                assert!(!provider.authorize_parameters.contains_key(own), "{id}: {own}");
            }
            assert!(provider.access_token_seconds.is_none_or(|seconds| seconds >= 60), "{id}");
            // RFC 8414 §2: a URL of https without query or fragment, compared as it is.
            let is_issuer = |url: &String| url.starts_with("https://") && !url.contains(['?', '#']);
            assert!(issuer.as_ref().is_none_or(is_issuer), "{id}");
        }
    }
}
