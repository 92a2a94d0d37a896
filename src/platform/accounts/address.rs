//! Addresses that are proven to be somebody's: `POST /v1/auth/verify-email`, to which the links lead that are mailed to them,
//! and `POST /v1/me/email`, which asks for another address.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::causes::with_causes;
use crate::clock::DAY_SECONDS;
use crate::http::app::App;
use crate::http::caller::SessionCaller;
use crate::http::client::Peer;
use crate::http::headers::mark_replayed;
use crate::http::input::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::StreamId;
use crate::mail::allowance::Occasion;
use crate::mail::letter::Letter;
use crate::mail::{Mailer, Page};
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::credentials::{ChangeEmail, RequestEmailChange};
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::http::{SecretText, account_of, find};
use crate::platform::accounts::mailed::{
    address_of, behind_the_answer, by_link, draw_link, execute, followed, presented,
};
use crate::platform::accounts::own::OwnRequest;
use crate::platform::accounts::projection::{Account, Link, Purpose};
use crate::platform::accounts::{claim, email_field, open_email, signup};
use crate::seal::token::PlainToken;
use crate::seal::{Plain, Sealed};
use crate::settings::sessions::event::TokenHash;
use crate::store::Replay;

/// How long a link that confirms another address is good.
const CHANGE_SECONDS: i64 = DAY_SECONDS;

/// The token of a mailed link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What stands behind `#token=`.
    token: SecretText,
}

/// Another address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChange {
    /// The address.
    email: EmailAddress,
    /// The present password.
    password: SecretText,
}

/// Asks for another address: a link goes there, and a notice to the present one. The answer is the same whether or not
/// somebody else has the address.
#[utoipa::path(post, path = "/v1/me/email", tag = "account", request_body = EmailChange, responses(
    (status = 202), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn request(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: EmailChange = body.parse()?;
    let mailer = app.mailer()?.clone();
    let own = OwnRequest::of(&app, &caller)?;
    let own = own.posted(&headers, "/v1/me/email", &body, StatusCode::ACCEPTED)?;
    if let Some(replay) = own.verify((peer, &headers), "/password", request.password).await? {
        return Ok(accepted(Some(replay)));
    }
    // Recorded also where somebody else has the address: else a repeated request would tell.
    let (token, link) = draw_link(&app, CHANGE_SECONDS);
    let account = &own.account;
    let email = &Plain::from(request.email.as_str());
    let command = AccountsCommand::RequestEmailChange(RequestEmailChange {
        account: account.id,
        email: own.key.seal(&email_field(&account.id.to_string()), email),
        link,
        verified_generation: account.generation,
        session: caller.session.id,
    });
    let done = own.submit(own.submission(command)).await?;
    if done.replay.is_none() {
        let account = own.account.clone();
        let app = app.clone();
        behind_the_answer(async move { mail_both(&app, &mailer, &account, &request.email, &token) });
    }
    Ok(accepted(done.replay))
}

fn accepted(replay: Option<Replay>) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    if replay.is_some() {
        mark_replayed(response.headers_mut());
    }
    response
}

/// The link to the address that the account is to have, the notice to the one that it has. Confirming the present one gets
/// no notice.
fn mail_both(
    app: &App,
    mailer: &Mailer,
    account: &Account,
    email: &EmailAddress,
    token: &PlainToken,
) -> Result<(), Problem> {
    let (to, letter) = match find(app, email).filter(|holder| holder.id != account.id) {
        Some(holder) => (address_of(app, &holder)?, Letter::already_known()),
        None => (Some(email.clone()), Letter::confirm_address(mailer.link(Page::VerifyEmail, token))),
    };
    if let Some(postage) = to.and_then(|to| mailer.postage(Occasion::Asked, &to)) {
        mailer.send(postage, &letter);
    }
    let other =
        address_of(app, account)?.filter(|present| folded(present.as_str()) != folded(email.as_str()));
    if let Some(postage) = other.and_then(|present| mailer.postage(Occasion::Told, &present)) {
        mailer.send(postage, &Letter::address_will_change());
    }
    Ok(())
}

/// Follows a mailed link that proves an address: of a sign-up, which makes the account, or of a changed address.
#[utoipa::path(post, path = "/v1/auth/verify-email", tag = "account", request_body = TokenRequest, responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn verify_email(
    State(app): State<App>,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: TokenRequest = body.parse()?;
    let token = presented(&request.token)?;
    let link = followed(&app, token)?;
    match &link.purpose {
        Purpose::Verify => signup::verify(&app, token, &link).await?,
        Purpose::ChangeEmail { email, .. } => change(&app, token, &link, email).await?,
        Purpose::Reset => return Err(Problem::invalid_link()),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives an account the address that a link was mailed to, and tells every organization that it is somebody in.
async fn change(app: &App, token: TokenHash, link: &Link, email: &Sealed) -> Result<(), Problem> {
    let account = account_of(app, link.account).map_err(|_| Problem::invalid_link())?;
    let key = app.store.ring().data_key(StreamId::Platform, account.key, account.commitment)?;
    let field = account.id.to_string();
    let new = key.open(&email_field(&field), email).map_err(|_| Problem::internal())?;
    let hasher = app.store.hasher();
    let mut submission = by_link(AccountsCommand::ChangeEmail(ChangeEmail { token }), link);
    submission.releases = vec![claim(hasher, &open_email(&account, app.store.ring())?, account.id)];
    submission.claims = vec![claim(hasher, &new, account.id)];
    execute(app, submission).await?;
    if let Err(error) = app.store.finish_email_change_detached(account.id).await {
        // The address has changed, whatever the organizations know yet.
        let (account, error) = (account.id, with_causes(&error));
        tracing::warn!(%account, error, "a changed address is told every organization later");
    }
    Ok(())
}
