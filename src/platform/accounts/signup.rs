//! `POST /v1/auth/signup`: an account for whoever proves that an address is theirs, by a link that is mailed there.
//!
//! Whether the address is known shows nowhere: what is done about it is done behind the answer, and the one thing before it
//! that takes its time, hashing the password, is done for everybody.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::DAY_SECONDS;
use crate::http::app::{App, SignupPolicy};
use crate::http::client::Peer;
use crate::http::input::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::request_id::RequestId;
use crate::ids::{AccountId, Fresh, StreamId};
use crate::mail::allowance::Occasion;
use crate::mail::letter::Letter;
use crate::mail::{Mailer, Page};
use crate::platform::accounts;
use crate::platform::accounts::command::{AccountsCommand, VerifyEmail};
use crate::platform::accounts::email::{EmailAddress, domain_of};
use crate::platform::accounts::event::SignedUp;
use crate::platform::accounts::http::{SecretText, check_password, find};
use crate::platform::accounts::mailed::{
    address_of, behind_the_answer, by_link, draw_link, execute, slow_down,
};
use crate::platform::accounts::projection::Link;
use crate::platform::memberships::http::leads_in;
use crate::seal::Plain;
use crate::seal::keyring::NewDataKey;
use crate::settings::sessions::event::TokenHash;
use crate::store::Submission;
use crate::text::Name;

/// How long a link that verifies a sign-up is good.
const VERIFY_SECONDS: i64 = 7 * DAY_SECONDS;

/// A person with an account to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// Their address.
    pub email: EmailAddress,
    /// Their name.
    pub name: Name,
    /// Their password: 12 to 256 bytes, and not a common one.
    pub password: SecretText,
}

/// Signs up. The answer is the same whether or not the address has an account, or may have one: what there is to know is
/// mailed to it.
#[utoipa::path(post, path = "/v1/auth/signup", tag = "account", request_body = NewPerson, responses(
    (status = 202), (status = "4XX", body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn sign_up(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let NewPerson { email, name, password } = body.parse()?;
    check_password("/password", &password.0)?;
    if app.policy.signup == SignupPolicy::Off {
        return Err(Problem::refused("signup_closed", "nobody signs up here"));
    }
    if !app.store.platform().view().platform().foundings.any_ever() {
        return Err(Problem::conflict("not_set_up", "the server is not set up yet"));
    }
    let mailer = app.mailer()?.clone();
    slow_down(&app, &email, peer, &headers)?;
    let hash = app.passwords.hash(password.0).await?;
    behind_the_answer(async move { record(&app, &mailer, &email, &name, &hash).await });
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Records a sign-up and mails its link; to an address that has an account mails that it has one.
async fn record(
    app: &App,
    mailer: &Mailer,
    email: &EmailAddress,
    name: &Name,
    hash: &Plain,
) -> Result<(), Problem> {
    if !may_sign_up(app, email).await? {
        return Ok(());
    }
    if let Some(account) = find(app, email) {
        let proven = address_of(app, &account)?;
        if let Some(postage) = proven.and_then(|proven| mailer.postage(Occasion::Asked, &proven)) {
            mailer.send(postage, &Letter::already_known());
        }
        return Ok(());
    }
    let Some(postage) = mailer.postage(Occasion::Asked, email) else { return Ok(()) };
    let (token, link) = draw_link(app, VERIFY_SECONDS);
    let (signed_up, key) = prepare(app, email, name, hash).await?;
    let command = AccountsCommand::SignUp(SignedUp { link: Some(link), ..signed_up });
    let mut submission = Submission::new(command, Actor::SYSTEM);
    submission.request_id = RequestId::to_record();
    submission.keys = vec![key];
    app.store.execute(app.store.platform(), submission).await?;
    mailer.send(postage, &Letter::verify_address(mailer.link(Page::VerifyEmail, &token)));
    Ok(())
}

/// Whether somebody may sign up with an address. An invitation is no reason: whoever is invited gets their account by
/// accepting.
async fn may_sign_up(app: &App, email: &EmailAddress) -> Result<bool, Problem> {
    match app.policy.signup {
        SignupPolicy::Open => Ok(true),
        SignupPolicy::InvitedOrDomain => match domain_of(email.as_str()) {
            Some(domain) => leads_in(app, &domain).await,
            None => Ok(false),
        },
        SignupPolicy::Off => Ok(false),
    }
}

/// An account to be, sealed under a key of its own.
///
/// # Errors
/// When no key can be minted.
pub async fn prepare(
    app: &App,
    email: &EmailAddress,
    name: &Name,
    hash: &Plain,
) -> Result<(SignedUp, NewDataKey), Problem> {
    let store = app.store.clone();
    let key = tokio::task::spawn_blocking(move || store.ring().mint(StreamId::Platform)).await??;
    let account: AccountId = Fresh.id();
    let id = account.to_string();
    let signed_up = SignedUp {
        account,
        key: key.id(),
        email: key.key().seal(&accounts::email_field(&id), &Plain::from(email.as_str())),
        name: key.key().seal(&accounts::name_field(&id), &Plain::from(name.as_str())),
        password: key.key().seal(&accounts::password_field(&id), hash),
        link: None,
    };
    Ok((signed_up, key))
}

/// Makes an account of a sign-up whose link was followed.
///
/// # Errors
/// 422 `invalid_token`.
pub async fn verify(app: &App, token: TokenHash, link: &Link) -> Result<(), Problem> {
    let platform = app.store.platform().view();
    let sign_up =
        platform.platform().accounts.sign_ups.get(link.account).ok_or_else(Problem::invalid_link)?;
    let email = accounts::open_email(sign_up, app.store.ring())?;
    let command = AccountsCommand::VerifyEmail(VerifyEmail { token });
    let mut submission = by_link(command, link);
    submission.claims = vec![accounts::claim(app.store.hasher(), &email, link.account)];
    execute(app, submission).await
}
