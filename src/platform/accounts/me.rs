//! `/v1/me`: the caller's own account over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::{Actor, ActorId};
use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::caller::{Scope, SessionCaller};
use crate::http::client::Peer;
use crate::http::conditional::etag;
use crate::http::headers::{SETTLED_VERSION, mark_replayed, version_value};
use crate::http::input::RawBody;
use crate::http::patch::not_null;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::NoParameters;
use crate::http::rate_limit::OWN_CHANGES;
use crate::ids::UserId;
use crate::platform::accounts;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::credentials::ChangePassword;
use crate::platform::accounts::http::{SecretText, check_password};
use crate::platform::accounts::own::OwnRequest;
use crate::platform::accounts::projection::Account;
use crate::platform::foundings::http::OrganizationName;
use crate::seal::Plain;
use crate::settings::people;
use crate::settings::people::command::{PeopleCommand, UpdatePerson};
use crate::settings::roles::access::grants;
use crate::settings::roles::http::{RoleName, roles_of};
use crate::settings::roles::permission::Permission;
use crate::store::Replay;
use crate::store::resident::{Handle, View};
use crate::text::Name;

/// A person as shown to themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = Person)]
pub struct PersonBody {
    /// The person; null for an account outside any organization.
    pub id: Option<UserId>,
    /// Their name.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When they last changed.
    pub updated_at: Timestamp,
    /// The stream version of their last change; null for an account outside any organization.
    pub version: Option<Version>,
}

impl PersonBody {
    /// Of an account outside any organization, to whoever has it.
    ///
    /// # Errors
    /// When it was deleted just now, or its key is not to be had.
    pub fn of_account(app: &App, account: &Account) -> Result<Self, Problem> {
        let ring = app.store.ring();
        let opened = app.store.platform().open_of_account(account.id, || {
            Ok((accounts::open_name(account, ring)?, accounts::open_email(account, ring)?))
        });
        let (name, email) = opened?.ok_or_else(Problem::unauthenticated)?;
        Ok(Self {
            id: None,
            name: text(&name)?,
            email: text(&email)?,
            created_at: account.created_at,
            updated_at: account.created_at,
            version: None,
        })
    }
}

/// A person of an organization, to themselves.
///
/// # Errors
/// When they are not there, or were erased just now and nobody is logged in as them any more, or their key is not to be had.
pub fn person_body(app: &App, handle: &Handle, view: &View, person: UserId) -> Result<PersonBody, Problem> {
    let ring = app.store.ring();
    let person = view.organization().people.get(person).ok_or_else(Problem::not_found)?;
    let opened = handle.open_of_person(person.id, || {
        Ok((people::open_name(view.stream, person, ring)?, people::open_email(view.stream, person, ring)?))
    });
    let (name, email) = opened?.ok_or_else(Problem::unauthenticated)?;
    Ok(PersonBody {
        id: Some(person.id),
        name: text(&name)?,
        email: text(&email)?,
        created_at: person.created_at,
        updated_at: person.updated_at,
        version: Some(person.version),
    })
}

fn text(plain: &Plain) -> Result<String, Problem> {
    plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal())
}

/// What a person may do.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Permissions)]
pub struct PermissionsBody {
    /// In the whole organization.
    #[schema(value_type = Vec<String>)]
    pub organization: Vec<Permission>,
    /// In single environments, beyond that.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub environments: BTreeMap<String, Vec<Permission>>,
}

/// The caller.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub struct MeBody {
    /// Who.
    pub person: PersonBody,
    /// Where; null for a session without an organization.
    pub organization: Option<OrganizationName>,
    /// The caller's roles in the whole organization.
    pub roles: Vec<RoleName>,
    /// What the caller may do.
    pub permissions: PermissionsBody,
}

/// What changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MePatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
}

/// The old password and the new one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present password.
    current: SecretText,
    /// The new password: 12 to 256 bytes, and not a common one.
    new: SecretText,
}

