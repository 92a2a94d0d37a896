//! The operator's routes, on the socket in the data directory: figures, status, checks, exports, the log's tail, and
//! vouching for the clock; keys, managed OAuth apps and snapshots have files of their own. Whoever may open that file is the operator.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::fsck::{Parts, check_store};
use crate::history::restore::operator::{OperatorError, OperatorRestore};
use crate::history::restore::{PointInTime, Restored};
use crate::http::app::App;
use crate::http::layers;
use crate::http::limits::Limits;
use crate::http::ndjson::{self, BrokenOff};
use crate::http::operator_audit;
use crate::http::operator_billing;
use crate::http::operator_keys;
use crate::http::operator_oauth;
use crate::http::operator_snapshots;
use crate::http::operator_token::{OperatorToken, guarded};
use crate::http::pieces;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::http::streams::Kind;
use crate::ids::{OrganizationId, StreamId};
use crate::log::export::{Selection, export};
use crate::log::frame::frame_hash;
use crate::log::{FrameHash, Position, tail};
use crate::metrics::OPENMETRICS;
use crate::platform::operations::command::OperationsCommand;
use crate::platform::operations::projection::NotedSnapshot;
use crate::store::history::HistoryError;
use crate::store::{Store, Submission};

/// The server's state, for operators: positions show all organizations' traffic.
#[derive(Serialize, ToSchema)]
#[schema(as = ServerStatus)]
struct Status {
    /// The program's.
    version: &'static str,
    /// The store's, which every restore of a snapshot begins anew.
    epoch: String,
    /// Whether what is asked is answered, and written.
    ready: bool,
    /// Why it is not ready, or what writes wait for.
    problems: Vec<String>,
    /// That of the newest durable frame.
    position: u64,
    /// The hash of that frame, base64url; null in an empty log.
    head: Option<String>,
    queue: Queue,
    /// How many streams are in memory.
    streams: usize,
    /// How many sessions and API keys are known.
    credentials: usize,
    disk_free_bytes: Option<u64>,
    newest_event_at: Option<Timestamp>,
    now: Timestamp,
    root_key: RootKeyStatus,
    /// The newest snapshot that was taken.
    last_snapshot: Option<NotedSnapshot>,
    /// The newest snapshot that a drill brought back as it was here.
    last_verified_restore: Option<NotedSnapshot>,
    /// Organizations in which something was destroyed of which copies on the disk open until their key is rotated.
    waiting_for_rotation: usize,
}

/// Which root key wraps the streams' keys.
#[derive(Serialize, ToSchema)]
struct RootKeyStatus {
    /// What the next start needs, or the other one while it is being rotated.
    fingerprint: String,
    /// The fingerprint of the one that a rotation under way goes away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotating_from: Option<String>,
}

/// Whether the server is ready, and what is wrong.
#[derive(Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    problems: Vec<String>,
}

/// Commands that wait to be decided.
#[derive(Serialize, ToSchema)]
#[schema(as = WriteQueue)]
struct Queue {
    length: usize,
    capacity: usize,
}

/// The time that was vouched for.
#[derive(Serialize, ToSchema)]
#[schema(as = ClockVouched)]
struct Accepted {
    accepted: Timestamp,
}

