//! `/connect/{token}` and `/oauth/callback/{app}`: the page on which somebody consents, and where the provider sends them back
//! to. What protects the way between is what RFC 9700 §4 asks for: a state that is good once and in one browser, a path of its
//! own for each app, the issuer where it is told, and PKCE.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::http::app::App;
use crate::http::path::PathText;
use crate::http::problem::Problem;
use crate::ids::StreamId;
use crate::oauth::attempts::Attempt;
use crate::oauth::browser::{Said, cookie, is_own_page, set_cookie};
use crate::oauth::callback_url;
use crate::oauth::client::{challenge, exchange_code};
use crate::oauth::pages::{ConnectPage, ContinuePage, page, told};
use crate::oauth::refresh::sealed;
use crate::oauth::registration::{NoRegistration, Registration};
use crate::oauth::revocation::give_back;
use crate::seal::DataKey;
use crate::seal::token::PlainToken;
use crate::settings::connections::command::ConnectionsCommand;
use crate::settings::connections::connection::{Connection, Grant};
use crate::settings::connections::event::ConnectLink;
use crate::settings::connections::granting::{Connect, is_served};
use crate::store::resident::Handle;
use crate::store::{Refusal, Submission};

/// A connection that somebody holds the link of.
struct Linked {
    handle: Arc<Handle>,
    connection: Connection,
    grant: Grant,
    link: ConnectLink,
}

impl Linked {
    /// By the token of the path; `None` alike for one that was used or replaced, has ended, or never was.
    async fn by(app: &App, token: &str) -> Result<Option<Self>, Problem> {
        let token = PlainToken::presented(token);
        let Some(StreamId::Organization(id)) = token.mark().map(StreamId::from_bytes) else {
            return Ok(None);
        };
        let Some(handle) = app.store.organization(id).await? else { return Ok(None) };
        let view = handle.view();
        let organization = view.organization();
        let found = organization.connections.by_link(token.hash());
        let found = found.filter(|connection| is_served(organization, connection)).cloned();
        let now = app.store.clock().credible_now();
        let linked = found.and_then(|connection| {
            let grant = connection.grant.clone()?;
            let link = grant.link.filter(|link| now < link.ends_at)?;
            Some(Self { handle, connection, grant, link })
        });
        Ok(linked)
    }

    /// As whom the provider is asked; `None` where that app cannot be used any more.
    async fn registration(&self, app: &App) -> Result<Option<Registration>, Problem> {
        let (store, guard, handle) = (app.store.clone(), app.outgoing.guard(), Arc::clone(&self.handle));
        let as_whom = self.grant.app.clone();
        let find = move || {
            let view = handle.view();
            Registration::find(&store, guard, handle.stream(), view.organization(), &as_whom)
        };
        found(tokio::task::spawn_blocking(find).await?)
    }
}

fn found<T>(found: Result<T, NoRegistration>) -> Result<Option<T>, Problem> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(NoRegistration::Gone) => Ok(None),
        Err(NoRegistration::Died) => Err(Problem::internal()),
        Err(NoRegistration::Key(error)) => Err(error.into()),
    }
}

/// The page on which somebody consents: who asks for what, and where its button leads. Looking at it changes nothing.
#[utoipa::path(get, path = "/connect/{token}", tag = "oauth", params(("token" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = 404, body = String, content_type = "text/html")))]
pub async fn show(State(app): State<App>, path: PathText) -> Result<Response, Problem> {
    let Some(linked) = Linked::by(&app, path.first()).await? else { return Ok(no_link()) };
    let Some(registration) = linked.registration(&app).await? else { return Ok(no_link()) };
    let view = linked.handle.view();
    let organization = view.organization();
    let environment = linked.connection.scope.environment();
    let environment = environment.and_then(|environment| organization.environments.get(environment));
    let asked = ConnectPage {
        organization: organization.general.founded().map_or("", |founded| &founded.name),
        provider: &registration.provider_name,
        app: &registration.app_name,
        environment: environment.map_or("", |environment| &environment.name),
        connection: &linked.connection.name,
        scopes: &linked.grant.scopes,
        host: &registration.authorize_url.host().to_string(),
    };
    Ok(page(StatusCode::OK, &asked))
}

