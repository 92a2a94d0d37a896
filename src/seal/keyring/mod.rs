//! The key ring: root key → a key per stream (`keys/<stream>`) → data keys, wrapped, in the log.
//!
//! It mints data keys, finds them by id, and says which of *lost*, *swapped*, *damaged* or *wrong root key* it is
//! when it cannot. It never appends: a new key's wrapped form travels with the command that needs it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::files::KeyFiles;
use self::lease::{Lease, Leases};
use self::passing::committed;
use self::rotation::names_in;
use self::stream_key::{StreamKey, path_of};
use crate::ids::{DataKeyId, Fresh, StreamId};
use crate::log::{EventLog, Key, ReadError};
use crate::seal::material::KeyMaterial;
use crate::seal::overwriting::sync_folder_of;
use crate::seal::recent::Recent;
use crate::seal::root::{RootFingerprint, RootKey};
use crate::seal::root_rotation::Roots;
use crate::seal::{Commitment, DataKey, OpenError, Sealed, SealedField};

pub mod beside;
pub mod files;
mod lease;
pub mod mending;
mod passing;
pub mod rotation;
pub mod snapshot;
mod stream_key;

/// Opened data keys that are held at most, some 300 bytes each.
const DATA_KEYS_HELD_MAX: usize = 16_384;
/// Opened stream keys that are held at most.
const STREAM_KEYS_HELD_MAX: usize = 4_096;

/// A key that could not be had. Nothing secret is inside.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The log has no such data key, and nobody said that it was destroyed.
    #[error(
        "data key {id} of {stream} is lost: the log does not have it, and nothing says that it was destroyed"
    )]
    Lost {
        /// The stream.
        stream: StreamId,
        /// The data key.
        id: DataKeyId,
    },
    /// The key was destroyed, as history says. For callers that find this in a state; the ring cannot know.
    #[error("data key {id} of {stream} was destroyed")]
    Destroyed {
        /// The stream.
        stream: StreamId,
        /// The data key.
        id: DataKeyId,
    },
    /// The store was made with another root key.
    #[error(
        "wrong root key: {} was wrapped by root key {wrapped_by}, the configured one is {configured}; \
         configure the root key that this store was made with", path.display()
    )]
    WrongRootKey {
        /// The key file.
        path: PathBuf,
        /// The fingerprint of the root key that is needed.
        wrapped_by: RootFingerprint,
        /// The fingerprint of the one that was given.
        configured: RootFingerprint,
    },
    /// A rotation of the root key was cut off, and neither of its two root keys is configured.
    #[error(
        "wrong root key: a rotation from root key {from} to {to} is unfinished, the configured one is {configured}; \
         configure either of the two"
    )]
    NeitherRootKey {
        /// The fingerprint of the root key before.
        from: RootFingerprint,
        /// The fingerprint of the one after.
        to: RootFingerprint,
        /// The fingerprint of the one that was given.
        configured: RootFingerprint,
    },
    /// The root key is being rotated already.
    #[error("the root key is being rotated already, from {from} to {to}")]
    Rotating {
        /// The fingerprint of the root key before.
        from: RootFingerprint,
        /// The fingerprint of the one after.
        to: RootFingerprint,
    },
    /// The new root key is the one in use.
    #[error("the new root key is the one in use, {0}")]
    SameRootKey(RootFingerprint),
    /// Data keys that were minted under a generation do not come to be appended, nor to be given up.
    #[error(
        "data keys of {stream} that were wrapped by generation {generation} are still on their way into the log"
    )]
    StillMinted {
        /// The stream.
        stream: StreamId,
        /// The generation.
        generation: u32,
    },
    /// Data keys are wrapped by a generation that was to go.
    #[error("{left} data keys of {stream} are still wrapped by generation {generation} of its key")]
    StillWrapped {
        /// The stream.
        stream: StreamId,
        /// The generation.
        generation: u32,
        /// How many.
        left: usize,
    },
    /// The key is there and opens, but is not the one that history committed to.
    #[error("data key {id} of {stream} is not the one that was recorded: it was swapped for another")]
    Swapped {
        /// The stream.
        stream: StreamId,
        /// The data key.
        id: DataKeyId,
    },
    /// The stream's key file is not there.
    #[error("the key of {stream} is missing: {} is not there; restore it from a snapshot", path.display())]
    StreamKeyMissing {
        /// The stream.
        stream: StreamId,
        /// Where it should be.
        path: PathBuf,
    },
    /// The stream's key file is not what was written.
    #[error("the key file {} is damaged: {what}; restore it from a snapshot", path.display())]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The wrapped data key is not what was written, or was wrapped elsewhere.
    #[error("data key {id} of {stream} does not unwrap: {what}")]
    DamagedKey {
        /// The stream.
        stream: StreamId,
        /// The data key.
        id: DataKeyId,
        /// What is wrong.
        what: String,
    },
    /// The key was had, but the value under it does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log could not be read.
    #[error("a data key could not be read: {0}")]
    Log(#[from] ReadError),
    /// A key file could not be read or written.
    #[error("the key file {} could not be read or written: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data key that is not in the log yet: only whoever minted it has it.
#[derive(Clone, Debug)]
pub struct NewDataKey {
    key: Arc<DataKey>,
    wrapped: Arc<[u8]>,
    /// Keeps the generation that wraps it from going, until the last copy of this has.
    _lease: Arc<Lease>,
}

impl NewDataKey {
    /// The key's id.
    pub fn id(&self) -> DataKeyId {
        self.key.id()
    }

    /// The key, usable at once.
    pub fn key(&self) -> &Arc<DataKey> {
        &self.key
    }

    /// What is put in the log as [`Key::DataKey`], in the batch of the command that needs the key.
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }
}

