//! Recording what the ledger says was taken away for good, and the log does not: at start what a crash cut off, and in a store
//! that was made of an older snapshot what was taken away after that.

use std::io;
use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::command::{Command, NewEvent, OrganizationCommand, PlatformCommand};
use crate::event::{Event, Recorded, Resource};
use crate::ids::StreamId;
use crate::log::frame::Frame;
use crate::log::{Key, Position, ReadError};
use crate::platform::deletions::event::DeletionsEvent;
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::store::ledger::{Ledger, REMEMBERED_EVERY_BYTES};
use crate::store::load::LoadError;
use crate::store::{Refusal, Store, Submission};

/// Records what the ledger says was taken away for good, and the log does not.
#[derive(Clone, Debug)]
pub struct FinishEntry {
    /// What it is about.
    pub resource: Resource,
    /// Ids of other resources concerned.
    pub related: Vec<String>,
    /// What was to be recorded.
    pub event: Event,
}

impl From<NewEvent> for FinishEntry {
    fn from(NewEvent { resource, related, event, .. }: NewEvent) -> Self {
        Self { resource, related, event }
    }
}

impl FinishEntry {
    /// Decides; nothing can be refused.
    pub fn decide(&self) -> Vec<NewEvent> {
        let mut event = NewEvent::new(self.resource.clone(), self.event.clone());
        event.related.clone_from(&self.related);
        vec![event]
    }
}

