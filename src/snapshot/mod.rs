//! Snapshots: a store in two files, from which it can be brought back. `NAME.settled` is the history, kept as long as one
//! likes; `NAME.settled.keys` is the key ring of that time, of which only the newest is needed: with it an older history
//! brings back nothing that was destroyed since.
//!
//! What is in the files is the business of `format` and `keys`, where they lie that of `place`; `create` writes them while the
//! store is written to, `verify` reads them without believing anything, `restore` makes a store of them, `drill` does so for practice.

use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::log::{AppendError, Position, ReadError};
use crate::seal::keyring::KeyError;
use crate::snapshot::verify::Until;
use crate::store::load::LoadError;

pub mod create;
pub mod drill;
mod filling;
pub mod format;
pub mod history;
pub mod into;
pub mod keys;
pub mod listing;
pub mod newest_keys;
pub mod operating;
mod packing;
pub mod place;
mod priority;
pub mod renewal;
pub mod repair;
pub mod restore;
pub mod retention;
pub mod room;
pub mod schedule;
pub mod taken_away;
mod turn;
mod unpacking;
pub mod verify;

/// What the name of a history ends with.
pub const HISTORY: &str = "settled";

/// What is added to the name of a history for its keys.
pub const KEYS: &str = "keys";

/// A snapshot that could not be written, or is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file could not be reached.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the name is there.
    #[error("{} is there already: a snapshot is never written over", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else is writing a file of the name.
    #[error("somebody else is writing {}", path.display())]
    UnderWay {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no room for it.
    #[error("there is no room at {}: some {needed} bytes are needed, and {free} are free", path.display())]
    NoRoom {
        /// Where it was to be.
        path: PathBuf,
        /// How many bytes are needed.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// It is not what was written.
    #[error("{} is damaged, {place}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// What is wanted of it is before its beginning, or after its end.
    #[error(
        "{} has nothing at {until}: its first frame is of {begins_at}, and its last one at position {}", path.display(), end.0
    )]
    OutOfReach {
        /// The file.
        path: PathBuf,
        /// What is wanted.
        until: Until,
        /// When its first frame was recorded.
        begins_at: Timestamp,
        /// The position of its last frame.
        end: Position,
    },
    /// Nobody named its keys, and no newer ones are beside it either.
    #[error("beside {} are no keys that know all of it: {there}; name a file of keys with --keys", path.display())]
    NoKeys {
        /// The history.
        path: PathBuf,
        /// The files of keys that are there.
        there: String,
    },
    /// Another build's.
    #[error("{} is of format {format}, which this build does not read: it was written by a newer Settled", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u8,
    },
    /// The keys are wrapped by another root key.
    #[error("wrong root key: {} was wrapped by root key {wrapped_by}, the one at hand is {at_hand}", path.display())]
    WrongRootKey {
        /// The file of the keys.
        path: PathBuf,
        /// The fingerprint of the root key that is needed.
        wrapped_by: String,
        /// The fingerprint of the one at hand.
        at_hand: String,
    },
    /// The log could not be read.
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    /// The log could not be filled.
    #[error("the new log could not be filled")]
    Append(#[from] AppendError),
    /// A key could not be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The root of a stream's tree could not be had.
    #[error("the root of a stream's tree could not be had")]
    Root(#[from] LoadError),
}

impl SnapshotError {
    /// For `map_err`: the error of an action on a path.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether it says that a snapshot is not sound. One that cannot be reached or opened now may be.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// What is wrong at a place of a file.
    pub(crate) fn damaged(path: &Path, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), place: place.into(), what: what.into() }
    }
}

/// Where the keys of a history are, unless somebody says otherwise.
pub fn keys_of(history: &Path) -> PathBuf {
    history.with_added_extension(KEYS)
}

/// Hears how far a long work has come: a position of the log, and the last one.
pub type Progress<'a> = &'a mut dyn FnMut(Position, Position);
