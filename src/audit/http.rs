//! `/v1/audit`, what is below it, and `/v1/events` over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit::export::{Export, media_type};
use crate::audit::facets::Facets;
use crate::audit::query::AuditParameters;
use crate::audit::row::{Row, Rows};
use crate::audit::stream::Stream;
use crate::clock::Timestamp;
use crate::command::{Command, OrganizationCommand};
use crate::event::Version;
use crate::history::description::Focus;
use crate::history::readable;
use crate::http::app::App;
use crate::http::auth::still_may;
use crate::http::call::{Call, read_history};
use crate::http::ndjson::BrokenOff;
use crate::http::page::{
    After, DEFAULT_PAGE, Filled, LONGEST_PAGE, PageParameters, invalid_cursor, json_bytes,
};
use crate::http::pieces;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::http::sse::{self, Start};
use crate::http::streams::Kind;
use crate::log::filter::Filter;
use crate::settings::customer_data::keys;
use crate::settings::roles::permission::Permission;
use crate::store::exports::{Form, NoteExport};

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
    let mut filter = filter(&call, &request.filters)?;
    let place = request.after.as_ref().map(Place::read).transpose()?;
    if let Some(place) = &place {
        // A bare date means what it meant on the first page, whatever the organization's time zone is since.
        (filter.from, filter.to) = (place.from, place.to);
    }
    let (from, to) = (filter.from, filter.to);
    let view = call.organization.view.clone();
    // All pages of a list speak of the stream as it was at the first.
    let pinned = request.after.as_ref().and_then(|after| after.version).unwrap_or(view.version());
    filter.until = Some(pinned);
    let before = place.map(|place| place.before);
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), view.clone());
    let limit = request.limit;
    let (rows, total) = read_history(move || {
        let matched = store.versions(&handle, &seen, &filter, before, limit + 1)?;
        Ok((Rows::new(&store, &handle, &seen).of(&matched.versions)?, matched.total))
    })
    .await?;
    let page = app
        .cursors
        .page(&scope, "audit", &request, rows, |last| Place { before: last.version, from, to }.after(pinned));
    Ok(call.list(&view, &AuditPage { data: page.data, next_cursor: page.next_cursor, total }))
}

/// Where a page ends, and the times that its list is between.
#[derive(Serialize, Deserialize)]
struct Place {
    before: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
}

impl Place {
    fn after(&self, pinned: Version) -> After {
        After { last: serde_json::to_string(self).unwrap_or_default(), version: Some(pinned) }
    }

    fn read(after: &After) -> Result<Self, Problem> {
        serde_json::from_str(&after.last).map_err(|_| invalid_cursor())
    }
}

/// The filter that parameters mean to the caller's organization.
fn filter(call: &Call, parameters: &RawQuery) -> Result<Filter, Problem> {
    let parameters: AuditParameters = parameters.parse()?;
    let founded = call.settings().general.founded().ok_or_else(Problem::not_found)?;
    let mut filter = parameters.filter(&founded.timezone)?;
    for resource in &mut filter.resources {
        // A document is mentioned by what it is found by.
        if let Some(meant @ Focus::Named(..)) = readable::focus(resource)
            && let Focus::Named(id, name) = keys::found_by(&call.app.store, &call.organization.handle, meant)?
        {
            *resource = format!("{id}/{name}");
        }
    }
    Ok(filter)
}

/// The values that the audit log can be filtered by, with the number of events that each would show among those that
/// match.
#[utoipa::path(get, path = "/v1/audit/facets", tag = "audit", params(AuditParameters), responses(
    (status = 200, body = Facets), (status = "4XX", body = ProblemBody)))]
pub async fn facets(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let filter = filter(&call, &query)?;
    let view = call.organization.view.clone();
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), view.clone());
    let facets = read_history(move || {
        let counted = store.facets(&handle, &seen, &filter)?;
        Ok(Facets::of(counted, &mut Rows::new(&store, &handle, &seen)))
    })
    .await?;
    Ok(call.list(&view, &facets))
}

/// In which form to export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// `csv`, `ndjson` or `ocsf`: comma-separated values, one row of the audit log as JSON a line, or one event of the
    /// Open Cybersecurity Schema Framework a line. Any other is 422 `unsupported_format`.
    #[param(default = "csv")]
    format: Option<String>,
}

impl ExportParameters {
    fn form(&self) -> Result<Form, Problem> {
        match self.format.as_deref() {
            None | Some("csv") => Ok(Form::Csv),
            Some("ndjson") => Ok(Form::Ndjson),
            Some("ocsf") => Ok(Form::Ocsf),
            Some(_) => Err(Problem::invalid_parameter(
                "format",
                "unsupported_format",
                "expected csv, ndjson or ocsf",
            )),
        }
    }
}

