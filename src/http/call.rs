//! [`Call`]: a request of a caller to its organization, from its headers to its answer. Handlers read it, submit
//! one command through it, and answer with it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::actor::ActorId;
use crate::command::{Command, check_version};
use crate::event::{Resource, ResourceType, Version};
use crate::http::access::{Denial, Row, deny};
use crate::http::app::App;
use crate::http::caller::{Caller, OrganizationScope, Scope};
use crate::http::conditional::{etag, preconditions};
use crate::http::headers::{
    IDEMPOTENCY_KEY, SETTLED_VERSION, idempotency_key, mark_replayed, reason, version_value,
};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::ids::EnvironmentId;
use crate::log::reading::as_one;
use crate::organization::Organization;
use crate::seal::keyring::NewDataKey;
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::general::reason_field;
use crate::settings::roles::access::Extent;
use crate::settings::roles::permission::Permission;
use crate::store::brought::Brought;
use crate::store::history::HistoryError;
use crate::store::resident::View;
use crate::store::{Done, Idempotency, Refusal, Replay, Submission};

/// A request of a caller to its organization.
pub struct Call {
    /// What handlers share.
    pub app: App,
    /// Who calls.
    pub caller: Caller,
    /// The organization that the caller belongs to.
    pub organization: OrganizationScope,
    /// What the request meets: the organization when it was authenticated, or when its first of equals met it.
    met: Arc<View>,
    /// Whether it repeats an earlier one.
    repeated: bool,
    row: Row,
    headers: HeaderMap,
    method: Method,
    path: String,
    body: RawBody,
}

impl FromRequestParts<App> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Scope::Organization(organization) = caller.scope.clone() else {
            return Err(Denial::OrganizationRequired.problem());
        };
        let row = parts.extensions.get::<Row>().copied().ok_or_else(Problem::internal)?;
        let mut call = Self {
            app: app.clone(),
            caller,
            met: Arc::clone(&organization.view),
            repeated: false,
            organization,
            row,
            headers: parts.headers.clone(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            body: parts.extensions.get::<RawBody>().cloned().unwrap_or_default(),
        };
        if let Some(replay) = call.earlier() {
            call.repeated = true;
            call.met = call.met_as_of(replay.first - 1, &replay).await?;
        }
        Ok(call)
    }
}

