//! `/v1/auth/invitations/*`: accepting and declining an invitation, with the token that was mailed. Whoever holds it reads
//! the mail of the address, so they may learn whether that has an account; nobody else learns anything.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::{Actor, ActorId};
use crate::command::Rejection;
use crate::http::access::Denial;
use crate::http::app::{App, SignupPolicy};
use crate::http::auth;
use crate::http::caller::Showed;
use crate::http::client::{Origin, Peer, client_address};
use crate::http::credentials::{Credential, credential};
use crate::http::input::RawBody;
use crate::http::patch::not_null;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::request_id::RequestId;
use crate::ids::{AccountId, OrganizationId, StreamId};
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::http::{
    LoginBody, SecretText, account_of, check_password, find, login_body, verified,
};
use crate::platform::accounts::login::{self, Target};
use crate::platform::accounts::projection::Account;
use crate::platform::accounts::{claim, open_email, signup};
use crate::platform::memberships::command::{MembershipsCommand, OpenMembership};
use crate::platform::memberships::event::MembershipOpened;
use crate::seal::Plain;
use crate::seal::keyring::NewDataKey;
use crate::seal::token::PlainToken;
use crate::settings::invitations::acceptance::{self, DeclineInvitation};
use crate::settings::invitations::command::InvitationsCommand;
use crate::settings::invitations::http::Addresses;
use crate::settings::invitations::projection::Invitation;
use crate::store::resident::Handle;
use crate::store::strangers::Stranger;
use crate::store::{Refusal, Submission};
use crate::text::Name;

/// The token of an invitation, and what else it takes to accept it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// What stands behind `#token=`.
    token: SecretText,
    /// The name of whoever has no account yet.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The password of the account; of whoever has none yet, the one that it is to have. Not needed in a session.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    password: Option<SecretText>,
}

/// The token of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// What stands behind `#token=`.
    token: SecretText,
}

/// An invitation that somebody holds the token of.
struct Held {
    organization: OrganizationId,
    handle: Arc<Handle>,
    invitation: Invitation,
    token: PlainToken,
}

/// Accepts an invitation, in a session of the account with its address, or with that account's password; whoever has no
/// account gets one, by a name and a password. Answers as a login does. 409 `invitation_void` where whoever sent it could not
/// give that any more, `another_address` in the session of somebody else; 422 `invalid_token` for a link that was used,
/// replaced, taken back or has ended, and for one that never was.
#[utoipa::path(post, path = "/v1/auth/invitations/accept", tag = "account", request_body = Acceptance, responses(
    (status = 200, body = LoginBody), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn accept(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let Acceptance { token, name, password } = body.parse()?;
    let held = Held::by(&app, &token).await?;
    held.check(&app)?;
    let email = Addresses::new(&app.store, &held.handle).find(&held.invitation)?;
    let email = email.ok_or_else(Problem::invalid_link)?;
    let origin = Origin::of(&headers, client_address(peer, &headers, &app.policy.trusted_proxies));
    let account = match (in_session(&app, &headers, &email).await?, find(&app, &email)) {
        (Some(account), _) => account,
        (None, Some(_)) => {
            let password = password.ok_or_else(|| missing("/password"))?;
            verified(&app, &email, password, origin.ip).await?
        }
        (None, None) => return held.accept_anew(&app, &email, name, password, &origin).await,
    };
    let left = login::left(&app, &account).await?;
    let open = OpenMembership { membership: held.membership(account.id), account: None, left };
    let actor = Actor { id: ActorId::Account(account.id), session: None };
    let target = held.join(&app, open, actor, Vec::new()).await?;
    answer(&app, account.id, &target, &origin).await
}

/// Declines an invitation; the address is forgotten.
#[utoipa::path(post, path = "/v1/auth/invitations/decline", tag = "account", request_body = Decline, responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn decline(State(app): State<App>, _: NoParameters, body: RawBody) -> Result<Response, Problem> {
    let request: Decline = body.parse()?;
    let Held { handle, invitation, token, .. } = Held::by(&app, &request.token).await?;
    let command = DeclineInvitation { invitation: invitation.id, token: token.hash() };
    let actor = Actor { id: ActorId::Person(invitation.person), session: None };
    let mut submission = Submission::new(InvitationsCommand::Decline(command), actor);
    submission.request_id = RequestId::to_record();
    app.store.execute(&handle, submission).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The account of the session that a request shows, if it shows one.
async fn in_session(
    app: &App,
    headers: &HeaderMap,
    email: &EmailAddress,
) -> Result<Option<Account>, Problem> {
    let token = match credential(headers)? {
        None => return Ok(None),
        Some(Credential::ApiKey(_)) => return Err(Denial::SessionRequired.problem()),
        Some(Credential::Session(token)) => token,
    };
    let Showed::Session(own) = auth::by_session(app, &token).await?.showed else {
        return Err(Problem::unauthenticated());
    };
    let account = account_of(app, own.account)?;
    let has = open_email(&account, app.store.ring())?;
    if folded(has.as_str().unwrap_or_default()) != folded(email.as_str()) {
        return Err(Problem::conflict("another_address", "the invitation was sent to another address"));
    }
    Ok(Some(account))
}

