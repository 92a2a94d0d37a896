//! When the things of a history happen: evenly over its time, or when people work.

use settled::clock::{DAY_SECONDS, Timestamp};

use super::dice::Dice;

/// How many things happen in one organization before another one's turn: somebody sits down, logs in, and works.
const AT_A_TIME: usize = 16;
/// The same where each turn is to be seen as one.
const AT_A_SITTING: usize = 5;
/// When people begin to work, in seconds of a UTC day: in the morning of central Europe.
const MORNING_SECONDS: i64 = 7 * 3600;
/// For how long they do, until the last of them begins something.
const WORKDAY_SECONDS: usize = 9 * 3600;

/// When things happen.
#[derive(Clone, Debug)]
pub enum Pace {
    /// At any time of the day and the week.
    Evenly,
    /// On working days, while it is day.
    WorkingHours(Dice),
}

impl Pace {
    /// How many things happen before a pause.
    pub fn at_a_time(&self) -> usize {
        match self {
            Self::Evenly => AT_A_TIME,
            Self::WorkingHours(_) => AT_A_SITTING,
        }
    }

    /// When the next turn begins that an even pace would have begin at a time; not before `now`.
    pub fn next(&mut self, even: Timestamp, now: Timestamp) -> Timestamp {
        let begins = match self {
            Self::Evenly => even,
            Self::WorkingHours(dice) => {
                let seconds = even.micros().div_euclid(1_000_000);
                let day = working_day(seconds.div_euclid(DAY_SECONDS));
                let within = i64::try_from(dice.below(WORKDAY_SECONDS)).unwrap_or_default();
                Timestamp::from_micros((day * DAY_SECONDS + MORNING_SECONDS + within) * 1_000_000)
            }
        };
        begins.max(now)
    }
}

/// The day itself, counted from the beginning of 1970, a Thursday; or the Monday after it.
fn working_day(day: i64) -> i64 {
    match (day + 3).rem_euclid(7) {
        5 => day + 2,
        6 => day + 1,
        _ => day,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_works_at_night_or_on_a_weekend() {
        let mut pace = Pace::WorkingHours(Dice::new(1));
        let monday = Timestamp::from_micros(1_764_547_200_000_000);
        assert_eq!(monday.to_string(), "2025-12-01T00:00:00.000000Z");
        for hours in 0..24 * 14 {
            let even = monday.plus_seconds(hours * 3600);
            let next = pace.next(even, monday);
            let of_week = next.seconds_since(monday).rem_euclid(7 * DAY_SECONDS);
            assert!(of_week < 5 * DAY_SECONDS, "{next}");
            let of_day = of_week % DAY_SECONDS;
            assert!((MORNING_SECONDS..MORNING_SECONDS + WORKDAY_SECONDS as i64).contains(&of_day), "{next}");
        }
        assert_eq!(
            pace.next(monday, monday.plus_seconds(40 * DAY_SECONDS)),
            monday.plus_seconds(40 * DAY_SECONDS)
        );
        assert_eq!(Pace::Evenly.next(monday.plus_seconds(1), monday), monday.plus_seconds(1));
    }
}
