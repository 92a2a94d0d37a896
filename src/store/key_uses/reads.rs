//! Which secrets keys read: the first time in an hour it is durable before the value leaves, later ones are counted with
//! the key's uses of the minute.
//!
//! What cannot be recorded is not read: here, unlike for other uses, the answer fails with the store.

use std::sync::Arc;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, CustomerId, EnvironmentId, SecretId};
use crate::settings::api_keys::command::{ApiKeysCommand, Reads, UseApiKey};
use crate::settings::api_keys::event::{EnvironmentRead, SecretRead};
use crate::store::bounded::Bounded;
use crate::store::key_uses::noting::{Noted, Noting, Value};
use crate::store::resident::Handle;
use crate::store::{Refusal, Store, Submission};

/// How much memory is used to remember what keys have read this hour, in bytes: of some hundred thousand reads.
const NOTED_BYTES: usize = 16 << 20;
/// What remembering one read takes: its keys twice, and its share of the maps' nodes.
const NOTED_ENTRY_BYTES: usize = 192;
/// How many different things a key can have read in a minute before that is recorded, and how many values one event tells
/// of as read for the first time.
const READS_MAX: usize = 1_000;

/// Something that a key reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// All that is seen in an environment.
    Environment {
        /// The environment.
        environment: EnvironmentId,
        /// For which customer, if for one.
        customer: Option<CustomerId>,
        /// The version of what is seen.
        version: Arc<str>,
    },
    /// A value of a secret.
    Secret {
        /// The secret.
        secret: SecretId,
        /// The number of the value.
        value_version: u64,
        /// For which customer, if for one.
        customer: Option<CustomerId>,
    },
}

impl From<&Read> for Noted {
    fn from(read: &Read) -> Self {
        match read {
            Read::Environment { environment, version, .. } => Self::All(*environment, Arc::clone(version)),
            Read::Secret { secret, value_version, .. } => Self::Value((*secret, *value_version)),
        }
    }
}

/// What keys are known to have read.
#[derive(Debug)]
pub(super) struct KnownReads {
    /// The hour in which it is durable.
    noted: Bounded<(ApiKeyId, Noted), i64>,
    noting: Noting,
}

impl Default for KnownReads {
    fn default() -> Self {
        Self { noted: Bounded::new(NOTED_BYTES), noting: Noting::default() }
    }
}

impl KnownReads {
    fn is_noted(&self, key: ApiKeyId, what: &Noted, now: Timestamp) -> bool {
        self.noted.get(&(key, what.clone())) == Some(now.hour())
    }

    fn note(&self, key: ApiKeyId, what: Noted, now: Timestamp) {
        self.noted.put((key, what), now.hour(), NOTED_ENTRY_BYTES);
    }
}

impl Store {
    /// Notes that a key reads something, so that it may leave. `values` are those of an environment that is read whole, and
    /// `has_access` whether access to others' services is among what is seen there. Recorded are the values of which nothing
    /// in this hour says yet that this key read them, for whichever customer; and that access is read, by the version of
    /// what is seen.
    ///
    /// # Errors
    /// Where something is read the first time in the hour, and that cannot be recorded.
    pub async fn note_read(
        &self,
        handle: &Arc<Handle>,
        (key, actor): (ApiKeyId, Actor),
        read: Read,
        (values, has_access): (&[Value], bool),
    ) -> Result<(), Refusal> {
        let (now, known) = (self.clock().credible_now(), &self.inner.key_uses.reads);
        let all = Noted::from(&read);
        let mut is_told = false;
        if !known.is_noted(key, &all, now) {
            let mut left: Vec<Noted> = values.iter().copied().map(Noted::Value).collect();
            left.extend((has_access || values.is_empty()).then(|| all.clone()));
            while !left.is_empty() {
                let turn = known.noting.turn(key, left, |one| known.is_noted(key, one, now));
                let values = turn.mine().iter().filter_map(|one| match one {
                    Noted::Value(value) => Some(*value),
                    Noted::All(..) => None,
                });
                let values: Vec<Value> = values.collect();
                let is_mine = !turn.mine().is_empty();
                // Without a value, that access is read is told alone.
                let parts = values.chunks(READS_MAX).chain((values.is_empty() && is_mine).then_some(&[][..]));
                for part in parts {
                    let whole = (!is_told).then_some(&read);
                    self.record_first(handle, (key, actor), whole, part).await?;
                    is_told = true;
                }
                turn.mine().iter().for_each(|one| known.note(key, one.clone(), now));
                left = turn.others_done().await;
            }
            known.note(key, all, now);
        }
        if !is_told {
            self.count_read(handle, (key, actor), read, now).await;
        }
        Ok(())
    }

    /// Records that values are read for the first time in the hour, by name or with all of an environment.
    async fn record_first(
        &self,
        handle: &Arc<Handle>,
        (key, actor): (ApiKeyId, Actor),
        read: Option<&Read>,
        values: &[Value],
    ) -> Result<(), Refusal> {
        let mut reads = told(read.map(|read| (read, 1)));
        if reads.secrets.is_empty() {
            let read =
                |&(secret, value_version)| SecretRead { secret, customer: None, value_version, count: 1 };
            reads.secrets = values.iter().map(read).collect();
        }
        let command = UseApiKey { key, count: None, opened: None, reads };
        self.execute(handle, Submission::new(ApiKeysCommand::Use(command), actor)).await.map(drop)
    }

    async fn count_read(
        &self,
        handle: &Arc<Handle>,
        (key, actor): (ApiKeyId, Actor),
        read: Read,
        now: Timestamp,
    ) {
        let (in_use, is_remembered) = self.inner.key_uses.of(key);
        let full = {
            let mut open = in_use.open();
            open.begin(handle, actor.session, now);
            *open.count.reads.entry(read).or_default() += 1;
            // What is not remembered cannot wait for its minute's end.
            let is_full = !is_remembered || open.count.reads.len() >= READS_MAX;
            is_full.then(|| std::mem::take(&mut open.count))
        };
        if let Some(count) = full {
            self.record_uses(key, count).await;
        }
    }
}

/// What was read, and how often, as it is recorded.
pub(super) fn told<'a>(reads: impl IntoIterator<Item = (&'a Read, u64)>) -> Reads {
    let mut told = Reads::default();
    for (read, count) in reads {
        match read {
            Read::Environment { environment, customer, version } => {
                told.environments.push(EnvironmentRead {
                    environment: *environment,
                    customer: *customer,
                    version: version.to_string(),
                    count,
                });
            }
            Read::Secret { secret, value_version, customer } => told.secrets.push(SecretRead {
                secret: *secret,
                customer: *customer,
                value_version: *value_version,
                count,
            }),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    #[test]
    fn what_is_seen_at_a_version_is_the_same_for_whichever_customer() {
        let whole = |customer| Read::Environment { environment: id(1), customer, version: "v".into() };
        assert_eq!(Noted::from(&whole(Some(id(1)))), Noted::from(&whole(None)));
        let told = told([(&whole(Some(id(1))), 1), (&whole(None), 2)]);
        let customers: Vec<_> = told.environments.iter().map(|read| (read.customer, read.count)).collect();
        assert_eq!(customers, [(Some(id(1)), 1), (None, 2)]);
    }
}
