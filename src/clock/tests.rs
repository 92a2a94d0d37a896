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

#[test]
fn hours_begin_on_the_clock() {
    let half_past = start().plus_seconds(HOUR_SECONDS / 2);
    assert_eq!(half_past.hour(), start().hour());
    assert_eq!(start().plus_seconds(-1).hour() + 1, start().hour());
    assert_eq!(half_past.next_full(HOUR_SECONDS), start().plus_seconds(HOUR_SECONDS));
    assert_eq!(start().next_full(MINUTE_SECONDS), start().plus_seconds(MINUTE_SECONDS));
}

#[test]
fn a_small_step_is_fine_and_a_recorded_time_never_decreases() {
    for seconds in [-5, -1, 1, 5, 60, 600] {
        let (clock, hands) = manual();
        let last = clock.writable_now().expect("fine");
        hands.jump(seconds);
        let now = clock.writable_now().expect("a small step");
        assert_eq!(now, start().plus_seconds(seconds));
        assert_eq!(now.at_after(last), start().plus_seconds(seconds.max(0)), "{seconds}");
    }
}

#[test]
fn a_jump_while_running_stops_writes_until_it_is_right_again() {
    for (seconds, expected) in [
        (-6, Jump::FellBack),
        (-600, Jump::FellBack),
        (-YEARS_75 / 2, Jump::FellBack),
        (601, Jump::RanAhead),
        (660, Jump::RanAhead),
        (YEARS_75, Jump::RanAhead),
    ] {
        let (clock, hands) = manual();
        clock.writable_now().expect("fine");
        hands.jump(seconds);
        assert_eq!(jump(&clock), Some(expected), "{seconds}");
        hands.advance(Duration::from_secs(3_600));
        assert_eq!(jump(&clock), Some(expected), "waiting does not make {seconds} right");
        assert_eq!(clock.now(), start().plus_seconds(3_600 + seconds), "reads go on");
        hands.jump(-seconds);
        assert_eq!(clock.writable_now(), Ok(start().plus_seconds(3_600)), "{seconds}");
    }
}

#[test]
fn a_jump_is_noticed_however_long_nothing_was_written() {
    for seconds in [-600, 660] {
        let (clock, hands) = manual();
        clock.writable_now().expect("fine");
        hands.advance(Duration::from_hours(24));
        hands.jump(seconds);
        assert!(clock.writable_now().is_err(), "{seconds}");
    }
}

#[test]
fn a_suspended_machine_has_not_jumped() {
    let (clock, hands) = manual();
    hands.advance(Duration::from_hours(24 * 90));
    assert_eq!(clock.writable_now(), Ok(start().plus_seconds(90 * DAY)));
}

#[test]
fn slow_drift_never_adds_up_to_a_jump() {
    // Half a millisecond a second, the most that a clock is slewed by, for a year, forwards and backwards.
    for gain_a_day in [43, -5] {
        let (clock, hands) = manual();
        for day in 0..365 {
            hands.advance(Duration::from_hours(24));
            hands.jump(gain_a_day);
            assert!(clock.writable_now().is_ok(), "day {day}, {gain_a_day} s a day");
        }
    }
}

#[test]
fn many_small_steps_back_at_one_time_do_add_up() {
    let (clock, hands) = manual();
    clock.writable_now().expect("fine");
    hands.jump(-4);
    clock.writable_now().expect("a small step");
    hands.jump(-4);
    assert_eq!(jump(&clock), Some(Jump::FellBack));
}

#[test]
fn at_start_the_clock_is_held_against_the_newest_record() {
    for (seconds, expected) in [
        (-YEARS_75 / 2, Some(Jump::BehindNewest)),
        (-600, Some(Jump::BehindNewest)),
        (-6, Some(Jump::BehindNewest)),
        (-5, None),
        (-1, None),
        (1, None),
        (600, None),
        (400 * DAY, None),
        (400 * DAY + 1, Some(Jump::AheadOfNewest)),
        (YEARS_75, Some(Jump::AheadOfNewest)),
    ] {
        let (clock, hands) = manual();
        hands.jump(seconds);
        clock.resume(start());
        assert_eq!(jump(&clock), expected, "{seconds}");
        if expected.is_none() {
            continue;
        }
        hands.jump(-seconds);
        assert_eq!(clock.writable_now(), Ok(start()), "right again after {seconds}");
        hands.jump(660);
        assert_eq!(jump(&clock), Some(Jump::RanAhead), "and from then on held against boot time");
    }
}

