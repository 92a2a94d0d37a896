//! Links that are mailed: drawn, followed, and asked for by whoever knows an address. No answer ever holds one, and following
//! one is a POST: a GET, which a mail program may make by itself, uses nothing up.

use axum::http::HeaderMap;

use crate::actor::{Actor, ActorId};
use crate::command::Rejection;
use crate::http::app::App;
use crate::http::client::{Peer, client_address};
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::event::MailedLink;
use crate::platform::accounts::http::SecretText;
use crate::platform::accounts::open_email;
use crate::platform::accounts::projection::{Account, Link};
use crate::seal::token::PlainToken;
use crate::settings::sessions::event::TokenHash;
use crate::store::strangers::Stranger;
use crate::store::{Refusal, Submission};

/// Slows down whoever has mails sent: by the typed address and the client's network, as a login is.
///
/// # Errors
/// 429.
pub fn slow_down(app: &App, email: &EmailAddress, peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
    let ip = client_address(peer, headers, &app.policy.trusted_proxies);
    let attempt = app.mail_throttle.attempt(&folded(email.as_str()), ip, app.store.clock().now());
    attempt.map_err(|throttled| Problem::too_many_requests(throttled.retry_after_seconds))
}

/// Does what must not show in the answer or its time. What fails is in the log, and the mail does not come: whoever waits
/// for it asks again.
pub fn behind_the_answer(work: impl Future<Output = Result<(), Problem>> + Send + 'static) {
    let work = async move {
        if let Err(problem) = work.await {
            tracing::warn!(code = problem.code(), "what was asked for by an address alone was not done");
        }
    };
    match RequestId::current() {
        Some(id) => drop(tokio::spawn(id.scope(work))),
        None => drop(tokio::spawn(work)),
    }
}

/// The address that an account has proven: where mails to it go, whatever spelling of it somebody typed. None where it is
/// none that mail can be sent to.
///
/// # Errors
/// When its key is not to be had.
pub fn address_of(app: &App, account: &Account) -> Result<Option<EmailAddress>, Problem> {
    let email = open_email(account, app.store.ring())?;
    Ok(email.as_str().ok().and_then(|text| EmailAddress::try_from(text).ok()))
}

/// A token to be mailed, and what is recorded of it.
pub fn draw_link(app: &App, good_seconds: i64) -> (PlainToken, MailedLink) {
    let token = PlainToken::draw();
    let ends_at = app.store.clock().credible_now().plus_seconds(good_seconds);
    let link = MailedLink { token: token.hash(), ends_at };
    (token, link)
}

/// What is kept of a token that was presented.
///
/// # Errors
/// 422 for what cannot be one.
pub fn presented(token: &SecretText) -> Result<TokenHash, Problem> {
    token.0.as_str().map(|text| PlainToken::presented(text).hash()).map_err(|_| Problem::invalid_link())
}

/// The link with a token. One that is good for nothing is counted.
///
/// # Errors
/// 422 `invalid_token`, the same for every cause.
pub fn followed(app: &App, token: TokenHash) -> Result<Link, Problem> {
    let platform = app.store.platform().view();
    let link = platform.platform().accounts.link(token, app.store.clock().credible_now());
    link.cloned().ok_or_else(|| {
        app.store.count_stranger(Stranger::InvalidLink);
        Problem::invalid_link()
    })
}

/// A command of whoever followed a link.
pub fn by_link(command: AccountsCommand, link: &Link) -> Submission {
    let actor = Actor { id: ActorId::Account(link.account), session: None };
    let mut submission = Submission::new(command, actor);
    submission.request_id = RequestId::to_record();
    submission
}

/// Submits what a link does.
///
/// # Errors
/// 422 `invalid_token` also where the address became somebody else's in the meantime.
pub async fn execute(app: &App, submission: Submission) -> Result<(), Problem> {
    match app.store.execute(app.store.platform(), submission).await {
        Ok(_) => Ok(()),
        Err(Refusal::Rejected(Rejection::Taken)) => Err(Problem::invalid_link()),
        Err(refusal) => Err(refusal.into()),
    }
}
