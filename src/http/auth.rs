//! Authentication: from a credential to a [`Caller`]. One hash, one look-up in the directory, then the stream says
//! whether the session still holds.

use std::sync::Arc;

use crate::actor::{Actor, ActorId};
use crate::http::app::App;
use crate::http::caller::{Caller, OrganizationScope, Scope};
use crate::http::credentials::Credential;
use crate::http::problem::Problem;
use crate::ids::{OrganizationId, SessionId, StreamId, UserId};
use crate::seal::token::PlainToken;
use crate::settings::roles::access::grants;
use crate::settings::roles::permission::Permission;
use crate::settings::sessions::projection::{Holder, Session};
use crate::store::directory;
use crate::store::load::LoadError;
use crate::store::resident::Handle;
use crate::store::strangers::Stranger;

/// Finds the caller of a request.
///
/// # Errors
/// 401, the same for every cause. A credential of nobody is counted.
pub async fn authenticate(app: &App, credential: Option<Credential>) -> Result<Caller, Problem> {
    let token = match credential {
        Some(Credential::Session(token)) => PlainToken::presented(token.expose()),
        // No program has a key yet: none is valid.
        Some(Credential::ApiKey(_)) => return Err(refuse(app, Stranger::UnknownKey)),
        // Whoever has not tried to be somebody is no stranger.
        None => return Err(Problem::unauthenticated()),
    };
    by_token(app, &token).await?.map_err(|stranger| refuse(app, stranger))
}

fn refuse(app: &App, stranger: Stranger) -> Problem {
    app.store.count_stranger(stranger);
    Problem::unauthenticated()
}

/// Whether a caller that was found earlier, in this session, would still be found and may still do this in its
/// organization; no use of its credential, which would keep an idle session alive.
pub fn still_may(app: &App, session: SessionId, permission: Permission) -> bool {
    let may = || {
        let credential = app.store.directory().of_session(session)?;
        let StreamId::Organization(id) = credential.stream else { return None };
        if !credential.is_alive(app.store.clock().credible_now()) {
            return None;
        }
        // Whoever asks holds the stream, so it is in memory.
        let handle = app.store.resident(credential.stream)?;
        match of_organization(app, id, handle, &credential)?.scope {
            Scope::Organization(scope) => Some(scope.grants.allows(permission)),
            Scope::None => None,
        }
    };
    may().unwrap_or(false)
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
        account: id,
        session,
        credential: Arc::clone(credential),
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
    let session = view.organization().sessions.get(credential.session)?.clone();
    let Holder::Person(person) = session.holder else { return None };
    view.organization().people.get(person)?;
    let account = accepting_account(app, id, person, &session)?;
    let actor = Actor::person(person, session.id);
    let grants = grants(view.organization(), actor.id);
    let scope = OrganizationScope { id, person, handle, view, grants };
    Some(Caller {
        actor,
        account,
        session,
        credential: Arc::clone(credential),
        scope: Scope::Organization(scope),
    })
}

fn accepting_account(
    app: &App,
    organization: OrganizationId,
    person: UserId,
    session: &Session,
) -> Option<crate::ids::AccountId> {
    let platform = app.store.platform().view();
    let account = platform.platform().accounts.by_person(organization, person)?;
    account.accepts(session).then_some(account.id)
}
