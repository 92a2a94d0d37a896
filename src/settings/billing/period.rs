//! The periods of billing: the calendar months of an organization's time zone.

use jiff::ZonedDateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{HOUR_SECONDS, Timestamp};
use crate::organization::Organization;

/// A calendar month in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The month, as `2026-11`: later ones are greater.
    pub name: String,
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment of the next one.
    pub end: Timestamp,
}

impl Period {
    /// The month that a time lies in. A time zone that this build does not know is taken for UTC.
    pub fn containing(timezone: &str, time: Timestamp) -> Self {
        let now = local(timezone, time);
        let start = now.first_of_month().and_then(|first| first.start_of_day());
        let next =
            now.last_of_month().and_then(|last| last.tomorrow()).and_then(|first| first.start_of_day());
        Self {
            name: now.strftime("%Y-%m").to_string(),
            start: start.map_or(Timestamp::EPOCH, |start| timestamp(&start)),
            // Only the last month of the year 9999 has none after it.
            end: next.map_or(Timestamp::LATEST, |next| timestamp(&next)),
        }
    }
}

impl Period {
    /// The month of an organization that a time lies in.
    pub fn of(organization: &Organization, time: Timestamp) -> Self {
        Self::containing(organization.general.founded().map_or("UTC", |founded| &founded.timezone), time)
    }
}

/// How long a span of use is, by the clocks of a time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// An hour.
    Hour,
    /// A day, which may have 23 or 25 hours.
    #[default]
    Day,
    /// A calendar month.
    Month,
}

impl Granularity {
    /// The first moment of the span that a time lies in, and the first one after it.
    pub fn span(self, timezone: &str, time: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Hour => hour(timezone, time),
            Self::Day => day(timezone, time),
            Self::Month => {
                let month = Period::containing(timezone, time);
                (month.start, month.end)
            }
        }
    }
}

fn day(timezone: &str, time: Timestamp) -> (Timestamp, Timestamp) {
    let now = local(timezone, time);
    let next = now.tomorrow().and_then(|next| next.start_of_day());
    let start = now.start_of_day();
    (
        start.map_or(Timestamp::EPOCH, |start| timestamp(&start)),
        next.map_or(Timestamp::LATEST, |next| timestamp(&next)),
    )
}

/// The first moment of the hour that a time lies in by the clocks of a time zone, and the first one after it.
pub fn hour(timezone: &str, time: Timestamp) -> (Timestamp, Timestamp) {
    let offset = i64::from(local(timezone, time).offset().seconds());
    let seconds = time.micros() / 1_000_000 + offset;
    let start = Timestamp::from_micros((seconds - seconds.rem_euclid(HOUR_SECONDS) - offset) * 1_000_000);
    (start, start.plus_seconds(HOUR_SECONDS))
}

/// A time as the clocks of a time zone show it.
fn local(timezone: &str, time: Timestamp) -> ZonedDateTime {
    let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
    jiff::Timestamp::from_microsecond(time.micros()).unwrap_or_default().to_zoned_datetime(zone)
}

fn timestamp(zoned: &ZonedDateTime) -> Timestamp {
    Timestamp::from_micros(zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(timezone: &str, time: &str) -> (String, String, String) {
        let Period { name, start, end } = Period::containing(timezone, time.parse().unwrap());
        (name, start.to_string(), end.to_string())
    }

    #[test]
    fn a_period_is_a_month_by_the_clocks_of_the_place() {
        // Berlin goes from summer to winter time within October, so this month has an hour more.
        for (timezone, time, name, start, end) in [
            (
                "Europe/Berlin",
                "2026-10-31T22:59:59Z",
                "2026-10",
                "2026-09-30T22:00:00",
                "2026-10-31T23:00:00",
            ),
            (
                "Europe/Berlin",
                "2026-10-31T23:00:00Z",
                "2026-11",
                "2026-10-31T23:00:00",
                "2026-11-30T23:00:00",
            ),
            // New York begins summer time within March.
            (
                "America/New_York",
                "2026-03-08T07:00:00Z",
                "2026-03",
                "2026-03-01T05:00:00",
                "2026-04-01T04:00:00",
            ),
            // A leap year's February, half an hour off the full hour.
            ("Asia/Kolkata", "2028-02-29T18:29:59Z", "2028-02", "2028-01-31T18:30:00", "2028-02-29T18:30:00"),
            // The first place in which a month begins, and the last.
            (
                "Pacific/Kiritimati",
                "2026-01-31T10:00:00Z",
                "2026-02",
                "2026-01-31T10:00:00",
                "2026-02-28T10:00:00",
            ),
            (
                "Pacific/Pago_Pago",
                "2026-02-01T10:59:59Z",
                "2026-01",
                "2026-01-01T11:00:00",
                "2026-02-01T11:00:00",
            ),
            // Jordan's clocks went forward at midnight of April's first day: 00:00 was not.
            ("Asia/Amman", "2005-04-01T00:00:00Z", "2005-04", "2005-03-31T22:00:00", "2005-04-30T21:00:00"),
        ] {
            let expected = (name.to_owned(), format!("{start}.000000Z"), format!("{end}.000000Z"));
            assert_eq!(period(timezone, time), expected, "{timezone} {time}");
        }
    }

    #[test]
    fn hours_are_those_of_the_place() {
        for (timezone, time, start) in [
            ("UTC", "2026-11-30T15:59:59.999999Z", "2026-11-30T15:00:00.000000Z"),
            ("Asia/Kolkata", "2026-11-30T15:29:59Z", "2026-11-30T14:30:00.000000Z"),
            ("Asia/Kathmandu", "2026-11-30T15:15:00Z", "2026-11-30T15:15:00.000000Z"),
            // The hour that Berlin has twice, the second time.
            ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00.000000Z"),
        ] {
            let (from, to) = hour(timezone, time.parse().unwrap());
            assert_eq!(
                (from.to_string().as_str(), to.seconds_since(from)),
                (start, HOUR_SECONDS),
                "{timezone}"
            );
        }
    }

    #[test]
    fn a_day_has_as_many_hours_as_the_place_has() {
        for (date, hours) in [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-30", 24)] {
            let noon = format!("{date}T12:00:00Z").parse().unwrap();
            let (start, end) = Granularity::Day.span("Europe/Berlin", noon);
            assert_eq!(end.seconds_since(start), hours * HOUR_SECONDS, "{date}");
            assert!(start < noon && noon < end);
        }
    }

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        for timezone in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Pacific/Apia",
        ] {
            let mut period = Period::containing(timezone, "2009-12-31T12:00:00Z".parse().unwrap());
            for _ in 0..240 {
                let before = Period::containing(timezone, Timestamp::from_micros(period.end.micros() - 1));
                assert_eq!(before, period, "{timezone}");
                let next = Period::containing(timezone, period.end);
                assert_eq!(next.start, period.end, "{timezone}");
                assert!(next.name > period.name, "{timezone}");
                period = next;
            }
        }
    }

    #[test]
    fn time_ends_with_the_year_9999() {
        let last = Period::containing("UTC", Timestamp::LATEST);
        assert_eq!((last.name.as_str(), last.end), ("9999-12", Timestamp::LATEST));
        assert_eq!(Period::containing("Europe/Berlin", Timestamp::EPOCH).start, Timestamp::EPOCH);
    }
}
