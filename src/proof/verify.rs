//! Checking a bundle without a store: what `settled verify` does. It believes the key alone.

use std::io::{self, BufRead};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::event::Version;
use crate::ids::EventId;
use crate::log::canonical::leaf_of;
use crate::proof::blame::{Blame, Found, blame};
use crate::proof::bundle::{Head, Item};
use crate::proof::checkpoint::{Checkpoint, CheckpointError};
use crate::proof::note::VerifierKey;
use crate::proof::tree::root_by_inclusion;

/// The longest line that is read: the largest event in JSON, with room for its proof.
const LINE_MAX_BYTES: u64 = 32 << 20;

/// How many lines more than there should be are looked at, so that each fault can be named.
const SUPERFLUOUS_MAX: u64 = 10_000;

/// What a bundle proves, where it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whether it holds: nothing was altered, removed, added or moved.
    pub holds: bool,
    /// Whose events they are: `<host>/<organization>/<epoch>`.
    pub origin: String,
    /// How many events the organization had when the checkpoint was signed.
    pub size: u64,
    /// The root of the tree over them, in base64.
    pub root: String,
    /// The version of the first event of the bundle.
    pub from: Version,
    /// The version of the last.
    pub to: Version,
    /// What is wrong with which events.
    pub faults: Vec<Blame>,
}

/// Why nothing of a bundle can be believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be read.
    #[error("the bundle cannot be read")]
    Read(#[from] io::Error),
    /// Its first line is not that of a bundle.
    #[error("line 1 is not the first line of a bundle: the file is none, or was altered there")]
    Head,
    /// Its checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It says that it has events which the checkpoint does not cover.
    #[error("line 1 was altered: it says events {from} to {to}, and the checkpoint covers 1 to {size}")]
    Range {
        /// The first that it says.
        from: Version,
        /// The last.
        to: Version,
        /// How many there were.
        size: u64,
    },
    /// It has far more lines than the events that it says.
    #[error(
        "lines were added: there are over {SUPERFLUOUS_MAX} more than the events that line 1 says, from line {line} on"
    )]
    Longer {
        /// The first that was not looked at.
        line: u64,
    },
}

/// What an event says of itself; all else of it is covered by its leaf.
#[derive(Deserialize)]
struct Named {
    id: EventId,
    stream: String,
    version: Version,
}

/// Checks a bundle against the keys that somebody trusts: the checkpoint's signature, each event's way up to its root, and
/// that exactly the events are there, in order, that it says.
///
/// # Errors
/// See [`VerifyError`]: then nothing is known of any event.
pub fn verify(bundle: &mut dyn BufRead, keys: &[VerifierKey]) -> Result<Verified, VerifyError> {
    let head = next_line(bundle)?.as_deref().and_then(whole).and_then(Head::read).ok_or(VerifyError::Head)?;
    let checkpoint = Checkpoint::open(&head.checkpoint, keys)?;
    let Head { from, to, .. } = head;
    let Checkpoint { origin, size, root } = &checkpoint;
    if from == 0 || from > to || to > *size {
        return Err(VerifyError::Range { from, to, size: *size });
    }
    // What is whole from the beginning on needs no memory; from the first fault on, where each event stands does.
    let (mut next, mut found) = (from, Vec::new());
    for line in 2.. {
        let Some(bytes) = next_line(bundle)? else { break };
        let event = look(line, &bytes, &checkpoint);
        if found.is_empty() && next <= to && event.is(next) {
            next += 1;
        } else if found.len() as u64 > to + 1 - next + SUPERFLUOUS_MAX {
            return Err(VerifyError::Longer { line });
        } else {
            found.push(event);
        }
    }
    let faults = blame(&found, next, to);
    Ok(Verified {
        holds: faults.is_empty(),
        origin: origin.to_string(),
        size: *size,
        root: STANDARD.encode(root),
        from,
        to,
        faults,
    })
}

/// What stands on a line.
fn look(line: u64, bytes: &[u8], checkpoint: &Checkpoint) -> Found {
    let nothing = Found { line, version: None, id: None, is_authentic: false };
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let item = Item::read(text);
    // Of a line that was altered beyond its event, the event says still which one it is.
    let event = item.as_ref().map_or_else(|| event_in(text), |item| item.event);
    let Ok(Named { id, stream, version }) = serde_json::from_str(event) else { return nothing };
    let found = Found { version: Some(version), id: Some(id), ..nothing };
    let Some(item) = item.filter(|_| whole(bytes).is_some()) else { return found };
    let root = version
        .checked_sub(1)
        .and_then(|leaf| root_by_inclusion(&leaf_of(item.event), leaf, checkpoint.size, &item.path));
    let own = stream == checkpoint.origin.organization().to_string();
    Found { is_authentic: own && root == Some(checkpoint.root), ..found }
}

/// What looks like the event of a line that is none of a bundle.
fn event_in(line: &str) -> &str {
    let event = line.strip_prefix(r#"{"event":"#).unwrap_or_default();
    event.rfind(r#","proof""#).map_or("", |end| &event[..end])
}

/// The text of a line that has its end: one without was cut off.
fn whole(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok()?.strip_suffix('\n')
}

fn next_line(bundle: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut bounded = io::Read::take(bundle, LINE_MAX_BYTES);
    let read = bounded.read_until(b'\n', &mut line)?;
    Ok((read > 0).then_some(line))
}
