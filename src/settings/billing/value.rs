//! The values of billing, checked: what is metered, how much of it there may be, and the names of plans.

use std::fmt;
use std::str::FromStr;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::{checked_text, shown_text};

/// The highest limit: integers beyond it are not the same in every language.
pub const LIMIT_MAX: u64 = (1 << 53) - 1;
/// The longest name of a plan in URLs, in characters.
pub const PLAN_ID_MAX_CHARS: usize = 63;
/// The plan that limits nothing. It is built in, and that of whoever was given no other.
pub const UNLIMITED: &str = "unlimited";

/// What is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Members, suspended ones included.
    People,
    /// Customers, suspended ones included.
    Customers,
    /// Environments.
    Environments,
    /// Secrets that are not deleted.
    Secrets,
    /// API keys that are not revoked.
    ApiKeys,
    /// Connections that are not ended, those included that nobody has consented to yet.
    Connections,
    /// Executions that began in the period.
    Executions,
    /// Requests with API keys in the period.
    ApiRequests,
}

impl Meter {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::People,
        Self::Customers,
        Self::Environments,
        Self::Secrets,
        Self::ApiKeys,
        Self::Connections,
        Self::Executions,
        Self::ApiRequests,
    ];

    /// Whether it counts what happens in a period, and not what there is.
    pub fn is_counted(self) -> bool {
        match self {
            Self::People
            | Self::Customers
            | Self::Environments
            | Self::Secrets
            | Self::ApiKeys
            | Self::Connections => false,
            Self::Executions | Self::ApiRequests => true,
        }
    }

    /// The meter's name as recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Customers => "customers",
            Self::Environments => "environments",
            Self::Secrets => "secrets",
            Self::ApiKeys => "api_keys",
            Self::Connections => "connections",
            Self::Executions => "executions",
            Self::ApiRequests => "api_requests",
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value: there is no such meter")]
pub struct UnknownMeter;

impl FromStr for Meter {
    type Err = UnknownMeter;

    fn from_str(text: &str) -> Result<Self, UnknownMeter> {
        Self::ALL.into_iter().find(|meter| meter.name() == text).ok_or(UnknownMeter)
    }
}

/// How much there may be of what is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// So much, and no more.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub limit: u64,
    /// Whether more is only told, and not refused.
    pub soft: bool,
}

impl Quota {
    /// The limit, where more is refused.
    pub fn hard(self) -> Option<u64> {
        (!self.soft).then_some(self.limit)
    }
}

/// Quotas by meter; what has none is not limited.
pub type Quotas = RedBlackTreeMapSync<Meter, Quota>;

/// More of something than a hard limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {meter} is {limit}, and there are {used}")]
pub struct Excess {
    /// What is metered.
    pub meter: Meter,
    /// How much there may be.
    pub limit: u64,
    /// How much there is.
    pub used: u64,
}

/// A plan's name in URLs and events: `[a-z][a-z0-9_-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PlanId(String);

/// The text is no plan's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must match [a-z][a-z0-9_-]{{0,62}}")]
pub struct InvalidPlanId;

impl TryFrom<&str> for PlanId {
    type Error = InvalidPlanId;

    fn try_from(text: &str) -> Result<Self, InvalidPlanId> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
        if first && rest && text.len() <= PLAN_ID_MAX_CHARS {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPlanId)
        }
    }
}

checked_text!(PlanId, pattern = "^[a-z][a-z0-9_-]{0,62}$");
shown_text!(PlanId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_is_what_it_is_called() {
        for meter in Meter::ALL {
            assert_eq!(meter.name().parse(), Ok(meter));
            assert_eq!(serde_json::to_value(meter).unwrap(), meter.name());
        }
        assert_eq!("doors".parse::<Meter>(), Err(UnknownMeter));
    }

    #[test]
    fn a_plan_has_a_name_for_urls() {
        for text in ["free", "team_2026-eu"] {
            assert_eq!(PlanId::try_from(text).unwrap().as_str(), text);
        }
        for text in ["", "Free", "2nd", "a b", "é", &"a".repeat(64)] {
            assert_eq!(PlanId::try_from(text), Err(InvalidPlanId), "{text}");
        }
    }
}
