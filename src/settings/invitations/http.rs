//! `/v1/invitations`: who is invited, over HTTP. What those who are invited do is in `accepting.rs` beside this.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{DAY_SECONDS, HOUR_SECONDS, Timestamp};
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{Fresh, InvitationId, TeamId, UserId};
use crate::mail::allowance::Occasion;
use crate::mail::letter::Letter;
use crate::mail::{Mailer, Page as MailedPage, Postage};
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::event::MailedLink;
use crate::platform::accounts::http::find;
use crate::seal::Plain;
use crate::seal::token::PlainToken;
use crate::settings::invitations::command::{CreateInvitation, InvitationsCommand, TEAMS_AT_ONCE_MAX};
use crate::settings::invitations::event::{InvitationCreated, InvitationResent};
use crate::settings::invitations::open_email;
use crate::settings::invitations::projection::{Invitation, Invitations};
use crate::settings::people::email_field;
use crate::settings::roles::role::RoleRef;
use crate::store::Store;
use crate::store::resident::{Handle, View};

/// How long an invitation is good.
const GOOD_SECONDS: i64 = 7 * DAY_SECONDS;
/// How often an invitation is prepared anew where others are invited meanwhile.
const TRIES_MAX: usize = 100;

/// An invitation that nobody has decided yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationBody {
    /// The invitation.
    pub id: InvitationId,
    /// The address that it was sent to; null where that was forgotten since.
    pub email: Option<String>,
    /// The id of the role that they would get.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The teams that they would be in.
    pub teams: Vec<TeamId>,
    /// Whether it can be accepted.
    pub status: Status,
    /// Who vouches for it: the id of whoever sent it last.
    pub invited_by: String,
    /// When it ends. It is forgotten 30 days later.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last sent.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

/// Whether an invitation can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = InvitationStatus)]
pub enum Status {
    /// It can.
    Pending,
    /// It has ended; it can be sent again.
    Expired,
}

/// Somebody to be invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// Their address.
    email: EmailAddress,
    /// The id of the role that they are to get in the whole organization.
    #[schema(value_type = String)]
    role: RoleRef,
    /// The teams that they are to be in.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, max_items = 50)]
    teams: Option<Vec<TeamId>>,
}

/// A call to an invitation that nobody has decided yet.
pub struct AtInvitation {
    call: Call,
    invitation: Invitation,
}

impl FromRequestParts<App> for AtInvitation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let found = call.settings().invitations.get(named(&path)?);
        let invitation = found.ok_or_else(Problem::not_found)?.clone();
        Ok(Self { call, invitation })
    }
}

/// All invitations that nobody has decided yet, by id.
#[utoipa::path(get, path = "/v1/invitations", tag = "people", params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<InvitationBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "invitations", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let now = call.time_of(&asked).await?;
    let invitations = call.seen::<Invitations>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<InvitationId>().ok());
    let found = invitations.iter().filter(|invitation| after.is_none_or(|after| invitation.id > after));
    let mut bodies = Vec::new();
    for invitation in found.take(request.limit + 1) {
        bodies.push(body(&call, invitation, now)?);
    }
    let page = cursors.page(&scope, "invitations", &request, bodies, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(invitations.mark(call.list(&call.organization.view, &page)))
}

