//! `POST /v1/connections` and what leads somebody to consent: the link, again, and refreshing by hand.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::http::call::{Call, read_history};
use crate::http::environment;
use crate::http::patch::not_null;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::ids::{ConnectionId, CustomerId, EnvironmentId, Fresh, OauthAppId};
use crate::oauth::connect_url;
use crate::seal::token::PlainToken;
use crate::settings::connections::command::{At, ConnectionsCommand, CreateConnection, Made};
use crate::settings::connections::event::ConnectLink;
use crate::settings::connections::granting::Reconnect;
use crate::settings::connections::http::{AtConnection, ConnectionBody, Credential, answer};
use crate::settings::connections::value::{AppRef, Kind};
use crate::settings::environments::value::Slug;
use crate::settings::oauth_apps::value::{ProviderName, Scopes};
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::value::{Scope, SecretValue};
use crate::store::Done;

/// How long a link to connect by is good, in seconds.
pub const LINK_SECONDS: i64 = 30 * 60;

/// How long somebody who asks for a refresh waits for it: as long as a provider may take, and a moment to record it.
const REFRESH_WAIT: Duration = Duration::from_secs(15);
/// When whoever has waited so long may ask again, in seconds.
const REFRESH_AGAIN_SECONDS: u64 = 5;

/// A connection to be made: of kind `token` or `basic` with its credential, or for somebody to consent to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// `oauth` where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    kind: Option<Kind>,
    /// The environment that it belongs to, by id or slug. It never changes.
    environment: String,
    /// The customer that it belongs to, in the environment.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    customer: Option<CustomerId>,
    /// The name that programs find it by; the provider's where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Slug>,
    /// As which of the organization's apps people are asked.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    oauth_app: Option<OauthAppId>,
    /// Or: as the operator's app of this provider, or as the organization's only one.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    provider: Option<ProviderName>,
    /// What is asked for; what the app asks for where it is absent.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    scopes: Option<Scopes>,
    /// The token, of one of kind `token`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    token: Option<SecretValue>,
    /// The name there, of one of kind `basic`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    username: Option<SecretValue>,
    /// The password there, of one of kind `basic`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    password: Option<SecretValue>,
}

/// A connection, and where somebody goes to consent to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkedConnection)]
pub struct LinkedBody {
    /// The connection.
    pub connection: ConnectionBody,
    /// The page on which somebody consents, shown this once; null where nobody has to.
    pub connect_url: Option<String>,
    /// When the page's link ends.
    pub expires_at: Option<Timestamp>,
}

/// A body without fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// A link, and what is recorded of it.
struct NewLink {
    token: PlainToken,
    link: ConnectLink,
}

impl NewLink {
    fn draw(call: &Call) -> Self {
        let token = PlainToken::draw_marked(call.organization.handle.stream().to_bytes());
        let ends_at = call.app.store.clock().credible_now().plus_seconds(LINK_SECONDS);
        let link = ConnectLink { token: token.hash(), ends_at };
        Self { token, link }
    }
}

/// Makes a connection. Of one that somebody has to consent to, `connect_url` is where they do: it can be handed to them, names
/// who asks for what, and is good for 30 minutes.
#[utoipa::path(post, path = "/v1/connections", tag = "oauth", request_body = NewConnection, responses(
    (status = 201, body = LinkedBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewConnection = call.body().parse()?;
    let environment = environment::visible(&call, &call.settings().environments, &new.environment);
    let environment = environment
        .ok_or_else(|| Problem::invalid_field("/environment", "unknown", "there is no such environment"))?;
    call.require_in(Permission::ConnectionManage, environment).await?;
    let scope = new.scope(&call, environment)?;
    let at = At { connection: Fresh.id(), scope };
    let key = call.app.store.ring().mint(call.organization.handle.stream())?;
    let link = NewLink::draw(&call);
    let (made, name) = match new.credential()? {
        Some(credential) => {
            let (kind, credential) = credential.seal(&call, key.key(), at.connection);
            let missing = || Problem::invalid_field("/name", "missing", "programs find it by a name");
            (Made::Held { kind, credential }, new.name.clone().ok_or_else(missing)?)
        }
        None => {
            let (app, scopes, name) = new.asked(&call)?;
            (Made::Asked { app, scopes, link: link.link }, name)
        }
    };
    let asks = matches!(made, Made::Asked { .. });
    let command = CreateConnection { at, name, key: key.id(), made };
    let command = ConnectionsCommand::Create(command);
    let done = call.submit_sealed(command, vec![key], StatusCode::CREATED).await?;
    let location = |id: ConnectionId| Some(format!("/v1/connections/{id}"));
    shown(&call, &done, at.connection, asks.then_some(link), StatusCode::CREATED, location).await
}

