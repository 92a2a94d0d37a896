//! A stream's key by generation, as its file has it, and data keys wrapped by it.

use std::io;
use std::path::{Path, PathBuf};

use crate::ids::{DataKeyId, StreamId};
use crate::private;
use crate::seal::DataKey;
use crate::seal::key_file::KeyFile;
use crate::seal::keyring::KeyError;
use crate::seal::material::{KeyMaterial, WRAPPED_BYTES};
use crate::seal::root::RootKey;
use crate::seal::root_rotation::Roots;

const FIRST_GENERATION: u32 = 1;
const WRAP_FORMAT: u8 = 1;
const WRAP_LABEL: &[u8] = b"settled data key 1";
pub(super) const WRAP_HEADER_BYTES: usize = 1 + 4;

/// A stream's keys by generation, increasing; new data keys are wrapped by the last. There are two while the data keys
/// move from the first to the second.
pub(super) struct StreamKey {
    stream: StreamId,
    generations: Vec<(u32, KeyMaterial)>,
}

impl StreamKey {
    /// A new stream's.
    pub(super) fn first(stream: StreamId) -> Self {
        Self { stream, generations: vec![(FIRST_GENERATION, KeyMaterial::random())] }
    }

    /// Of generations that increase, one or two.
    pub(super) fn from_parts(stream: StreamId, generations: Vec<(u32, KeyMaterial)>) -> Self {
        Self { stream, generations }
    }

    /// Whether it was never replaced.
    pub(super) fn is_first(&self) -> bool {
        self.newest() == FIRST_GENERATION
    }

    /// Whose it is.
    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// The generations, increasing.
    pub(super) fn generations(&self) -> &[(u32, KeyMaterial)] {
        &self.generations
    }

    /// Reads the stream's file.
    ///
    /// # Errors
    /// `StreamKeyMissing`, `DamagedFile`, `WrongRootKey`, `Io`.
    pub(super) fn read(directory: &Path, roots: &Roots, stream: StreamId) -> Result<Self, KeyError> {
        Self::open(directory, &read_key_file(directory, stream)?, roots)
    }

    /// Opens what its file has.
    ///
    /// # Errors
    /// `WrongRootKey`, `DamagedFile`.
    pub(super) fn open(directory: &Path, file: &KeyFile, roots: &Roots) -> Result<Self, KeyError> {
        let stream = file.stream;
        let path = path_of(directory, stream);
        let Some(root) = roots.of(file.root) else {
            let configured = roots.current.fingerprint();
            return Err(KeyError::WrongRootKey { path, wrapped_by: file.root, configured });
        };
        let generations = file
            .generations
            .iter()
            .map(|(generation, wrapped)| Some((*generation, root.unwrap(stream, *generation, wrapped)?)))
            .collect::<Option<_>>();
        match generations {
            Some(generations) => Ok(Self { stream, generations }),
            None => Err(KeyError::DamagedFile { path, what: "its wrapped key does not open".to_owned() }),
        }
    }

    /// Puts it in its file, wrapped by a root key, in place of what may be there.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        let path = path_of(directory, self.stream);
        self.file(root).write(&path).map_err(|source| KeyError::Io { path, source })
    }

    /// Puts it in a file that is not there yet; durable once the folder is synced with all that is in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write_undurably(&self, directory: &Path, root: &RootKey) -> Result<(), KeyError> {
        let path = path_of(directory, self.stream);
        private::write_undurably(&path, &self.file(root).encode())
            .map_err(|source| KeyError::Io { path, source })
    }

    fn file(&self, root: &RootKey) -> KeyFile {
        let wrap =
            |(generation, key): &(u32, KeyMaterial)| (*generation, root.wrap(self.stream, *generation, key));
        KeyFile {
            stream: self.stream,
            root: root.fingerprint(),
            generations: self.generations.iter().map(wrap).collect(),
        }
    }

    /// The generation that new data keys are wrapped by.
    pub(super) fn newest(&self) -> u32 {
        self.last().0
    }

    /// The generation that data keys move away from, while they do.
    pub(super) fn old(&self) -> Option<u32> {
        (self.generations.len() > 1).then(|| self.generations[0].0)
    }

    /// The same with a further generation.
    pub(super) fn with_next(&self) -> Self {
        let mut generations = self.generations.clone();
        generations.push((self.newest() + 1, KeyMaterial::random()));
        Self { stream: self.stream, generations }
    }

    /// The same with the newest generation alone.
    pub(super) fn without_old(&self) -> Self {
        Self { stream: self.stream, generations: vec![self.last().clone()] }
    }

    /// A data key as it is kept in the log: format · generation u32 · wrapped key.
    pub(super) fn wrap(&self, key: &DataKey) -> Vec<u8> {
        let (generation, wrapping) = self.last();
        let wrapped =
            self.with_headers(key.id(), *generation, |headers| wrapping.wrap(headers, &key.material));
        [&[WRAP_FORMAT][..], &generation.to_be_bytes(), &wrapped].concat()
    }

    /// The inverse of [`StreamKey::wrap`], by whichever generation.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn unwrap(&self, id: DataKeyId, stored: &[u8]) -> Result<DataKey, String> {
        let (format, generation, wrapped) =
            split_wrapped(stored).ok_or_else(|| format!("it has {} bytes", stored.len()))?;
        if format != WRAP_FORMAT {
            return Err(format!("its format is {format}: damaged, or written by a newer Settled"));
        }
        let wrapping = self.generation(generation).ok_or_else(|| {
            format!("it was wrapped by generation {generation}, which the stream's key file lacks")
        })?;
        let material = self.with_headers(id, generation, |headers| wrapping.unwrap(headers, wrapped));
        let material =
            material.ok_or("it was changed, moved, or wrapped by a stream key that is not here any more")?;
        Ok(DataKey::new(id, material))
    }

    /// The newest generation and its key.
    pub(super) fn last(&self) -> &(u32, KeyMaterial) {
        self.generations.last().expect("a key file has at least one generation")
    }

    fn generation(&self, number: u32) -> Option<&KeyMaterial> {
        self.generations.iter().find_map(|(generation, key)| (*generation == number).then_some(key))
    }

    fn with_headers<T>(&self, id: DataKeyId, generation: u32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
        with(&[WRAP_LABEL, &self.stream.to_bytes(), id.uuid().as_bytes(), &generation.to_be_bytes()])
    }
}

/// Where a stream's key is.
pub(super) fn path_of(directory: &Path, stream: StreamId) -> PathBuf {
    directory.join(stream.to_string())
}

/// Reads a stream's key file, without a root key.
///
/// # Errors
/// `StreamKeyMissing`, `DamagedFile`, `Io`.
pub(super) fn read_key_file(directory: &Path, stream: StreamId) -> Result<KeyFile, KeyError> {
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

/// The generation that a data key as it is kept was wrapped by; `None` if it is none.
pub(super) fn generation_of(stored: &[u8]) -> Option<u32> {
    split_wrapped(stored).map(|(_, generation, _)| generation)
}

fn split_wrapped(stored: &[u8]) -> Option<(u8, u32, &[u8])> {
    if stored.len() != WRAP_HEADER_BYTES + WRAPPED_BYTES {
        return None;
    }
    let (format, rest) = stored.split_first()?;
    let (generation, wrapped) = rest.split_first_chunk()?;
    Some((*format, u32::from_be_bytes(*generation), wrapped))
}