/// Every route of operators: its path, and its handlers by method.
pub fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/metrics", get(metrics)),
        ("/readyz", get(readyz)),
        ("/v1/operator/status", get(status)),
        ("/v1/operator/clock/accept", post(accept_clock)),
        ("/v1/operator/keys/rotate", post(operator_keys::rotate)),
        ("/v1/operator/managed-oauth-apps", get(operator_oauth::list)),
        (
            "/v1/operator/managed-oauth-apps/{provider}",
            get(operator_oauth::show).put(operator_oauth::set).delete(operator_oauth::delete),
        ),
        ("/v1/operator/audit", get(operator_audit::audit)),
        ("/v1/operator/organizations", get(operator_audit::organizations)),
        (
            "/v1/operator/organizations/{organization}",
            get(operator_audit::organization).delete(operator_audit::delete),
        ),
        ("/v1/operator/organizations/{organization}/billing", get(operator_billing::billing)),
        ("/v1/operator/organizations/{organization}/plan", put(operator_billing::change_plan)),
        (
            "/v1/operator/organizations/{organization}/quotas/{meter}",
            put(operator_billing::set_quota).delete(operator_billing::lift_quota),
        ),
        ("/v1/operator/plans", get(operator_billing::plans)),
        ("/v1/operator/plans/{plan}", get(operator_billing::plan).put(operator_billing::set_plan)),
        ("/v1/operator/snapshots", get(operator_snapshots::index).post(operator_snapshots::create)),
        ("/v1/operator/snapshots/{snapshot}", get(operator_snapshots::download)),
        ("/v1/operator/snapshots/{snapshot}/keys", get(operator_snapshots::download_keys)),
        ("/v1/operator/snapshots/{snapshot}/verify", post(operator_snapshots::verify)),
        ("/v1/operator/snapshots/{snapshot}/drill", post(operator_snapshots::drill)),
        ("/v1/operator/replay", post(replay)),
        ("/v1/operator/fsck", post(fsck)),
        ("/v1/operator/restore", post(restore)),
        ("/v1/operator/log/export", get(export_log)),
        ("/v1/operator/log/tail", get(tail_log)),
    ]
}

/// The router of operators: of their socket, or of a port, where they need a token.
pub fn router(app: &App, limits: Arc<Limits>, token: Option<OperatorToken>) -> Router {
    let routes = routes().into_iter();
    let router = routes.fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    let mut router = layers::with_fallbacks(router.with_state(app.clone()));
    if let Some(token) = token {
        router = guarded(router, token);
    }
    layers::enclose(router, app.store.metrics().clone(), limits)
}

/// The figures, as OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "operators", responses((status = 200, body = String, content_type = "application/openmetrics-text"), (status = "4XX", body = ProblemBody)))]
pub(super) async fn metrics(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let store = &app.store;
    store.metrics().queue_length(store.queue().0);
    store.metrics().commit_lasting(store.commit_lasting());
    let (waiting, refused) = app.passwords.load();
    store.metrics().passwords(waiting, refused);
    for (kind, name) in [(Kind::Stream, "stream"), (Kind::Export, "export")] {
        store.metrics().long_answers(name, app.streams.count(kind));
    }
    if let Ok(free) = (app.policy.free_bytes)() {
        store.metrics().disk_free_bytes(free);
    }
    Ok(([(CONTENT_TYPE, OPENMETRICS)], store.metrics().encode()).into_response())
}

/// As on the public port, with reasons: why it is not ready, or what is wrong although it is.
#[utoipa::path(get, path = "/readyz", tag = "operators", responses((status = 200, body = Readiness), (status = 503, body = Readiness), (status = "4XX", body = ProblemBody)))]
pub(super) async fn readyz(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let ready = app.store.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Readiness { ready, problems: problems(&app) })).into_response())
}

/// What is wrong: what writes wait for, and logins; and that keys lie about which open what was destroyed.
fn problems(app: &App) -> Vec<String> {
    let mut problems = app.store.problems();
    if app.passwords.is_full() {
        problems.push("the password queue is full".to_owned());
    }
    problems.extend(app.snapshots.problem());
    problems
}

