//! Whether the server is alive, ready, and which one it is. Public, so without reasons.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;

/// A state in one word.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthBody {
    /// `ok`.
    pub status: &'static str,
}

/// Which Settled this is.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub struct VersionBody {
    /// `settled`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = HealthBody)))]
pub async fn healthz(_: NoParameters) -> Result<Response, Problem> {
    Ok(Json(HealthBody { status: "ok" }).into_response())
}

/// The store is open and takes commands.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = HealthBody), (status = 503, body = ProblemBody)))]
pub async fn readyz(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    if app.store.is_ready() {
        Ok(Json(HealthBody { status: "ok" }).into_response())
    } else {
        Err(Problem::unavailable("not_ready", 5))
    }
}

/// Which Settled this is.
#[utoipa::path(get, path = "/v1/version", tag = "health", responses((status = 200, body = VersionBody)))]
pub async fn version(_: NoParameters) -> Result<Response, Problem> {
    let body = VersionBody { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    Ok((StatusCode::OK, Json(body)).into_response())
}
