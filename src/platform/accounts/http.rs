//! `/v1/auth/*`: sessions opened and closed over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::{Actor, ActorId};
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use crate::http::app::App;
use crate::http::caller::SessionCaller;
use crate::http::client::{Origin, Peer, client_address};
use crate::http::headers::reason;
use crate::http::input::{Nothing, RawBody};
use crate::http::patch::Patch;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::rate_limit::OWN_CHANGES;
use crate::ids::{AccountId, OrganizationId, UserId};
use crate::password;
use crate::platform::accounts;
use crate::platform::accounts::attempt::Attempt;
use crate::platform::accounts::email::{EmailAddress, folded};
use crate::platform::accounts::login::{self, Opened, Target};
use crate::platform::accounts::me::{PersonBody, person_body};
use crate::platform::accounts::projection::Account;
use crate::platform::foundings::http::OrganizationName;
use crate::seal::Plain;
use crate::settings::sessions;
use crate::settings::sessions::command::{CloseSession, Closing};
use crate::store::denials::RecordRefused;
use crate::store::resident::Handle;
use crate::store::strangers::Stranger;

/// Text that is secret: at most 256 bytes, zeroed when dropped, and shown by nothing.
pub struct SecretText(pub Plain);

/// The longest password in bytes; hashing a longer one would only cost time.
const SECRET_MAX_BYTES: usize = 256;

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = Plain::from(text);
        if plain.as_bytes().len() > SECRET_MAX_BYTES {
            return Err(serde::de::Error::custom("too long: must have at most 256 bytes"));
        }
        Ok(Self(plain))
    }
}

impl utoipa::PartialSchema for SecretText {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .max_length(Some(SECRET_MAX_BYTES))
            .write_only(true)
            .into()
    }
}

impl ToSchema for SecretText {}

/// An address and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    email: EmailAddress,
    password: SecretText,
    /// Which organization; null for none. Needed where there are several.
    #[serde(default)]
    #[schema(value_type = Option<OrganizationId>)]
    organization: Patch<OrganizationId>,
}

/// Where to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    organization: OrganizationId,
}

/// A session just opened.
#[derive(Serialize, ToSchema)]
#[schema(as = Login)]
pub struct LoginBody {
    /// The session's token, shown only here: send it as `Authorization: Bearer`.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// Who logged in.
    pub person: PersonBody,
    /// Where; null for a session without an organization.
    pub organization: Option<OrganizationName>,
}

/// Refuses a password that is too short, too long or too common.
pub fn check_password(pointer: &'static str, password: &Plain) -> Result<(), Problem> {
    password::check_new(password)
        .map_err(|weak| Problem::invalid_field(pointer, "weak_password", weak.to_string()))
}

/// Logs in.
#[utoipa::path(post, path = "/v1/auth/login", tag = "account", request_body = LoginRequest, responses(
    (status = 200, body = LoginBody), (status = "4XX", body = ProblemBody)))]
pub async fn log_in(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: LoginRequest = body.parse()?;
    let ip = client_address(peer, &headers, &app.policy.trusted_proxies);
    let typed = folded(request.email.as_str());
    let attempt = Attempt::begin(&app, typed, ip)?;
    let organization = request.organization.into_option();
    let account = attempt.looked_at(verify(&app, &request.email, request.password)).await?;
    let chosen = match &account {
        Some(account) => Some(choose(&app, account, organization).await),
        None => None,
    };
    let target = match chosen {
        Some(Ok(target)) => target,
        Some(Err(problem)) if problem.status().is_server_error() => return Err(problem),
        // The password was right, so the address may begin anew: only the organization is still open.
        Some(Err(problem)) if problem.status() == StatusCode::CONFLICT => {
            attempt.succeeded();
            return Err(problem);
        }
        Some(Err(_)) | None => {
            record_failed_login(&app, &request.email, organization.flatten());
            return Err(login_failed());
        }
    };
    attempt.succeeded();
    let account = account.ok_or_else(login_failed)?;
    let opened = login::open(&app, &account, &target, &Origin::of(&headers, ip), None).await?;
    Ok(Json(login_body(&app, &account, &target, &opened)?).into_response())
}

