//! What happens by time alone: ended sessions leave the directory, what streams said is due is done, what was left open is
//! finished, access tokens are refreshed, sign-ups that nobody verified are forgotten, DNS is asked again about domains, and counts whose window is over
//! are recorded.

use std::time::Duration;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::{MINUTE_SECONDS, Timestamp};
use crate::dns::Dns;
use crate::oauth::refresh::Refresher;
use crate::platform::accounts::command::AccountsCommand;
use crate::store::{Store, Submission};

/// How often the scheduler looks, at the latest: at each full minute, when the counts of a minute are due.
const TICK_SECONDS: i64 = MINUTE_SECONDS;

/// Runs until `stop`, which never cuts what is due in two; every wait goes through the store's clock.
pub async fn run(store: Store, dns: Dns, refresher: Refresher, stop: impl Future<Output = ()>) {
    tokio::spawn({
        let store = store.clone();
        async move {
            store.sweep_keys().await;
            store.finish_rotations().await;
        }
    });
    let mut stop = std::pin::pin!(stop);
    let mut begun = Timestamp::from_micros(0);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = store.clock().sleep(until_next(&store, begun)) => {}
            // What came of it may be due again before anything else is.
            () = refresher.landed() => {
                let now = store.clock().credible_now();
                if refresher.refresh_due_after(begun, now) {
                    begun = now;
                }
                continue;
            }
        }
        tick(&store).await;
        let now = store.clock().credible_now();
        if refresher.refresh_due(now) {
            begun = now;
        }
        // Beside all else: both may take long, and can be cut off anywhere.
        tokio::spawn({
            let store = store.clone();
            async move { store.finish_rotations().await }
        });
        tokio::spawn({
            let (store, dns) = (store.clone(), dns.clone());
            let now = store.clock().credible_now();
            async move { store.recheck_domains(&dns, now).await }
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
    store.finish_ledger().await;
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

fn until_next(store: &Store, begun: Timestamp) -> Duration {
    let now = store.clock().now();
    let tick = now.next_full(TICK_SECONDS);
    let due = store.directory().next_due(begun).map_or(tick, |due| due.max(now.plus_seconds(1)));
    Duration::from_micros(due.min(tick).micros().abs_diff(now.micros()))
}
