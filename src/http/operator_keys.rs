//! The operator's route about keys, on the socket in the data directory: rotating them.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::http::app::App;
use crate::http::input::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::StreamId;
use crate::seal::Plain;
use crate::seal::root::RootKey;

/// What is to be rotated: one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRotation)]
struct Rotation {
    /// The root key that takes the place of the present one, as the one line of its file.
    new_root_key: Option<Plain>,
    /// The stream whose key gets a further generation.
    #[schema(value_type = Option<String>)]
    stream: Option<StreamId>,
    /// `true`: what checkpoints and snapshots are signed with.
    #[serde(default)]
    signing_key: bool,
}

/// Goes over to another root key, to a further generation of a stream's key, or to another signing key, while the server
/// runs; of keys that wrap others, answers when nothing is wrapped by the old one any more. The keys of older snapshots are
/// rewritten after that; the status says so until they are.
#[utoipa::path(post, path = "/v1/operator/keys/rotate", tag = "operators", request_body = Rotation, responses((status = 200, body = Object, description = "As `settled key rotate --json` prints it."), (status = "4XX", body = ProblemBody)))]
pub async fn rotate(State(app): State<App>, _: NoParameters, body: RawBody) -> Result<Response, Problem> {
    match body.parse()? {
        Rotation { new_root_key: Some(text), stream: None, signing_key: false } => {
            let new = RootKey::from_text(&text).ok_or_else(|| {
                let message = "not a root key as `settled key generate` makes it";
                Problem::invalid_field("/new_root_key", "malformed", message)
            })?;
            Ok(Json(app.store.rotate_root_key(new).await?).into_response())
        }
        Rotation { new_root_key: None, stream: Some(stream), signing_key: false } => {
            let rotated = app.store.rotate_stream_key(stream, Actor::OPERATOR).await?;
            app.snapshots.ask_to_renew_keys();
            Ok(Json(rotated).into_response())
        }
        Rotation { new_root_key: None, stream: None, signing_key: true } => {
            Ok(Json(app.store.rotate_signing_key(Actor::OPERATOR).await?).into_response())
        }
        Rotation { .. } => {
            let message = "one of `new_root_key`, `stream` and `signing_key` is required";
            Err(Problem::invalid_field("", "invalid", message))
        }
    }
}
