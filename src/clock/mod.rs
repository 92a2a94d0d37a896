//! Time: [`Timestamp`] as recorded, and [`Clock`], the only place that reads the system's clocks.
//!
//! Every time and every timer goes through a [`Clock`], so that tests drive them with [`Hands`]. Here is also what
//! keeps a jumped wall clock out of the log: [`Clock::writable_now`].

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::guard::{ClockJumped, Guard};

pub mod guard;

/// A point in time in microseconds since 1970 UTC; as text RFC 3339 in UTC with six digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A second in microseconds.
const SECOND_MICROS: i64 = 1_000_000;
/// A minute in seconds.
pub const MINUTE_SECONDS: i64 = 60;
/// An hour in seconds.
pub const HOUR_SECONDS: i64 = 3_600;
/// A day of 24 hours in seconds.
pub const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// The last microsecond of the year 9999: later times have no RFC 3339 form.
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

/// The text was not a time, or lies outside the years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time between 1970 and 9999")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 1970.
    pub const EPOCH: Self = Self(0);
    /// The last microsecond of the year 9999.
    pub const LATEST: Self = Self(LATEST_MICROS);

    /// The time at `micros` microseconds since 1970, clamped to the years 1970 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, LATEST_MICROS))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// This time and some seconds (possibly negative), clamped.
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(SECOND_MICROS)))
    }

    /// This time and a span, clamped.
    pub fn plus(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// The time to record for what is decided at this time after something was recorded at `last`: the times of a
    /// stream never decrease, so a small step back of the clock repeats the last one.
    pub fn at_after(self, last: Self) -> Self {
        self.max(last)
    }

    /// Whole seconds from `earlier` to this time; negative if it is later.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0) / SECOND_MICROS
    }

    /// The hour that it lies in, counted from 1970.
    pub fn hour(self) -> i64 {
        self.0 / (HOUR_SECONDS * SECOND_MICROS)
    }

    /// The day that it lies in, counted from 1970.
    pub fn day(self) -> i64 {
        self.0 / (DAY_SECONDS * SECOND_MICROS)
    }

    /// The next time on the clock that is a whole number of spans of so many seconds from 1970: of an hour's seconds
    /// the next full hour. Never this time itself.
    pub fn next_full(self, seconds: i64) -> Self {
        let span = seconds * SECOND_MICROS;
        Self::from_micros((self.0 / span + 1) * span)
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

const PRINTER: jiff::fmt::temporal::DateTimePrinter =
    jiff::fmt::temporal::DateTimePrinter::new().precision(Some(6));

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PRINTER.print_timestamp(&self.jiff(), jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let micros = text.parse::<jiff::Timestamp>().map_err(|_| InvalidTimestamp)?.as_microsecond();
        if (0..=LATEST_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTimestamp) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Timestamp {}

/// The process's clocks: the wall clock, `CLOCK_BOOTTIME`, timers, and the guard over what may be written.
/// Clones share everything.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    guard: Arc<Mutex<Guard>>,
}

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

/// What a future was waiting for did not happen in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

impl Clock {
    /// The machine's clocks. The guard takes the present reading for good until [`Clock::resume`].
    pub fn system() -> Self {
        Self::over(Source::System)
    }

    /// A clock that shows `start` and stands still until its [`Hands`] move it. Its boot time starts at zero.
    pub fn manual(start: Timestamp) -> (Self, Hands) {
        let manual = Arc::new(Manual::new(start));
        (Self::over(Source::Manual(Arc::clone(&manual))), Hands(manual))
    }

    fn over(source: Source) -> Self {
        let (wall, boot) = source.read();
        Self { source, guard: Arc::new(Mutex::new(Guard::accepted(wall, boot))) }
    }

    /// The wall clock, as it is. What is written takes [`Clock::writable_now`], what ends sessions
    /// [`Clock::credible_now`].
    pub fn now(&self) -> Timestamp {
        self.source.read().0
    }

    /// The time since the machine was started, suspended time included. Never jumps; for spans and deadlines.
    pub fn boot_elapsed(&self) -> Duration {
        self.source.read().1
    }

    /// Makes the guard hold the wall clock against the log until a reading is good: to be called once, at start.
    /// `newest` is the time of the newest frame; or, while the log's time stands still because an operator accepted a
    /// clock behind it, the wall time that was accepted last.
    pub fn resume(&self, newest: Timestamp) {
        *self.guard() = Guard::Starting { newest };
    }

    /// The wall clock, if it may be written down.
    ///
    /// # Errors
    /// When the wall clock jumped; asked again, it answers by the reading of then.
    pub fn writable_now(&self) -> Result<Timestamp, ClockJumped> {
        let mut guard = self.guard();
        let (wall, boot) = self.source.read();
        guard.check(wall, boot).map(|()| wall)
    }

    /// The wall clock or, while it has jumped, what it should say: for sessions, which neither end nor begin to last
    /// for ever because the machine's clock is wrong for a while.
    pub fn credible_now(&self) -> Timestamp {
        let mut guard = self.guard();
        let (wall, boot) = self.source.read();
        guard.credible(wall, boot)
    }

    /// An operator vouches for the wall clock: the present reading is good, and is returned.
    pub fn accept(&self) -> Timestamp {
        let mut guard = self.guard();
        let (wall, boot) = self.source.read();
        *guard = Guard::accepted(wall, boot);
        wall
    }

    /// Ends when `span` of boot time has passed since the call (not since the first poll).
    pub fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send + use<> {
        let source = self.source.clone();
        let deadline = source.read().1.saturating_add(span);
        async move {
            match source {
                Source::System => sleep_until(deadline).await,
                Source::Manual(manual) => manual.sleep_until(deadline).await,
            }
        }
    }

    /// Blocks this thread until `span` of boot time has passed.
    pub fn wait(&self, span: Duration) {
        match &self.source {
            Source::System => std::thread::sleep(span),
            Source::Manual(manual) => manual.wait(span),
        }
    }

    /// What `future` gives, unless `span` of boot time passes first.
    ///
    /// # Errors
    /// When it did.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Result<F::Output, TimedOut> {
        let sleep = self.sleep(span);
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = sleep => Err(TimedOut),
        }
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::System => f.write_str("Clock(system)"),
            Source::Manual(_) => write!(f, "Clock(manual, {})", self.now()),
        }
    }
}

