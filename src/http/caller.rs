//! [`Caller`]: who makes a request, as found by its credential.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::actor::Actor;
use crate::http::problem::Problem;
use crate::ids::{AccountId, OrganizationId, UserId};
use crate::organization::Organization;
use crate::settings::roles::access::Grants;
use crate::settings::sessions::projection::Session;
use crate::store::directory::Credential;
use crate::store::resident::{Handle, View};

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The actor that events will name.
    pub actor: Actor,
    /// The account behind; never shown.
    pub account: AccountId,
    /// The session of the request.
    pub session: Session,
    /// When that session was last used, and more that is memory only.
    pub credential: Arc<Credential>,
    /// The organization that the session belongs to.
    pub scope: Scope,
}

/// The organization that a session belongs to.
#[derive(Clone, Debug)]
pub enum Scope {
    /// One.
    Organization(OrganizationScope),
    /// None: a session of the account alone.
    None,
}

/// An organization as a caller meets it.
#[derive(Clone, Debug)]
pub struct OrganizationScope {
    /// The organization.
    pub id: OrganizationId,
    /// The caller in it.
    pub person: UserId,
    /// Where its newest state is published.
    pub handle: Arc<Handle>,
    /// Its state when the request was authenticated.
    pub view: Arc<View>,
    /// What the caller may do.
    pub grants: Grants,
}

impl OrganizationScope {
    /// The organization's settings when the request was authenticated.
    pub fn settings(&self) -> &Organization {
        self.view.organization()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Only a route whose row is public has none, and its handler does not ask.
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}
