//! The head file: how far the log must reach, written beside the log after every commit.
//!
//! A storage engine may lose its end to damage and open without an error; the head file is what notices. It has
//! two slots, written in turn, so that a torn write leaves the other. A slot is written before the commit is
//! answered and synced within some 20 ms, off the write path: a process that dies loses nothing of it, and only
//! a power cut within these milliseconds *and* damage to the log's last commits would go unnoticed.
//!
//! ```text
//! slot: magic "SETLHEAD" ‖ store (16) ‖ sequence (8) ‖ position (8) ‖ frame hash (16)
//!       ‖ length of epoch (1) ‖ epoch (16, zero-filled) ‖ CRC-32 of all that precedes (4)
//! ```
//! Integers are big-endian; the second slot begins at 4096, on a page of its own.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

use super::sled::durability::Durability;
use super::{FrameHash, Position};
use crate::ids::StoreId;

const MAGIC: [u8; 8] = *b"SETLHEAD";
const SLOT_BYTES: usize = 77;
const SLOT_OFFSETS: [u64; 2] = [0, 4096];
const EPOCH_BYTES: usize = 16;

/// How long a written slot may wait for its sync; with the sync itself it stays under 20 ms on a healthy disk.
const SYNC_AFTER: Duration = Duration::from_millis(10);

/// The life of a store between two restores by an operator, or until one gives up a part of its log: `0`, or a short
/// random id. What was handed out in
/// another epoch (ETags, cursors, checkpoints, sessions) is void.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(String);

/// The text is no epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 1 to 16 lower-case letters and digits")]
pub struct InvalidEpoch;

impl Default for Epoch {
    fn default() -> Self {
        Self("0".to_owned())
    }
}

impl Epoch {
    /// Another than any before: eight letters and digits by chance.
    pub fn fresh() -> Self {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut random = rand::random::<u64>();
        let text = (0..8).map(|_| {
            let letter = char::from(ALPHABET[usize::try_from(random % 36).unwrap_or_default()]);
            random /= 36;
            letter
        });
        Self(text.collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        let fits = (1..=EPOCH_BYTES).contains(&text.len());
        let clean = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if fits && clean { Ok(Self(text.to_owned())) } else { Err(InvalidEpoch) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far the log reached when the slot was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRecord {
    /// The store that the log belongs to.
    pub store: StoreId,
    /// The store's epoch.
    pub epoch: Epoch,
    /// The position of the newest frame; 0 before the first.
    pub position: Position,
    /// That frame's hash.
    pub hash: FrameHash,
}

/// The head file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It cannot be read or written.
    #[error("the head file could not be read or written")]
    Io(#[from] io::Error),
    /// It is not there, or neither slot is whole.
    #[error(
        "the head file is missing or unreadable, so nothing says how far the log must reach; look at what it holds \
         with `settled fsck`, then restore the newest snapshot or accept it with `settled fsck --accept-head`"
    )]
    Unreadable,
}

/// What a head file held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSlots {
    /// The newest whole slot.
    pub newest: HeadRecord,
    /// Its sequence number: slots are written in turn, the larger number is the newer one.
    pub sequence: u64,
    /// Whether the other slot is whole too.
    pub other_whole: bool,
}

/// Reads a head file.
///
/// # Errors
/// `Unreadable` when the file is missing or neither slot is whole.
pub fn read(path: &Path) -> Result<HeadSlots, HeadError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HeadError::Unreadable),
        Err(error) => return Err(error.into()),
    };
    let mut slots = Vec::new();
    for offset in SLOT_OFFSETS {
        let mut bytes = [0; SLOT_BYTES];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => slots.extend(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error.into()),
        }
    }
    let other_whole = slots.len() == SLOT_OFFSETS.len();
    let newest = slots.into_iter().max_by_key(|(sequence, _)| *sequence);
    let (sequence, newest) = newest.ok_or(HeadError::Unreadable)?;
    Ok(HeadSlots { newest, sequence, other_whole })
}

/// Makes a head file, both slots alike, and syncs it. The caller syncs the folder.
///
/// # Errors
/// When it cannot be written.
pub fn create(path: &Path, record: &HeadRecord) -> io::Result<()> {
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let file = options.open(path)?;
    for (sequence, offset) in (1..).zip(SLOT_OFFSETS) {
        file.write_all_at(&encode(record, sequence), offset)?;
    }
    file.sync_all()
}

/// The head file of an open store. A thread of its own syncs what is written.
pub struct HeadFile {
    file: Arc<File>,
    record: HeadRecord,
    sequence: u64,
    syncer: Arc<Syncer>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Syncer {
    state: Mutex<SyncState>,
    changed: Condvar,
}

#[derive(Default)]
struct SyncState {
    dirty: bool,
    stop: bool,
    failure: Option<String>,
}

impl HeadFile {
    /// Opens the head file to go on from a record.
    ///
    /// # Errors
    /// When it cannot be opened, or no thread can be started.
    pub fn open(
        path: &Path,
        record: HeadRecord,
        sequence: u64,
        durability: Arc<dyn Durability>,
    ) -> io::Result<Self> {
        let file = Arc::new(OpenOptions::new().write(true).open(path)?);
        let syncer = Arc::new(Syncer::default());
        let thread = std::thread::Builder::new().name("head".to_owned()).spawn({
            let (syncer, file) = (syncer.clone(), file.clone());
            move || syncer.run(&file, &*durability)
        })?;
        Ok(Self { file, record, sequence, syncer, thread: Some(thread) })
    }

    /// What was written last.
    pub fn record(&self) -> &HeadRecord {
        &self.record
    }

