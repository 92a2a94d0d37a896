//! `/v1/auth/password/*`: a forgotten password, set anew by a link that is mailed to the account's address.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::HOUR_SECONDS;
use crate::http::app::App;
use crate::http::client::{Peer, client_address};
use crate::http::input::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::request_id::RequestId;
use crate::ids::StreamId;
use crate::mail::allowance::Occasion;
use crate::mail::letter::Letter;
use crate::mail::{Mailer, Page};
use crate::platform::accounts;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::credentials::{RequestReset, ResetPassword};
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::http::{SecretText, account_of, check_password, find};
use crate::platform::accounts::mailed::{
    address_of, behind_the_answer, by_link, draw_link, execute, followed, presented, slow_down,
};
use crate::platform::accounts::projection::Purpose;
use crate::store::Submission;

/// How long a link that sets a new password is good.
const RESET_SECONDS: i64 = HOUR_SECONDS;

/// Whose password was forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgottenPassword {
    email: EmailAddress,
}

/// The token of a mailed link, and a new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// What stands behind `#token=`.
    token: SecretText,
    /// The new password: 12 to 256 bytes, and not a common one.
    password: SecretText,
}

/// Asks for a link to set a new password. The answer is the same whether or not the address has an account.
#[utoipa::path(post, path = "/v1/auth/password/forgot", tag = "account", request_body = ForgottenPassword, responses(
    (status = 202), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn forgot(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: ForgottenPassword = body.parse()?;
    let mailer = app.mailer()?.clone();
    slow_down(&app, &request.email, peer, &headers)?;
    behind_the_answer(async move { mail_link(&app, &mailer, &request.email).await });
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn mail_link(app: &App, mailer: &Mailer, email: &EmailAddress) -> Result<(), Problem> {
    let Some(account) = find(app, email) else { return Ok(()) };
    // To the address that was proven, however it was typed.
    let Some(proven) = address_of(app, &account)? else { return Ok(()) };
    let Some(postage) = mailer.postage(Occasion::Asked, &proven) else { return Ok(()) };
    let (token, link) = draw_link(app, RESET_SECONDS);
    let command = AccountsCommand::RequestReset(RequestReset { account: account.id, link });
    let mut submission = Submission::new(command, Actor::SYSTEM);
    submission.request_id = RequestId::to_record();
    app.store.execute(app.store.platform(), submission).await?;
    mailer.send(postage, &Letter::reset_password(mailer.link(Page::ResetPassword, &token)));
    Ok(())
}

/// Sets a new password by a mailed link; every session of the account ends.
#[utoipa::path(post, path = "/v1/auth/password/reset", tag = "account", request_body = NewPassword, responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn reset(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: NewPassword = body.parse()?;
    check_password("/password", &request.password.0)?;
    let token = presented(&request.token)?;
    // Before hashing, which takes its time: whoever has no link cannot make us.
    let link = followed(&app, token)?;
    if link.purpose != Purpose::Reset {
        return Err(Problem::invalid_link());
    }
    let hash = app.passwords.hash(request.password.0).await?;
    let account = account_of(&app, link.account).map_err(|_| Problem::invalid_link())?;
    let key = app.store.ring().data_key(StreamId::Platform, account.key, account.commitment)?;
    let password = key.seal(&accounts::password_field(&account.id.to_string()), &hash);
    let command = AccountsCommand::ResetPassword(ResetPassword { token, password });
    execute(&app, by_link(command, &link)).await?;
    if let Some(email) = address_of(&app, &account)? {
        // However many guess at the account meanwhile, its owner logs in from here.
        let client = client_address(peer, &headers, &app.policy.trusted_proxies);
        app.throttle.proven(&folded(email.as_str()), client, app.store.clock().now());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
