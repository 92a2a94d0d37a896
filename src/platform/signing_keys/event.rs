//! What happens to signing keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::DataKeyId;
use crate::seal::signing::PublicKey;

events! {
    /// What happens to signing keys.
    pub enum SigningKeysEvent {
        /// The first key was made.
        "signing_key.create", 1 => Created(NewSigningKey);
        /// Another key took the place of the current one, which signs nothing any more.
        "signing_key.rotate", 1 => Rotated(NewSigningKey);
    }
}

/// A key that signs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSigningKey {
    /// The data key that its private half is derived from.
    pub key: DataKeyId,
    /// What its signatures are checked with: Ed25519, 32 bytes.
    pub public_key: PublicKey,
}
