//! `/v1/secrets/{sec}/versions` and what shows or moves a value: revealing it, going back to it, destroying it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::audit::row::{RowUser, Rows};
use crate::clock::Timestamp;
use crate::event::{Event, Version};
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::{Call, read_history};
use crate::http::headers::{SETTLED_VERSION, version_value};
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::SecretId;
use crate::seal::keyring::KeyError;
use crate::seal::{Commitment, Plain, Sealed};
use crate::settings::secrets::command::{At, AtValue, RollBackSecret, SecretsCommand, SecretsRejection};
use crate::settings::secrets::event::Origin;
use crate::settings::secrets::http::{AtSecret, NoFields, SecretBody, answer, visible};
use crate::settings::secrets::projection::{Secret, Secrets};
use crate::settings::secrets::value_field;
use crate::store::history::HistoryError;
use crate::store::resident::View;

/// One of a secret's values, without the value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecretVersion)]
pub struct VersionBody {
    /// The number of the value, from 1.
    pub version: u64,
    /// When it was written.
    pub created_at: Timestamp,
    /// By whom.
    pub by: RowUser,
    /// Whether it was destroyed.
    pub destroyed: bool,
    /// Where it was first written, if it was copied.
    pub copied_from: Option<Origin>,
}

/// Which value to show.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevealRequest {
    /// Its number; the newest one's where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    version: Option<u64>,
}

/// A value, shown.
#[derive(Serialize, ToSchema)]
#[schema(as = RevealedSecret)]
pub struct RevealedBody<'a> {
    /// The value.
    pub value: &'a str,
    /// Its number.
    pub value_version: u64,
}

/// Which value to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Its number.
    to_version: u64,
}

/// The values of a secret by number, without what they are.
#[utoipa::path(get, path = "/v1/secrets/{sec}/versions", tag = "secrets",
    params(("sec" = SecretId, Path), PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<VersionBody>), (status = "4XX", body = ProblemBody)))]
pub async fn versions(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, list) = (call.organization.id.to_string(), format!("versions {}", path.first()));
    let asked = call.asked_page(&call.app.cursors, &scope, &list, &query).await;
    let (request, asked) = match asked {
        Err(problem) if problem.status() != StatusCode::FORBIDDEN => {
            let now = visible(&call, &call.settings().secrets, path.first());
            return Err(now.err().unwrap_or(problem));
        }
        asked => asked?,
    };
    let secrets = call.seen::<Secrets>(&asked, Focus::Resource(path.first().to_owned())).await?;
    let secret = visible(&call, &secrets, path.first())?.clone();
    let NoParameters {} = asked.query.parse()?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<u64>().ok());
    let (store, view) = (call.app.store.clone(), Arc::clone(&call.organization.view));
    let (handle, cursors) = (Arc::clone(&call.organization.handle), call.app.cursors.clone());
    // Names are opened there: a key that is not in memory is read from the disk.
    let page = read_history(move || {
        let mut names = Rows::new(&store, &handle, &view);
        let rest = secret.versions.iter().filter(|(number, _)| after.is_none_or(|after| **number > after));
        let found = rest.map(|(number, version)| VersionBody {
            version: *number,
            created_at: version.at,
            by: names.user(version.by.id),
            destroyed: version.destroyed,
            copied_from: version.copied_from,
        });
        Ok(cursors.page(&scope, &list, &request, found, |last| After {
            last: last.version.to_string(),
            version: asked.at,
        }))
    })
    .await?;
    Ok(secrets.mark(call.list(&call.organization.view, &page)))
}

