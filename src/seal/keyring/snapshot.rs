//! The keys of a stream as a snapshot carries them: the stream's key wrapped by a key of that snapshot, which the root key
//! wraps, and the data keys as the stream's key wraps them. How they lie in a file is the snapshot's business.

use std::fmt;
use std::io;
use std::path::Path;

use super::stream_key::StreamKey;
use super::{KeyError, KeyRing};
use crate::ids::{DataKeyId, SnapshotId, StreamId};
use crate::seal::material::{KeyMaterial, TAG_BYTES, WRAPPED_BYTES};
use crate::seal::overwriting;
use crate::seal::root::{RootFingerprint, RootKey};
use crate::seal::signing::PublicKey;
use crate::seal::{Commitment, DataKey};

const STREAM_LABEL: &[u8] = b"settled stream key in a snapshot 1";
const END_LABEL: &[u8] = b"settled end of a snapshot's keys 1";

/// The bytes of a wrapped key.
pub const WRAPPED_KEY_BYTES: usize = WRAPPED_BYTES;
/// The bytes of a data key as a stream's key wraps it.
pub const DATA_KEY_BYTES: usize = super::stream_key::WRAP_HEADER_BYTES + WRAPPED_BYTES;
/// The bytes of what vouches for all keys of a snapshot.
pub const VOUCHER_BYTES: usize = TAG_BYTES;

/// The key that wraps the stream keys of one snapshot.
pub struct SnapshotKey {
    snapshot: SnapshotId,
    material: KeyMaterial,
}

impl fmt::Debug for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotKey({})", self.snapshot)
    }
}

/// A stream's keys in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedKeys {
    /// The stream.
    pub stream: StreamId,
    /// Its key by generation, wrapped by the snapshot's key.
    pub generations: Vec<(u32, [u8; WRAPPED_KEY_BYTES])>,
    /// Its data keys, wrapped by the stream's key.
    pub data_keys: Vec<(DataKeyId, [u8; DATA_KEY_BYTES])>,
}

/// A stream's keys that were opened out of a snapshot.
pub struct OpenedKeys(pub(super) StreamKey);

impl SnapshotKey {
    /// A fresh one.
    pub fn random(snapshot: SnapshotId) -> Self {
        Self { snapshot, material: KeyMaterial::random() }
    }

    /// It, wrapped by the root key.
    pub fn wrapped_by(&self, root: &RootKey) -> [u8; WRAPPED_KEY_BYTES] {
        root.wrap_snapshot_key(self.snapshot, &self.material)
    }

    /// The inverse of [`SnapshotKey::wrapped_by`]; `None` if it was wrapped by another root key, or for another snapshot.
    pub fn unwrap(root: &RootKey, snapshot: SnapshotId, wrapped: &[u8; WRAPPED_KEY_BYTES]) -> Option<Self> {
        let material = root.unwrap_snapshot_key(snapshot, wrapped)?;
        Some(Self { snapshot, material })
    }

    /// Vouches for all that precedes, by its SHA-256.
    pub fn voucher(&self, digest: &[u8; 32]) -> [u8; VOUCHER_BYTES] {
        let tag = self.material.encrypt(&[END_LABEL, self.snapshot.uuid().as_bytes(), digest], &[]);
        tag.try_into().expect("SIV gives its tag alone for nothing")
    }

    /// Opens a stream's key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&self, carried: &CarriedKeys) -> Result<OpenedKeys, String> {
        let stream = carried.stream;
        let open = |(generation, wrapped): &(u32, [u8; WRAPPED_KEY_BYTES])| {
            let key =
                self.with_headers(stream, *generation, |headers| self.material.unwrap(headers, wrapped));
            Some((*generation, key?))
        };
        let generations = carried.generations.iter().map(open).collect::<Option<_>>();
        let generations = generations.ok_or_else(|| format!("the key of {stream} does not open"))?;
        Ok(OpenedKeys(StreamKey::from_parts(stream, generations)))
    }

    fn carry(&self, key: &StreamKey) -> Vec<(u32, [u8; WRAPPED_KEY_BYTES])> {
        let wrap = |(generation, material): &(u32, KeyMaterial)| {
            let wrapped =
                self.with_headers(key.stream(), *generation, |headers| self.material.wrap(headers, material));
            (*generation, wrapped.try_into().expect("SIV adds its tag and no more"))
        };
        key.generations().iter().map(wrap).collect()
    }

    fn with_headers<T>(&self, stream: StreamId, generation: u32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
        let snapshot = self.snapshot.uuid();
        with(&[STREAM_LABEL, snapshot.as_bytes(), &stream.to_bytes(), &generation.to_be_bytes()])
    }
}

