//! The key ring: root key → a key per stream (`keys/<stream>`) → data keys, wrapped, in the log.
//!
//! It mints data keys, finds them by id, and says which of *lost*, *swapped*, *damaged* or *wrong root key* it is
//! when it cannot. It never appends: a new key's wrapped form travels with the command that needs it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::files::KeyFiles;
use crate::ids::{DataKeyId, Fresh, StreamId};
use crate::log::{EventLog, Key, ReadError};
use crate::seal::key_file::KeyFile;
use crate::seal::material::{KeyMaterial, WRAPPED_BYTES};
use crate::seal::recent::Recent;
use crate::seal::root::{RootFingerprint, RootKey, sync_directory_of};
use crate::seal::{Commitment, DataKey, OpenError, Sealed, SealedField};

pub mod files;

/// Opened data keys that are held at most, some 300 bytes each.
const DATA_KEYS_HELD_MAX: usize = 16_384;
/// Opened stream keys that are held at most.
const STREAM_KEYS_HELD_MAX: usize = 4_096;
const FIRST_GENERATION: u32 = 1;
const WRAP_FORMAT: u8 = 1;
const WRAP_LABEL: &[u8] = b"settled data key 1";
const WRAP_HEADER_BYTES: usize = 1 + 4;

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

/// A stream's keys by generation, increasing; new data keys are wrapped by the last.
struct StreamKey {
    generations: Vec<(u32, KeyMaterial)>,
}

impl StreamKey {
    fn newest(&self) -> &(u32, KeyMaterial) {
        self.generations.last().expect("a key file has at least one generation")
    }

    fn generation(&self, number: u32) -> Option<&KeyMaterial> {
        self.generations.iter().find_map(|(generation, key)| (*generation == number).then_some(key))
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
    root: RootKey,
    log: Arc<dyn EventLog>,
    cache: Mutex<Cache>,
    /// Held while a key file is made, so that of two callers the second finds what the first wrote.
    creating: Mutex<()>,
}

impl KeyRing {
    /// Opens the ring over the folder `keys/` and the log that has the data keys. Writes nothing.
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
        let cache = Cache {
            streams: Recent::new(STREAM_KEYS_HELD_MAX),
            data_keys: Recent::new(DATA_KEYS_HELD_MAX),
            forgotten: 0,
        };
        Ok(Self { directory, root, log, cache: Mutex::new(cache), creating: Mutex::new(()) })
    }

