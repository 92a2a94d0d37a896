//! Taking a snapshot of a store, also while it is written to: the position is fixed, the frames up to it follow, then the
//! keys as they are after that. Nothing waits for it, and memory does not grow with the log.

use crate::clock::Timestamp;
use crate::event::{Event, Version};
use crate::ids::{SnapshotId, StoreId, StreamId};
use crate::log::frame::Frame;
use crate::log::heads::Heads;
use crate::log::segment::tree::Hash;
use crate::log::{EventLog, Head, Position, ReadError};
use crate::platform::operations::event::OperationsEvent;
use crate::seal::keyring::KeyRing;
use crate::seal::signing::Signer;
use crate::snapshot::format::{Header, StreamHead};
use crate::snapshot::history::{HistoryWriter, Unfinished};
use crate::snapshot::keys::{AcceptedKeys, KeysHeader, KeysWriter, Shared};
use crate::snapshot::place::Located;
use crate::snapshot::{Progress, SnapshotError};
use crate::store::load::LoadError;

/// What a snapshot is taken of.
pub struct Source<'a> {
    /// The log.
    pub log: &'a dyn EventLog,
    /// Its keys.
    pub ring: &'a KeyRing,
    /// The store.
    pub store: StoreId,
    /// The epoch that it is in.
    pub epoch: &'a str,
    /// The time.
    pub now: Timestamp,
    /// The root of a stream's tree over its first events, which the store knows otherwise than by the frames that are copied.
    pub root: &'a dyn Fn(StreamId, Version) -> Result<Hash, LoadError>,
    /// The API keys that are accepted now.
    pub accepted: &'a dyn Fn() -> AcceptedKeys,
    /// Signs it. Its key is one that the log names already.
    pub signer: &'a Signer,
}

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of the last frame.
    pub position: Position,
    /// How many streams there are.
    pub streams: u64,
    /// How many events.
    pub events: u64,
    /// The bytes of both files.
    pub bytes: u64,
}

/// Writes both files of a snapshot, the keys beside the history. `hold_keys` gives what keeps everybody from rotating keys, and
/// is held while those of a stream are read, never while anything is written: that may take as long as a network does. Blocks.
///
/// # Errors
/// `Exists` of either name, before anything is read. When the log or a key cannot be read, or a file cannot be written; nothing
/// has its name then, and what was begun is gone.
pub fn create<T>(
    source: &Source<'_>,
    snapshot: SnapshotId,
    to: &Located,
    hold_keys: impl Fn() -> T,
    progress: Progress<'_>,
) -> Result<Created, SnapshotError> {
    to.is_free()?;
    to.keys().is_free()?;
    let created = write(source, snapshot, to, hold_keys, progress);
    if created.is_err() {
        // On a full disk it would keep it full. What cannot be removed now is swept later.
        let _swept = to.sweep().and_then(|()| to.keys().sweep());
    }
    created
}

fn write<T>(
    source: &Source<'_>,
    snapshot: SnapshotId,
    to: &Located,
    hold_keys: impl Fn() -> T,
    progress: Progress<'_>,
) -> Result<Created, SnapshotError> {
    let Source { log, store, epoch, now, root, signer, .. } = *source;
    let position = log.end();
    let header = Header {
        snapshot,
        store,
        epoch: epoch.to_owned(),
        position: position.0,
        taken_at: now,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut history = HistoryWriter::create(to, &header)?;
    let Copied { heads, events, mut epochs } = copy_frames(log, position, &mut history, progress)?;
    let with_root = |(stream, head): (StreamId, Head)| {
        Ok(StreamHead { stream, head, root: Some(root(stream, head.version)?) })
    };
    let mut heads = heads.iter().map(with_root).collect::<Result<Vec<_>, SnapshotError>>()?;
    heads.sort_by_key(|head| head.stream);
    history.heads(&heads)?;
    let history = history.finish(signer)?;

    epochs.push(Shared { store: Some(store), epoch: epoch.to_owned(), until: position });
    let header = KeysHeader { snapshot, store, position, at: now, epochs };
    let keys = carry(source, &to.keys(), &header, &heads, hold_keys)?;
    // The keys first: a history without its keys would pass for a snapshot, keys without a history for nothing.
    let keys = keys.publish()?;
    let history = history.publish().inspect_err(|_| {
        // They are of no history. What cannot be removed now lies there alone, and opens nothing that is not here.
        let _removed = to.keys().remove();
    })?;
    Ok(Created { snapshot, position, streams: heads.len() as u64, events, bytes: keys + history })
}

/// Writes the keys, wrapped by the root key that is in use at the end: one that somebody went over from meanwhile opens nothing
/// any more.
fn carry<T>(
    source: &Source<'_>,
    to: &Located,
    header: &KeysHeader,
    heads: &[StreamHead],
    hold_keys: impl Fn() -> T,
) -> Result<Unfinished, SnapshotError> {
    let ring = source.ring;
    loop {
        let key = ring.snapshot_key(header.snapshot);
        let wrapped_by = key.1;
        let mut keys = KeysWriter::create(to, header, key)?;
        for head in heads {
            let held = hold_keys();
            let carried = ring.carry(head.stream, keys.key())?;
            drop(held);
            keys.stream(&carried)?;
        }
        // As of now, so after the last frame: what was made after that is accepted here, and in no history that ends before it.
        keys.accepted(&(source.accepted)())?;
        if ring.root_key() == wrapped_by {
            return keys.finish();
        }
    }
}

/// What the frames came to that were copied.
#[derive(Default)]
struct Copied {
    heads: Heads,
    events: u64,
    /// The epochs that restores ended, oldest first.
    epochs: Vec<Shared>,
}

fn copy_frames(
    log: &dyn EventLog,
    until: Position,
    history: &mut HistoryWriter,
    progress: Progress<'_>,
) -> Result<Copied, SnapshotError> {
    let mut copied = Copied::default();
    let mut after = Position(0);
    while after < until {
        let read = log.read(after)?;
        if read.is_empty() {
            return Err(ReadError::missing(Position(after.0 + 1)).into());
        }
        for (position, bytes) in read {
            if position > until {
                break;
            }
            after = position;
            let damaged = |what: String| ReadError::Damaged { position: position.0, what };
            let frame = Frame::parse(bytes).map_err(|error| damaged(error.to_string()))?;
            copied.heads.follow_frame(&frame).map_err(|broken| damaged(broken.to_string()))?;
            copied.events += frame.header().count;
            if frame.header().stream == StreamId::Platform {
                for recorded in frame.events() {
                    let recorded = recorded.map_err(|error| damaged(error.to_string()))?;
                    copied.epochs.extend(ended_by(recorded.event));
                }
            }
            history.frame(position, frame.bytes(), frame.header().count)?;
        }
        progress(after, until);
    }
    Ok(copied)
}

/// The epoch that a restore ended, and up to where it was taken over.
fn ended_by(event: Event) -> Option<Shared> {
    match event {
        Event::Operations(OperationsEvent::StoreRestored(restored)) => {
            let (store, epoch) = (Some(restored.of_store), restored.of_epoch);
            Some(Shared { store, epoch, until: Position(restored.position) })
        }
        _ => None,
    }
}
