//! What happens to sessions: a login opens one; logout, switch or revocation closes it. Its end by time
//! appends nothing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{AccountId, SessionId, UserId};
use crate::seal::{Commitment, Sealed};

events! {
    /// Sessions of people.
    pub enum SessionsEvent {
        /// A session was opened.
        "auth.login", 1 => SessionOpened(SessionOpened);
        /// Its holder ended it.
        "auth.logout", 1 => LoggedOut(SessionClosed);
        /// Its holder went to another organization.
        "auth.switch", 1 => Switched(SessionClosed);
        /// It was revoked from another session.
        "session.revoke", 1 => SessionRevoked(SessionClosed);
    }
}

/// A session was opened. Address and user agent stand here once; later events name the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// Whose it is, in an organization's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<UserId>,
    /// Whose it is, in the platform's stream: a session without an organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// SHA-256 of the token.
    #[schema(value_type = String)]
    pub token: TokenHash,
    /// The account's credential generation at that time: a later one ends the session.
    pub generation: u64,
    /// When the login that it goes back to opened its first session, where this one was opened by going from one
    /// organization to another: it ends when that would have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Sealed>,
    /// The client's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Sealed>,
}

/// A session was closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionClosed {
    /// The session.
    pub session: SessionId,
}

/// SHA-256 of a credential, as recorded: 43 characters of base64url.
pub type TokenHash = Commitment;
