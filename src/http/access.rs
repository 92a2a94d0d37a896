//! Who may call a route: [`Access`], one row for each route, and the check that every request passes before its
//! handler.
//!
//! The order is fixed: what cannot be read at all (413, 415, 400), then who it is (401), then the route's
//! permission (403). What a handler adds comes after: 404, the permission in one environment (403), 422, 412, 409.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::event::{Outcome, Refused, RefusedData, Resource};
use crate::http::app::App;
use crate::http::auth;
use crate::http::caller::{Caller, OrganizationScope, Scope};
use crate::http::credentials::credential;
use crate::http::headers::{SETTLED_VERSION, check_min_version, version_value};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::request_id::RequestId;
use crate::settings::roles::permission::Permission;
use crate::store::refusals::RecordRefusal;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may call.
    Public,
    /// A session, with or without an organization: the caller's own account.
    OwnAccount,
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
}

impl Row {
    /// Whether its requests may have a body. RFC 9110 §9.3 gives that of a GET or DELETE no meaning.
    fn takes_a_body(&self) -> bool {
        !matches!(self.method, "GET" | "DELETE")
    }
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
    if has_a_body && !guard.row.takes_a_body() {
        return Err(Problem::bad_request("unexpected_body", "this request has no body"));
    }
    parts.extensions.insert(guard.row);
    if guard.row.access == Access::Public {
        return Ok((Request::from_parts(parts, body), None));
    }
    let caller = auth::authenticate(&guard.app, credential(&parts.headers)?)?;
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
    let missing = match (guard.row.access, &caller.scope) {
        (Access::Public | Access::OwnAccount, _) | (Access::Member, Scope::Organization(_)) => return Ok(()),
        (_, Scope::None) => {
            return Err(Problem::refused("organization_required", "choose an organization first"));
        }
        (Access::Organization(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows(permission)).then_some(permission)
        }
        (Access::Environment(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows_somewhere(permission)).then_some(permission)
        }
    };
    match missing {
        None => Ok(()),
        Some(permission) => Err(deny(&guard.app, caller, guard.row.attempt, permission, None).await),
    }
}

/// Records that a caller was denied, and gives the answer. Nothing of the request's content is recorded.
pub async fn deny(
    app: &App,
    caller: &Caller,
    attempt: &str,
    permission: Permission,
    resource: Option<Resource>,
) -> Problem {
    if let Scope::Organization(scope) = &caller.scope {
        let resource = resource.unwrap_or_else(|| {
            Resource::new(crate::event::ResourceType::Organization, scope.handle.stream())
        });
        let fact = RecordRefusal {
            resource,
            related: Vec::new(),
            outcome: Outcome::Denied,
            refused: Refused {
                action: attempt.to_owned(),
                data: RefusedData { permission: Some(permission.to_string()), cause: None },
            },
            count: None,
        };
        let request_id = RequestId::to_record();
        app.store.record_denial(&scope.handle, caller.actor, fact, request_id).await;
    }
    Problem::forbidden(&permission.to_string())
}
