//! When something of a secret is due: when it is said to expire. What is done then, `store/due.rs` says.

use crate::area::DirectoryEntry;
use crate::ids::SecretId;
use crate::settings::secrets::event::{SecretCreated, SecretUndeleted, SecretUpdated, SecretsEvent};

/// What an event says of when its secret is due, if anything.
pub(super) fn due(event: &SecretsEvent) -> Option<DirectoryEntry> {
    let due = |secret: SecretId, at| DirectoryEntry::Due { resource: secret.to_string(), at };
    let done = |secret: SecretId| DirectoryEntry::NotDue { resource: secret.to_string() };
    match event {
        SecretsEvent::SecretCreated(SecretCreated { secret, expires_at: Some(at), .. })
        | SecretsEvent::SecretUpdated(SecretUpdated { secret, expires_at: Some(at), .. })
        | SecretsEvent::SecretUndeleted(SecretUndeleted { secret, expires_at: Some(at) }) => {
            Some(due(*secret, *at))
        }
        SecretsEvent::SecretUpdated(updated) if updated.cleared.iter().any(|field| field == "expires_at") => {
            Some(done(updated.secret))
        }
        SecretsEvent::SecretDeleted(deleted) => Some(done(deleted.secret)),
        SecretsEvent::SecretDestroyed(destroyed) => Some(done(destroyed.secret)),
        SecretsEvent::SecretExpired(expired) => Some(done(expired.secret)),
        SecretsEvent::SecretCreated(_)
        | SecretsEvent::SecretUpdated(_)
        | SecretsEvent::SecretUndeleted(_)
        | SecretsEvent::SecretRolledBack(_)
        | SecretsEvent::SecretRevealed(_)
        | SecretsEvent::SecretVersionDestroyed(_) => None,
    }
}
