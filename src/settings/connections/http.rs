//! `/v1/connections`: connections over HTTP, never with their credentials. How somebody comes to consent is in `linking.rs`
//! beside this.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::ctx::memory::json;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::access::Access;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::environment;
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{ConnectionId, CustomerId, EnvironmentId, OauthAppId};
use crate::oauth::revocation::Held;
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::connections::command::{At, ConnectionsCommand, UpdateConnection};
use crate::settings::connections::connection::Connection;
use crate::settings::connections::projection::Connections;
use crate::settings::connections::value::{AppRef, Kind, Status};
use crate::settings::connections::{CREDENTIAL, credential_field};
use crate::settings::environments::http::OWN_ACTIONS;
use crate::settings::environments::projection::Environments;
use crate::settings::environments::value::Slug;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::value::SecretValue;
use crate::store::Done;

/// A connection, without its credential.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub struct ConnectionBody {
    /// The connection.
    pub id: ConnectionId,
    /// What is kept of it.
    pub kind: Kind,
    /// The name that programs find it by.
    pub name: String,
    /// The environment that it belongs to.
    pub environment: Option<EnvironmentId>,
    /// The customer that it belongs to.
    pub customer: Option<CustomerId>,
    /// How it is.
    pub status: Status,
    /// Why it could not be refreshed the last time, in a fixed word.
    pub cause: Option<String>,
    /// The organization's app that people are asked as.
    pub oauth_app: Option<OauthAppId>,
    /// The provider, where people are asked as the operator's app of it.
    pub provider: Option<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Which of that was granted, where the provider has said so.
    pub granted_scopes: Option<Vec<String>>,
    /// The number of its credential; null until somebody consented.
    pub credential_version: Option<u64>,
    /// When its access token ends; null where it does not.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

impl ConnectionBody {
    /// As it is at a time.
    pub fn new(connection: &Connection, now: Timestamp) -> Self {
        let grant = connection.grant.as_ref();
        let (oauth_app, provider) = match grant.map(|grant| &grant.app) {
            Some(AppRef::Own(app)) => (Some(*app), None),
            Some(AppRef::Managed(provider)) => (None, Some(provider.clone())),
            None => (None, None),
        };
        Self {
            id: connection.id,
            kind: connection.kind,
            name: connection.name.clone(),
            environment: connection.scope.environment(),
            customer: connection.scope.customer(),
            status: connection.status(now),
            cause: grant.and_then(|grant| grant.cause.clone()),
            oauth_app,
            provider,
            scopes: grant.map(|grant| grant.scopes.clone()).unwrap_or_default(),
            granted_scopes: grant.and_then(|grant| grant.granted.clone()),
            credential_version: connection.credential.as_ref().map(|credential| credential.number),
            expires_at: connection.credential.as_ref().and_then(|credential| credential.expires_at),
            created_at: connection.created_at,
            updated_at: connection.updated_at,
            version: connection.version,
        }
    }
}

/// What changes; a field that is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Slug>,
    /// The new token, of one of kind `token`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    token: Option<SecretValue>,
    /// The new name there, of one of kind `basic`; together with the password.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    username: Option<SecretValue>,
    /// The new password, of one of kind `basic`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    password: Option<SecretValue>,
}

/// Which connections a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionFilters {
    /// Only those of this environment, by id or slug.
    environment: Option<String>,
    /// Only those of this customer.
    #[param(value_type = Option<String>)]
    customer: Option<CustomerId>,
    /// Only those that are so.
    #[param(inline)]
    status: Option<Status>,
}

/// A name and a password, as they are sealed and as programs read them.
#[derive(Serialize)]
struct Pair<'a> {
    username: &'a str,
    password: &'a str,
}

/// A credential that somebody has, as it is sealed.
pub(super) struct Credential {
    kind: Kind,
    plain: Plain,
}

impl Credential {
    /// A token, or a name with a password; `None` where there is neither.
    pub(super) fn of(
        token: Option<&SecretValue>,
        username: Option<&SecretValue>,
        password: Option<&SecretValue>,
    ) -> Result<Option<Self>, Problem> {
        let missing =
            |pointer| Problem::invalid_field(pointer, "missing", "a name and a password go together");
        match (token, username, password) {
            (None, None, None) => Ok(None),
            (Some(token), None, None) => Ok(Some(Self { kind: Kind::Token, plain: token.plain().clone() })),
            (None, Some(username), Some(password)) => {
                let plain = json(&Pair { username: text(username)?, password: text(password)? });
                Ok(Some(Self { kind: Kind::Basic, plain: Plain::from(plain.as_slice()) }))
            }
            (None, None, Some(_)) => Err(missing("/username")),
            (None, Some(_), None) => Err(missing("/password")),
            (Some(_), _, _) => {
                let message = "a connection has a token, or a name and a password";
                Err(Problem::invalid_field("/token", "not_allowed", message))
            }
        }
    }

    /// Sealed under a connection's key.
    pub(super) fn seal(&self, call: &Call, key: &DataKey, id: ConnectionId) -> (Kind, Sealed) {
        let stream = call.organization.handle.stream();
        (self.kind, key.seal(&credential_field(stream, &id.to_string(), CREDENTIAL), &self.plain))
    }
}

/// What was read from JSON is text.
fn text(value: &SecretValue) -> Result<&str, Problem> {
    value.plain().as_str().map_err(|_| Problem::internal())
}