/// The same for every cause.
fn login_failed() -> Problem {
    Problem::unauthenticated_because("login_failed", "address, password or organization are wrong")
}

/// The account of an address whose password was typed; slowed down as a login is.
///
/// # Errors
/// 401, the same for every cause; 429.
pub async fn verified(
    app: &App,
    email: &EmailAddress,
    password: SecretText,
    ip: Option<IpAddr>,
) -> Result<Account, Problem> {
    let attempt = Attempt::begin(app, folded(email.as_str()), ip)?;
    let account = attempt.looked_at(verify(app, email, password)).await?.ok_or_else(login_failed)?;
    attempt.succeeded();
    Ok(account)
}

/// The account of an address, if the password is its own. Takes the same time for every cause of failure.
async fn verify(app: &App, email: &EmailAddress, password: SecretText) -> Result<Option<Account>, Problem> {
    let account = find(app, email);
    let opened = account.map(|account| {
        let open = || accounts::open_password(&account, app.store.ring());
        let phc = app.store.platform().open_of_account(account.id, open)?;
        Ok::<_, Problem>(phc.map(|phc| (account.clone(), phc)))
    });
    let Some((account, phc)) = opened.transpose()?.flatten() else {
        app.passwords.verify_nobody(password.0).await?;
        return Ok(None);
    };
    let right = app.passwords.verify(password.0, phc).await?;
    Ok(right.then_some(account))
}

/// The account with an address.
pub fn find(app: &App, email: &EmailAddress) -> Option<Account> {
    let view = app.store.platform().view();
    let owner = view.lookup.owner(app.store.hasher().email(email.as_str()))?;
    view.platform().accounts.get(owner.parse().ok()?).cloned()
}

/// An account that a session belongs to.
///
/// # Errors
/// 401 if it is not there.
pub fn account_of(app: &App, id: AccountId) -> Result<Account, Problem> {
    app.store.platform().view().platform().accounts.get(id).cloned().ok_or_else(Problem::unauthenticated)
}

/// Where a login leads. `None` asks for the only organization, `Some(None)` for none.
async fn choose(
    app: &App,
    account: &Account,
    organization: Option<Option<OrganizationId>>,
) -> Result<Target, Problem> {
    let memberships = login::memberships(app, account).await?;
    match organization {
        Some(None) => Ok(Target::Account),
        Some(Some(wanted)) => memberships
            .into_iter()
            .find(|(id, ..)| *id == wanted)
            .map(|(_, handle, person)| Target::Organization(handle, person))
            .ok_or_else(login_failed),
        None if memberships.len() > 1 => {
            let names = memberships
                .iter()
                .map(|(_, handle, _)| OrganizationName::of(handle.view().organization()))
                .collect::<Result<Vec<_>, _>>()?;
            let names = serde_json::to_value(names).map_err(|_| Problem::internal())?;
            let problem =
                Problem::conflict("organization_selection_required", "name one of your organizations");
            Err(problem.with("organizations", names))
        }
        None => Ok(match memberships.into_iter().next() {
            Some((_, handle, person)) => Target::Organization(handle, person),
            None => Target::Account,
        }),
    }
}

/// What is answered to whoever was logged in.
///
/// # Errors
/// When something of it is not to be had.
pub fn login_body(
    app: &App,
    account: &Account,
    target: &Target,
    opened: &Opened,
) -> Result<LoginBody, Problem> {
    let (person, organization) = match target {
        Target::Organization(handle, person) => (
            person_body(app, handle, &opened.view, *person)?,
            Some(OrganizationName::of(opened.view.organization())?),
        ),
        Target::Account => (PersonBody::of_account(app, account)?, None),
    };
    Ok(LoginBody {
        token: opened.token.expose().to_owned(),
        expires_at: opened.expires_at,
        person,
        organization,
    })
}

