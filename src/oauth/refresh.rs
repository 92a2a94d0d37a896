//! Keeping access tokens alive: each is refreshed before it ends, one at a time for each connection, and tried again with
//! growing pauses where that fails.
//!
//! A refresh goes on whoever stops waiting for it, for a provider that rotates refresh tokens has ended the one before by the
//! time it answers: what it handed out is recorded, or tried to be for as long as this process lives. Dying in between leaves
//! the refresh token of before, which is tried again at start; many providers accept it once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, StreamId};
use crate::oauth::client::{Granted, NotGranted, refresh};
use crate::oauth::registration::{NoRegistration, Registration};
use crate::oauth::revocation::give_back;
use crate::oauth::turns::Turns;
use crate::outgoing::Outgoing;
use crate::seal::keyring::KeyError;
use crate::seal::{DataKey, Plain};
use crate::settings::connections::command::ConnectionsCommand;
use crate::settings::connections::granting::{HandedOut, NoteFailure, NoteRefresh};
use crate::settings::connections::{ACCESS_TOKEN, REFRESH_TOKEN, credential_field};
use crate::store::resident::Handle;
use crate::store::{Done, Refusal, Store, Submission};

/// How long after it was had a token is refreshed at the earliest, in seconds, however soon it ends: what a provider says has
/// nobody write an event every second.
const SOONEST_SECONDS: u64 = 30;
/// The pause after the first try that failed, in seconds; each further one is twice as long, up to [`LONGEST_PAUSE_SECONDS`].
const FIRST_PAUSE_SECONDS: i64 = 30;
/// The longest pause between tries.
const LONGEST_PAUSE_SECONDS: i64 = 6 * 3_600;
/// How long before its end a token is refreshed at most, but for as much again at random, in seconds.
const LEAD_MAX_SECONDS: u64 = 600;
/// The most refreshes that are begun at one look.
const BEGUN_AT_ONCE: usize = 1_000;
/// After which pause what a provider handed out is tried to be recorded again.
const RECORD_PAUSE: Duration = Duration::from_secs(5);

/// Refreshes. Cheap to clone.
#[derive(Clone)]
pub struct Refresher {
    store: Store,
    outgoing: Outgoing,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Those under way; whoever comes while one is joins it.
    flights: Mutex<BTreeMap<(StreamId, ConnectionId), watch::Receiver<()>>>,
    turns: Turns,
    landed: Notify,
    stopping: watch::Sender<bool>,
}

/// A refresh under way, which is over when this is dropped, however that comes.
struct Flight {
    inner: Arc<Inner>,
    key: (StreamId, ConnectionId),
    _over: watch::Sender<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.inner.flights().remove(&self.key);
        self.inner.landed.notify_one();
    }
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, BTreeMap<(StreamId, ConnectionId), watch::Receiver<()>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a connection says which token is refreshed, and how often in a row that failed.
struct Held {
    from: u64,
    tries: u64,
}

/// What a refresh needs, opened.
struct Prepared {
    registration: Registration,
    refresh_token: Plain,
    key: Arc<DataKey>,
    /// The scopes that people are asked for.
    asked: Vec<String>,
}

impl Refresher {
    /// One over a store.
    pub fn new(store: Store, outgoing: Outgoing) -> Self {
        Self { store, outgoing, inner: Arc::default() }
    }

    /// Refreshes a connection's access token, or joins whoever does already; then what came of it stands in the state.
    pub async fn refresh(&self, handle: &Handle, connection: ConnectionId) {
        over(self.begin(handle.stream(), connection)).await;
    }

    /// Waits for whoever refreshes a connection's access token, if anybody does.
    pub async fn join(&self, handle: &Handle, connection: ConnectionId) {
        let under_way = self.inner.flights().get(&(handle.stream(), connection)).cloned();
        if let Some(under_way) = under_way {
            over(under_way).await;
        }
    }

    /// Begins what is due by a time, without waiting for any of it, and says whether that was all of it; nothing while it
    /// could not be recorded.
    pub fn refresh_due(&self, now: Timestamp) -> bool {
        self.refresh_due_after(Timestamp::from_micros(0), now)
    }

    /// The same, of what is due after another time: all that was due by then was begun.
    pub fn refresh_due_after(&self, begun: Timestamp, now: Timestamp) -> bool {
        if self.store.check_recording().is_err() {
            return false;
        }
        let all = self.store.directory().connections_due();
        let due = all.after(begun).take_while(|(at, ..)| *at <= now).map(|(_, stream, id)| (stream, id));
        let mut left = due.filter(|key| !self.inner.flights().contains_key(key));
        for (stream, connection) in left.by_ref().take(BEGUN_AT_ONCE) {
            let _under_way = self.begin(stream, connection);
        }
        left.next().is_none()
    }

    /// Ends when a refresh has.
    pub async fn landed(&self) {
        self.inner.landed.notified().await;
    }

    /// Begins nothing any more, and waits for what is at providers.
    pub async fn end(&self) {
        self.inner.stopping.send_replace(true);
        let flights: Vec<_> = self.inner.flights().values().cloned().collect();
        for flight in flights {
            over(flight).await;
        }
    }

    fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    fn begin(&self, stream: StreamId, connection: ConnectionId) -> watch::Receiver<()> {
        let key = (stream, connection);
        let mut flights = self.inner.flights();
        if let Some(over) = flights.get(&key) {
            return over.clone();
        }
        let (sender, over) = watch::channel(());
        flights.insert(key, over.clone());
        drop(flights);
        let flight = Flight { inner: Arc::clone(&self.inner), key, _over: sender };
        let refresher = self.clone();
        tokio::spawn(async move {
            refresher.fly(stream, connection).await;
            drop(flight);
        });
        over
    }

    async fn fly(&self, stream: StreamId, id: ConnectionId) {
        let handle = match self.store.stream(stream).await {
            Ok(handle) => handle,
            Err(error) => {
                tracing::error!(%stream, error = with_causes(&error), "a token waits to be refreshed");
                return self.store.clock().sleep(RECORD_PAUSE).await;
            }
        };
        let looked_at = self.store.clock().credible_now();
        let host = {
            let view = handle.view();
            let connection = view.organization().connections.get(id).filter(|found| found.is_refreshable());
            let app = connection.and_then(|connection| connection.grant.as_ref()).map(|grant| &grant.app);
            let host_of = |app| Registration::token_host(self.outgoing.guard(), view.organization(), app);
            app.map(|app| host_of(app).unwrap_or_default())
        };
        let Some(host) = host else {
            return self.store.directory().nothing_is_due(stream, id, looked_at);
        };
        // Kept until what comes of it is recorded: while nothing can be, no more refresh tokens are used up.
        let _turn = self.inner.turns.turn(stream, host).await;
        // In a place of its own: thousands may wait for a turn, and what waits is small.
        Box::pin(self.take_turn(&handle, id, looked_at)).await;
    }

    /// What is done once there is a turn. Nothing is opened before.
    async fn take_turn(&self, handle: &Arc<Handle>, id: ConnectionId, looked_at: Timestamp) {
        let stream = handle.stream();
        if self.is_stopping() || self.store.check_recording().is_err() {
            return;
        }
        let Some((Held { from, tries }, prepared)) = self.prepare(handle, id).await else {
            return self.store.directory().nothing_is_due(stream, id, looked_at);
        };
        let asked_at = self.store.clock().credible_now();
        let asked = match prepared {
            Ok(prepared) => self.ask(prepared).await,
            // The operator's may be there again.
            Err(NoRegistration::Gone) => Err(("app_gone", false)),
            // The panic that ended it has a log line of its own.
            Err(NoRegistration::Died) => Err(("not_opened", false)),
            Err(NoRegistration::Key(error)) => {
                tracing::error!(%stream, connection = %id, error = with_causes(&error), "a token does not open");
                Err(("not_opened", false))
            }
        };
        match asked {
            Ok((Prepared { registration, key, asked, .. }, granted)) => {
                let handed_out = sealed(&granted, &key, (stream, id), &asked, true, asked_at);
                let note = ConnectionsCommand::NoteRefresh(NoteRefresh { connection: id, from, handed_out });
                let has_no_place = match self.record(handle, note).await {
                    // It was ended meanwhile, or its app's URLs are others.
                    Ok(done) => !is_in_use(&done, id),
                    // The organization has ended.
                    Err(Refusal::Rejected(_)) => true,
                    // A stop: at the next start it may be asked for again.
                    Err(_) => false,
                };
                if has_no_place {
                    give_back(&self.outgoing, &registration, &granted).await;
                }
            }
            Err((cause, is_final)) => {
                tracing::warn!(%stream, connection = %id, cause, "a token was not refreshed");
                let now = self.store.clock().credible_now();
                let next_at = (!is_final).then(|| now.plus_seconds(pause(tries)));
                let note = NoteFailure { connection: id, from, cause, next_at };
                // Whatever refuses it for good leaves nothing to be noted.
                let _noted = self.record(handle, ConnectionsCommand::NoteFailure(note)).await;
            }
        }
    }

    async fn ask(&self, prepared: Prepared) -> Result<(Prepared, Granted), (&'static str, bool)> {
        match refresh(&self.outgoing, &prepared.registration, &prepared.refresh_token).await {
            Ok(granted) => Ok((prepared, granted)),
            Err(error) => Err((error.cause(), is_final(error))),
        }
    }

