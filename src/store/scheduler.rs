//! What happens by time alone: ended sessions leave the directory, and counts whose window is over are recorded.

use std::time::Duration;

use crate::store::Store;

/// How often the scheduler looks, at the latest.
const TICK: Duration = Duration::from_secs(60);

/// Runs for as long as it is polled; every wait goes through the store's clock.
pub async fn run(store: Store) {
    loop {
        store.clock().sleep(until_next(&store)).await;
        tick(&store).await;
    }
}

/// What is due now.
pub async fn tick(store: &Store) {
    let dropped = store.directory().drop_ended(store.clock().now());
    if dropped > 0 {
        tracing::debug!(dropped, "ended sessions left the directory");
    }
    store.flush_counts(false).await;
}

fn until_next(store: &Store) -> Duration {
    let now = store.clock().now();
    match store.directory().next_due() {
        Some(due) => {
            let seconds = u64::try_from(due.seconds_since(now)).unwrap_or(0);
            Duration::from_secs(seconds).clamp(Duration::from_secs(1), TICK)
        }
        None => TICK,
    }
}