/// An invitation that nobody has decided yet.
#[utoipa::path(get, path = "/v1/invitations/{inv}", tag = "people",
    params(("inv" = InvitationId, Path), AsOfParameters), responses(
    (status = 200, body = InvitationBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let is_there = |invitations: &Invitations| invitations.get(id).is_some();
    let focus = Focus::Resource(id.to_string());
    let (asked, invitations) = call.seen_at::<Invitations>(&query, focus, is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let now = call.time_of(&asked).await?;
    let invitation = invitations.get(id).ok_or_else(Problem::not_found)?;
    Ok(call.seen_resource(&invitations, invitation.version, &body(&call, invitation, now)?))
}

/// Invites somebody by mail. The answer is the same whether or not the address has an account. 409 `already_a_member` and
/// `already_invited` tell what the caller can see anyway; 429 where the address has had its three mails of the hour; 503
/// `mail_unavailable` on a server without mail.
#[utoipa::path(post, path = "/v1/invitations", tag = "people", request_body = NewInvitation, responses(
    (status = 201, body = InvitationBody), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewInvitation = call.body().parse()?;
    let teams = new.teams()?;
    let mailer = call.app.mailer()?.clone();
    let (token, link) = draw_link(&call);
    let (mut opened, mut stamp) = (Opened::default(), None);
    let mut tries = 1;
    let (id, done) = loop {
        let newest = opened.check_free(&call, &new.email).await?;
        if stamp.is_none() {
            stamp = postage(&call, &mailer, &new.email)?;
        }
        let (invitation, person): (InvitationId, UserId) = (Fresh.id(), Fresh.id());
        let stream = call.organization.handle.stream();
        let key = call.app.store.ring().mint(stream)?;
        let email =
            key.key().seal(&email_field(stream, &person.to_string()), &Plain::from(new.email.as_str()));
        let (key_id, role, teams) = (key.id(), new.role, teams.clone());
        let invitation = InvitationCreated { invitation, person, key: key_id, email, role, teams, link };
        let id = invitation.invitation;
        let command = InvitationsCommand::Create(CreateInvitation { invitation, newest });
        match call.submit_sealed(command, vec![key], StatusCode::CREATED).await {
            Ok(done) => break (id, done),
            Err(problem) if problem.code() == "stale" && tries < TRIES_MAX => tries += 1,
            Err(problem) => return Err(problem),
        }
    };
    // A replay shows the invitation that the first request made, which has another id.
    let invitations = &done.view.organization().invitations;
    let created = invitations
        .get(id)
        .or_else(|| invitations.iter().find(|invitation| invitation.version == done.version))
        .ok_or_else(Problem::not_found)?;
    if done.replay.is_none() {
        send(&mailer, stamp, &token);
    }
    let location = format!("/v1/invitations/{}", created.id);
    let shown = body(&call, created, call.app.store.clock().credible_now())?;
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &shown))
}

/// Takes an invitation back: its link leads nowhere, and the address is forgotten.
#[utoipa::path(delete, path = "/v1/invitations/{inv}", tag = "people", params(("inv" = InvitationId, Path)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtInvitation { call, invitation }: AtInvitation,
    _: NoParameters,
) -> Result<Response, Problem> {
    let command = InvitationsCommand::Revoke(invitation.id);
    let done = call.submit(command, StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// Sends an invitation again, with another link, good for 7 days from now. Whoever does vouches for it from then on, and is
/// `invited_by`. 409 `invitation_void` where its role is not there any more.
#[utoipa::path(post, path = "/v1/invitations/{inv}/resend", tag = "people", params(("inv" = InvitationId, Path)),
    responses((status = 200, body = InvitationBody), (status = "4XX", body = ProblemBody),
    (status = 503, body = ProblemBody)))]
pub async fn resend(
    AtInvitation { call, invitation }: AtInvitation,
    _: NoParameters,
) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let mailer = call.app.mailer()?.clone();
    let email = Addresses::of(&call).find(&invitation)?.ok_or_else(Problem::not_found)?;
    let postage = postage(&call, &mailer, &email)?;
    let (token, link) = draw_link(&call);
    let command = InvitationsCommand::Resend(InvitationResent { invitation: invitation.id, link });
    let done = call.submit(command, StatusCode::OK).await?;
    let resent = done.view.organization().invitations.get(invitation.id).ok_or_else(Problem::not_found)?;
    if done.replay.is_none() {
        send(&mailer, postage, &token);
    }
    let shown = body(&call, resent, call.app.store.clock().credible_now())?;
    Ok(call.done(&done, StatusCode::OK, resent.version, None, &shown))
}

impl NewInvitation {
    /// The teams, each once.
    fn teams(&self) -> Result<Vec<TeamId>, Problem> {
        let mut teams = self.teams.clone().unwrap_or_default();
        teams.sort_unstable();
        teams.dedup();
        if teams.len() > TEAMS_AT_ONCE_MAX {
            return Err(Problem::invalid_field("/teams", "too_long", "expected at most 50 teams"));
        }
        Ok(teams)
    }
}

/// Addresses of invitations, opened once.
#[derive(Default)]
struct Opened(HashMap<InvitationId, String>);

