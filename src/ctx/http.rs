//! `/v1/ctx` and what is below it, over HTTP: for programs alone.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::ctx::large::Large;
use crate::ctx::memory::{Value, Whole, json};
use crate::ctx::seen::{self, Basis, Place};
use crate::ctx::watch::Watch;
use crate::http::access::Denial;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::caller::{OrganizationScope, Showed};
use crate::http::conditional::is_unmodified;
use crate::http::environment::by_id_or_slug;
use crate::http::path::PathText;
use crate::http::pieces;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::http::sse::{self, Start};
use crate::http::streams::Kind;
use crate::ids::{ApiKeyId, CustomerId, SecretId};
use crate::log::reading::as_one;
use crate::seal::keyring::KeyError;
use crate::settings::connections::value::Kind as ConnectionKind;
use crate::settings::customers::projection::{Customer, Status};
use crate::settings::environments::projection::Environment;
use crate::settings::environments::value::ConfigKey;
use crate::settings::general::own_key;
use crate::settings::roles::permission::Permission;
use crate::store::key_uses::reads::{Read, Values};
use crate::store::resident::{Handle, View};

/// Where a program reads.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CtxParameters {
    /// The environment, by slug or id.
    #[param(required)]
    environment: Option<String>,
    /// The customer for whom, by id: what it has goes before what the environment has. A key that is limited to some
    /// customers names one of them; for one who is suspended nothing is read (403 `customer_suspended`).
    customer: Option<String>,
}

/// What a program sees in an environment.
#[derive(Serialize, ToSchema)]
#[schema(as = Ctx)]
pub struct CtxBody {
    /// The environment's slug.
    pub environment: String,
    /// Opaque: another exactly when something of the rest is.
    pub version: String,
    /// Configuration values by name.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Secrets' values by name; a customer's before an environment's own, and these before the organization's.
    pub secrets: std::collections::BTreeMap<String, String>,
    /// Access to others' services by name.
    pub connections: std::collections::BTreeMap<String, CtxConnection>,
}

/// Access to somebody's account elsewhere; which fields it has says its kind.
#[derive(Serialize, ToSchema)]
pub struct CtxConnection {
    /// `oauth`, `token` or `basic`.
    pub kind: ConnectionKind,
    /// What is sent as a bearer token, of kind `oauth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// When that ends; null where it does not. It is refreshed before, which is a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<Timestamp>>,
    /// The token, of kind `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The name there, of kind `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A secret's value.
#[derive(Serialize, ToSchema)]
#[schema(as = CtxSecret)]
pub struct CtxSecretBody<'a> {
    /// The secret's name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// The number of the value.
    pub value_version: u64,
}

/// All that a program sees in an environment.
///
/// That it was read is recorded: the first time in an hour as it is before the answer leaves, later ones by the minute.
#[utoipa::path(get, path = "/v1/ctx", tag = "ctx", params(CtxParameters,
    ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer.")), responses(
    (status = 200, body = CtxBody), (status = 304, description = "It is as it was."),
    (status = "4XX", body = ProblemBody)))]
