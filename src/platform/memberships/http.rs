//! `/v1/me/joinable-organizations` and `/v1/me/join-requests`: where an account may join by its verified address, and asking
//! to. Letting in is the organization's: `settings/join_requests/http.rs`.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::http::app::App;
use crate::http::caller::SessionCaller;
use crate::http::headers::mark_replayed;
use crate::http::input::RawBody;
use crate::http::page::Page;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::{Fresh, JoinRequestId, OrganizationId, StreamId, UserId};
use crate::platform::accounts::http::account_of;
use crate::platform::accounts::own::OwnRequest;
use crate::platform::accounts::projection::Account;
use crate::platform::memberships::command::{MembershipsCommand, MembershipsRejection, OpenMembership};
use crate::platform::memberships::event::MembershipOpened;
use crate::settings::join_requests::command::lets_in_at_once;
use crate::store::Refusal;
use crate::store::resident::View;

/// The most organizations with one domain that are shown: each proves it by a record of its own.
const SHOWN_MAX: usize = 100;

/// An organization that the caller may join, or ask to.
#[derive(Serialize, ToSchema)]
pub struct JoinableOrganization {
    /// Its id.
    id: OrganizationId,
    /// Its name.
    name: String,
    /// Whether whoever asks is let in at once; else they wait, also where that is wanted and there is no room.
    joins_at_once: bool,
    /// The request that the caller has made and that nobody has decided yet.
    join_request: Option<JoinRequestId>,
}

/// Where somebody wants to join.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequestBy {
    /// One of the organizations that they may join.
    organization: OrganizationId,
}

/// What asking to join came to.
#[derive(Serialize, ToSchema)]
pub struct OwnJoinRequest {
    /// The request; null for whoever was let in at once.
    id: Option<JoinRequestId>,
    /// Where.
    organization: OrganizationId,
    /// Whether the caller is a member now, or waits.
    status: OwnStatus,
}

/// Whether somebody who asked to join is a member, or waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnStatus {
    /// Somebody has to let them in.
    Pending,
    /// They are.
    Joined,
}

/// The organizations that the caller may join, or ask to: those whose domain their verified address is in, once DNS or a
/// member's address proves that. Those that they are in are not among them.
#[utoipa::path(get, path = "/v1/me/joinable-organizations", tag = "account", responses(
    (status = 200, body = Page<JoinableOrganization>), (status = "4XX", body = ProblemBody)))]
pub async fn joinable(
    State(app): State<App>,
    caller: SessionCaller,
    _: NoParameters,
) -> Result<Response, Problem> {
    let (account, now) = (account_of(&app, caller.account)?, app.store.clock().credible_now());
    let mut data = Vec::new();
    if let Some(domain) = app.store.verified_domain(&account)? {
        for stream in app.store.directory().streams_of_domain(&domain, SHOWN_MAX) {
            if let StreamId::Organization(id) = stream
                && let Some(view) = may_join(&app, id, &domain).await?
                && let Some(shown) = show(&account, id, &view, now)
            {
                data.push(shown);
            }
        }
    }
    Ok(Json(Page { data, next_cursor: None }).into_response())
}

/// An organization, unless the account is a member of it.
fn show(account: &Account, id: OrganizationId, view: &View, now: Timestamp) -> Option<JoinableOrganization> {
    let organization = view.organization();
    let founded = organization.general.founded()?;
    let own = || persons(account, id);
    if own().any(|person| organization.people.get(person).is_some()) {
        return None;
    }
    let pending = own().find_map(|person| organization.join_requests.pending_of(person));
    Some(JoinableOrganization {
        id,
        name: founded.name.clone(),
        joins_at_once: lets_in_at_once(organization, now),
        join_request: pending.map(|request| request.id),
    })
}

/// Whom an account is in an organization, or was, or asked to be.
fn persons(account: &Account, id: OrganizationId) -> impl Iterator<Item = UserId> + '_ {
    account.persons.iter().filter(move |(there, _)| *there == id).map(|(_, person)| *person)
}

