//! What becomes of a consent: given, asked for again, and the tokens that follow from it, refreshed or not.

use crate::clock::Timestamp;
use crate::command::{Context, NewEvent, Rejection};
use crate::event::{Event, Outcome, Refused, RefusedData};
use crate::ids::ConnectionId;
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::connections::command::{At, ConnectionsRejection, about, resource, within};
use crate::settings::connections::connection::Connection;
use crate::settings::connections::event::{
    ConnectLink, ConnectionConnected, ConnectionReconnected, ConnectionRefreshAsked, ConnectionsEvent,
    TOKEN_REFRESH, TokenRefreshed, Tokens,
};
use crate::settings::connections::projection::Connections;
use crate::settings::connections::value::AppRef;
use crate::settings::customers::projection::Status;

/// What a provider handed out, sealed under the connection's key.
#[derive(Clone, Debug)]
pub struct HandedOut {
    /// What programs use.
    pub access_token: Sealed,
    /// What another one is had for.
    pub refresh_token: Option<Sealed>,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When it is to be refreshed.
    pub refresh_at: Option<Timestamp>,
    /// What was granted.
    pub scopes: Option<Vec<String>>,
}

impl HandedOut {
    fn tokens(&self, connection: &Connection) -> Tokens {
        Tokens {
            credential_version: connection.credential.as_ref().map_or(1, |held| held.number + 1),
            access_token: self.access_token.clone(),
            refresh_token: self.refresh_token.clone(),
            expires_at: self.expires_at,
            refresh_at: self.refresh_at,
            scopes: self.scopes.clone(),
        }
    }
}

/// Asks somebody to consent again.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// Which connection.
    pub at: At,
    /// The link by which they come.
    pub link: ConnectLink,
}

/// Somebody consented.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Which connection.
    pub connection: ConnectionId,
    /// SHA-256 of the token of the link by which they came.
    pub link: Commitment,
    /// The number that the app's credentials had when they were sent to the provider, of an app of the organization's.
    pub credentials_version: Option<u64>,
    /// What the provider handed out.
    pub handed_out: HandedOut,
}

/// An access token was refreshed.
#[derive(Clone, Debug)]
pub struct NoteRefresh {
    /// Which connection.
    pub connection: ConnectionId,
    /// The number of the credential that it took the place of.
    pub from: u64,
    /// What the provider handed out.
    pub handed_out: HandedOut,
}

/// An access token was not refreshed.
#[derive(Clone, Debug)]
pub struct NoteFailure {
    /// Which connection.
    pub connection: ConnectionId,
    /// The number of the credential.
    pub from: u64,
    /// Why not: a fixed word, never what a provider said.
    pub cause: &'static str,
    /// When it is tried again; never, where nothing helps but that somebody consents again.
    pub next_at: Option<Timestamp>,
}

impl Reconnect {
    pub(super) fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = self.at.find(&state.connections)?;
        if current.grant.is_none() {
            return Err(ConnectionsRejection::OtherKind.into());
        }
        context.check_version(current.version)?;
        if !is_served(state, current) {
            return Err(ConnectionsRejection::CustomerInactive.into());
        }
        let reconnected = ConnectionReconnected { connection: current.id, link: self.link };
        Ok(vec![about(self.at, &current.name, ConnectionsEvent::ConnectionReconnected(reconnected))])
    }
}

