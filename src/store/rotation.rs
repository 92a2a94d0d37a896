//! Rotation: the root key replaced by another, and a stream's key by a further generation of it, while all else goes on.
//!
//! Every step is durable before the next one, and what is left to do follows from the files: a rotation that was cut off
//! anywhere goes on from there, and no data key is ever without a stream key that opens it, nor a stream key without a
//! root key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::command::{Command, PlatformCommand};
use crate::event::Version;
use crate::ids::{DataKeyId, StreamId};
use crate::seal::keyring::rotation::RootChange;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::RootKey;
use crate::store::encryption_keys::{NoteRotation, RootKeyRotated, StreamKeyRotated};
use crate::store::load::LoadError;
use crate::store::writer::{Job, Rewrap};
use crate::store::{Refusal, Store, Submission};

/// How many key files are replaced before it is asked again whether to go on.
const FILES_AT_ONCE: usize = 64;
/// How many data keys are put at once, some 30 KiB: what waits behind them waits for one ordinary commit.
const KEYS_AT_ONCE: usize = 256;

/// A rotation that did not come to its end. What was done of it stays, and is gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A key or its file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no such stream.
    #[error("there is no stream {0}")]
    NoSuchStream(StreamId),
    /// A stream could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store refused what was to be appended.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The thread that works on keys died.
    #[error("the thread that works on keys died")]
    Thread(#[from] JoinError),
}

/// What a rotation of the root key came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRotated {
    /// The fingerprint of the root key before, which opens nothing any more.
    pub from: String,
    /// The fingerprint of the one after, which the next start needs.
    pub to: String,
    /// How many key files it wraps.
    pub key_files: usize,
}

/// What a rotation of a stream's key came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRotated {
    /// The stream.
    pub stream: StreamId,
    /// The generation that is left of its key.
    pub generation: u32,
    /// Of data keys that were destroyed up to this version of the stream, no copy can be opened any more.
    pub through: Version,
    /// How many data keys were wrapped anew.
    pub data_keys: usize,
    /// How many key files of the stream were overwritten in stores that lie beside this one.
    #[serde(default)]
    pub beside: usize,
}

impl Store {
    /// Goes over to another root key: wraps the key of every stream by it, and notes that. One that was cut off is gone
    /// on with, and to its end where it led to another root key. A caller that goes away does not leave it half done.
    ///
    /// # Errors
    /// `SameRootKey` before anything has begun; all others leave a rotation that either root key goes on with, here or
    /// after a restart.
    pub async fn rotate_root_key(&self, new: RootKey) -> Result<RootRotated, RotationError> {
        let store = self.clone();
        let rotate = async move {
            let _alone = store.inner.rotating.lock().await;
            if let Some(change) = store.ring().root_rotation()
                && change.to != new.fingerprint()
            {
                store.go_over(change).await?;
            }
            let change = store.with_ring(|ring| ring.begin_root_rotation(new)).await?;
            store.go_over(change).await
        };
        tokio::spawn(rotate).await?
    }

    /// Keeps everybody from rotating keys until it is dropped, so that the keys of a stream can be read with what wraps them.
    /// Blocks.
    pub fn hold_keys(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.rotating.blocking_lock()
    }

    /// Overwrites what a crash left of key files that were being replaced; once, at start.
    pub async fn sweep_keys(&self) {
        if let Err(error) = self.with_ring(KeyRing::sweep).await {
            tracing::error!(
                error = with_causes(&error),
                "what is left of replaced key files is not overwritten"
            );
        }
    }

