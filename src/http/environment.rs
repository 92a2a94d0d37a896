//! [`InEnvironment`]: a call to one environment, for every area that has something in environments.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::http::access::{Access, Denial};
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::path::PathText;
use crate::http::problem::Problem;
use crate::ids::EnvironmentId;
use crate::settings::environments::projection::{Environment, Environments};
use crate::settings::roles::permission::Permission;

/// A call to the environment that the path's first variable segment names, in which the caller holds the route's
/// permission.
///
/// A handler takes it before [`NoParameters`](crate::http::query::NoParameters) or
/// [`RawQuery`](crate::http::query::RawQuery), so that 404 and 403 come before 422.
pub struct InEnvironment {
    /// The call.
    pub call: Call,
    /// The environment as the request meets it.
    pub environment: Environment,
}

impl FromRequestParts<App> for InEnvironment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let Access::Environment(permission) = call.row().access else {
            tracing::error!("a route of an environment asks for no permission in one");
            return Err(Problem::internal());
        };
        let environment = environment(&call, path.first(), permission).await?.clone();
        Ok(Self { call, environment })
    }
}

/// The environment of this id or slug, in which the caller holds a permission.
///
/// # Errors
/// 404 where there is none that the caller may see; 403, which is recorded.
pub async fn environment<'a>(
    call: &'a Call,
    named: &str,
    permission: Permission,
) -> Result<&'a Environment, Problem> {
    let found = by_id_or_slug(&call.settings().environments, named).ok_or_else(Problem::not_found)?;
    enter(call, found, permission).await?;
    Ok(found)
}

/// Lets a caller reach for an environment with a permission.
///
/// # Errors
/// 403 `wrong_mode` to a key of the other mode; 404 to whom may not see it; 403 without the permission. What is a 403
/// is recorded.
pub async fn enter(call: &Call, environment: &Environment, permission: Permission) -> Result<(), Problem> {
    if call.caller.mode().is_some_and(|mode| mode != environment.mode) {
        return Err(call.refuse_in(Denial::WrongMode, environment.id).await);
    }
    if !call.organization.grants.allows_in(Permission::EnvironmentRead, environment.id) {
        return Err(Problem::not_found());
    }
    call.require_in(permission, environment.id).await
}

/// The environment of this id or slug.
pub fn by_id_or_slug<'a>(environments: &'a Environments, named: &str) -> Option<&'a Environment> {
    match named.parse::<EnvironmentId>() {
        Ok(id) => environments.get(id),
        Err(_) => environments.by_slug(named),
    }
}