/// All rows of the audit log that match, newest first, as the log was when this was asked for.
///
/// That somebody exported is an event itself. A connection that ends early is an export that is not whole.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(ExportParameters, AuditParameters), responses(
    (status = 200, description = "All rows that match.",
        content((String = "text/csv"), (String = "application/x-ndjson"))),
    (status = "4XX", body = ProblemBody)))]
pub async fn export(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let slot = app.streams.open(Kind::Export, call.caller.proof())?;
    let (own, parameters) = query.split(&["format"]);
    let form = own.parse::<ExportParameters>()?.form()?;
    let filter = filter(&call, &parameters)?;
    let (handle, view) = (&call.organization.handle, &call.organization.view);
    let begun = Export::begin(&app.store, handle, view, filter, form);
    // Durable before the first byte leaves.
    let note = Command::Organization(OrganizationCommand::Export(NoteExport { form }));
    call.submit(note, StatusCode::OK).await?;
    let name = format!("audit-{}-{}.{}", call.organization.id, view.version(), form.name());
    let disposition = format!("attachment; filename=\"{name}\"");
    let (proof, handle) = (call.caller.proof(), Arc::clone(handle));
    let body = pieces::body((begun, slot), move |(mut export, slot)| {
        let (app, handle) = (app.clone(), Arc::clone(&handle));
        async move {
            if !still_may(&app, &handle, proof, Permission::AuditExport) {
                return Err(BrokenOff);
            }
            let page = move || export.next_piece().map(|page| page.map(|page| (page, export)));
            let page = app.streams.read(Kind::Export, page).await?;
            Ok(page.map(|(page, export)| (page, (export, slot))))
        }
    });
    let headers = [(CONTENT_TYPE, media_type(form).to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, body).into_response())
}

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamParameters {
    /// Only what comes after this version, instead of after now. The header `Last-Event-ID` beats it. In a store that was restored
    /// it is answered with `event: reset`, since a version alone does not say of which epoch it is.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    after: Option<Version>,
}

/// The audit log as it happens: server-sent events, each `entry` a row in its order.
///
/// The id of an event goes on behind it, as the header `Last-Event-ID` of the next request. One of before the store
/// was restored is answered with `event: reset`: what was read until then is void. Comments come every 15 s. The
/// stream ends when the session, the membership or the permission does, and when the server stops.
#[utoipa::path(get, path = "/v1/audit/stream", tag = "audit", params(StreamParameters, AuditParameters,
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read.")), responses(
    (status = 200, body = String, content_type = "text/event-stream", description = "Rows as they come."),
    (status = "4XX", body = ProblemBody)))]
pub async fn stream(
    State(app): State<App>,
    call: Call,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let slot = app.streams.open(Kind::Stream, call.caller.proof())?;
    let (own, parameters) = query.split(&["after"]);
    let StreamParameters { after } = own.parse()?;
    let filter = filter(&call, &parameters)?;
    let after = checked(after)?;
    if after.is_some_and(|after| after > call.organization.view.version()) {
        return Err(Problem::invalid_parameter("after", "in_the_future", "nothing is known of the future"));
    }
    let start = Start::of(&headers, after, app.store.epoch())?;
    let stream = Stream::begin(&app, call.caller.proof(), &call.organization, filter, start, slot);
    Ok(sse::response(pieces::body(stream, Stream::next)))
}

/// How many events as recorded are in memory beyond those that the page has room for.
const EVENTS_AT_ONCE: usize = 16;

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
    let after = checked(parameters.after)?.unwrap_or(0);
    let note = Command::Organization(OrganizationCommand::Export(NoteExport { form: Form::Events }));
    call.submit(note, StatusCode::OK).await?;
    let view = call.organization.handle.view();
    let last = after.saturating_add(limit as u64).min(view.version());
    let versions: Vec<Version> = (after.saturating_add(1)..=last).collect();
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), view.clone());
    let data = read_history(move || {
        let mut filled = Filled::new(limit);
        for versions in versions.chunks(EVENTS_AT_ONCE) {
            for event in store.as_recorded(&handle, &seen, versions)? {
                if !filled.push(json_bytes(&event), event) {
                    return Ok(filled.finish().0);
                }
            }
        }
        Ok(filled.finish().0)
    })
    .await?;
    let last = after.saturating_add(data.len() as u64);
    let next_after = (last < view.version()).then_some(last);
    Ok(call.list(&view, &EventsPage { data, next_after }))
}

/// `after`, which is at most 2^53 − 1 as every integer of the API.
fn checked(after: Option<Version>) -> Result<Option<Version>, Problem> {
    if after.is_some_and(|after| after >= 1 << 53) {
        return Err(Problem::invalid_parameter("after", "invalid", "expected a stream's version"));
    }
    Ok(after)
}