/// The server's state.
#[utoipa::path(get, path = "/v1/operator/status", tag = "operators", responses((status = 200, body = Status), (status = "4XX", body = ProblemBody)))]
pub(super) async fn status(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let store = &app.store;
    let (length, capacity) = store.queue();
    let (end, head) = head(store).await?;
    let operations = store.platform().view().platform().operations.clone();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        epoch: store.epoch().to_owned(),
        ready: store.is_ready(),
        problems: problems(&app),
        position: end.0,
        head,
        queue: Queue { length, capacity },
        streams: store.resident_streams(),
        credentials: store.directory().len(),
        disk_free_bytes: (app.policy.free_bytes)().ok(),
        newest_event_at: store.newest(),
        now: store.clock().now(),
        root_key: RootKeyStatus {
            fingerprint: store.ring().root_key().to_string(),
            rotating_from: store.ring().root_rotation().map(|change| change.from.to_string()),
        },
        last_snapshot: operations.last_snapshot,
        last_verified_restore: operations.last_verified_restore,
        waiting_for_rotation: store.directory().waiting_for_rotation(),
    })
    .into_response())
}

/// The newest durable frame: its position, and its hash as a frame after it names it.
async fn head(store: &Store) -> Result<(Position, Option<String>), Problem> {
    let log = Arc::clone(store.log());
    let end = log.end();
    if end == Position(0) {
        return Ok((end, None));
    }
    let frames = tokio::task::spawn_blocking(move || log.read_at(&[end])).await?;
    let hash = frames.map_err(HistoryError::from)?.first().map(|frame| frame_hash(frame));
    Ok((end, hash.map(|FrameHash(bytes)| URL_SAFE_NO_PAD.encode(bytes))))
}

/// The operator vouches for the wall clock; writes go on.
#[utoipa::path(post, path = "/v1/operator/clock/accept", tag = "operators", responses((status = 200, body = Accepted), (status = "4XX", body = ProblemBody)))]
pub(super) async fn accept_clock(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let accepted = app.store.clock().accept();
    let command = OperationsCommand::AcceptClock { wall: accepted, newest: app.store.newest() };
    app.store.execute(app.store.platform(), Submission::new(command, Actor::OPERATOR)).await?;
    Ok(Json(Accepted { accepted }).into_response())
}

/// Folds the log from zero beside what is served.
#[utoipa::path(post, path = "/v1/operator/replay", tag = "operators", responses((status = 200, body = Object, description = "As `settled replay --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub(super) async fn replay(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let store = app.store.clone();
    let report = tokio::task::spawn_blocking(move || store.replay()).await??;
    Ok(Json(report).into_response())
}

/// Checks the whole log, the keys and their files, the ledger and the derived files.
#[utoipa::path(post, path = "/v1/operator/fsck", tag = "operators", responses((status = 200, body = Object, description = "As `settled fsck --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub(super) async fn fsck(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let store = app.store.clone();
    let check = move || {
        let parts = Parts {
            log: &**store.log(),
            ring: Some(store.ring()),
            ledger: store.ledger(),
            derived: store.files(),
            epoch: store.epoch(),
            now: store.clock().now(),
        };
        check_store(&parts, |streams| store.ring().check_files(streams), |_, _| {})
    };
    let report = tokio::task::spawn_blocking(check).await?;
    Ok(Json(report).into_response())
}

/// What an operator brings back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RestoreParameters {
    #[param(inline)]
    organization: OrganizationId,
    /// An RFC 3339 time or a version of the organization's stream.
    #[param(inline)]
    as_of: PointInTime,
    /// That one alone, by id or slug as of then; else all of the organization.
    environment: Option<String>,
    #[serde(default)]
    include_access: bool,
    #[serde(default)]
    dry_run: bool,
}

/// Brings an organization's settings back.
#[utoipa::path(post, path = "/v1/operator/restore", tag = "operators", params(RestoreParameters), responses((status = 200, body = Restored), (status = "4XX", body = ProblemBody)))]
pub(super) async fn restore(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let RestoreParameters { organization, as_of, environment, include_access, dry_run } = query.parse()?;
    let wanted = OperatorRestore { organization, as_of, environment, include_access, dry_run };
    let restored = wanted.run(&app.store).await.map_err(|error| match error {
        OperatorError::NoOrganization(_) => Problem::not_found(),
        OperatorError::NoEnvironment => {
            Problem::invalid_parameter("environment", "unknown", "there is and was no such environment")
        }
        OperatorError::Future => {
            Problem::invalid_parameter("as_of", "in_the_future", "nothing is known of the future")
        }
        OperatorError::Load(error) => error.into(),
        OperatorError::History(error) => error.into(),
        OperatorError::Unprepared(error) => error.into(),
        OperatorError::Panicked(error) => error.into(),
        OperatorError::Hidden(_) => Problem::internal(),
        OperatorError::Refused(refusal) => refusal.into(),
    })?;
    Ok(Json(restored).into_response())
}

