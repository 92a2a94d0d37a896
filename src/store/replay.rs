//! Replay: what folding the log from zero gives, beside what is served, or would be.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::event::Version;
use crate::log::{EventLog, Position};
use crate::store::Store;
use crate::store::derived::DerivedFiles;
use crate::store::load::{LoadError, fold, fold_until, load_stream};
use crate::store::resident::View;
use crate::store::savepoint::Savepoints;

/// Every stream, folded from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The streams.
    pub streams: Vec<StreamReplay>,
}

impl ReplayReport {
    /// Of streams in any order.
    fn new(mut streams: Vec<StreamReplay>) -> Self {
        streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        Self { streams }
    }
}

/// One stream, folded from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReplay {
    /// The stream.
    pub stream: String,
    /// Its version.
    pub version: Version,
    /// SHA-256 of its state in canonical form, in hex.
    pub digest: String,
    /// Whether the same is served, or would be once loaded from derived files; absent where the stream went on in the
    /// meantime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
}

impl StreamReplay {
    /// Of a folded stream.
    fn of(view: &View) -> Self {
        Self {
            stream: view.stream.to_string(),
            version: view.version(),
            digest: view.state.digest(),
            served: None,
        }
    }

    /// Notes what is served. A stream that went on since is compared at the next call.
    fn beside(mut self, served: &View) -> Self {
        self.served = match served.version().cmp(&self.version) {
            Ordering::Equal => Some(served.state.digest() == self.digest),
            Ordering::Greater => None,
            Ordering::Less => Some(false),
        };
        self
    }
}

/// Folds a log that nobody serves from zero, all streams in one pass, and compares each with what a server would load
/// from its derived files. `folded` hears the position reached. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn replay(
    log: &dyn EventLog,
    files: &DerivedFiles,
    folded: impl FnMut(Position),
) -> Result<ReplayReport, LoadError> {
    let savepoints = Savepoints::new(files.clone());
    let mut streams = Vec::new();
    for view in fold(log, folded)?.into_values() {
        let loaded = load_stream(log, Some(&savepoints), view.stream)?;
        streams.push(StreamReplay::of(&view).beside(&loaded.view));
    }
    Ok(ReplayReport::new(streams))
}

/// Folds a log from zero up to the frame at a position: what every stream comes to, with nothing that is served beside
/// it. `folded` hears the position reached. Blocks.
///
/// # Errors
/// When the log cannot be read.
pub fn digests(
    log: &dyn EventLog,
    until: Position,
    folded: impl FnMut(Position),
) -> Result<ReplayReport, LoadError> {
    Ok(ReplayReport::new(fold_until(log, until, folded)?.values().map(StreamReplay::of).collect()))
}

impl Store {
    /// Folds the log from zero and compares each stream with what is served. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn replay(&self) -> Result<ReplayReport, LoadError> {
        let folded = fold(&**self.log(), |_| {})?;
        let mut streams = Vec::with_capacity(folded.len());
        for view in folded.values() {
            // A stream that is not in memory is loaded as the next request would: from what was saved of it.
            let served = match self.resident(view.stream) {
                Some(handle) => handle.view(),
                None => self.load(view.stream)?.view(),
            };
            streams.push(StreamReplay::of(view).beside(&served));
        }
        Ok(ReplayReport::new(streams))
    }
}
