//! Who may call a route: [`Access`], one row for each route, and the check that every request passes before its
//! handler.
//!
//! The order is fixed: what cannot be read at all (413, 415, 400), then who it is (401), then a key's rate (429), its
//! addresses and the route's permission (403). What a handler adds comes after: 404, the permission in one environment (403), 422, 412, 409.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::actor::ActorId;
use crate::command::Rejection;
use crate::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use crate::http::app::{App, OrganizationsPolicy};
use crate::http::caller::{Caller, OfKey, OrganizationScope, Scope, Showed};
use crate::http::client::{Origin, Peer, client_address};
use crate::http::credentials::{Credential, credential};
use crate::http::headers::{SETTLED_VERSION, check_min_version, version_value};
use crate::http::input::RawBody;
use crate::http::problem::Problem;
use crate::http::rate_limit::Rate;
use crate::http::request_id::RequestId;
use crate::http::{auth, key};
use crate::settings::api_keys::command::ApiKeysRejection;
use crate::settings::environments::event::Mode;
use crate::settings::executions::command::ExecutionsRejection;
use crate::settings::roles::permission::Permission;
use crate::store::denials::RecordRefused;
use crate::store::resident::Handle;

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
    /// An API key with a permission somewhere; the handler asks for it in the environment that it finds.
    Program(Permission),
}

impl Access {
    /// The permission that it asks for.
    pub fn permission(self) -> Option<Permission> {
        match self {
            Self::Organization(permission) | Self::Environment(permission) | Self::Program(permission) => {
                Some(permission)
            }
            Self::Public | Self::OwnAccount | Self::Founder | Self::Member => None,
        }
    }
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
    let mut said = Said::default();
    let mut response = match admit(&guard, request, &mut said).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    said.add_to(response.headers_mut());
    response
}

/// What every answer to a caller says beside what it was asked.
#[derive(Default)]
struct Said {
    /// Where the caller's organization publishes how far its stream is.
    handle: Option<Arc<Handle>>,
    /// What is left of the key's rate.
    rate: Option<Rate>,
}

impl Said {
    fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(handle) = &self.handle {
            // A handler that answers from an earlier state has said so already.
            let version = handle.view().version();
            headers.entry(SETTLED_VERSION).or_insert_with(|| version_value(version));
        }
        if let Some(rate) = &self.rate {
            rate.add_to(headers);
        }
    }
}

async fn admit(guard: &Guard, request: Request, said: &mut Said) -> Result<Request, Problem> {
    let (mut parts, body) = request.into_parts();
    let has_a_body = parts.extensions.get::<RawBody>().is_some_and(|body| !body.is_empty());
    if has_a_body && !guard.row.takes_a_body {
        return Err(Problem::bad_request("unexpected_body", "this request has no body"));
    }
    parts.extensions.insert(guard.row);
    if guard.row.access == Access::Public {
        return Ok(Request::from_parts(parts, body));
    }
    let caller = authenticate(guard, &parts, said).await?;
    if let Scope::Organization(scope) = &caller.scope {
        check_min_version(&parts.headers, scope.view.version())?;
    }
    permit(guard, &caller).await?;
    if let Scope::Organization(scope) = &caller.scope {
        said.handle = Some(Arc::clone(&scope.handle));
    }
    parts.extensions.insert(caller);
    Ok(Request::from_parts(parts, body))
}

/// The caller; of a key within its rate, from an address that it is allowed from, with its use recorded.
async fn authenticate(guard: &Guard, parts: &Parts, said: &mut Said) -> Result<Caller, Problem> {
    match credential(&parts.headers)? {
        // Whoever has not tried to be somebody is no stranger.
        None => Err(Problem::unauthenticated()),
        Some(Credential::Session(token)) => auth::by_session(&guard.app, &token).await,
        Some(Credential::ApiKey(token)) => {
            let app = &guard.app;
            let presented = key::by_key(app, &token).await?;
            let limits = presented.key().limits().clone();
            if let Some(limit) = limits.rate_limit {
                let key = ActorId::ApiKey(presented.known().key);
                let rate = app.rate_limits.count(key, limit, app.store.clock().boot_elapsed());
                said.rate = Some(rate);
                rate.check()?;
            }
            let peer = parts.extensions.get::<Peer>().copied().ok_or_else(Problem::internal)?;
            let address = client_address(peer, &parts.headers, &app.policy.trusted_proxies);
            // Recorded also where the address is refused: whoever looks into it is told where it came from.
            let caller = presented.used_from(app, &Origin::of(&parts.headers, address)).await;
            if limits.allow_address(address) {
                return Ok(caller);
            }
            Err(deny(app, &caller, guard.row.attempt, Denial::AddressNotAllowed, None).await)
        }
    }
}

