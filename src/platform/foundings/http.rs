//! `/v1/setup` and `POST /v1/organizations`: organizations founded over HTTP, the first together with its account.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::app::App;
use crate::http::caller::SessionCaller;
use crate::http::client::{Origin, Peer, client_address};
use crate::http::headers::mark_replayed;
use crate::http::input::RawBody;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::request_id::RequestId;
use crate::ids::{AccountId, Fresh, OrganizationId};
use crate::organization::Organization;
use crate::platform::accounts;
use crate::platform::accounts::http::{SecretText, account_of, check_password};
use crate::platform::accounts::login::{self, Target};
use crate::platform::accounts::me::{PersonBody, person_body};
use crate::platform::accounts::own::OwnRequest;
use crate::platform::accounts::signup::{self, NewPerson};
use crate::platform::foundings;
use crate::platform::foundings::command::{FoundingsCommand, SetUp};
use crate::platform::foundings::event::FoundingOpened;
use crate::seal::{DataKey, Plain};
use crate::settings::general::value::Timezone;
use crate::store::Submission;
use crate::store::resident::Handle;
use crate::text::Name;

/// The first account and its organization.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpRequest {
    /// What stands in `DIR/setup-token`.
    setup_token: SecretText,
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
    name: Name,
    /// Its IANA time zone name.
    timezone: Timezone,
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

/// A session's token.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionToken)]
pub struct SessionTokenBody {
    /// Shown only here.
    pub token: String,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
}

/// An organization by id and name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrganizationName {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Its IANA time zone name.
    pub timezone: String,
}

impl OrganizationName {
    /// Of an organization's settings.
    ///
    /// # Errors
    /// 404 if it is not founded.
    pub fn of(organization: &Organization) -> Result<Self, Problem> {
        let founded = organization.general.founded().ok_or_else(Problem::not_found)?;
        Ok(Self { id: founded.organization, name: founded.name.clone(), timezone: founded.timezone.clone() })
    }
}

/// Sets the server up: the first account, its organization, and a session. Works once, with the one-time token.
#[utoipa::path(post, path = "/v1/setup", tag = "account", request_body = SetUpRequest, responses(
    (status = 201, body = SetUpBody), (status = "4XX", body = ProblemBody)))]
pub async fn set_up(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: SetUpRequest = body.parse()?;
    if app.store.platform().view().platform().foundings.any_ever() {
        return Err(Problem::conflict("already_set_up", "the server is already set up"));
    }
    check_setup_token(&app, &request.setup_token)?;
    let NewPerson { email, name, password } = request.person;
    check_password("/person/password", &password.0)?;
    let hash = app.passwords.hash(password.0).await?;

    let (signed_up, key) = signup::prepare(&app, &email, &name, &hash).await?;
    let account = signed_up.account;
    let founding = founding(account, key.key(), &request.organization);
    let command = SetUp { account: signed_up, founding: founding.clone() };
    let mut submission = Submission::new(FoundingsCommand::SetUp(command), Actor::SYSTEM);
    submission.request_id = RequestId::to_record();
    submission.keys = vec![key];
    submission.claims = vec![accounts::claim(app.store.hasher(), &Plain::from(email.as_str()), account)];
    app.store.execute(app.store.platform(), submission).await?;
    // From here on a crash leaves an open founding, which the next start finishes.
    let handle = app.store.finish_founding_detached(founding.clone()).await?;
    remove_setup_token(&app);

    let account = account_of(&app, account)?;
    let target = Target::Organization(Arc::clone(&handle), founding.person);
    let origin = Origin::of(&headers, client_address(peer, &headers, &app.policy.trusted_proxies));
    let opened = login::open(&app, &account, &target, &origin, None).await?;
    let body = SetUpBody {
        organization: OrganizationName::of(opened.view.organization())?,
        person: person_body(&app, &handle, &opened.view, founding.person)?,
        session: SessionTokenBody { token: opened.token.expose().to_owned(), expires_at: opened.expires_at },
    };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn check_setup_token(app: &App, presented: &SecretText) -> Result<(), Problem> {
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

/// Founds a further organization, whose Owner is the caller.
#[utoipa::path(post, path = "/v1/organizations", tag = "account", request_body = NewOrganization, responses(
    (status = 201, body = OrganizationName), (status = "4XX", body = ProblemBody)))]
pub async fn found(
    State(app): State<App>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let new: NewOrganization = body.parse()?;
    let own = OwnRequest::of(&app, &caller)?;
    let own = own.posted(&headers, "/v1/organizations", &body, StatusCode::CREATED)?;
    let founding = founding(own.account.id, &own.key, &new);
    let done = own.submit(own.submission(FoundingsCommand::Open(founding.clone()))).await?;
    let handle = match done.replay {
        None => app.store.finish_founding_detached(founding).await?,
        Some(replay) => {
            // The first request may be between its halves, or have been cut there.
            app.store.finish_intents_of(own.account.id).await;
            founded_at(&app, own.account.id, replay.version).await?
        }
    };
    let body = OrganizationName::of(handle.view().organization())?;
    let mut response = (StatusCode::CREATED, [(LOCATION, "/v1/general")], Json(body)).into_response();
    if done.replay.is_some() {
        mark_replayed(response.headers_mut());
    }
    Ok(response)
}

/// The organization that an account's founding at a version of the platform's stream made.
async fn founded_at(app: &App, account: AccountId, version: Version) -> Result<Arc<Handle>, Problem> {
    let store = app.store.clone();
    let past = tokio::task::spawn_blocking(move || store.as_of(store.platform(), version)).await??;
    let account = past.platform().accounts.get(account).ok_or_else(Problem::not_found)?;
    let (organization, _) = account.persons.last().ok_or_else(Problem::not_found)?;
    app.store.organization(*organization).await?.ok_or_else(Problem::not_found)
}

/// The intent to found an organization, sealed under its founder's account key.
fn founding(account: AccountId, key: &DataKey, organization: &NewOrganization) -> FoundingOpened {
    let id: OrganizationId = Fresh.id();
    FoundingOpened {
        organization: id,
        account,
        person: Fresh.id(),
        name: key.seal(&foundings::name_field(&id.to_string()), &Plain::from(organization.name.as_str())),
        timezone: organization.timezone.to_string(),
        plan: None,
    }
}
