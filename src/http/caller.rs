//! [`Caller`]: who makes a request, as found by its credential. Either a program with an API key, or a person or an
//! account in a session, [`SessionCaller`].

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;

use crate::actor::Actor;
use crate::http::problem::Problem;
use crate::ids::{AccountId, ApiKeyId, OrganizationId, SessionId};
use crate::organization::Organization;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::{Commitment, DataKey};
use crate::settings::environments::event::Mode;
use crate::settings::general::own_key;
use crate::settings::roles::access::Grants;
use crate::settings::sessions::projection::Session;
use crate::store::directory::Credential;
use crate::store::resident::{Handle, View};

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The actor that events will name.
    pub actor: Actor,
    /// The credential.
    pub showed: Showed,
    /// The organization that the credential belongs to.
    pub scope: Scope,
}

/// What a caller showed.
#[derive(Clone, Debug)]
pub enum Showed {
    /// A session's token.
    Session(Own),
    /// An API key.
    Key(OfKey),
}

/// What is a person's own, or an account's: programs have none of it.
#[derive(Clone, Debug)]
pub struct Own {
    /// The account behind; never shown.
    pub account: AccountId,
    /// The session of the request.
    pub session: Session,
    /// When that session was last used, and more that is memory only.
    pub credential: Arc<Credential>,
}

/// An API key that somebody showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownKey {
    /// The key.
    pub key: ApiKeyId,
    /// SHA-256 of the value that was shown.
    pub token: Commitment,
    /// The address that it was shown from, where that is known.
    pub from: Option<IpAddr>,
}

/// What is a program's own.
#[derive(Clone, Copy, Debug)]
pub struct OfKey {
    /// The key that it showed.
    pub shown: ShownKey,
    /// Whether it reaches test environments or live ones.
    pub mode: Mode,
    /// Which of its organization's requests in this month it is.
    pub ordinal: u64,
}

/// What is kept of a credential by what outlives its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A session.
    Session(SessionId),
    /// An API key.
    Key(ShownKey),
}

impl Proof {
    /// The id of the credential.
    pub fn id(self) -> Uuid {
        match self {
            Self::Session(session) => session.uuid(),
            Self::Key(shown) => shown.key.uuid(),
        }
    }
}

impl Caller {
    /// What to ask with whether the caller may go on.
    pub fn proof(&self) -> Proof {
        match &self.showed {
            Showed::Session(own) => Proof::Session(own.session.id),
            Showed::Key(of) => Proof::Key(of.shown),
        }
    }

    /// Of a program, which of its organization's requests in this month it is.
    pub fn ordinal(&self) -> Option<u64> {
        match &self.showed {
            Showed::Session(_) => None,
            Showed::Key(of) => Some(of.ordinal),
        }
    }

    /// The mode that the caller is bound to: a key's.
    pub fn mode(&self) -> Option<Mode> {
        match &self.showed {
            Showed::Session(_) => None,
            Showed::Key(of) => Some(of.mode),
        }
    }
}

/// The organization that a credential belongs to.
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
    /// Where its newest state is published.
    pub handle: Arc<Handle>,
    /// Its state when the request was authenticated.
    pub view: Arc<View>,
    /// What the caller may do.
    pub grants: Arc<Grants>,
}

impl OrganizationScope {
    /// The organization's own key.
    ///
    /// # Errors
    /// When it is not to be had.
    pub fn key(&self, ring: &KeyRing) -> Result<Arc<DataKey>, KeyError> {
        own_key(self.handle.stream(), &self.settings().general, ring)
    }

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

/// A caller in a session: what handlers of one's own account take.
#[derive(Clone, Debug)]
pub struct SessionCaller {
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

impl<S: Sync> FromRequestParts<S> for SessionCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller { actor, showed, scope } = Caller::from_request_parts(parts, state).await?;
        // Keys do not come here: the rows of such routes ask for a session.
        let Showed::Session(own) = showed else { return Err(Problem::unauthenticated()) };
        let Own { account, session, credential } = own;
        Ok(Self { actor, account, session, credential, scope })
    }
}