impl NewConnection {
    fn scope(&self, call: &Call, environment: EnvironmentId) -> Result<Scope, Problem> {
        let Some(customer) = self.customer else { return Ok(Scope::Environment(environment)) };
        let is_reached = call.organization.grants.reaches(customer);
        if !is_reached || call.settings().customers.get(customer).is_none() {
            return Err(Problem::invalid_field("/customer", "unknown", "there is no such customer"));
        }
        Ok(Scope::Customer(environment, customer))
    }

    /// The credential that it comes with, where its kind has one.
    fn credential(&self) -> Result<Option<Credential>, Problem> {
        let of = Credential::of(self.token.as_ref(), self.username.as_ref(), self.password.as_ref())?;
        let refused = |pointer, message| Err(Problem::invalid_field(pointer, "not_allowed", message));
        match (self.kind.unwrap_or(Kind::Oauth), of) {
            (Kind::Oauth, None) => Ok(None),
            (Kind::Oauth, Some(_)) => refused("/kind", "somebody consents to one of kind `oauth`"),
            (Kind::Token, None) => Err(Problem::invalid_field("/token", "missing", "this kind has a token")),
            (Kind::Basic, None) => {
                Err(Problem::invalid_field("/username", "missing", "this kind has a name and a password"))
            }
            (kind, Some(_)) if kind == Kind::Token && self.token.is_none() => {
                refused("/username", "this kind has a token")
            }
            (kind, Some(_)) if kind == Kind::Basic && self.token.is_some() => {
                refused("/token", "this kind has a name and a password")
            }
            (Kind::Token | Kind::Basic, Some(_))
                if self.oauth_app.is_some() || self.provider.is_some() || self.scopes.is_some() =>
            {
                refused("/kind", "nobody is asked to consent to this kind")
            }
            (Kind::Token | Kind::Basic, of) => Ok(of),
        }
    }

    /// As whom people are asked, for what, and the name that it has then.
    fn asked(&self, call: &Call) -> Result<(AppRef, Vec<String>, Slug), Problem> {
        let (app, scopes, provider) = match (self.oauth_app, &self.provider) {
            (Some(id), None) => {
                let app = call.settings().oauth_apps.get(id).ok_or_else(|| unknown("/oauth_app"))?;
                (AppRef::Own(id), app.scopes.clone(), app.provider.clone())
            }
            (None, Some(provider)) => self.of_provider(call, provider.as_str())?,
            (None, None) => {
                let message = "name the app that people are asked as, or a provider";
                return Err(Problem::invalid_field("/oauth_app", "missing", message));
            }
            (Some(_), Some(_)) => {
                let message = "name an app or a provider, not both";
                return Err(Problem::invalid_field("/provider", "not_allowed", message));
            }
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => Slug::try_from(provider.as_str()).map_err(|_| Problem::internal())?,
        };
        let scopes = self.scopes.as_ref().map_or(scopes, Scopes::to_texts);
        Ok((app, scopes, name))
    }

    /// The organization's only app of a provider, or else the operator's.
    fn of_provider(&self, call: &Call, provider: &str) -> Result<(AppRef, Vec<String>, String), Problem> {
        let mut own = call.settings().oauth_apps.iter().filter(|app| app.provider == provider);
        match (own.next(), own.next()) {
            (Some(app), None) => Ok((AppRef::Own(app.id), app.scopes.clone(), app.provider.clone())),
            (Some(_), Some(_)) => {
                let message = "there are several apps of this provider: name one of them";
                Err(Problem::invalid_field("/provider", "ambiguous", message))
            }
            (None, _) => {
                let platform = call.app.store.platform().view();
                let managed = platform.platform().managed_apps.get(provider);
                let managed = managed.ok_or_else(|| unknown("/provider"))?;
                Ok((AppRef::Managed(provider.to_owned()), managed.scopes.clone(), provider.to_owned()))
            }
        }
    }
}

