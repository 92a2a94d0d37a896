//! Which secrets and connections keys read: the first time in an hour it is durable before the value leaves, later ones are counted with
//! the key's uses of the minute.
//!
//! What cannot be recorded is not read: here, unlike for other uses, the answer fails with the store.

use std::sync::Arc;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, ConnectionId, CustomerId, EnvironmentId, SecretId};
use crate::settings::api_keys::command::{ApiKeysCommand, Reads, UseApiKey};
use crate::settings::api_keys::event::{ConnectionRead, EnvironmentRead, SecretRead};
use crate::store::bounded::Bounded;
use crate::store::key_uses::noting::{Noting, Value};
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
            Read::Secret { secret, value_version, .. } => Self::Value(Value::Secret(*secret, *value_version)),
        }
    }
}

/// What it is durable of in an hour that a key read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Noted {
    Value(Value),
    /// All values that are seen in an environment at a version: so of thousands none has to be looked up.
    All(EnvironmentId, Arc<str>),
}

/// The values of what is read: secrets' by their numbers, connections' credentials by theirs.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Of secrets.
    pub secrets: Vec<(SecretId, u64)>,
    /// Of connections.
    pub connections: Vec<(ConnectionId, u64)>,
}

impl Values {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.connections.is_empty()
    }

    fn each(&self) -> Vec<Value> {
        let secrets = self.secrets.iter().map(|(secret, number)| Value::Secret(*secret, *number));
        let connections = self.connections.iter().map(|(id, number)| Value::Connection(*id, *number));
        secrets.chain(connections).collect()
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
    /// Notes that a key reads something, so that it may leave. `values` are those of an environment that is read whole.
    /// Recorded are the values of which nothing in this hour says yet that this key read them, for whichever customer.
    ///
    /// # Errors
    /// Where a value is read the first time in the hour, and that cannot be recorded.
    pub async fn note_read(
        &self,
        handle: &Arc<Handle>,
        (key, actor): (ApiKeyId, Actor),
        read: Read,
        values: &Values,
    ) -> Result<(), Refusal> {
        let (now, known) = (self.clock().credible_now(), &self.inner.key_uses.reads);
        let all = Noted::from(&read);
        let mut is_told = false;
        if !known.is_noted(key, &all, now) {
            let mut left = match read {
                Read::Environment { .. } => values.each(),
                Read::Secret { secret, value_version, .. } => vec![Value::Secret(secret, value_version)],
            };
            while !left.is_empty() {
                let is_noted = |value| known.is_noted(key, &Noted::Value(value), now);
                let turn = known.noting.turn(key, &left, is_noted);
                for part in turn.mine().chunks(READS_MAX) {
                    let whole = (!is_told).then_some(&read);
                    self.record_first(handle, (key, actor), whole, part).await?;
                    part.iter().for_each(|value| known.note(key, Noted::Value(*value), now));
                    is_told = true;
                }
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
            let count = 1;
            for value in values.iter().copied() {
                match value {
                    Value::Secret(secret, value_version) => {
                        reads.secrets.push(SecretRead { secret, customer: None, value_version, count });
                    }
                    Value::Connection(connection, credential_version) => {
                        reads.connections.push(ConnectionRead { connection, credential_version, count });
                    }
                }
            }
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
