//! Giving tokens back to the provider that handed them out (RFC 7009), where it has a place for that: what was held by a
//! connection that is ended, and what has no place any more by the time it comes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::http::app::App;
use crate::ids::ConnectionId;
use crate::oauth::client::{Granted, revoke};
use crate::oauth::registration::{NoRegistration, Registration};
use crate::outgoing::Outgoing;
use crate::seal::Plain;
use crate::seal::keyring::KeyError;
use crate::settings::connections::{ACCESS_TOKEN, REFRESH_TOKEN, credential_field};
use crate::store::Store;
use crate::store::resident::{Handle, View};

/// How many tokens are given back at once.
const AT_ONCE: usize = 8;
/// How long that takes at most.
const LONGEST: Duration = Duration::from_secs(60);

/// What a connection holds that a provider can take back, opened before its key goes.
pub struct Held {
    registration: Registration,
    token: Plain,
    hint: &'static str,
}

impl Held {
    /// What connections hold; nothing of those that hold none, or whose app is gone, so that there is nobody to ask.
    pub async fn of(app: &App, handle: &Arc<Handle>, connections: Vec<ConnectionId>) -> Vec<Self> {
        if connections.is_empty() {
            return Vec::new();
        }
        let (app, view) = (app.clone(), handle.view());
        let open = move || connections.into_iter().filter_map(|id| Self::open(&app, &view, id)).collect();
        // A panic has a log line of its own.
        tokio::task::spawn_blocking(open).await.unwrap_or_default()
    }

    /// Connection and app from one state: what one provider handed out goes to no other.
    fn open(app: &App, view: &View, id: ConnectionId) -> Option<Self> {
        match Self::find(&app.store, app, view, id) {
            Ok(held) => held,
            Err(NoRegistration::Key(error)) => {
                tracing::error!(connection = %id, error = with_causes(&error), "a token could not be given back");
                None
            }
            Err(NoRegistration::Gone | NoRegistration::Died) => None,
        }
    }

    fn find(store: &Store, app: &App, view: &View, id: ConnectionId) -> Result<Option<Self>, NoRegistration> {
        let (stream, organization) = (view.stream, view.organization());
        // What is over the provider does not accept any more, or its app's URLs are others by now: there it is to go nowhere.
        let connection = organization.connections.get(id).filter(|connection| connection.usable().is_some());
        let Some((connection, grant)) = connection.and_then(|found| Some((found, found.grant.as_ref()?)))
        else {
            return Ok(None);
        };
        // With the refresh token go the access tokens that it brought (RFC 7009 §2.1).
        let refresh_token = grant.refresh_token.as_ref().map(|sealed| (sealed, REFRESH_TOKEN));
        let access_token = connection.usable().map(|held| (&held.sealed, ACCESS_TOKEN));
        let Some((sealed, hint)) = refresh_token.or(access_token) else { return Ok(None) };
        let registration = Registration::find(store, app.outgoing.guard(), stream, organization, &grant.app)?;
        let key = store.ring().data_key(stream, connection.key, connection.commitment)?;
        let token = key.open(&credential_field(stream, &id.to_string(), hint), sealed);
        Ok(Some(Self { registration, token: token.map_err(KeyError::from)?, hint }))
    }

    /// Gives all of it back, some at a time, and for so long at most: what was opened is wiped then. Whatever comes of that,
    /// the connections have ended.
    pub async fn give_back(all: Vec<Self>, outgoing: &Outgoing, clock: &Clock) {
        let each = stream::iter(all).for_each_concurrent(AT_ONCE, |held| async move {
            revoke(outgoing, &held.registration, &held.token, held.hint).await;
        });
        tokio::select! {
            () = each => {}
            () = clock.sleep(LONGEST) => tracing::warn!("not all tokens could be given back in time"),
        }
    }
}

/// Gives back what was handed out and has no place any more.
pub async fn give_back(outgoing: &Outgoing, registration: &Registration, granted: &Granted) {
    let refresh_token = granted.refresh_token.as_ref().map(|token| (token, REFRESH_TOKEN));
    let (token, hint) = refresh_token.unwrap_or((&granted.access_token, ACCESS_TOKEN));
    revoke(outgoing, registration, token, hint).await;
}
