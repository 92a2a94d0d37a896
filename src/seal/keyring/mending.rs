//! The key of a stream whose store is damaged: out of its file, or else as a snapshot carries it.

use std::path::Path;

use super::KeyError;
use super::snapshot::OpenedKeys;
use super::stream_key::StreamKey;
use crate::ids::{DataKeyId, StreamId};
use crate::seal::root::RootKey;
use crate::seal::root_rotation::Roots;
use crate::seal::{Commitment, DataKey};

/// A stream's key that can be used.
pub struct MendedKey {
    key: StreamKey,
    /// Whether it came from the snapshot.
    pub is_carried: bool,
}

impl MendedKey {
    /// Finds it.
    ///
    /// # Errors
    /// When its file has another root key, or is missing or damaged and no snapshot carries it.
    pub fn find(
        directory: &Path,
        root: &RootKey,
        stream: StreamId,
        carried: Option<&OpenedKeys>,
    ) -> Result<Self, KeyError> {
        let own = Roots::find(directory, root).and_then(|roots| StreamKey::read(directory, &roots, stream));
        match (own, carried) {
            (Ok(key), _) => Ok(Self { key, is_carried: false }),
            (Err(KeyError::StreamKeyMissing { .. } | KeyError::DamagedFile { .. }), Some(carried)) => {
                let generations = carried.0.generations().to_vec();
                Ok(Self { key: StreamKey::from_parts(stream, generations), is_carried: true })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Whether it opens a data key as it is kept, and that is the one that history committed to.
    pub fn opens(&self, id: DataKeyId, stored: &[u8], commitment: Commitment) -> bool {
        self.key.unwrap(id, stored).is_ok_and(|key| key.commitment() == commitment)
    }

    /// A data key as it is kept.
    pub fn wrap(&self, key: &DataKey) -> Vec<u8> {
        self.key.wrap(key)
    }

    /// Puts it into a folder of key files, wrapped by a root key; durable before this returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put(&self, directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        self.key.write(directory, root)
    }
}