pub async fn show(State(app): State<App>, at: InCtx, headers: HeaderMap) -> Result<Response, Problem> {
    let tag = etag(&app, &at.version(&app).await?);
    if is_unmodified(&headers, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let Some(whole) = at.whole(&app).await? else {
        let large = Large::begin(&app, &at).await?;
        let tag = etag(&app, large.version());
        return Ok(answer(pieces::body(large, Large::next), Some(tag)));
    };
    at.note(&app, &whole.version, &whole.values).await?;
    let tag = etag(&app, &whole.version);
    Ok(answer(Body::from(Bytes::from_owner(Shared(whole))), Some(tag)))
}

/// One secret's value.
#[utoipa::path(get, path = "/v1/ctx/secrets/{name}", tag = "ctx",
    params(("name" = ConfigKey, Path), CtxParameters), responses(
    (status = 200, body = CtxSecretBody<'static>), (status = "4XX", body = ProblemBody)))]
pub async fn secret(State(app): State<App>, path: PathText, at: InCtx) -> Result<Response, Problem> {
    let name = path.first();
    let (id, value) = at.secret(&app, name).await?;
    let read = Read::Secret { secret: id, value_version: value.number, customer: at.customer };
    app.store.note_read(&at.call.organization.handle, at.program()?, read, &Values::default()).await?;
    let shown = value.plain.as_str().map_err(|_| Problem::internal())?;
    let body = json(&CtxSecretBody { name, value: shown, value_version: value.number });
    Ok(answer(Body::from(Bytes::from_owner(body)), None))
}

/// Says when what a program sees in an environment changes: server-sent events, each `change` with the new version.
///
/// The header `Last-Event-ID` of the next request goes on behind an event: what changed in between is told at once.
#[utoipa::path(get, path = "/v1/ctx/watch", tag = "ctx", params(CtxParameters,
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read.")), responses(
    (status = 200, body = String, content_type = "text/event-stream", description = "Changes as they come."),
    (status = "4XX", body = ProblemBody)))]
pub async fn watch(State(app): State<App>, at: InCtx, headers: HeaderMap) -> Result<Response, Problem> {
    let slot = app.streams.open(Kind::Stream, at.call.caller.proof())?;
    let start = Start::of(&headers, None, app.store.epoch())?;
    let told = at.version(&app).await?;
    let basis = Basis::of(at.call.organization.settings(), at.place());
    let watch = Watch::begin(&app, &at.call, at.place().id(), (basis.newest(), told), start, slot);
    Ok(sse::response(pieces::body(watch, Watch::next)))
}

/// A program's call to a place that it reads in.
pub struct InCtx {
    /// The call.
    pub call: Call,
    /// The environment.
    pub environment: Environment,
    /// The customer.
    pub customer: Option<CustomerId>,
}

impl FromRequestParts<App> for InCtx {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let call = Call::from_request_parts(parts, app).await?;
        let query = RawQuery::from_request_parts(parts, app).await?;
        let CtxParameters { environment, customer } = query.parse()?;
        let named = environment.ok_or_else(|| {
            Problem::invalid_parameter("environment", "missing", "name the environment to read in")
        })?;
        let found = by_id_or_slug(&call.settings().environments, &named).ok_or_else(Problem::not_found)?;
        if call.caller.mode().is_some_and(|mode| mode != found.mode) {
            return Err(call.refuse_in(Denial::WrongMode, found.id).await);
        }
        if !call.organization.grants.allows_in(Permission::CtxRead, found.id) {
            return Err(Problem::not_found());
        }
        let environment = found.clone();
        let customer = customer.map(|id| find_customer(&call, &id)).transpose()?;
        match customer.map(|customer| (customer.id, customer.status)) {
            None if call.organization.grants.customers.is_some() => {
                let message = "the API key is limited to some customers: name one of them";
                Err(Problem::invalid_parameter("customer", "missing", message))
            }
            Some((_, Status::Suspended)) => {
                Err(call.refuse_in(Denial::CustomerSuspended, environment.id).await)
            }
            Some((id, Status::Active)) => Ok(Self { customer: Some(id), call, environment }),
            None => Ok(Self { customer: None, call, environment }),
        }
    }
}

/// A customer by id, if there is one whom the caller reads for.
fn find_customer<'a>(call: &'a Call, id: &str) -> Result<&'a Customer, Problem> {
    let found = id.parse().ok().and_then(|id| call.settings().customers.get(id));
    found.filter(|found| call.organization.grants.reaches(found.id)).ok_or_else(Problem::not_found)
}