/// The path's template of a request, for labels.
pub fn template(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

/// How many reads of history run at once: each may hold whole states and some MiB of frames, and more of them than the
/// machine has cores end no sooner.
static READS: Semaphore = Semaphore::const_new(8);

/// Reads history on a thread that may block, in its turn.
///
/// # Errors
/// 500 when it cannot be read.
pub async fn read_history<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Problem> {
    let turn = READS.acquire().await.map_err(|_closed| Problem::internal())?;
    // A caller that goes away meanwhile leaves the read behind, which keeps its turn to its end.
    let read = move || {
        let _turn = turn;
        read()
    };
    Ok(tokio::task::spawn_blocking(|| as_one(read)).await??)
}

impl Call {
    /// The organization's settings as the request meets them: when it was authenticated; a repeated one as the first
    /// met them, so that a path leads where it led then, whatever was renamed or deleted since.
    pub fn settings(&self) -> &Organization {
        self.met.organization()
    }

    /// Whether the request repeats an earlier one, by its idempotency key: submitting it answers as then. One that
    /// repeats a request still in flight is found out only by the writer.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The route's row in the table of permissions.
    pub fn row(&self) -> Row {
        self.row
    }

    /// The request's body.
    pub fn body(&self) -> &RawBody {
        &self.body
    }

    /// Asks for a permission in the whole organization, beside the route's own.
    ///
    /// # Errors
    /// 403, which is recorded.
    pub async fn require(&self, permission: Permission) -> Result<(), Problem> {
        if self.organization.grants.allows(permission) {
            return Ok(());
        }
        Err(self.deny(Denial::Missing(permission), None).await)
    }

    /// Asks for a permission in one environment.
    ///
    /// # Errors
    /// 403, which is recorded.
    pub async fn require_in(
        &self,
        permission: Permission,
        environment: EnvironmentId,
    ) -> Result<(), Problem> {
        if self.organization.grants.allows_in(permission, environment) {
            return Ok(());
        }
        Err(self.deny(Denial::Missing(permission), Some(environment)).await)
    }

    /// Asks for a permission as far as each of these.
    ///
    /// # Errors
    /// 403, which is recorded.
    pub async fn require_at(&self, permission: Permission, extents: &[Extent]) -> Result<(), Problem> {
        if self.organization.grants.allows_at(permission, extents) {
            return Ok(());
        }
        Err(self.deny(Denial::Missing(permission), None).await)
    }

    /// Refuses what is asked for in one environment, which is recorded.
    pub async fn refuse_in(&self, denial: Denial, environment: EnvironmentId) -> Problem {
        self.deny(denial, Some(environment)).await
    }

    /// Records a denial, about an environment where it is about one.
    async fn deny(&self, denial: Denial, environment: Option<EnvironmentId>) -> Problem {
        let resource = environment.map(|id| match self.settings().environments.get(id) {
            Some(environment) => Resource::named(ResourceType::Environment, id, environment.name.as_str()),
            None => Resource::new(ResourceType::Environment, id),
        });
        deny(&self.app, &self.caller, self.row.attempt, denial, resource).await
    }

    /// Submits a command with what the request's headers say about it, and answers once it is durable. `status` is
    /// what a success is answered with.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit(&self, command: impl Into<Command>, status: StatusCode) -> Result<Done, Problem> {
        self.submit_sealed(command, Vec::new(), status).await
    }

    /// As [`Call::submit`], of a command that is the first to use some data keys.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit_sealed(
        &self,
        command: impl Into<Command>,
        keys: Vec<NewDataKey>,
        status: StatusCode,
    ) -> Result<Done, Problem> {
        self.submit_with(command, keys.into(), status).await
    }

    /// As [`Call::submit`], of a command that brings data keys or unique values with it.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit_with(
        &self,
        command: impl Into<Command>,
        brought: Brought,
        status: StatusCode,
    ) -> Result<Done, Problem> {
        let mut submission = self.submission(command)?;
        submission.preconditions = preconditions(&self.headers, self.app.store.epoch())?;
        submission.idempotency = self.idempotency(status)?;
        brought.add_to(&mut submission);
        self.execute(submission).await
    }

    /// As [`Call::submit`], of a command whose answer is never given again: an idempotency key is ignored.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit_once(&self, command: impl Into<Command>) -> Result<Done, Problem> {
        let mut submission = self.submission(command)?;
        submission.preconditions = preconditions(&self.headers, self.app.store.epoch())?;
        self.execute(submission).await
    }

    /// A command with what the request's headers say about it, but for what they say of the resource.
    fn submission(&self, command: impl Into<Command>) -> Result<Submission, Problem> {
        let mut submission = Submission::new(command, self.caller.actor);
        submission.ordinal = self.caller.ordinal();
        submission.reason = sealed_reason(&self.app, &self.organization, &self.headers)?;
        submission.request_id = RequestId::to_record();
        Ok(submission)
    }

    async fn execute(&self, submission: Submission) -> Result<Done, Problem> {
        let environment = submission.command.environment();
        let done = match self.app.store.execute(&self.organization.handle, submission).await {
            Ok(done) => done,
            Err(refusal) => return Err(self.refused(refusal, environment).await),
        };
        match done.replay {
            None => Ok(done),
            // A replay is rendered from the state as of the earlier request's last version.
            Some(replay) => Ok(Done { view: self.met_as_of(replay.version, &replay).await?, ..done }),
        }
    }

    /// What a command would come to, with the headers and what it brings with it. Nothing is appended.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn rehearse(&self, command: impl Into<Command>, brought: Brought) -> Result<Done, Problem> {
        let mut submission = self.submission(command)?;
        brought.add_to(&mut submission);
        let (store, handle) = (self.app.store.clone(), Arc::clone(&self.organization.handle));
        match tokio::task::spawn_blocking(move || store.rehearse(&handle, &submission)).await? {
            Ok(done) => Ok(done),
            Err(refusal) => Err(self.refused(refusal, None).await),
        }
    }

    async fn refused(&self, refusal: Refusal, environment: Option<EnvironmentId>) -> Problem {
        if let Refusal::Rejected(rejection) = &refusal
            && let Some(denial) = Denial::of(rejection)
        {
            return self.deny(denial, environment).await;
        }
        refusal.into()
    }

    /// The request that this one repeats. A malformed key and another body are refused in their turn, when a command
    /// is submitted.
    fn earlier(&self) -> Option<Replay> {
        let idempotency = self.idempotency(StatusCode::OK).ok().flatten()?;
        self.organization.view.replay(&idempotency, self.app.store.clock().credible_now()).ok().flatten()
    }

    /// What a repeated request meets as of a version.
    async fn met_as_of(&self, version: Version, replay: &Replay) -> Result<Arc<View>, Problem> {
        let (store, handle) = (self.app.store.clone(), Arc::clone(&self.organization.handle));
        let replay = *replay;
        read_history(move || store.met_as_of(&handle, version, &replay)).await
    }

    /// The whole state as of a version.
    ///
    /// # Errors
    /// 500 when the history cannot be read.
    pub(super) async fn as_of(&self, version: Version) -> Result<Arc<View>, Problem> {
        let store = self.app.store.clone();
        let handle = Arc::clone(&self.organization.handle);
        read_history(move || store.as_of(&handle, version)).await
    }

    /// Whether the request says what its caller saw of what it changes (`If-Match`).
    pub fn has_if_match(&self) -> bool {
        self.headers.contains_key(IF_MATCH)
    }

    /// Refuses unless what is changed, at this version, is as the caller saw it: before a refusal of the edge's own that
    /// comes behind this one.
    ///
    /// # Errors
    /// 412; 422 for a malformed header.
    pub fn check_seen(&self, current: Version) -> Result<(), Problem> {
        let asked = preconditions(&self.headers, self.app.store.epoch())?;
        check_version(&asked, current).map_err(|failed| Refusal::Rejected(failed.into()).into())
    }

    fn idempotency(&self, status: StatusCode) -> Result<Option<Idempotency>, Problem> {
        let takes_one = self.method == Method::POST || self.method == Method::PATCH;
        if !takes_one || !self.headers.contains_key(IDEMPOTENCY_KEY) {
            return Ok(None);
        }
        let request = Fingerprinted {
            epoch: self.app.store.epoch(),
            actor: self.caller.actor.id,
            method: &self.method,
            path: &self.path,
            body: self.body.as_bytes(),
        };
        request.idempotency(&self.headers, &*self.organization.key(self.app.store.ring())?, status)
    }

    /// An answer with a resource, its `ETag`, and the version of the stream that it was rendered from.
    pub fn resource<T: Serialize>(
        &self,
        status: StatusCode,
        view: &View,
        version: Version,
        body: &T,
    ) -> Response {
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(ETAG, etag(self.app.store.epoch(), version));
        self.settled_version(&mut response, view);
        response
    }

    /// The answer to a submitted command: as [`Call::resource`], marked where it is a replay, with where a created
    /// resource is.
    pub fn done<T: Serialize>(
        &self,
        done: &Done,
        status: StatusCode,
        version: Version,
        location: Option<String>,
        body: &T,
    ) -> Response {
        let status =
            done.replay.and_then(|replay| StatusCode::from_u16(replay.status).ok()).unwrap_or(status);
        let mut response = self.resource(status, &done.view, version, body);
        if done.replay.is_some() {
            mark_replayed(response.headers_mut());
        }
        if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// 204 after a command.
    pub fn no_content(&self, done: &Done) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        self.settled_version(&mut response, &done.view);
        response
    }

    /// An answer with a list or anything else that has no `ETag`.
    pub fn list<T: Serialize>(&self, view: &View, body: &T) -> Response {
        let mut response = axum::Json(body).into_response();
        self.settled_version(&mut response, view);
        response
    }

    /// An answer that is plain text.
    pub fn text(&self, view: &View, body: String) -> Response {
        let mut response = ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response();
        self.settled_version(&mut response, view);
        response
    }

    fn settled_version(&self, response: &mut Response, view: &View) {
        response.headers_mut().insert(SETTLED_VERSION, version_value(view.version()));
    }
}

