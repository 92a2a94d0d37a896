//! What every area of settings is: a fold over the events that it reads, and what it tells the directory.
//!
//! An area's anatomy is complete or it does not compile. Commands are not part of it: they differ.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::event::Recorded;
use crate::ids::SessionId;
use crate::seal::Commitment;

/// One area's projection: its state as a fold over a stream.
///
/// `apply` is pure, total and infallible, the same for decisions, reads and replay. Collections are persistent
/// maps, so cloning an area is cheap, and ordered ones, so that its serialized form, and its digest, are
/// functions of the events alone.
pub trait Area: Default + Clone + Serialize + Send + Sync + 'static {
    /// The area's name, as in the routes.
    const NAME: &'static str;

    /// Raised whenever `apply` or the state's shape changes, so that saved states are not taken for current ones.
    const PROJECTION: u32;

    /// Takes one event in. Events of other areas and refused ones are passed over.
    fn apply(&mut self, recorded: &Recorded);

    /// What the event means to the whole server, whichever stream it stands in.
    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>);
}

/// What an event means to the directory, the one projection over the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryEntry {
    /// A credential opens this session of the stream, at the latest until then.
    CredentialOpened {
        /// SHA-256 of the token.
        token: Commitment,
        /// The session that it belongs to.
        session: SessionId,
        /// When the session was opened.
        opened_at: Timestamp,
    },
    /// The session was closed before its time.
    CredentialClosed {
        /// The session.
        session: SessionId,
    },
}
