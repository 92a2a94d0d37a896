//! Checking the checkpoints that are kept against the log: each is signed by a key that history names, and its root is that of the
//! tree over as many events. It reads, and mends nothing.

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::event::Event;
use crate::ids::StreamId;
use crate::log::segment::tree::{Growing, Hash};
use crate::log::{EventLog, Key};
use crate::platform::signing_keys::event::SigningKeysEvent;
use crate::proof::checkpoint::Checkpoint;
use crate::proof::note::VerifierKey;
use crate::seal::signing::PublicKey;
use crate::store::history::{HistoryError, frames_after};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsReport {
    /// Checkpoints that are of this history.
    pub whole: u64,
    /// Checkpoints of an epoch that has ended, which say nothing of this history.
    pub of_before: u64,
    /// What is wrong.
    pub defects: Vec<String>,
    /// Streams whose checkpoint could not be held against their history, since it cannot be read.
    pub unchecked: Vec<String>,
}

impl CheckpointsReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty() && self.unchecked.is_empty()
    }
}

/// Checks the last checkpoint of every stream, in the epoch of the store, also of one that is written to meanwhile.
pub fn check(log: &dyn EventLog, epoch: &str) -> CheckpointsReport {
    let mut report = CheckpointsReport::default();
    let signing_keys = signing_keys(log);
    for (stream, _) in log.streams() {
        let found = match &signing_keys {
            Ok(keys) => check_stream(log, stream, epoch, keys),
            Err(error) => Ok(Found::Unchecked(with_causes(error))),
        };
        match found {
            Ok(Found::None) => {}
            Ok(Found::Whole) => report.whole += 1,
            Ok(Found::OfBefore) => report.of_before += 1,
            Ok(Found::Wrong(what)) => report.defects.push(format!("the checkpoint of {stream}: {what}")),
            Ok(Found::Unchecked(what)) => report.unchecked.push(format!("{stream}: {what}")),
            Err(error) => report.unchecked.push(format!("{stream}: {}", with_causes(&error))),
        }
    }
    report
}

/// What a stream's checkpoint is.
enum Found {
    None,
    Whole,
    OfBefore,
    Wrong(String),
    Unchecked(String),
}

fn check_stream(
    log: &dyn EventLog,
    stream: StreamId,
    epoch: &str,
    signing_keys: &[PublicKey],
) -> Result<Found, HistoryError> {
    let Some(note) = log.get(&Key::Checkpoint(stream))? else { return Ok(Found::None) };
    let note = String::from_utf8_lossy(&note).into_owned();
    let wrong = |what: String| Ok(Found::Wrong(what));
    let origin = match Checkpoint::unverified(&note) {
        Ok(claimed) => claimed.origin,
        Err(error) => return wrong(with_causes(&error)),
    };
    let keys: Vec<_> = signing_keys.iter().map(|key| VerifierKey::new(origin.to_string(), *key)).collect();
    let checkpoint = match Checkpoint::open(&note, &keys) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return wrong(with_causes(&error)),
    };
    if StreamId::Organization(origin.organization()) != stream {
        return wrong(format!("it is of {}", origin.organization()));
    }
    if origin.epoch() != epoch {
        return Ok(Found::OfBefore);
    }
    let (size, now) = (checkpoint.size, log.last(stream).unwrap_or_default().version);
    if size > now {
        return wrong(format!("it was signed for {size} events, and there are {now}"));
    }
    Ok(match root_at(log, stream, size)? {
        Some(root) if root == checkpoint.root => Found::Whole,
        _ => Found::Wrong(format!("the first {size} events are not those that it was signed for")),
    })
}

/// The root over the first `size` events of a stream.
fn root_at(log: &dyn EventLog, stream: StreamId, size: u64) -> Result<Option<Hash>, HistoryError> {
    let head = log.last(stream).unwrap_or_default();
    let mut tree = Growing::default();
    frames_after(log, stream, 0, head.position, |_, frame| {
        for at in 0..frame.len() {
            if tree.size() < size {
                tree.push(frame.leaf(at).map_err(|error| HistoryError::Event { stream, error })?);
            }
        }
        Ok::<_, HistoryError>(())
    })?;
    Ok(tree.root())
}

/// All keys that ever signed for this store, as its history says.
fn signing_keys(log: &dyn EventLog) -> Result<Vec<PublicKey>, HistoryError> {
    let stream = StreamId::Platform;
    let mut keys = Vec::new();
    let head = log.last(stream).unwrap_or_default();
    frames_after(log, stream, 0, head.position, |_, frame| {
        for at in 0..frame.len() {
            let recorded = frame.recorded(at).map_err(|error| HistoryError::Event { stream, error })?;
            if let Event::SigningKeys(SigningKeysEvent::Created(made) | SigningKeysEvent::Rotated(made)) =
                &recorded.event
            {
                keys.push(made.public_key);
            }
        }
        Ok::<_, HistoryError>(())
    })?;
    Ok(keys)
}
