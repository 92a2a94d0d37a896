//! What happens by time alone: ended sessions leave the directory, intents that were left open are finished, sign-ups that
//! nobody verified are forgotten, and counts whose window is over are recorded.

use std::time::Duration;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::platform::accounts::command::AccountsCommand;
use crate::store::{Store, Submission};

/// How often the scheduler looks, at the latest.
const TICK: Duration = Duration::from_secs(60);

/// Runs until `stop`, which never cuts what is due in two; every wait goes through the store's clock.
pub async fn run(store: Store, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = store.clock().sleep(until_next(&store)) => {}
        }
        tick(&store).await;
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
    store.finish_intents().await;
    forget_sign_ups(store, now).await;
    store.flush_counts(false).await;
}

/// How many sign-ups are forgotten at a time; what is left waits for the next look.
const FORGOTTEN_AT_ONCE: usize = 256;

/// Their keys go with them. What the store refuses now is tried again at the next look.
async fn forget_sign_ups(store: &Store, now: Timestamp) {
    let view = store.platform().view();
    let due = view.platform().accounts.sign_ups.due(now).take(FORGOTTEN_AT_ONCE);
    for account in due.collect::<Vec<_>>() {
        let expire = AccountsCommand::ExpireSignUp(account);
        if let Err(error) = store.execute(store.platform(), Submission::new(expire, Actor::SYSTEM)).await {
            tracing::warn!(error = with_causes(&error), "a sign-up could not be forgotten yet");
            return;
        }
    }
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
