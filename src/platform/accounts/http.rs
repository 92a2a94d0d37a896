//! `/v1/setup` and `/v1/auth/*`: the first account, and sessions opened and closed over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use crate::http::app::App;
use crate::http::caller::Caller;
use crate::http::client::{Peer, client_address};
use crate::http::headers::reason;
use crate::http::input::RawBody;
use crate::http::patch::Patch;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::http::rejection;
use crate::http::request_id::RequestId;
use crate::ids::{AccountId, Fresh, OrganizationId};
use crate::password;
use crate::platform::accounts;
use crate::platform::accounts::email::EmailAddress;
use crate::platform::accounts::event::SignedUp;
use crate::platform::accounts::login::{self, Opened, Origin, Target};
use crate::platform::accounts::me::{OrganizationName, PersonBody, person_body};
use crate::platform::accounts::projection::Account;
use crate::platform::foundings;
use crate::platform::foundings::command::{FoundingsCommand, SetUp};
use crate::platform::foundings::event::FoundingOpened;
use crate::seal::Plain;
use crate::settings::general::value::Timezone;
use crate::settings::sessions;
use crate::settings::sessions::command::{CloseSession, Closing};
use crate::store::Submission;
use crate::store::lookup::Claim;
use crate::store::refusals::RecordRefusal;
use crate::store::resident::Handle;
use crate::text::Name;

/// The first account and its organization.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpRequest {
    /// What stands in `DIR/setup-token`.
    setup_token: Secret,
    /// The organization to found.
    organization: NewOrganization,
    /// Its Owner.
    person: NewPerson,
}

/// An organization to found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganization {
    /// Its name.
    pub name: Name,
    /// Its IANA time zone name.
    pub timezone: Timezone,
}

/// A person with an account to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    email: EmailAddress,
    name: Name,
    password: Secret,
}

/// Text that is secret: at most 256 bytes, zeroed when dropped, and shown by nothing.
pub struct Secret(pub Plain);

/// The longest password in bytes; hashing a longer one would only cost time.
const SECRET_MAX_BYTES: usize = 256;

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = Plain::from(text);
        if plain.as_bytes().len() > SECRET_MAX_BYTES {
            return Err(serde::de::Error::custom("too long: must have at most 256 bytes"));
        }
        Ok(Self(plain))
    }
}

impl utoipa::PartialSchema for Secret {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .max_length(Some(SECRET_MAX_BYTES))
            .write_only(true)
            .into()
    }
}

impl ToSchema for Secret {}

/// An address and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    email: EmailAddress,
    password: Secret,
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

/// A session's token.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionToken)]
pub struct SessionTokenBody {
    /// Shown only here.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
}

/// What the set-up made.
#[derive(Serialize, ToSchema)]
#[schema(as = SetUp)]
pub struct SetUpBody {
    /// The organization.
    pub organization: OrganizationName,
    /// Its Owner.
    pub person: PersonBody,
    /// The Owner's session.
    pub session: SessionTokenBody,
}

/// Sets the server up: the first account, its organization, and a session. Works once, with the one-time token.
#[utoipa::path(post, path = "/v1/setup", tag = "account", request_body = SetUpRequest, responses(
    (status = 201, body = SetUpBody), (status = "4XX", body = ProblemBody)))]
