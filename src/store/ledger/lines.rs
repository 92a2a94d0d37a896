//! The lines of a ledger: how one is written, and what is read of them without believing any that is not what was written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::Timestamp;
use crate::event::packed::RecordedAt;
use crate::event::{Event, Recorded, Version};
use crate::ids::{DataKeyId, OrganizationId, StoreId, StreamId};
use crate::platform::deletions::event::DeletionsEvent;
use crate::private;

/// How many lines are in memory at once when it is read.
const LINES_AT_ONCE: usize = 256;
/// A line is longer than its event, which has at most 4 MiB, but not twice as long.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// Data keys that were destroyed.
pub type DestroyedKeys = BTreeSet<(StreamId, DataKeyId)>;

/// What was taken away for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    /// The store that did, or found it so; lines that were written by older builds do not tell.
    pub store: Option<StoreId>,
    /// As it was to be recorded.
    pub event: Recorded,
}

impl Noted {
    /// The stream that it is about: a deletion stands in the platform's, which every store has.
    pub fn about(&self) -> StreamId {
        self.deleted().map_or(self.event.stream, StreamId::Organization)
    }

    /// Whether data keys went with it, at once or in what follows.
    pub fn destroys(&self) -> bool {
        self.deleted().is_some() || !self.event.event.destroyed_keys().is_empty()
    }

    fn deleted(&self) -> Option<OrganizationId> {
        match &self.event.event {
            Event::Deletions(DeletionsEvent::OrganizationDeleted(deleted)) => Some(deleted.organization),
            _ => None,
        }
    }
}

/// What the ledger says from a place on.
#[derive(Debug, Default)]
pub struct Lines {
    /// What was taken away for good, each with its place.
    pub entries: Vec<(u64, Noted)>,
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

/// An event as recorded, and whose it is; `record` is all but its place in the stream.
#[derive(Serialize, Deserialize)]
struct Entry<R> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<StoreId>,
    stream: StreamId,
    version: Version,
    at: Timestamp,
    record: R,
}

/// Adds the line of an event to a text, as of a store.
///
/// # Errors
/// When it cannot be told as JSON.
pub(super) fn write(store: Option<StoreId>, event: &Recorded, text: &mut Vec<u8>) -> io::Result<()> {
    let Recorded { stream, version, at, .. } = *event;
    let entry = to_raw_value(&Entry { store, stream, version, at, record: event.packed() })?;
    let crc32 = crc_of(entry.get());
    serde_json::to_writer(&mut *text, &Line { entry: &entry, crc32: &crc32 })?;
    text.push(b'\n');
    Ok(())
}

/// The next lines of a part of a file, at most [`LINES_AT_ONCE`]; none where there is no file.
///
/// # Errors
/// Those of the file system.
pub(super) fn read(path: &Path, part: Range<u64>) -> io::Result<Lines> {
    let mut found = Lines { next: part.start, ..Lines::default() };
    let mut file = match private::options().read(true).open(path) {
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
            Ok(noted) => found.entries.push((found.next, noted)),
            Err(what) => found.damaged.push(format!("{} at byte {}: {what}", path.display(), found.next)),
        }
        found.next += line.len() as u64;
    }
    Ok(found)
}

/// All data keys that those lines of a file say were destroyed that are `wanted`.
///
/// # Errors
/// Those of the file system.
pub(super) fn destroyed_keys(path: &Path, wanted: impl Fn(&Noted) -> bool) -> io::Result<DestroyedKeys> {
    let mut destroyed = DestroyedKeys::new();
    let mut at = 0;
    loop {
        let lines = read(path, at..u64::MAX)?;
        for (_, Noted { event, .. }) in lines.entries.iter().filter(|(_, noted)| wanted(noted)) {
            destroyed.extend(event.event.destroyed_keys().iter().map(|id| (event.stream, *id)));
        }
        if lines.next == at {
            return Ok(destroyed);
        }
        at = lines.next;
    }
}

/// Where the last whole line of a file ends; what is after it was torn by a crash, and nothing rests on it.
///
/// # Errors
/// Those of the file system.
pub(super) fn end_of_last(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(4096);
        piece.resize(usize::try_from(end - from).unwrap_or(0), 0);
        file.read_exact_at(&mut piece, from)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

fn parse(text: &[u8]) -> Result<Noted, &'static str> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|_| "it is no line of a ledger")?;
    if crc_of(line.entry.get()) != line.crc32 {
        return Err("its checksum does not fit");
    }
    let entry: Entry<&RawValue> = serde_json::from_str(line.entry.get())
        .map_err(|_| "it holds no event: written by a newer Settled?")?;
    let at = RecordedAt { stream: entry.stream, version: entry.version, at: entry.at };
    let mut record = serde_json::Deserializer::from_str(entry.record.get());
    let event = at.deserialize(&mut record);
    let event = event.map_err(|_| "its event cannot be read: written by a newer Settled?")?;
    Ok(Noted { store: entry.store, event })
}

fn crc_of(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}
