//! `/v1/history/{id}` and `/v1/diff`: who changed a thing from what to what and why, and how two points in time differ.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit::row::{RowResource, RowUser, Rows};
use crate::clock::Timestamp;
use crate::event::{Recorded, Version};
use crate::history::description::{Change, Difference, Field, FieldChange, Focus, Subject};
use crate::history::past::{Asking, Past, differences};
use crate::history::readable;
use crate::http::app::App;
use crate::http::as_of::parameter;
use crate::http::call::{Call, read_history};
use crate::http::page::{After, Filled, PageParameters, json_bytes};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::settings::customer_data::keys;
use crate::settings::roles::access::Grants;
use crate::store::customers::opening::Openings;
use crate::store::shown::SealedName;

/// A page of a thing's history.
#[derive(Serialize, ToSchema)]
pub struct HistoryPage {
    /// What happened, newest first.
    pub data: Vec<HistoryRow>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// One change, by whom and why.
#[derive(Serialize, ToSchema)]
pub struct HistoryRow {
    /// The event's place in the organization's stream.
    pub version: Version,
    /// When.
    pub timestamp: Timestamp,
    /// Who.
    pub user: RowUser,
    /// What was done.
    pub action: String,
    /// To what: the thing itself, or what is named inside it or concerns it.
    pub resource: RowResource,
    /// From what to what.
    pub changes: Vec<FieldBody>,
    /// Why, in the actor's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How one field changed; null where it was not set.
#[derive(Serialize, ToSchema)]
pub struct FieldBody {
    /// The field.
    pub field: &'static str,
    /// Before.
    #[schema(required)]
    pub from: Option<Value>,
    /// Afterwards.
    #[schema(required)]
    pub to: Option<Value>,
    /// The value is sealed: that it changed is all that is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub sealed: bool,
}

/// A page of what differs between two points in time.
#[derive(Serialize, ToSchema)]
pub struct DiffPage {
    /// The version compared from.
    pub from_version: Version,
    /// The version compared to.
    pub to_version: Version,
    /// Each thing that differs, by type, id and name.
    pub data: Vec<DifferenceBody>,
    /// The areas of which you may not see everything.
    #[schema(value_type = Vec<String>)]
    pub omitted: Vec<&'static str>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// How one thing differs.
#[derive(Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceBody {
    /// The thing.
    pub resource: RowResource,
    /// What happened to it.
    pub change: Change,
    /// The fields that differ.
    pub fields: Vec<FieldBody>,
}

/// What of a thing's history is asked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParameters {
    /// The name of one configuration value in the environment, or of one document of the customer.
    name: Option<String>,
}

/// Which points in time are compared.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffParameters {
    /// An RFC 3339 time or a stream's version.
    #[param(required)]
    from: Option<String>,
    /// An RFC 3339 time or a stream's version; now where it is absent.
    to: Option<String>,
    /// Only this thing: its id, `<environment's id>/<KEY>` for a configuration value, or `<customer's id>/<key>` for a
    /// document.
    resource: Option<String>,
}

impl HistoryRow {
    fn new(event: &Recorded, changes: &[FieldChange], names: &mut Rows) -> Self {
        Self {
            version: event.version,
            timestamp: event.at,
            user: names.user(event.actor.id),
            action: event.event.action().to_owned(),
            resource: names.resource(&event.resource, SealedName::of(&event.event).as_ref()),
            changes: changes.iter().map(FieldBody::from).collect(),
            reason: event.reason.as_ref().and_then(|sealed| names.reason(sealed)),
        }
    }
}

impl From<&FieldChange> for FieldBody {
    fn from(change: &FieldChange) -> Self {
        let open = |field: &Option<Field>| field.as_ref().and_then(Field::shown).cloned();
        let sides = [&change.from, &change.to].into_iter().flatten();
        let sealed = sides.into_iter().any(|field| field.shown().is_none());
        Self { field: change.field, from: open(&change.from), to: open(&change.to), sealed }
    }
}

impl From<&Difference> for DifferenceBody {
    fn from(difference: &Difference) -> Self {
        Self {
            resource: RowResource::of(&difference.subject, difference.shown.as_deref()),
            change: difference.change,
            fields: difference.fields.iter().map(FieldBody::from).collect(),
        }
    }
}

/// Who changed a thing from what to what, and why. What is deleted keeps its history.
///
/// A page that is empty and has a cursor is not the last one: so many events in a row had nothing to show.
#[utoipa::path(get, path = "/v1/history/{id}", tag = "history",
    params(("id" = String, Path, description = "The thing's id"), HistoryParameters, PageParameters), responses(
    (status = 200, body = HistoryPage), (status = "4XX", body = ProblemBody)))]
