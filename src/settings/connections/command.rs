//! Making, changing and ending connections. Credentials come sealed. What becomes of a consent is decided in `granting.rs`
//! beside this.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType};
use crate::ids::{ConnectionId, DataKeyId};
use crate::organization::Organization;
use crate::seal::Sealed;
use crate::settings::connections::connection::Connection;
use crate::settings::connections::event::{
    ConnectLink, ConnectionCreated, ConnectionRevoked, ConnectionUpdated, ConnectionsEvent,
};
use crate::settings::connections::granting::{Connect, NoteFailure, NoteRefresh, Reconnect, ask_to_refresh};
use crate::settings::connections::projection::Connections;
use crate::settings::connections::value::{AppRef, Kind};
use crate::settings::environments::value::Slug;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::value::Scope;

/// The most connections of a scope.
pub const CONNECTIONS_MAX: usize = 10_000;
/// The most connections of a customer in all environments: erasing the customer removes the keys of all in one batch, beside
/// those of its secrets.
pub const CUSTOMER_CONNECTIONS_MAX: usize = 1_000;
/// The most bytes of an organization's connections that are sealed, all of which are in memory: a token can have 64 KiB.
pub const SEALED_BYTES_MAX: usize = 256 << 20;

/// A command to connections.
#[derive(Clone, Debug)]
pub enum ConnectionsCommand {
    /// Makes one.
    Create(CreateConnection),
    /// Renames one, or gives it another credential.
    Update(UpdateConnection),
    /// Ends one; its key goes.
    Revoke(At),
    /// Asks somebody to consent again.
    Reconnect(Reconnect),
    /// Asks for another access token now.
    Refresh(At),
    /// Somebody consented.
    Connect(Connect),
    /// An access token was refreshed.
    NoteRefresh(NoteRefresh),
    /// It was not.
    NoteFailure(NoteFailure),
}

/// A connection, and where it belongs: that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The connection.
    pub connection: ConnectionId,
    /// Its scope.
    pub scope: Scope,
}

impl From<&Connection> for At {
    fn from(connection: &Connection) -> Self {
        Self { connection: connection.id, scope: connection.scope }
    }
}

/// What a connection is made of.
#[derive(Clone, Debug)]
pub enum Made {
    /// A credential that somebody has.
    Held {
        /// `token` or `basic`.
        kind: Kind,
        /// As sealed under the connection's key.
        credential: Sealed,
    },
    /// A consent that is to come.
    Asked {
        /// As whom people are asked.
        app: AppRef,
        /// What for.
        scopes: Vec<String>,
        /// The link by which they come.
        link: ConnectLink,
    },
}

/// Makes a connection.
#[derive(Clone, Debug)]
pub struct CreateConnection {
    /// Its id and scope.
    pub at: At,
    /// The name that programs find it by.
    pub name: Slug,
    /// The key that all of it is sealed under.
    pub key: DataKeyId,
    /// What it is made of.
    pub made: Made,
}

/// Changes a connection; `None` leaves.
#[derive(Clone, Debug)]
pub struct UpdateConnection {
    /// Which.
    pub at: At,
    /// Its new name.
    pub name: Option<Slug>,
    /// Its new credential, of the kind that it is.
    pub credential: Option<(Kind, Sealed)>,
}

/// Why a command to connections appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionsRejection {
    /// There is no such connection.
    #[error("there is no such connection")]
    NotFound,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// There is no such app.
    #[error("there is no such OAuth app")]
    UnknownApp,
    /// There is no such customer.
    #[error("there is no such customer")]
    UnknownCustomer,
    /// Another connection of the scope has this name.
    #[error("another connection has this name there")]
    NameTaken,
    /// More connections than a scope can have.
    #[error("there are at most {CONNECTIONS_MAX} connections in an environment")]
    TooMany,
    /// More connections than a customer can have.
    #[error("a customer has at most {CUSTOMER_CONNECTIONS_MAX} connections")]
    CustomerFull,
    /// The credentials of all connections take as much as they can.
    #[error("the credentials of all connections have at most {SEALED_BYTES_MAX} bytes")]
    TooMuchSealed,
    /// The connection is of another kind.
    #[error("the connection is of another kind")]
    OtherKind,
    /// The provider gave nothing that another access token is had for, or does not accept that any more.
    #[error("the connection has nothing to refresh its token with")]
    NotRefreshable,
    /// Nobody is asked to consent for a customer who is suspended or deleted.
    #[error("the connection's customer is suspended or deleted")]
    CustomerInactive,
    /// The link by which somebody came is void, or has ended.
    #[error("the link is void or has ended")]
    InvalidLink,
}

impl At {
    fn needs(self) -> Need {
        match self.scope.environment() {
            None => Need::Organization(Permission::ConnectionManage),
            Some(environment) => Need::Environment(Permission::ConnectionManage, environment),
        }
    }

    /// The connection, if it is there.
    pub(super) fn find(self, connections: &Connections) -> Result<&Connection, ConnectionsRejection> {
        let found = connections.get(self.connection).filter(|connection| connection.scope == self.scope);
        found.ok_or(ConnectionsRejection::NotFound)
    }
}

