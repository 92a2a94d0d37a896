//! The operator's routes about managed OAuth apps, on the socket in the data directory.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::http::app::App;
use crate::http::input::RawBody;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::StreamId;
use crate::oauth::callback_url;
use crate::oauth::provider::provider;
use crate::platform::managed_apps::client_secret_field;
use crate::platform::managed_apps::command::{ManagedAppsCommand, SetManagedApp};
use crate::platform::managed_apps::projection::ManagedApp;
use crate::settings::oauth_apps::value::{ClientId, ClientSecret, Scopes};
use crate::store::Submission;

/// A managed app, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = ManagedOauthApp)]
struct ManagedBody {
    provider: String,
    client_id: String,
    scopes: Vec<String>,
    /// Where the provider sends people back to: it is registered there.
    redirect_uri: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl ManagedBody {
    fn new(app: &App, managed: &ManagedApp) -> Self {
        Self {
            provider: managed.provider.clone(),
            client_id: managed.client_id.clone(),
            scopes: managed.scopes.clone(),
            redirect_uri: callback_url(&app.policy.public_url, &managed.provider),
            created_at: managed.created_at,
            updated_at: managed.updated_at,
        }
    }
}

/// All of them.
#[derive(Serialize, ToSchema)]
#[schema(as = ManagedOauthApps)]
struct ManagedList {
    data: Vec<ManagedBody>,
}

/// What a managed app is set to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewManagedOauthApp)]
struct Setting {
    client_id: ClientId,
    client_secret: ClientSecret,
    #[serde(default)]
    scopes: Scopes,
}

/// All managed apps, by provider.
#[utoipa::path(get, path = "/v1/operator/managed-oauth-apps", tag = "operators", responses((status = 200, body = ManagedList), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, _: NoParameters) -> Result<Response, Problem> {
    let view = app.store.platform().view();
    let data = view.platform().managed_apps.iter().map(|managed| ManagedBody::new(&app, managed)).collect();
    Ok(Json(ManagedList { data }).into_response())
}

/// A provider's managed app.
#[utoipa::path(get, path = "/v1/operator/managed-oauth-apps/{provider}", tag = "operators", params(("provider" = String, Path)), responses((status = 200, body = ManagedBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    shown(&app, path.first(), StatusCode::OK)
}

/// Sets a provider's managed app, whether it has one or not.
#[utoipa::path(put, path = "/v1/operator/managed-oauth-apps/{provider}", tag = "operators", request_body = Setting, params(("provider" = String, Path)), responses((status = 200, body = ManagedBody), (status = 201, body = ManagedBody), (status = "4XX", body = ProblemBody)))]
pub async fn set(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let name = provider(path.first()).ok_or_else(Problem::not_found)?.id.as_str();
    let Setting { client_id, client_secret, scopes } = body.parse()?;
    let key = app.store.ring().mint(StreamId::Platform)?;
    let command = SetManagedApp {
        provider: name.to_owned(),
        client_id: client_id.to_string(),
        client_secret: key.key().seal(&client_secret_field(name), client_secret.plain()),
        scopes: scopes.to_texts(),
    };
    let is_new = app.store.platform().view().platform().managed_apps.get(name).is_none();
    let mut submission = Submission::new(ManagedAppsCommand::Set(command), Actor::OPERATOR);
    submission.keys = vec![key];
    app.store.execute(app.store.platform(), submission).await?;
    shown(&app, name, if is_new { StatusCode::CREATED } else { StatusCode::OK })
}

/// Deletes a provider's managed app.
#[utoipa::path(delete, path = "/v1/operator/managed-oauth-apps/{provider}", tag = "operators", params(("provider" = String, Path)), responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(State(app): State<App>, path: PathText, _: NoParameters) -> Result<Response, Problem> {
    let command = ManagedAppsCommand::Delete(path.first().to_owned());
    app.store.execute(app.store.platform(), Submission::new(command, Actor::OPERATOR)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn shown(app: &App, provider: &str, status: StatusCode) -> Result<Response, Problem> {
    let view = app.store.platform().view();
    let managed = view.platform().managed_apps.get(provider).ok_or_else(Problem::not_found)?;
    Ok((status, Json(ManagedBody::new(app, managed))).into_response())
}
