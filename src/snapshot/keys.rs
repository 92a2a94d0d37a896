//! The keys of a snapshot: `NAME.settled.keys`. The streams' keys are wrapped by a key of this file alone, which the root
//! key wraps; the data keys are wrapped by their stream's key, as in the log.
//!
//! ```text
//! magic "SETLKEYS" (8) ‖ format (1) ‖ snapshot (16) ‖ store (16) ‖ position (8) ‖ time, µs (8)
//!   ‖ root key's fingerprint (16) ‖ the snapshot's key, wrapped by the root key (80)
//! for each stream, in their order: 1 (1) ‖ stream (16) ‖ generations (1)
//!   ‖ generations × (generation (4) ‖ the stream's key, wrapped by the snapshot's (80))
//!   ‖ data keys (4) ‖ data keys × (id (16) ‖ wrapped by the stream's key (85))
//! 0 (1) ‖ a tag of the snapshot's key over the SHA-256 of all before (16)
//! ```
//! Integers are big-endian. Without the right root key nothing of it opens; the tag says that nothing is missing.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::history::{Unfinished, begin, begin_beside};
use super::{SnapshotError, keys_of};
use crate::clock::Timestamp;
use crate::ids::{DataKeyId, SnapshotId, StoreId, StreamId};
use crate::log::Position;
use crate::private;
use crate::seal::keyring::snapshot::{
    CarriedKeys, DATA_KEY_BYTES, SnapshotKey, VOUCHER_BYTES, WRAPPED_KEY_BYTES, sweep_keys,
};
use crate::seal::root::{RootFingerprint, RootKey};

const MAGIC: [u8; 8] = *b"SETLKEYS";
const FORMAT: u8 = 1;
const GENERATIONS_MAX: u8 = 2;
/// More than this of one stream at a time is not asked of memory before it was read.
const DATA_KEYS_AHEAD: usize = 4_096;

/// What a file of keys says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysHeader {
    /// The snapshot that it was written for.
    pub snapshot: SnapshotId,
    /// The store.
    pub store: StoreId,
    /// The position that the history of the same snapshot ends at: these keys are no older.
    pub position: Position,
    /// When it was written.
    pub at: Timestamp,
}

/// A file of keys being written.
pub struct KeysWriter {
    path: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    written: u64,
    key: SnapshotKey,
}

impl KeysWriter {
    /// Begins the one that belongs to a history, under a fresh key of its own and how the root key wraps that.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn create(
        history: &Path,
        header: &KeysHeader,
        (key, root, wrapped): (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        let path = keys_of(history);
        sweep_keys(&path).map_err(SnapshotError::io("sweep", &path))?;
        let file = begin(&path)?;
        Self::begun(path, file, header, (key, root, wrapped))
    }

    /// Begins one that takes the place of another, which stays until then.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn beside(
        path: &Path,
        header: &KeysHeader,
        key: (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        sweep_keys(path).map_err(SnapshotError::io("sweep", path))?;
        let file = begin_beside(path)?;
        Self::begun(path.to_owned(), file, header, key)
    }

    fn begun(
        path: PathBuf,
        file: File,
        header: &KeysHeader,
        (key, root, wrapped): (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        let file = BufWriter::new(file);
        let mut writer = Self { path, file, digest: Sha256::new(), written: 0, key };
        writer.put(&MAGIC)?;
        writer.put(&[FORMAT])?;
        writer.put(header.snapshot.uuid().as_bytes())?;
        writer.put(header.store.uuid().as_bytes())?;
        writer.put(&header.position.0.to_be_bytes())?;
        writer.put(&header.at.micros().to_be_bytes())?;
        writer.put(&root.0)?;
        writer.put(&wrapped)?;
        Ok(writer)
    }

    /// The key that wraps the streams' keys in this file.
    pub fn key(&self) -> &SnapshotKey {
        &self.key
    }

    /// Adds a stream's keys; the streams come in their order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn stream(&mut self, keys: &CarriedKeys) -> Result<(), SnapshotError> {
        self.put(&[1])?;
        self.put(&keys.stream.to_bytes())?;
        self.put(&[u8::try_from(keys.generations.len()).expect("one or two")])?;
        for (generation, wrapped) in &keys.generations {
            self.put(&generation.to_be_bytes())?;
            self.put(wrapped)?;
        }
        let count = u32::try_from(keys.data_keys.len()).expect("a stream has far fewer data keys");
        self.put(&count.to_be_bytes())?;
        for (id, wrapped) in &keys.data_keys {
            self.put(id.uuid().as_bytes())?;
            self.put(wrapped)?;
        }
        Ok(())
    }

    /// Vouches for all of it; durable, but under the other name still.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> Result<Unfinished, SnapshotError> {
        self.put(&[0])?;
        let voucher = self.key.voucher(&self.digest.clone().finalize().into());
        self.put(&voucher)?;
        Unfinished::durable(self.file, self.path, self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        self.file.write_all(bytes).map_err(SnapshotError::io("write", &self.path))
    }
}

/// A file of keys that a root key opens.
pub struct KeysFile {
    path: PathBuf,
    file: BufReader<File>,
    digest: Sha256,
    at: u64,
    key: SnapshotKey,
    /// What it says of itself.
    pub header: KeysHeader,
}

