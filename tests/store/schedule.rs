//! Snapshots by time alone, by a clock that the test moves: each when it is due, whatever the clock said before.

use std::time::Duration;

use settled::clock::HOUR_SECONDS;
use settled::event::Event;
use settled::ids::StreamId;
use settled::platform::operations::event::OperationsEvent;
use settled::snapshot::retention::Retention;
use settled::snapshot::schedule::{self, Schedule};

use crate::commands::accept_clock;
use crate::snapshot_folder::snapshots;
use crate::snapshots::{Place, given};
use crate::test_store::TestStore;

const EVERY_SECONDS: i64 = 6 * HOUR_SECONDS;

/// How many snapshots were restored for practice, each after it was taken.
fn drilled(store: &TestStore) -> usize {
    let events = store.events(StreamId::Platform);
    let is_drill = |event: &Event| matches!(event, Event::Operations(OperationsEvent::SnapshotDrilled(drilled)) if drilled.sound);
    events.iter().filter(|recorded| is_drill(&recorded.event)).count()
}

async fn until_drilled(store: &TestStore, count: usize) {
    for _ in 0..12_000 {
        if drilled(store) >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} of {count} came within a minute", drilled(store));
}

/// Lets so many hours pass, as the schedule looks at the clock.
async fn pass(store: &TestStore, hours: u32) {
    for _ in 0..6 * hours {
        store.hands.sleeping(1).await;
        store.hands.advance(Duration::from_secs(10 * 60));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_has_none_taken_before_the_next_is_due() {
    let (store, ..) = given().await;
    let place = Place::new();
    let retention = Retention { histories: None, keys_seconds: i64::MAX };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(schedule::run(
        store.store.clone(),
        snapshots(&place),
        Schedule { every_seconds: EVERY_SECONDS, retention },
        async { drop(stopped.await) },
    ));
    until_drilled(&store, 1).await;
    pass(&store, 5).await;
    assert_eq!(drilled(&store), 1, "the next is not due");
    pass(&store, 2).await;
    until_drilled(&store, 2).await;

    // A month ahead, while one is taken: its event is of a time to come, and so is each that follows.
    let right = store.clock.now();
    store.hands.jump(30 * 24 * HOUR_SECONDS);
    accept_clock(&store).await;
    pass(&store, 1).await;
    until_drilled(&store, 3).await;
    store.hands.set_wall(right);
    accept_clock(&store).await;
    pass(&store, 24).await;
    until_drilled(&store, 6).await;
    pass(&store, 4).await;
    assert!((6..=8).contains(&drilled(&store)), "{} in 28 hours, one each six", drilled(&store) - 3);
    drop(stop);
    running.await.unwrap();
}