/// Shows a value. Each time is an event, which is durable before the value leaves.
#[utoipa::path(post, path = "/v1/secrets/{sec}/reveal", tag = "secrets", request_body = RevealRequest,
    params(("sec" = SecretId, Path)), responses(
    (status = 200, body = RevealedBody<'static>), (status = "4XX", body = ProblemBody)))]
pub async fn reveal(AtSecret { call, secret }: AtSecret, _: NoParameters) -> Result<Response, Problem> {
    let RevealRequest { version } = call.body().parse()?;
    let value_version = version.unwrap_or(secret.value_version);
    let (sealed, commitment) = sealed_at(&call, &secret, value_version, "/version").await?;
    let opened = open(&call, &secret, &sealed, commitment);
    let command = AtValue { at: At::from(&secret), value_version };
    let done = call.submit_once(SecretsCommand::Reveal(command)).await?;
    // A value that was destroyed meanwhile did not open, and the writer has said why.
    let value = opened?;
    let shown = value.as_str().map_err(|_| Problem::internal())?;
    let json = Zeroizing::new(
        serde_json::to_vec(&RevealedBody { value: shown, value_version }).map_err(|_| Problem::internal())?,
    );
    let mut response = Response::new(Body::from(Bytes::from_owner(json)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    headers.insert(SETTLED_VERSION, version_value(done.view.version()));
    Ok(response)
}

/// Makes an earlier value the newest one, as a new version.
#[utoipa::path(post, path = "/v1/secrets/{sec}/rollback", tag = "secrets", request_body = RollbackRequest,
    params(("sec" = SecretId, Path)), responses(
    (status = 200, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn rollback(AtSecret { call, secret }: AtSecret, _: NoParameters) -> Result<Response, Problem> {
    let RollbackRequest { to_version } = call.body().parse()?;
    let (sealed, commitment) = sealed_at(&call, &secret, to_version, "/to_version").await?;
    let (stream, id) = (call.organization.handle.stream(), secret.id.to_string());
    let field = value_field(stream, &id);
    let (value, key) = match call.app.store.ring().copy(&sealed, commitment, &field, &field) {
        Ok(copied) => copied,
        Err(error) => return Err(not_opened(&call, &secret, to_version, error).await),
    };
    let to = AtValue { at: At::from(&secret), value_version: to_version };
    let command = SecretsCommand::RollBack(RollBackSecret { to, value });
    let done = call.submit_sealed(command, vec![key], StatusCode::OK).await?;
    answer(&call, &done, secret.id)
}

/// Destroys one value for ever.
#[utoipa::path(post, path = "/v1/secrets/{sec}/versions/{n}/destroy", tag = "secrets",
    params(("sec" = SecretId, Path), ("n" = u64, Path, description = "The number of the value")), responses(
    (status = 200, body = SecretBody), (status = "4XX", body = ProblemBody)))]
pub async fn destroy_version(
    AtVersion { call, secret, number }: AtVersion,
    _: NoParameters,
) -> Result<Response, Problem> {
    let NoFields {} = call.body().parse()?;
    let command = AtValue { at: At::from(&secret), value_version: number };
    let done = call.submit(SecretsCommand::DestroyVersion(command), StatusCode::OK).await?;
    answer(&call, &done, secret.id)
}

/// A call to one of a secret's values, by its number.
pub struct AtVersion {
    call: Call,
    secret: Secret,
    number: u64,
}

impl FromRequestParts<App> for AtVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtSecret { call, secret } = AtSecret::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let number = path.second().parse().ok().filter(|number: &u64| number.to_string() == path.second());
        let number = number.filter(|number| secret.versions.contains_key(number));
        Ok(Self { number: number.ok_or_else(Problem::not_found)?, call, secret })
    }
}

fn open(
    call: &Call,
    secret: &Secret,
    sealed: &Sealed,
    commitment: Option<Commitment>,
) -> Result<Plain, KeyError> {
    let (stream, id) = (call.organization.handle.stream(), secret.id.to_string());
    let key = call.app.store.ring().data_key(stream, sealed.key, commitment)?;
    Ok(key.open(&value_field(stream, &id), sealed)?)
}

/// Why a value did not open: it may have been destroyed since the request began.
async fn not_opened(call: &Call, secret: &Secret, number: u64, error: KeyError) -> Problem {
    let handle = &call.organization.handle;
    let gone = |view: &View| match view.organization().secrets.get(secret.id) {
        Some(secret) => {
            let kept = secret.versions.get(&number).is_some_and(|version| !version.destroyed);
            (!kept).then(|| SecretsRejection::VersionDestroyed.into())
        }
        None => Some(Problem::not_found()),
    };
    let newest = handle.view();
    if let Some(problem) = gone(&newest) {
        return problem;
    }
    handle.beyond(newest.version()).await;
    gone(&handle.view()).unwrap_or_else(|| error.into())
}

/// A value as it was sealed, with what history committed to of its key: the newest one is at hand, an earlier one stands
/// in the event that wrote it. `pointer` is where the request names it.
async fn sealed_at(
    call: &Call,
    secret: &Secret,
    number: u64,
    pointer: &'static str,
) -> Result<(Arc<Sealed>, Option<Commitment>), Problem> {
    let Some(version) = secret.versions.get(&number) else {
        return Err(Problem::invalid_field(pointer, "unknown", "the secret has no such version"));
    };
    if version.destroyed {
        call.check_seen(secret.version)?;
        return Err(SecretsRejection::VersionDestroyed.into());
    }
    if let Some(value) = secret.value.as_ref().filter(|_| number == secret.value_version) {
        return Ok((Arc::clone(&value.sealed), value.commitment));
    }
    let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
    let recorded: Version = version.recorded;
    read_history(move || {
        let view = handle.view();
        let event = store.recorded(&handle, &view, &[recorded])?.pop();
        let value = event.and_then(|event| match &event.event {
            Event::Secrets(secrets) => {
                let sealed = secrets.value()?;
                Some((Arc::new(sealed.clone()), event.keys.get(&sealed.key).copied()))
            }
            _ => None,
        });
        value.ok_or(HistoryError::NoSuchVersion { stream: handle.stream(), version: recorded })
    })
    .await
}
