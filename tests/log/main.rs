//! The log, from outside: its promises, its files, and what survives of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod commit;
mod damage;
#[path = "../support/events.rs"]
mod events;
mod golden;
mod powercut;
mod reopen;
#[path = "../support/store.rs"]
mod store;
mod suite;
mod torn;

/// How much of the long tests to run: 1 is a sample for CI, 10 is all.
fn scale() -> u32 {
    std::env::var("SETTLED_TEST_SCALE")
        .map_or(1, |text| text.parse().expect("SETTLED_TEST_SCALE is a number"))
}