fn missing(pointer: &'static str) -> Problem {
    Problem::invalid_field(pointer, "missing", "this is needed to accept the invitation")
}

impl Held {
    /// The invitation whose token was presented. One that is good for nothing is counted.
    async fn by(app: &App, presented: &SecretText) -> Result<Self, Problem> {
        let invalid = || {
            app.store.count_stranger(Stranger::InvalidLink);
            Problem::invalid_link()
        };
        let token = PlainToken::presented(presented.0.as_str().map_err(|_| invalid())?);
        let stream = token.mark().map(StreamId::from_bytes);
        let Some(StreamId::Organization(organization)) = stream else { return Err(invalid()) };
        let handle = app.store.organization(organization).await?.ok_or_else(invalid)?;
        let view = handle.view();
        let found = view.organization().invitations.by_token(token.hash());
        let now = app.store.clock().credible_now();
        // What was mailed before this store was made of a snapshot may have been accepted, or taken back, since.
        let restored_at = app.store.platform().view().platform().operations.restored_at;
        let is_of_this_epoch = |found: &Invitation| restored_at.is_none_or(|begun| begun < found.updated_at);
        let found = found.filter(|found| !found.has_ended(now) && is_of_this_epoch(found));
        let invitation = found.ok_or_else(invalid)?.clone();
        Ok(Self { organization, handle, invitation, token })
    }

    /// Refuses one that is void, before anybody is asked for a password.
    fn check(&self, app: &App) -> Result<(), Problem> {
        let (view, now) = (self.handle.view(), app.store.clock().credible_now());
        let checked = acceptance::check(&self.invitation, view.organization(), now);
        Ok(checked?)
    }

    fn membership(&self, account: AccountId) -> MembershipOpened {
        MembershipOpened {
            account,
            organization: self.organization,
            person: self.invitation.person,
            join_request: None,
            invitation: Some(self.invitation.id),
        }
    }

    /// Accepts it for somebody who has no account: it is made with this, and its address is proven by the mail.
    async fn accept_anew(
        &self,
        app: &App,
        email: &EmailAddress,
        name: Option<Name>,
        password: Option<SecretText>,
        origin: &Origin,
    ) -> Result<Response, Problem> {
        let name = name.ok_or_else(|| missing("/name"))?;
        let password = password.ok_or_else(|| missing("/password"))?;
        check_password("/password", &password.0)?;
        if app.policy.signup == SignupPolicy::Off {
            return Err(Problem::refused("signup_closed", "nobody signs up here"));
        }
        let hash = app.passwords.hash(password.0).await?;
        let (signed_up, key) = signup::prepare(app, email, &name, &hash).await?;
        let account = signed_up.account;
        let membership = self.membership(account);
        let open = OpenMembership { membership, account: Some(Box::new(signed_up)), left: Vec::new() };
        let target = self.join(app, open, Actor::SYSTEM, vec![(key, email)]).await?;
        answer(app, account, &target, origin).await
    }

    /// Opens the intent, and lets the organization decide. Of several who accept at once, one does.
    async fn join(
        &self,
        app: &App,
        open: OpenMembership,
        actor: Actor,
        made: Vec<(NewDataKey, &EmailAddress)>,
    ) -> Result<Target, Problem> {
        let membership = open.membership.clone();
        let mut submission = Submission::new(MembershipsCommand::Open(open), actor);
        submission.request_id = RequestId::to_record();
        for (key, email) in made {
            let email = Plain::from(email.as_str());
            submission.keys.push(key);
            submission.claims.push(claim(app.store.hasher(), &email, membership.account));
        }
        match app.store.execute(app.store.platform(), submission).await {
            Ok(done) if done.events == 0 => return Err(Problem::invalid_link()),
            // The address became somebody's in the meantime.
            Err(Refusal::Rejected(Rejection::Taken)) => return Err(Problem::invalid_link()),
            opened => drop(opened?),
        }
        // From here on a crash leaves an open intent, which the next start finishes.
        let person = membership.person;
        let handle = app.store.finish_membership_detached(membership).await?;
        Ok(Target::Organization(handle, person))
    }
}

/// A session of whoever has just become a member.
async fn answer(
    app: &App,
    account: AccountId,
    target: &Target,
    origin: &Origin,
) -> Result<Response, Problem> {
    let account = account_of(app, account)?;
    let opened = login::open(app, &account, target, origin, None).await?;
    Ok(Json(login_body(app, &account, target, &opened)?).into_response())
}
