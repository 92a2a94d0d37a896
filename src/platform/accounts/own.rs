//! What an account asks of the platform for itself. What changes the account needs its password, too, and guessing at it is
//! slowed down as guessing at a login is.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode};

use crate::actor::{Actor, ActorId};
use crate::command::Command;
use crate::http::app::App;
use crate::http::call::Fingerprinted;
use crate::http::caller::SessionCaller;
use crate::http::client::{Peer, client_address};
use crate::http::headers::reason;
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::ids::StreamId;
use crate::platform::accounts;
use crate::platform::accounts::attempt::Attempt;
use crate::platform::accounts::http::{SecretText, account_of};
use crate::platform::accounts::projection::Account;
use crate::seal::DataKey;
use crate::store::{Done, Idempotency, Refusal, Replay, Submission};

/// A request of an account for itself.
pub struct OwnRequest<'a> {
    app: &'a App,
    actor: Actor,
    /// The account, as the request meets it.
    pub account: Account,
    /// Its key.
    pub key: Arc<DataKey>,
    idempotency: Option<Idempotency>,
}

impl<'a> OwnRequest<'a> {
    /// A caller's.
    ///
    /// # Errors
    /// When the account is not there, or was deleted just now, or its key is not to be had.
    pub fn of(app: &'a App, caller: &SessionCaller) -> Result<Self, Problem> {
        let account = account_of(app, caller.account)?;
        let key = app.store.platform().open_of_account(account.id, || {
            app.store.ring().data_key(StreamId::Platform, account.key, account.commitment)
        });
        let key = key?.ok_or_else(Problem::unauthenticated)?;
        let actor = Actor { id: ActorId::Account(account.id), session: Some(caller.session.id) };
        Ok(Self { app, actor, account, key, idempotency: None })
    }

    /// The same, by a POST to `path` that may have an idempotency key; `status` is what a success is answered with.
    ///
    /// # Errors
    /// 422 for a malformed key, and for a malformed reason, though the platform's stream keeps none.
    pub fn posted(
        mut self,
        headers: &HeaderMap,
        path: &str,
        body: &RawBody,
        status: StatusCode,
    ) -> Result<Self, Problem> {
        reason(headers)?;
        let (epoch, actor, body) = (self.app.store.epoch(), self.actor.id, body.as_bytes());
        let request = Fingerprinted { epoch, actor, method: &Method::POST, path, body };
        self.idempotency = request.idempotency(headers, &self.key, status)?;
        Ok(self)
    }

    /// Verifies the password that stands at `pointer` in the body. Of a request that repeats an earlier one gives that
    /// one instead: what it says of the password was true the first time.
    ///
    /// # Errors
    /// 422 for a wrong one, 429.
    pub async fn verify(
        &self,
        (peer, headers): (Peer, &HeaderMap),
        pointer: &'static str,
        password: SecretText,
    ) -> Result<Option<Replay>, Problem> {
        let (app, now) = (self.app, self.app.store.clock().now());
        let ip = client_address(peer, headers, &app.policy.trusted_proxies);
        // Guessing at a replay is slowed down, too.
        let attempt = Attempt::begin(app, self.account.id.to_string(), ip)?;
        let platform = app.store.platform().view();
        let earlier = self.idempotency.as_ref().map(|key| platform.replay(key, now)).transpose()?;
        if let Some(replay) = earlier.flatten() {
            attempt.withdrawn();
            return Ok(Some(replay));
        }
        let looks = async {
            let open = || accounts::open_password(&self.account, app.store.ring());
            let phc = app.store.platform().open_of_account(self.account.id, open)?;
            let phc = phc.ok_or_else(Problem::unauthenticated)?;
            Ok(app.passwords.verify(password.0, phc).await?)
        };
        if !attempt.looked_at(looks).await? {
            let wrong = "this is not the present password";
            return Err(Problem::invalid_field(pointer, "wrong_password", wrong));
        }
        attempt.succeeded();
        Ok(None)
    }

    /// What is to be submitted.
    pub fn submission(&self, command: impl Into<Command>) -> Submission {
        let mut submission = Submission::new(command, self.actor);
        submission.request_id = RequestId::to_record();
        submission.idempotency = self.idempotency.clone();
        submission
    }

    /// Submits it.
    ///
    /// # Errors
    /// The refusal.
    pub async fn submit(&self, submission: Submission) -> Result<Done, Refusal> {
        self.app.store.execute(self.app.store.platform(), submission).await
    }
}
