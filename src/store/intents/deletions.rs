//! The deletion of an organization: its stream ends, its data keys are destroyed, and its people are nobody there any more.

use tokio::task::spawn_blocking;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::ids::{DataKeyId, OrganizationId, StreamId};
use crate::platform::accounts::command::{AccountsCommand, EndMembership};
use crate::platform::deletions::command::DeletionsCommand;
use crate::seal::keyring::KeyError;
use crate::settings::general::command::GeneralCommand;
use crate::store::intents::IntentError;
use crate::store::rotation::RotationError;
use crate::store::{Refusal, Store, Submission};

/// How many data keys one event destroys: what the log makes durable in one of its portions.
const KEYS_AT_ONCE: usize = 256;

impl Store {
    pub(super) async fn finish_deletions(&self) {
        let open: Vec<OrganizationId> = self.platform().view().platform().deletions.open().collect();
        for organization in open {
            match self.finish_deletion(organization).await {
                Ok(()) => {}
                Err(IntentError::Rotation(RotationError::Refused(Refusal::DiskFull))) => {
                    self.say_once_without_room(StreamId::Organization(organization));
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(%organization, error, "a deletion stays open; it is tried again each minute");
                }
            }
        }
    }

    /// As [`Store::finish_deletion`], in a task of its own: a caller that goes away does not leave it half done.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_deletion_detached(&self, organization: OrganizationId) -> Result<(), IntentError> {
        let store = self.clone();
        tokio::spawn(async move { store.finish_deletion(organization).await }).await?
    }

    /// All that a deletion is beside its intent, and its end. Safe to repeat from anywhere.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_deletion(&self, organization: OrganizationId) -> Result<(), IntentError> {
        let _lane = self.inner.deciding.of(organization.uuid().into_bytes()).await;
        let platform = self.platform().view();
        if !platform.platform().deletions.is_open(organization) {
            return Ok(());
        }
        if platform.platform().foundings.open().any(|founding| founding.organization == organization) {
            return Err(IntentError::Invalid("its founding is open".to_owned()));
        }
        let stream = StreamId::Organization(organization);
        // A store that was restored from before its founding has no such stream.
        if self.directory().head(stream).is_some() {
            let handle = self.stream(stream).await?;
            // From here on nothing of it is answered and nothing more is recorded, so no data key is added.
            self.execute(&handle, Submission::new(GeneralCommand::End, Actor::SYSTEM)).await?;
            let keys = self.data_keys_of(stream).await?;
            for some in keys.chunks(KEYS_AT_ONCE) {
                let forget = GeneralCommand::Forget(some.to_vec());
                self.execute(&handle, Submission::new(forget, Actor::SYSTEM)).await?;
            }
        }
        let persons = self.platform().view().platform().accounts.persons_of(organization);
        for person in persons {
            let end = AccountsCommand::EndMembership(EndMembership { organization, person });
            self.execute(self.platform(), Submission::new(end, Actor::SYSTEM)).await?;
        }
        // Last, for it is the one step that a full disk refuses.
        if self.directory().head(stream).is_some() {
            // Copies of the data keys that lie about were wrapped by the key that goes with this.
            self.rotate_stream_key(stream, Actor::SYSTEM).await?;
        }
        let close = DeletionsCommand::Close(organization);
        self.execute(self.platform(), Submission::new(close, Actor::SYSTEM)).await?;
        Ok(())
    }

    async fn data_keys_of(&self, stream: StreamId) -> Result<Vec<DataKeyId>, IntentError> {
        let log = std::sync::Arc::clone(self.log());
        let keys = spawn_blocking(move || log.data_keys(stream)).await?.map_err(KeyError::from)?;
        Ok(keys.into_iter().map(|(id, _)| id).collect())
    }
}
