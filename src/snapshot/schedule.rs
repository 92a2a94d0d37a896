//! Snapshots by time alone: one is due so long after the newest that this store put into its place, also over restarts; after
//! each a drill, and what is old goes.

use std::time::Duration;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::{HOUR_SECONDS, MINUTE_SECONDS, Timestamp};
use crate::ids::SnapshotId;
use crate::platform::operations::projection::Operations;
use crate::snapshot::operating::{OperatingError, Snapshots};
use crate::snapshot::retention::Retention;
use crate::store::Store;

/// When it is tried again after it failed once.
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

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Taking a snapshot.
    Take,
    /// Drilling the newest one, of which no drill has held yet.
    Drill(SnapshotId),
}

/// Runs until `stop`. What is under way then comes to nothing, for its log is closed, and is swept by the next look.
pub async fn run(store: Store, snapshots: Snapshots, schedule: Schedule, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut not_before = store.clock().now();
    let mut rests = Rests::new(schedule.every_seconds);
    loop {
        let now = store.clock().credible_now();
        // What was ahead when it was said puts nothing off for longer.
        not_before = not_before.min(now.plus_seconds(schedule.every_seconds));
        let (step, due) = {
            let view = store.platform().view();
            next(&view.platform().operations, schedule.every_seconds, now, not_before)
        };
        if due > now {
            let seconds = due.seconds_since(now).clamp(1, LOOK_SECONDS);
            tokio::select! {
                () = &mut stop => return,
                () = store.clock().sleep(Duration::from_secs(seconds.unsigned_abs())) => continue,
            }
        }
        tokio::select! {
            () = &mut stop => return,
            done = once(&store, &snapshots, step, schedule.retention) => {
                let rest_seconds = rests.after(step, &done);
                if let Err(error) = done {
                    let error = with_causes(&error);
                    tracing::error!(error, rest_seconds, "a scheduled snapshot or its drill failed; it is tried again");
                }
                not_before = store.clock().credible_now().plus_seconds(rest_seconds);
            }
        }
    }
}

/// How long it rests after each step.
struct Rests {
    every_seconds: i64,
    /// After the next failure.
    again_seconds: i64,
}

impl Rests {
    fn new(every_seconds: i64) -> Self {
        Self { every_seconds, again_seconds: AGAIN_SECONDS.min(every_seconds) }
    }

    /// After what fails again and again twice as long each time, but no longer than until the next snapshot is due.
    fn after(&mut self, step: Step, done: &Result<(), OperatingError>) -> i64 {
        match done {
            // Of the one that was taken a time may be noted that is still to come, and says nothing of when the next is due.
            Ok(()) => {
                *self = Self::new(self.every_seconds);
                if step == Step::Take { self.every_seconds } else { 0 }
            }
            // The files are there: another one at once would only take more of the disk.
            Err(OperatingError::Refused(_)) => self.every_seconds,
            Err(_) => {
                let rest = self.again_seconds;
                self.again_seconds = rest.saturating_mul(2).min(self.every_seconds);
                rest
            }
        }
    }
}

/// Rewrites, each hour until `stop`, when somebody asks and sooner where it failed, the keys of the folder's snapshots without
/// what was destroyed. A stop waits for none of it: whoever has the snapshots may have them for an hour.
pub async fn renew_keys(store: Store, snapshots: Snapshots, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        let look_and_rest = async {
            let seconds = if snapshots.renew_keys(&store).await { HOUR_SECONDS } else { AGAIN_SECONDS };
            tokio::select! {
                () = snapshots.asked_to_renew_keys() => {}
                () = store.clock().sleep(Duration::from_secs(seconds.unsigned_abs())) => {}
            }
        };
        tokio::select! {
            () = &mut stop => return,
            () = look_and_rest => {}
        }
    }
}

