//! From a request's parameters to a filter.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::clock::Timestamp;
use crate::event::{Outcome, ResourceType};
use crate::http::problem::Problem;
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
    /// The id of what it was done to, or of something concerned.
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

/// A time, or the first moment of a date in a time zone.
fn point_in_time(text: &str, timezone: &str) -> Option<Timestamp> {
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
    fn other_text_is_no_time() {
        for text in ["", "yesterday", "2026-13-01", "2026-02-30", "26-01-01", "1969-12-31"] {
            assert_eq!(point_in_time(text, "UTC"), None, "{text}");
        }
    }
}
