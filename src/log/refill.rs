//! Filling an empty log with the frames of another, position by position, and with the data keys that go with them: what a
//! restore does. Nothing here decides anything; every frame passes the rule by which a frame continues its stream.

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

/// Puts wrapped data keys of a stream beside its frames.
///
/// # Errors
/// `Fatal`.
pub fn data_keys(
    log: &dyn EventLog,
    stream: StreamId,
    keys: impl IntoIterator<Item = (DataKeyId, Vec<u8>)>,
) -> Result<(), AppendError> {
    beside(log, stream, keys.into_iter().map(|(id, wrapped)| (Key::DataKey(stream, id), wrapped)))
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
    let put = put.into_iter().collect();
    let append = Append { stream, expected: None, frame: None, put, remove: Vec::new() };
    log.append(vec![append]).map(drop)
}