    /// Writes how far the log reaches. It is synced soon after.
    ///
    /// # Errors
    /// When it cannot be written, or the sync of an earlier one failed.
    pub fn write(&mut self, position: Position, hash: FrameHash) -> io::Result<()> {
        self.record.position = position;
        self.record.hash = hash;
        self.sequence += 1;
        let slot = usize::from(self.sequence.is_multiple_of(2));
        self.file.write_all_at(&encode(&self.record, self.sequence), SLOT_OFFSETS[slot])?;
        let mut state = self.syncer.state();
        if let Some(failure) = &state.failure {
            return Err(io::Error::other(failure.clone()));
        }
        if !state.dirty {
            state.dirty = true;
            self.syncer.changed.notify_all();
        }
        Ok(())
    }

    /// Syncs what was written, and ends the thread.
    ///
    /// # Errors
    /// When it cannot be synced.
    pub fn close(mut self) -> io::Result<()> {
        self.stop();
        self.file.sync_all()?;
        self.syncer.state().failure.take().map_or(Ok(()), |failure| Err(io::Error::other(failure)))
    }

    fn stop(&mut self) {
        self.syncer.state().stop = true;
        self.syncer.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread's only panic would be a failed assertion of the standard library.
            let _ = thread.join();
        }
    }
}

impl Drop for HeadFile {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Syncer {
    fn state(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, file: &File, durability: &dyn Durability) {
        loop {
            let state = self.changed.wait_while(self.state(), |state| !state.dirty && !state.stop);
            if state.unwrap_or_else(PoisonError::into_inner).stop {
                return;
            }
            // Whatever is written in the meantime shares the sync.
            let stopping = self.changed.wait_timeout_while(self.state(), SYNC_AFTER, |state| !state.stop);
            drop(stopping);
            self.state().dirty = false;
            if let Err(error) = durability.sync_head(file) {
                self.state().failure = Some(format!("the head file could not be synced: {error}"));
                return;
            }
        }
    }
}

fn encode(record: &HeadRecord, sequence: u64) -> [u8; SLOT_BYTES] {
    let mut epoch = [0; EPOCH_BYTES];
    epoch[..record.epoch.0.len()].copy_from_slice(record.epoch.0.as_bytes());
    let mut out = Vec::with_capacity(SLOT_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(record.store.uuid().as_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&record.position.0.to_be_bytes());
    out.extend_from_slice(&record.hash.0);
    out.push(record.epoch.0.len() as u8);
    out.extend_from_slice(&epoch);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    let mut slot = [0; SLOT_BYTES];
    slot.copy_from_slice(&out);
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, HeadRecord)> {
    let (checked, checksum) = slot.split_last_chunk::<4>()?;
    if crc32fast::hash(checked).to_be_bytes() != *checksum {
        return None;
    }
    let rest = checked.strip_prefix(&MAGIC)?;
    let (store, rest) = rest.split_first_chunk::<16>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<16>()?;
    let (length, epoch) = rest.split_first()?;
    let epoch = std::str::from_utf8(epoch.get(..usize::from(*length))?).ok()?.parse().ok()?;
    let record = HeadRecord {
        store: StoreId::from_uuid(Uuid::from_bytes(*store)),
        epoch,
        position: Position(u64::from_be_bytes(*position)),
        hash: FrameHash(*hash),
    };
    Some((u64::from_be_bytes(*sequence), record))
}

#[cfg(test)]
mod tests {
    use super::super::sled::durability::Disk;
    use super::*;

    fn record(position: u64) -> HeadRecord {
        HeadRecord {
            store: StoreId::from_uuid(Uuid::from_u128(7)),
            epoch: "0".parse().unwrap(),
            position: Position(position),
            hash: FrameHash([position as u8; 16]),
        }
    }

    fn written(writes: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        create(&path, &record(0)).unwrap();
        let slots = read(&path).unwrap();
        assert_eq!((slots.newest.clone(), slots.other_whole), (record(0), true));
        let mut head = HeadFile::open(&path, slots.newest, slots.sequence, Arc::new(Disk)).unwrap();
        for position in 1..=writes {
            head.write(Position(position), FrameHash([position as u8; 16])).unwrap();
        }
        head.close().unwrap();
        (dir, path)
    }

    #[test]
    fn the_newest_of_two_slots_counts_and_each_survives_the_other() {
        for writes in [5, 6] {
            let (_dir, path) = written(writes);
            assert_eq!(read(&path).unwrap().newest, record(writes));
            let whole = std::fs::read(&path).unwrap();
            let mut seen = Vec::new();
            for offset in SLOT_OFFSETS {
                let mut torn = whole.clone();
                torn[offset as usize + 40] ^= 1;
                std::fs::write(&path, torn).unwrap();
                let slots = read(&path).unwrap();
                assert!(!slots.other_whole);
                seen.push(slots.newest.position.0);
            }
            seen.sort_unstable();
            assert_eq!(seen, [writes - 1, writes]);
        }
    }

    #[test]
    fn without_a_whole_slot_the_remedy_is_named() {
        let (dir, path) = written(3);
        assert!(matches!(read(&dir.path().join("absent")), Err(HeadError::Unreadable)));
        std::fs::write(&path, [0; 8192]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("settled fsck --accept-head"), "{error}");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(read(&path), Err(HeadError::Unreadable)));
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_noticed() {
        let slot = encode(&record(9), 12);
        assert_eq!(decode(&slot), Some((12, record(9))));
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None);
        }
    }

    #[test]
    fn epochs_are_short_and_plain() {
        for text in ["", "ABC", "a b", "12345678901234567"] {
            assert_eq!(text.parse::<Epoch>(), Err(InvalidEpoch));
        }
        assert_eq!("0".parse::<Epoch>(), Ok(Epoch::default()));
    }
}
