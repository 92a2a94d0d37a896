//! `/v1/audit` and `/v1/events` over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit::query::AuditParameters;
use crate::audit::row::{Row, Rows};
use crate::command::{Command, OrganizationCommand};
use crate::event::Version;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::page::{After, DEFAULT_PAGE, LONGEST_PAGE, PageParameters};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::store::exports::NoteExport;
use crate::store::history::HistoryError;

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    /// The rows, newest first.
    pub data: Vec<Row>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many rows match in all, exactly.
    pub total: u64,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditParameters, PageParameters), responses(
    (status = 200, body = AuditPage), (status = "4XX", body = ProblemBody)))]
pub async fn list(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let request = app.cursors.request(&scope, "audit", &query)?;
    let parameters: AuditParameters = request.filters.parse()?;
    let founded = call.settings().general.founded().ok_or_else(Problem::not_found)?;
    let mut filter = parameters.filter(&founded.timezone)?;

    let view = call.organization.view.clone();
    // All pages of a list speak of the stream as it was at the first.
    let pinned = request.after.as_ref().and_then(|after| after.version).unwrap_or(view.version());
    filter.until = Some(pinned);
    let before: Option<Version> = request.after.as_ref().and_then(|after| after.last.parse().ok());
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), view.clone());
    let limit = request.limit;
    let (rows, total) = read(move || {
        let matched = store.versions(&handle, &seen, &filter, before, limit + 1)?;
        Ok((Rows::new(&store, &handle, &seen).of(&matched.versions)?, matched.total))
    })
    .await?;
    let page = app.cursors.page(&scope, "audit", &request, rows, |last| After {
        last: last.version.to_string(),
        version: Some(pinned),
    });
    Ok(call.list(&view, &AuditPage { data: page.data, next_cursor: page.next_cursor, total }))
}

/// Parameters of events as recorded.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsParameters {
    /// Only events after this version.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    after: Option<Version>,
    /// How many events at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// Events exactly as recorded, in order.
#[derive(Serialize, ToSchema)]
pub struct EventsPage {
    /// The events; sealed fields are ciphertext.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Value>,
    /// The version to ask for what comes `after`; null where these are the newest.
    #[schema(required)]
    pub next_after: Option<Version>,
}

/// Events exactly as recorded: each, as canonical JSON, is a leaf of the stream's Merkle tree.
#[utoipa::path(get, path = "/v1/events", tag = "audit", params(EventsParameters), responses(
    (status = 200, body = EventsPage), (status = "4XX", body = ProblemBody)))]
pub async fn events(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let parameters: EventsParameters = query.parse()?;
    let limit = parameters.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid_parameter("limit", "invalid", "expected 1 to 200"));
    }
    // As every integer of the contract, at most 2^53 − 1.
    if parameters.after.is_some_and(|after| after >= 1 << 53) {
        return Err(Problem::invalid_parameter("after", "invalid", "expected a stream's version"));
    }
    let note = Command::Organization(OrganizationCommand::Export(NoteExport));
    call.submit(note, StatusCode::OK).await?;
    let view = call.organization.handle.view();
    let after = parameters.after.unwrap_or(0);
    let last = after.saturating_add(limit as u64).min(view.version());
    let versions: Vec<Version> = (after.saturating_add(1)..=last).collect();
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), view.clone());
    let data = read(move || store.as_recorded(&handle, &seen, &versions)).await?;
    let last = after.saturating_add(data.len() as u64);
    let next_after = (last < view.version()).then_some(last);
    Ok(call.list(&view, &EventsPage { data, next_after }))
}

/// Reads history on a thread that may block.
async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Problem> {
    Ok(tokio::task::spawn_blocking(read).await??)
}
