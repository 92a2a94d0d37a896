//! The ledger: a line for everything that is taken away for good (data keys destroyed, API keys revoked, or rotated without a
//! grace), kept beside the
//! snapshots, so that a store which is restored from an old one does not bring it back.
//!
//! The writer makes a line durable between deciding and appending. So a crash may leave a line without its event, never an
//! event without its line; at start what such a line says is finished. How far a store has held the ledger against its
//! log it remembers, or each start would read all of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::Timestamp;
use crate::event::packed::RecordedAt;
use crate::event::{Recorded, Version};
use crate::ids::{DataKeyId, StreamId};
use crate::private;

/// The file's name in the folder of the snapshots.
const NAME: &str = "ledger";
/// How many lines are in memory at once when it is read.
const LINES_AT_ONCE: usize = 256;
/// A line is longer than its event, which has at most 4 MiB, but not twice as long.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// A start after a crash reads this much at most of what was noted before it.
pub(super) const REMEMBERED_EVERY_BYTES: u64 = 64 << 10;

/// The ledger of a store.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    /// Where this store remembers how far it has held the ledger against its log.
    mark: PathBuf,
    epoch: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What an earlier process noted and nobody has held against the log yet.
    left: Range<u64>,
    /// The file, once this process noted something.
    file: Option<File>,
    /// Where the last whole line ends.
    end: u64,
    /// Up to here every line has its event in the log.
    appended: u64,
    /// Up to here that is remembered.
    remembered: u64,
}

/// What the ledger says from a place on.
#[derive(Debug, Default)]
pub struct Lines {
    /// What was taken away for good, as it was to be recorded, each with its place.
    pub entries: Vec<(u64, Recorded)>,
    /// Lines that are not what was written, each with its place.
    pub damaged: Vec<String>,
    /// Whether the last line was cut off in the midst of being written, so that nothing rests on it.
    pub torn: bool,
    /// Where to go on; the same place where there is nothing more.
    pub next: u64,
}

/// A line: an event, and the CRC-32 of its text in hexadecimal digits.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    crc32: &'a str,
}

/// An event as recorded; `record` is all but its place in the stream.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    stream: StreamId,
    version: Version,
    at: Timestamp,
    record: R,
}

/// How far a store has held the ledger against its log.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The epoch that it was in: an operator who puts back the log puts back what was held, too.
    epoch: String,
    /// How many bytes of the ledger.
    bytes: u64,
}