    /// Opens what a refresh needs; `None` of a connection that is gone, or waits for somebody to consent again.
    async fn prepare(
        &self,
        handle: &Arc<Handle>,
        id: ConnectionId,
    ) -> Option<(Held, Result<Prepared, NoRegistration>)> {
        let view = handle.view();
        let connection =
            view.organization().connections.get(id).filter(|connection| connection.is_refreshable())?;
        let (connection, from) = (connection.clone(), connection.credential.as_ref()?.number);
        let tries = connection.grant.as_ref().map_or(0, |grant| grant.tries);
        let (store, guard, handle) = (self.store.clone(), self.outgoing.guard(), Arc::clone(handle));
        let open = move || {
            let stream = handle.stream();
            let grant = connection.grant.as_ref().ok_or(NoRegistration::Gone)?;
            let sealed = grant.refresh_token.as_ref().ok_or(NoRegistration::Gone)?;
            let registration = Registration::find(&store, guard, stream, view.organization(), &grant.app)?;
            let key = store.ring().data_key(stream, connection.key, connection.commitment)?;
            let field = connection.id.to_string();
            let refresh_token = key.open(&credential_field(stream, &field, REFRESH_TOKEN), sealed);
            let (refresh_token, asked) = (refresh_token.map_err(KeyError::from)?, grant.scopes.clone());
            Ok(Prepared { registration, refresh_token, key, asked })
        };
        let opened = tokio::task::spawn_blocking(open).await.unwrap_or(Err(NoRegistration::Died));
        Some((Held { from, tries }, opened))
    }

    /// Records what came of it, however often that takes: what a provider has handed out is lost otherwise. What refuses
    /// it is final: that the organization is gone, or that the server stops.
    async fn record(&self, handle: &Arc<Handle>, command: ConnectionsCommand) -> Result<Done, Refusal> {
        loop {
            let submission = Submission::new(command.clone(), Actor::SYSTEM);
            let refusal = match self.store.execute(handle, submission).await {
                Err(refusal) if !matches!(refusal, Refusal::Rejected(_)) => refusal,
                recorded => return recorded,
            };
            let stream = handle.stream();
            tracing::error!(%stream, error = with_causes(&refusal), "what came of a refresh is not recorded yet");
            if self.is_stopping() {
                return Err(refusal);
            }
            // Once more at a stop, without the pause.
            let mut stopping = self.inner.stopping.subscribe();
            tokio::select! {
                () = self.store.clock().sleep(RECORD_PAUSE) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }
}

/// Ends with a flight.
async fn over(mut flight: watch::Receiver<()>) {
    while flight.changed().await.is_ok() {}
}

/// Whether a connection is used still, after a command.
pub fn is_in_use(done: &Done, id: ConnectionId) -> bool {
    let found = done.view.organization().connections.get(id);
    found.is_some_and(|connection| connection.usable().is_some())
}

/// Whether trying again helps nothing.
fn is_final(error: NotGranted) -> bool {
    matches!(error, NotGranted::InvalidGrant)
}

/// The pause after so many failed tries before this one, in seconds: between half of it and all, so that connections that
/// failed together are not tried together.
fn pause(tries: u64) -> i64 {
    let doubled = FIRST_PAUSE_SECONDS.saturating_mul(1 << tries.min(20));
    let pause = doubled.min(LONGEST_PAUSE_SECONDS);
    rand::random_range(pause / 2..=pause)
}

/// How long after it was had a token is refreshed that is good for so long, in seconds: a tenth of it before its end, at most
/// ten minutes, and up to as much again earlier, so that what was had together is not refreshed together.
fn refreshed_after(lifetime_seconds: u64) -> u64 {
    let lead = (lifetime_seconds / 10).min(LEAD_MAX_SECONDS);
    (lifetime_seconds - lead - rand::random_range(0..=lead)).max(SOONEST_SECONDS)
}

/// What a provider handed out, sealed under the connection's key, with when it ends and is refreshed, by the time at which it
/// was asked. `asked` is what for: of what else a provider calls granted nothing is kept. `keeps` says whether there is a
/// refresh token already, which is good on where the provider hands out no other.
pub fn sealed(
    granted: &Granted,
    key: &DataKey,
    (stream, connection): (StreamId, ConnectionId),
    asked: &[String],
    keeps: bool,
    now: Timestamp,
) -> HandedOut {
    let id = connection.to_string();
    let is_granted =
        |granted: &Vec<String>| asked.iter().filter(|asked| granted.contains(asked)).cloned().collect();
    let seal = |field, plain: &Plain| key.seal(&credential_field(stream, &id, field), plain);
    let seconds = |seconds: u64| now.plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let can_refresh = granted.refresh_token.is_some() || keeps;
    HandedOut {
        access_token: seal(ACCESS_TOKEN, &granted.access_token),
        refresh_token: granted.refresh_token.as_ref().map(|token| seal(REFRESH_TOKEN, token)),
        expires_at: granted.expires_in.map(seconds),
        refresh_at: granted.expires_in.filter(|_| can_refresh).map(refreshed_after).map(seconds),
        scopes: granted.scopes.as_ref().map(is_granted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_six_hours_and_are_spread() {
        for (tries, longest) in [(0, 30), (1, 60), (5, 960), (10, 21_600), (u64::MAX, 21_600)] {
            let pauses: Vec<i64> = (0..100).map(|_| pause(tries)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{tries}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{tries}");
        }
    }

    #[test]
    fn a_token_is_refreshed_before_it_ends() {
        for (lifetime, earliest, latest) in
            [(1, 30, 30), (30, 30, 30), (60, 48, 54), (3_600, 2_880, 3_240), (86_400, 85_200, 85_800)]
        {
            for _ in 0..100 {
                assert!((earliest..=latest).contains(&refreshed_after(lifetime)), "{lifetime}");
            }
        }
    }
}