fn unknown(pointer: &'static str) -> Problem {
    Problem::invalid_field(pointer, "unknown", "there is no such OAuth app")
}

/// Asks somebody to consent again, by a new link; what there is stays until they do.
#[utoipa::path(post, path = "/v1/connections/{con}/reconnect", tag = "oauth", params(("con" = ConnectionId, Path)),
    responses((status = 200, body = LinkedBody), (status = "4XX", body = ProblemBody)))]
pub async fn reconnect(
    AtConnection { call, connection }: AtConnection,
    _: NoParameters,
) -> Result<Response, Problem> {
    let NoFields {} = call.body().parse()?;
    let link = NewLink::draw(&call);
    let command = Reconnect { at: At::from(&connection), link: link.link };
    let done = call.submit(ConnectionsCommand::Reconnect(command), StatusCode::OK).await?;
    shown(&call, &done, connection.id, Some(link), StatusCode::OK, |_| None).await
}

/// Refreshes the access token now; whoever asks while that is under way waits for the same, and whoever asks right after it
/// has what came of it. That somebody asked is recorded. 503 `refresh_under_way` after 15 seconds: it goes on all the same.
#[utoipa::path(post, path = "/v1/connections/{con}/refresh", tag = "oauth", params(("con" = ConnectionId, Path)),
    responses((status = 200, body = ConnectionBody), (status = "4XX", body = ProblemBody)))]
pub async fn refresh(
    AtConnection { call, connection }: AtConnection,
    _: NoParameters,
) -> Result<Response, Problem> {
    let NoFields {} = call.body().parse()?;
    let command = ConnectionsCommand::Refresh(At::from(&connection));
    let done = call.submit(command, StatusCode::OK).await?;
    let (refresher, handle) = (&call.app.refresher, &call.organization.handle);
    let refreshed = async {
        if done.events > 0 && done.replay.is_none() {
            refresher.refresh(handle, connection.id).await;
        } else {
            refresher.join(handle, connection.id).await;
        }
    };
    tokio::select! {
        () = refreshed => {}
        () = call.app.store.clock().sleep(REFRESH_WAIT) => {
            return Err(Problem::unavailable("refresh_under_way", REFRESH_AGAIN_SECONDS));
        }
    }
    // What came of it, also for whoever asks again.
    let done = Done { view: handle.view(), ..done };
    answer(&call, &done, connection.id)
}

/// The answer with a link; that of a repeated request has none to show.
async fn shown(
    call: &Call,
    done: &Done,
    id: ConnectionId,
    link: Option<NewLink>,
    status: StatusCode,
    location: impl FnOnce(ConnectionId) -> Option<String>,
) -> Result<Response, Problem> {
    if let (Some(replay), Some(_)) = (done.replay, &link) {
        let (store, organization) = (call.app.store.clone(), call.organization.clone());
        let read =
            move || store.recorded(&organization.handle, &organization.handle.view(), &[replay.version]);
        let first = read_history(read).await?.pop().ok_or_else(Problem::internal)?;
        let detail = "the link was in the first answer, and cannot be shown again; ask for another one";
        return Err(Problem::conflict("one_time_value_spent", detail).with("id", first.resource.id));
    }
    let connections = &done.view.organization().connections;
    // A replay shows the connection that the first request made, which has another id.
    let made = connections
        .get(id)
        .or_else(|| connections.iter().find(|connection| connection.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let body = LinkedBody {
        connection: ConnectionBody::new(made, call.app.store.clock().credible_now()),
        connect_url: link.as_ref().map(|link| connect_url(&call.app.policy.public_url, &link.token)),
        expires_at: link.as_ref().map(|link| link.link.ends_at),
    };
    Ok(call.done(done, status, made.version, location(made.id), &body))
}
