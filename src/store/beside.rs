//! What is left to be done about the stores that lie beside this one, where copies of what is destroyed open still: their keys of
//! some streams are to be overwritten, and those that are the same here replaced. It is in memory alone: what it comes from is in
//! the log or the ledger until it is done.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::command::{Command, OrganizationCommand, PlatformCommand};
use crate::event::Version;
use crate::ids::StreamId;
use crate::store::encryption_keys::{NoteRotation, StreamKeyRotated};
use crate::store::rotation::RotationError;
use crate::store::{Refusal, Store, Submission};

/// The streams concerned, each with the rotation here that is noted once nothing beside opens any more, and whose it is.
#[derive(Debug, Default)]
pub(super) struct Beside(Mutex<BTreeMap<StreamId, Option<(StreamKeyRotated, Actor)>>>);

impl Beside {
    /// A store beside destroyed something that may never have been here, so that no event here leads to a rotation.
    pub(super) fn opens(&self, stream: StreamId) {
        self.waiting().entry(stream).or_default();
    }

    /// The key of a stream was replaced here.
    pub(super) fn rotated(&self, stream: StreamId, rotated: StreamKeyRotated, actor: Actor) {
        self.waiting().insert(stream, Some((rotated, actor)));
    }

    /// Whether a rotation here went through a version already, and only its note waits.
    pub(super) fn has_rotated_through(&self, stream: StreamId, version: Version) -> bool {
        let waiting = self.waiting();
        waiting.get(&stream).and_then(Option::as_ref).is_some_and(|(rotated, _)| version <= rotated.through)
    }

    /// Whether nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.waiting().is_empty()
    }

    fn streams(&self) -> Vec<StreamId> {
        self.waiting().keys().copied().collect()
    }

    fn rotation(&self, stream: StreamId) -> Option<(StreamKeyRotated, Actor)> {
        self.waiting().get(&stream).cloned().flatten()
    }

    fn done(&self, stream: StreamId) {
        self.waiting().remove(&stream);
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<StreamId, Option<(StreamKeyRotated, Actor)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Goes on with all that waits. What cannot be done now is logged, and tried again.
    ///
    /// # Errors
    /// `Stopped`: nothing goes on any more.
    pub(super) async fn forget_all_beside(&self) -> Result<(), Refusal> {
        for stream in self.inner.beside.streams() {
            let is_to_be_replaced =
                self.inner.beside.rotation(stream).is_none() && self.directory().head(stream).is_some();
            let forgotten = match is_to_be_replaced {
                // A restore took the key over, so it opens there what lies about.
                true => self.replace_key_of(stream, Actor::SYSTEM).await.map(drop),
                false => self.forget_beside(stream).await.map(drop),
            };
            match forgotten {
                Ok(()) => {
                    tracing::info!(%stream, "what was destroyed opens in no store beside this one any more");
                }
                Err(RotationError::Refused(Refusal::Stopped)) => return Err(Refusal::Stopped),
                Err(RotationError::Refused(Refusal::DiskFull)) => self.say_once_without_room(stream),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(
                        %stream,
                        error,
                        "what is destroyed may open in a store beside this one; it is tried again each minute"
                    );
                }
            }
        }
        Ok(())
    }

    /// Overwrites the key of a stream in the stores beside this one, and notes the rotation that waits for that; gives how many
    /// files there were.
    ///
    /// # Errors
    /// When a file cannot be overwritten, or the rotation not be noted; it waits on then.
    pub(super) async fn forget_beside(&self, stream: StreamId) -> Result<usize, RotationError> {
        let beside = self.with_ring(move |ring| ring.forget_beside(stream)).await?;
        for file in beside.iter().map(|path| path.display()) {
            tracing::warn!(%stream, %file, "overwrote the key of a store that is not in use: it opened what is destroyed");
        }
        if let Some((rotated, actor)) = self.inner.beside.rotation(stream) {
            let note = NoteRotation::Stream(rotated);
            let note = match stream {
                StreamId::Platform => Command::Platform(PlatformCommand::EncryptionKeys(note)),
                StreamId::Organization(_) => Command::Organization(OrganizationCommand::EncryptionKeys(note)),
            };
            let handle = self.stream(stream).await?;
            self.execute(&handle, Submission::new(note, actor)).await?;
        }
        self.inner.beside.done(stream);
        Ok(beside.len())
    }
}
