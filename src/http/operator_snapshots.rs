//! The operator's routes about snapshots, on the socket in the data directory: taking, listing, downloading, verifying and
//! drilling them.

use std::io::ErrorKind;
use std::path::PathBuf;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::http::app::App;
use crate::http::input::RawBody;
use crate::http::ndjson::BrokenOff;
use crate::http::path::PathText;
use crate::http::pieces;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::SnapshotId;
use crate::snapshot::SnapshotError;
use crate::snapshot::listing::list;
use crate::snapshot::operating::{OperatingError, Verified};
use crate::snapshot::place::{Located, ReadAt};

/// How much of a file is in memory at a time while it is downloaded.
const PIECE_BYTES: usize = 256 << 10;

/// What kind of file a snapshot is.
const MEDIA_TYPE: &str = "application/octet-stream";

/// Where a snapshot goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSnapshot)]
struct Wanted {
    /// The history's file, an absolute path; its keys go beside it. Without it, the place of the snapshots.
    #[schema(value_type = Option<String>)]
    output: Option<PathBuf>,
}

/// After how long it is worth while to ask again where the place of the snapshots cannot be reached.
const UNREACHABLE_SECONDS: u64 = 60;

/// The newest one, in the place of an id.
const NEWEST: &str = "newest";

/// What a verification came to.
#[derive(Serialize, ToSchema)]
#[schema(as = SnapshotVerification)]
struct Verification {
    snapshot: SnapshotId,
    /// Whether all of it holds.
    sound: bool,
    /// What was found in it, as `settled snapshot verify --json` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    found: Option<Verified>,
    /// What is wrong with it, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Takes a snapshot while the server goes on; answers when both files are durable.
#[utoipa::path(post, path = "/v1/operator/snapshots", tag = "operators", request_body = Wanted, responses((status = 201, body = Object, description = "As `settled snapshot create --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub async fn create(State(app): State<App>, _: NoParameters, body: RawBody) -> Result<Response, Problem> {
    let Wanted { output } = body.parse()?;
    if output.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(Problem::invalid_field("/output", "invalid", "expected an absolute path"));
    }
    let is_elsewhere = output.is_some();
    let taken = app.snapshots.take(&app.store, output, Actor::OPERATOR, |_, _| {}).await;
    let taken = taken.map_err(|error| match error {
        // Whoever is at this socket may know what the system says of a path that they gave.
        OperatingError::Snapshot(error @ SnapshotError::Io { .. }) if is_elsewhere => {
            Problem::invalid_field("/output", "unusable", with_causes(&error))
        }
        error => error.into(),
    })?;
    let location = format!("/v1/operator/snapshots/{}", taken.id);
    let mut response = (StatusCode::CREATED, Json(taken)).into_response();
    if !is_elsewhere {
        let location = location.parse().map_err(|_| Problem::internal())?;
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The snapshots, oldest first.
#[utoipa::path(get, path = "/v1/operator/snapshots", tag = "operators", responses((status = 200, body = Object, description = "As `settled snapshot list --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub async fn index(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let place = app.snapshots.place.clone();
    let listing = spawn_blocking(move || list(&place)).await?;
    Ok(Json(listing.map_err(OperatingError::from)?).into_response())
}

/// Downloads a snapshot's history.
#[utoipa::path(get, path = "/v1/operator/snapshots/{snapshot}", tag = "operators", params(("snapshot" = SnapshotId, Path)), responses((status = 200, description = "The file, `application/octet-stream`."), (status = "4XX", body = ProblemBody)))]
pub async fn download(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    file(find(&app, &path).await?).await
}

/// Downloads a snapshot's keys.
#[utoipa::path(get, path = "/v1/operator/snapshots/{snapshot}/keys", tag = "operators", params(("snapshot" = SnapshotId, Path)), responses((status = 200, description = "The file, `application/octet-stream`."), (status = "4XX", body = ProblemBody)))]
pub async fn download_keys(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    file(find(&app, &path).await?.keys()).await
}

/// Reads a snapshot from its first byte to its last.
#[utoipa::path(post, path = "/v1/operator/snapshots/{snapshot}/verify", tag = "operators", params(("snapshot" = SnapshotId, Path)), responses((status = 200, body = Verification), (status = "4XX", body = ProblemBody)))]
pub async fn verify(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    let snapshot = named(&path)?;
    let verified = app.snapshots.verify(&app.store, snapshot).await?;
    let (found, failure) = match verified {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(with_causes(&error))),
    };
    Ok(Json(Verification { snapshot, sound: failure.is_none(), found, failure }).into_response())
}