/// Takes a snapshot, if that is the step, restores it for practice, and removes what is old: only once a drill held.
///
/// # Errors
/// When one of these failed, or the drill came to something else than is here.
async fn once(
    store: &Store,
    snapshots: &Snapshots,
    step: Step,
    retention: Retention,
) -> Result<(), OperatingError> {
    let take = async || {
        let taken = snapshots.take(store, None, Actor::SYSTEM, |_, _| {}).await?;
        tracing::info!(snapshot = %taken.id, position = taken.position, bytes = taken.bytes, "took a snapshot");
        Ok::<_, OperatingError>(taken.id)
    };
    let drill = async |snapshot| snapshots.drill(store, Some(snapshot), Actor::SYSTEM, |_, _| {}).await;
    let snapshot = match step {
        Step::Take => take().await?,
        Step::Drill(snapshot) => snapshot,
    };
    let drilled = match drill(snapshot).await {
        // Somebody removed it, or has them go elsewhere now.
        Err(OperatingError::NoSuchSnapshot(_)) if step != Step::Take => drill(take().await?).await?,
        drilled => drilled?,
    };
    if !drilled.is_sound() {
        return Err(OperatingError::Unsound { snapshot: drilled.snapshot, why: drilled.why() });
    }
    snapshots.expire(store, retention).await
}

/// What is to be done next, and when. A snapshot of a time that is still to come was taken while the clock was ahead: nobody
/// knows how old it is.
fn next(done: &Operations, every_seconds: i64, now: Timestamp, not_before: Timestamp) -> (Step, Timestamp) {
    let Some(last) = done.last_in_place.filter(|last| last.at <= now) else {
        return (Step::Take, not_before);
    };
    let due = last.at.plus_seconds(every_seconds);
    let has_held = done.last_verified_restore.is_some_and(|held| held.snapshot == last.snapshot);
    if due > now && !has_held {
        (Step::Drill(last.snapshot), not_before)
    } else {
        (Step::Take, due.max(not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};
    use crate::platform::operations::projection::NotedSnapshot;

    /// The newest snapshot in the place is so many hours old, and the drill of another held, or of it.
    fn given(hours: i64, has_held: bool) -> Operations {
        let at = now().plus_seconds(-hours * HOUR_SECONDS);
        let noted = |number| Some(NotedSnapshot { snapshot: id(number), position: 7, at });
        let last_verified_restore = noted(if has_held { 1 } else { 2 });
        Operations { last_in_place: noted(1), last_verified_restore, ..Operations::default() }
    }

    /// What comes next of one each day, and in how many half hours, where nothing is done for half an hour.
    fn in_halves(done: &Operations) -> (Step, i64) {
        let (step, due) = next(done, 24 * HOUR_SECONDS, now(), now().plus_seconds(HOUR_SECONDS / 2));
        (step, due.seconds_since(now()) / (HOUR_SECONDS / 2))
    }

    #[test]
    fn one_is_due_so_long_after_the_newest_and_where_there_is_none_but_never_at_once_again() {
        assert_eq!(in_halves(&given(4, true)), (Step::Take, 40));
        assert_eq!(in_halves(&given(40, true)), (Step::Take, 1));
        assert_eq!(in_halves(&Operations::default()), (Step::Take, 1));
        let elsewhere = Operations { last_snapshot: given(4, true).last_in_place, ..Operations::default() };
        assert_eq!(in_halves(&elsewhere), (Step::Take, 1), "one that lies elsewhere is none");
    }

    #[test]
    fn one_that_was_taken_while_the_clock_was_ahead_keeps_no_other_waiting() {
        assert_eq!(in_halves(&given(-300, true)), (Step::Take, 1));
    }

    #[test]
    fn a_drill_that_did_not_hold_is_tried_again_until_the_next_snapshot_is_due() {
        assert_eq!(in_halves(&given(4, false)), (Step::Drill(id(1)), 1));
        assert_eq!(in_halves(&given(40, false)), (Step::Take, 1));
    }

    #[test]
    fn what_fails_again_and_again_is_tried_less_and_less_often() {
        let minutes = |rest: i64| rest / MINUTE_SECONDS;
        let (mut rests, failed) = (Rests::new(HOUR_SECONDS), Err(OperatingError::NoSuchSnapshot(id(1))));
        assert_eq!([(); 5].map(|()| minutes(rests.after(Step::Take, &failed))), [10, 20, 40, 60, 60]);
        assert_eq!(
            minutes(rests.after(Step::Take, &Ok(()))),
            60,
            "the next one is due then, whatever is noted"
        );
        assert_eq!(minutes(rests.after(Step::Drill(id(1)), &failed)), 10);
        assert_eq!(rests.after(Step::Drill(id(1)), &Ok(())), 0);
    }
}