    /// What is to be done about keys, at start and then each time the scheduler looks: finishing what was begun, and
    /// replacing the key of each stream in which something was destroyed an hour ago. What cannot be done now is logged, and
    /// tried again.
    pub async fn finish_rotations(&self) {
        // Whoever rotates leaves nothing to be done but what fails again.
        let Ok(_alone) = self.inner.rotating.try_lock() else { return };
        if let Some(change) = self.ring().root_rotation() {
            match self.go_over(change).await {
                Ok(RootRotated { from, to, key_files }) => tracing::warn!(
                    from,
                    to,
                    key_files,
                    "the rotation of the root key is finished: the next start needs the new one"
                ),
                // The next start goes on with it.
                Err(RotationError::Refused(Refusal::Stopped)) => return,
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(error, "the root key is not rotated yet; it is tried again each minute");
                }
            }
        }
        if self.forget_all_beside().await.is_err() {
            return;
        }
        for (stream, last) in self.directory().to_rotate(self.clock().credible_now()) {
            if self.inner.beside.has_rotated_through(stream, last) {
                continue;
            }
            match self.replace_key_of(stream, Actor::SYSTEM).await {
                Ok(StreamRotated { through, .. }) => {
                    tracing::info!(%stream, through, "what was destroyed opens with nothing any more");
                }
                Err(RotationError::Refused(Refusal::Stopped)) => return,
                Err(RotationError::Refused(Refusal::DiskFull)) => self.say_once_without_room(stream),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(%stream, error, "copies of what was destroyed may open still; it is tried again");
                }
            }
        }
    }

    /// Replaces a stream's key by a further generation and wraps all its data keys by that, so that what lies about of data
    /// keys that were destroyed opens with nothing; notes it, in the name of whoever asked. A caller that goes away does
    /// not leave it half done.
    ///
    /// # Errors
    /// When it cannot be done now; what was begun is gone on with by the next one.
    pub async fn rotate_stream_key(
        &self,
        stream: StreamId,
        actor: Actor,
    ) -> Result<StreamRotated, RotationError> {
        let store = self.clone();
        let rotate = async move {
            let _alone = store.inner.rotating.lock().await;
            store.replace_key_of(stream, actor).await
        };
        tokio::spawn(rotate).await?
    }

    pub(super) async fn replace_key_of(
        &self,
        stream: StreamId,
        actor: Actor,
    ) -> Result<StreamRotated, RotationError> {
        if self.directory().head(stream).is_none() {
            return Err(RotationError::NoSuchStream(stream));
        }
        // Without room its end could not be noted, and each further try would begin with a further generation.
        if !(self.inner.disk)() {
            return Err(Refusal::DiskFull.into());
        }
        self.inner.trouble.key_has_room(stream);
        let handle = self.stream(stream).await?;
        if let Some(old) = self.with_ring(move |ring| ring.old_generation(stream)).await? {
            // One that was cut off. Nobody knows what was destroyed while its generation was the newest and may lie about
            // wrapped by that, so it is not enough.
            self.leave_generation(stream, old).await?;
        }
        // What was destroyed up to here was removed before the next generation wraps anything.
        let through = handle.view().version();
        let generation = self.with_ring(move |ring| ring.add_generation(stream)).await?;
        let data_keys = self.leave_generation(stream, generation - 1).await?;
        // A key beside that cannot be overwritten keeps none here from being replaced. Only when both is done it is noted that
        // nothing opens any more what was destroyed, which ends all of this.
        let rotated = StreamKeyRotated { generation, through, data_keys: data_keys as u64 };
        self.inner.beside.rotated(stream, rotated, actor);
        let beside = self.forget_beside(stream).await?;
        Ok(StreamRotated { stream, generation, through, data_keys, beside })
    }

    /// Logs that the key of a stream is replaced as soon as there is room, unless that was said.
    pub(super) fn say_once_without_room(&self, stream: StreamId) {
        if self.inner.trouble.key_waits_for_room(stream) {
            tracing::error!(
                %stream,
                "the disk is nearly full: copies of what was destroyed may open until there is room to replace a key"
            );
        }
    }

    /// Wraps all data keys of a stream by the newest generation of its key, and lets the older one go; gives how many.
    async fn leave_generation(&self, stream: StreamId, old: u32) -> Result<usize, RotationError> {
        self.with_ring(move |ring| ring.wait_for_minted(stream, old)).await?;
        let keys = self.with_ring(move |ring| ring.rewrapped(stream)).await?;
        for some in keys.chunks(KEYS_AT_ONCE) {
            self.put_rewrapped(stream, some.to_vec()).await?;
        }
        self.with_ring(move |ring| ring.drop_old_generation(stream)).await?;
        Ok(keys.len())
    }

    async fn put_rewrapped(
        &self,
        stream: StreamId,
        keys: Vec<(DataKeyId, Vec<u8>)>,
    ) -> Result<(), RotationError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Rewrap(Rewrap { stream, keys, reply }))?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }

    async fn go_over(&self, change: RootChange) -> Result<RootRotated, RotationError> {
        let streams = self.with_ring(KeyRing::streams_with_keys).await?;
        for some in streams.chunks(FILES_AT_ONCE) {
            let some = some.to_vec();
            let rewrap = move |ring: &KeyRing| {
                some.iter().try_for_each(|stream| ring.rewrap_stream_key(*stream).map(drop))
            };
            self.with_ring(rewrap).await?;
        }
        self.with_ring(KeyRing::rewrap_beside).await?;
        let (from, to) = (change.from.to_string(), change.to.to_string());
        // Before the end: if we die in between, whoever finishes the rotation notes it again, which appends nothing.
        let note = NoteRotation::Root(RootKeyRotated { from: from.clone(), to: to.clone() });
        let note = Command::Platform(PlatformCommand::EncryptionKeys(note));
        self.execute(self.platform(), Submission::new(note, Actor::OPERATOR)).await?;
        self.with_ring(KeyRing::end_root_rotation).await?;
        Ok(RootRotated { from, to, key_files: streams.len() })
    }

    /// Works on keys, which is I/O, on a thread that may block.
    pub(super) async fn with_ring<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KeyRing) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, RotationError> {
        let ring = Arc::clone(&self.inner.ring);
        Ok(spawn_blocking(move || work(&ring)).await??)
    }
}
