//! Authentication: from a credential to a [`Caller`]. One hash, one look-up in the directory, then the stream says
//! whether the session or the key still holds. What more is held against keys stands in `http/key.rs`.

use std::sync::Arc;

use crate::actor::{Actor, ActorId};
use crate::http::app::App;
use crate::http::caller::{Caller, OrganizationScope, Own, Proof, Scope, Showed, ShownKey};
use crate::http::credentials::Token;
use crate::http::key::accepted;
use crate::http::problem::Problem;
use crate::ids::{AccountId, OrganizationId, SessionId, StreamId, UserId};
use crate::seal::token::PlainToken;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;
use crate::settings::sessions::projection::{Holder, Session};
use crate::store::directory;
use crate::store::load::LoadError;
use crate::store::resident::{Handle, View};
use crate::store::strangers::Stranger;

/// Finds the caller with a session's token.
///
/// # Errors
/// 401, the same for every cause. A token of nobody is counted.
pub async fn by_session(app: &App, token: &Token) -> Result<Caller, Problem> {
    let token = PlainToken::presented(token.expose());
    by_token(app, &token).await?.map_err(|stranger| refuse(app, stranger))
}

/// Counts an attempt of a stranger; the answer to it, the same for every cause.
pub fn refuse(app: &App, stranger: Stranger) -> Problem {
    app.store.count_stranger(stranger);
    Problem::unauthenticated()
}

/// Whether a caller that was found earlier, by this credential, would still be found in the organization and may still
/// do this there; no use of its credential, which would keep an idle session alive.
pub fn still_may(app: &App, handle: &Handle, proof: Proof, permission: Permission) -> bool {
    still(app, handle, proof).is_some_and(|grants| grants.allows(permission))
}

/// What a caller may do now, if it would still be found.
pub fn still(app: &App, handle: &Handle, proof: Proof) -> Option<Arc<Grants>> {
    let view = handle.view();
    if matches!(view.stream, StreamId::Organization(id) if app.store.is_deleted(id)) {
        return None;
    }
    let actor = match proof {
        Proof::Session(session) => still_in_session(app, &view, session),
        Proof::Key(shown) => still_shown(app, &view, shown),
    };
    actor.map(|actor| handle.grants(&view, actor))
}

fn still_shown(app: &App, view: &View, shown: ShownKey) -> Option<ActorId> {
    let key = view.organization().api_keys.get(shown.key)?;
    let is_accepted = accepted(key, shown.token, app.store.clock().credible_now()).is_ok();
    (is_accepted && key.limits().allow_address(shown.from)).then_some(ActorId::ApiKey(shown.key))
}

fn still_in_session(app: &App, view: &View, session: SessionId) -> Option<ActorId> {
    let credential = app.store.directory().of_session(session)?;
    let StreamId::Organization(id) = credential.stream else { return None };
    if !credential.is_alive(app.store.clock().credible_now()) {
        return None;
    }
    in_organization(app, id, view, session).map(|(person, _, _)| ActorId::Person(person))
}

async fn by_token(app: &App, token: &PlainToken) -> Result<Result<Caller, Stranger>, LoadError> {
    let now = app.store.clock().credible_now();
    let Some(credential) = app.store.directory().credential(token.hash()) else {
        return Ok(Err(Stranger::UnknownToken));
    };
    if !credential.is_alive(now) {
        return Ok(Err(Stranger::EndedSession));
    }
    let caller = match credential.stream {
        StreamId::Platform => of_account(app, &credential),
        StreamId::Organization(id) => {
            let handle = app.store.organization(id).await?;
            handle.and_then(|handle| of_organization(app, id, handle, &credential))
        }
    };
    let caller = caller.ok_or(Stranger::EndedSession);
    if caller.is_ok() {
        credential.touch(now);
    }
    Ok(caller)
}

fn of_account(app: &App, credential: &Arc<directory::Credential>) -> Option<Caller> {
    let platform = app.store.platform().view();
    let session = platform.platform().sessions.get(credential.session)?.clone();
    let Holder::Account(id) = session.holder else { return None };
    let account = platform.platform().accounts.get(id)?;
    if !account.accepts(&session) {
        return None;
    }
    Some(Caller {
        actor: Actor { id: ActorId::Account(id), session: Some(session.id) },
        showed: Showed::Session(Own { account: id, session, credential: Arc::clone(credential) }),
        scope: Scope::None,
    })
}

fn of_organization(
    app: &App,
    id: OrganizationId,
    handle: Arc<Handle>,
    credential: &Arc<directory::Credential>,
) -> Option<Caller> {
    let view = handle.view();
    let (person, account, session) = in_organization(app, id, &view, credential.session)?;
    let actor = Actor::person(person, session.id);
    let grants = handle.grants(&view, actor.id);
    Some(Caller {
        actor,
        showed: Showed::Session(Own { account, session, credential: Arc::clone(credential) }),
        scope: Scope::Organization(OrganizationScope { id, handle, view, grants }),
    })
}

/// Whose an open session of an organization is, if its account still accepts it.
fn in_organization(
    app: &App,
    id: OrganizationId,
    view: &View,
    session: SessionId,
) -> Option<(UserId, AccountId, Session)> {
    let session = view.organization().sessions.get(session)?.clone();
    let Holder::Person(person) = session.holder else { return None };
    view.organization().people.active(person)?;
    let platform = app.store.platform().view();
    let account = platform.platform().accounts.by_person(id, person)?;
    account.accepts(&session).then_some((person, account.id, session))
}
