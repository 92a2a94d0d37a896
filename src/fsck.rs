//! Checking a whole store: its log, the key file of every stream that the log has, and the derived files.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::log::EventLog;
use crate::log::check::{self, check};
use crate::seal::keyring::files::KeyFiles;
use crate::store::check::{DerivedReport, check as check_derived};
use crate::store::derived::DerivedFiles;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The log.
    #[serde(flatten)]
    pub log: check::Report,
    /// The key files.
    pub key_files: KeyFiles,
    /// The derived files.
    pub derived: DerivedReport,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.is_sound() && self.derived.is_clean()
    }

    /// Whether nothing is wrong with what cannot be had from anywhere else: log and keys.
    pub fn is_sound(&self) -> bool {
        self.log.is_clean() && self.key_files.defects.is_empty()
    }
}

/// Checks a store. `key_files` looks at those of the streams that it is given; `progress` hears how many frames were
/// looked at, and of how many: the log is read once for itself and once for the derived files.
pub fn check_store(
    log: &dyn EventLog,
    key_files: impl FnOnce(&[StreamId]) -> KeyFiles,
    derived: Option<&DerivedFiles>,
    now: Timestamp,
    mut progress: impl FnMut(u64, u64),
) -> Report {
    let parts = if derived.is_some() { 2 } else { 1 };
    let end = log.end().0;
    let log_report = check(log, |at, end| progress(at.0, parts * end.0));
    let streams: Vec<StreamId> = log.streams().into_iter().map(|(stream, _)| stream).collect();
    let derived = derived
        .map(|files| check_derived(files, log, now, |folded| progress(end + folded, parts * end)))
        .unwrap_or_default();
    Report { log: log_report, key_files: key_files(&streams), derived }
}
