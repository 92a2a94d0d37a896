//! `/v1/me/sessions`: the caller's own sessions over HTTP.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::command::{Command, OrganizationCommand, PlatformCommand};
use crate::event::Version;
use crate::http::app::App;
use crate::http::call::sealed_reason;
use crate::http::caller::{Scope, SessionCaller};
use crate::http::page::{After, Page, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::http::request_id::RequestId;
use crate::ids::{SessionId, StreamId};
use crate::platform::Platform;
use crate::seal::{DataKey, Plain};
use crate::settings::sessions;
use crate::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use crate::settings::sessions::projection::{Holder, Session, Sessions};
use crate::store::Submission;
use crate::store::directory::Credential;

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionBody {
    /// The session.
    pub id: SessionId,
    /// Whether it is the one of this request.
    pub current: bool,
    /// The address that it was opened from.
    pub ip: Option<String>,
    /// The user agent that it was opened with.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was opened: a session never changes.
    pub updated_at: Timestamp,
    /// When it was last used; a restart of the server counts as use.
    pub last_seen_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The stream version of its opening.
    pub version: Version,
}

/// The caller's open sessions, by id.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "account", params(PageParameters), responses(
    (status = 200, body = Page<SessionBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    caller: SessionCaller,
    query: RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.session.holder.actor().to_string();
    let request = app.cursors.request(&scope, "sessions", &query)?;
    let NoParameters {} = request.filters.parse()?;
    let platform = app.store.platform().view();
    let key = own_key(&app, &caller, platform.platform())?;
    let account = platform.platform().accounts.get(caller.account).ok_or_else(Problem::unauthenticated)?;
    let now = app.store.clock().credible_now();
    let after = request.after.as_ref().map(|after| after.last.as_str());
    let found = own_sessions(&caller, platform.platform())
        .of(caller.session.holder)
        .filter(|session| account.accepts(session))
        .filter(|session| after.is_none_or(|after| session.id.to_string().as_str() > after))
        .filter_map(|session| {
            let credential = app.store.directory().of_session(session.id)?;
            credential.is_alive(now).then(|| render(&caller, session, &key, &credential))
        });
    let page = app.cursors.page(&scope, "sessions", &request, found, |session| After {
        last: session.id.to_string(),
        version: None,
    });
    Ok(axum::Json(page).into_response())
}

/// Ends one of the caller's sessions.
#[utoipa::path(delete, path = "/v1/me/sessions/{ses}", tag = "account",
    params(("ses" = SessionId, Path)), responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    State(app): State<App>,
    OwnSession { caller, session }: OwnSession,
    headers: HeaderMap,
    _: NoParameters,
) -> Result<Response, Problem> {
    let close = CloseSession { session, how: Closing::Revoke };
    end(&app, &caller, &headers, close).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A session of the caller, open or closed, that the path names.
pub struct OwnSession {
    caller: SessionCaller,
    session: SessionId,
}

impl FromRequestParts<App> for OwnSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = SessionCaller::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let session: SessionId = path.first().parse().map_err(|_| Problem::not_found())?;
        let platform = app.store.platform().view();
        let sessions = own_sessions(&caller, platform.platform());
        let is_own = match sessions.get(session) {
            Some(open) => open.holder == caller.session.holder,
            None => sessions.was_closed(session, caller.actor.id),
        };
        if is_own { Ok(Self { caller, session }) } else { Err(Problem::not_found()) }
    }
}

/// Ends a session of the caller, with what the request's headers say about it. Returns whether it was open.
///
/// # Errors
/// The problem that the refusal is.
pub async fn end(
    app: &App,
    caller: &SessionCaller,
    headers: &HeaderMap,
    close: CloseSession,
) -> Result<bool, Problem> {
    let command = SessionsCommand::Close(close);
    let (handle, command, reason) = match &caller.scope {
        Scope::Organization(scope) => (
            &scope.handle,
            Command::Organization(OrganizationCommand::Sessions(command)),
            sealed_reason(app, scope, headers)?,
        ),
        // The platform's stream keeps no reasons: nobody but the operator would read them.
        Scope::None => (app.store.platform(), Command::Platform(PlatformCommand::Sessions(command)), None),
    };
    let mut submission = Submission::new(command, caller.actor);
    submission.reason = reason;
    submission.request_id = RequestId::to_record();
    let done = app.store.execute(handle, submission).await?;
    Ok(done.events > 0)
}

fn own_sessions<'a>(caller: &'a SessionCaller, platform: &'a Platform) -> &'a Sessions {
    match &caller.scope {
        Scope::Organization(scope) => &scope.settings().sessions,
        Scope::None => &platform.sessions,
    }
}

fn own_key(
    app: &App,
    caller: &SessionCaller,
    platform: &Platform,
) -> Result<std::sync::Arc<DataKey>, Problem> {
    let ring = app.store.ring();
    let key = match (&caller.scope, caller.session.holder) {
        (Scope::Organization(scope), Holder::Person(person)) => {
            let person = scope.settings().people.get(person).ok_or_else(Problem::unauthenticated)?;
            let key = || ring.data_key(scope.handle.stream(), person.key, person.commitment);
            scope.handle.open_of_person(person.id, key)?
        }
        _ => {
            let account = platform.accounts.get(caller.account).ok_or_else(Problem::unauthenticated)?;
            app.store.platform().open_of_account(account.id, || {
                ring.data_key(StreamId::Platform, account.key, account.commitment)
            })?
        }
    };
    key.ok_or_else(Problem::unauthenticated)
}

fn render(caller: &SessionCaller, session: &Session, key: &DataKey, credential: &Credential) -> SessionBody {
    let stream = match &caller.scope {
        Scope::Organization(scope) => scope.handle.stream(),
        Scope::None => StreamId::Platform,
    };
    let id = session.id.to_string();
    let shown = |plain: Plain| plain.as_str().ok().map(ToOwned::to_owned);
    let ip = session.ip.as_ref().and_then(|sealed| key.open(&sessions::ip_field(stream, &id), sealed).ok());
    let user_agent = session
        .user_agent
        .as_ref()
        .and_then(|sealed| key.open(&sessions::user_agent_field(stream, &id), sealed).ok());
    SessionBody {
        id: session.id,
        current: session.id == caller.session.id,
        ip: ip.and_then(shown),
        user_agent: user_agent.and_then(shown),
        created_at: session.created_at,
        updated_at: session.created_at,
        last_seen_at: credential.last_seen(),
        expires_at: credential.expires_at(),
        version: session.version,
    }
}