type Held = (Arc<DataKey>, Commitment);

struct Cache {
    streams: Recent<StreamId, Arc<StreamKey>>,
    data_keys: Recent<(StreamId, DataKeyId), Held>,
    /// Counts [`KeyRing::forget`], so that a key read before one and opened after it is not held.
    forgotten: u64,
}

/// The store's keys.
pub struct KeyRing {
    directory: PathBuf,
    /// The folders of keys of other stores in the same data directory.
    beside: Vec<PathBuf>,
    roots: RwLock<Roots>,
    log: Arc<dyn EventLog>,
    cache: Mutex<Cache>,
    leases: Arc<Leases>,
    /// Held while a key file is made or replaced: of two callers the second finds what the first wrote.
    writing: Mutex<()>,
    /// Held for writing while the generation that mints changes in memory, for reading from finding a stream's key until
    /// it is held or leased: nobody mints under a generation that a rotation does not know to be in use.
    changing: RwLock<()>,
    /// Counts the keys of streams that were replaced.
    rotations: AtomicU64,
}

impl KeyRing {
    /// Opens the ring over the folder `keys/` and the log that has the data keys. Writes nothing. Where a rotation of the
    /// root key was cut off, either of its two root keys will do.
    ///
    /// # Errors
    /// Those of [`KeyRing::verify_root`].
    pub fn open(
        directory: impl Into<PathBuf>,
        root: RootKey,
        log: Arc<dyn EventLog>,
    ) -> Result<Self, KeyError> {
        let directory = directory.into();
        Self::verify_root(&directory, &root)?;
        let roots = RwLock::new(Roots::find(&directory, &root)?);
        let cache = Cache {
            streams: Recent::new(STREAM_KEYS_HELD_MAX),
            data_keys: Recent::new(DATA_KEYS_HELD_MAX),
            forgotten: 0,
        };
        let (writing, changing) = (Mutex::default(), RwLock::default());
        Ok(Self {
            directory,
            beside: Vec::new(),
            roots,
            log,
            cache: Mutex::new(cache),
            leases: Arc::default(),
            writing,
            changing,
            rotations: AtomicU64::new(0),
        })
    }