/// The organization, if somebody with a verified address in this domain may join it, or ask to. One that is not there and
/// one with another domain are told apart by nothing: neither is looked at.
async fn may_join(
    app: &App,
    id: OrganizationId,
    domain: &str,
) -> Result<Option<std::sync::Arc<View>>, Problem> {
    if !app.store.directory().has_domain(StreamId::Organization(id), domain) {
        return Ok(None);
    }
    let Some(handle) = app.store.organization(id).await? else { return Ok(None) };
    let view = handle.view();
    let held = view.organization().general.founded().and_then(|founded| founded.email_domain.as_ref());
    let held = held.filter(|held| held.domain == domain);
    let opens = held.is_some_and(|held| held.is_verified() || app.store.is_vouched(&view, domain));
    Ok(opens.then_some(view))
}

/// Whether a verified address in this domain leads into some organization.
///
/// # Errors
/// When one cannot be loaded, or a key is not to be had.
pub async fn leads_in(app: &App, domain: &str) -> Result<bool, Problem> {
    for stream in app.store.directory().streams_of_domain(domain, SHOWN_MAX) {
        if let StreamId::Organization(id) = stream
            && may_join(app, id, domain).await?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks to join an organization; whoever it lets in at once is a member with the answer. Asking again while one waits gives
/// the same request. Whoever is declined may ask again, ten times a day in all: then 429.
#[utoipa::path(post, path = "/v1/me/join-requests", tag = "account", request_body = JoinRequestBy, responses(
    (status = 201, body = OwnJoinRequest), (status = 200, body = OwnJoinRequest), (status = "4XX", body = ProblemBody)))]
pub async fn ask(
    State(app): State<App>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: JoinRequestBy = body.parse()?;
    let own = OwnRequest::of(&app, &caller)?;
    let own = own.posted(&headers, "/v1/me/join-requests", &body, StatusCode::CREATED)?;
    let account = &own.account;
    // After the account and before the organization: its state then knows of all that is not open here.
    let platform = app.store.platform().view();
    let domain = app.store.verified_domain(account)?.ok_or_else(Problem::not_found)?;
    let view = may_join(&app, request.organization, &domain).await?.ok_or_else(Problem::not_found)?;
    let organization = view.organization();
    let is_over = |person: &UserId| {
        platform.platform().memberships.get(request.organization, *person).is_none()
            && organization.people.get(*person).is_none()
            && organization.join_requests.pending_of(*person).is_none()
    };
    let left = persons(account, request.organization).filter(is_over);
    let left = left.map(|person| (request.organization, person)).collect();
    let membership = MembershipOpened {
        account: account.id,
        organization: request.organization,
        person: Fresh.id(),
        join_request: Some(Fresh.id()),
        invitation: None,
    };
    let command = OpenMembership { membership: membership.clone(), account: None, left };
    match own.submit(own.submission(MembershipsCommand::Open(command))).await {
        Ok(done) if done.replay.is_none() => {
            app.store.finish_membership_detached(membership).await?;
            answer(&app, account, request.organization, StatusCode::CREATED).await
        }
        // The first request may be between its halves, or have been cut there.
        Ok(_) => {
            app.store.finish_intents_of(account.id).await;
            let mut response = answer(&app, account, request.organization, StatusCode::CREATED).await?;
            mark_replayed(response.headers_mut());
            Ok(response)
        }
        Err(Refusal::Rejected(crate::command::Rejection::Memberships(
            MembershipsRejection::AlreadyThere,
        ))) => {
            app.store.finish_intents_of(account.id).await;
            answer(&app, account, request.organization, StatusCode::OK).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// What the account is in the organization now.
async fn answer(
    app: &App,
    account: &Account,
    id: OrganizationId,
    status: StatusCode,
) -> Result<Response, Problem> {
    let handle = app.store.organization(id).await?.ok_or_else(Problem::not_found)?;
    let account = account_of(app, account.id)?;
    let view = handle.view();
    let organization = view.organization();
    let pending = persons(&account, id).find_map(|person| organization.join_requests.pending_of(person));
    let is_member = persons(&account, id).any(|person| organization.people.get(person).is_some());
    let body = match pending {
        Some(request) => {
            OwnJoinRequest { id: Some(request.id), organization: id, status: OwnStatus::Pending }
        }
        None if is_member => OwnJoinRequest { id: None, organization: id, status: OwnStatus::Joined },
        // It was refused, or declined, between the two.
        None => return Err(Problem::not_found()),
    };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::CREATED {
        let location = axum::http::HeaderValue::from_static("/v1/me/joinable-organizations");
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
