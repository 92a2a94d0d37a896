//! Giving tokens back to the provider when a connection is ended (RFC 7009), where it has a place for that.

use std::sync::Arc;

use crate::causes::with_causes;
use crate::http::app::App;
use crate::oauth::client::{Granted, revoke};
use crate::oauth::registration::{NoRegistration, Registration};
use crate::outgoing::Outgoing;
use crate::seal::keyring::KeyError;
use crate::settings::connections::connection::Connection;
use crate::settings::connections::{ACCESS_TOKEN, REFRESH_TOKEN, credential_field};
use crate::store::resident::Handle;

/// Has the provider take back what it handed out: the refresh token, with which go the access tokens that it brought (RFC 7009
/// §2.1), or else the access token. Whatever comes of it, the connection can be ended.
pub async fn take_back(app: &App, handle: &Arc<Handle>, connection: &Connection) {
    // What is over the provider does not accept any more, or its app's URLs are others by now: there it is to go nowhere.
    let Some(grant) = connection.grant.as_ref().filter(|grant| !grant.is_over) else { return };
    let held = grant.refresh_token.as_ref().map(|sealed| (Arc::clone(sealed), REFRESH_TOKEN));
    let held = held.or_else(|| {
        connection.credential.as_ref().map(|credential| (Arc::clone(&credential.sealed), ACCESS_TOKEN))
    });
    let Some((sealed, field)) = held else { return };
    let (store, guard, handle) = (app.store.clone(), app.outgoing.guard(), Arc::clone(handle));
    let (id, key, commitment, as_whom) =
        (connection.id, connection.key, connection.commitment, grant.app.clone());
    let open = move || {
        let stream = handle.stream();
        let view = handle.view();
        let registration = Registration::find(&store, guard, stream, view.organization(), &as_whom)?;
        let key = store.ring().data_key(stream, key, commitment)?;
        let token = key.open(&credential_field(stream, &id.to_string(), field), &sealed);
        Ok::<_, NoRegistration>((registration, token.map_err(KeyError::from)?))
    };
    match tokio::task::spawn_blocking(open).await {
        Ok(Ok((registration, token))) => revoke(&app.outgoing, &registration, &token, field).await,
        Ok(Err(NoRegistration::Key(error))) => {
            tracing::error!(error = with_causes(&error), "a token could not be given back");
        }
        // Of an app that is gone there is nobody to ask; a panic has a log line of its own.
        Ok(Err(NoRegistration::Gone | NoRegistration::Died)) | Err(_) => {}
    }
}

/// Gives back what was handed out and has no place any more.
pub async fn give_back(outgoing: &Outgoing, registration: &Registration, granted: &Granted) {
    let refresh_token = granted.refresh_token.as_ref().map(|token| (token, REFRESH_TOKEN));
    let (token, hint) = refresh_token.unwrap_or((&granted.access_token, ACCESS_TOKEN));
    revoke(outgoing, registration, token, hint).await;
}
