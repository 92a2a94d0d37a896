//! `/v1/history/{id}` and `/v1/diff`: who changed a thing from what to what and why, and how two points in time differ.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit::row::{RowResource, RowUser, Rows};
use crate::clock::Timestamp;
use crate::event::{Recorded, ResourceType, Version};
use crate::history::description::{Change, Description, Difference, Field, FieldChange, Focus, Subject};
use crate::history::readable;
use crate::http::app::App;
use crate::http::as_of::parameter;
use crate::http::call::{Call, read_history};
use crate::http::page::{After, PageParameters};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::organization::Organization;
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::projection::Grants;
use crate::store::Store;
use crate::store::as_of::Actions;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

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
    /// The name of one configuration value in the environment.
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
    /// Only this thing: its id, or `<environment's id>/<KEY>` for a configuration value.
    resource: Option<String>,
}

impl From<&FieldChange> for FieldBody {
    fn from(change: &FieldChange) -> Self {
        let open = |field: &Option<Field>| match field {
            Some(Field::Open(value)) => Some(value.clone()),
            Some(Field::Sealed(_)) | None => None,
        };
        let sealed = [&change.from, &change.to].iter().any(|field| matches!(field, Some(Field::Sealed(_))));
        Self { field: change.field, from: open(&change.from), to: open(&change.to), sealed }
    }
}

/// A thing as it is named in answers.
pub fn resource_of(subject: &Subject, shown: Option<&str>) -> RowResource {
    RowResource { kind: subject.kind, id: subject.id.clone(), name: shown.map(ToOwned::to_owned) }
}

impl From<&Difference> for DifferenceBody {
    fn from(difference: &Difference) -> Self {
        Self {
            resource: resource_of(&difference.subject, difference.shown.as_deref()),
            change: difference.change,
            fields: difference.fields.iter().map(FieldBody::from).collect(),
        }
    }
}

/// Who changed a thing from what to what, and why. What is deleted keeps its history.
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
    let kind = readable::kind_of(&id).ok_or_else(Problem::not_found)?;
    readable::check(&call.organization.grants, kind, &id).map_err(|_| Problem::not_found())?;
    let (scope, list) = (call.organization.id.to_string(), format!("history {id}"));
    let request = app.cursors.request(&scope, &list, &query)?;
    let HistoryParameters { name } = request.filters.parse()?;
    let focus = match name {
        None => Focus::Resource(id.clone()),
        Some(name) => {
            let name = ConfigKey::try_from(name.as_str())
                .map_err(|error| Problem::invalid_parameter("name", "invalid", error.to_string()))?;
            readable::check(&call.organization.grants, ResourceType::Config, &id)
                .map_err(|_| Problem::not_found())?;
            Focus::Named(id.clone(), name.to_string())
        }
    };
    let before = request.after.as_ref().and_then(|after| after.version).unwrap_or(Version::MAX);
    let (store, view, limit) = (app.store.clone(), Arc::clone(&call.organization.view), request.limit);
    let (handle, grants) = (Arc::clone(&call.organization.handle), call.organization.grants.clone());
    let past =
        read_history(move || Past::read(&store, &handle, &view, &focus, &grants, before, limit)).await?;
    if past.rows.is_empty() && past.next.is_none() && request.after.is_none() {
        return Err(Problem::not_found());
    }
    let mut names = Rows::new(&app.store, &call.organization.handle, &call.organization.view);
    let data = past.rows.iter().map(|(event, changes)| HistoryRow {
        version: event.version,
        timestamp: event.at,
        user: names.user(event.actor.id),
        action: event.event.action().to_owned(),
        resource: names.resource(&event.resource),
        changes: changes.iter().map(FieldBody::from).collect(),
        reason: event.reason.as_ref().and_then(|sealed| names.reason(sealed)),
    });
    let data = data.collect();
    let next_cursor = past
        .next
        .map(|version| app.cursors.next(&scope, &list, &request, After { last: id, version: Some(version) }));
    Ok(call.list(&call.organization.view, &HistoryPage { data, next_cursor }))
}

