//! Savepoints: a stream's state at a version, in a file, a section an area. All are kept, so that any point in the past
//! is a bounded fold away.

use crate::event::Version;
use crate::ids::StreamId;
use crate::log::EventLog;
use crate::store::derived::{DerivedFile, DerivedFiles, FileName, Kind, Unreadable};
use crate::store::resident::{State, View};

/// A savepoint is due when so many events followed the last one …
pub const SAVEPOINT_EVENTS: u64 = 2_048;
/// … and so many for each thing that the state holds: so savepoints cost some bytes an event, however large the state.
pub const SAVEPOINT_EVENTS_PER_ITEM: u64 = 2;
/// At a stop, and when a stream leaves the memory, so many events are worth a savepoint.
pub const SAVEPOINT_EVENTS_AT_STOP: u64 = 128;

/// Whether a stream that holds so many things needs a savepoint so many events after its last.
pub fn is_due(events: u64, items: usize) -> bool {
    events > SAVEPOINT_EVENTS.max(SAVEPOINT_EVENTS_PER_ITEM * items as u64)
}

/// The file of a stream's savepoint.
pub fn name(stream: StreamId, version: Version) -> FileName {
    FileName { kind: Kind::Savepoint, stream, place: version }
}

/// Writes the state of a stream. Blocks.
///
/// # Errors
/// When it cannot be written.
pub fn write(files: &DerivedFiles, view: &View) -> std::io::Result<()> {
    files.write(name(view.stream, view.version()), view.head, &view.state.sections())
}

/// The newest savepoint at or before a version that can be believed, and whatever `read` makes of it; `None` where there
/// is none. One that cannot be read is passed over, and said.
pub fn newest<T>(
    files: &DerivedFiles,
    log: &dyn EventLog,
    stream: StreamId,
    until: Version,
    read: impl Fn(&DerivedFile) -> Result<Option<T>, Unreadable>,
) -> Option<T> {
    let places = files.places(Kind::Savepoint, stream).unwrap_or_else(|error| {
        tracing::warn!(%error, "the folder of savepoints cannot be read");
        Vec::new()
    });
    for version in places.into_iter().rev().filter(|version| *version <= until) {
        match files.open(name(stream, version), log).and_then(|file| read(&file)) {
            Ok(Some(found)) => return Some(found),
            // Of an older projection: an even older savepoint is no better, but costs only a look.
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a savepoint is passed over"),
        }
    }
    None
}

/// The whole state of a savepoint; `None` where an area has another projection by now.
///
/// # Errors
/// When a section is damaged.
pub fn view(stream: StreamId, file: &DerivedFile) -> Result<Option<View>, Unreadable> {
    let mut failed = None;
    let state = State::from_sections(stream, |section, number| match file.section(section, number) {
        Ok(bytes) => bytes,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(state.map(|state| View { head: file.anchor(), state, ..View::empty(stream) })),
    }
}
