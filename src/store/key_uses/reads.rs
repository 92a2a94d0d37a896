//! Which secrets and connections keys read: the first time in an hour it is durable before the value leaves, later ones are counted with
//! the key's uses of the minute.
//!
//! What cannot be recorded is not read: here, unlike for other uses, the answer fails with the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, ConnectionId, EnvironmentId, SecretId};
use crate::settings::api_keys::command::{ApiKeysCommand, Reads, UseApiKey};
use crate::settings::api_keys::event::{ConnectionRead, EnvironmentRead, SecretRead};
use crate::store::resident::Handle;
use crate::store::{Refusal, Store, Submission};

/// What remembering one read takes: its keys twice, and its share of the maps' nodes.
const READ_BYTES: usize = 256;
/// How many different things a key can have read in a minute before that is recorded.
const READS_OF_A_MINUTE_MAX: usize = 1_000;

/// Something that a key reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// All that is seen in an environment, at a version of that.
    Environment(EnvironmentId, Arc<str>),
    /// A value of a secret, by its number.
    Secret(SecretId, u64),
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
}

impl Store {
    /// Notes that a key reads something, so that it may leave. `values` are the values that it is, which are recorded
    /// where nothing in this hour says so yet.
    ///
    /// # Errors
    /// Where it is the first time in the hour and cannot be recorded.
    pub async fn note_read(
        &self,
        handle: &Arc<Handle>,
        (key, actor): (ApiKeyId, Actor),
        read: Read,
        values: &Values,
    ) -> Result<(), Refusal> {
        let now = self.clock().credible_now();
        let known = (key, read);
        if self.inner.key_uses.reads.get(&known) == Some(now.hour()) {
            self.count_read(handle, known, actor, now).await;
            return Ok(());
        }
        let (in_use, _) = self.inner.key_uses.of(key);
        let _turn = in_use.recording.lock().await;
        if self.inner.key_uses.reads.get(&known) == Some(now.hour()) {
            self.count_read(handle, known, actor, now).await;
            return Ok(());
        }
        let mut reads = told(&BTreeMap::from([(known.1.clone(), 1)]));
        if reads.secrets.is_empty() {
            let read = |&(secret, value_version)| SecretRead { secret, value_version, count: 1 };
            reads.secrets = values.secrets.iter().map(read).collect();
            let read = |&(connection, credential_version)| ConnectionRead {
                connection,
                credential_version,
                count: 1,
            };
            reads.connections = values.connections.iter().map(read).collect();
        }
        let command = UseApiKey { key, count: None, opened: None, reads };
        self.execute(handle, Submission::new(ApiKeysCommand::Use(command), actor)).await?;
        self.inner.key_uses.reads.put(known, now.hour(), READ_BYTES);
        Ok(())
    }

    async fn count_read(
        &self,
        handle: &Arc<Handle>,
        (key, read): (ApiKeyId, Read),
        actor: Actor,
        now: Timestamp,
    ) {
        let (in_use, is_remembered) = self.inner.key_uses.of(key);
        let full = {
            let mut open = in_use.open();
            open.begin(handle, actor.session, now);
            *open.count.reads.entry(read).or_default() += 1;
            // What is not remembered cannot wait for its minute's end.
            let is_full = !is_remembered || open.count.reads.len() >= READS_OF_A_MINUTE_MAX;
            is_full.then(|| std::mem::take(&mut open.count))
        };
        if let Some(count) = full {
            self.record_uses(key, count).await;
        }
    }
}

/// What was read, as it is recorded.
pub(super) fn told(reads: &BTreeMap<Read, u64>) -> Reads {
    let mut told = Reads::default();
    for (read, count) in reads {
        match read {
            Read::Environment(environment, version) => told.environments.push(EnvironmentRead {
                environment: *environment,
                version: version.to_string(),
                count: *count,
            }),
            Read::Secret(secret, value_version) => {
                told.secrets.push(SecretRead {
                    secret: *secret,
                    value_version: *value_version,
                    count: *count,
                });
            }
        }
    }
    told
}
