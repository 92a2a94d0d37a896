//! `/v1/oauth-providers`: the catalogue over HTTP.

use std::collections::BTreeMap;

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::call::Call;
use crate::http::page::{After, Page, PageParameters};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::oauth::provider::{ClientAuthentication, Pkce, Provider, Refresh, Separator, providers};

/// A provider of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthProvider)]
pub struct ProviderBody {
    /// What an app of it names as its provider.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Where people are sent to consent.
    pub authorize_url: &'static str,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: &'static str,
    /// Where tokens are given back, where it has such a place.
    pub revoke_url: Option<&'static str>,
    /// What a connection asks for at least to be of any use.
    pub scopes: &'static [String],
    /// What stands between scopes.
    pub scope_separator: Separator,
    /// What it does about PKCE, which is sent wherever it is not refused.
    pub pkce: Pkce,
    /// How an app proves to be itself.
    pub client_authentication: ClientAuthentication,
    /// What is sent beside when people are asked to consent.
    pub authorize_parameters: &'static BTreeMap<String, String>,
    /// What becomes of a refresh token when it is used.
    pub refresh: Refresh,
    /// How long an access token is good for, in seconds, where the provider's answer does not say so.
    pub access_token_seconds: Option<u64>,
    /// What it calls its bearer tokens where it calls them something else.
    pub token_types: &'static [String],
    /// What it calls itself in its answers, where it does.
    pub issuer: Option<&'static str>,
    /// Where its documentation says all this.
    pub source: &'static str,
    /// Whether the operator keeps an app of it, for all organizations.
    pub managed: bool,
}

impl ProviderBody {
    fn new(provider: &'static Provider, managed: bool) -> Self {
        Self {
            id: &provider.id,
            name: &provider.name,
            authorize_url: &provider.authorize_url,
            token_url: &provider.token_url,
            revoke_url: provider.revoke_url.as_deref(),
            scopes: &provider.scopes,
            scope_separator: provider.scope_separator,
            pkce: provider.pkce,
            client_authentication: provider.client_authentication,
            authorize_parameters: &provider.authorize_parameters,
            refresh: provider.refresh,
            access_token_seconds: provider.access_token_seconds,
            token_types: &provider.token_types,
            issuer: provider.issuer.as_deref(),
            source: &provider.source,
            managed,
        }
    }
}

/// All providers of the catalogue, by id.
#[utoipa::path(get, path = "/v1/oauth-providers", tag = "oauth", params(PageParameters), responses(
    (status = 200, body = Page<ProviderBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let request = cursors.request(&scope, "oauth_providers", &query)?;
    let NoParameters {} = request.filters.parse()?;
    let platform = call.app.store.platform().view();
    let managed = &platform.platform().managed_apps;
    let after = request.after.as_ref().map(|after| after.last.clone());
    let rest = providers().iter().filter(|provider| after.as_ref().is_none_or(|after| provider.id > *after));
    let found = rest.map(|provider| ProviderBody::new(provider, managed.get(&provider.id).is_some()));
    let page = cursors.page(&scope, "oauth_providers", &request, found, |last| After {
        last: last.id.to_owned(),
        version: None,
    });
    Ok(call.list(&call.organization.view, &page))
}
