//! The keys of a snapshot: `NAME.settled.keys`. The streams' keys are wrapped by a key of this file alone, which the root
//! key wraps; the data keys are wrapped by their stream's key, as in the log.
//!
//! ```text
//! magic "SETLKEYS" (8) ‖ format (1) ‖ snapshot (16) ‖ store (16) ‖ position (8) ‖ time, µs (8)
//!   ‖ since format 2, the epochs (2) ‖ epochs × (since format 3, store (16) ‖ length (1) ‖ epoch ‖ position (8))
//!   ‖ root key's fingerprint (16) ‖ the snapshot's key, wrapped by the root key (80)
//! for each stream, in their order: 1 (1) ‖ stream (16) ‖ generations (1)
//!   ‖ generations × (generation (4) ‖ the stream's key, wrapped by the snapshot's (80))
//!   ‖ data keys (4) ‖ data keys × (id (16) ‖ wrapped by the stream's key (85))
//! since format 2, where it is known: 2 (1) ‖ count (4) ‖ count × (SHA-256 of the value of an API key that is accepted (32)),
//!   in order
//! 0 (1) ‖ a tag of the snapshot's key over the SHA-256 of all before (16)
//! ```
//! Integers are big-endian. Without the right root key nothing of it opens; the tag says that nothing is missing.

use std::io::{BufReader, BufWriter, Read, Write as _};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::SnapshotError;
use super::format::Header;
use super::history::Unfinished;
use super::place::{Begun, Located, Sequential};
use crate::clock::Timestamp;
use crate::ids::{DataKeyId, SnapshotId, StoreId, StreamId};
use crate::log::Position;
use crate::seal::keyring::snapshot::{
    CarriedKeys, DATA_KEY_BYTES, SnapshotKey, VOUCHER_BYTES, WRAPPED_KEY_BYTES,
};
use crate::seal::root::{RootFingerprint, RootKey};

const MAGIC: [u8; 8] = *b"SETLKEYS";
/// The format that this build writes snapshots in, and the newest that it reads.
pub const FORMAT: u8 = 3;
/// What begins the keys of a stream, the API keys, and the end.
const STREAM: u8 = 1;
const API_KEYS: u8 = 2;
const END: u8 = 0;
/// The first format that tells the epochs.
const WITH_EPOCHS: u8 = 2;
/// The first that tells whose they are.
const WITH_STORES: u8 = 3;
const GENERATIONS_MAX: u8 = 2;
/// More than this at a time is not asked of memory before it was read.
const AHEAD: usize = 4_096;

/// The values of API keys that were accepted at a time, in order: SHA-256 of each. What a history has and this does not was
/// revoked or rotated since.
pub type AcceptedKeys = Vec<[u8; 32]>;

/// An epoch whose events a store has up to a position: its own, or one of a store that it was restored from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The store that the epoch is of; nothing in format 2.
    pub store: Option<StoreId>,
    /// The epoch.
    pub epoch: String,
    /// The last position that is the same in both.
    pub until: Position,
}

/// What a file of keys says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysHeader {
    /// The snapshot that it was written for.
    pub snapshot: SnapshotId,
    /// The store.
    pub store: StoreId,
    /// The position that the history of the same snapshot ends at: these keys are no older.
    pub position: Position,
    /// When it was written.
    pub at: Timestamp,
    /// The epochs that went before, oldest first, and at last the one that the store was in; none in format 1.
    pub epochs: Vec<Shared>,
}

impl KeysHeader {
    /// Whether it says of each epoch whose it is. Every store's first one is called alike.
    pub fn tells_stores(&self) -> bool {
        self.epochs.iter().all(|shared| shared.store.is_some())
    }

    /// Whether these keys know all that a history has up to a position: they are no older, and of the same course of events.
    /// What they lack of it was taken away since; what they lack of another they may never have had.
    pub fn know(&self, history: &Header, end: Position) -> bool {
        let shares = |shared: &Shared| {
            shared.store.is_none_or(|store| store == history.store)
                && shared.epoch == history.epoch
                && end <= shared.until
        };
        let is_own = history.store == self.store;
        match self.epochs.split_last() {
            // The same store may have given up a part of its log: then it has positions again, in another epoch. And every
            // store's first epoch is called alike: of format 2 the newest that are the history's own go before.
            Some((own, before)) => is_own && shares(own) || before.iter().any(shares),
            None => is_own && end <= self.position,
        }
    }
}

/// A file of keys being written.
pub struct KeysWriter {
    at: Located,
    file: BufWriter<Box<dyn Begun>>,
    digest: Sha256,
    written: u64,
    key: SnapshotKey,
}

