//! Signing keys, as a fold.

#![warn(clippy::wildcard_enum_match_arm)]

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{DirectoryEntry, Fold};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, Version};
use crate::ids::DataKeyId;
use crate::platform::signing_keys::event::SigningKeysEvent;
use crate::seal::Commitment;
use crate::seal::signing::PublicKey;

/// All signing keys that there ever were.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SigningKeys {
    /// By the version that made them.
    keys: RedBlackTreeMapSync<Version, SigningKey>,
}

/// A signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The data key that its private half is derived from.
    pub key: DataKeyId,
    /// What was recorded of that data key.
    pub commitment: Option<Commitment>,
    /// What its signatures are checked with.
    pub public_key: PublicKey,
    /// Since when it signs; until the next one was made.
    pub made_at: Timestamp,
}

impl SigningKeys {
    /// The one that signs, once there is one.
    pub fn current(&self) -> Option<&SigningKey> {
        self.newest_first().next()
    }

    /// All of them, the current one first.
    pub fn newest_first(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.values().rev()
    }
}

impl Fold for SigningKeys {
    const NAME: &'static str = "signing_keys";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::SigningKeys(event) = &recorded.event else { return };
        let (SigningKeysEvent::Created(new) | SigningKeysEvent::Rotated(new)) = event;
        let key = SigningKey {
            key: new.key,
            commitment: recorded.keys.get(&new.key).copied(),
            public_key: new.public_key,
            made_at: recorded.at,
        };
        self.keys.insert_mut(recorded.version, key);
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.keys.size()
    }
}
