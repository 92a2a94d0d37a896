//! Filling an empty log with the frames of another, position by position, and with the data keys that go with them: what a
//! restore does. Nothing here decides anything; every frame passes the rule by which a frame continues its stream.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Append, AppendError, EventLog, Key};
use crate::ids::{DataKeyId, StreamId};

/// Appends frames that were read in order; the log gives each the position after the one before.
///
/// # Errors
/// `Refused` if one does not continue its stream, `Fatal`.
pub fn frames(
    log: &dyn EventLog,
    frames: impl IntoIterator<Item = (StreamId, Bytes)>,
) -> Result<(), AppendError> {
    let append = |(stream, frame)| Append {
        stream,
        expected: None,
        frame: Some(frame),
        put: Vec::new(),
        remove: Vec::new(),
    };
    log.append(frames.into_iter().map(append).collect()).map(drop)
}

/// Puts wrapped data keys beside the frames of their streams, all in one commit.
///
/// # Errors
/// `Fatal`.
pub fn data_keys(
    log: &dyn EventLog,
    keys: impl IntoIterator<Item = (StreamId, DataKeyId, Vec<u8>)>,
) -> Result<(), AppendError> {
    let mut by_stream: BTreeMap<StreamId, Vec<_>> = BTreeMap::new();
    for (stream, id, wrapped) in keys {
        by_stream.entry(stream).or_default().push((Key::DataKey(stream, id), wrapped));
    }
    if by_stream.is_empty() {
        return Ok(());
    }
    log.append(by_stream.into_iter().map(|(stream, put)| beside_frames(stream, put)).collect()).map(drop)
}

/// Puts whatever belongs beside the frames of a stream.
///
/// # Errors
/// `Fatal`.
pub fn beside(
    log: &dyn EventLog,
    stream: StreamId,
    put: impl IntoIterator<Item = (Key, Vec<u8>)>,
) -> Result<(), AppendError> {
    log.append(vec![beside_frames(stream, put.into_iter().collect())]).map(drop)
}

fn beside_frames(stream: StreamId, put: Vec<(Key, Vec<u8>)>) -> Append {
    Append { stream, expected: None, frame: None, put, remove: Vec::new() }
}