impl OpenedKeys {
    /// Opens a data key, which must be the one that history committed to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn data_key(&self, id: DataKeyId, stored: &[u8], commitment: Commitment) -> Result<DataKey, String> {
        let key = self.0.unwrap(id, stored)?;
        if key.commitment() == commitment {
            Ok(key)
        } else {
            Err("it is not the key that history committed to".to_owned())
        }
    }

    /// Whether a data key signs with this public key.
    pub fn signs_as(&self, id: DataKeyId, stored: &[u8], public_key: PublicKey) -> bool {
        self.0.unwrap(id, stored).is_ok_and(|key| key.signer().public_key() == public_key)
    }

    /// Puts the stream's key into an empty folder of key files, wrapped by a root key; durable once the folder is synced with
    /// all that is in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put_undurably(&self, directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        self.0.write_undurably(directory, root)
    }

    /// These data keys wrapped by a new key of the stream alone, of a generation of that number, for another snapshot.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn renewed(
        &self,
        generation: u32,
        data_keys: &[(DataKeyId, [u8; DATA_KEY_BYTES])],
        by: &SnapshotKey,
    ) -> Result<CarriedKeys, String> {
        let stream = self.0.stream();
        let key = StreamKey::from_parts(stream, vec![(generation, KeyMaterial::random())]);
        let wrap = |(id, stored): &(DataKeyId, [u8; DATA_KEY_BYTES])| {
            let data_key = self.0.unwrap(*id, stored).map_err(|what| format!("data key {id}: {what}"))?;
            Ok((*id, key.wrap(&data_key).try_into().expect("a data key is always as long")))
        };
        let data_keys = data_keys.iter().map(wrap).collect::<Result<_, String>>()?;
        Ok(CarriedKeys { stream, generations: by.carry(&key), data_keys })
    }

    /// The same keys for another snapshot.
    pub fn carried_by(&self, key: &SnapshotKey) -> Vec<(u32, [u8; WRAPPED_KEY_BYTES])> {
        key.carry(&self.0)
    }
}

/// Puts a file of a snapshot's keys that is whole under its other name in place of the one before, which is overwritten.
///
/// # Errors
/// Those of the file system; there is the old or the new file then, and repeating all of it is safe.
pub fn replace_keys(path: &Path) -> io::Result<()> {
    overwriting::replace(path)
}

/// Overwrites and removes what was left of writing or replacing a file of a snapshot's keys.
///
/// # Errors
/// Those of the file system.
pub fn sweep_keys(path: &Path) -> io::Result<()> {
    overwriting::sweep(path)
}

/// Removes a file of a snapshot's keys and overwrites it where it lies.
///
/// # Errors
/// Those of the file system; repeating this is safe.
pub fn remove_keys(path: &Path) -> io::Result<()> {
    overwriting::remove(path)
}

impl KeyRing {
    /// The root key, for a drill: what opens a snapshot's keys.
    pub fn root(&self) -> RootKey {
        self.roots().current.clone()
    }

    /// The generation of a stream's key that new data keys are wrapped by.
    ///
    /// # Errors
    /// When the key's file cannot be read.
    pub fn generation(&self, stream: StreamId) -> Result<u32, KeyError> {
        Ok(self.stream_key(stream)?.newest())
    }

    /// A new snapshot key, as the root key wraps it, and that root key's fingerprint.
    pub fn snapshot_key(
        &self,
        snapshot: SnapshotId,
    ) -> (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]) {
        let key = SnapshotKey::random(snapshot);
        let roots = self.roots();
        let wrapped = key.wrapped_by(&roots.current);
        (key, roots.current.fingerprint(), wrapped)
    }

    /// A stream's keys for a snapshot, as they are now. Nobody may be rotating them.
    ///
    /// # Errors
    /// When the stream's key or its data keys cannot be read.
    pub fn carry(&self, stream: StreamId, by: &SnapshotKey) -> Result<CarriedKeys, KeyError> {
        let generations = by.carry(&*self.stream_key(stream)?);
        let mut data_keys = Vec::new();
        for (id, stored) in self.log.data_keys(stream)? {
            let bytes = stored.len();
            let stored = stored.try_into().map_err(|_| KeyError::DamagedKey {
                stream,
                id,
                what: format!("it has {bytes} bytes"),
            })?;
            data_keys.push((id, stored));
        }
        Ok(CarriedKeys { stream, generations, data_keys })
    }
}
