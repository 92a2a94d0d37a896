//! `/v1/oauth-apps`: OAuth apps over HTTP, never with their secrets.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{Fresh, OauthAppId};
use crate::oauth::callback_url;
use crate::oauth::provider::{ClientAuthentication, OWN_PARAMETERS, Pkce, Provider, provider};
use crate::outgoing::endpoint::Endpoint;
use crate::platform::managed_apps::projection::ManagedApp;
use crate::seal::Sealed;
use crate::seal::keyring::NewDataKey;
use crate::settings::oauth_apps::client_secret_field;
use crate::settings::oauth_apps::command::{CreateOauthApp, OauthAppsCommand, UpdateOauthApp, UrlsPatch};
use crate::settings::oauth_apps::event::CustomUrls;
use crate::settings::oauth_apps::projection::{OauthApp, OauthApps};
use crate::settings::oauth_apps::value::{ClientId, ClientSecret, ProviderName, Scopes};
use crate::text::Name;

/// An OAuth app, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthApp)]
pub struct OauthAppBody {
    /// The app; null where it is the operator's.
    pub id: Option<OauthAppId>,
    /// Its provider: one of the catalogue, or `custom`.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Whether the operator keeps it, for all organizations: then its credentials are nobody else's to see or change.
    pub managed: bool,
    /// Its id at the provider.
    pub client_id: Option<String>,
    /// The number of its credentials; another one each time the secret is written.
    pub credentials_version: Option<u64>,
    /// What its connections ask for unless they say otherwise.
    pub scopes: Vec<String>,
    /// Where people are sent to consent.
    pub authorize_url: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Option<String>,
    /// Where tokens are given back, where the provider has such a place.
    pub revoke_url: Option<String>,
    /// What a custom provider calls itself in its answers.
    pub issuer: Option<String>,
    /// How the app proves to be itself.
    pub client_authentication: ClientAuthentication,
    /// Whether PKCE is sent (RFC 7636).
    pub pkce: bool,
    /// Where the provider sends people back to: it is registered there.
    pub redirect_uri: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Option<Version>,
}

impl OauthAppBody {
    fn new(app: &OauthApp, public_url: &str) -> Self {
        let urls = app.effective_urls();
        let url = |of: fn(CustomUrls) -> Option<String>| urls.clone().and_then(of);
        Self {
            id: Some(app.id),
            provider: app.provider.clone(),
            name: app.name.clone(),
            managed: false,
            client_id: Some(app.client_id.clone()),
            credentials_version: Some(app.client_secret.credentials_version),
            scopes: app.scopes.clone(),
            authorize_url: url(|urls| Some(urls.authorize_url)),
            token_url: url(|urls| Some(urls.token_url)),
            revoke_url: url(|urls| urls.revoke_url),
            issuer: url(|urls| urls.issuer),
            client_authentication: app.effective_authentication(),
            pkce: app.sends_pkce(),
            redirect_uri: callback_url(public_url, app.id),
            created_at: app.created_at,
            updated_at: app.updated_at,
            version: Some(app.version),
        }
    }

    /// The operator's, of which nobody is told its credentials.
    fn managed(app: &ManagedApp, public_url: &str) -> Self {
        let known = provider(&app.provider);
        let url = |of: fn(&Provider) -> &str| known.map(|provider| of(provider).to_owned());
        Self {
            id: None,
            provider: app.provider.clone(),
            name: url(|provider| &provider.name).unwrap_or_else(|| app.provider.clone()),
            managed: true,
            client_id: None,
            credentials_version: None,
            scopes: app.scopes.clone(),
            authorize_url: url(|provider| &provider.authorize_url),
            token_url: url(|provider| &provider.token_url),
            revoke_url: known.and_then(|provider| provider.revoke_url.clone()),
            issuer: None,
            client_authentication: known.map(|known| known.client_authentication).unwrap_or_default(),
            pkce: known.is_none_or(|known| known.pkce != Pkce::Refused),
            redirect_uri: callback_url(public_url, &app.provider),
            created_at: app.created_at,
            updated_at: app.updated_at,
            version: None,
        }
    }
}

/// An OAuth app to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOauthApp {
    /// Its provider: one of the catalogue, or `custom`, which needs `authorize_url` and `token_url`.
    provider: ProviderName,
    /// Its name; the provider's where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// Its id at the provider.
    client_id: ClientId,
    /// Its secret there.
    client_secret: ClientSecret,
    /// What its connections ask for unless they say otherwise.
    #[serde(default)]
    scopes: Scopes,
    /// Where people are sent to consent: https, and a public host.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    authorize_url: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    token_url: Option<String>,
    /// Where tokens are given back (RFC 7009).
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    revoke_url: Option<String>,
    /// What the provider calls itself in its answers, which it then has to say (RFC 9207).
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    issuer: Option<String>,
    /// How the app proves to be itself; in the form where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent; false is for a custom provider that takes nobody's code who sends it.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pkce: Option<bool>,
}

