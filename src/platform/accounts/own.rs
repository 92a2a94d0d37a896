//! What changes one's own account: whoever does it gives their password, and guessing at it is slowed down as guessing at a
//! login is.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode};

use crate::actor::{Actor, ActorId};
use crate::http::app::App;
use crate::http::call::Fingerprinted;
use crate::http::caller::SessionCaller;
use crate::http::client::{Peer, client_address};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::ids::StreamId;
use crate::platform::accounts;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::http::{Secret, account_of};
use crate::platform::accounts::projection::Account;
use crate::seal::DataKey;
use crate::store::{Done, Idempotency, Replay, Submission};

/// A change of the caller's own account, before or after the password was verified.
pub struct OwnChange<'a> {
    app: &'a App,
    actor: Actor,
    ip: Option<IpAddr>,
    /// The account, as the change meets it.
    pub account: Account,
    /// Its key.
    pub key: Arc<DataKey>,
    idempotency: Option<Idempotency>,
}

impl<'a> OwnChange<'a> {
    /// A change that a caller asks for.
    ///
    /// # Errors
    /// When the account or its key is not there.
    pub fn of(
        app: &'a App,
        caller: &SessionCaller,
        peer: Peer,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let account = account_of(app, caller.account)?;
        let key = app.store.ring().data_key(StreamId::Platform, account.key, account.commitment)?;
        let actor = Actor { id: ActorId::Account(account.id), session: Some(caller.session.id) };
        let ip = client_address(peer, headers, &app.policy.trusted_proxies);
        Ok(Self { app, actor, ip, account, key, idempotency: None })
    }

    /// The same, by a POST to `path` that may have an idempotency key; `status` is what a success is answered with.
    ///
    /// # Errors
    /// 422 for a malformed key.
    pub fn posted(
        mut self,
        headers: &HeaderMap,
        path: &str,
        body: &RawBody,
        status: StatusCode,
    ) -> Result<Self, Problem> {
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
    pub async fn verify(&self, pointer: &'static str, password: Secret) -> Result<Option<Replay>, Problem> {
        let (app, now) = (self.app, self.app.store.clock().now());
        let throttled = self.account.id.to_string();
        // Guessing at a replay is slowed down, too.
        app.throttle
            .attempt(&throttled, self.ip, now)
            .map_err(|throttled| Problem::too_many_requests(throttled.retry_after_seconds))?;
        let platform = app.store.platform().view();
        let earlier = self.idempotency.as_ref().map(|key| platform.replay(key, now)).transpose()?;
        if let Some(replay) = earlier.flatten() {
            app.throttle.withdrawn(&throttled, self.ip);
            return Ok(Some(replay));
        }
        let phc = accounts::open_password(&self.account, app.store.ring())?;
        if !app.passwords.verify(password.0, phc).await? {
            let wrong = "this is not the present password";
            return Err(Problem::invalid_field(pointer, "wrong_password", wrong));
        }
        app.throttle.succeeded(&throttled, self.ip, now);
        Ok(None)
    }

    /// What is to be submitted.
    pub fn submission(&self, command: AccountsCommand) -> Submission {
        let mut submission = Submission::new(command, self.actor);
        submission.request_id = RequestId::to_record();
        submission.idempotency = self.idempotency.clone();
        submission
    }

    /// Submits it.
    ///
    /// # Errors
    /// The problem that the refusal is.
    pub async fn submit(&self, submission: Submission) -> Result<Done, Problem> {
        Ok(self.app.store.execute(self.app.store.platform(), submission).await?)
    }
}