impl Connect {
    pub(super) fn decide(
        &self,
        state: &Organization,
        context: &Context,
    ) -> Result<Vec<NewEvent>, ConnectionsRejection> {
        let current = state.connections.get(self.connection).ok_or(ConnectionsRejection::NotFound)?;
        let grant = current.grant.as_ref().filter(|_| is_served(state, current));
        let grant = grant.ok_or(ConnectionsRejection::InvalidLink)?;
        let link = grant.link.filter(|link| link.token == self.link);
        // Whoever came in time may take a while at the provider.
        link.filter(|link| context.now <= link.ends_at.plus_seconds(CONSENT_SECONDS))
            .ok_or(ConnectionsRejection::InvalidLink)?;
        // An app that was changed meanwhile may be another's by now.
        let version = match &grant.app {
            AppRef::Own(app) => {
                let app = state.oauth_apps.get(*app).ok_or(ConnectionsRejection::InvalidLink)?;
                Some(app.client_secret.credentials_version)
            }
            AppRef::Managed(_) => None,
        };
        if version != self.credentials_version {
            return Err(ConnectionsRejection::InvalidLink);
        }
        let connected =
            ConnectionConnected { connection: current.id, tokens: self.handed_out.tokens(current) };
        Ok(vec![about(current.into(), &current.name, ConnectionsEvent::ConnectionConnected(connected))])
    }
}

/// How long what was refreshed is new to whoever asks for that, in seconds.
const JUST_SECONDS: i64 = 10;

/// Notes that somebody asks for another access token; nothing, where there is a new one.
pub(super) fn ask_to_refresh(
    at: At,
    connections: &Connections,
    context: &Context,
) -> Result<Vec<NewEvent>, Rejection> {
    let current = at.find(connections)?;
    context.check_version(current.version)?;
    if !current.is_refreshable() {
        return Err(ConnectionsRejection::NotRefreshable.into());
    }
    let refreshed_at = current.grant.as_ref().and_then(|grant| grant.refreshed_at);
    if refreshed_at.is_some_and(|refreshed_at| context.now < refreshed_at.plus_seconds(JUST_SECONDS)) {
        return Ok(Vec::new());
    }
    let asked = ConnectionRefreshAsked { connection: current.id };
    Ok(vec![about(at, &current.name, ConnectionsEvent::ConnectionRefreshAsked(asked))])
}

/// Whether somebody may consent for whom a connection belongs to: a customer who is there and not suspended, or nobody.
pub fn is_served(state: &Organization, connection: &Connection) -> bool {
    let is_active =
        |customer| state.customers.get(customer).is_some_and(|customer| customer.status == Status::Active);
    connection.scope.customer().is_none_or(is_active)
}

/// How long a person may take at the provider, in seconds.
pub const CONSENT_SECONDS: i64 = 600;

/// The connection whose credential has this number. Of another one, of one that is gone, and of one that nobody is to use any
/// more, as after its app's URLs have changed, there is nothing to note: no answer that was under way brings it back.
fn at_number(connections: &Connections, id: ConnectionId, number: u64) -> Option<&Connection> {
    let has = |connection: &&Connection| connection.usable().is_some_and(|held| held.number == number);
    connections.get(id).filter(has)
}

impl NoteRefresh {
    pub(super) fn decide(&self, connections: &Connections) -> Vec<NewEvent> {
        let Some(current) = at_number(connections, self.connection, self.from) else { return Vec::new() };
        let mut tokens = self.handed_out.tokens(current);
        let granted = current.grant.as_ref().and_then(|grant| grant.granted.as_ref());
        tokens.scopes = tokens.scopes.filter(|scopes| Some(scopes) != granted);
        let refreshed = TokenRefreshed { connection: current.id, tokens };
        vec![about(current.into(), &current.name, ConnectionsEvent::TokenRefreshed(refreshed))]
    }
}

impl NoteFailure {
    pub(super) fn decide(&self, connections: &Connections) -> Vec<NewEvent> {
        let Some(current) = at_number(connections, self.connection, self.from) else { return Vec::new() };
        let data = RefusedData {
            cause: Some(self.cause.to_owned()),
            next_at: self.next_at,
            ..RefusedData::default()
        };
        let event = NewEvent {
            outcome: Outcome::Failure,
            ..NewEvent::new(
                resource(current.id, &current.name),
                Event::Refused(Refused { action: TOKEN_REFRESH.to_owned(), data }),
            )
        };
        vec![within(current.scope, event)]
    }
}
