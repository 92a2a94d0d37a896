//! What the clock promises: timers follow boot time, and a jumped wall clock is never written down.

use super::guard::Jump;
use super::*;

const DAY: i64 = 86_400;
const YEARS_75: i64 = 75 * 365 * DAY;

fn start() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

fn manual() -> (Clock, Hands) {
    Clock::manual(start())
}

fn jump(clock: &Clock) -> Option<Jump> {
    clock.writable_now().err().map(|jumped| jumped.jump)
}