/// The page's button: the browser gets its half of the state, and goes on to the provider.
#[utoipa::path(post, path = "/connect/{token}", tag = "oauth", params(("token" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = 403, body = String, content_type = "text/html"),
    (status = 404, body = String, content_type = "text/html")))]
pub async fn begin(State(app): State<App>, path: PathText, headers: HeaderMap) -> Result<Response, Problem> {
    if !is_own_page(&headers, &app.policy.public_url) {
        let text = "Open the link yourself and press the button on its page.";
        return Ok(told(StatusCode::FORBIDDEN, "Not from here", text));
    }
    let Some(linked) = Linked::by(&app, path.first()).await? else { return Ok(no_link()) };
    let Some(registration) = linked.registration(&app).await? else { return Ok(no_link()) };
    // A browser that has one keeps it: somebody may be at several providers at once.
    let browser = cookie(&headers).unwrap_or_else(PlainToken::draw);
    let draw = || Zeroizing::new(PlainToken::draw().expose().to_owned());
    let verifier = registration.sends_pkce.then(draw);
    let code_challenge = verifier.as_ref().map(|verifier| challenge(verifier));
    let attempt = Attempt {
        stream: linked.handle.stream(),
        connection: linked.connection.id,
        app: linked.grant.app.clone(),
        credentials_version: registration.credentials_version,
        link: linked.link.token,
        browser: browser.hash(),
        verifier,
    };
    let redirect_uri = callback_url(&app.policy.public_url, &attempt.app);
    let state = app.attempts.begin(attempt, app.store.clock().credible_now());
    let url =
        authorize_url(&registration, &linked.grant.scopes, &redirect_uri, &state, code_challenge.as_deref());
    let host = registration.authorize_url.host().to_string();
    let mut response = page(StatusCode::OK, &ContinuePage { url: &url, host: &host });
    response.headers_mut().insert(SET_COOKIE, set_cookie(&browser)?);
    Ok(response)
}

/// Where the provider asks, with what it is asked for (RFC 6749 §4.1.1, RFC 7636 §4.3).
fn authorize_url(
    registration: &Registration,
    scopes: &[String],
    redirect_uri: &str,
    state: &PlainToken,
    code_challenge: Option<&str>,
) -> String {
    let mut url = registration.authorize_url.url().clone();
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", &registration.client_id);
        query.append_pair("redirect_uri", redirect_uri).append_pair("state", state.expose());
        if let Some(challenge) = code_challenge {
            query.append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
        }
        if !scopes.is_empty() {
            query.append_pair("scope", &scopes.join(&registration.separator().to_string()));
        }
        for (name, value) in registration.catalogued.iter().flat_map(|found| &found.authorize_parameters) {
            query.append_pair(name, value);
        }
    }
    url.into()
}

/// Where the provider sends people back to, with a code or without.
#[utoipa::path(get, path = "/oauth/callback/{app}", tag = "oauth", params(("app" = String, Path)), responses(
    (status = 200, body = String, content_type = "text/html"),
    (status = "4XX", body = String, content_type = "text/html"),
    (status = 502, body = String, content_type = "text/html")))]
pub async fn callback(
    State(app): State<App>,
    path: PathText,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let Some(said) = Said::read(uri.query().unwrap_or_default()) else { return Ok(not_begun()) };
    let now = app.store.clock().credible_now();
    let attempt = said.state.as_ref().and_then(|state| app.attempts.take(state, now));
    let Some(attempt) = attempt else { return Ok(not_begun()) };
    let is_browser = cookie(&headers).is_some_and(|cookie| cookie.hash().0.ct_eq(&attempt.browser.0).into());
    if !is_browser {
        let text = "It was begun in another browser. Open the link in this one.";
        return Ok(told(StatusCode::FORBIDDEN, "Another browser", text));
    }
    // What was said to one app's address about another's is a mix-up (RFC 9700 §4.4).
    if attempt.app.to_string() != path.first() {
        return Ok(not_begun());
    }
    // Whether or not the browser waits: a code is good once.
    tokio::spawn(async move { finish(&app, &attempt, &said).await }).await?
}

