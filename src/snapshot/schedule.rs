//! Snapshots by time alone: one is due so long after the newest, also over restarts; after each a drill, and what is old goes.

use std::time::Duration;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::{HOUR_SECONDS, MINUTE_SECONDS, Timestamp};
use crate::snapshot::operating::{OperatingError, Snapshots};
use crate::snapshot::retention::Retention;
use crate::store::Store;

/// When it is tried again after it failed.
const AGAIN_SECONDS: i64 = 10 * MINUTE_SECONDS;
/// How long it sleeps at most, so that a clock that was set right is noticed.
const LOOK_SECONDS: i64 = 10 * MINUTE_SECONDS;

/// How often, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long after the newest snapshot the next one is due, in seconds.
    pub every_seconds: i64,
    /// What is kept.
    pub retention: Retention,
}

/// Runs until `stop`. What is under way then comes to nothing, for its log is closed, and is swept by the next look.
pub async fn run(store: Store, snapshots: Snapshots, schedule: Schedule, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut not_before = store.clock().now();
    loop {
        let now = store.clock().credible_now();
        let due = due_at(&store, schedule.every_seconds, not_before);
        if due > now {
            let seconds = due.seconds_since(now).clamp(1, LOOK_SECONDS);
            tokio::select! {
                () = &mut stop => return,
                () = store.clock().sleep(Duration::from_secs(seconds.unsigned_abs())) => continue,
            }
        }
        tokio::select! {
            () = &mut stop => return,
            done = once(&store, &snapshots, schedule.retention) => {
                let again_seconds = match done {
                    // The files are there: another one at once would only take more of the disk.
                    Err(OperatingError::Refused(_)) => schedule.every_seconds,
                    _ => AGAIN_SECONDS.min(schedule.every_seconds),
                };
                if let Err(error) = done {
                    let error = with_causes(&error);
                    tracing::error!(error, again_seconds, "a scheduled snapshot failed; it is tried again");
                }
                not_before = store.clock().credible_now().plus_seconds(again_seconds);
            }
        }
    }
}

/// Rewrites, each hour until `stop` and sooner where it failed, the keys of the folder's snapshots without what was destroyed.
pub async fn renew_keys(store: Store, snapshots: Snapshots, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        let seconds = if snapshots.renew_keys(&store).await { HOUR_SECONDS } else { AGAIN_SECONDS };
        tokio::select! {
            () = &mut stop => return,
            () = store.clock().sleep(Duration::from_secs(seconds.unsigned_abs())) => {}
        }
    }
}

/// Takes a snapshot, restores it for practice, and removes what is old.
///
/// # Errors
/// When one of these failed, or the drill came to something else than is here.
pub async fn once(store: &Store, snapshots: &Snapshots, retention: Retention) -> Result<(), OperatingError> {
    let taken = snapshots.take(store, None, Actor::SYSTEM, |_, _| {}).await?;
    tracing::info!(snapshot = %taken.id, position = taken.position, bytes = taken.bytes, "took a snapshot");
    let drilled = snapshots.drill(store, Some(taken.id), Actor::SYSTEM, |_, _| {}).await?;
    if !drilled.is_sound() {
        return Err(OperatingError::Unsound { snapshot: taken.id, why: drilled.why() });
    }
    snapshots.expire(store.clock().credible_now(), retention).await
}

fn due_at(store: &Store, every_seconds: i64, not_before: Timestamp) -> Timestamp {
    let last = store.platform().view().platform().operations.last_snapshot;
    last.map_or(not_before, |last| last.at.plus_seconds(every_seconds).max(not_before))
}