/// What changes; a field that is absent stays. Whoever changes a URL says the secret again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthAppPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new id at the provider. What people consented to as the one before is refreshed no more (RFC 6749 §6): they have to
    /// connect again.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    client_id: Option<ClientId>,
    /// The new secret there.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    client_secret: Option<ClientSecret>,
    /// The new scopes, all of them.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    scopes: Option<Scopes>,
    /// Where people are sent to consent, of a custom provider.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    authorize_url: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    token_url: Option<String>,
    /// Where tokens are given back; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    revoke_url: Patch<String>,
    /// What the provider calls itself; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    issuer: Patch<String>,
    /// How the app proves to be itself.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent, to a custom provider.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    pkce: Option<bool>,
}

/// All OAuth apps, by id; behind them those that the operator keeps for all organizations, by provider.
#[utoipa::path(get, path = "/v1/oauth-apps", tag = "oauth", params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<OauthAppBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "oauth_apps", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let apps = call.seen::<OauthApps>(&asked, Focus::All).await?;
    // Behind an app's id come further ids, behind a provider's name further managed apps alone.
    let after = request.after.as_ref().map(|after| (after.last.parse::<OauthAppId>().ok(), &after.last));
    let own = apps.iter().filter(|app| after.is_none_or(|(id, _)| id.is_some_and(|id| app.id > id)));
    let platform = call.app.store.platform().view();
    // What the operator had in the past is nothing of an organization's past.
    let managed = platform.platform().managed_apps.iter().filter(|_| asked.at.is_none());
    let managed =
        managed.filter(|app| after.is_none_or(|(id, provider)| id.is_some() || app.provider > *provider));
    let public_url = &call.app.policy.public_url;
    let all = own
        .map(|app| OauthAppBody::new(app, public_url))
        .chain(managed.map(|app| OauthAppBody::managed(app, public_url)));
    let page = cursors.page(&scope, "oauth_apps", &request, all, |last| After {
        last: last.id.map_or_else(|| last.provider.clone(), |id| id.to_string()),
        version: asked.at,
    });
    Ok(apps.mark(call.list(&call.organization.view, &page)))
}

/// Makes an OAuth app.
#[utoipa::path(post, path = "/v1/oauth-apps", tag = "oauth", request_body = NewOauthApp, responses(
    (status = 201, body = OauthAppBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewOauthApp = call.body().parse()?;
    let urls = new.urls(&call)?;
    let app = Fresh.id();
    let (client_secret, key) = sealed(&call, app, &new.client_secret)?;
    let command = CreateOauthApp {
        app,
        provider: new.provider,
        name: new.name,
        client_id: new.client_id,
        client_secret,
        scopes: new.scopes,
        urls,
        client_authentication: new.client_authentication,
        pkce: new.pkce,
    };
    let done = call.submit_sealed(OauthAppsCommand::Create(command), vec![key], StatusCode::CREATED).await?;
    // A replay shows the app that the first request made, which has another id.
    let apps = &done.view.organization().oauth_apps;
    let created = apps
        .get(app)
        .or_else(|| apps.iter().find(|app| app.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/oauth-apps/{}", created.id);
    let body = OauthAppBody::new(created, &call.app.policy.public_url);
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &body))
}

impl NewOauthApp {
    /// The URLs that it has of its own, each checked by its form.
    fn urls(&self, call: &Call) -> Result<Option<CustomUrls>, Problem> {
        let Self { authorize_url, token_url, revoke_url, issuer, .. } = self;
        if authorize_url.is_none() && token_url.is_none() && revoke_url.is_none() && issuer.is_none() {
            return Ok(None);
        }
        let missing = |pointer| Problem::invalid_field(pointer, "missing", "a custom provider needs it");
        let authorize_url = authorize_url.as_ref().ok_or_else(|| missing("/authorize_url"))?;
        let token_url = token_url.as_ref().ok_or_else(|| missing("/token_url"))?;
        Ok(Some(CustomUrls {
            authorize_url: led_to(call, "/authorize_url", authorize_url)?,
            token_url: asked(call, "/token_url", token_url)?,
            revoke_url: revoke_url.as_ref().map(|url| asked(call, "/revoke_url", url)).transpose()?,
            issuer: issuer.as_ref().map(|url| compared(call, "/issuer", url)).transpose()?,
        }))
    }
}

