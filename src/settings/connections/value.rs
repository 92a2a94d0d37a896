//! What a connection can be: its kind, its status, and as whom people are asked.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::OauthAppId;

/// What is kept of a connection, and where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionKind)]
pub enum Kind {
    /// Tokens that a provider hands out once a person has consented.
    Oauth,
    /// A token that somebody has.
    Token,
    /// A name and a password.
    Basic,
}

impl Kind {
    /// As recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Token => "token",
            Self::Basic => "basic",
        }
    }
}

/// How a connection is, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionStatus)]
pub enum Status {
    /// Nobody has consented yet.
    Pending,
    /// It can be used.
    Connected,
    /// It can be used still, but not for long: its token could not be refreshed, or there is no way to.
    Expiring,
    /// Its token has ended and could not be refreshed, or its app is another by now: somebody has to connect again.
    Failed,
    /// The provider does not accept the consent any more: somebody has to connect again.
    Revoked,
}

/// As whom people are asked to consent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AppRef {
    /// As an app of the organization's own.
    Own(OauthAppId),
    /// As the operator's app of a provider.
    Managed(String),
}

/// As it stands in the path that a provider sends people back to.
impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(app) => app.fmt(f),
            Self::Managed(provider) => f.write_str(provider),
        }
    }
}