impl Source {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clocks are read")]
    fn read(&self) -> (Timestamp, Duration) {
        match self {
            Self::System => {
                let wall = clock_gettime(ClockId::Realtime);
                let micros = wall.tv_sec.saturating_mul(SECOND_MICROS).saturating_add(wall.tv_nsec / 1_000);
                let boot = clock_gettime(ClockId::Boottime);
                (Timestamp::from_micros(micros), boot.try_into().expect("boot time is not negative"))
            }
            Self::Manual(manual) => manual.read(),
        }
    }
}

/// The runtime's timers stand still while the machine is suspended, so long ones are looked at once a minute.
async fn sleep_until(deadline: Duration) {
    loop {
        let left = deadline.saturating_sub(Source::System.read().1);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_mins(1))).await;
    }
}

/// Moves a manual clock. Clones move the same clock.
#[derive(Clone)]
pub struct Hands(Arc<Manual>);

impl Hands {
    /// Lets time pass: wall and boot time together. Timers that fall due fire.
    pub fn advance(&self, span: Duration) {
        self.0.set(|readings| {
            readings.wall = readings.wall.plus(span);
            readings.boot += span;
        });
    }

    /// Lets boot time alone pass: a wall clock that stands still. Timers that fall due fire.
    pub fn advance_boot(&self, span: Duration) {
        self.0.set(|readings| readings.boot += span);
    }

    /// Sets the wall clock alone: a jump. No timer fires.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.set(|readings| readings.wall = wall);
    }

    /// Moves the wall clock alone by some seconds, possibly negative: a jump. No timer fires.
    pub fn jump(&self, seconds: i64) {
        self.0.set(|readings| readings.wall = readings.wall.plus_seconds(seconds));
    }

    /// Waits until at least `count` timers are running: what a test does before it lets time pass.
    pub async fn sleeping(&self, count: usize) {
        let mut sleepers = self.0.sleepers.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _seen = sleepers.wait_for(|sleepers| *sleepers >= count).await;
    }
}

#[derive(Clone, Copy)]
struct Readings {
    wall: Timestamp,
    boot: Duration,
}

struct Manual {
    readings: Mutex<Readings>,
    /// For threads that block in [`Clock::wait`].
    moved: Condvar,
    /// The boot time, for tasks that await [`Clock::sleep`].
    boot: watch::Sender<Duration>,
    /// How many timers are running.
    sleepers: watch::Sender<usize>,
}

impl Manual {
    fn new(start: Timestamp) -> Self {
        Self {
            readings: Mutex::new(Readings { wall: start, boot: Duration::ZERO }),
            moved: Condvar::new(),
            boot: watch::Sender::new(Duration::ZERO),
            sleepers: watch::Sender::new(0),
        }
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> (Timestamp, Duration) {
        let readings = self.readings();
        (readings.wall, readings.boot)
    }

    fn set(&self, change: impl FnOnce(&mut Readings)) {
        let mut readings = self.readings();
        change(&mut readings);
        self.boot.send_replace(readings.boot);
        self.moved.notify_all();
    }

    async fn sleep_until(&self, deadline: Duration) {
        let _counted = Sleeping::count(&self.sleepers);
        let mut boot = self.boot.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _reached = boot.wait_for(|boot| *boot >= deadline).await;
    }

    fn wait(&self, span: Duration) {
        let readings = self.readings();
        let deadline = readings.boot.saturating_add(span);
        let _counted = Sleeping::count(&self.sleepers);
        let reached = self.moved.wait_while(readings, |readings| readings.boot < deadline);
        drop(reached.unwrap_or_else(PoisonError::into_inner));
    }
}

/// One running timer; it counts until it is dropped, be it done or cancelled.
struct Sleeping<'a>(&'a watch::Sender<usize>);

impl<'a> Sleeping<'a> {
    fn count(sleepers: &'a watch::Sender<usize>) -> Self {
        sleepers.send_modify(|sleepers| *sleepers += 1);
        Self(sleepers)
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|sleepers| *sleepers -= 1);
    }
}

#[cfg(test)]
mod tests;