async fn finish(app: &App, attempt: &Attempt, said: &Said) -> Result<Response, Problem> {
    let StreamId::Organization(organization) = attempt.stream else { return Ok(not_begun()) };
    let Some(handle) = app.store.organization(organization).await? else { return Ok(no_link()) };
    let Some(awaited) = Awaited::by(app, &handle, attempt).await? else { return Ok(no_link()) };
    let Awaited { registration, key, scopes } = awaited;
    if !registration.is_issuer(said.issuer.as_deref()) {
        return Ok(not_begun());
    }
    let Some(code) = said.code.as_ref().filter(|_| !said.is_refused) else {
        let text = "You did not agree, or the provider refused. You can open the link again.";
        return Ok(told(StatusCode::BAD_REQUEST, "Not connected", text));
    };
    let redirect_uri = callback_url(&app.policy.public_url, &attempt.app);
    let asked_at = app.store.clock().credible_now();
    let verifier = attempt.verifier.as_ref().map(|verifier| verifier.as_str());
    let id = attempt.connection;
    let granted = match exchange_code(&app.outgoing, &registration, code, verifier, &redirect_uri).await {
        Ok(granted) => granted,
        Err(error) => {
            tracing::warn!(%organization, connection = %id, cause = error.cause(), "nobody was connected");
            let text = "The provider did not hand out access. You can open the link again.";
            return Ok(told(StatusCode::BAD_GATEWAY, "Not connected", text));
        }
    };
    // From here on there are tokens: each way out records them or gives them back.
    let command = Connect {
        connection: id,
        link: attempt.link,
        credentials_version: attempt.credentials_version,
        handed_out: sealed(&granted, &key, (attempt.stream, id), &scopes, false, asked_at),
    };
    let submission = Submission::new(ConnectionsCommand::Connect(command), Actor::SYSTEM);
    let Err(refusal) = app.store.execute(&handle, submission).await else {
        return Ok(told(StatusCode::OK, "Connected", "You can close this page."));
    };
    let view = handle.view();
    let now = view.organization().connections.get(id);
    // Where somebody else has come by the link, theirs may be one with these at the provider.
    if now.is_none_or(|connection| connection.usable().is_none()) {
        give_back(&app.outgoing, &registration, &granted).await;
    }
    if let Refusal::Rejected(_) = refusal {
        return Ok(no_link());
    }
    tracing::error!(%organization, error = with_causes(&refusal), "a consent was not recorded");
    let text = "It could not be recorded. You can open the link again.";
    Ok(told(StatusCode::SERVICE_UNAVAILABLE, "Not connected", text))
}

/// What a code is exchanged with, and what comes of it is sealed under: all of it had before, since a connection that is
/// ended while the provider answers has no key any more, and what the provider then hands out has to be given back.
struct Awaited {
    registration: Registration,
    key: Arc<DataKey>,
    /// What people are asked for.
    scopes: Vec<String>,
}

impl Awaited {
    /// Of an attempt whose link is good still, at an app that is what it was then.
    async fn by(app: &App, handle: &Arc<Handle>, attempt: &Attempt) -> Result<Option<Self>, Problem> {
        let (store, guard, view, stream) =
            (app.store.clone(), app.outgoing.guard(), handle.view(), attempt.stream);
        let organization = view.organization();
        let connection = organization.connections.get(attempt.connection);
        let connection = connection.filter(|connection| is_served(organization, connection)).cloned();
        let awaited = connection.and_then(|connection| Some((connection.grant.clone()?, connection)));
        let Some((grant, connection)) = awaited else { return Ok(None) };
        if grant.link.is_none_or(|link| link.token != attempt.link) {
            return Ok(None);
        }
        let open = move || {
            let registration = Registration::find(&store, guard, stream, view.organization(), &grant.app)?;
            let key = store.ring().data_key(stream, connection.key, connection.commitment)?;
            Ok(Self { registration, key, scopes: grant.scopes })
        };
        let awaited = found(tokio::task::spawn_blocking(open).await?)?;
        let version = attempt.credentials_version;
        Ok(awaited.filter(|awaited| awaited.registration.credentials_version == version))
    }
}

fn no_link() -> Response {
    let text = "It was used, replaced, or has ended. Ask whoever sent it for another one.";
    told(StatusCode::NOT_FOUND, "This link leads nowhere", text)
}

fn not_begun() -> Response {
    let text =
        "Nothing was begun here that this could be the end of, or it took too long. Open the link again.";
    told(StatusCode::BAD_REQUEST, "Not connected", text)
}
