//! A program as a caller: found by its API key, held against the key's rate and addresses, its use recorded.

use std::sync::Arc;

use crate::actor::{Actor, ActorId};
use crate::clock::Timestamp;
use crate::http::app::App;
use crate::http::auth::refuse;
use crate::http::caller::{Caller, OfKey, OrganizationScope, Scope, Showed, ShownKey};
use crate::http::client::Origin;
use crate::http::credentials::Token;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::ids::SessionId;
use crate::seal::Commitment;
use crate::seal::api_key::PlainKey;
use crate::settings::api_keys::event::KeySessionOpened;
use crate::settings::api_keys::projection::{ApiKey, Status};
use crate::settings::api_keys::value::PREFIXES;
use crate::settings::general::own_key;
use crate::store::directory::keys::KnownKey;
use crate::store::key_uses::Use;
use crate::store::resident::{Handle, View};
use crate::store::strangers::Stranger;

/// A key that was presented and is accepted.
pub struct Presented {
    known: KnownKey,
    token: Commitment,
    key: ApiKey,
    handle: Arc<Handle>,
    view: Arc<View>,
}

/// Finds the key that somebody presents: one hash, one look-up.
///
/// # Errors
/// 401, the same for what is no key, whatever it looks like; for one that is, and is not accepted, with the cause. Both
/// are counted.
pub async fn by_key(app: &App, presented: &Token) -> Result<Presented, Problem> {
    let unknown = || refuse(app, Stranger::UnknownKey);
    let plain = PlainKey::presented(presented.expose(), PREFIXES).ok_or_else(unknown)?;
    let token = plain.hash();
    let known = app.store.directory().key(token).ok_or_else(unknown)?;
    let handle = app.store.organization(known.organization).await?.ok_or_else(unknown)?;
    let view = handle.view();
    let key = view.organization().api_keys.get(known.key).cloned().ok_or_else(unknown)?;
    accepted(&key, token, app.store.clock().credible_now()).inspect_err(|_problem| {
        app.store.count_stranger(Stranger::EndedKey);
    })?;
    Ok(Presented { known, token, key, handle, view })
}

/// Whether a key is accepted at a time, by a value whose hash led to it.
///
/// # Errors
/// 401, of the value that the key has now with the cause.
pub fn accepted(key: &ApiKey, token: Commitment, now: Timestamp) -> Result<(), Problem> {
    let because = |code, detail| Err(Problem::unauthenticated_because(code, detail));
    match key.status(now) {
        Status::Revoked if key.token() == token => because("api_key_revoked", "the API key was revoked"),
        _ if !key.accepts(token, now) => Err(Problem::unauthenticated()),
        Status::Disabled => because("api_key_disabled", "the API key is disabled"),
        Status::Expired => because("api_key_expired", "the API key has expired"),
        Status::Active | Status::Revoked => Ok(()),
    }
}

impl Presented {
    /// The key as it was when it was found.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Which key it is.
    pub fn known(&self) -> KnownKey {
        self.known
    }

    /// The caller with the key, once it is recorded that it is used from there.
    pub async fn used_from(self, app: &App, origin: &Origin) -> Caller {
        let Self { known: KnownKey { organization: id, key }, token, handle, view, .. } = self;
        let open = |session| opened(app, &handle, &view, session, origin);
        let used = Use { key, from: origin.ip, request_id: RequestId::to_record() };
        let session = app.store.use_key(&handle, used, open).await;
        let actor = Actor { id: ActorId::ApiKey(key), session };
        let grants = handle.grants(&view, actor.id);
        Caller {
            actor,
            showed: Showed::Key(OfKey {
                shown: ShownKey { key, token, from: origin.ip },
                mode: self.key.mode,
                ordinal: app.store.count_request(&handle, &view),
            }),
            scope: Scope::Organization(OrganizationScope { id, handle, view, grants }),
        }
    }
}

/// A session of a key, sealed under the organization's own key; none where the address or that key is not to be had.
fn opened(
    app: &App,
    handle: &Handle,
    view: &View,
    session: SessionId,
    origin: &Origin,
) -> Option<KeySessionOpened> {
    let under = own_key(view.stream, &view.organization().general, app.store.ring()).ok()?;
    let (ip, user_agent) = origin.seal(&under, handle.stream(), session);
    Some(KeySessionOpened { session, ip: ip?, user_agent })
}