/// Which events to export.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParameters {
    /// An organization's id, or `platform`; else all streams.
    #[param(value_type = Option<String>)]
    stream: Option<StreamId>,
    /// Only events of a greater version of that stream.
    #[serde(default)]
    #[param(value_type = u64)]
    after: Version,
    #[param(inline)]
    from: Option<Timestamp>,
    #[param(inline)]
    to: Option<Timestamp>,
}

/// Streams events exactly as recorded, oldest first, up to the log's end as it is now.
#[utoipa::path(get, path = "/v1/operator/log/export", tag = "operators", params(ExportParameters), responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = "4XX", body = ProblemBody)))]
pub(super) async fn export_log(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let ExportParameters { stream, after, from, to } = query.parse()?;
    let log = Arc::clone(app.store.log());
    let (mut lines, body) = ndjson::channel();
    tokio::task::spawn_blocking(move || {
        match export(&*log, Selection { stream, after, from, to }, |line, _, _| lines.push(line)) {
            Ok(()) => lines.end(),
            // Dropped without their end, the lines never pass for a whole answer.
            Err(error) => {
                tracing::error!(error = with_causes(&error), "the log could not be exported whole");
            }
        }
    });
    Ok(([(CONTENT_TYPE, ndjson::MEDIA_TYPE)], Body::new(body)).into_response())
}

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which events to show, and whether to go on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TailParameters {
    /// An organization's id, or `platform`; else all streams.
    #[param(value_type = Option<String>)]
    stream: Option<StreamId>,
    /// Only frames of a greater position; else the newest ones.
    after: Option<u64>,
    /// Whether to go on with what is appended.
    #[serde(default)]
    follow: bool,
}

/// A log being read to its end, or for as long as the operator follows it.
struct Following {
    app: App,
    stream: Option<StreamId>,
    follow: bool,
    after: Position,
}

/// Streams events with their positions, and goes on with what is appended.
#[utoipa::path(get, path = "/v1/operator/log/tail", tag = "operators", params(TailParameters), responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = "4XX", body = ProblemBody)))]
pub(super) async fn tail_log(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let TailParameters { stream, after, follow } = query.parse()?;
    let begun = match after {
        Some(position) => Ok(Position(position)),
        None => {
            let log = Arc::clone(app.store.log());
            app.streams
                .read(Kind::Export, move || tail::before_last(&*log, stream, tail::NEWEST_FRAMES))
                .await
        }
    };
    let after = begun.map_err(|BrokenOff| Problem::internal())?;
    let body = pieces::body(Following { app, stream, follow, after }, Following::next);
    Ok(([(CONTENT_TYPE, ndjson::MEDIA_TYPE)], body).into_response())
}

impl Following {
    async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, BrokenOff> {
        loop {
            let (log, stream, after) = (Arc::clone(self.app.store.log()), self.stream, self.after);
            let read = move || tail::after(&*log, stream, after);
            let news = self.app.streams.read(Kind::Export, read).await?;
            self.after = news.next.unwrap_or(after);
            if !news.lines.is_empty() {
                return Ok(Some((news.lines, self)));
            }
            if news.next.is_some() {
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            while self.app.store.log().end() <= self.after {
                tokio::select! {
                    () = self.app.streams.ended() => return Ok(None),
                    () = self.app.store.clock().sleep(LOOK_EVERY) => {}
                }
            }
        }
    }
}
