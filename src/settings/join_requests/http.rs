//! `/v1/join-requests`: who asks to join, and letting them in. Asking is the account's: `platform/memberships/http.rs`.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::page::{After, Filled, Page, PageParameters, json_bytes};
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{Fresh, JoinRequestId, StreamId, UserId};
use crate::organization::Organization;
use crate::platform::accounts::departure::end_membership;
use crate::seal::keyring::KeyError;
use crate::seal::{Plain, Sealed, SealedField};
use crate::settings::join_requests::command::{ApproveJoinRequest, DeclineJoinRequest, JoinRequestsCommand};
use crate::settings::join_requests::projection::{Decision, JoinRequest, JoinRequests};
use crate::settings::people::{email_field, name_field};
use crate::settings::roles::role::RoleRef;
use crate::store::Done;
use crate::store::resident::View;

/// A request to join.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JoinRequest)]
pub struct JoinRequestBody {
    /// The request.
    pub id: JoinRequestId,
    /// Who they would be, or are.
    pub person: UserId,
    /// Their name; null once they are forgotten.
    pub name: Option<String>,
    /// Their e-mail address, which is verified; null once they are forgotten.
    pub email: Option<String>,
    /// What became of it.
    pub status: Status,
    /// The role that they were let in with.
    #[schema(value_type = Option<String>)]
    pub role: Option<RoleRef>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was decided, or made.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

/// What became of a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JoinRequestStatus)]
pub enum Status {
    /// Nobody has decided yet.
    Pending,
    /// They were let in.
    Approved,
    /// They were not.
    Declined,
}

/// How somebody is let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Their role; without, the one of the settings.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<String>, nullable = false)]
    role: Option<RoleRef>,
}

/// A call to a request to join that was made.
pub struct AtJoinRequest {
    call: Call,
    request: JoinRequestId,
}

impl FromRequestParts<App> for AtJoinRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let request = path.first().parse().map_err(|_| Problem::not_found())?;
        if call.settings().join_requests.get(request).is_none() {
            return Err(Problem::not_found());
        }
        Ok(Self { call, request })
    }
}

/// Who asks to join and is not decided about, by id.
#[utoipa::path(get, path = "/v1/join-requests", tag = "people", params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<JoinRequestBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "join_requests", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let requests = call.seen::<JoinRequests>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<JoinRequestId>().ok());
    let is_meant = |request: &&JoinRequest| after.is_none_or(|after| request.id > after);
    let mut filled = Filled::new(request.limit);
    for pending in requests.pending().filter(is_meant) {
        let body = render(&call, pending)?;
        if !filled.push(json_bytes(&body), body) {
            break;
        }
    }
    let page = cursors.filled(&scope, "join_requests", &request, filled, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(requests.mark(call.list(&call.organization.view, &page)))
}

/// Lets somebody in, with the role of the settings or another one that the caller could give. 409 `join_request_decided` where
/// that was decided already.
#[utoipa::path(post, path = "/v1/join-requests/{jr}/approve", tag = "people", request_body = Approval,
    params(("jr" = JoinRequestId, Path)), responses(
    (status = 200, body = JoinRequestBody), (status = "4XX", body = ProblemBody)))]
pub async fn approve(
    AtJoinRequest { call, request }: AtJoinRequest,
    _: NoParameters,
) -> Result<Response, Problem> {
    let approval: Approval = call.body().parse()?;
    let command = ApproveJoinRequest { join_request: request, role: approval.role, assignment: Fresh.id() };
    let done = call.submit(JoinRequestsCommand::Approve(command), StatusCode::OK).await?;
    decided(&call, &done, request)
}

/// Does not let somebody in: their name and address are forgotten. 409 `join_request_decided` where they were let in.
#[utoipa::path(post, path = "/v1/join-requests/{jr}/decline", tag = "people",
    params(("jr" = JoinRequestId, Path)), responses(
    (status = 200, body = JoinRequestBody), (status = "4XX", body = ProblemBody)))]
pub async fn decline(
    State(app): State<App>,
    AtJoinRequest { call, request }: AtJoinRequest,
    _: NoParameters,
) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let command = DeclineJoinRequest { join_request: request };
    let done = call.submit(JoinRequestsCommand::Decline(command), StatusCode::OK).await?;
    if let Some(declined) = done.view.organization().join_requests.get(request) {
        end_membership(&app, call.organization.id, declined.person).await;
    }
    decided(&call, &done, request)
}

fn decided(call: &Call, done: &Done, request: JoinRequestId) -> Result<Response, Problem> {
    let request = done.view.organization().join_requests.get(request).ok_or_else(Problem::not_found)?;
    let body = render(call, request)?;
    Ok(call.done(done, StatusCode::OK, request.version, None, &body))
}

fn render(call: &Call, request: &JoinRequest) -> Result<JoinRequestBody, Problem> {
    let stream: StreamId = call.organization.handle.stream();
    let person = request.person.to_string();
    let (status, role) = match request.decision {
        Decision::Pending => (Status::Pending, None),
        Decision::Approved(role) => (Status::Approved, Some(role)),
        Decision::Declined => (Status::Declined, None),
    };
    Ok(JoinRequestBody {
        id: request.id,
        person: request.person,
        name: open(call, request, &name_field(stream, &person), &request.name)?,
        email: open(call, request, &email_field(stream, &person), &request.email)?,
        status,
        role,
        created_at: request.created_at,
        updated_at: request.updated_at,
        version: request.version,
    })
}

/// What of a request is sealed; nothing once its key is destroyed, whatever point in time is looked at.
fn open(
    call: &Call,
    request: &JoinRequest,
    field: &SealedField<'_>,
    sealed: &Sealed,
) -> Result<Option<String>, Problem> {
    let is_forgotten = |view: &View| is_forgotten(view.organization(), request.person);
    let opened = call.organization.handle.open_unless(is_forgotten, || {
        let key = call.app.store.ring().data_key(field.stream, request.key, request.commitment)?;
        Ok::<_, KeyError>(key.open(field, sealed)?)
    });
    let text = |plain: Plain| plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal());
    opened?.map(text).transpose()
}

/// Whether the key of whoever asked is destroyed: they were declined, or let in and erased since. Of a request that was
/// decided long ago no more is known than whether they became somebody.
fn is_forgotten(today: &Organization, person: UserId) -> bool {
    let is_somebody = today.people.ever(person).is_some() && !today.people.is_erased(person);
    today.join_requests.pending_of(person).is_none() && !is_somebody
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{asks_to_join, founded, id, member, not_let_in, organization};
    use crate::settings::people::event::{PeopleEvent, PersonErased, PersonRemoved};

    #[test]
    fn whoever_waits_or_became_somebody_is_known_and_nobody_else_who_asked() {
        let removed = Event::People(PeopleEvent::PersonRemoved(PersonRemoved { person: id(7) }));
        let erased = PersonErased { person: id(7), destroyed_keys: vec![id(7)] };
        let erased = Event::People(PeopleEvent::PersonErased(erased));
        let became = |since: Vec<Event>| member(7, None).into_iter().chain(since).collect::<Vec<_>>();
        for (given, forgotten) in [
            (vec![asks_to_join(7)], false),
            (vec![asks_to_join(7), not_let_in(7)], true),
            (became(vec![]), false),
            (became(vec![removed]), false),
            (became(vec![erased]), true),
            // Declined, and so many after it that it is not known any more.
            (vec![], true),
        ] {
            let state = organization(founded().into_iter().chain(given.clone()));
            assert_eq!(is_forgotten(&state, id(7)), forgotten, "{given:?}");
        }
    }
}
