//! From a request's parameters to a filter.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::actor::ActorId;
use crate::clock::Timestamp;
use crate::event::{Outcome, ResourceType};
use crate::http::problem::Problem;
use crate::ids::{ApiKeyId, UserId};
use crate::log::filter::{ActionPattern, Filter};

/// The most values of one parameter.
const VALUES_MAX: usize = 50;
/// The longest value of a parameter, in bytes.
const VALUE_MAX_BYTES: usize = 200;

/// Actions of high volume that are shown only when asked for by name.
const UNLESS_NAMED: &[&str] = &["billing.usage"];

/// The audit log's parameters. Repeated ones are OR, different ones AND.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AuditParameters {
    /// Who acted: the id of a person or an API key, `system` or `operator`.
    pub user: Vec<String>,
    /// What was done, such as `config.set`; a trailing `*` stands for any end.
    pub action: Vec<String>,
    /// The type of what it was done to.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    pub kind: Vec<ResourceType>,
    /// The id of what it was done to, or of something concerned; a configuration value is `<environment's id>/<KEY>`, a
    /// customer's document `<customer's id>/<key>`.
    pub resource: Vec<String>,
    /// How it ended.
    pub outcome: Vec<Outcome>,
    /// Not before: an RFC 3339 time, or a date, which begins in the organization's time zone.
    pub from: Option<String>,
    /// Before: an RFC 3339 time, or a date.
    pub to: Option<String>,
}

impl AuditParameters {
    /// The filter that is meant, with dates read in the organization's time zone.
    ///
    /// # Errors
    /// 422 with the parameter.
    pub fn filter(self, timezone: &str) -> Result<Filter, Problem> {
        for (name, values) in [("user", &self.user), ("action", &self.action), ("resource", &self.resource)] {
            bounded(name, values)?;
        }
        if !self.user.iter().all(|user| is_actor(user)) {
            let message = "expected the id of a person or an API key, system or operator";
            return Err(Problem::invalid_parameter("user", "invalid", message));
        }
        if !self.action.iter().all(|action| is_action_pattern(action)) {
            let message = "expected an action such as config.set, or the beginning of one and *";
            return Err(Problem::invalid_parameter("action", "invalid", message));
        }
        let time = |name, value: Option<String>| match value {
            None => Ok(None),
            Some(text) => point_in_time(&text, timezone).map(Some).ok_or_else(|| {
                Problem::invalid_parameter(name, "invalid", "expected an RFC 3339 time or a date")
            }),
        };
        Ok(Filter {
            actors: self.user,
            actions: self.action.iter().map(|text| ActionPattern::read(text)).collect(),
            unless_named: UNLESS_NAMED,
            types: self.kind,
            resources: self.resource,
            marks: Vec::new(),
            outcomes: self.outcome,
            from: time("from", self.from)?,
            to: time("to", self.to)?,
            after: None,
            until: None,
        })
    }
}

fn bounded(name: &'static str, values: &[String]) -> Result<(), Problem> {
    if values.len() > VALUES_MAX {
        return Err(Problem::invalid_parameter(name, "too_many", "at most 50 values"));
    }
    if values.iter().any(|value| value.is_empty() || value.len() > VALUE_MAX_BYTES) {
        return Err(Problem::invalid_parameter(name, "invalid", "each value has 1 to 200 characters"));
    }
    Ok(())
}

/// Whether it can be an organization's actor: what never matches is a mistake.
fn is_actor(text: &str) -> bool {
    let system = [ActorId::System, ActorId::Operator].iter().any(|actor| actor.to_string() == text);
    system || text.parse::<UserId>().is_ok() || text.parse::<ApiKeyId>().is_ok()
}

/// Whether it is `[a-z_.]+`, or any beginning of that with a `*` after it.
fn is_action_pattern(text: &str) -> bool {
    let named = text.strip_suffix('*').unwrap_or(text);
    named.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.')
}

/// A time, or the first moment of a date in a time zone.
pub fn point_in_time(text: &str, timezone: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.len() != "2026-01-31".len() {
        return None;
    }
    let date: Date = text.parse().ok()?;
    let zone = TimeZone::get(timezone).ok()?;
    let start = date.to_zoned_datetime(zone).ok()?.timestamp().as_microsecond();
    (start >= 0).then(|| Timestamp::from_micros(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_begins_in_the_organizations_time_zone() {
        let paris = point_in_time("2026-03-29", "Europe/Paris").unwrap();
        assert_eq!(paris.to_string(), "2026-03-28T23:00:00.000000Z");
        // The day on which the clocks went forward has 23 hours.
        let next = point_in_time("2026-03-30", "Europe/Paris").unwrap();
        assert_eq!(next.seconds_since(paris), 23 * 3600);
    }

    #[test]
    fn what_can_never_match_is_no_filter() {
        for user in ["system", "operator", "usr_01kqxk5rd0e5xrpzzv0jjq4zgn", "key_01kqxk5rd0e5xrpzzv0jjq4zgn"]
        {
            assert!(is_actor(user), "{user}");
        }
        for user in ["x", "System", "usr_x", "env_01kqxk5rd0e5xrpzzv0jjq4zgn"] {
            assert!(!is_actor(user), "{user}");
        }
        for action in ["config.set", "config.*", "conf*", "role_assignment.create", "*"] {
            assert!(is_action_pattern(action), "{action}");
        }
        for action in ["a*b", "**", "Config.set", "config set", "config.set%"] {
            assert!(!is_action_pattern(action), "{action}");
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in ["", "yesterday", "2026-13-01", "2026-02-30", "26-01-01", "1969-12-31"] {
            assert_eq!(point_in_time(text, "UTC"), None, "{text}");
        }
    }
}