    /// Whether `root` is the root key that this folder's keys were made with: the platform's key, the first of
    /// every store, must unwrap. Needs no log and writes nothing, so it comes before the log is opened. A folder
    /// that is not there or empty is a new store's, and fits any root key.
    ///
    /// # Errors
    /// `WrongRootKey`, `DamagedFile`, `StreamKeyMissing` if there are keys but not the platform's, `Io`.
    pub fn verify_root(directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        match read_stream_key(directory, root, StreamId::Platform) {
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
        let _turn = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        match self.stream_key(stream) {
            Err(KeyError::StreamKeyMissing { .. }) if self.log.data_keys(stream)?.is_empty() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
        let key = KeyMaterial::random();
        let wrapped = self.root.wrap(stream, FIRST_GENERATION, &key);
        let file = KeyFile {
            stream,
            root: self.root.fingerprint(),
            generations: vec![(FIRST_GENERATION, wrapped.try_into().expect("SIV adds its tag and no more"))],
        };
        let path = path_of(&self.directory, stream);
        self.create_directory()
            .and_then(|()| file.write(&path))
            .map_err(|source| KeyError::Io { path, source })?;
        let made = StreamKey { generations: vec![(FIRST_GENERATION, key)] };
        self.cache().streams.insert(stream, Arc::new(made));
        Ok(())
    }

    /// A new data key of a stream whose key exists.
    ///
    /// # Errors
    /// When the stream's key cannot be read.
    pub fn mint(&self, stream: StreamId) -> Result<NewDataKey, KeyError> {
        let stream_key = self.stream_key(stream)?;
        let (generation, wrapping) = stream_key.newest();
        let key = DataKey::new(Fresh.id(), KeyMaterial::random());
        let wrapped =
            with_headers(stream, key.id(), *generation, |headers| wrapping.wrap(headers, &key.material));
        let wrapped = [&[WRAP_FORMAT][..], &generation.to_be_bytes(), &wrapped].concat();
        Ok(NewDataKey { key: Arc::new(key), wrapped: wrapped.into() })
    }

    /// What is wrong with the key files of these streams, which are all of the log.
    pub fn check_files(&self, streams: &[StreamId]) -> KeyFiles {
        files::check(&self.directory, Some(&self.root), Some(streams))
    }

    /// A key of this store's root key for a purpose, the same after every restart; not for anything that is kept.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        self.root.derive(label)
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
        let (key, actual) = match held {
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
        match commitment {
            Some(expected) if expected != actual => Err(KeyError::Swapped { stream, id }),
            Some(_) | None => Ok(key),
        }
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

    fn read_data_key(&self, stream: StreamId, id: DataKeyId) -> Result<Held, KeyError> {
        let stored = self.log.get(&Key::DataKey(stream, id))?.ok_or(KeyError::Lost { stream, id })?;
        let damaged = |what: String| KeyError::DamagedKey { stream, id, what };
        let (format, generation, wrapped) =
            split_wrapped(&stored).ok_or_else(|| damaged(format!("it has {} bytes", stored.len())))?;
        if format != WRAP_FORMAT {
            return Err(damaged(format!("its format is {format}: damaged, or written by a newer Settled")));
        }
        let stream_key = self.stream_key(stream)?;
        let wrapping = stream_key.generation(generation).ok_or_else(|| {
            damaged(format!("it was wrapped by generation {generation}, which the stream's key file lacks"))
        })?;
        let material = with_headers(stream, id, generation, |headers| wrapping.unwrap(headers, wrapped))
            .ok_or_else(|| {
                damaged(
                    "it was changed, moved, or wrapped by a stream key that is not here any more".to_owned(),
                )
            })?;
        let key = DataKey::new(id, material);
        let commitment = key.commitment();
        Ok((Arc::new(key), commitment))
    }

    fn stream_key(&self, stream: StreamId) -> Result<Arc<StreamKey>, KeyError> {
        if let Some(key) = self.cache().streams.get(&stream) {
            return Ok(key);
        }
        let key = Arc::new(read_stream_key(&self.directory, &self.root, stream)?);
        self.cache().streams.insert(stream, Arc::clone(&key));
        Ok(key)
    }

    fn create_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        sync_directory_of(&self.directory)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path_of(directory: &Path, stream: StreamId) -> PathBuf {
    directory.join(stream.to_string())
}

/// Whether the folder has the key file of any stream.
fn has_keys(directory: &Path) -> Result<bool, KeyError> {
    let failed = |source| KeyError::Io { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        if entry.map_err(failed)?.file_name().to_str().is_some_and(|name| name.parse::<StreamId>().is_ok()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_stream_key(directory: &Path, root: &RootKey, stream: StreamId) -> Result<StreamKey, KeyError> {
    unwrap_key_file(directory, &read_key_file(directory, stream)?, root)
}

fn read_key_file(directory: &Path, stream: StreamId) -> Result<KeyFile, KeyError> {
    let path = path_of(directory, stream);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyError::StreamKeyMissing { stream, path });
        }
        Err(source) => return Err(KeyError::Io { path, source }),
    };
    let file = match KeyFile::decode(&bytes) {
        Ok(file) => file,
        Err(what) => return Err(KeyError::DamagedFile { path, what }),
    };
    if file.stream != stream {
        return Err(KeyError::DamagedFile { path, what: format!("it is the key of {}", file.stream) });
    }
    Ok(file)
}

fn unwrap_key_file(directory: &Path, file: &KeyFile, root: &RootKey) -> Result<StreamKey, KeyError> {
    let stream = file.stream;
    let path = path_of(directory, stream);
    if file.root != root.fingerprint() {
        return Err(KeyError::WrongRootKey { path, wrapped_by: file.root, configured: root.fingerprint() });
    }
    let generations = file
        .generations
        .iter()
        .map(|(generation, wrapped)| Some((*generation, root.unwrap(stream, *generation, wrapped)?)))
        .collect::<Option<_>>();
    match generations {
        Some(generations) => Ok(StreamKey { generations }),
        None => Err(KeyError::DamagedFile { path, what: "its wrapped key does not open".to_owned() }),
    }
}

/// format · generation u32 · wrapped key.
fn split_wrapped(stored: &[u8]) -> Option<(u8, u32, &[u8])> {
    if stored.len() != WRAP_HEADER_BYTES + WRAPPED_BYTES {
        return None;
    }
    let (format, rest) = stored.split_first()?;
    let (generation, wrapped) = rest.split_first_chunk()?;
    Some((*format, u32::from_be_bytes(*generation), wrapped))
}

fn with_headers<T>(stream: StreamId, id: DataKeyId, generation: u32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[WRAP_LABEL, &stream.to_bytes(), id.uuid().as_bytes(), &generation.to_be_bytes()])
}

#[cfg(test)]
mod tests;
