//! `/v1/general`: the organization's own settings over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::patch::{Patch, not_null};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::OrganizationId;
use crate::seal::token::PlainToken;
use crate::settings::general::challenge_name;
use crate::settings::general::command::{GeneralCommand, UpdateOrganization};
use crate::settings::general::projection::{EmailDomainState, General};
use crate::settings::general::value::{EmailDomain, Timezone};
use crate::settings::roles::access::grantees;
use crate::settings::roles::http::{RoleName, roles_given, roles_of};
use crate::settings::roles::projection::Roles;
use crate::settings::roles::role::RoleRef;
use crate::settings::teams::projection::Teams;
use crate::store::Done;
use crate::text::Name;

/// The organization's own settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = General)]
pub struct GeneralBody {
    /// The organization.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// An IANA time zone name.
    pub timezone: String,
    /// The domain whose users may join.
    pub email_domain: Option<String>,
    /// Whether DNS proves that the domain is the organization's.
    pub email_domain_verified: bool,
    /// The DNS TXT record that proves it, or would.
    pub email_domain_challenge: Option<DomainRecord>,
    /// When the domain lapses unless DNS proves it again: set while it does not.
    pub email_domain_lapses_at: Option<Timestamp>,
    /// Whether domain users are added without a request.
    pub auto_approve_domain_users: bool,
    /// The role that a domain user gets.
    #[schema(value_type = String)]
    pub join_role: RoleRef,
    /// The first of the caller's roles.
    pub your_role: Option<RoleName>,
    /// The caller's roles in the whole organization.
    pub your_roles: Vec<RoleName>,
    /// When the organization was founded.
    pub created_at: Timestamp,
    /// When these settings last changed.
    pub updated_at: Timestamp,
    /// The stream version of their last change.
    pub version: Version,
}

/// A DNS TXT record.
#[derive(Debug, Serialize, ToSchema)]
pub struct DomainRecord {
    /// Its name.
    pub name: String,
    /// Its text.
    pub value: String,
}

impl From<&EmailDomainState> for DomainRecord {
    fn from(domain: &EmailDomainState) -> Self {
        Self { name: challenge_name(&domain.domain), value: domain.challenge.clone() }
    }
}

/// What changes; a field that is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneralPatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new IANA time zone name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    timezone: Option<Timezone>,
    /// The new domain; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<EmailDomain>)]
    email_domain: Patch<EmailDomain>,
    /// Whether domain users are added without a request.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    auto_approve_domain_users: Option<bool>,
    /// The role that a domain user gets.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Option<String>, nullable = false)]
    join_role: Option<RoleRef>,
}

/// The organization's own settings.
#[utoipa::path(get, path = "/v1/general", tag = "general", params(AsOfParameters), responses(
    (status = 200, body = GeneralBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(State(_): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = call.asked(&query).await?;
    let NoParameters {} = asked.query.parse()?;
    let general = call.seen::<General>(&asked, Focus::All).await?;
    let your_roles = match call.caller.actor.id {
        ActorId::Person(person) => {
            let roles = call.seen::<Roles>(&asked, Focus::All).await?;
            let teams = call.seen::<Teams>(&asked, Focus::All).await?;
            roles_given(&roles, grantees(&teams, person))
        }
        // A key's role never changes.
        actor => roles_of(call.organization.settings(), actor),
    };
    let (body, version) = render(&general, your_roles)?;
    Ok(call.seen_resource(&general, version, &body))
}

/// Changes the organization's own settings.
#[utoipa::path(patch, path = "/v1/general", tag = "general", request_body = GeneralPatch, responses(
    (status = 200, body = GeneralBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(State(_): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let patch: GeneralPatch = call.body().parse()?;
    let command = UpdateOrganization {
        name: patch.name,
        timezone: patch.timezone,
        email_domain: patch
            .email_domain
            .into_option()
            .map(|domain| domain.map(|domain| (domain, challenge()))),
        auto_approve_domain_users: patch.auto_approve_domain_users,
        join_role: patch.join_role,
    };
    let done = call.submit(GeneralCommand::Update(command), StatusCode::OK).await?;
    changed(&call, &done)
}

/// The answer to a command that has changed the settings.
pub(super) fn changed(call: &Call, done: &Done) -> Result<Response, Problem> {
    let organization = done.view.organization();
    let your_roles = roles_of(organization, call.caller.actor.id);
    let (body, version) = render(&organization.general, your_roles)?;
    Ok(call.done(done, StatusCode::OK, version, None, &body))
}

/// What a DNS TXT record has to say: random, so that nobody can publish it in advance.
fn challenge() -> String {
    format!("settled-verification={}", PlainToken::draw().expose())
}

fn render(general: &General, your_roles: Vec<RoleName>) -> Result<(GeneralBody, Version), Problem> {
    let general = general.founded().ok_or_else(Problem::not_found)?;
    let domain = general.email_domain.as_ref();
    let body = GeneralBody {
        id: general.organization,
        name: general.name.clone(),
        timezone: general.timezone.clone(),
        email_domain: domain.map(|domain| domain.domain.clone()),
        email_domain_verified: domain.is_some_and(EmailDomainState::is_verified),
        email_domain_challenge: domain.map(DomainRecord::from),
        email_domain_lapses_at: domain.and_then(|domain| domain.lapses_at),
        auto_approve_domain_users: general.auto_approve_domain_users,
        join_role: general.join_role,
        your_role: your_roles.first().cloned(),
        your_roles,
        created_at: general.created_at,
        updated_at: general.updated_at,
        version: general.version,
    };
    Ok((body, general.version))
}