impl KeysFile {
    /// Opens one.
    ///
    /// # Errors
    /// `WrongRootKey`, `Damaged`, `Newer`, `Io`.
    pub fn open(path: &Path, root: &RootKey) -> Result<Self, SnapshotError> {
        let (header, mut raw) = begun(path)?;
        let fingerprint = RootFingerprint(raw.array()?);
        let wrapped = raw.array()?;
        if fingerprint != root.fingerprint() {
            return Err(SnapshotError::WrongRootKey {
                path: path.to_owned(),
                wrapped_by: fingerprint.to_string(),
                at_hand: root.fingerprint().to_string(),
            });
        }
        let key = SnapshotKey::unwrap(root, header.snapshot, &wrapped);
        let key = key.ok_or_else(|| raw.damaged("the key of this file does not open"))?;
        let Raw { file, digest, at: offset, .. } = raw;
        Ok(Self { path: path.to_owned(), file, digest, at: offset, key, header })
    }

    /// The key that wraps the streams' keys in this file.
    pub fn key(&self) -> &SnapshotKey {
        &self.key
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the keys of each stream to `take`, in order. Only when this has returned is it sure that none was missing.
    ///
    /// # Errors
    /// `Damaged` with the place, `Io`, and what `take` says.
    pub fn read<E: From<SnapshotError>>(
        self,
        mut take: impl FnMut(&SnapshotKey, CarriedKeys) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { path, file, digest, at, key, .. } = self;
        let mut raw = Raw { path: &path, file, digest, at };
        let mut before = None;
        loop {
            match raw.array()? {
                [0] => break,
                [1] => {}
                _ => return Err(raw.damaged("there is neither a stream nor the end").into()),
            }
            let stream = StreamId::from_bytes(raw.array()?);
            if before.replace(stream).is_some_and(|before| before >= stream) {
                return Err(raw.damaged("its streams are not in their order").into());
            }
            let keys = raw.stream(stream)?;
            take(&key, keys)?;
        }
        let digest = raw.digest.clone().finalize().into();
        if raw.array::<VOUCHER_BYTES>()? != key.voucher(&digest) {
            return Err(raw.damaged("its tag does not fit: it was changed").into());
        }
        match raw.file.read(&mut [0]).map_err(SnapshotError::io("read", &path))? {
            0 => Ok(()),
            _ => Err(raw.damaged("it goes on after its end").into()),
        }
    }
}

/// What a file of keys says of itself, which nobody vouches for without the root key.
///
/// # Errors
/// `Damaged`, `Newer`, `Io`.
pub fn header_of(path: &Path) -> Result<KeysHeader, SnapshotError> {
    Ok(begun(path)?.0)
}

fn begun(path: &Path) -> Result<(KeysHeader, Raw<'_>), SnapshotError> {
    let file = BufReader::new(private::open_regular(path).map_err(SnapshotError::io("open", path))?);
    let mut raw = Raw { path, file, digest: Sha256::new(), at: 0 };
    let magic: [u8; 8] = raw.array()?;
    if magic != MAGIC {
        return Err(raw.damaged("it is no file of keys"));
    }
    let [format] = raw.array()?;
    if format != FORMAT {
        return Err(SnapshotError::Newer { path: path.to_owned(), format });
    }
    let snapshot = SnapshotId::from_uuid(Uuid::from_bytes(raw.array()?));
    let store = StoreId::from_uuid(Uuid::from_bytes(raw.array()?));
    let position = Position(u64::from_be_bytes(raw.array()?));
    let at = Timestamp::from_micros(i64::from_be_bytes(raw.array()?));
    Ok((KeysHeader { snapshot, store, position, at }, raw))
}

/// A file as far as it was read.
struct Raw<'a> {
    path: &'a Path,
    file: BufReader<File>,
    digest: Sha256,
    at: u64,
}

impl Raw<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it is cut short"),
            _ => SnapshotError::io("read", self.path)(error),
        })?;
        self.digest.update(bytes);
        self.at += N as u64;
        Ok(bytes)
    }

    fn stream(&mut self, stream: StreamId) -> Result<CarriedKeys, SnapshotError> {
        let [count] = self.array()?;
        if !(1..=GENERATIONS_MAX).contains(&count) {
            return Err(self.damaged("a stream has one or two generations of its key"));
        }
        let mut generations = Vec::new();
        for _ in 0..count {
            generations.push((u32::from_be_bytes(self.array()?), self.array::<WRAPPED_KEY_BYTES>()?));
        }
        if !generations.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(self.damaged("the generations do not increase"));
        }
        let count = u32::from_be_bytes(self.array()?) as usize;
        let mut data_keys = Vec::with_capacity(count.min(DATA_KEYS_AHEAD));
        for _ in 0..count {
            let id = DataKeyId::from_uuid(Uuid::from_bytes(self.array()?));
            data_keys.push((id, self.array::<DATA_KEY_BYTES>()?));
        }
        Ok(CarriedKeys { stream, generations, data_keys })
    }

    fn damaged(&self, what: &str) -> SnapshotError {
        SnapshotError::damaged(self.path, format!("at byte {}", self.at), what)
    }
}