/// The caller: who, where, and what they may do.
#[utoipa::path(get, path = "/v1/me", tag = "account", responses(
    (status = 200, body = MeBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(
    State(app): State<App>,
    caller: SessionCaller,
    _: NoParameters,
) -> Result<Response, Problem> {
    shown(&app, &caller)
}

fn shown(app: &App, caller: &SessionCaller) -> Result<Response, Problem> {
    match &caller.scope {
        Scope::Organization(scope) => in_organization(app, caller.actor, &scope.handle, &scope.view),
        Scope::None => Ok(Json(without_organization(app, caller)?).into_response()),
    }
}

fn in_organization(app: &App, actor: Actor, handle: &Handle, view: &View) -> Result<Response, Problem> {
    let ActorId::Person(id) = actor.id else { return Err(Problem::unauthenticated()) };
    let person = person_body(app, handle, view, id)?;
    let version = person.version.unwrap_or_default();
    let grants = grants(view.organization(), actor.id);
    let body = MeBody {
        person,
        organization: Some(OrganizationName::of(view.organization())?),
        roles: roles_of(view.organization(), actor.id),
        permissions: PermissionsBody {
            organization: grants.organization.iter().collect(),
            environments: grants
                .environments
                .iter()
                .map(|(environment, permissions)| (environment.to_string(), permissions.iter().collect()))
                .collect(),
        },
    };
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(app.store.epoch(), version));
    headers.insert(SETTLED_VERSION, version_value(view.version()));
    Ok(response)
}

fn without_organization(app: &App, caller: &SessionCaller) -> Result<MeBody, Problem> {
    let platform = app.store.platform().view();
    let account = platform.platform().accounts.get(caller.account).ok_or_else(Problem::unauthenticated)?;
    Ok(MeBody {
        person: PersonBody::of_account(app, account)?,
        organization: None,
        roles: Vec::new(),
        permissions: PermissionsBody::default(),
    })
}

/// Changes the caller's own name in the organization.
#[utoipa::path(patch, path = "/v1/me", tag = "account", request_body = MePatch, responses(
    (status = 200, body = MeBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let patch: MePatch = call.body().parse()?;
    let scope = &call.organization;
    let actor = call.caller.actor;
    app.rate_limits.count(actor.id, OWN_CHANGES, app.store.clock().boot_elapsed()).check()?;
    let ActorId::Person(id) = actor.id else { return Err(Problem::unauthenticated()) };
    let person = call.settings().people.get(id).ok_or_else(Problem::not_found)?;
    let stream = scope.handle.stream();
    let key =
        scope.handle.open_of_person(id, || app.store.ring().data_key(stream, person.key, person.commitment));
    let key = key?.ok_or_else(Problem::unauthenticated)?;
    let field = id.to_string();
    let command = UpdatePerson {
        person: id,
        name: patch
            .name
            .map(|name| key.seal(&people::name_field(stream, &field), &Plain::from(name.as_str()))),
    };
    let done = call.submit(PeopleCommand::Update(command), StatusCode::OK).await?;
    let mut response = in_organization(&app, actor, &scope.handle, &done.view)?;
    mark_replay(&mut response, done.replay);
    Ok(response)
}

/// Changes the caller's password; every other session of the account ends.
#[utoipa::path(post, path = "/v1/me/password", tag = "account", request_body = PasswordChange, responses(
    (status = 200, body = MeBody), (status = "4XX", body = ProblemBody)))]
pub async fn change_password(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    caller: SessionCaller,
    _: NoParameters,
    body: RawBody,
) -> Result<Response, Problem> {
    let request: PasswordChange = body.parse()?;
    check_password("/new", &request.new.0)?;
    let own = OwnRequest::of(&app, &caller)?;
    let own = own.posted(&headers, "/v1/me/password", &body, StatusCode::OK)?;
    if let Some(replay) = own.verify((peer, &headers), "/current", request.current).await? {
        return password_changed(&app, &caller, Some(replay));
    }
    let hash = app.passwords.hash(request.new.0).await?;
    let account = &own.account;
    let command = AccountsCommand::ChangePassword(ChangePassword {
        account: account.id,
        password: own.key.seal(&accounts::password_field(&account.id.to_string()), &hash),
        verified_generation: account.generation,
        spares: Some(caller.session.id),
    });
    let done = own.submit(own.submission(command)).await?;
    password_changed(&app, &caller, done.replay)
}

/// The caller as of now: a changed password shows in nothing that is answered.
fn password_changed(app: &App, caller: &SessionCaller, replay: Option<Replay>) -> Result<Response, Problem> {
    let mut response = shown(app, caller)?;
    mark_replay(&mut response, replay);
    Ok(response)
}

fn mark_replay(response: &mut Response, replay: Option<Replay>) {
    if replay.is_some() {
        mark_replayed(response.headers_mut());
    }
}
