//! Savepoints: a stream's state at a version, in a file, a section an area. All are kept, so that any point in the past
//! is a bounded fold away.
//!
//! Which there are is listed once a stream and remembered: whoever writes one adds it, whoever misses one takes it off.
//! So files may be deleted at any time, and no request lists a folder that grows with the history.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::area::Fold;
use crate::event::Version;
use crate::ids::StreamId;
use crate::log::EventLog;
use crate::store::derived::file::DerivedFile;
use crate::store::derived::{DerivedFiles, FileName, Kind, Unreadable};
use crate::store::encoding::from_section;
use crate::store::resident::{State, View};

/// A savepoint is due when so many events followed the last one …
pub const SAVEPOINT_EVENTS: u64 = 2_048;
/// … and so many for each thing that the state holds: so savepoints cost some bytes an event, however large the state.
pub const SAVEPOINT_EVENTS_PER_ITEM: u64 = 2;
/// … and one for so many bytes of the last savepoint: files that are kept for ever take no more than some bytes an event
/// either where the state is a few large values.
pub const SAVEPOINT_BYTES_PER_EVENT: u64 = 256;
/// At a stop, and when a stream leaves the memory, so many events are worth a savepoint.
pub const SAVEPOINT_EVENTS_AT_STOP: u64 = 128;

/// Whether a stream that holds so many things needs a savepoint so many events after its last, which had so many bytes.
pub fn is_due(events: u64, items: usize, bytes: u64) -> bool {
    let enough = SAVEPOINT_EVENTS.max(SAVEPOINT_EVENTS_PER_ITEM * items as u64);
    events > enough.max(bytes / SAVEPOINT_BYTES_PER_EVENT)
}

/// The file of a stream's savepoint.
pub fn name(stream: StreamId, version: Version) -> FileName {
    FileName { kind: Kind::Savepoint, stream, place: version }
}

/// Writes the state of a stream; how many bytes that took. Blocks.
///
/// # Errors
/// When it cannot be written.
pub fn write(files: &DerivedFiles, view: &View) -> std::io::Result<u64> {
    files.write(name(view.stream, view.version()), view.head, &view.state.sections())
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

/// The versions of a stream's savepoints in order; `None` until they are listed.
type List = Arc<Mutex<Option<Vec<Version>>>>;

/// The savepoints of all streams.
#[derive(Debug)]
pub struct Savepoints {
    files: DerivedFiles,
    /// A list has a lock of its own: it is held while the folder is read, so that no savepoint that is written meanwhile
    /// is missed.
    lists: Mutex<HashMap<StreamId, List>>,
}

impl Savepoints {
    /// Those among a store's derived files.
    pub fn new(files: DerivedFiles) -> Self {
        Self { files, lists: Mutex::default() }
    }

    /// All derived files of the store.
    pub fn files(&self) -> &DerivedFiles {
        &self.files
    }

    /// The whole state of a stream in its newest savepoint at or before a version that can be believed, and read by this
    /// build; `None` where there is none. Blocks.
    pub fn view(&self, log: &dyn EventLog, stream: StreamId, until: Version) -> Option<View> {
        self.newest(log, stream, until, |file| view(stream, file))
    }

    /// An area in the newest savepoint at or before a version that can be believed, with the savepoint's version. Blocks.
    pub fn area<A: Fold>(
        &self,
        log: &dyn EventLog,
        stream: StreamId,
        until: Version,
    ) -> Option<(A, Version)> {
        self.newest(log, stream, until, |file| {
            let bytes = file.section(A::NAME, A::PROJECTION)?;
            let area = bytes.and_then(|bytes| from_section(&mut |_, _| Some(bytes.clone())));
            Ok(area.map(|area| (area, file.anchor().version)))
        })
    }

    /// The version of the newest savepoint at or before another, as far as is known without opening it.
    pub fn at_or_before(&self, stream: StreamId, until: Version) -> Option<Version> {
        let list = Arc::clone(self.lists().entry(stream).or_default());
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = match &mut *list {
            Some(versions) => versions,
            unlisted => match self.files.places(Kind::Savepoint, stream) {
                Ok(versions) => unlisted.insert(versions),
                Err(error) => {
                    tracing::warn!(%stream, %error, "the folder of savepoints cannot be read");
                    return None;
                }
            },
        };
        let after = versions.partition_point(|version| *version <= until);
        after.checked_sub(1).map(|newest| versions[newest])
    }

    /// Writes the state of a stream; how many bytes that took. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, view: &View) -> std::io::Result<u64> {
        let bytes = write(&self.files, view)?;
        self.note(view.stream, |versions| {
            if let Err(place) = versions.binary_search(&view.version()) {
                versions.insert(place, view.version());
            }
        });
        Ok(bytes)
    }

    /// Forgets which savepoints a stream has: it leaves the memory.
    pub fn forget(&self, stream: StreamId) {
        self.lists().remove(&stream);
    }

    fn newest<T>(
        &self,
        log: &dyn EventLog,
        stream: StreamId,
        mut until: Version,
        read: impl Fn(&DerivedFile) -> Result<Option<T>, Unreadable>,
    ) -> Option<T> {
        while let Some(version) = self.at_or_before(stream, until) {
            match self.files.open(name(stream, version), log).and_then(|file| read(&file)) {
                Ok(Some(found)) => return Some(found),
                // Of an older projection: an even older savepoint is no better, but costs only a look.
                Ok(None) => {}
                Err(error) => {
                    if self.files.pass_over(name(stream, version), &error) {
                        self.note(stream, |versions| versions.retain(|known| *known != version));
                    }
                }
            }
            until = version.checked_sub(1)?;
        }
        None
    }

    /// Changes the list of a stream; one that is not listed will be listed as it is then.
    fn note(&self, stream: StreamId, change: impl FnOnce(&mut Vec<Version>)) {
        let list = self.lists().get(&stream).cloned();
        if let Some(list) = list
            && let Some(versions) = &mut *list.lock().unwrap_or_else(PoisonError::into_inner)
        {
            change(versions);
        }
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, HashMap<StreamId, List>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn savepoints_cost_some_bytes_an_event_whatever_the_state_holds() {
        assert!(!is_due(2_048, 0, 0) && is_due(2_049, 0, 0));
        assert!(!is_due(20_000, 10_000, 0) && is_due(20_001, 10_000, 0), "many small things");
        let large = 54 << 20;
        assert!(!is_due(large / 256, 900, large) && is_due(large / 256 + 1, 900, large), "a few large ones");
    }
}
