//! Who may call a route: [`Access`], one row for each route, and the check that every request passes before its
//! handler.
//!
//! The order is fixed: what cannot be read at all (413, 415, 400), then who it is (401), then the route's
//! permission (403). What a handler adds comes after: 404, the permission in one environment (403), 422, 412, 409.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::command::Rejection;
use crate::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use crate::http::app::{App, OrganizationsPolicy};
use crate::http::auth;
use crate::http::caller::{Caller, OrganizationScope, Scope};
use crate::http::credentials::credential;
use crate::http::headers::{SETTLED_VERSION, check_min_version, version_value};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::settings::roles::command::RolesRejection;
use crate::settings::roles::permission::Permission;
use crate::store::denials::RecordRefused;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may call.
    Public,
    /// A session, with or without an organization: the caller's own account.
    OwnAccount,
    /// As before, and only where not the operator alone founds organizations.
    Founder,
    /// A session of an organization: the caller's own things in it.
    Member,
    /// A permission in the whole organization.
    Organization(Permission),
    /// A permission somewhere; the handler asks for it in the environment that it finds.
    Environment(Permission),
}

/// A route's row in the table of permissions.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The method.
    pub method: &'static str,
    /// The path's template.
    pub path: &'static str,
    /// What it asks of its caller.
    pub access: Access,
    /// The action that a denial is recorded as.
    pub attempt: &'static str,
    /// Whether its requests may have a body. RFC 9110 §9.3 gives that of a GET or DELETE no meaning.
    pub takes_a_body: bool,
}

/// The part of a row that the check needs.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) app: App,
    pub(super) row: Row,
}

/// Passes a request on to its handler with its body and its caller, or answers why not.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match admit(&guard, request).await {
        Ok((request, scope)) => with_version(next.run(request).await, scope.as_ref()),
        Err(problem) => problem.into_response(),
    }
}

/// Every answer to a caller of an organization says how far its stream is; a handler that answers from an earlier
/// state has said so already.
fn with_version(mut response: Response, scope: Option<&OrganizationScope>) -> Response {
    if let Some(scope) = scope {
        let version = scope.handle.view().version();
        response.headers_mut().entry(SETTLED_VERSION).or_insert_with(|| version_value(version));
    }
    response
}

async fn admit(guard: &Guard, request: Request) -> Result<(Request, Option<OrganizationScope>), Problem> {
    let (mut parts, body) = request.into_parts();
    let has_a_body = parts.extensions.get::<RawBody>().is_some_and(|body| !body.is_empty());
    if has_a_body && !guard.row.takes_a_body {
        return Err(Problem::bad_request("unexpected_body", "this request has no body"));
    }
    parts.extensions.insert(guard.row);
    if guard.row.access == Access::Public {
        return Ok((Request::from_parts(parts, body), None));
    }
    let caller = auth::authenticate(&guard.app, credential(&parts.headers)?).await?;
    let scope = match &caller.scope {
        Scope::Organization(scope) => Some(scope.clone()),
        Scope::None => None,
    };
    if let Some(scope) = &scope {
        check_min_version(&parts.headers, scope.view.version())?;
    }
    permit(guard, &caller).await?;
    parts.extensions.insert(caller);
    Ok((Request::from_parts(parts, body), scope))
}

async fn permit(guard: &Guard, caller: &Caller) -> Result<(), Problem> {
    match denial(guard, caller) {
        None => Ok(()),
        Some(denial) => Err(deny(&guard.app, caller, guard.row.attempt, denial, None).await),
    }
}

fn denial(guard: &Guard, caller: &Caller) -> Option<Denial> {
    match (guard.row.access, &caller.scope) {
        (Access::Public | Access::OwnAccount, _) | (Access::Member, Scope::Organization(_)) => None,
        (Access::Founder, _) => {
            let closed = guard.app.policy.organizations == OrganizationsPolicy::Operator;
            closed.then_some(Denial::OrganizationsClosed)
        }
        (_, Scope::None) => Some(Denial::OrganizationRequired),
        (Access::Organization(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows(permission)).then_some(Denial::Missing(permission))
        }
        (Access::Environment(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows_somewhere(permission)).then_some(Denial::Missing(permission))
        }
    }
}

/// Why somebody who is known is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// They lack a permission.
    Missing(Permission),
    /// Their session belongs to no organization.
    OrganizationRequired,
    /// Only the operator founds organizations.
    OrganizationsClosed,
    /// They reach for somebody who holds a permission that they lack.
    AboveYourRights,
}

impl Denial {
    /// The denial that a rejection is, if it is one.
    pub fn of(rejection: &Rejection) -> Option<Self> {
        match rejection {
            Rejection::Forbidden(permission) => Some(Self::Missing(*permission)),
            Rejection::Roles(RolesRejection::AboveYourRights) => Some(Self::AboveYourRights),
            _ => None,
        }
    }

    /// The answer.
    pub fn problem(self) -> Problem {
        match self {
            Self::Missing(permission) => Problem::forbidden(&permission.to_string()),
            Self::OrganizationRequired => {
                Problem::refused("organization_required", "choose an organization first")
            }
            Self::OrganizationsClosed => {
                Problem::refused("organizations_closed", "only the operator founds organizations here")
            }
            Self::AboveYourRights => {
                Problem::refused("above_your_rights", "the subject holds a permission that you lack")
            }
        }
    }

    fn recorded(self) -> RefusedData {
        match self {
            Self::Missing(permission) => {
                RefusedData { permission: Some(permission.to_string()), cause: None }
            }
            Self::OrganizationRequired | Self::OrganizationsClosed | Self::AboveYourRights => {
                RefusedData { permission: None, cause: Some(self.problem().code().to_owned()) }
            }
        }
    }
}

/// Records that a caller was denied, and gives the answer. Nothing of the request's content is recorded. `resource` is
/// what it was about, if not the organization, or the account of a session without one.
pub async fn deny(
    app: &App,
    caller: &Caller,
    attempt: &str,
    denial: Denial,
    resource: Option<Resource>,
) -> Problem {
    let (handle, whole) = match &caller.scope {
        Scope::Organization(scope) => (&scope.handle, Resource::new(ResourceType::Organization, scope.id)),
        Scope::None => (app.store.platform(), Resource::new(ResourceType::Account, caller.account)),
    };
    let fact = RecordRefused {
        resource: resource.unwrap_or(whole),
        related: Vec::new(),
        outcome: Outcome::Denied,
        refused: Refused { action: attempt.to_owned(), data: denial.recorded() },
        count: None,
    };
    app.store.record_denial(handle, caller.actor, fact, RequestId::to_record()).await;
    denial.problem()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::general::command::GeneralRejection;

    #[test]
    fn a_rejection_for_want_of_rights_is_a_denial() {
        let missing = Denial::Missing(Permission::ConfigWrite);
        assert_eq!(Denial::of(&Rejection::Forbidden(Permission::ConfigWrite)), Some(missing));
        let above = Denial::of(&RolesRejection::AboveYourRights.into());
        assert_eq!(above, Some(Denial::AboveYourRights));
        assert_eq!(above.map(|denial| denial.recorded().cause), Some(Some("above_your_rights".to_owned())));
        assert_eq!(Denial::of(&RolesRejection::LastOwner.into()), None);
        assert_eq!(Denial::of(&GeneralRejection::NotFound.into()), None);
    }
}