/// An OAuth app.
#[utoipa::path(get, path = "/v1/oauth-apps/{app}", tag = "oauth",
    params(("app" = OauthAppId, Path), AsOfParameters), responses(
    (status = 200, body = OauthAppBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let is_there = |apps: &OauthApps| apps.get(id).is_some();
    let (asked, apps) = call.seen_at::<OauthApps>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let app = apps.get(id).ok_or_else(Problem::not_found)?;
    let body = OauthAppBody::new(app, &call.app.policy.public_url);
    Ok(call.seen_resource(&apps, app.version, &body))
}

/// Changes an OAuth app.
#[utoipa::path(patch, path = "/v1/oauth-apps/{app}", tag = "oauth", request_body = OauthAppPatch,
    params(("app" = OauthAppId, Path)), responses(
    (status = 200, body = OauthAppBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(AtApp { call, app }: AtApp, _: NoParameters) -> Result<Response, Problem> {
    let patch: OauthAppPatch = call.body().parse()?;
    let urls = patch.urls(&call)?;
    let sealed = patch.client_secret.as_ref().map(|secret| sealed(&call, app, secret)).transpose()?;
    let (client_secret, key) = sealed.unzip();
    let command = UpdateOauthApp {
        app,
        name: patch.name,
        client_id: patch.client_id,
        client_secret,
        scopes: patch.scopes,
        urls,
        client_authentication: patch.client_authentication,
        pkce: patch.pkce,
    };
    let keys = key.into_iter().collect();
    let done = call.submit_sealed(OauthAppsCommand::Update(command), keys, StatusCode::OK).await?;
    let updated = done.view.organization().oauth_apps.get(app).ok_or_else(Problem::not_found)?;
    let body = OauthAppBody::new(updated, &call.app.policy.public_url);
    Ok(call.done(&done, StatusCode::OK, updated.version, None, &body))
}

impl OauthAppPatch {
    fn urls(&self, call: &Call) -> Result<UrlsPatch, Problem> {
        type Checked = fn(&Call, &'static str, &str) -> Result<String, Problem>;
        let set = |url: &Option<String>, pointer, checked: Checked| {
            url.as_ref().map(|url| checked(call, pointer, url)).transpose()
        };
        let patched = |url: &Patch<String>, pointer, checked: Checked| match url {
            Patch::Absent => Ok(None),
            Patch::Null => Ok(Some(None)),
            Patch::Value(url) => checked(call, pointer, url).map(|url| Some(Some(url))),
        };
        Ok(UrlsPatch {
            authorize_url: set(&self.authorize_url, "/authorize_url", led_to)?,
            token_url: set(&self.token_url, "/token_url", asked)?,
            revoke_url: patched(&self.revoke_url, "/revoke_url", asked)?,
            issuer: patched(&self.issuer, "/issuer", compared)?,
        })
    }
}

/// Deletes an OAuth app.
#[utoipa::path(delete, path = "/v1/oauth-apps/{app}", tag = "oauth", params(("app" = OauthAppId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(AtApp { call, app }: AtApp, _: NoParameters) -> Result<Response, Problem> {
    let done = call.submit(OauthAppsCommand::Delete(app), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// A call to an OAuth app that is there.
pub struct AtApp {
    call: Call,
    app: OauthAppId,
}

impl FromRequestParts<App> for AtApp {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let app = named(&path)?;
        if call.settings().oauth_apps.get(app).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, app })
    }
}

/// The app that a path's first segment names by its id.
fn named(path: &PathText) -> Result<OauthAppId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

fn checked(call: &Call, pointer: &'static str, url: &str) -> Result<Endpoint, Problem> {
    Endpoint::parse(url, call.app.outgoing.guard())
        .map_err(|invalid| Problem::invalid_field(pointer, "url_not_allowed", invalid.to_string()))
}

/// A URL that is asked, as it was checked: what somebody else reads in what was given does not matter.
fn asked(call: &Call, pointer: &'static str, url: &str) -> Result<String, Problem> {
    checked(call, pointer, url).map(|endpoint| endpoint.to_string())
}

/// A URL that people are led to: what they are asked there is the flow's own to say.
fn led_to(call: &Call, pointer: &'static str, url: &str) -> Result<String, Problem> {
    let endpoint = checked(call, pointer, url)?;
    let mut names = endpoint.url().query_pairs().map(|(name, _)| name);
    match names.find(|name| OWN_PARAMETERS.contains(&&**name)) {
        Some(name) => {
            let message = format!("`{name}` is said by whoever sends people there");
            Err(Problem::invalid_field(pointer, "url_not_allowed", message))
        }
        None => Ok(endpoint.to_string()),
    }
}

/// A URL that is nothing but compared, character by character (RFC 9207 §2.4): as it was given.
fn compared(call: &Call, pointer: &'static str, url: &str) -> Result<String, Problem> {
    checked(call, pointer, url).map(|_| url.to_owned())
}

/// A client secret, sealed for an app under a key of its own.
fn sealed(call: &Call, app: OauthAppId, secret: &ClientSecret) -> Result<(Sealed, NewDataKey), Problem> {
    let stream = call.organization.handle.stream();
    let key = call.app.store.ring().mint(stream)?;
    Ok((key.key().seal(&client_secret_field(stream, &app.to_string()), secret.plain()), key))
}
