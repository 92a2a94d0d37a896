//! What happens by time alone: ended sessions leave the directory, what streams said is due is done, what was left open is
//! finished, and counts whose window is over are recorded.

use std::time::Duration;

use crate::clock::MINUTE_SECONDS;
use crate::store::Store;

/// How often the scheduler looks, at the latest: at each full minute, when the counts of a minute are due.
const TICK_SECONDS: i64 = MINUTE_SECONDS;

/// Runs until `stop`, which never cuts what is due in two; every wait goes through the store's clock.
pub async fn run(store: Store, stop: impl Future<Output = ()>) {
    tokio::spawn({
        let store = store.clone();
        async move {
            store.sweep_keys().await;
            store.finish_rotations().await;
        }
    });
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = store.clock().sleep(until_next(&store)) => {}
        }
        tick(&store).await;
        // Beside all else: it may take long, and can be cut off anywhere.
        tokio::spawn({
            let store = store.clone();
            async move { store.finish_rotations().await }
        });
    }
}

/// What is due now.
pub async fn tick(store: &Store) {
    let now = store.clock().credible_now();
    store.directory().bring_back(now);
    let dropped = store.directory().drop_ended(now);
    if dropped > 0 {
        tracing::debug!(dropped, "ended sessions left the directory");
    }
    store.do_what_is_due(now).await;
    store.finish_intents().await;
    store.finish_ledger().await;
    store.flush_counts(false).await;
}

fn until_next(store: &Store) -> Duration {
    let now = store.clock().now();
    let tick = now.next_full(TICK_SECONDS);
    let due = store.directory().next_due().map_or(tick, |due| due.max(now.plus_seconds(1)));
    Duration::from_micros(due.min(tick).micros().abs_diff(now.micros()))
}