impl KeysWriter {
    /// Begins one under a fresh key of its own and how the root key wraps that.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn create(
        at: &Located,
        header: &KeysHeader,
        key: (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        Self::begun(at, at.create()?, header, key)
    }

    /// Begins one that takes the place of another, which stays until then.
    ///
    /// # Errors
    /// Those of the place.
    pub fn beside(
        at: &Located,
        header: &KeysHeader,
        key: (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        Self::begun(at, at.replace()?, header, key)
    }

    fn begun(
        at: &Located,
        file: Box<dyn Begun>,
        header: &KeysHeader,
        (key, root, wrapped): (SnapshotKey, RootFingerprint, [u8; WRAPPED_KEY_BYTES]),
    ) -> Result<Self, SnapshotError> {
        let file = BufWriter::new(file);
        let mut writer = Self { at: at.clone(), file, digest: Sha256::new(), written: 0, key };
        // One that is written anew without what was destroyed tells no more than it did.
        let tells_stores = header.tells_stores();
        writer.put(&MAGIC)?;
        writer.put(&[if tells_stores { FORMAT } else { WITH_EPOCHS }])?;
        writer.put(header.snapshot.uuid().as_bytes())?;
        writer.put(header.store.uuid().as_bytes())?;
        writer.put(&header.position.0.to_be_bytes())?;
        writer.put(&header.at.micros().to_be_bytes())?;
        let count = u16::try_from(header.epochs.len()).expect("a store is restored far fewer times");
        writer.put(&count.to_be_bytes())?;
        for Shared { store, epoch, until } in &header.epochs {
            if let Some(store) = store.filter(|_| tells_stores) {
                writer.put(store.uuid().as_bytes())?;
            }
            writer.put(&[u8::try_from(epoch.len()).expect("an epoch is eight letters")])?;
            writer.put(epoch.as_bytes())?;
            writer.put(&until.0.to_be_bytes())?;
        }
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
        self.put(&[STREAM])?;
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

    /// Adds which API keys are accepted, after the last stream.
    ///
    /// # Errors
    /// Those of the place.
    pub fn accepted(&mut self, accepted: &AcceptedKeys) -> Result<(), SnapshotError> {
        self.put(&[API_KEYS])?;
        self.put(&u32::try_from(accepted.len()).expect("a server has far fewer API keys").to_be_bytes())?;
        accepted.iter().try_for_each(|token| self.put(token))
    }

    /// Vouches for all of it; durable, but under the other name still.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> Result<Unfinished, SnapshotError> {
        self.put(&[END])?;
        let voucher = self.key.voucher(&self.digest.clone().finalize().into());
        self.put(&voucher)?;
        Unfinished::durable(self.file, self.at, self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        self.file.write_all(bytes).map_err(SnapshotError::io("write", self.at.path()))
    }
}

/// A file of keys that a root key opens.
pub struct KeysFile {
    at: Located,
    file: BufReader<Sequential>,
    digest: Sha256,
    read: u64,
    key: SnapshotKey,
    /// What it says of itself.
    pub header: KeysHeader,
}

impl KeysFile {
    /// Opens one.
    ///
    /// # Errors
    /// `WrongRootKey`, `Damaged`, `Newer`, `Io`.
    pub fn open(at: &Located, root: &RootKey) -> Result<Self, SnapshotError> {
        let (header, mut raw) = begun(at)?;
        let fingerprint = RootFingerprint(raw.array()?);
        let wrapped = raw.array()?;
        if fingerprint != root.fingerprint() {
            return Err(SnapshotError::WrongRootKey {
                path: at.path().to_owned(),
                wrapped_by: fingerprint.to_string(),
                at_hand: root.fingerprint().to_string(),
            });
        }
        let key = SnapshotKey::unwrap(root, header.snapshot, &wrapped);
        let key = key.ok_or_else(|| raw.damaged("the key of this file does not open"))?;
        let Raw { file, digest, read, .. } = raw;
        Ok(Self { at: at.clone(), file, digest, read, key, header })
    }

    /// The key that wraps the streams' keys in this file.
    pub fn key(&self) -> &SnapshotKey {
        &self.key
    }

    /// Where it is.
    pub fn at(&self) -> &Located {
        &self.at
    }

    /// Gives the keys of each stream to `take`, in order; returns the API keys that were accepted, where that is known. Only
    /// when this has returned is it sure that none was missing.
    ///
    /// # Errors
    /// `Damaged` with the place, `Io`, and what `take` says.
    pub fn read<E: From<SnapshotError>>(
        self,
        mut take: impl FnMut(&SnapshotKey, CarriedKeys) -> Result<(), E>,
    ) -> Result<Option<AcceptedKeys>, E> {
        let Self { at, file, digest, read, key, .. } = self;
        let mut raw = Raw { at: &at, file, digest, read };
        let (mut before, mut accepted) = (None, None);
        loop {
            match raw.array()? {
                [END] => break,
                [STREAM] if accepted.is_none() => {}
                [API_KEYS] if accepted.is_none() => {
                    accepted = Some(raw.accepted()?);
                    continue;
                }
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
        match raw.file.read(&mut [0]).map_err(SnapshotError::io("read", at.path()))? {
            0 => Ok(accepted),
            _ => Err(raw.damaged("it goes on after its end").into()),
        }
    }
}

/// What a file of keys says of itself, which nobody vouches for without the root key, and which root key that is.
///
/// # Errors
/// `Damaged`, `Newer`, `Io`.
pub fn header_of(at: &Located) -> Result<(KeysHeader, RootFingerprint), SnapshotError> {
    let (header, mut raw) = begun(at)?;
    Ok((header, RootFingerprint(raw.array()?)))
}

fn begun(at: &Located) -> Result<(KeysHeader, Raw<'_>), SnapshotError> {
    let file = BufReader::new(Sequential::from(at.open()?));
    let mut raw = Raw { at, file, digest: Sha256::new(), read: 0 };
    let magic: [u8; 8] = raw.array()?;
    if magic != MAGIC {
        return Err(raw.damaged("it is no file of keys"));
    }
    let [format] = raw.array()?;
    if !(1..=FORMAT).contains(&format) {
        return Err(SnapshotError::Newer { path: at.path().to_owned(), format });
    }
    let snapshot = SnapshotId::from_uuid(Uuid::from_bytes(raw.array()?));
    let store = StoreId::from_uuid(Uuid::from_bytes(raw.array()?));
    let position = Position(u64::from_be_bytes(raw.array()?));
    let at = Timestamp::from_micros(i64::from_be_bytes(raw.array()?));
    let epochs = if format >= WITH_EPOCHS { raw.epochs(format)? } else { Vec::new() };
    Ok((KeysHeader { snapshot, store, position, at, epochs }, raw))
}

/// A file as far as it was read.
struct Raw<'a> {
    at: &'a Located,
    file: BufReader<Sequential>,
    digest: Sha256,
    read: u64,
}

impl Raw<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it is cut short"),
            _ => SnapshotError::io("read", self.at.path())(error),
        })?;
        self.digest.update(bytes);
        self.read += N as u64;
        Ok(bytes)
    }

    fn epochs(&mut self, format: u8) -> Result<Vec<Shared>, SnapshotError> {
        let count = u16::from_be_bytes(self.array()?);
        let mut epochs = Vec::new();
        for _ in 0..count {
            let store = (format >= WITH_STORES).then(|| self.array()).transpose()?;
            let store = store.map(|bytes| StoreId::from_uuid(Uuid::from_bytes(bytes)));
            let [length] = self.array()?;
            let bytes = (0..length).map(|_| self.array().map(|[byte]| byte)).collect::<Result<_, _>>()?;
            let epoch = String::from_utf8(bytes).map_err(|_| self.damaged("an epoch is no text"))?;
            epochs.push(Shared { store, epoch, until: Position(u64::from_be_bytes(self.array()?)) });
        }
        Ok(epochs)
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
        let mut data_keys = Vec::with_capacity(count.min(AHEAD));
        for _ in 0..count {
            let id = DataKeyId::from_uuid(Uuid::from_bytes(self.array()?));
            data_keys.push((id, self.array::<DATA_KEY_BYTES>()?));
        }
        Ok(CarriedKeys { stream, generations, data_keys })
    }

    fn accepted(&mut self) -> Result<AcceptedKeys, SnapshotError> {
        let count = u32::from_be_bytes(self.array()?) as usize;
        let mut accepted = Vec::with_capacity(count.min(AHEAD));
        for _ in 0..count {
            accepted.push(self.array()?);
        }
        if accepted.is_sorted_by(|a, b| a < b) {
            Ok(accepted)
        } else {
            Err(self.damaged("its API keys are not in their order"))
        }
    }

    fn damaged(&self, what: &str) -> SnapshotError {
        SnapshotError::damaged(self.at.path(), format!("at byte {}", self.read), what)
    }
}
