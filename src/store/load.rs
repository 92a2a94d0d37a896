//! Loading: every stream folded from the log's first frame on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::area::DirectoryEntry;
use crate::clock::Timestamp;
use crate::ids::{OrganizationId, StreamId};
use crate::log::codec::CodecError;
use crate::log::frame::{Frame, FrameError};
use crate::log::{EventLog, Position, ReadError};
use crate::seal::keyring::{KeyError, KeyRing};
use crate::store::batch::head_after;
use crate::store::directory::Directory;
use crate::store::lookup::{Claim, Hasher, Lookup};
use crate::store::resident::{Handle, View, directory_entries};

/// A log that could not be loaded. Nothing is skipped: what stops here names where.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
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
    /// The writer thread could not be started.
    #[error("the writer thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Every stream, folded.
pub(super) struct Loaded {
    pub(super) platform: Arc<Handle>,
    pub(super) organizations: HashMap<OrganizationId, Arc<Handle>>,
}

/// Folds the log; fills the directory; builds the look-ups.
pub(super) fn load(
    log: &dyn EventLog,
    ring: &KeyRing,
    hasher: &Hasher,
    directory: &Directory,
    now: Timestamp,
) -> Result<Loaded, LoadError> {
    let mut views = fold(log, |_, stream, entries| directory.apply(stream, entries, now))?;
    // By the log's own time: the machine's clock may be wrong, and the scheduler looks soon.
    directory.drop_ended(views.values().map(|view| view.head.at).max().unwrap_or(now));
    let mut platform = views.remove(&StreamId::Platform).unwrap_or_else(|| View::empty(StreamId::Platform));
    platform.lookup = account_lookup(&platform, ring, hasher)?;
    let organizations = views
        .into_iter()
        .filter_map(|(stream, view)| match stream {
            StreamId::Organization(id) => Some((id, Arc::new(Handle::new(view)))),
            StreamId::Platform => None,
        })
        .collect();
    Ok(Loaded { platform: Arc::new(Handle::new(platform)), organizations })
}

/// Folds every stream from the log's first frame on. After each frame `folded` hears its position, its stream, and what
/// its events mean to the directory.
///
/// # Errors
/// When a frame or an event cannot be read.
pub fn fold(
    log: &dyn EventLog,
    mut folded: impl FnMut(Position, StreamId, &[DirectoryEntry]),
) -> Result<HashMap<StreamId, View>, LoadError> {
    let mut views: HashMap<StreamId, View> = HashMap::new();
    let mut after = Position(0);
    let mut entries = Vec::new();
    loop {
        let frames = log.read(after)?;
        let Some((last, _)) = frames.last() else { return Ok(views) };
        after = *last;
        for (position, bytes) in frames {
            let frame =
                Frame::parse(bytes).map_err(|error| LoadError::Frame { position: position.0, error })?;
            let stream = frame.header().stream;
            let view = views.entry(stream).or_insert_with(|| View::empty(stream));
            entries.clear();
            for (event, version) in frame.events().zip(frame.header().first_version..) {
                let recorded = event.map_err(|error| LoadError::Event {
                    stream,
                    version,
                    position: position.0,
                    error,
                })?;
                view.state.apply(&recorded);
                directory_entries(&recorded, &mut entries);
            }
            view.head = head_after(position, &frame);
            folded(position, stream, &entries);
        }
    }
}

/// Which account an e-mail address belongs to: built by opening each address once.
fn account_lookup(platform: &View, ring: &KeyRing, hasher: &Hasher) -> Result<Lookup, LoadError> {
    let mut lookup = Lookup::default();
    for account in platform.platform().accounts.iter() {
        let email = crate::platform::accounts::open_email(account, ring)
            .map_err(|error| LoadError::Lookup { account: account.id.to_string(), error })?;
        lookup.grant(Claim {
            key: hasher.email(email.as_str().unwrap_or_default()),
            owner: account.id.to_string(),
        });
    }
    Ok(lookup)
}
