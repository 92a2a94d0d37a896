//! The guard: tells a wall clock that may be written down from one that jumped. Pure: readings go in, a verdict
//! comes out; who reads the clocks is [`super::Clock`].
//!
//! Between runs the wall clock is compared with the newest record, while running with `CLOCK_BOOTTIME`, which
//! counts suspended time and never jumps. The comparison starts anew from each good reading, so that slow drift
//! never adds up to a jump.

use std::time::Duration;

use super::Timestamp;

/// A wall clock that fell back by more than this has jumped. A smaller step repeats the last time.
const BACK_MAX: Duration = Duration::from_secs(5);
/// A wall clock that gained more than this on `CLOCK_BOOTTIME` since the last good reading has jumped.
const AHEAD_RUNNING_MAX: Duration = Duration::from_mins(10);
/// A server that was off for longer than this is less likely than a broken clock.
const AHEAD_AT_START_MAX: Duration = Duration::from_hours(400 * 24);

/// How the wall clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// At start, behind the newest record.
    BehindNewest,
    /// At start, too far ahead of the newest record.
    AheadOfNewest,
    /// While running, it fell back.
    FellBack,
    /// While running, it ran ahead.
    RanAhead,
}

/// The wall clock jumped, and nothing is written until it is right again or an operator vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the system clock says {seen}, {}: nothing is written until the clock is right; \
     set it, or run `settled clock accept` if {seen} is the right time",
    self.against()
)]
pub struct ClockJumped {
    /// What the wall clock says.
    pub seen: Timestamp,
    /// What it is held against: the newest record's time, or what it should say by now.
    pub expected: Timestamp,
    /// How it is wrong.
    pub jump: Jump,
}

impl ClockJumped {
    fn against(&self) -> String {
        let seconds = self.seen.seconds_since(self.expected).unsigned_abs();
        let expected = self.expected;
        match self.jump {
            Jump::BehindNewest => format!("{seconds} s before the newest record ({expected})"),
            Jump::AheadOfNewest => format!("{} days after the newest record ({expected})", seconds / 86_400),
            Jump::FellBack => format!("{seconds} s before what it should say ({expected})"),
            Jump::RanAhead => format!("{seconds} s after what it should say ({expected})"),
        }
    }
}

/// What the next reading is held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// The newest record: no reading of this run was good yet.
    Starting { newest: Timestamp },
    /// The last good reading of this run, and the latest wall time of all good ones, so that many small steps
    /// back do not add up either.
    Running { wall: Timestamp, boot: Duration, latest: Timestamp },
}

impl Guard {
    /// Takes a reading for good, whatever came before it.
    pub(super) fn accepted(wall: Timestamp, boot: Duration) -> Self {
        Self::Running { wall, boot, latest: wall }
    }

    /// A reading if it is good, else what the clock should say.
    pub(super) fn credible(&mut self, seen: Timestamp, boot: Duration) -> Timestamp {
        self.check(seen, boot).map_or_else(|jumped| jumped.expected, |()| seen)
    }

    /// Judges a reading. A bad one changes nothing: the next is held against the same.
    pub(super) fn check(&mut self, seen: Timestamp, boot: Duration) -> Result<(), ClockJumped> {
        let jumped = |expected, jump| Err(ClockJumped { seen, expected, jump });
        match *self {
            Self::Starting { newest } if seen.plus(BACK_MAX) < newest => jumped(newest, Jump::BehindNewest),
            Self::Starting { newest } if newest.plus(AHEAD_AT_START_MAX) < seen => {
                jumped(newest, Jump::AheadOfNewest)
            }
            Self::Starting { .. } => {
                *self = Self::accepted(seen, boot);
                Ok(())
            }
            Self::Running { wall, boot: boot_then, latest } => {
                let expected = wall.plus(boot.saturating_sub(boot_then));
                if seen.plus(BACK_MAX) < expected.max(latest) {
                    return jumped(expected.max(latest), Jump::FellBack);
                }
                if expected.plus(AHEAD_RUNNING_MAX) < seen {
                    return jumped(expected, Jump::RanAhead);
                }
                *self = Self::Running { wall: seen, boot, latest: latest.max(seen) };
                Ok(())
            }
        }
    }
}
