//! Checkpoints of streams: signed when asked for, kept in the log before anybody sees one, and never one that takes back
//! what an earlier one said.
//!
//! If we die after signing and before it is kept, nobody saw the signature; if we die after it is kept, the next one
//! is held against it all the same.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};

use crate::ids::{OrganizationId, StreamId};
use crate::log::{Key, ReadError};
use crate::proof::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::proof::note::VerifierKey;
use crate::seal::signing::PublicKey;
use crate::store::history::HistoryError;
use crate::store::proofs::Prover;
use crate::store::resident::{Handle, View};
use crate::store::signing::SigningError;
use crate::store::writer::{Job, Keep};
use crate::store::{Refusal, Store};

/// A checkpoint that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nothing can be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// History cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The checkpoint that was signed last cannot be read.
    #[error("the last checkpoint cannot be read")]
    Read(#[from] ReadError),
    /// What is kept as the last checkpoint is none that was signed here for this stream.
    #[error("the last checkpoint of {stream} is damaged")]
    Damaged {
        /// Whose.
        stream: StreamId,
        /// How.
        #[source]
        error: CheckpointError,
    },
    /// The store has another history than the one that was signed for, or less of it.
    #[error(
        "{stream} had {signed} events when a checkpoint was signed, and has {now} now of which those are not the first: \
         nothing is signed that takes that back; restore a snapshot"
    )]
    Fork {
        /// Whose.
        stream: StreamId,
        /// How many were signed for.
        signed: u64,
        /// How many there are.
        now: u64,
    },
    /// The store could not keep it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The thread that reads history died.
    #[error("the thread that reads history died")]
    Thread(#[from] JoinError),
}

/// A checkpoint that is kept.
#[derive(Clone, Debug)]
pub struct Signed {
    /// As a signed note.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The stream at its size.
    pub view: Arc<View>,
}

/// The next checkpoint.
enum Next {
    /// Nothing was appended since the last one, which stands.
    Stands(String, Checkpoint),
    /// It is to be signed.
    ToSign(Checkpoint),
}

impl Store {
    /// The origin of an organization's checkpoints, by the host that the server is reached under.
    pub fn checkpoint_origin(&self, host: &str, organization: OrganizationId) -> Origin {
        Origin::new(host, organization, self.epoch())
    }

    /// The checkpoint of a stream as it is now: every event that is durable. Signed and kept here where there is none of
    /// it yet.
    ///
    /// # Errors
    /// See [`SignError`].
    pub async fn checkpoint(&self, handle: &Arc<Handle>, origin: Origin) -> Result<Signed, SignError> {
        // One at a time of a stream: of two, the smaller must not be signed after the larger.
        let _lane = self.inner.checkpointing.of(handle.stream().to_bytes()).await;
        let signer = self.signer().await?;
        let view = handle.view();
        let (store, at, seen, key) =
            (self.clone(), Arc::clone(handle), Arc::clone(&view), signer.public_key());
        let next = spawn_blocking(move || store.next_checkpoint(&at, &seen, origin, key)).await??;
        let (note, checkpoint) = match next {
            Next::Stands(note, checkpoint) => (note, checkpoint),
            Next::ToSign(checkpoint) => {
                let note = checkpoint.sign(&signer);
                self.keep(handle.stream(), note.clone()).await?;
                (note, checkpoint)
            }
        };
        Ok(Signed { note, checkpoint, view })
    }

    /// Holds what is there against what was signed for last.
    fn next_checkpoint(
        &self,
        handle: &Arc<Handle>,
        view: &Arc<View>,
        origin: Origin,
        key: PublicKey,
    ) -> Result<Next, SignError> {
        let (stream, size) = (handle.stream(), view.version());
        let mut prover = Prover::new(self, handle, view);
        let checkpoint = Checkpoint { origin, size, root: prover.root(size)? };
        let Some(kept) = self.log().get(&Key::Checkpoint(stream))? else {
            return Ok(Next::ToSign(checkpoint));
        };
        let note = String::from_utf8_lossy(&kept).into_owned();
        let last = self.last_signed(&note, checkpoint.origin.organization());
        let last = last.map_err(|error| SignError::Damaged { stream, error })?;
        if last.origin.epoch() != checkpoint.origin.epoch() {
            return Ok(Next::ToSign(checkpoint));
        }
        if last.size > size || prover.root(last.size)? != last.root {
            return Err(SignError::Fork { stream, signed: last.size, now: size });
        }
        // Under the current key and the present name of the server, it is the very one.
        let key = VerifierKey::new(checkpoint.origin.to_string(), key);
        if last.size == size && Checkpoint::open(&note, &[key]).is_ok() {
            return Ok(Next::Stands(note, last));
        }
        Ok(Next::ToSign(checkpoint))
    }

    /// What was signed last, under whatever host and in whatever epoch: by a key of this store, for this organization. Of one that
    /// was changed nobody knows what it took back.
    fn last_signed(&self, note: &str, organization: OrganizationId) -> Result<Checkpoint, CheckpointError> {
        let claimed = Checkpoint::unverified(note)?.origin;
        let own = Origin::new(claimed.host(), organization, claimed.epoch()).to_string();
        let platform = self.platform().view();
        let keys = platform.platform().signing_keys.newest_first();
        let keys: Vec<_> = keys.map(|key| VerifierKey::new(own.clone(), key.public_key)).collect();
        Checkpoint::open(note, &keys)
    }

    async fn keep(&self, stream: StreamId, note: String) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Keep(Keep { stream, checkpoint: note.into_bytes(), reply }))?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }
}
