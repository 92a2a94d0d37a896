//! The periods of billing: the calendar months of an organization's time zone.

use jiff::ZonedDateTime;
use jiff::civil::Date;
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
        let today = now.date();
        Self {
            name: today.strftime("%Y-%m").to_string(),
            start: begins(Some(today.first_of_month()), now.time_zone()).unwrap_or(Timestamp::EPOCH),
            // Only the last month of the year 9999 has none after it.
            end: begins(today.last_of_month().tomorrow().ok(), now.time_zone()).unwrap_or(Timestamp::LATEST),
        }
    }

    /// The month of an organization that a time lies in.
    pub fn of(organization: &Organization, time: Timestamp) -> Self {
        Self::containing(organization.general.founded().map_or("UTC", |founded| &founded.timezone), time)
    }

    /// The month that something counts for at a time, where `newest` is the last in which anything was counted: a month
    /// that has begun is gone on with, also where another time zone would go back to the one before.
    pub fn counting(organization: &Organization, newest: &str, time: Timestamp) -> String {
        Self::of(organization, time).name.max(newest.to_owned())
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
    let today = now.date();
    (
        begins(Some(today), now.time_zone()).unwrap_or(Timestamp::EPOCH),
        begins(today.tomorrow().ok(), now.time_zone()).unwrap_or(Timestamp::LATEST),
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
    // The last day of the year 9999 is not everywhere in it.
    let time = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or(jiff::Timestamp::MAX);
    time.to_zoned_datetime(zone)
}

/// The first moment of a date in a time zone, or where there was no such day, of the day after. It is found by the date
/// alone: the same hour of another day may be one that the clocks skipped, and lead into the day after that.
fn begins(date: Option<Date>, zone: &TimeZone) -> Option<Timestamp> {
    let first = date?.to_zoned_datetime(zone.clone()).ok()?;
    Some(Timestamp::from_micros(first.timestamp().as_microsecond()))
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
            // Kiritimati went over the date line, and had no last day of December.
            (
                "Pacific/Kiritimati",
                "1994-12-16T22:00:00Z",
                "1994-12",
                "1994-12-01T10:00:00",
                "1994-12-31T10:00:00",
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
        // Of the next evening the last half hour was skipped, and nothing of the day before that.
        let evening = "2018-05-03T15:15:00Z".parse().unwrap();
        let (_, end) = Granularity::Day.span("Asia/Pyongyang", evening);
        assert_eq!(end.to_string(), "2018-05-03T15:30:00.000000Z");
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
            "Pacific/Kiritimati",
        ] {
            let mut period = Period::containing(timezone, "1994-06-30T12:00:00Z".parse().unwrap());
            for _ in 0..420 {
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
