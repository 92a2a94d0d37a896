//! `/v1/roles`: system and custom roles over HTTP, and the matrix of what each allows. Who has them is in
//! `assignments.rs` beside this.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
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
use crate::http::page::{After, Page, PageParameters};
use crate::http::patch::{Patch, not_null};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::Fresh;
use crate::organization::Organization;
use crate::settings::roles::access::grantees;
use crate::settings::roles::command::{CreateRole, DeleteRole, RolesCommand, UpdateRole};
use crate::settings::roles::permission::{Permission, PermissionSet};
use crate::settings::roles::projection::{CustomRole, ROLE_ACTIONS, Roles};
use crate::settings::roles::role::{Grantee, RoleRef, SystemRole};
use crate::settings::roles::value::CustomPermissions;
use crate::text::{Description, Name};

/// A role by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RoleName {
    /// Its id; a system role's is its name.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl RoleName {
    /// A role that is there.
    pub(super) fn of(roles: &Roles, role: RoleRef) -> Option<Self> {
        Some(Self { id: role.to_string(), name: roles.name(role)?.to_owned() })
    }
}

/// An actor's roles in the whole organization: a key's, or those that a person and their teams were given.
pub fn roles_of(organization: &Organization, actor: ActorId) -> Vec<RoleName> {
    match actor {
        ActorId::Person(person) => roles_given(&organization.roles, grantees(&organization.teams, person)),
        ActorId::ApiKey(key) => {
            let key = organization.api_keys.get(key);
            key.and_then(|key| RoleName::of(&organization.roles, key.role)).into_iter().collect()
        }
        ActorId::Account(_) | ActorId::System | ActorId::Operator => Vec::new(),
    }
}

/// The roles that some grantees have in the whole organization, each once, in the order in which they were given.
pub fn roles_given(roles: &Roles, grantees: impl Iterator<Item = Grantee>) -> Vec<RoleName> {
    let mut named = Vec::new();
    let assignments = grantees.flat_map(|grantee| roles.assignments_of(grantee));
    for (_, assignment) in assignments.filter(|(_, assignment)| assignment.environment.is_none()) {
        let role = RoleName::of(roles, assignment.role).filter(|role| !named.contains(role));
        named.extend(role);
    }
    named
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Role)]
pub struct RoleBody {
    /// Its id; a system role's is its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it allows, as `resource:verb`.
    #[schema(value_type = Vec<String>)]
    pub permissions: PermissionSet,
    /// Whether every organization has it; such a role never changes.
    pub system: bool,
    /// When it was made; null of a system role.
    pub created_at: Option<Timestamp>,
    /// When it was last changed; null of a system role.
    pub updated_at: Option<Timestamp>,
    /// The stream version of its last change; null of a system role.
    pub version: Option<Version>,
}

impl From<SystemRole> for RoleBody {
    fn from(role: SystemRole) -> Self {
        Self {
            id: role.name().to_owned(),
            name: role.name().to_owned(),
            description: Some(role.description().to_owned()),
            permissions: PermissionSet::of(role),
            system: true,
            created_at: None,
            updated_at: None,
            version: None,
        }
    }
}

impl From<&CustomRole> for RoleBody {
    fn from(role: &CustomRole) -> Self {
        Self {
            id: role.id.to_string(),
            name: role.name.clone(),
            description: role.description.clone(),
            permissions: role.permissions,
            system: false,
            created_at: Some(role.created_at),
            updated_at: Some(role.updated_at),
            version: Some(role.version),
        }
    }
}

/// What each role allows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoleMatrix)]
pub struct MatrixBody {
    /// Everything that can be allowed, in the table's order.
    pub permissions: Vec<PermissionBody>,
    /// System roles, then custom ones by id.
    pub roles: Vec<MatrixRole>,
}

/// Something that can be allowed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Permission)]
pub struct PermissionBody {
    /// What it is about: the part before the colon.
    pub resource: &'static str,
    /// What may be done: the part after the colon.
    pub verb: &'static str,
    /// What it allows, in words.
    pub description: &'static str,
    /// Whether it can be granted for one environment alone.
    pub per_environment: bool,
}

/// A role's column of the matrix.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatrixRole {
    /// Its id; a system role's is its name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether every organization has it.
    pub system: bool,
    /// What it allows, as `resource:verb`.
    #[schema(value_type = Vec<String>)]
    pub granted: PermissionSet,
}

/// A custom role to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Its name.
    name: Name,
    /// What it is for.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    description: Option<Description>,
    /// What it allows, as `resource:verb`: anything but `organization:own`.
    #[schema(value_type = Vec<String>)]
    permissions: CustomPermissions,
}

/// What changes; a field that is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolePatch {
    /// The new name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    name: Option<Name>,
    /// The new description; null clears it.
    #[serde(default)]
    #[schema(value_type = Option<Description>)]
    description: Patch<Description>,
    /// All that it is to allow, as `resource:verb`: anything but `organization:own`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = Vec<String>, nullable = false)]
    permissions: Option<CustomPermissions>,
}

/// A call to a role that is there.
pub struct AtRole {
    call: Call,
    role: RoleRef,
}

impl FromRequestParts<App> for AtRole {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let role = named(&path)?;
        call.settings().roles.permissions(role).ok_or_else(Problem::not_found)?;
        Ok(Self { call, role })
    }
}

