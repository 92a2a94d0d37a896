//! Checking the ledger against the log: the data keys that a line says were destroyed are not there. It reads, and mends
//! nothing; whether an API key that a line says was revoked is, a start finds.

use std::io;

use serde::{Deserialize, Serialize};

use crate::event::Recorded;
use crate::log::{EventLog, Key, ReadError};
use crate::store::ledger::Ledger;
use crate::store::ledger::lines::Lines;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    /// Lines that are whole, and that nothing in the log contradicts.
    pub whole: u64,
    /// Lines of stores elsewhere that share the ledger, which say nothing of this one.
    #[serde(default)]
    pub of_others: u64,
    /// Lines that a crash left without their event; the server finishes at its start what they say.
    pub unfinished: u64,
    /// Whether the last line was cut off in the midst of being written; nothing rests on it.
    pub torn: bool,
    /// What is wrong.
    pub defects: Vec<String>,
}

/// Why the ledger could not be checked whole.
#[derive(Debug, thiserror::Error)]
enum Unchecked {
    #[error("the ledger could not be read: {0}")]
    Ledger(#[from] io::Error),
    #[error("the ledger could not be held against the log: {0}")]
    Log(#[from] ReadError),
}

/// Checks all lines of a ledger, also of one that is written to meanwhile.
pub fn check(ledger: &Ledger, log: &dyn EventLog) -> LedgerReport {
    let mut report = LedgerReport::default();
    if let Err(error) = check_lines(ledger, log, &mut report) {
        report.defects.push(error.to_string());
    }
    report
}

fn check_lines(ledger: &Ledger, log: &dyn EventLog, report: &mut LedgerReport) -> Result<(), Unchecked> {
    let checked = ledger.checked()?.unwrap_or(0);
    let mut at = 0;
    loop {
        let Lines { entries, damaged, torn, next } = ledger.read(at..u64::MAX)?;
        report.torn = torn;
        report.defects.extend(damaged);
        for (place, noted) in &entries {
            if !ledger.is_for_us(noted) {
                report.of_others += 1;
                continue;
            }
            match left_of(&noted.event, log)? {
                None => report.whole += 1,
                Some(left) if *place < checked => report.defects.push(left),
                Some(_) => report.unfinished += 1,
            }
        }
        if next == at {
            break;
        }
        at = next;
    }
    if at < checked {
        report.defects.push(format!(
            "{} has {at} bytes and had {checked}: it is missing or was cut, so that a restore from an older snapshot \
             could bring back what was destroyed; put it back",
            ledger.path().display()
        ));
    }
    Ok(())
}

/// What a line says was destroyed and is there.
fn left_of(entry: &Recorded, log: &dyn EventLog) -> Result<Option<String>, ReadError> {
    for id in entry.event.destroyed_keys() {
        if log.get(&Key::DataKey(entry.stream, *id))?.is_some() {
            return Ok(Some(format!(
                "the ledger says that {} destroyed data key {id} of {} at {}, and it is there",
                entry.event.action(),
                entry.stream,
                entry.at
            )));
        }
    }
    Ok(None)
}