pub async fn history(
    State(app): State<App>,
    path: PathText,
    call: Call,
    query: RawQuery,
) -> Result<Response, Problem> {
    let id = path.first().to_owned();
    readable::kind_of(&id).ok_or_else(Problem::not_found)?;
    let (scope, list) = (call.organization.id.to_string(), format!("history {id}"));
    let asked = app.cursors.request(&scope, &list, &query).and_then(|request| {
        let HistoryParameters { name } = request.filters.parse()?;
        let inside = |name: String| {
            readable::named(&id, &name)
                .map_err(|message| Problem::invalid_parameter("name", "invalid", message))
        };
        Ok((request, name.map(inside).transpose()?))
    });
    let (request, named) = match asked {
        Ok(asked) => asked,
        // That there is no such thing comes before what is wrong with the question.
        Err(problem) => {
            let is_known = is_known(&app, &call, Focus::Resource(id)).await?;
            return Err(if is_known { problem } else { Problem::not_found() });
        }
    };
    let focus = named.unwrap_or_else(|| Focus::Resource(id.clone()));
    let focus = keys::found_by(&app.store, &call.organization.handle, focus)?;
    let before = request.after.as_ref().and_then(|after| after.version);
    let past = past(&app, &call, focus, before.unwrap_or(Version::MAX), request.limit).await?;
    if past.is_nothing() && request.after.is_none() {
        return Err(Problem::not_found());
    }
    let next_cursor = past
        .next
        .map(|version| app.cursors.next(&scope, &list, &request, After { last: id, version: Some(version) }));
    Ok(call.list(&call.organization.view, &HistoryPage { data: past.rows, next_cursor }))
}

/// Whether there is or was what is meant, as far as the caller may see it: just where it has a history for them.
///
/// # Errors
/// When the history cannot be read.
pub async fn is_known(app: &App, call: &Call, focus: Focus) -> Result<bool, Problem> {
    Ok(!past(app, call, focus, Version::MAX, 1).await?.is_nothing())
}

/// A page of what happened, as the caller may see it.
async fn past(
    app: &App,
    call: &Call,
    focus: Focus,
    before: Version,
    limit: usize,
) -> Result<Past<HistoryRow>, Problem> {
    let (store, view) = (app.store.clone(), Arc::clone(&call.organization.view));
    let handle = Arc::clone(&call.organization.handle);
    let asking = Asking { focus, grants: Grants::clone(&call.organization.grants), before, limit };
    // Names and reasons are opened there too: a key that is not in memory is read from the disk.
    read_history(move || {
        let mut names = Rows::new(&store, &handle, &view);
        Past::read(&store, &handle, &view, &asking, |event, changes| {
            HistoryRow::new(event, changes, &mut names)
        })
    })
    .await
}

/// How the organization's settings differ between two points in time.
#[utoipa::path(get, path = "/v1/diff", tag = "history", params(DiffParameters, PageParameters), responses(
    (status = 200, body = DiffPage), (status = "4XX", body = ProblemBody)))]
pub async fn diff(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let request = app.cursors.request(&scope, "diff", &query)?;
    let parameters: DiffParameters = request.filters.parse()?;
    let focus = match &parameters.resource {
        None => Focus::All,
        Some(text) => readable::focus(text).ok_or_else(|| {
            Problem::invalid_parameter("resource", "invalid", "expected the id of a setting")
        })?,
    };
    let focus = keys::found_by(&app.store, &call.organization.handle, focus)?;
    let (from, to, after) = match request.after.as_ref().and_then(Place::read) {
        Some(place) => (place.from, place.to, Some(place.subject)),
        None => {
            let to = match &parameters.to {
                Some(to) => call.version_of(to, parameter("to")).await?,
                None => call.organization.view.version(),
            };
            let from = parameters.from.as_deref().ok_or_else(|| {
                Problem::invalid_parameter("from", "missing", "expected an RFC 3339 time or a version")
            })?;
            (call.version_of(from, parameter("from")).await?, to, None)
        }
    };
    let (store, handle) = (app.store.clone(), Arc::clone(&call.organization.handle));
    let (grants, limit) = (call.organization.grants.clone(), request.limit);
    let filled = read_history(move || {
        let (earlier, later) = (store.as_of(&handle, from)?, store.as_of(&handle, to)?);
        let states = [earlier.organization(), later.organization()];
        let found = differences(states[0], states[1], &focus, &grants);
        let rest = found
            .into_iter()
            .filter(|difference| after.as_ref().is_none_or(|after| difference.subject > *after));
        let (mut filled, mut openings) = (Filled::new(limit), Openings::new(&store, &handle));
        for mut difference in rest {
            keys::call_by_key(&mut openings, states, &difference.subject, &mut difference.shown);
            let body = DifferenceBody::from(&difference);
            if !filled.push(json_bytes(&body), (difference.subject, body)) {
                break;
            }
        }
        Ok(filled)
    })
    .await?;
    let page = app.cursors.filled(&scope, "diff", &request, filled, |(subject, _)| {
        Place { from, to, subject: subject.clone() }.after()
    });
    let data = page.data.into_iter().map(|(_, body)| body).collect();
    let omitted = readable::omitted(&call.organization.grants);
    let (from_version, to_version, next_cursor) = (from, to, page.next_cursor);
    let body = DiffPage { from_version, to_version, data, omitted, next_cursor };
    Ok(call.list(&call.organization.view, &body))
}

/// Where a page of differences ends: both versions are pinned, as a time may gain events.
#[derive(Serialize, Deserialize)]
struct Place {
    from: Version,
    to: Version,
    #[serde(flatten)]
    subject: Subject,
}

impl Place {
    fn after(&self) -> After {
        After { last: serde_json::to_string(self).unwrap_or_default(), version: Some(self.to) }
    }

    fn read(after: &After) -> Option<Self> {
        serde_json::from_str(&after.last).ok()
    }
}