impl Ledger {
    /// The ledger in a folder of snapshots, for a store that keeps its mark in `mark`. Nothing is written or made.
    ///
    /// # Errors
    /// When the ledger or the mark is there and cannot be read.
    pub fn open(snapshots: &Path, mark: PathBuf, epoch: impl Into<String>) -> io::Result<Self> {
        let (path, epoch) = (snapshots.join(NAME), epoch.into());
        let checked = read_mark(&mark, &epoch)?;
        let (end, length) = match private::options().read(true).open(&path) {
            Ok(mut file) => (end_of_last_line(&mut file)?, file.metadata()?.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, 0),
            Err(error) => return Err(error),
        };
        let ledger = path.display();
        if length > end {
            tracing::warn!(%ledger, "the ledger's last line was cut off by a crash; nothing rests on it");
        }
        let is_cut = checked.is_some_and(|checked| checked > end);
        if is_cut {
            tracing::error!(
                %ledger,
                "the ledger of what was destroyed is missing, or shorter than it was: put it back, or a restore from an \
                 older snapshot could bring back what was destroyed"
            );
        }
        // One that was cut is another one: all of it is looked at.
        let from = checked.filter(|_| !is_cut).unwrap_or(0);
        let state =
            State { left: from..end, file: None, end, appended: from, remembered: checked.unwrap_or(0) };
        Ok(Self { path, mark, epoch, state: Mutex::new(state) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes of it this store has held against its log and remembers; `None` if it never did in this epoch.
    ///
    /// # Errors
    /// When the mark cannot be read.
    pub fn checked(&self) -> io::Result<Option<u64>> {
        read_mark(&self.mark, &self.epoch)
    }

    /// The next lines of a part of it, at most [`LINES_AT_ONCE`]; none where there is no ledger yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, part: Range<u64>) -> io::Result<Lines> {
        let mut found = Lines { next: part.start, ..Lines::default() };
        let mut file = match private::options().read(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(part.start))?;
        let mut reader = BufReader::new(file.take(part.end.saturating_sub(part.start)));
        let mut line = Vec::new();
        for _ in 0..LINES_AT_ONCE {
            line.clear();
            (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            let Some((b'\n', text)) = line.split_last() else {
                found.torn = !line.is_empty();
                break;
            };
            match parse(text) {
                Ok(event) => found.entries.push((found.next, event)),
                Err(what) => {
                    found.damaged.push(format!("{} at byte {}: {what}", self.path.display(), found.next));
                }
            }
            found.next += line.len() as u64;
        }
        Ok(found)
    }

    /// All data keys that it says were destroyed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn destroyed_keys(&self) -> io::Result<BTreeSet<(StreamId, DataKeyId)>> {
        let mut destroyed = BTreeSet::new();
        let mut at = 0;
        loop {
            let lines = self.read(at..u64::MAX)?;
            for (_, entry) in &lines.entries {
                destroyed.extend(entry.event.destroyed_keys().iter().map(|id| (entry.stream, *id)));
            }
            if lines.next == at {
                return Ok(destroyed);
            }
            at = lines.next;
        }
    }

    /// Notes events that are about to be appended, or that another ledger told of; durable before this returns.
    ///
    /// # Errors
    /// Those of the file system. What was written of it is taken back, as far as that can be.
    pub fn note<'a>(&self, events: impl IntoIterator<Item = &'a Recorded>) -> io::Result<()> {
        let mut lines = Vec::new();
        for event in events {
            let Recorded { stream, version, at, .. } = *event;
            let entry = to_raw_value(&Entry { stream, version, at, record: event.packed() })?;
            let crc32 = crc_of(entry.get());
            serde_json::to_writer(&mut lines, &Line { entry: &entry, crc32: &crc32 })?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        if state.file.as_ref().is_some_and(|file| !self.is(file)) {
            let ledger = self.path.display();
            tracing::error!(%ledger, "another file has taken the ledger's place, or none: what it had is not in it");
            state.file = None;
        }
        if state.file.is_none() {
            let (file, end) = self.open_to_append()?;
            (state.file, state.end) = (Some(file), end);
        }
        let end = state.end;
        let file = state.file.as_mut().expect("opened above");
        if let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data()) {
            // What is refused must not be finished at the next start. The next note opens the file anew.
            let taken_back = file.set_len(end).and_then(|()| file.sync_data());
            state.file = None;
            return taken_back.and(Err(error));
        }
        state.end += lines.len() as u64;
        Ok(())
    }

    /// All that was noted is in the log now.
    pub(super) fn appended(&self) {
        let mut state = self.state();
        if state.left.is_empty() {
            state.appended = state.end;
        }
    }

    /// Remembers how far all is in the log, if that is so much further than what is remembered that another start would
    /// have to read more than this.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remember(&self, unless_within: u64) -> io::Result<()> {
        let (appended, remembered) = {
            let state = self.state();
            (state.appended, state.remembered)
        };
        if appended == remembered || appended.abs_diff(remembered) < unless_within {
            return Ok(());
        }
        let mark = Mark { epoch: self.epoch.clone(), bytes: appended };
        private::write(&self.mark, &serde_json::to_vec(&mark)?)?;
        self.state().remembered = appended;
        Ok(())
    }

    /// What an earlier process noted and nobody has held against the log yet.
    pub(super) fn left(&self) -> Range<u64> {
        self.state().left.clone()
    }

    /// Up to there it is held against the log.
    pub(super) fn held(&self, until: u64) {
        let mut state = self.state();
        state.left.start = until;
        state.appended = until;
    }

    /// Opens the file at the end of its last whole line, and makes it where there is none.
    fn open_to_append(&self) -> io::Result<(File, u64)> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let is_new = !self.path.try_exists()?;
        if is_new {
            private::make_durable_dir(folder)?;
        }
        let mut file = private::options().read(true).append(true).create(true).open(&self.path)?;
        if is_new {
            private::sync_dir(folder)?;
        }
        let end = end_of_last_line(&mut file)?;
        file.set_len(end)?;
        Ok((file, end))
    }

    /// Whether a file is the one under the ledger's name still. Whoever copies the folder or edits the ledger may put another
    /// one there.
    fn is(&self, file: &File) -> bool {
        let same = || Ok::<_, io::Error>((file.metadata()?, std::fs::symlink_metadata(&self.path)?));
        same().is_ok_and(|(open, named)| (open.dev(), open.ino()) == (named.dev(), named.ino()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes of the ledger a store has held in the epoch that it is in; a mark that is none counts as none.
fn read_mark(path: &Path, epoch: &str) -> io::Result<Option<u64>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let mark = serde_json::from_slice::<Mark>(&bytes).ok();
            Ok(mark.filter(|mark| mark.epoch == epoch).map(|mark| mark.bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> Result<Recorded, &'static str> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|_| "it is no line of a ledger")?;
    if crc_of(line.entry.get()) != line.crc32 {
        return Err("its checksum does not fit");
    }
    let entry: Entry<&RawValue> = serde_json::from_str(line.entry.get())
        .map_err(|_| "it holds no event: written by a newer Settled?")?;
    let at = RecordedAt { stream: entry.stream, version: entry.version, at: entry.at };
    let mut record = serde_json::Deserializer::from_str(entry.record.get());
    at.deserialize(&mut record).map_err(|_| "its event cannot be read: written by a newer Settled?")
}

fn crc_of(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Where the last whole line ends; what is after it was torn by a crash, and nothing rests on it.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(4096);
        piece.resize(usize::try_from(end - from).unwrap_or(0), 0);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}
