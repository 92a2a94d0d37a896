//! Rotation: stream keys wrapped by another root key, and data keys wrapped by a further generation of their stream's key.
//!
//! Each function here is one step that is durable when it returns; in which order they come, and what is appended in
//! between, is the store's business (`store/rotation.rs`).

use std::io;
use std::path::Path;
use std::time::Duration;

use super::stream_key::{StreamKey, generation_of, path_of, read_key_file};
use super::{KeyError, KeyRing};
use crate::ids::{DataKeyId, StreamId};
use crate::seal::overwriting;
use crate::seal::root::{RootFingerprint, RootKey};
use crate::seal::root_rotation::{self, Roots};

/// How long a rotation waits for data keys that were minted before it and are still on their way. They are for
/// milliseconds, as the commands are that bring them.
const LEASES_END_WITHIN: Duration = Duration::from_secs(30);

/// From which root key to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootChange {
    /// The one before.
    pub from: RootFingerprint,
    /// The one after.
    pub to: RootFingerprint,
}

impl KeyRing {
    /// The root key that new keys are wrapped by.
    pub fn root_key(&self) -> RootFingerprint {
        self.roots().current.fingerprint()
    }

    /// The rotation of the root key that is under way.
    pub fn root_rotation(&self) -> Option<RootChange> {
        let roots = self.roots();
        let from = roots.previous.as_ref()?.fingerprint();
        Some(RootChange { from, to: roots.current.fingerprint() })
    }

    /// Begins to go over to a root key: from here on either of the two opens the store, after a restart too, and new
    /// stream keys are wrapped by the new one. Where that was begun already, it stays so.
    ///
    /// # Errors
    /// `SameRootKey`, `Io`, and `Rotating` to another root key; nothing has begun then.
    pub fn begin_root_rotation(&self, new: RootKey) -> Result<RootChange, KeyError> {
        // No file is being made meanwhile that is wrapped by the old one and not seen by what follows.
        let _turn = self.writing();
        match self.root_rotation() {
            Some(change) if change.to == new.fingerprint() => return Ok(change),
            Some(RootChange { from, to }) => return Err(KeyError::Rotating { from, to }),
            None => {}
        }
        let old = self.roots().current.clone();
        let change = RootChange { from: old.fingerprint(), to: new.fingerprint() };
        if change.from == change.to {
            return Err(KeyError::SameRootKey(change.to));
        }
        root_rotation::begin(&self.directory, &old, &new).map_err(self.rotation_file())?;
        *self.roots_mut() = Roots { current: new, previous: Some(old) };
        Ok(change)
    }