impl ConnectionsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Create(command) => command.at.needs(),
            Self::Update(command) => command.at.needs(),
            Self::Revoke(at) | Self::Refresh(at) => at.needs(),
            Self::Reconnect(command) => command.at.needs(),
            Self::Connect(_) | Self::NoteRefresh(_) | Self::NoteFailure(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`ConnectionsRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let connections = &state.connections;
        match self {
            Self::Create(command) => Ok(command.decide(state)?),
            Self::Update(command) => command.decide(connections, context),
            Self::Revoke(at) => {
                let current = at.find(connections)?;
                context.check_version(current.version)?;
                Ok(vec![revoked(current)])
            }
            Self::Reconnect(command) => command.decide(state, context),
            Self::Refresh(at) => ask_to_refresh(*at, connections, context),
            Self::Connect(command) => Ok(command.decide(state, context)?),
            Self::NoteRefresh(command) => Ok(command.decide(connections)),
            Self::NoteFailure(command) => Ok(command.decide(connections)),
        }
    }
}

/// What an event about a connection is about.
pub(super) fn resource(id: ConnectionId, name: &str) -> Resource {
    Resource::named(ResourceType::Connection, id, name)
}

/// An event about a connection, which concerns the environment that it lies in.
pub(super) fn about(at: At, name: &str, event: ConnectionsEvent) -> NewEvent {
    within(at.scope, NewEvent::new(resource(at.connection, name), event))
}

/// The same event, which concerns what the scope names.
pub(super) fn within(scope: Scope, event: NewEvent) -> NewEvent {
    let event = match scope.environment() {
        Some(environment) => event.relating(environment),
        None => event,
    };
    match scope.customer() {
        Some(customer) => event.relating(customer),
        None => event,
    }
}

/// That a connection is ended, and its key with it.
pub fn revoked(connection: &Connection) -> NewEvent {
    let revoked = ConnectionRevoked { connection: connection.id, destroyed_keys: vec![connection.key] };
    about(connection.into(), &connection.name, ConnectionsEvent::ConnectionRevoked(revoked))
}

impl CreateConnection {
    fn decide(&self, state: &Organization) -> Result<Vec<NewEvent>, ConnectionsRejection> {
        let At { connection, scope } = self.at;
        let environment = scope.environment().filter(|id| state.environments.get(*id).is_some());
        let environment = environment.ok_or(ConnectionsRejection::UnknownEnvironment)?;
        if scope.customer().is_some_and(|customer| state.customers.get(customer).is_none()) {
            return Err(ConnectionsRejection::UnknownCustomer);
        }
        if let Made::Asked { app: AppRef::Own(app), .. } = &self.made
            && state.oauth_apps.get(*app).is_none()
        {
            return Err(ConnectionsRejection::UnknownApp);
        }
        if state.connections.find(scope, self.name.as_str()).is_some() {
            return Err(ConnectionsRejection::NameTaken);
        }
        if state.connections.count(scope) >= CONNECTIONS_MAX {
            return Err(ConnectionsRejection::TooMany);
        }
        if let Some(customer) = scope.customer()
            && state.connections.of_customer(customer).count() >= CUSTOMER_CONNECTIONS_MAX
        {
            return Err(ConnectionsRejection::CustomerFull);
        }
        let sealed = match &self.made {
            Made::Held { credential, .. } => Some(credential),
            Made::Asked { .. } => None,
        };
        check_room(state.connections.sealed_bytes(), sealed)?;
        let mut created = ConnectionCreated {
            connection,
            kind: Kind::Oauth,
            name: self.name.to_string(),
            environment,
            customer: scope.customer(),
            key: self.key,
            credential: None,
            oauth_app: None,
            provider: None,
            scopes: Vec::new(),
            link: None,
        };
        match self.made.clone() {
            Made::Held { kind, credential } => {
                created.kind = kind;
                created.credential = Some(credential);
            }
            Made::Asked { app, scopes, link } => {
                match app {
                    AppRef::Own(app) => created.oauth_app = Some(app),
                    AppRef::Managed(provider) => created.provider = Some(provider),
                }
                created.scopes = scopes;
                created.link = Some(link);
            }
        }
        let app = created.oauth_app;
        let event = about(self.at, self.name.as_str(), ConnectionsEvent::ConnectionCreated(created));
        let event = event.using(self.key);
        Ok(vec![match app {
            Some(app) => event.relating(app),
            None => event,
        }])
    }
}

/// Refuses what comes where there is no room for it. What a provider hands out is not refused, but counted: nobody makes
/// more connections, then.
fn check_room(sealed_bytes: usize, coming: Option<&Sealed>) -> Result<(), ConnectionsRejection> {
    let coming = coming.map_or(0, |sealed| sealed.data.0.len());
    let has_room = sealed_bytes + coming <= SEALED_BYTES_MAX;
    if has_room { Ok(()) } else { Err(ConnectionsRejection::TooMuchSealed) }
}

impl UpdateConnection {
    fn decide(&self, connections: &Connections, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let current = self.at.find(connections)?;
        if self.credential.as_ref().is_some_and(|(kind, _)| *kind != current.kind) {
            return Err(ConnectionsRejection::OtherKind.into());
        }
        context.check_version(current.version)?;
        let name = self.name.as_ref().filter(|name| name.as_str() != current.name);
        if name.is_none() && self.credential.is_none() {
            return Ok(Vec::new());
        }
        if let Some(name) = name
            && connections.find(current.scope, name.as_str()).is_some()
        {
            return Err(ConnectionsRejection::NameTaken.into());
        }
        if let Some((_, credential)) = &self.credential {
            check_room(connections.sealed_bytes(), Some(credential))?;
        }
        let number = current.credential.as_ref().map_or(1, |credential| credential.number + 1);
        let updated = ConnectionUpdated {
            connection: current.id,
            name: name.map(ToString::to_string),
            credential_version: self.credential.as_ref().map(|_| number),
            credential: self.credential.as_ref().map(|(_, sealed)| sealed.clone()),
        };
        let shown = name.map_or(current.name.as_str(), Slug::as_str);
        Ok(vec![about(self.at, shown, ConnectionsEvent::ConnectionUpdated(updated))])
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