async fn permit(guard: &Guard, caller: &Caller) -> Result<(), Problem> {
    match denial(guard, caller) {
        None => Ok(()),
        Some(denial) => Err(deny(&guard.app, caller, guard.row.attempt, denial, None).await),
    }
}

fn denial(guard: &Guard, caller: &Caller) -> Option<Denial> {
    match (guard.row.access, &caller.scope) {
        (Access::OwnAccount | Access::Founder | Access::Member, _) if caller.mode().is_some() => {
            Some(Denial::SessionRequired)
        }
        (Access::Public | Access::OwnAccount, _) | (Access::Member, Scope::Organization(_)) => None,
        (Access::Founder, _) => {
            let closed = guard.app.policy.organizations == OrganizationsPolicy::Operator;
            closed.then_some(Denial::OrganizationsClosed)
        }
        (Access::Program(_), _) if caller.mode().is_none() => Some(Denial::ApiKeyRequired),
        (_, Scope::None) => Some(Denial::OrganizationRequired),
        (Access::Organization(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows(permission)).then(|| missing(caller, scope, permission))
        }
        (Access::Environment(permission) | Access::Program(permission), Scope::Organization(scope)) => {
            (!scope.grants.allows_somewhere(permission)).then_some(Denial::Missing(permission))
        }
    }
}

/// Why a permission is missing in the whole organization: of a test key whose role has it, because of its mode.
fn missing(caller: &Caller, scope: &OrganizationScope, permission: Permission) -> Denial {
    let has = |key| {
        let settings = scope.settings();
        let role = settings.api_keys.get(key).and_then(|key| settings.roles.permissions(key.role));
        role.is_some_and(|role| role.contains(permission))
    };
    match caller.showed {
        Showed::Key(OfKey { shown, mode: Mode::Test, .. })
            if !permission.per_environment() && has(shown.key) =>
        {
            Denial::WrongMode
        }
        Showed::Key(_) | Showed::Session(_) => Denial::Missing(permission),
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
    /// A program reaches for what is a person's own.
    SessionRequired,
    /// A person reaches for what programs read.
    ApiKeyRequired,
    /// A key reaches for what is of the other mode, or a test key for what is no environment's.
    WrongMode,
    /// A key is used from an address that it is not allowed from.
    AddressNotAllowed,
    /// A program reads for a customer who is suspended, or an execution is begun for one.
    CustomerSuspended,
}

impl Denial {
    /// The denial that a rejection is, if it is one.
    pub fn of(rejection: &Rejection) -> Option<Self> {
        match rejection {
            Rejection::Forbidden(permission) => Some(Self::Missing(*permission)),
            Rejection::AboveYourRights => Some(Self::AboveYourRights),
            Rejection::ApiKeys(ApiKeysRejection::OtherMode) => Some(Self::WrongMode),
            Rejection::Executions(ExecutionsRejection::CustomerSuspended) => Some(Self::CustomerSuspended),
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
            Self::SessionRequired => {
                Problem::refused("session_required", "this is a person's own: log in and send the session")
            }
            Self::ApiKeyRequired => {
                Problem::refused("api_key_required", "programs read here, with an API key")
            }
            Self::WrongMode => Problem::refused(
                "wrong_mode",
                "a test key reaches test environments alone, a live key live ones and what is no environment's",
            ),
            Self::AddressNotAllowed => {
                Problem::refused("address_not_allowed", "the API key may not be used from this address")
            }
            Self::CustomerSuspended => Problem::refused("customer_suspended", "the customer is suspended"),
        }
    }

    fn recorded(self) -> RefusedData {
        match self {
            Self::Missing(permission) => {
                RefusedData { permission: Some(permission.to_string()), ..RefusedData::default() }
            }
            Self::OrganizationRequired
            | Self::OrganizationsClosed
            | Self::AboveYourRights
            | Self::SessionRequired
            | Self::ApiKeyRequired
            | Self::WrongMode
            | Self::AddressNotAllowed
            | Self::CustomerSuspended => {
                RefusedData { cause: Some(self.problem().code().to_owned()), ..RefusedData::default() }
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
        Scope::None => (app.store.platform(), Resource::new(ResourceType::Account, caller.actor.id)),
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
    use crate::settings::roles::command::RolesRejection;

    #[test]
    fn a_rejection_for_want_of_rights_is_a_denial() {
        let missing = Denial::Missing(Permission::ConfigWrite);
        assert_eq!(Denial::of(&Rejection::Forbidden(Permission::ConfigWrite)), Some(missing));
        let above = Denial::of(&Rejection::AboveYourRights);
        assert_eq!(above, Some(Denial::AboveYourRights));
        assert_eq!(above.map(|denial| denial.recorded().cause), Some(Some("above_your_rights".to_owned())));
        assert_eq!(Denial::of(&RolesRejection::LastOwner.into()), None);
        assert_eq!(Denial::of(&GeneralRejection::NotFound.into()), None);
    }
}
