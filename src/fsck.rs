//! Checking a whole store: its log, and the key file of every stream that the log has.

use serde::{Deserialize, Serialize};

use crate::ids::StreamId;
use crate::log::check::{self, check};
use crate::log::{EventLog, Position};
use crate::seal::keyring::files::KeyFiles;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The log.
    #[serde(flatten)]
    pub log: check::Report,
    /// The key files.
    pub key_files: KeyFiles,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.log.is_clean() && self.key_files.defects.is_empty()
    }
}

/// Checks a store. `key_files` looks at those of the streams that it is given; `progress` hears the position reached
/// and the end.
pub fn check_store(
    log: &dyn EventLog,
    key_files: impl FnOnce(&[StreamId]) -> KeyFiles,
    progress: impl FnMut(Position, Position),
) -> Report {
    let log_report = check(log, progress);
    let streams: Vec<StreamId> = log.streams().into_iter().map(|(stream, _)| stream).collect();
    Report { log: log_report, key_files: key_files(&streams) }
}