/// A page of a thing's past.
struct Past {
    /// Events, newest first, each with what it changed of its own resource.
    rows: Vec<(Recorded, Vec<FieldChange>)>,
    /// The version before which the next page begins.
    next: Option<Version>,
}

impl Past {
    /// Finds the events that concern what is meant, and folds from before the first of them on.
    fn read(
        store: &Store,
        handle: &Handle,
        view: &View,
        focus: &Focus,
        grants: &Grants,
        before: Version,
        limit: usize,
    ) -> Result<Self, HistoryError> {
        let mut events = store.concerning(handle, view, focus, &actions(focus), before, limit + 1)?;
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more).map(|event| event.version);
        let Some(first) = events.last() else { return Ok(Self { rows: Vec::new(), next }) };
        let earlier = store.as_of(handle, first.version - 1)?;
        let mut state = earlier.organization().clone();
        let mut rows = Vec::with_capacity(events.len());
        for event in events.into_iter().rev() {
            let changes = changes_of(&mut state, &event, focus);
            // What changed nothing and is not about the thing itself, a cascade or a change of the environment around a
            // value, is no part of its history.
            let about = match focus {
                Focus::Named(..) => event.resource.is_inner(),
                Focus::Resource(_) | Focus::All | Focus::Actions(_) => focus.is_mentioned_by(&event),
            };
            let concerns = about || !changes.is_empty();
            let visible = readable::check(grants, event.resource.kind, &event.resource.id).is_ok();
            if concerns && visible {
                rows.push((event, changes));
            }
        }
        rows.reverse();
        Ok(Self { rows, next })
    }
}

/// Which actions can concern what is meant.
fn actions(focus: &Focus) -> Actions {
    let areas = Organization::AREAS.iter();
    let mut actions = Actions::default();
    for area in areas {
        actions.mentioning.extend(area.reads);
        let meant = match focus {
            Focus::Resource(id) => readable::kind_of(id),
            Focus::Named(..) | Focus::All | Focus::Actions(_) => None,
        };
        if area.kinds.iter().any(|reads| Some(reads.kind) == meant) {
            actions.cascading.extend(area.cascades);
        }
    }
    actions
}

/// Takes an event in, and tells what it changed: of the thing it is about where it mentions what is meant, else of what
/// is meant.
fn changes_of(state: &mut Organization, event: &Recorded, focus: &Focus) -> Vec<FieldChange> {
    let about = match &event.resource.name {
        Some(name) if event.resource.is_inner() => Focus::Named(event.resource.id.clone(), name.clone()),
        _ => Focus::Resource(event.resource.id.clone()),
    };
    let own = Subject {
        kind: event.resource.kind,
        id: event.resource.id.clone(),
        name: event.resource.name.clone().filter(|_| event.resource.is_inner()),
    };
    // One configuration value's history tells of the value, also where its environment went with it.
    let (told, only) = match focus {
        Focus::Named(..) => (focus, None),
        Focus::Resource(_) if !focus.is_mentioned_by(event) => (focus, None),
        Focus::Resource(_) | Focus::All | Focus::Actions(_) => (&about, Some(own)),
    };
    let before = Description::of(state, told);
    state.apply(event);
    let after = Description::of(state, told);
    let differences = before.differences(&after).into_iter();
    let own = differences.filter(|difference| only.as_ref().is_none_or(|own| difference.subject == *own));
    own.flat_map(|difference| difference.fields).collect()
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
    let differences = read_history(move || {
        let (earlier, later) = (store.as_of(&handle, from)?, store.as_of(&handle, to)?);
        let earlier = Description::of(earlier.organization(), &focus);
        Ok(earlier.differences(&Description::of(later.organization(), &focus)))
    })
    .await?;
    let grants = &call.organization.grants;
    let found: Vec<_> = differences
        .into_iter()
        .filter(|difference| readable::allows(grants, &difference.subject))
        .filter(|difference| after.as_ref().is_none_or(|after| difference.subject > *after))
        .take(request.limit + 1)
        .collect();
    let page = app.cursors.page(&scope, "diff", &request, found, |last| {
        Place { from, to, subject: last.subject.clone() }.after()
    });
    let data = page.data.iter().map(DifferenceBody::from).collect();
    let omitted = readable::omitted(grants);
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
