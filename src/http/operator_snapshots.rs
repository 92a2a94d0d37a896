//! The operator's routes about snapshots, on the socket in the data directory: taking, listing, downloading, verifying and
//! drilling them.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::http::app::App;
use crate::http::input::RawBody;
use crate::http::ndjson::BrokenOff;
use crate::http::path::PathText;
use crate::http::pieces;
use crate::http::problem::Problem;
use crate::http::query::NoParameters;
use crate::ids::SnapshotId;
use crate::snapshot::folder::list;
use crate::snapshot::operating::{OperatingError, Verified};
use crate::snapshot::{SnapshotError, keys_of};

/// How much of a file is in memory at a time while it is downloaded.
const PIECE_BYTES: usize = 256 << 10;

/// What kind of file a snapshot is.
const MEDIA_TYPE: &str = "application/octet-stream";

/// Where a snapshot goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The history's file, an absolute path; its keys go beside it. Without it, the folder of the snapshots.
    output: Option<PathBuf>,
}

/// The newest one, in the place of an id.
const NEWEST: &str = "newest";

/// What a verification came to.
#[derive(Serialize)]
struct Verification {
    snapshot: SnapshotId,
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Verified>,
    /// What is wrong with it, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Takes a snapshot while the server goes on; answers when both files are durable.
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

/// The snapshots of the folder, oldest first.
pub async fn index(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let folder = app.snapshots.folder.clone();
    let listing = tokio::task::spawn_blocking(move || list(&folder)).await?;
    Ok(Json(listing.map_err(OperatingError::from)?).into_response())
}

/// Downloads a snapshot's history.
pub async fn download(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    file(&find(&app, &path).await?).await
}

/// Downloads a snapshot's keys.
pub async fn download_keys(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    file(&keys_of(&find(&app, &path).await?)).await
}

/// Reads a snapshot from its first byte to its last.
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
pub async fn drill(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    let snapshot = if path.first() == NEWEST { None } else { Some(named(&path)?) };
    let report = app.snapshots.drill(&app.store, snapshot, Actor::OPERATOR, |_, _| {}).await?;
    Ok(Json(report).into_response())
}

fn named(path: &PathText) -> Result<SnapshotId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

async fn find(app: &App, path: &PathText) -> Result<PathBuf, Problem> {
    let (snapshots, snapshot) = (app.snapshots.clone(), named(path)?);
    let found = tokio::task::spawn_blocking(move || snapshots.find(snapshot)).await??;
    Ok(found.path)
}

/// Streams a file from its first byte to its last.
async fn file(path: &Path) -> Result<Response, Problem> {
    let opened = async {
        let file = File::open(path).await?;
        let bytes = file.metadata().await?.len();
        Ok::<_, std::io::Error>((file, bytes))
    };
    let (file, bytes) = match opened.await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Problem::not_found()),
        opened => opened.map_err(|error| {
            tracing::error!(path = %path.display(), %error, "a snapshot cannot be read");
            Problem::internal()
        })?,
    };
    let body = pieces::body(file, piece);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE.to_owned()), (CONTENT_LENGTH, bytes.to_string())], body).into_response())
}

async fn piece(mut file: File) -> Result<Option<(Vec<u8>, File)>, BrokenOff> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut bytes).await.map_err(|_| BrokenOff)?;
    Ok((read > 0).then_some((bytes, file)))
}

impl From<OperatingError> for Problem {
    fn from(error: OperatingError) -> Self {
        match error {
            OperatingError::NoSuchSnapshot(_) => Self::not_found(),
            OperatingError::NoSnapshot(_) => {
                Self::conflict("no_snapshot", "there is no snapshot with its keys in the folder")
            }
            OperatingError::Snapshot(SnapshotError::Exists { .. }) => {
                Self::conflict("exists", "there is such a file already: a snapshot is never written over")
            }
            OperatingError::NoName(_) => {
                Self::invalid_field("/output", "invalid", "a history's name ends with .settled")
            }
            OperatingError::Signing(error) => error.into(),
            OperatingError::Refused(refusal) => refusal.into(),
            OperatingError::Snapshot(_) | OperatingError::Unsound { .. } | OperatingError::Died(_) => {
                tracing::error!(error = with_causes(&error), "the snapshot could not be taken or read");
                Self::internal()
            }
        }
    }
}