    /// Every stream that has a key file.
    ///
    /// # Errors
    /// `Io`.
    pub fn streams_with_keys(&self) -> Result<Vec<StreamId>, KeyError> {
        let names = names_in(&self.directory)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Wraps a stream's key by the root key that is rotated to; `false` where it already is.
    ///
    /// # Errors
    /// When its file cannot be read, opened or written.
    pub fn rewrap_stream_key(&self, stream: StreamId) -> Result<bool, KeyError> {
        let _turn = self.writing();
        let roots = self.roots();
        let file = read_key_file(&self.directory, stream)?;
        if file.root == roots.current.fingerprint() {
            return Ok(false);
        }
        StreamKey::open(&self.directory, &file, &roots)?.write(&self.directory, &roots.current)?;
        Ok(true)
    }

    /// Ends a rotation once no key file needs the old root key, which from here on opens nothing.
    ///
    /// # Errors
    /// `WrongRootKey` where a key file is still wrapped by another root key, and `Io`; the rotation goes on then.
    pub fn end_root_rotation(&self) -> Result<(), KeyError> {
        let _turn = self.writing();
        let current = self.root_key();
        for stream in self.streams_with_keys()? {
            let wrapped_by = read_key_file(&self.directory, stream)?.root;
            if wrapped_by != current {
                let path = path_of(&self.directory, stream);
                return Err(KeyError::WrongRootKey { path, wrapped_by, configured: current });
            }
        }
        root_rotation::end(&self.directory).map_err(self.rotation_file())?;
        self.roots_mut().previous = None;
        Ok(())
    }

    /// Gives a stream's key a further generation, by which data keys are wrapped from here on; gives its number. A key
    /// that has two already stays as it is.
    ///
    /// # Errors
    /// When the key's file cannot be read or written.
    pub fn add_generation(&self, stream: StreamId) -> Result<u32, KeyError> {
        let _turn = self.writing();
        let key = self.read_again(stream)?;
        let generation = if key.old().is_some() { key.newest() } else { key.newest() + 1 };
        if key.old().is_none() {
            self.change_stream_key(stream, key.with_next())?;
        }
        Ok(generation)
    }

    /// The generation that a stream's data keys move away from, where a rotation is under way or was cut off.
    ///
    /// # Errors
    /// When the key's file cannot be read.
    pub fn old_generation(&self, stream: StreamId) -> Result<Option<u32>, KeyError> {
        Ok(self.stream_key(stream)?.old())
    }

    /// Waits until no data key that was minted under a generation is on its way into the log any more. Blocks.
    ///
    /// # Errors
    /// `StillMinted` if that does not come.
    pub fn wait_for_minted(&self, stream: StreamId, generation: u32) -> Result<(), KeyError> {
        if self.leases.wait_for_end(stream, generation, LEASES_END_WITHIN) {
            Ok(())
        } else {
            Err(KeyError::StillMinted { stream, generation })
        }
    }

    /// The data keys of a stream that are wrapped by an older generation than the newest, wrapped by that. What becomes of
    /// them is the writer's business: one may be removed before it is put.
    ///
    /// # Errors
    /// When one cannot be read or does not unwrap.
    pub fn rewrapped(&self, stream: StreamId) -> Result<Vec<(DataKeyId, Vec<u8>)>, KeyError> {
        let key = self.stream_key(stream)?;
        let stored = self.log.data_keys(stream)?;
        let old = stored.iter().filter(|(_, stored)| generation_of(stored) != Some(key.newest()));
        old.map(|(id, stored)| match key.unwrap(*id, stored) {
            Ok(data_key) => Ok((*id, key.wrap(&data_key))),
            Err(what) => Err(KeyError::DamagedKey { stream, id: *id, what }),
        })
        .collect()
    }

    /// Lets the older generation of a stream's key go, bytes and all, once nothing in the log is wrapped by it: what
    /// once was, and lies about in the log's files, opens with nothing any more.
    ///
    /// # Errors
    /// `StillWrapped` where something is; nothing has gone then. And when the key's file cannot be read or written.
    pub fn drop_old_generation(&self, stream: StreamId) -> Result<(), KeyError> {
        let _turn = self.writing();
        let key = self.read_again(stream)?;
        let Some(old) = key.old() else { return Ok(()) };
        let left = self.log.data_keys(stream)?;
        let left = left.iter().filter(|(_, stored)| generation_of(stored) != Some(key.newest())).count();
        if left > 0 {
            return Err(KeyError::StillWrapped { stream, generation: old, left });
        }
        self.change_stream_key(stream, key.without_old())
    }

    /// Overwrites what a crash left of key files that were being replaced, also in the stores beside this one.
    ///
    /// # Errors
    /// `Io`.
    pub fn sweep(&self) -> Result<(), KeyError> {
        let _turn = self.writing();
        for folder in std::iter::once(&self.directory).chain(&self.beside) {
            for name in names_in(folder)? {
                let path = folder.join(name);
                if let Some(of) = overwriting::of_leftover(&path) {
                    overwriting::sweep(&of).map_err(|source| KeyError::Io { path, source })?;
                }
            }
        }
        Ok(())
    }

    /// A stream's key from its file, which is what a change begins with: after a write that failed half way, memory has
    /// another one.
    fn read_again(&self, stream: StreamId) -> Result<StreamKey, KeyError> {
        StreamKey::read(&self.directory, &self.roots(), stream)
    }

    /// Puts a stream's key in its file, then in memory. A mint sees the one or the other, never the old one once this is
    /// over: what it found before, it holds a lease of.
    fn change_stream_key(&self, stream: StreamId, key: StreamKey) -> Result<(), KeyError> {
        key.write(&self.directory, &self.roots().current)?;
        self.hold_changed(stream, key);
        Ok(())
    }

    fn rotation_file(&self) -> impl FnOnce(std::io::Error) -> KeyError {
        let path = root_rotation::path_in(&self.directory);
        move |source| KeyError::Io { path, source }
    }
}

/// The names in a folder of keys; none where there is no such folder.
///
/// # Errors
/// `Io`.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, KeyError> {
    let failed = |source| KeyError::Io { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()));
    names.collect()
}