pub async fn set_up(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: RawQuery,
    body: RawBody,
) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let request: SetUpRequest = body.parse()?;
    if app.store.platform().view().platform().foundings.any_ever() {
        return Err(Problem::conflict("already_set_up", "the server is already set up"));
    }
    check_setup_token(&app, &request.setup_token)?;
    check_password("/person/password", &request.person.password.0)?;
    let hash =
        app.passwords.hash(request.person.password.0).await.map_err(|error| rejection::hashing(&error))?;

    let account: AccountId = Fresh.id();
    let founding_for = prepare_set_up(
        &app,
        account,
        &request.person.email,
        &request.person.name,
        &hash,
        &request.organization,
    );
    let (command, key, founding) = founding_for.await?;
    let mut submission = Submission::new(FoundingsCommand::SetUp(command), Actor::SYSTEM);
    submission.request_id = RequestId::to_record();
    submission.keys = vec![key];
    submission.claims = vec![Claim {
        key: app.store.hasher().email(request.person.email.as_str()),
        owner: account.to_string(),
    }];
    app.store
        .execute(app.store.platform(), submission)
        .await
        .map_err(|refusal| rejection::problem(&refusal))?;
    // From here on a crash leaves an open founding, which the next start finishes.
    let handle = app
        .store
        .finish_founding_detached(founding.clone())
        .await
        .map_err(|error| rejection::unfinished(&error))?;
    remove_setup_token(&app);

    let account = account_of(&app, account)?;
    let target = Target::Organization(handle, founding.person);
    let origin = Origin::of(&headers, client_address(peer, &headers, &app.policy.trusted_proxies));
    let opened = login::open(&app, &account, &target, &origin, None).await?;
    let body = SetUpBody {
        organization: OrganizationName::of(opened.view.organization())?,
        person: person_body(&app, &opened.view, founding.person)?,
        session: SessionTokenBody { token: opened.token.expose().to_owned(), expires_at: opened.expires_at },
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn prepare_set_up(
    app: &App,
    account: AccountId,
    email: &EmailAddress,
    name: &Name,
    hash: &Plain,
    organization: &NewOrganization,
) -> Result<(SetUp, crate::seal::keyring::NewDataKey, FoundingOpened), Problem> {
    let store = app.store.clone();
    let key = tokio::task::spawn_blocking(move || store.ring().mint(crate::ids::StreamId::Platform))
        .await
        .map_err(|_| Problem::internal())?
        .map_err(|error| rejection::unopened(&error))?;
    let id = account.to_string();
    let signed_up = SignedUp {
        account,
        key: key.id(),
        email: key.key().seal(&accounts::email_field(&id), &Plain::from(email.as_str())),
        name: key.key().seal(&accounts::name_field(&id), &Plain::from(name.as_str())),
        password: key.key().seal(&accounts::password_field(&id), hash),
    };
    let founding = founding(account, key.key(), organization);
    Ok((SetUp { account: signed_up, founding: founding.clone() }, key, founding))
}

/// The intent to found an organization, sealed under its founder's account key.
pub fn founding(
    account: AccountId,
    key: &crate::seal::DataKey,
    organization: &NewOrganization,
) -> FoundingOpened {
    let id: OrganizationId = Fresh.id();
    FoundingOpened {
        organization: id,
        account,
        person: Fresh.id(),
        name: key.seal(&foundings::name_field(&id.to_string()), &Plain::from(organization.name.as_str())),
        timezone: organization.timezone.to_string(),
    }
}

fn check_setup_token(app: &App, presented: &Secret) -> Result<(), Problem> {
    let refused =
        || Problem::refused("invalid_setup_token", "the token is not the one in the data directory");
    let expected = std::fs::read_to_string(&app.policy.setup_token).map_err(|_| refused())?;
    let expected = Plain::from(expected.trim());
    let same: bool = expected.as_bytes().ct_eq(presented.0.as_bytes()).into();
    if same { Ok(()) } else { Err(refused()) }
}

fn remove_setup_token(app: &App) {
    if let Err(error) = std::fs::remove_file(&app.policy.setup_token) {
        tracing::warn!(%error, "the used set-up token could not be removed; it is void all the same");
    }
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
    query: RawQuery,
    body: RawBody,
) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let request: LoginRequest = body.parse()?;
    let ip = client_address(peer, &headers, &app.policy.trusted_proxies);
    let typed = request.email.as_str().to_lowercase();
    app.throttle.attempt(&typed, ip, app.store.clock().now()).map_err(|throttled| {
        app.store.metrics().login_throttled();
        Problem::too_many_requests(throttled.retry_after_seconds)
    })?;
    let organization = request.organization.into_option();
    let verified = verify(&app, &request.email, request.password).await;
    let account = verified.inspect_err(|_| app.throttle.withdrawn(&typed, ip))?;
    let target = match account.as_ref().map(|account| choose(&app, account, organization)) {
        Some(Ok(target)) => target,
        // The password was right, so the address may begin anew: only the organization is still open.
        Some(Err(problem)) if problem.status() == StatusCode::CONFLICT => {
            app.throttle.succeeded(&typed, ip, app.store.clock().now());
            return Err(problem);
        }
        Some(Err(_)) | None => {
            record_failed_login(&app, &request.email, organization.flatten());
            return Err(login_failed());
        }
    };
    app.throttle.succeeded(&typed, ip, app.store.clock().now());
    let account = account.ok_or_else(login_failed)?;
    let opened = login::open(&app, &account, &target, &Origin::of(&headers, ip), None).await?;
    Ok(Json(login_body(&app, &account, &target, &opened)?).into_response())
}

/// The same for every cause.
fn login_failed() -> Problem {
    Problem::unauthenticated_because("login_failed", "address, password or organization are wrong")
}