#[test]
fn a_clock_behind_the_newest_record_becomes_right_by_waiting() {
    let (clock, hands) = manual();
    clock.resume(start().plus_seconds(60));
    assert_eq!(jump(&clock), Some(Jump::BehindNewest));
    hands.advance(Duration::from_secs(55));
    assert_eq!(clock.writable_now(), Ok(start().plus_seconds(55)));
}

#[test]
fn an_accepted_clock_is_right_from_then_on() {
    for seconds in [-YEARS_75 / 2, -660, 660, YEARS_75] {
        let (clock, hands) = manual();
        let newest = clock.writable_now().expect("fine");
        hands.jump(seconds);
        assert!(clock.writable_now().is_err());
        assert_eq!(clock.accept(), start().plus_seconds(seconds));
        let now = clock.writable_now().expect("accepted");
        assert_eq!(now.at_after(newest), newest.max(now));
        hands.advance(Duration::from_secs(60));
        clock.writable_now().expect("still accepted");
        hands.jump(-seconds);
        assert!(clock.writable_now().is_err(), "the way back is a jump as well");
    }
}

#[test]
fn after_a_restart_what_was_accepted_may_go_on() {
    let accepted = start().plus_seconds(-600);
    let (clock, hands) = Clock::manual(accepted);
    hands.advance(Duration::from_secs(60));
    clock.resume(accepted);
    assert_eq!(clock.writable_now(), Ok(accepted.plus_seconds(60)));
}

#[test]
fn the_message_says_what_was_seen_and_both_remedies() {
    let (clock, hands) = manual();
    hands.jump(-600);
    let message = clock.writable_now().expect_err("fell back").to_string();
    assert_eq!(
        message,
        "the system clock says 2026-11-24T11:50:00.000000Z, 600 s before what it should say \
         (2026-11-24T12:00:00.000000Z): nothing is written until the clock is right; set it, or run \
         `settled clock accept` if 2026-11-24T11:50:00.000000Z is the right time"
    );
}

#[tokio::test]
async fn a_timer_fires_when_boot_time_passes_and_not_before() {
    let (clock, hands) = manual();
    let task = tokio::spawn(clock.sleep(Duration::from_secs(10)));
    hands.sleeping(1).await;
    hands.set_wall(start().plus_seconds(YEARS_75));
    hands.advance(Duration::from_millis(9_999));
    tokio::task::yield_now().await;
    assert!(!task.is_finished(), "neither a jump nor too short a time ends it");
    hands.advance_boot(Duration::from_millis(1));
    task.await.expect("it ends");
}

#[tokio::test]
async fn a_timer_counts_from_the_call() {
    let (clock, hands) = manual();
    let sleep = clock.sleep(Duration::from_secs(10));
    hands.advance(Duration::from_secs(10));
    sleep.await;
}

#[tokio::test]
async fn a_cancelled_timer_does_not_count() {
    let (clock, hands) = manual();
    let task = tokio::spawn(clock.sleep(Duration::from_secs(10)));
    hands.sleeping(1).await;
    task.abort();
    assert!(task.await.expect_err("cancelled").is_cancelled());
    assert_eq!(*hands.0.sleepers.borrow(), 0);
}

#[tokio::test]
async fn a_timeout_gives_what_came_in_time_or_says_that_nothing_did() {
    let (clock, hands) = manual();
    assert_eq!(clock.timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
    let waiting = clock.clone();
    let task =
        tokio::spawn(
            async move { waiting.timeout(Duration::from_secs(1), std::future::pending::<()>()).await },
        );
    hands.sleeping(1).await;
    hands.advance(Duration::from_secs(1));
    assert_eq!(task.await.expect("it ends"), Err(TimedOut));
}

#[tokio::test]
async fn a_blocked_thread_goes_on_when_boot_time_passes() {
    let (clock, hands) = manual();
    let thread = std::thread::spawn(move || clock.wait(Duration::from_secs(10)));
    hands.sleeping(1).await;
    hands.advance(Duration::from_secs(10));
    thread.join().expect("it ends");
}

#[tokio::test]
async fn the_systems_clock_moves_by_itself() {
    let clock = Clock::system();
    let (wall, boot) = (clock.writable_now().expect("a machine's clock"), clock.boot_elapsed());
    clock.sleep(Duration::from_millis(20)).await;
    clock.wait(Duration::from_millis(1));
    assert!(clock.boot_elapsed() >= boot + Duration::from_millis(21));
    assert!(clock.writable_now().expect("no jump") > wall);
    assert!(wall > "2026-01-01T00:00:00Z".parse().expect("a time"));
}