    /// Whether `root` is the root key that this folder's keys were made with: the platform's key, the first of
    /// every store, must unwrap. Needs no log and writes nothing, so it comes before the log is opened. A folder
    /// that is not there or empty is a new store's, and fits any root key.
    ///
    /// # Errors
    /// `WrongRootKey`, `NeitherRootKey`, `DamagedFile`, `StreamKeyMissing` if there are keys but not the platform's, `Io`.
    pub fn verify_root(directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        match StreamKey::read(directory, &Roots::find(directory, root)?, StreamId::Platform) {
            Err(KeyError::StreamKeyMissing { .. }) if !has_keys(directory)? => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Makes the stream's key, durable before this returns; where it is already there, only checks it.
    ///
    /// # Errors
    /// `StreamKeyMissing` if the file is gone although data keys are wrapped by it: a new one would not open them.
    pub fn create_stream_key(&self, stream: StreamId) -> Result<(), KeyError> {
        let _turn = self.writing();
        match self.stream_key(stream) {
            Err(KeyError::StreamKeyMissing { .. }) if self.log.data_keys(stream)?.is_empty() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
        let made = StreamKey::first(stream);
        let path = path_of(&self.directory, stream);
        self.create_directory().map_err(|source| KeyError::Io { path, source })?;
        made.write(&self.directory, &self.roots().current)?;
        self.hold_changed(stream, made);
        Ok(())
    }

    /// A new data key of a stream whose key exists.
    ///
    /// # Errors
    /// When the stream's key cannot be read.
    pub fn mint(&self, stream: StreamId) -> Result<NewDataKey, KeyError> {
        let (stream_key, lease) = {
            let _unchanged = self.unchanged();
            let stream_key = self.find_stream_key(stream)?;
            let lease = self.leases.take(stream, stream_key.newest());
            (stream_key, lease)
        };
        let key = DataKey::new(Fresh.id(), KeyMaterial::random());
        let wrapped = stream_key.wrap(&key).into();
        Ok(NewDataKey { key: Arc::new(key), wrapped, _lease: lease })
    }

    /// How many times this process replaced a stream's key, or took its old generation away.
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// What is wrong with the key files of these streams, which are all of the log.
    pub fn check_files(&self, streams: &[StreamId]) -> KeyFiles {
        files::look(&self.directory, Some(&self.roots()), Some(streams))
    }

    /// A key of this store's root key for a purpose, the same after every restart until the root key is rotated; not for
    /// anything that is kept.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        self.roots().current.derive(label)
    }

    /// Holds a minted key, once the batch that it travelled in is durable.
    pub fn remember(&self, stream: StreamId, new: NewDataKey) {
        let commitment = new.key.commitment();
        self.cache().data_keys.insert((stream, new.key.id()), (new.key, commitment));
    }

    /// Lets a key go that was removed from the log. Whoever still has it may go on with it.
    pub fn forget(&self, stream: StreamId, id: DataKeyId) {
        let mut cache = self.cache();
        cache.forgotten += 1;
        cache.data_keys.remove(&(stream, id));
    }

    /// A data key by its id, compared with what its first event committed to, where the caller knows that.
    ///
    /// # Errors
    /// See [`KeyError`]. `Lost` is also what a destroyed key looks like: a caller whose state says that it was
    /// destroyed says so instead.
    pub fn data_key(
        &self,
        stream: StreamId,
        id: DataKeyId,
        commitment: Option<Commitment>,
    ) -> Result<Arc<DataKey>, KeyError> {
        let (held, forgotten) = {
            let mut cache = self.cache();
            (cache.data_keys.get(&(stream, id)), cache.forgotten)
        };
        let opened = match held {
            Some(held) => held,
            None => {
                let opened = self.read_data_key(stream, id)?;
                let mut cache = self.cache();
                if cache.forgotten == forgotten {
                    cache.data_keys.insert((stream, id), opened.clone());
                }
                opened
            }
        };
        committed(stream, opened, commitment)
    }

    /// A value sealed anew for a field of the same stream, under a new key: to destroy one of the two never takes the
    /// other with it.
    ///
    /// # Errors
    /// As [`KeyRing::data_key`] and [`KeyRing::mint`], or when the value does not open.
    pub fn copy(
        &self,
        sealed: &Sealed,
        commitment: Option<Commitment>,
        from: &SealedField<'_>,
        to: &SealedField<'_>,
    ) -> Result<(Sealed, NewDataKey), KeyError> {
        let plain = self.data_key(from.stream, sealed.key, commitment)?.open(from, sealed)?;
        let new = self.mint(to.stream)?;
        Ok((new.key().seal(to, &plain), new))
    }

    /// Whether a data key as it was read from the log is the one that history committed to.
    ///
    /// # Errors
    /// `DamagedKey`, `Swapped`, and what its stream's key is missing for.
    pub fn check_data_key(
        &self,
        stream: StreamId,
        id: DataKeyId,
        stored: &[u8],
        commitment: Commitment,
    ) -> Result<(), KeyError> {
        match self.stream_key(stream)?.unwrap(id, stored) {
            Err(what) => Err(KeyError::DamagedKey { stream, id, what }),
            Ok(key) if key.commitment() != commitment => Err(KeyError::Swapped { stream, id }),
            Ok(_) => Ok(()),
        }
    }

    fn read_data_key(&self, stream: StreamId, id: DataKeyId) -> Result<Held, KeyError> {
        let read = || self.log.get(&Key::DataKey(stream, id))?.ok_or(KeyError::Lost { stream, id });
        let mut stored = read()?;
        loop {
            match self.stream_key(stream)?.unwrap(id, &stored) {
                Ok(key) => {
                    let commitment = key.commitment();
                    return Ok((Arc::new(key), commitment));
                }
                Err(what) => {
                    // A rotation may have wrapped it anew and ended since it was read.
                    let again = read()?;
                    if again == stored {
                        return Err(KeyError::DamagedKey { stream, id, what });
                    }
                    stored = again;
                }
            }
        }
    }

    fn stream_key(&self, stream: StreamId) -> Result<Arc<StreamKey>, KeyError> {
        let _unchanged = self.unchanged();
        self.find_stream_key(stream)
    }

    /// A stream's key, from memory or its file. Whoever calls this holds `changing`: a file that was read before a change
    /// must not come into memory after it.
    fn find_stream_key(&self, stream: StreamId) -> Result<Arc<StreamKey>, KeyError> {
        if let Some(key) = self.cache().streams.get(&stream) {
            return Ok(key);
        }
        let key = Arc::new(StreamKey::read(&self.directory, &self.roots(), stream)?);
        self.cache().streams.insert(stream, Arc::clone(&key));
        Ok(key)
    }

    /// Takes a stream's key into memory whose file was just written.
    fn hold_changed(&self, stream: StreamId, key: StreamKey) {
        let _changing = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        if !key.is_first() {
            self.rotations.fetch_add(1, Ordering::Relaxed);
        }
        self.cache().streams.insert(stream, Arc::new(key));
    }

    fn create_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        sync_folder_of(&self.directory)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unchanged(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn roots(&self) -> RwLockReadGuard<'_, Roots> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn roots_mut(&self) -> RwLockWriteGuard<'_, Roots> {
        self.roots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the folder has the key file of any stream.
fn has_keys(directory: &Path) -> Result<bool, KeyError> {
    Ok(names_in(directory)?.iter().any(|name| name.parse::<StreamId>().is_ok()))
}

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
