//! Checking a whole store: its log, the key file of every stream that the log has, data keys and checkpoints against what history
//! says of them, the ledger, and the derived files.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::StreamId;
use crate::log::EventLog;
use crate::log::check::{self, check};
use crate::seal::keyring::KeyRing;
use crate::seal::keyring::files::KeyFiles;
use crate::store::check::{DerivedReport, check as check_derived};
use crate::store::check_checkpoints::{CheckpointsReport, check as check_checkpoints};
use crate::store::check_keys::{DataKeysReport, check as check_keys};
use crate::store::check_ledger::{LedgerReport, check as check_ledger};
use crate::store::derived::DerivedFiles;
use crate::store::ledger::Ledger;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The log.
    #[serde(flatten)]
    pub log: check::Report,
    /// The key files.
    pub key_files: KeyFiles,
    /// The data keys.
    pub data_keys: DataKeysReport,
    /// The checkpoints that were signed last.
    pub checkpoints: CheckpointsReport,
    /// The ledger of what was destroyed.
    pub ledger: LedgerReport,
    /// The derived files.
    pub derived: DerivedReport,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.is_sound() && self.ledger.defects.is_empty() && self.derived.is_clean()
    }

    /// Whether nothing is wrong with what cannot be had from anywhere else: log, keys and checkpoints.
    pub fn is_sound(&self) -> bool {
        self.log.is_clean()
            && self.key_files.defects.is_empty()
            && self.data_keys.is_clean()
            && self.checkpoints.is_clean()
    }
}

/// What is checked.
pub struct Parts<'a> {
    /// The log.
    pub log: &'a dyn EventLog,
    /// The keys, where a root key is at hand that opens them.
    pub ring: Option<&'a KeyRing>,
    /// The ledger, where there is one.
    pub ledger: Option<&'a Ledger>,
    /// The derived files, where there are any.
    pub derived: Option<&'a DerivedFiles>,
    /// The epoch of the store.
    pub epoch: &'a str,
    /// The time, which tells what derived files may have dropped.
    pub now: Timestamp,
}

/// Checks a store. `key_files` looks at those of the streams that it is given; `progress` hears how many frames were
/// looked at, and of how many: the log is read once for itself, once for the data keys and once for the derived files.
pub fn check_store(
    parts: &Parts<'_>,
    key_files: impl FnOnce(&[StreamId]) -> KeyFiles,
    mut progress: impl FnMut(u64, u64),
) -> Report {
    let Parts { log, ring, ledger, derived, epoch, now } = *parts;
    let end = log.end().0;
    let readings = if derived.is_some() { 3 } else { 2 };
    let log_report = check(log, |at, end| progress(at.0, readings * end.0));
    let streams: Vec<StreamId> = log.streams().into_iter().map(|(stream, _)| stream).collect();
    let mut looked_at = end;
    let data_keys = check_keys(log, ring, || {
        looked_at += 1;
        progress(looked_at, readings * end);
    });
    let derived = derived
        .map(|files| check_derived(files, log, now, |folded| progress(2 * end + folded, readings * end)))
        .unwrap_or_default();
    let ledger = ledger.map(|ledger| check_ledger(ledger, log)).unwrap_or_default();
    let checkpoints = check_checkpoints(log, epoch);
    Report { log: log_report, key_files: key_files(&streams), data_keys, checkpoints, ledger, derived }
}
