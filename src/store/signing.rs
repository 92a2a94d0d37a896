//! What signs for this server: the current signing key, made when it is first needed, and replaced by another.

use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, spawn_blocking};

use crate::actor::Actor;
use crate::command::{Command, PlatformCommand};
use crate::ids::{DataKeyId, StreamId};
use crate::platform::signing_keys::command::SigningKeysCommand;
use crate::platform::signing_keys::event::NewSigningKey;
use crate::platform::signing_keys::projection::SigningKey;
use crate::seal::keyring::KeyError;
use crate::seal::signing::{PublicKey, Signer};
use crate::store::{Refusal, Store, Submission};

/// Nothing can be signed now.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key is not to be had.
    #[error("the signing key is not to be had")]
    Key(#[from] KeyError),
    /// The store refused to record a new key.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The data key is there, but what is derived from it is not the key that history names.
    #[error("signing key {0} is not the one that was recorded")]
    Another(DataKeyId),
    /// The thread that works on keys died.
    #[error("the thread that works on keys died")]
    Thread(#[from] JoinError),
}

/// What a rotation of the signing key came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRotated {
    /// The public key that signatures were checked with before, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PublicKey>,
    /// The one from now on.
    pub to: PublicKey,
}

impl Store {
    /// What signs now. The first key is made here when it is first needed, by whomever that is: a store of before there
    /// were any has one as soon as a new one does, and a key is durable before it signs.
    ///
    /// # Errors
    /// When the key cannot be read, or the first one not be recorded.
    pub async fn signer(&self) -> Result<Signer, SigningError> {
        let current = match self.current_signing_key() {
            Some(current) => current,
            None => self.make_signing_key(SigningKeysCommand::Create, Actor::SYSTEM).await?,
        };
        let store = self.clone();
        spawn_blocking(move || store.signer_of(&current)).await?
    }

    /// Replaces the current signing key by another. What was signed before stays verifiable: the keys before stay listed.
    ///
    /// # Errors
    /// When it cannot be made or recorded; the current one goes on then.
    pub async fn rotate_signing_key(&self, actor: Actor) -> Result<SigningKeyRotated, SigningError> {
        let from = self.current_signing_key().map(|key| key.public_key);
        let to = self.make_signing_key(SigningKeysCommand::Rotate, actor).await?.public_key;
        Ok(SigningKeyRotated { from, to })
    }

    fn current_signing_key(&self) -> Option<SigningKey> {
        self.platform().view().platform().signing_keys.current().copied()
    }

    async fn make_signing_key(
        &self,
        command: fn(NewSigningKey) -> SigningKeysCommand,
        actor: Actor,
    ) -> Result<SigningKey, SigningError> {
        let store = self.clone();
        let minted = spawn_blocking(move || store.ring().mint(StreamId::Platform)).await??;
        let public_key = minted.key().signer().public_key();
        let command = command(NewSigningKey { key: minted.id(), public_key });
        let command = Command::Platform(PlatformCommand::SigningKeys(command));
        let mut submission = Submission::new(command, actor);
        submission.keys = vec![minted];
        let done = self.execute(self.platform(), submission).await?;
        let current = done.view.platform().signing_keys.current().copied();
        Ok(current.expect("either command leaves a current key, and no event takes one away"))
    }

    fn signer_of(&self, current: &SigningKey) -> Result<Signer, SigningError> {
        let key = self.ring().data_key(StreamId::Platform, current.key, current.commitment)?;
        let signer = key.signer();
        if signer.public_key() != current.public_key {
            return Err(SigningError::Another(current.key));
        }
        Ok(signer)
    }
}
