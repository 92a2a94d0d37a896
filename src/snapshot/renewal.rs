//! Keys of snapshots that are rewritten without what was destroyed: an older file of them must not open what nothing else opens
//! any more. Each stream concerned gets another key in the file, too, since copies of what was destroyed may lie about that
//! were wrapped by the one before.

use std::collections::BTreeSet;
use std::path::Path;

use crate::ids::{DataKeyId, StoreId, StreamId};
use crate::seal::keyring::snapshot::{CarriedKeys, SnapshotKey, replace_keys};
use crate::seal::keyring::{KeyError, KeyRing};
use crate::seal::root::RootKey;
use crate::snapshot::SnapshotError;
use crate::snapshot::keys::{KeysFile, KeysWriter};

/// Data keys that were destroyed.
pub type DestroyedKeys = BTreeSet<(StreamId, DataKeyId)>;

/// Against what files of keys are held.
pub struct Present<'a> {
    /// The store in use.
    pub store: StoreId,
    /// Its keys.
    pub ring: &'a KeyRing,
    /// What was destroyed, as the ledger says.
    pub destroyed: &'a DestroyedKeys,
}

impl Present<'_> {
    /// Rewrites a file of keys if it has anything that was destroyed, or a key that this store has replaced since; gives
    /// whether it did. A crash leaves the old file or the new one, and repeating this is safe. Blocks.
    ///
    /// # Errors
    /// When the file is damaged or another root key's, or cannot be written.
    pub fn renew(&self, path: &Path) -> Result<bool, SnapshotError> {
        let root = self.ring.root();
        let concerned = self.concerned(path, &root)?;
        if concerned.is_empty() {
            return Ok(false);
        }
        let file = KeysFile::open(path, &root)?;
        let key = self.ring.snapshot_key(file.header.snapshot);
        let mut renewed = KeysWriter::beside(path, &file.header, key)?;
        file.read(|by, carried| {
            let carried = match concerned.contains(&carried.stream) {
                true => self.without_destroyed(path, by, carried, renewed.key())?,
                false => carried_over(path, by, carried, renewed.key())?,
            };
            renewed.stream(&carried)
        })?;
        renewed.finish()?;
        replace_keys(path).map_err(SnapshotError::io("replace", path))?;
        Ok(true)
    }

    /// The streams of a file that have something which must go.
    fn concerned(&self, path: &Path, root: &RootKey) -> Result<BTreeSet<StreamId>, SnapshotError> {
        let file = KeysFile::open(path, root)?;
        let is_own = file.header.store == self.store;
        let mut concerned = BTreeSet::new();
        file.read(|_, keys| {
            let stream = keys.stream;
            let newest = keys.generations.last().map_or(0, |(generation, _)| *generation);
            if keys.data_keys.iter().any(|(id, _)| self.destroyed.contains(&(stream, *id)))
                || is_own && newest < self.generation(stream)?
            {
                concerned.insert(stream);
            }
            Ok::<_, SnapshotError>(())
        })?;
        Ok(concerned)
    }

    fn without_destroyed(
        &self,
        path: &Path,
        by: &SnapshotKey,
        mut carried: CarriedKeys,
        to: &SnapshotKey,
    ) -> Result<CarriedKeys, SnapshotError> {
        let stream = carried.stream;
        let newest = carried.generations.last().map_or(0, |(generation, _)| *generation);
        carried.data_keys.retain(|(id, _)| !self.destroyed.contains(&(stream, *id)));
        let opened = by.open(&carried).map_err(|what| damaged(path, stream, what))?;
        let generation = self.generation(stream)?.max(newest.saturating_add(1));
        opened.renewed(generation, &carried.data_keys, to).map_err(|what| damaged(path, stream, what))
    }

    /// The generation of a stream's key in the store; none of a stream that it does not have.
    fn generation(&self, stream: StreamId) -> Result<u32, SnapshotError> {
        match self.ring.generation(stream) {
            Err(KeyError::StreamKeyMissing { .. }) => Ok(0),
            generation => Ok(generation?),
        }
    }
}

fn carried_over(
    path: &Path,
    by: &SnapshotKey,
    carried: CarriedKeys,
    to: &SnapshotKey,
) -> Result<CarriedKeys, SnapshotError> {
    let opened = by.open(&carried).map_err(|what| damaged(path, carried.stream, what))?;
    Ok(CarriedKeys { generations: opened.carried_by(to), ..carried })
}

fn damaged(path: &Path, stream: StreamId, what: String) -> SnapshotError {
    SnapshotError::damaged(path, format!("the keys of {stream}"), what)
}
