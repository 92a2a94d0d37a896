//! [`Call`]: a request of a caller to its organization, from its headers to its answer. Handlers read it, submit
//! one command through it, and answer with it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header::{ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::actor::ActorId;
use crate::command::{Command, Precondition, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::http::access::{Row, deny};
use crate::http::app::App;
use crate::http::caller::{Caller, OrganizationScope, Scope};
use crate::http::conditional::{Conditions, IfMatch, etag};
use crate::http::headers::{idempotency_key, reason};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::rejection;
use crate::http::request_id::RequestId;
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::seal::{DataKey, Plain, Sealed, SealedField};
use crate::settings::roles::permission::Permission;
use crate::store::resident::View;
use crate::store::{Done, Idempotency, Refusal, Submission};

/// A request of a caller to its organization.
pub struct Call {
    /// What handlers share.
    pub app: App,
    /// Who calls.
    pub caller: Caller,
    /// The organization that the caller belongs to.
    pub organization: OrganizationScope,
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
            return Err(Problem::refused("organization_required", "choose an organization first"));
        };
        let row = parts.extensions.get::<Row>().copied().ok_or_else(Problem::internal)?;
        Ok(Self {
            app: app.clone(),
            caller,
            organization,
            row,
            headers: parts.headers.clone(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            body: parts.extensions.get::<RawBody>().cloned().unwrap_or_default(),
        })
    }
}

/// The path's template of a request, for labels.
pub fn template(parts: &Parts) -> Option<&str> {
    parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str)
}

impl Call {
    /// The organization's settings when the request was authenticated.
    pub fn settings(&self) -> &Organization {
        self.organization.settings()
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
        Err(deny(&self.app, &self.caller, self.row.attempt, permission, None).await)
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
        let resource = Resource::new(ResourceType::Environment, environment);
        Err(deny(&self.app, &self.caller, self.row.attempt, permission, Some(resource)).await)
    }

    /// Submits a command with what the request's headers say about it, and answers once it is durable. `status` is
    /// what a success is answered with.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit(&self, command: impl Into<Command>, status: StatusCode) -> Result<Done, Problem> {
        let mut submission = Submission::new(command, self.caller.actor);
        submission.precondition = self.precondition()?;
        submission.reason = sealed_reason(&self.app, &self.organization, &self.headers)?;
        submission.request_id = RequestId::to_record();
        submission.idempotency = self.idempotency(status)?;
        let done = match self.app.store.execute(&self.organization.handle, submission).await {
            Ok(done) => done,
            Err(refused) => return Err(self.refused(refused).await),
        };
        match done.replay {
            None => Ok(done),
            Some(replay) => self.replayed(done, replay.version).await,
        }
    }

    /// What a command would come to, with the headers that are recorded with it. Nothing is appended.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn rehearse(&self, command: impl Into<Command>) -> Result<Done, Problem> {
        let mut submission = Submission::new(command, self.caller.actor);
        submission.reason = sealed_reason(&self.app, &self.organization, &self.headers)?;
        submission.request_id = RequestId::to_record();
        let (store, handle) = (self.app.store.clone(), Arc::clone(&self.organization.handle));
        let decided = tokio::task::spawn_blocking(move || store.rehearse(&handle, &submission))
            .await
            .map_err(|_| Problem::internal())?;
        match decided {
            Ok(done) => Ok(done),
            Err(refused) => Err(self.refused(refused).await),
        }
    }

    async fn refused(&self, refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Rejected(Rejection::Forbidden(permission)) => {
                deny(&self.app, &self.caller, self.row.attempt, permission, None).await
            }
            refusal => rejection::problem(&refusal),
        }
    }

    /// A replay is rendered from the state as of the earlier request's last version.
    async fn replayed(&self, done: Done, version: Version) -> Result<Done, Problem> {
        let store = self.app.store.clone();
        let view = self.organization.handle.view();
        let past = tokio::task::spawn_blocking(move || store.as_of(&view, version))
            .await
            .map_err(|_| Problem::internal())?
            .map_err(|error| rejection::unreadable(&error))?;
        Ok(Done { view: past, ..done })
    }

    /// What the caller saw of what it changes (`If-Match`).
    ///
    /// # Errors
    /// 422 where the header is no list of entity tags.
    pub fn precondition(&self) -> Result<Option<Precondition>, Problem> {
        Ok(Conditions::of(&self.headers)?.if_match.map(|if_match| match &if_match {
            IfMatch::Any => Precondition::Exists,
            IfMatch::Tags(_) => Precondition::OneOf(if_match.versions(self.app.store.epoch()).collect()),
        }))
    }

    /// Whether the request may only create (`If-None-Match: *`).
    ///
    /// # Errors
    /// 422 for any other value of the header.
    pub fn create_only(&self) -> Result<bool, Problem> {
        Ok(Conditions::of(&self.headers)?.if_none)
    }

    fn idempotency(&self, status: StatusCode) -> Result<Option<Idempotency>, Problem> {
        if self.method != Method::POST && self.method != Method::PATCH {
            return Ok(None);
        }
        let Some(key) = idempotency_key(&self.headers)? else { return Ok(None) };
        let request = Fingerprinted {
            actor: self.caller.actor.id,
            method: &self.method,
            path: &self.path,
            body: self.body.as_bytes(),
        };
        Ok(Some(request.idempotency(&*organization_key(&self.app, &self.organization)?, &key, status)))
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
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
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

    fn settled_version(&self, response: &mut Response, view: &View) {
        response.headers_mut().insert("settled-version", HeaderValue::from(view.version()));
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
    let key = organization_key(app, organization)?;
    let id = organization.id.to_string();
    Ok(Some(key.seal(&reason_field(organization.handle.stream(), &id), &Plain::from(reason))))
}

fn organization_key(app: &App, organization: &OrganizationScope) -> Result<Arc<DataKey>, Problem> {
    let founded = organization.settings().general.founded().ok_or_else(Problem::not_found)?;
    app.store
        .ring()
        .data_key(organization.handle.stream(), founded.key, founded.commitment)
        .map_err(|error| rejection::unopened(&error))
}

/// Where a reason is sealed: in the stream, under the organization's key. It belongs to the event that names it.
pub fn reason_field(stream: crate::ids::StreamId, organization: &str) -> SealedField<'_> {
    SealedField {
        stream,
        resource_type: ResourceType::Organization,
        resource_id: organization,
        field: "reason",
    }
}

/// What of a request its idempotency key belongs to.
pub struct Fingerprinted<'a> {
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
    /// The fingerprints under a key of the stream: a plain hash would be an oracle for what was sent.
    pub fn idempotency(&self, under: &DataKey, key: &str, status: StatusCode) -> Idempotency {
        let actor = self.actor.to_string();
        let parts = [actor.as_bytes(), self.method.as_str().as_bytes(), self.path.as_bytes(), key.as_bytes()];
        Idempotency {
            key: URL_SAFE_NO_PAD.encode(under.fingerprint("idempotency-key", &parts)),
            body: URL_SAFE_NO_PAD.encode(under.fingerprint("idempotency-body", &[self.body])),
            status: status.as_u16(),
        }
    }
}
