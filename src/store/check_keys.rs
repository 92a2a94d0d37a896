//! Checking data keys against history: a key that an event was the first to use is there, unless a later one destroyed it;
//! a key that was destroyed is not. It reads, and mends nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::event::{Recorded, Version};
use crate::ids::{DataKeyId, StreamId};
use crate::log::{EventLog, Key, ReadError};
use crate::seal::Commitment;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::store::history::{HistoryError, frames_after};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeysReport {
    /// Keys that are there as history says.
    pub whole: u64,
    /// Keys that are not there, as history says.
    pub destroyed: u64,
    /// Keys that are there and that no event uses.
    pub unused: u64,
    /// Whether a root key was at hand, to see whether they are the keys that history committed to.
    pub unwrapped: bool,
    /// What is wrong.
    pub defects: Vec<String>,
    /// Streams whose keys could not be held against their history, since it cannot be read.
    pub unchecked: Vec<String>,
}

impl DataKeysReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty() && self.unchecked.is_empty()
    }
}

/// What became of a key, as history says.
enum Known {
    /// It was made, with this commitment.
    Made(Commitment),
    /// It was destroyed by the event of this version.
    Destroyed(Version),
}

/// Checks the data keys of all streams, also of a store that is written to meanwhile. `progress` hears of each frame that
/// was looked at.
pub fn check(log: &dyn EventLog, ring: Option<&KeyRing>, mut progress: impl FnMut()) -> DataKeysReport {
    let mut report = DataKeysReport { unwrapped: ring.is_some(), ..DataKeysReport::default() };
    for (stream, _) in log.streams() {
        if let Err(error) = check_stream(log, ring, stream, &mut report, &mut progress) {
            report.unchecked.push(format!("{stream}: {}", with_causes(&error)));
        }
    }
    report
}

fn check_stream(
    log: &dyn EventLog,
    ring: Option<&KeyRing>,
    stream: StreamId,
    report: &mut DataKeysReport,
    mut progress: impl FnMut(),
) -> Result<(), HistoryError> {
    // The keys first: what happens to one until its stream is read is found by looking at that one again.
    let stored: BTreeMap<DataKeyId, Vec<u8>> = log.data_keys(stream)?.into_iter().collect();
    let head = log.last(stream).unwrap_or_default();
    let mut known = BTreeMap::new();
    frames_after(log, stream, 0, head.position, |_, frame| {
        for at in 0..frame.len() {
            let recorded = frame.recorded(at).map_err(|error| HistoryError::Event { stream, error })?;
            take(&mut known, &recorded);
        }
        progress();
        Ok::<_, HistoryError>(())
    })?;
    for (id, became) in &known {
        match (became, stored.get(id)) {
            (Known::Made(commitment), Some(stored)) => {
                match ring.map_or(Ok(()), |ring| ring.check_data_key(stream, *id, stored, *commitment)) {
                    Ok(()) => report.whole += 1,
                    Err(error) => judge_again(log, ring, (stream, *id, *commitment), error, report)?,
                }
            }
            (Known::Made(commitment), None) => {
                let lost = KeyError::Lost { stream, id: *id };
                judge_again(log, ring, (stream, *id, *commitment), lost, report)?;
            }
            (Known::Destroyed(_), None) => report.destroyed += 1,
            (Known::Destroyed(version), Some(_)) => {
                if log.get(&Key::DataKey(stream, *id))?.is_none() {
                    report.destroyed += 1;
                } else {
                    report.defects.push(format!(
                        "data key {id} of {stream} is there, although version {version} destroyed it: it was put \
                         back from a copy, and what it seals can be read again"
                    ));
                }
            }
        }
    }
    report.unused += stored.keys().filter(|id| !known.contains_key(id)).count() as u64;
    Ok(())
}

/// What is wrong with a key may be that it was made, or wrapped anew, since the keys were read.
fn judge_again(
    log: &dyn EventLog,
    ring: Option<&KeyRing>,
    (stream, id, commitment): (StreamId, DataKeyId, Commitment),
    error: KeyError,
    report: &mut DataKeysReport,
) -> Result<(), ReadError> {
    let error = match (log.get(&Key::DataKey(stream, id))?, ring) {
        (None, _) => Some(error),
        (Some(_), None) => None,
        (Some(now), Some(ring)) => ring.check_data_key(stream, id, &now, commitment).err(),
    };
    match error {
        Some(error) => report.defects.push(format!("{error}; restore it from a snapshot")),
        None => report.whole += 1,
    }
    Ok(())
}

fn take(known: &mut BTreeMap<DataKeyId, Known>, recorded: &Recorded) {
    for (id, commitment) in &recorded.keys {
        known.insert(*id, Known::Made(*commitment));
    }
    for id in recorded.event.destroyed_keys() {
        known.insert(*id, Known::Destroyed(recorded.version));
    }
}
