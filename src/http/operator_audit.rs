//! The operator's routes about who is here and what happened to the server: organizations, and the platform's own audit log,
//! on the socket in the data directory.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::actor::{Actor, ActorKind};
use crate::audit::query::AuditParameters;
use crate::clock::Timestamp;
use crate::event::{Outcome, Resource, Version};
use crate::http::app::App;
use crate::http::call::read_history;
use crate::http::page::{After, invalid_cursor};
use crate::http::path::PathText;
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{EventId, OrganizationId, StreamId};
use crate::platform::deletions::command::DeletionsCommand;
use crate::store::Submission;
use crate::store::resident::View;
use crate::store::shown::Envelope;

/// What cursors of these lists are of: no organization has such an id.
const SCOPE: &str = "operator";

/// Times without an offset are the server's, not an organization's.
const TIMEZONE: &str = "UTC";

/// An organization, as operators see it.
#[derive(Serialize)]
struct OrganizationRow {
    id: OrganizationId,
    name: String,
    timezone: String,
    people: usize,
    environments: usize,
    created_at: Timestamp,
    /// When anything of it changed last.
    changed_at: Timestamp,
    version: Version,
}

/// The organizations, by id.
pub async fn organizations(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let request = app.cursors.request(SCOPE, "organizations", &query)?;
    let NoParameters {} = request.filters.parse()?;
    let after = request.after.as_ref().map(|after| after.last.parse::<OrganizationId>());
    let after = after.transpose().map_err(|_| invalid_cursor())?;
    let ids = app.store.directory().streams().into_iter().filter_map(|stream| match stream {
        StreamId::Organization(id) if after.is_none_or(|after| after < id) => Some(id),
        StreamId::Organization(_) | StreamId::Platform => None,
    });
    let mut rows = Vec::new();
    for id in ids {
        rows.extend(row(&app, id).await?);
        if rows.len() > request.limit {
            break;
        }
    }
    let last = |last: &OrganizationRow| After { last: last.id.to_string(), version: None };
    Ok(Json(app.cursors.page(SCOPE, "organizations", &request, rows, last)).into_response())
}

/// One of them.
pub async fn organization(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    let id = path.first().parse().map_err(|_| Problem::not_found())?;
    Ok(Json(row(&app, id).await?.ok_or_else(Problem::not_found)?).into_response())
}

/// Deletes one: its people, keys and sessions are refused from then on, and its data keys are destroyed, so that what it sealed
/// opens with nothing. Answers when that is done; one that was cut off is gone on with.
pub async fn delete(State(app): State<App>, path: PathText, _: NoParameters) -> Result<StatusCode, Problem> {
    let id: OrganizationId = path.first().parse().map_err(|_| Problem::not_found())?;
    let store = &app.store;
    if !store.platform().view().platform().deletions.is_open(id) {
        store.organization(id).await?.ok_or_else(Problem::not_found)?;
        let open = Submission::new(DeletionsCommand::Open(id), Actor::OPERATOR);
        store.execute(store.platform(), open).await?;
    }
    store.finish_deletion_detached(id).await?;
    app.snapshots.renew_keys(store).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing of one whose founding is not finished, or that was deleted.
async fn row(app: &App, id: OrganizationId) -> Result<Option<OrganizationRow>, Problem> {
    let Some(handle) = app.store.organization(id).await? else { return Ok(None) };
    Ok(shown(id, &handle.view()))
}

fn shown(id: OrganizationId, view: &View) -> Option<OrganizationRow> {
    let organization = view.organization();
    let founded = organization.general.founded()?;
    Some(OrganizationRow {
        id,
        name: founded.name.clone(),
        timezone: founded.timezone.clone(),
        people: organization.people.count(),
        environments: organization.environments.count(),
        created_at: founded.created_at,
        changed_at: view.head.at,
        version: view.version(),
    })
}

/// A row of the platform's audit log.
#[derive(Serialize)]
struct AuditRow {
    id: EventId,
    timestamp: Timestamp,
    user: AuditUser,
    action: String,
    resource: Resource,
    outcome: Outcome,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

#[derive(Serialize)]
struct AuditUser {
    id: String,
    kind: ActorKind,
}

/// A page of it.
#[derive(Serialize)]
struct AuditPage {
    data: Vec<AuditRow>,
    next_cursor: Option<String>,
    total: u64,
}

/// The platform's audit log, newest first, by the filters of an organization's.
pub async fn audit(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let request = app.cursors.request(SCOPE, "audit", &query)?;
    let mut filter = request.filters.parse::<AuditParameters>()?.filter(TIMEZONE)?;
    let (store, handle) = (app.store.clone(), Arc::clone(app.store.platform()));
    let view = handle.view();
    // All pages of a list speak of the stream as it was at the first.
    let pinned = request.after.as_ref().and_then(|after| after.version).unwrap_or(view.version());
    filter.until = Some(pinned);
    let before = request.after.as_ref().map(|after| after.last.parse::<Version>());
    let before = before.transpose().map_err(|_| invalid_cursor())?;
    let limit = request.limit;
    let (rows, total) = read_history(move || {
        let matched = store.versions(&handle, &view, &filter, before, limit + 1)?;
        let events = store.envelopes(&handle, &view, &matched.versions)?;
        Ok((events.iter().map(|event| audit_row(event)).collect::<Vec<_>>(), matched.total))
    })
    .await?;
    let last = |last: &AuditRow| After { last: last.version.to_string(), version: Some(pinned) };
    let page = app.cursors.page(SCOPE, "audit", &request, rows, last);
    Ok(Json(AuditPage { data: page.data, next_cursor: page.next_cursor, total }).into_response())
}

fn audit_row(event: &Envelope) -> AuditRow {
    AuditRow {
        id: event.id,
        timestamp: event.at,
        user: AuditUser { id: event.actor.id.to_string(), kind: event.actor.id.kind() },
        action: event.action.clone(),
        resource: event.resource.clone(),
        outcome: event.outcome,
        version: event.version,
        count: event.count,
    }
}
