//! Asking again, once a day, whether DNS still proves the e-mail domains that it proved. A domain that DNS does not prove any
//! more lapses after a week: a name server may be away for a while.

use tokio::task::JoinSet;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::dns::{Dns, Turn};
use crate::ids::StreamId;
use crate::settings::general::challenge_name;
use crate::settings::general::command::{DomainChallenge, GeneralCommand};
use crate::store::load::LoadError;
use crate::store::{Refusal, Store, Submission};

/// The most domains that a round asks about.
const ROUND_MAX: usize = 256;

/// A domain that could not be looked at.
#[derive(Debug, thiserror::Error)]
enum RecheckError {
    /// Its organization could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store refused what DNS said.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Store {
    /// Asks about the domains whose day is over, unless that is under way: whether it was done. What cannot be recorded now
    /// is asked again tomorrow.
    pub async fn recheck_domains(&self, dns: &Dns, now: Timestamp) -> bool {
        // While DNS is away a round takes longer than the scheduler's minute: the next one begins after it.
        let Ok(_alone) = self.inner.rechecking.try_lock() else { return false };
        let mut asking = JoinSet::new();
        for stream in self.directory().take_domains_due(now, ROUND_MAX) {
            // Before its organization is loaded: none is in memory only to wait.
            let turn = dns.turn().await;
            let (store, dns) = (self.clone(), dns.clone());
            asking.spawn(async move {
                if let Err(error) = store.recheck_domain(stream, &dns, turn).await {
                    tracing::warn!(%stream, error = with_causes(&error), "a domain is looked at again tomorrow");
                }
            });
        }
        // One that panicked has a log line of its own.
        while asking.join_next().await.is_some() {}
        true
    }

    async fn recheck_domain(&self, stream: StreamId, dns: &Dns, turn: Turn) -> Result<(), RecheckError> {
        let handle = self.stream(stream).await?;
        let view = handle.view();
        let founded = view.organization().general.founded();
        let held = founded.and_then(|founded| founded.email_domain.as_ref());
        let Some(held) = held.filter(|held| held.is_verified()) else { return Ok(()) };
        let proven = dns.has_text_still(turn, &challenge_name(&held.domain), &held.challenge).await;
        let asked = DomainChallenge { domain: held.domain.clone(), challenge: held.challenge.clone() };
        let command = match proven {
            true => GeneralCommand::VerifyDomain(asked),
            false => GeneralCommand::DoubtDomain(asked),
        };
        self.execute(&handle, Submission::new(command, Actor::SYSTEM)).await?;
        Ok(())
    }
}
