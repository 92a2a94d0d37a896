//! Opening sessions: from an address and a password to a token, or from one organization to another.

use std::sync::Arc;

use crate::actor::{Actor, ActorId};
use crate::clock::Timestamp;
use crate::command::{Command, OrganizationCommand, PlatformCommand};
use crate::http::app::App;
use crate::http::client::Origin;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::ids::{Fresh, OrganizationId, SessionId, StreamId, UserId};
use crate::platform::accounts::projection::Account;
use crate::seal::DataKey;
use crate::seal::token::PlainToken;
use crate::settings::sessions::command::{CloseSession, Closing, SessionsCommand};
use crate::settings::sessions::event::SessionOpened;
use crate::settings::sessions::projection::SESSION_MAX_SECONDS;
use crate::store::Submission;
use crate::store::load::LoadError;
use crate::store::resident::{Handle, View};

/// Where a session is opened.
#[derive(Clone)]
pub enum Target {
    /// In an organization, as a person.
    Organization(Arc<Handle>, UserId),
    /// In none.
    Account,
}

/// A session just opened: its token is in nobody else's hands.
pub struct Opened {
    /// The token, to be shown once.
    pub token: PlainToken,
    /// The session.
    pub session: SessionId,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The stream right after.
    pub view: Arc<View>,
}

/// The organizations in which an account is a member and not suspended: the platform's pairs are a hint, the streams
/// decide.
///
/// # Errors
/// When one cannot be loaded.
pub async fn memberships(
    app: &App,
    account: &Account,
) -> Result<Vec<(OrganizationId, Arc<Handle>, UserId)>, LoadError> {
    let mut memberships = Vec::new();
    for (organization, person) in &account.persons {
        if let Some(handle) = app.store.organization(*organization).await?
            && handle.view().organization().people.active(*person).is_some()
        {
            memberships.push((*organization, handle, *person));
        }
    }
    Ok(memberships)
}

/// Whom an account was in organizations, and is no more: the platform's pairs are a hint, the streams decide. Somebody who
/// is suspended has not left, nor has who is about to join.
///
/// # Errors
/// When one cannot be loaded.
pub async fn left(app: &App, account: &Account) -> Result<Vec<(OrganizationId, UserId)>, LoadError> {
    // After the account and before the organizations: their states then know of all that is not open here.
    let platform = app.store.platform().view();
    let is_open =
        |pair: &&(OrganizationId, UserId)| platform.platform().memberships.get(pair.0, pair.1).is_some();
    let mut left = Vec::new();
    for (organization, person) in account.persons.iter().filter(|pair| !is_open(pair)) {
        let handle = app.store.organization(*organization).await?;
        if handle.is_none_or(|handle| handle.view().organization().people.get(*person).is_none()) {
            left.push((*organization, *person));
        }
    }
    Ok(left)
}

/// Opens a session. `since` is when the login that it goes back to was made, if it is not made now.
///
/// # Errors
/// When a key is not to be had, or the store refuses.
pub async fn open(
    app: &App,
    account: &Account,
    target: &Target,
    origin: &Origin,
    since: Option<Timestamp>,
) -> Result<Opened, Problem> {
    let token = PlainToken::draw();
    let session: SessionId = Fresh.id();
    let (handle, holder) = match target {
        Target::Organization(handle, person) => (handle, ActorId::Person(*person)),
        Target::Account => (app.store.platform(), ActorId::Account(account.id)),
    };
    let stream = handle.stream();
    let key = holders_key(app, account, handle, holder)?;
    let (ip, user_agent) = origin.seal(&key, stream, session);
    let opened = SessionOpened {
        session,
        person: match holder {
            ActorId::Person(person) => Some(person),
            _ => None,
        },
        account: match holder {
            ActorId::Account(account) => Some(account),
            _ => None,
        },
        token: token.hash(),
        generation: account.generation,
        since,
        ip,
        user_agent,
    };
    let command = SessionsCommand::Open(opened);
    let command = match stream {
        StreamId::Platform => Command::Platform(PlatformCommand::Sessions(command)),
        StreamId::Organization(_) => Command::Organization(OrganizationCommand::Sessions(command)),
    };
    let actor = Actor { id: holder, session: Some(session) };
    let mut submission = Submission::new(command, actor);
    submission.request_id = RequestId::to_record();
    let done = app.store.execute(handle, submission).await?;
    // While the log's time is ahead of an accepted clock, a session ends by the clock.
    let opened_at = since.unwrap_or(done.view.head.at).min(app.store.clock().credible_now());
    let expires_at = opened_at.plus_seconds(SESSION_MAX_SECONDS);
    Ok(Opened { token, session, expires_at, view: done.view })
}

fn holders_key(
    app: &App,
    account: &Account,
    handle: &Handle,
    holder: ActorId,
) -> Result<Arc<DataKey>, Problem> {
    let ring = app.store.ring();
    let key = match holder {
        ActorId::Person(person) => {
            let view = handle.view();
            let person = view.organization().people.active(person).ok_or_else(Problem::unauthenticated)?;
            let key = || ring.data_key(handle.stream(), person.key, person.commitment);
            handle.open_of_person(person.id, key)?
        }
        _ => handle.open_of_account(account.id, || {
            ring.data_key(StreamId::Platform, account.key, account.commitment)
        })?,
    };
    key.ok_or_else(Problem::unauthenticated)
}

/// Closes a session that was opened just now and is in nobody's hands.
///
/// # Errors
/// When the store refuses.
pub async fn withdraw(app: &App, target: &Target, account: &Account, opened: &Opened) -> Result<(), Problem> {
    let close = SessionsCommand::Close(CloseSession { session: opened.session, how: Closing::Revoke });
    let (handle, id, command) = match target {
        Target::Organization(handle, person) => {
            let command = Command::Organization(OrganizationCommand::Sessions(close));
            (handle, ActorId::Person(*person), command)
        }
        Target::Account => {
            let command = Command::Platform(PlatformCommand::Sessions(close));
            (app.store.platform(), ActorId::Account(account.id), command)
        }
    };
    let actor = Actor { id, session: Some(opened.session) };
    app.store.execute(handle, Submission::new(command, actor)).await?;
    Ok(())
}
