//! Who did it: the actor as every event names one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ApiKeyId, InvalidId, SessionId, UserId};

/// Who acted. The same human in two organizations is two actors; only the platform's stream names accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorId {
    /// A person, in the stream's organization.
    Person(UserId),
    /// A person without an organization, in the platform's stream.
    Account(AccountId),
    /// A program with an API key.
    ApiKey(ApiKeyId),
    /// Settled itself: schedulers, intents finished after a crash, aggregated counts.
    System,
    /// Whoever operates the server, over its socket or its command line.
    Operator,
}

impl ActorId {
    /// The actor's kind as recorded.
    pub fn kind(self) -> ActorKind {
        match self {
            Self::Person(_) => ActorKind::Person,
            Self::Account(_) => ActorKind::Account,
            Self::ApiKey(_) => ActorKind::ApiKey,
            Self::System => ActorKind::System,
            Self::Operator => ActorKind::Operator,
        }
    }
}

impl ActorId {
    /// Whether it is Settled itself or an operator.
    pub fn is_system(self) -> bool {
        matches!(self, Self::System | Self::Operator)
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::ApiKey(id) => id.fmt(f),
            Self::System => f.write_str("system"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl FromStr for ActorId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text {
            "system" => Ok(Self::System),
            "operator" => Ok(Self::Operator),
            _ => (text.parse().map(Self::Person))
                .or_else(|_| text.parse().map(Self::ApiKey))
                .or_else(|_| text.parse().map(Self::Account)),
        }
    }
}

/// The kind of an [`ActorId`], as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    Person,
    /// A person without an organization.
    Account,
    /// A program with an API key.
    ApiKey,
    /// Settled itself.
    System,
    /// Whoever operates the server.
    Operator,
}

/// The actor of one event, with the session that it acted in.
///
/// Recorded as `{kind, id, session?}`; the session joins address and user agent back,
/// which are sealed into the event that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub id: ActorId,
    /// In which session, where there is one.
    pub session: Option<SessionId>,
}

impl Actor {
    /// Settled itself.
    pub const SYSTEM: Self = Self { id: ActorId::System, session: None };
    /// Whoever operates the server.
    pub const OPERATOR: Self = Self { id: ActorId::Operator, session: None };

    /// A person acting in a session.
    pub fn person(id: UserId, session: SessionId) -> Self {
        Self { id: ActorId::Person(id), session: Some(session) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    kind: ActorKind,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { kind: self.id.kind(), id: self.id.to_string(), session: self.session }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let id = match wire.kind {
            ActorKind::Person => ActorId::Person(wire.id.parse().map_err(serde::de::Error::custom)?),
            ActorKind::Account => ActorId::Account(wire.id.parse().map_err(serde::de::Error::custom)?),
            ActorKind::ApiKey => ActorId::ApiKey(wire.id.parse().map_err(serde::de::Error::custom)?),
            ActorKind::System => ActorId::System,
            ActorKind::Operator => ActorId::Operator,
        };
        Ok(Self { id, session: wire.session })
    }
}