/// Restores a snapshot for practice, or the newest one.
#[utoipa::path(post, path = "/v1/operator/snapshots/{snapshot}/drill", tag = "operators", params(("snapshot" = String, Path, description = "Its id, or `newest`")), responses((status = 200, body = Object, description = "As `settled snapshot drill --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub async fn drill(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    let snapshot = if path.first() == NEWEST { None } else { Some(named(&path)?) };
    let report = app.snapshots.drill(&app.store, snapshot, Actor::OPERATOR, |_, _| {}).await?;
    Ok(Json(report).into_response())
}

fn named(path: &PathText) -> Result<SnapshotId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

async fn find(app: &App, path: &PathText) -> Result<Located, Problem> {
    let (snapshots, snapshot) = (app.snapshots.clone(), named(path)?);
    let found = spawn_blocking(move || snapshots.find(snapshot).map(|found| snapshots.located(&found)));
    Ok(found.await??)
}

/// Streams a file from its first byte to its last.
async fn file(located: Located) -> Result<Response, Problem> {
    let file = spawn_blocking(move || located.open()).await?.map_err(|error| match error {
        SnapshotError::Io { source, .. } if source.kind() == ErrorKind::NotFound => Problem::not_found(),
        error => OperatingError::from(error).into(),
    })?;
    let bytes = file.bytes();
    let body = pieces::body((file, 0), piece);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE.to_owned()), (CONTENT_LENGTH, bytes.to_string())], body).into_response())
}

/// A file, and how much of it has gone.
type Going = (Box<dyn ReadAt>, u64);

async fn piece((mut file, at): Going) -> Result<Option<(Vec<u8>, Going)>, BrokenOff> {
    let read = spawn_blocking(move || {
        let length = PIECE_BYTES.min(usize::try_from(file.bytes() - at).unwrap_or(PIECE_BYTES));
        let mut bytes = vec![0; length];
        file.read_exact_at(at, &mut bytes).map(|()| (bytes, file))
    });
    let (bytes, file) = read.await.map_err(|_| BrokenOff)?.map_err(|error| {
        tracing::error!(%error, "a snapshot cannot be read on");
        BrokenOff
    })?;
    let at = at + bytes.len() as u64;
    Ok((!bytes.is_empty()).then_some((bytes, (file, at))))
}

impl From<OperatingError> for Problem {
    fn from(error: OperatingError) -> Self {
        match error {
            OperatingError::NoSuchSnapshot(_) => Self::not_found(),
            OperatingError::NoSnapshot(_) => {
                Self::conflict("no_snapshot", "there is no snapshot with its keys")
            }
            OperatingError::Snapshot(SnapshotError::Exists { .. }) => {
                Self::conflict("exists", "there is such a file already: a snapshot is never written over")
            }
            OperatingError::Snapshot(SnapshotError::UnderWay { .. }) => {
                Self::conflict("under_way", "somebody else is writing a file of that name")
            }
            OperatingError::NoName(_) => {
                Self::invalid_field("/output", "invalid", "a history's name ends with .settled")
            }
            OperatingError::Signing(error) => error.into(),
            OperatingError::Refused(refusal) => refusal.into(),
            OperatingError::Snapshot(SnapshotError::NoRoom { .. }) => Self::insufficient_storage(),
            OperatingError::Snapshot(SnapshotError::WrongRootKey { .. }) => {
                Self::conflict("other_root_key", "its keys are wrapped by another root key than the store's")
            }
            OperatingError::Snapshot(SnapshotError::Newer { .. }) => Self::conflict(
                "newer_format",
                "it was written by a newer Settled, and cannot be read by this one",
            ),
            OperatingError::Snapshot(error @ SnapshotError::Io { .. }) => {
                tracing::error!(error = with_causes(&error), "the place of the snapshots cannot be reached");
                Self::unavailable("snapshots_unreachable", UNREACHABLE_SECONDS)
            }
            OperatingError::Twice { .. } => {
                tracing::error!(error = with_causes(&error), "a snapshot is there twice");
                Self::conflict("twice", "two files are this snapshot: the list names both")
            }
            OperatingError::Snapshot(_) | OperatingError::Unsound { .. } | OperatingError::Died(_) => {
                tracing::error!(error = with_causes(&error), "the snapshot could not be taken or read");
                Self::internal()
            }
        }
    }
}