impl Opened {
    /// Whether an address may be invited; the newest of the invitations that it was held against.
    ///
    /// # Errors
    /// 409 where it is a member's, or was invited already.
    async fn check_free(&mut self, call: &Call, email: &EmailAddress) -> Result<Version, Problem> {
        let view = call.organization.handle.view();
        if is_member(call, email, &view) {
            return Err(Problem::conflict("already_a_member", "somebody with this address is a member"));
        }
        let invitations = &view.organization().invitations;
        self.0.retain(|id, _| invitations.get(*id).is_some());
        let unknown = invitations.iter().filter(|invitation| !self.0.contains_key(&invitation.id)).cloned();
        let (unknown, call_to): (Vec<_>, _) = (unknown.collect(), Addresses::of(call));
        let opening = tokio::task::spawn_blocking(move || {
            unknown.into_iter().map(|invitation| (call_to.find(&invitation), invitation)).collect::<Vec<_>>()
        });
        for (address, invitation) in opening.await? {
            self.0.extend(address?.map(|address| (invitation.id, folded(address.as_str()))));
        }
        let typed = folded(email.as_str());
        if !call.is_repeated() && self.0.values().any(|known| *known == typed) {
            return Err(Problem::conflict(
                "already_invited",
                "the address is invited already; send that again",
            ));
        }
        Ok(invitations.newest())
    }
}

/// Whether an address is a member's: the platform says whose it is, and the organization who is a member.
fn is_member(call: &Call, email: &EmailAddress, view: &View) -> bool {
    let Some(account) = find(&call.app, email) else { return false };
    let here = account.persons.iter().filter(|(organization, _)| *organization == call.organization.id);
    let mut persons = here.map(|(_, person)| *person);
    !call.is_repeated() && persons.any(|person| view.organization().people.get(person).is_some())
}

/// Opens the addresses that invitations were sent to.
pub(super) struct Addresses {
    store: Store,
    handle: Arc<Handle>,
}

impl Addresses {
    pub(super) fn new(store: &Store, handle: &Arc<Handle>) -> Self {
        Self { store: store.clone(), handle: Arc::clone(handle) }
    }

    fn of(call: &Call) -> Self {
        Self::new(&call.app.store, &call.organization.handle)
    }

    /// The address that an invitation was sent to; `None` where it is over, whoever ended it and however lately, and its
    /// key with it. The key of one that was accepted is the person's.
    pub(super) fn find(&self, invitation: &Invitation) -> Result<Option<EmailAddress>, Problem> {
        let is_over = |view: &View| view.organization().invitations.get(invitation.id).is_none();
        self.handle.open_or_gone(is_over, || {
            let plain = open_email(self.handle.stream(), invitation, self.store.ring())?;
            let address = plain.as_str().ok().and_then(|text| EmailAddress::try_from(text).ok());
            address.ok_or_else(Problem::internal)
        })
    }
}

fn draw_link(call: &Call) -> (PlainToken, MailedLink) {
    let token = PlainToken::draw_marked(call.organization.handle.stream().to_bytes());
    let ends_at = call.app.store.clock().credible_now().plus_seconds(GOOD_SECONDS);
    let link = MailedLink { token: token.hash(), ends_at };
    (token, link)
}

/// The right to mail an invitation; a repeated request mails nothing.
fn postage(call: &Call, mailer: &Mailer, email: &EmailAddress) -> Result<Option<Postage>, Problem> {
    if call.is_repeated() {
        return Ok(None);
    }
    let postage = mailer.postage(Occasion::Invited, email);
    postage.map(Some).ok_or_else(|| Problem::too_many_requests(HOUR_SECONDS.unsigned_abs()))
}

fn send(mailer: &Mailer, postage: Option<Postage>, token: &PlainToken) {
    if let Some(postage) = postage {
        mailer.send(postage, &Letter::invitation(mailer.link(MailedPage::AcceptInvitation, token)));
    }
}

fn named(path: &PathText) -> Result<InvitationId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

/// An invitation as shown; one of the past may have been forgotten, or whoever accepted it erased.
fn body(call: &Call, invitation: &Invitation, now: Timestamp) -> Result<InvitationBody, Problem> {
    let email = Addresses::of(call).find(invitation)?;
    let email = email.map(|email| email.as_str().to_owned());
    Ok(InvitationBody {
        id: invitation.id,
        email,
        role: invitation.role,
        teams: invitation.teams.clone(),
        status: if invitation.has_ended(now) { Status::Expired } else { Status::Pending },
        invited_by: invitation.inviter.id.to_string(),
        expires_at: invitation.link.ends_at,
        created_at: invitation.created_at,
        updated_at: invitation.updated_at,
        version: invitation.version,
    })
}