/// The account of an address, if the password is its own. Takes the same time for every cause of failure.
async fn verify(app: &App, email: &EmailAddress, password: Secret) -> Result<Option<Account>, Problem> {
    let Some(account) = find(app, email) else {
        app.passwords.verify_nobody(password.0).await.map_err(|error| rejection::hashing(&error))?;
        return Ok(None);
    };
    let phc =
        accounts::open_password(&account, app.store.ring()).map_err(|error| rejection::unopened(&error))?;
    let right = app.passwords.verify(password.0, phc).await.map_err(|error| rejection::hashing(&error))?;
    Ok(right.then_some(account))
}

fn find(app: &App, email: &EmailAddress) -> Option<Account> {
    let view = app.store.platform().view();
    let owner = view.lookup.owner(app.store.hasher().email(email.as_str()))?;
    view.platform().accounts.get(owner.parse().ok()?).cloned()
}

fn account_of(app: &App, id: AccountId) -> Result<Account, Problem> {
    app.store.platform().view().platform().accounts.get(id).cloned().ok_or_else(Problem::unauthenticated)
}

/// Where a login leads. `None` asks for the only organization, `Some(None)` for none.
fn choose(
    app: &App,
    account: &Account,
    organization: Option<Option<OrganizationId>>,
) -> Result<Target, Problem> {
    let memberships = login::memberships(app, account);
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

fn login_body(app: &App, account: &Account, target: &Target, opened: &Opened) -> Result<LoginBody, Problem> {
    let (person, organization) = match target {
        Target::Organization(_, person) => (
            person_body(app, &opened.view, *person)?,
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
/// failures stand in the named organization's stream, else in each of theirs; nobody's in the platform's.
fn record_failed_login(app: &App, email: &EmailAddress, organization: Option<OrganizationId>) {
    let (app, email) = (app.clone(), email.clone());
    tokio::spawn(async move {
        for (handle, resource, cause) in places_of_failure(&app, &email, organization) {
            let fact = RecordRefusal {
                resource,
                related: Vec::new(),
                outcome: Outcome::Failure,
                refused: Refused {
                    action: "auth.login".to_owned(),
                    data: RefusedData { permission: None, cause: Some(cause.to_owned()) },
                },
                count: None,
            };
            app.store.record_failure(&handle, Actor::SYSTEM, fact).await;
        }
    });
}

/// Where a failed login is recorded, what it is about there, and its cause.
fn places_of_failure(
    app: &App,
    email: &EmailAddress,
    organization: Option<OrganizationId>,
) -> Vec<(Arc<Handle>, Resource, &'static str)> {
    let memberships = find(app, email).map(|account| login::memberships(app, &account)).unwrap_or_default();
    // Naming an organization that one is not in hides nothing: then it is each of the person's.
    let named = organization.filter(|wanted| memberships.iter().any(|(id, ..)| id == wanted));
    let places: Vec<_> = memberships
        .into_iter()
        .filter(|(id, ..)| named.is_none_or(|wanted| wanted == *id))
        .map(|(_, handle, person)| (handle, Resource::new(ResourceType::Person, person), "wrong_credentials"))
        .collect();
    if places.is_empty() {
        let nobody = Resource::new(ResourceType::Server, "login");
        return vec![(Arc::clone(app.store.platform()), nobody, "unknown_caller")];
    }
    places
}

/// Ends the session of the request.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "account", responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn log_out(
    State(app): State<App>,
    headers: HeaderMap,
    caller: Caller,
    query: RawQuery,
    body: RawBody,
) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let Nothing {} = body.parse()?;
    close(&app, &caller, &headers, Closing::Logout).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A body without fields.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Closes the session of the request; whether it was open.
async fn close(app: &App, caller: &Caller, headers: &HeaderMap, how: Closing) -> Result<bool, Problem> {
    sessions::http::end(app, caller, headers, CloseSession { session: caller.session.id, how }).await
}

/// Goes to another organization of the caller: a new session there, and the old one ends.
#[utoipa::path(post, path = "/v1/auth/switch", tag = "account", request_body = SwitchRequest, responses(
    (status = 200, body = LoginBody), (status = "4XX", body = ProblemBody)))]
pub async fn switch(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: Caller,
    query: RawQuery,
    body: RawBody,
) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let request: SwitchRequest = body.parse()?;
    let account = account_of(&app, caller.account)?;
    let (_, handle, person) = login::memberships(&app, &account)
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
