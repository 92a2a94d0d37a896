//! The operator's routes about who is here and what happened to the server: organizations, and the platform's own audit log,
//! on the socket in the data directory.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actor::ActorKind;
use crate::audit::query::AuditParameters;
use crate::clock::Timestamp;
use crate::event::{Outcome, Resource, Version};
use crate::http::app::App;
use crate::http::call::read_history;
use crate::http::page::{After, Page, PageParameters, invalid_cursor};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{EventId, OrganizationId};
use crate::store::organizations::OrganizationRow;
use crate::store::shown::Envelope;

/// What cursors of these lists are of: no organization has such an id.
const SCOPE: &str = "operator";

/// Times without an offset are the server's, not an organization's.
const TIMEZONE: &str = "UTC";

/// The organizations, by id.
#[utoipa::path(get, path = "/v1/operator/organizations", tag = "operators", params(PageParameters), responses((status = 200, body = Page<OrganizationRow>), (status = "4XX", body = ProblemBody)))]
pub async fn organizations(State(app): State<App>, query: RawQuery) -> Result<Response, Problem> {
    let request = app.cursors.request(SCOPE, "organizations", &query)?;
    let NoParameters {} = request.filters.parse()?;
    let after = request.after.as_ref().map(|after| after.last.parse::<OrganizationId>());
    let after = after.transpose().map_err(|_| invalid_cursor())?;
    let rows = app.store.organization_rows(after, request.limit + 1).await?;
    let last = |last: &OrganizationRow| After { last: last.id.to_string(), version: None };
    Ok(Json(app.cursors.page(SCOPE, "organizations", &request, rows, last)).into_response())
}

/// One of them.
#[utoipa::path(get, path = "/v1/operator/organizations/{organization}", tag = "operators", params(("organization" = OrganizationId, Path)), responses((status = 200, body = OrganizationRow), (status = "4XX", body = ProblemBody)))]
pub async fn organization(
    State(app): State<App>,
    path: PathText,
    _: NoParameters,
) -> Result<Response, Problem> {
    let id = path.first().parse().map_err(|_| Problem::not_found())?;
    Ok(Json(app.store.organization_row(id).await?.ok_or_else(Problem::not_found)?).into_response())
}

/// Deletes one: its people, keys and sessions are refused from then on, and its data keys are destroyed, so that what it sealed
/// opens with nothing. Answers when that is done; one that was cut off is gone on with. Copies of its keys beside snapshots go
/// next, for which nobody is kept waiting; the status says so until they are gone.
#[utoipa::path(delete, path = "/v1/operator/organizations/{organization}", tag = "operators", params(("organization" = OrganizationId, Path)), responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(State(app): State<App>, path: PathText, _: NoParameters) -> Result<StatusCode, Problem> {
    let id: OrganizationId = path.first().parse().map_err(|_| Problem::not_found())?;
    app.store.delete_organization(id).await?;
    app.snapshots.ask_to_renew_keys();
    Ok(StatusCode::NO_CONTENT)
}

/// A row of the platform's audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = OperatorAuditRow)]
struct AuditRow {
    id: EventId,
    timestamp: Timestamp,
    user: AuditUser,
    action: String,
    /// What it was about: `type`, `id`, and the `name` that it had.
    #[schema(value_type = Object)]
    resource: Resource,
    outcome: Outcome,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
#[schema(as = OperatorAuditUser)]
struct AuditUser {
    id: String,
    kind: ActorKind,
}

/// A page of it.
#[derive(Serialize, ToSchema)]
#[schema(as = OperatorAuditPage)]
struct AuditPage {
    data: Vec<AuditRow>,
    next_cursor: Option<String>,
    total: u64,
}

/// The platform's audit log, newest first, by the filters of an organization's.
#[utoipa::path(get, path = "/v1/operator/audit", tag = "operators", params(AuditParameters, PageParameters), responses((status = 200, body = AuditPage), (status = "4XX", body = ProblemBody)))]
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