/// All roles: system roles, then custom ones by id.
#[utoipa::path(get, path = "/v1/roles", tag = "roles", params(PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<RoleBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "roles", &query).await?;
    let NoParameters {} = asked.query.parse()?;
    let roles = call.seen::<Roles>(&asked, Focus::Actions(ROLE_ACTIONS)).await?;
    let after = request.after.as_ref().and_then(|after| after.last.parse::<RoleRef>().ok());
    let found = all(&roles).filter(|role| after.is_none_or(|after| *role > after));
    let found = found.filter_map(|role| body(&roles, role));
    let page = cursors
        .page(&scope, "roles", &request, found, |last| After { last: last.id.clone(), version: asked.at });
    Ok(roles.mark(call.list(&call.organization.view, &page)))
}

/// What each role allows, of everything that can be allowed.
#[utoipa::path(get, path = "/v1/roles/matrix", tag = "roles", params(AsOfParameters), responses(
    (status = 200, body = MatrixBody), (status = "4XX", body = ProblemBody)))]
pub async fn matrix(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let asked = call.asked(&query).await?;
    let NoParameters {} = asked.query.parse()?;
    let roles = call.seen::<Roles>(&asked, Focus::Actions(ROLE_ACTIONS)).await?;
    let permission = |permission: &Permission| PermissionBody {
        resource: permission.resource(),
        verb: permission.verb(),
        description: permission.description(),
        per_environment: permission.per_environment(),
    };
    let column = |role: RoleBody| MatrixRole {
        id: role.id,
        name: role.name,
        system: role.system,
        granted: role.permissions,
    };
    let matrix = MatrixBody {
        permissions: Permission::ALL.iter().map(permission).collect(),
        roles: all(&roles).filter_map(|role| body(&roles, role)).map(column).collect(),
    };
    Ok(roles.mark(call.list(&call.organization.view, &matrix)))
}

/// Makes a custom role.
#[utoipa::path(post, path = "/v1/roles", tag = "roles", request_body = NewRole, responses(
    (status = 201, body = RoleBody), (status = "4XX", body = ProblemBody)))]
pub async fn create(call: Call, _: NoParameters) -> Result<Response, Problem> {
    let new: NewRole = call.body().parse()?;
    let role = Fresh.id();
    let command =
        CreateRole { role, name: new.name, description: new.description, permissions: new.permissions };
    let done = call.submit(RolesCommand::Create(command), StatusCode::CREATED).await?;
    // A replay shows the role that the first request made, which has another id.
    let roles = &done.view.organization().roles;
    let created = roles
        .get(role)
        .or_else(|| roles.custom().find(|role| role.version == done.version))
        .ok_or_else(Problem::not_found)?;
    let location = format!("/v1/roles/{}", created.id);
    let body = RoleBody::from(created);
    Ok(call.done(&done, StatusCode::CREATED, created.version, Some(location), &body))
}

/// A role.
#[utoipa::path(get, path = "/v1/roles/{role}", tag = "roles",
    params(("role" = String, Path, description = "Its id"), AsOfParameters), responses(
    (status = 200, body = RoleBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let role = named(&path)?;
    let is_there = |roles: &Roles| roles.permissions(role).is_some();
    let (asked, roles) = call.seen_at::<Roles>(&query, Focus::Resource(role.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let body = body(&roles, role).ok_or_else(Problem::not_found)?;
    match body.version {
        Some(version) => Ok(call.seen_resource(&roles, version, &body)),
        // What never changes has no entity tag.
        None => Ok(roles.mark(call.list(&call.organization.view, &body))),
    }
}

/// Renames or describes a custom role, or changes what it allows.
#[utoipa::path(patch, path = "/v1/roles/{role}", tag = "roles", request_body = RolePatch,
    params(("role" = String, Path, description = "Its id")), responses(
    (status = 200, body = RoleBody), (status = "4XX", body = ProblemBody)))]
pub async fn update(AtRole { call, role }: AtRole, _: NoParameters) -> Result<Response, Problem> {
    let patch: RolePatch = call.body().parse()?;
    let command = UpdateRole {
        role,
        name: patch.name,
        description: patch.description.into_option(),
        permissions: patch.permissions,
    };
    let done = call.submit(RolesCommand::Update(command), StatusCode::OK).await?;
    let body = body(&done.view.organization().roles, role).ok_or_else(Problem::not_found)?;
    Ok(call.done(&done, StatusCode::OK, body.version.unwrap_or_default(), None, &body))
}

/// Deletes a custom role that nobody has.
#[utoipa::path(delete, path = "/v1/roles/{role}", tag = "roles",
    params(("role" = String, Path, description = "Its id")), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(AtRole { call, role }: AtRole, _: NoParameters) -> Result<Response, Problem> {
    let done = call.submit(RolesCommand::Delete(DeleteRole { role }), StatusCode::NO_CONTENT).await?;
    Ok(call.no_content(&done))
}

/// The role that a path names by its id.
fn named(path: &PathText) -> Result<RoleRef, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

fn all(roles: &Roles) -> impl Iterator<Item = RoleRef> + '_ {
    let system = SystemRole::ALL.into_iter().map(RoleRef::System);
    system.chain(roles.custom().map(|role| RoleRef::Custom(role.id)))
}

fn body(roles: &Roles, role: RoleRef) -> Option<RoleBody> {
    match role {
        RoleRef::System(role) => Some(role.into()),
        RoleRef::Custom(id) => roles.get(id).map(RoleBody::from),
    }
}