/// All connections that the caller may see, by id.
#[utoipa::path(get, path = "/v1/connections", tag = "oauth",
    params(ConnectionFilters, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<ConnectionBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "connections", &query).await?;
    let ConnectionFilters { environment, customer, status } = asked.query.parse()?;
    let within = match environment {
        None => None,
        Some(named) => {
            let environments = call.seen::<Environments>(&asked, Focus::Actions(OWN_ACTIONS)).await?;
            let found = environment::visible(&call, &environments, &named);
            Some(found.ok_or_else(|| {
                Problem::invalid_parameter("environment", "unknown", "there is no such environment")
            })?)
        }
    };
    let now = call.time_of(&asked).await?;
    let connections = call.seen::<Connections>(&asked, Focus::All).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<ConnectionId>().ok());
    let found = narrowest(&connections, after, customer, within)
        .filter(|connection| within.is_none() || connection.scope.environment() == within)
        .filter(|connection| customer.is_none() || connection.scope.customer() == customer)
        .filter(|connection| status.is_none_or(|status| connection.status(now) == status))
        .filter(|connection| sees(&call, connection))
        .map(|connection| ConnectionBody::new(connection, now));
    let page = cursors.page(&scope, "connections", &request, found, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(connections.mark(call.list(&call.organization.view, &page)))
}

/// The connections that follow an id, by id, of as few as can be told by where they belong.
fn narrowest(
    connections: &Connections,
    after: Option<ConnectionId>,
    customer: Option<CustomerId>,
    within: Option<EnvironmentId>,
) -> Box<dyn Iterator<Item = &Connection> + '_> {
    match (customer, within) {
        (Some(customer), _) => Box::new(connections.of_customer_after(customer, after)),
        (None, Some(environment)) => Box::new(connections.in_environment_after(environment, after)),
        (None, None) => Box::new(connections.after(after)),
    }
}

/// A connection.
#[utoipa::path(get, path = "/v1/connections/{con}", tag = "oauth",
    params(("con" = ConnectionId, Path), AsOfParameters), responses(
    (status = 200, body = ConnectionBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id: ConnectionId = path.first().parse().map_err(|_| Problem::not_found())?;
    let is_there =
        |connections: &Connections| connections.get(id).is_some_and(|connection| sees(&call, connection));
    let (asked, connections) =
        call.seen_at::<Connections>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let now = call.time_of(&asked).await?;
    let connection = connections.get(id).ok_or_else(Problem::not_found)?;
    Ok(call.seen_resource(&connections, connection.version, &ConnectionBody::new(connection, now)))
}

/// Renames a connection, or gives one of kind `token` or `basic` another credential.
#[utoipa::path(patch, path = "/v1/connections/{con}", tag = "oauth", request_body = ConnectionPatch,
    params(("con" = ConnectionId, Path)), responses(
    (status = 200, body = ConnectionBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(
    AtConnection { call, connection }: AtConnection,
    _: NoParameters,
) -> Result<Response, Problem> {
    let ConnectionPatch { name, token, username, password } = call.body().parse()?;
    let credential = Credential::of(token.as_ref(), username.as_ref(), password.as_ref())?;
    let credential = match credential {
        None => None,
        Some(credential) => {
            let stream = call.organization.handle.stream();
            let key = call.app.store.ring().data_key(stream, connection.key, connection.commitment)?;
            Some(credential.seal(&call, &key, connection.id))
        }
    };
    let command = UpdateConnection { at: At::from(&connection), name, credential };
    let done = call.submit(ConnectionsCommand::Update(command), StatusCode::OK).await?;
    answer(&call, &done, connection.id)
}

/// Ends a connection: the provider is asked to take its tokens back, where it can, and what is kept of it is destroyed.
#[utoipa::path(delete, path = "/v1/connections/{con}", tag = "oauth", params(("con" = ConnectionId, Path)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    AtConnection { call, connection }: AtConnection,
    _: NoParameters,
) -> Result<Response, Problem> {
    let held = Held::of(&call.app, &call.organization.handle, vec![connection.id]).await;
    let done = call.submit(ConnectionsCommand::Revoke(At::from(&connection)), StatusCode::NO_CONTENT).await?;
    // Once it has ended, so that what is refused leaves all as it was; and whether or not anybody waits for the answer.
    let (outgoing, clock) = (call.app.outgoing.clone(), call.app.store.clock().clone());
    tokio::spawn(async move { Held::give_back(held, &outgoing, &clock).await }).await?;
    Ok(call.no_content(&done))
}

/// A call to a connection, for which the caller holds the route's permission.
pub struct AtConnection {
    /// The call.
    pub call: Call,
    /// The connection.
    pub connection: Connection,
}

impl FromRequestParts<App> for AtConnection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let Access::Environment(permission) = call.row().access else {
            tracing::error!("a route of a connection asks for no permission in an environment");
            return Err(Problem::internal());
        };
        let id = path.first().parse().map_err(|_| Problem::not_found())?;
        let found = call.settings().connections.get(id).filter(|connection| sees(&call, connection));
        let connection = found.ok_or_else(Problem::not_found)?.clone();
        match connection.scope.environment() {
            None => call.require(permission).await?,
            Some(environment) => call.require_in(permission, environment).await?,
        }
        Ok(Self { call, connection })
    }
}

/// Whether the caller may see a connection: a key that is limited to some customers none of others'.
fn sees(call: &Call, connection: &Connection) -> bool {
    let grants = &call.organization.grants;
    let is_reached = connection.scope.customer().is_none_or(|customer| grants.reaches(customer));
    is_reached
        && match connection.scope.environment() {
            None => grants.allows(Permission::ConnectionRead),
            Some(environment) => grants.allows_in(Permission::ConnectionRead, environment),
        }
}

/// The connection after a command.
pub(super) fn answer(call: &Call, done: &Done, id: ConnectionId) -> Result<Response, Problem> {
    let connection = done.view.organization().connections.get(id).ok_or_else(Problem::not_found)?;
    let body = ConnectionBody::new(connection, call.app.store.clock().credible_now());
    Ok(call.done(done, StatusCode::OK, connection.version, None, &body))
}
