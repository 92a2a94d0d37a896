//! Strangers: attempts by callers whom nobody knows. They are only counted, by cause and minute, and recorded in the
//! platform's stream; whoever sends a thousand wrong tokens a second writes a few events a minute.

use crate::actor::Actor;
use crate::event::{Outcome, Refused, RefusedData, Resource, ResourceType};
use crate::store::Store;
use crate::store::denials::RecordRefused;

/// Why a caller is not known: a fixed cause, never something that the caller sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A token that opens no session.
    UnknownToken,
    /// A token of a session whose time is over, or that a changed password ended.
    EndedSession,
    /// A key that no program has.
    UnknownKey,
    /// A mailed link that is good for nothing.
    InvalidLink,
    /// A key that is disabled, revoked, or whose time is over.
    EndedKey,
    /// An address or a password that nobody has, or an account without an organization.
    UnknownLogin,
}

impl Stranger {
    /// What was attempted, as recorded.
    fn action(self) -> &'static str {
        match self {
            Self::UnknownToken
            | Self::EndedSession
            | Self::UnknownKey
            | Self::EndedKey
            | Self::InvalidLink => "auth.authenticate",
            Self::UnknownLogin => "auth.login",
        }
    }

    /// The cause as recorded.
    fn cause(self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown_token",
            Self::EndedSession => "ended_session",
            Self::UnknownKey => "unknown_key",
            Self::InvalidLink => "invalid_link",
            Self::EndedKey => "ended_key",
            Self::UnknownLogin => "unknown_login",
        }
    }
}

impl Store {
    /// Counts an attempt; the answer to it waits for nothing.
    pub fn count_stranger(&self, stranger: Stranger) {
        let fact = RecordRefused {
            resource: Resource::new(ResourceType::Server, "credentials"),
            related: Vec::new(),
            outcome: Outcome::Failure,
            refused: Refused {
                action: stranger.action().to_owned(),
                data: RefusedData { cause: Some(stranger.cause().to_owned()), ..RefusedData::default() },
            },
            count: None,
        };
        self.count_failure(self.platform(), Actor::SYSTEM, fact);
    }
}
