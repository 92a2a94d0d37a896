//! Loading: a stream taken into memory from what was saved of it and the frames after that; the directory likewise;
//! and everything folded from the log's first frame on, which is what both are held against.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::event::{Recorded, Version};
use crate::ids::StreamId;
use crate::log::codec::CodecError;
use crate::log::frame::{Frame, FrameError};
use crate::log::segment::frames::FramePlace;
use crate::log::segment::tree::Hashes;
use crate::log::segment::{SEGMENT_VERSIONS, Segment, segment_of};
use crate::log::{EventLog, Position, ReadError};
use crate::platform::accounts;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::store::batch::head_after;
use crate::store::derived::file::DerivedFile;
use crate::store::derived::{DerivedFiles, FileName, Kind, Unreadable};
use crate::store::directory::Directory;
use crate::store::history::{HistoryError, frames_after};
use crate::store::index::StreamIndex;
use crate::store::lookup::{Hasher, Lookup};
use crate::store::resident::{View, directory_entries};
use crate::store::savepoint::Savepoints;
use crate::store::segments::{decode, open_hashes};

/// A log that could not be loaded. Nothing is skipped: what stops here names where.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A stream's history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A frame is damaged.
    #[error("the frame at position {position} is damaged")]
    Frame {
        /// Where.
        position: u64,
        /// How.
        #[source]
        error: FrameError,
    },
    /// An event is damaged.
    #[error("event {version} of stream {stream}, at position {position}, cannot be read")]
    Event {
        /// Whose.
        stream: StreamId,
        /// Which.
        version: u64,
        /// Where.
        position: u64,
        /// How.
        #[source]
        error: CodecError,
    },
    /// A key that a look-up needs is not there.
    #[error("the address of account {account} cannot be opened")]
    Lookup {
        /// The account.
        account: String,
        /// Why.
        #[source]
        error: KeyError,
    },
    /// A thread of the store could not be started.
    #[error("a thread of the store could not be started")]
    Thread(#[source] std::io::Error),
    /// The thread that loads a stream died.
    #[error("the thread that loads a stream died")]
    Died(#[source] tokio::task::JoinError),
}

/// A stream as it is taken into memory.
pub(super) struct Loaded {
    /// Its state, caught up with the log.
    pub(super) view: View,
    /// Its index, likewise.
    pub(super) index: StreamIndex,
    /// The version of the savepoint that it was loaded from; 0 where it was folded from its beginning.
    pub(super) saved: Version,
}

/// Loads a stream: its newest savepoint and index that can be believed, then the frames after them, found by following
/// `previous` back from the stream's head. Blocks.
pub(super) fn load_stream(
    log: &dyn EventLog,
    savepoints: Option<&Savepoints>,
    stream: StreamId,
) -> Result<Loaded, LoadError> {
    let head = log.last(stream).unwrap_or_default();
    let view = savepoints.and_then(|savepoints| savepoints.view(log, stream, head.version));
    let view = view.unwrap_or_else(|| View::empty(stream));
    let index = saved_index(log, savepoints, stream, head.version);
    let mut loaded = Loaded { saved: view.version(), view, index };
    let base = loaded.view.version().min(loaded.index.version());
    if base < head.version {
        frames_after(log, stream, base, head.position, |position, frame| loaded.take(position, &frame))?;
    }
    Ok(loaded)
}

/// The index of a stream alone, loaded likewise: to find its events and hashes, whatever they come to. Blocks.
pub(super) fn load_index(
    log: &dyn EventLog,
    savepoints: Option<&Savepoints>,
    stream: StreamId,
) -> Result<StreamIndex, LoadError> {
    let head = log.last(stream).unwrap_or_default();
    let mut index = saved_index(log, savepoints, stream, head.version);
    if index.version() < head.version {
        frames_after(log, stream, index.version(), head.position, |position, frame| {
            each_event(position, &frame, |at, recorded, place| {
                index_next(&mut index, &frame, at, &recorded, place)
            })
        })?;
    }
    Ok(index)
}

/// The index of a stream as it was saved last, or that of its last segment without anything in it.
fn saved_index(
    log: &dyn EventLog,
    savepoints: Option<&Savepoints>,
    stream: StreamId,
    until: Version,
) -> StreamIndex {
    let read = |file: &DerivedFile, version| decode(file, segment_of(version + 1));
    let open = savepoints.and_then(|saved| newest_open(saved.files(), log, stream, until, read));
    StreamIndex::new(open.unwrap_or_else(|| Segment::new(segment_of(until))))
}

/// The hashes of the tree over a stream's first events, fewer than fill a segment, all of them durable: those that were saved,
/// and the leaves after them. No index is made for it, which takes a hundred times the memory. Blocks.
pub(super) fn load_hashes(
    log: &dyn EventLog,
    savepoints: Option<&Savepoints>,
    stream: StreamId,
    size: Version,
) -> Result<Hashes, LoadError> {
    debug_assert!(size < SEGMENT_VERSIONS, "the index finds the hashes of full segments");
    let read = |file: &DerivedFile, version| Ok((version, open_hashes(file, version)?));
    let saved = savepoints.and_then(|saved| newest_open(saved.files(), log, stream, size, read));
    let (mut version, mut hashes) = saved.unwrap_or_default();
    if version == size {
        return Ok(hashes);
    }
    let last = log.last(stream).unwrap_or_default().position;
    frames_after(log, stream, version, last, |position, frame| {
        for (index, next) in (0..frame.len()).zip(frame.header().first_version..) {
            if next == version + 1 && next <= size {
                hashes.push(frame.leaf(index).map_err(|error| LoadError::Event {
                    stream,
                    version: next,
                    position: position.0,
                    error,
                })?);
                version = next;
            }
        }
        Ok::<_, LoadError>(())
    })?;
    Ok(hashes)
}

/// Takes an event into an index, if it is the next one there.
fn index_next(
    index: &mut StreamIndex,
    frame: &Frame,
    at: usize,
    recorded: &Recorded,
    place: FramePlace,
) -> Result<(), CodecError> {
    if recorded.version == index.version() + 1 {
        index.push(recorded, frame.leaf(at)?, place);
    }
    Ok(())
}

/// Hands out every event of a frame, with its number and the place of the frame.
fn each_event(
    position: Position,
    frame: &Frame,
    mut take: impl FnMut(usize, Recorded, FramePlace) -> Result<(), CodecError>,
) -> Result<(), LoadError> {
    let header = *frame.header();
    let place = FramePlace { first: header.first_version, position, at: header.at };
    for (at, version) in (0..frame.len()).zip(header.first_version..) {
        let taken = frame.recorded(at).and_then(|recorded| take(at, recorded, place));
        taken.map_err(|error| LoadError::Event {
            stream: header.stream,
            version,
            position: position.0,
            error,
        })?;
    }
    Ok(())
}

/// What is read of the newest index of a stream's last versions that can be believed; `read` hears up to which version it goes.
fn newest_open<T>(
    files: &DerivedFiles,
    log: &dyn EventLog,
    stream: StreamId,
    until: Version,
    read: impl Fn(&DerivedFile, Version) -> Result<T, Unreadable>,
) -> Option<T> {
    let places = files.places(Kind::Open, stream).unwrap_or_default();
    places.into_iter().rev().filter(|version| *version <= until).find_map(|version| {
        let name = FileName { kind: Kind::Open, stream, place: version };
        let read = files.open(name, log).and_then(|file| read(&file, version));
        read.map_err(|error| files.pass_over(name, &error)).ok()
    })
}

impl Loaded {
    /// Takes in what comes next of a frame.
    fn take(&mut self, position: Position, frame: &Frame) -> Result<(), LoadError> {
        each_event(position, frame, |at, recorded, place| {
            index_next(&mut self.index, frame, at, &recorded, place)?;
            if recorded.version == self.view.version() + 1 {
                self.view.state.apply(&recorded);
                self.view.head.version = recorded.version;
            }
            Ok(())
        })?;
        if frame.header().last_version() == self.view.version() {
            self.view.head = head_after(position, frame);
        }
        Ok(())
    }
}

/// The newest file of the directory that can be believed, before there is a log to hold it against.
pub fn saved_directory(files: &DerivedFiles) -> Option<Directory> {
    let places = files.places(Kind::Directory, StreamId::Platform).unwrap_or_default();
    places.into_iter().rev().find_map(|place| {
        let name = FileName { kind: Kind::Directory, stream: StreamId::Platform, place };
        let read = files.open_of_any_log(name).and_then(|file| Directory::read(&file));
        read.inspect_err(|error| tracing::warn!(%error, "the directory's file is passed over")).ok()
    })
}

/// Takes into the directory what the log says after the position that it has.
pub(super) fn catch_up_directory(
    log: &dyn EventLog,
    directory: &Directory,
    now: Timestamp,
) -> Result<(), LoadError> {
    let mut entries = Vec::new();
    frames_between(log, directory.position(), Position(u64::MAX), |position, frame| {
        let stream = frame.header().stream;
        entries.clear();
        for (event, version) in frame.events().zip(frame.header().first_version..) {
            let damaged = |error| LoadError::Event { stream, version, position: position.0, error };
            directory_entries(&event.map_err(damaged)?, &mut entries);
        }
        directory.apply(&[(stream, head_after(position, frame), &entries)], now);
        Ok(())
    })
}

/// Hands out every frame of a log after a position and up to another, of whatever stream.
fn frames_between(
    log: &dyn EventLog,
    mut after: Position,
    until: Position,
    mut take: impl FnMut(Position, &Frame) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    while after < until {
        let frames = log.read(after)?;
        let Some((last, _)) = frames.last() else { return Ok(()) };
        after = *last;
        for (position, bytes) in frames.into_iter().take_while(|(position, _)| *position <= until) {
            let frame = Frame::parse(bytes);
            take(position, &frame.map_err(|error| LoadError::Frame { position: position.0, error })?)?;
        }
    }
    Ok(())
}

/// Folds every stream from the log's first frame to its last. After each frame `folded` hears its position.
///
/// # Errors
/// When a frame or an event cannot be read.
pub fn fold(log: &dyn EventLog, folded: impl FnMut(Position)) -> Result<HashMap<StreamId, View>, LoadError> {
    fold_some(log, log.end(), |_| true, folded)
}

/// Folds some streams from the log's first frame to the one at a position; the frames of all others are passed over.
///
/// # Errors
/// When a frame, or an event of these streams, cannot be read.
pub fn fold_some(
    log: &dyn EventLog,
    until: Position,
    is_wanted: impl Fn(StreamId) -> bool,
    mut folded: impl FnMut(Position),
) -> Result<HashMap<StreamId, View>, LoadError> {
    let mut views: HashMap<StreamId, View> = HashMap::new();
    frames_between(log, Position(0), until, |position, frame| {
        let stream = frame.header().stream;
        if !is_wanted(stream) {
            folded(position);
            return Ok(());
        }
        let view = views.entry(stream).or_insert_with(|| View::empty(stream));
        for (event, version) in frame.events().zip(frame.header().first_version..) {
            let damaged = |error| LoadError::Event { stream, version, position: position.0, error };
            view.state.apply(&event.map_err(damaged)?);
        }
        view.head = head_after(position, frame);
        folded(position);
        Ok(())
    })?;
    Ok(views)
}

/// Which account an e-mail address belongs to: built by opening each address once.
pub(super) fn account_lookup(platform: &View, ring: &KeyRing, hasher: &Hasher) -> Result<Lookup, LoadError> {
    let mut lookup = Lookup::complete();
    for account in platform.platform().accounts.iter() {
        let email = accounts::open_email(account, ring)
            .map_err(|error| LoadError::Lookup { account: account.id.to_string(), error })?;
        lookup.grant(accounts::claim(hasher, &email, account.id));
    }
    Ok(lookup)
}