/// `Settled-Reason`, sealed to be recorded in an organization's stream.
///
/// # Errors
/// 422 as [`reason`].
pub fn sealed_reason(
    app: &App,
    organization: &OrganizationScope,
    headers: &HeaderMap,
) -> Result<Option<Sealed>, Problem> {
    let Some(reason) = reason(headers)? else { return Ok(None) };
    let key = organization.key(app.store.ring())?;
    let id = organization.id.to_string();
    Ok(Some(key.seal(&reason_field(organization.handle.stream(), &id), &Plain::from(reason))))
}

/// What of a request its idempotency key belongs to.
pub struct Fingerprinted<'a> {
    /// The store's epoch: what was answered before a restore may not have happened.
    pub epoch: &'a str,
    /// Who asks.
    pub actor: ActorId,
    /// The method.
    pub method: &'a Method,
    /// The path.
    pub path: &'a str,
    /// The body as sent.
    pub body: &'a [u8],
}

impl Fingerprinted<'_> {
    /// The fingerprints under a key of the stream, where the request has an `Idempotency-Key`: a plain hash would be
    /// an oracle for what was sent.
    ///
    /// # Errors
    /// 422 as [`idempotency_key`].
    pub fn idempotency(
        &self,
        headers: &HeaderMap,
        under: &DataKey,
        status: StatusCode,
    ) -> Result<Option<Idempotency>, Problem> {
        let Some(key) = idempotency_key(headers)? else { return Ok(None) };
        let actor = self.actor.to_string();
        let (epoch, method) = (self.epoch.as_bytes(), self.method.as_str().as_bytes());
        let parts = [epoch, actor.as_bytes(), method, self.path.as_bytes(), key.as_bytes()];
        Ok(Some(Idempotency {
            key: URL_SAFE_NO_PAD.encode(under.fingerprint("idempotency-key", &parts)),
            body: URL_SAFE_NO_PAD.encode(under.fingerprint("idempotency-body", &[self.body])),
            status: status.as_u16(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_of_history_waits_for_its_turn() {
        let all = READS.acquire_many(8).await.expect("it is never closed");
        let read = tokio::spawn(read_history(|| Ok(7)));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!read.is_finished(), "eight are under way");
        drop(all);
        assert!(matches!(read.await, Ok(Ok(7))));
    }
}