/// Records a failed login after the answer: waiting for it would tell known addresses by their time. A person's
/// failures stand in the named organization's stream, else in each of theirs; nobody's are counted.
fn record_failed_login(app: &App, email: &EmailAddress, organization: Option<OrganizationId>) {
    let (app, email) = (app.clone(), email.clone());
    tokio::spawn(async move {
        let places = places_of_failure(&app, &email, organization).await;
        if places.is_empty() {
            app.store.count_stranger(Stranger::UnknownLogin);
        }
        for (handle, person) in places {
            let fact = RecordRefused {
                resource: Resource::new(ResourceType::Person, person),
                related: Vec::new(),
                outcome: Outcome::Failure,
                refused: Refused {
                    action: "auth.login".to_owned(),
                    data: RefusedData {
                        cause: Some("wrong_credentials".to_owned()),
                        ..RefusedData::default()
                    },
                },
                count: None,
            };
            app.store.record_failure(&handle, Actor::SYSTEM, fact).await;
        }
    });
}

/// Where a failed login is recorded, and whose it is there; nowhere if it is nobody's.
async fn places_of_failure(
    app: &App,
    email: &EmailAddress,
    organization: Option<OrganizationId>,
) -> Vec<(Arc<Handle>, UserId)> {
    let memberships = match find(app, email) {
        Some(account) => login::memberships(app, &account).await.unwrap_or_else(|error| {
            tracing::error!(error = with_causes(&error), "a failed login is recorded nowhere");
            Vec::new()
        }),
        None => Vec::new(),
    };
    // Naming an organization that one is not in hides nothing: then it is each of the person's.
    let named = organization.filter(|wanted| memberships.iter().any(|(id, ..)| id == wanted));
    memberships
        .into_iter()
        .filter(|(id, ..)| named.is_none_or(|wanted| wanted == *id))
        .map(|(_, handle, person)| (handle, person))
        .collect()
}

/// Ends the session of the request.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "account", responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn log_out(
    State(app): State<App>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let Nothing {} = body.parse()?;
    close(&app, &caller, &headers, Closing::Logout).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Closes the session of the request; whether it was open.
async fn close(
    app: &App,
    caller: &SessionCaller,
    headers: &HeaderMap,
    how: Closing,
) -> Result<bool, Problem> {
    sessions::http::end(app, caller, headers, CloseSession { session: caller.session.id, how }).await
}

/// Goes to another organization of the caller: a new session there, and the old one ends.
#[utoipa::path(post, path = "/v1/auth/switch", tag = "account", request_body = SwitchRequest, responses(
    (status = 200, body = LoginBody), (status = "4XX", body = ProblemBody)))]
pub async fn switch(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: SwitchRequest = body.parse()?;
    let account = account_of(&app, caller.account)?;
    let (actor, now) = (ActorId::Account(account.id), app.store.clock().boot_elapsed());
    app.rate_limits.count(actor, OWN_CHANGES, now).check()?;
    let (_, handle, person) = login::memberships(&app, &account)
        .await?
        .into_iter()
        .find(|(id, ..)| *id == request.organization)
        .ok_or_else(Problem::not_found)?;
    let target = Target::Organization(handle, person);
    let origin = Origin::of(&headers, client_address(peer, &headers, &app.policy.trusted_proxies));
    reason(&headers)?;
    // The new session first: if we die before the old one is closed, nobody holds the new token.
    let since = caller.session.since;
    let opened = login::open(&app, &account, &target, &origin, Some(since)).await?;
    if !close(&app, &caller, &headers, Closing::Switch).await? {
        // Another request has ended the session in the meantime: one session makes at most one new one.
        login::withdraw(&app, &target, &account, &opened).await?;
        return Err(Problem::unauthenticated());
    }
    Ok(Json(login_body(&app, &account, &target, &opened)?).into_response())
}