impl InCtx {
    /// Where it reads.
    pub(super) fn place(&self) -> Place<'_> {
        Place { environment: &self.environment, customer: self.customer }
    }

    /// The key that reads, and its session.
    ///
    /// # Errors
    /// 500 for whoever is no program: the rows of such routes ask for one.
    fn program(&self) -> Result<(ApiKeyId, Actor), Problem> {
        match &self.call.caller.showed {
            Showed::Key(of) => Ok((of.shown.key, self.call.caller.actor)),
            Showed::Session(_) => Err(Problem::internal()),
        }
    }

    /// Notes that all of the environment is read.
    ///
    /// # Errors
    /// When that cannot be recorded, so that nothing may leave.
    pub(super) async fn note(&self, app: &App, version: &Arc<str>, values: &Values) -> Result<(), Problem> {
        // Configuration alone is no secret.
        if values.is_empty() {
            return Ok(());
        }
        let (environment, customer) = self.place().id();
        let read = Read::Environment { environment, customer, version: Arc::clone(version) };
        Ok(app.store.note_read(&self.call.organization.handle, self.program()?, read, values).await?)
    }

    /// The version of what is seen.
    pub(super) async fn version(&self, app: &App) -> Result<Arc<str>, Problem> {
        let view = &self.call.organization.view;
        if let Some(known) = app.store.ctx().version(view, self.place()) {
            return Ok(known);
        }
        self.apart(app, |app, _, view, place| {
            let under = own_key(view.stream, &view.organization().general, app.store.ring())?;
            Ok(app.store.ctx().version_of(&under, view, place))
        })
        .await
    }

    /// All that is seen; `None` where it is too large to be kept.
    async fn whole(&self, app: &App) -> Result<Option<Arc<Whole>>, Problem> {
        let view = &self.call.organization.view;
        if let Some(kept) = app.store.ctx().whole(view, self.place()) {
            return Ok(Some(kept));
        }
        self.apart(app, |app, handle, view, place| {
            let (ctx, ring) = (app.store.ctx(), app.store.ring());
            let under = own_key(view.stream, &view.organization().general, ring)?;
            ctx.whole_of(ring, &under, handle, view, place)
        })
        .await
    }

    /// The value of the secret of this name.
    async fn secret(&self, app: &App, name: &str) -> Result<(SecretId, Arc<Value>), Problem> {
        let view = &self.call.organization.view;
        let readable = seen::secret(view.organization(), self.place(), name);
        let readable = readable.ok_or_else(Problem::not_found)?;
        if let Some(kept) = app.store.ctx().value(view, &readable) {
            return Ok((readable.secret.id, kept));
        }
        let name = name.to_owned();
        let opened = self.apart(app, move |app, handle, view, place| {
            let Some(readable) = seen::secret(view.organization(), place, &name) else {
                return Ok(None);
            };
            let value = app.store.ctx().value_of(app.store.ring(), handle, view, &readable)?;
            Ok(Some((readable.secret.id, value)))
        });
        opened.await?.ok_or_else(Problem::not_found)
    }

    /// Reads on a thread that may block; once more where what was to be read has changed meanwhile, which a value that
    /// was just destroyed does not open for.
    async fn apart<T: Send + 'static>(
        &self,
        app: &App,
        read: impl Fn(&App, &Handle, &View, Place<'_>) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, Problem> {
        let (app, id) = (app.clone(), self.place().id());
        let OrganizationScope { handle, view, .. } = self.call.organization.clone();
        let read = move || {
            let read = |view: &View| {
                let place = Place::find(view.organization(), id);
                place.map(|place| read(&app, &handle, view, place)).transpose()
            };
            read(&view).or_else(|error| {
                let newest = handle.view();
                if newest.version() > view.version() { read(&newest) } else { Err(error) }
            })
        };
        tokio::task::spawn_blocking(|| as_one(read)).await??.ok_or_else(Problem::not_found)
    }
}

fn etag(app: &App, version: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}-{version}\"", app.store.epoch())).expect("a version is base64url")
}

fn answer(body: Body, tag: Option<HeaderValue>) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A whole environment as the bytes of an answer.
struct Shared(Arc<Whole>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