/// What the ledger says could not be finished now.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The ledger itself.
    #[error("the ledger could not be read or its mark not be written")]
    Ledger(#[from] io::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A stream.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store takes nothing now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A thread died.
    #[error("the thread that reads the ledger died")]
    Thread(#[from] JoinError),
}

impl Store {
    /// The ledger, if there is one.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.inner.ledger.as_deref()
    }

    /// Finishes what the ledger says and the log does not, at start and, where that is not possible then, each time the
    /// scheduler looks; and remembers how far both say the same.
    pub async fn finish_ledger(&self) {
        let Some(ledger) = &self.inner.ledger else { return };
        if let Err(error) = self.finish_lines(ledger).await {
            let error = with_causes(&error);
            tracing::error!(error, "what the ledger says is unfinished; it is tried again each minute");
            return;
        }
        self.remember_ledger(REMEMBERED_EVERY_BYTES);
    }

    /// Remembers how far the ledger and the log say the same, unless something waits that only the ledger tells of.
    pub(super) fn remember_ledger(&self, unless_within: u64) {
        if let Some(ledger) = &self.inner.ledger
            && self.inner.beside.is_done()
            && let Err(error) = ledger.remember(unless_within)
        {
            tracing::error!(%error, "how far the ledger was held against the log could not be written down");
        }
    }

    async fn finish_lines(&self, ledger: &Arc<Ledger>) -> Result<(), FinishError> {
        if ledger.left().is_empty() {
            return Ok(());
        }
        let taken_over = self.taken_over_until().await?;
        while !ledger.left().is_empty() {
            self.finish_some(ledger, taken_over).await?;
        }
        Ok(())
    }

    /// When the last frame was recorded that this store took over, where it was made of a snapshot.
    async fn taken_over_until(&self) -> Result<Option<Timestamp>, FinishError> {
        let Some(until) = self.platform().view().platform().operations.restored_until else {
            return Ok(None);
        };
        let log = Arc::clone(self.log());
        let read = spawn_blocking(move || log.read_at(&[Position(until)])).await??;
        let frame = read.into_iter().next().ok_or_else(|| ReadError::missing(Position(until)))?;
        let frame = Frame::parse(frame);
        let frame = frame.map_err(|error| ReadError::Damaged { position: until, what: error.to_string() })?;
        Ok(Some(frame.header().at))
    }

    async fn finish_some(
        &self,
        ledger: &Arc<Ledger>,
        taken_over: Option<Timestamp>,
    ) -> Result<(), FinishError> {
        let left = ledger.left();
        let lines = {
            let (ledger, left) = (Arc::clone(ledger), left.clone());
            spawn_blocking(move || ledger.read(left)).await??
        };
        for what in &lines.damaged {
            tracing::error!(what, "the ledger of what was destroyed is damaged; `settled fsck` lists it");
        }
        for (_, noted) in lines.entries.into_iter().filter(|(_, noted)| ledger.is_for_us(noted)) {
            // The store that this one took the place of destroyed it: its copies open until the key of the stream has gone there
            // and here, and where this one's history never had it, no event here says so.
            let is_anothers = noted.store != Some(ledger.keeper().store);
            if noted.destroys() && is_anothers && taken_over.is_some_and(|until| until <= noted.event.at) {
                self.inner.beside.opens(noted.about());
            }
            self.finish_entry(noted.event).await?;
        }
        // Where no line ends there is none that was written whole.
        ledger.held(if lines.next == left.start { left.end } else { lines.next });
        Ok(())
    }

    /// Records what a line says, unless the log has it.
    async fn finish_entry(&self, entry: Recorded) -> Result<(), FinishError> {
        let (stream, action) = (entry.stream, entry.event.action());
        if self.directory().head(stream).is_some() && self.is_undone(stream, &entry.event).await? {
            tracing::warn!(%stream, action, "a crash cut it off before it was recorded: it is finished");
            self.record_entry(entry).await?;
        }
        Ok(())
    }

    /// Records in a store that was made of an older snapshot what was taken away for good after that, also where the keys
    /// that it destroyed did not come with the snapshot: the state is to say that they are gone. Gives whether it did.
    ///
    /// # Errors
    /// When it cannot be recorded now.
    pub async fn take_away_again(&self, entry: Recorded) -> Result<bool, FinishError> {
        if self.directory().head(entry.stream).is_none()
            || entry.event.destroyed_keys().is_empty() && !self.is_undone(entry.stream, &entry.event).await?
        {
            return Ok(false);
        }
        self.record_entry(entry).await?;
        Ok(true)
    }

    async fn record_entry(&self, entry: Recorded) -> Result<(), FinishError> {
        let Recorded { stream, resource, related, event, .. } = entry;
        self.finish(stream, FinishEntry { resource, related, event }).await
    }

    /// Records what was to be recorded of a stream, in the system's name.
    ///
    /// # Errors
    /// When it cannot be recorded now.
    pub(super) async fn finish(&self, stream: StreamId, finish: FinishEntry) -> Result<(), FinishError> {
        let handle = self.stream(stream).await?;
        let command = match stream {
            StreamId::Platform => Command::Platform(PlatformCommand::Finish(finish)),
            StreamId::Organization(_) => Command::Organization(OrganizationCommand::Finish(finish)),
        };
        self.execute(&handle, Submission::new(command, Actor::SYSTEM)).await?;
        Ok(())
    }

    /// Whether what an event took away is there still. The keys that it destroyed went with it.
    async fn is_undone(&self, stream: StreamId, event: &Event) -> Result<bool, FinishError> {
        if let Event::ApiKeys(event) = event {
            let view = self.stream(stream).await?.view();
            let key = |id| view.organization().api_keys.get(id).filter(|key| !key.is_revoked());
            return Ok(match event {
                ApiKeysEvent::ApiKeyRevoked(revoked) => key(revoked.key).is_some(),
                // The new value is the key's then: whoever got it goes on.
                ApiKeysEvent::ApiKeyRotated(rotated) => {
                    key(rotated.key).is_some_and(|key| key.token() == rotated.previous)
                }
                _ => false,
            });
        }
        if let Event::Deletions(DeletionsEvent::OrganizationDeleted(deleted)) = event {
            // The line may be another store's, which lies beside this one.
            let (platform, organization) = (self.platform().view(), deleted.organization);
            let platform = platform.platform();
            let is_founded = || platform.foundings.open().any(|open| open.organization == organization);
            let is_there =
                self.directory().head(StreamId::Organization(organization)).is_some() || is_founded();
            return Ok(is_there && !platform.deletions.has(organization));
        }
        let keys: Vec<Key> = event.destroyed_keys().iter().map(|id| Key::DataKey(stream, *id)).collect();
        let log = Arc::clone(self.log());
        let any_there =
            move || keys.iter().try_fold(false, |there, key| Ok(there || log.get(key)?.is_some()));
        spawn_blocking(any_there).await?.map_err(FinishError::Log)
    }
}
