//! Replay: what folding the log from zero gives, beside what is served.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::event::Version;
use crate::store::Store;
use crate::store::load::{LoadError, fold};
use crate::store::resident::View;

/// Every stream, folded from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The streams.
    pub streams: Vec<StreamReplay>,
}

impl ReplayReport {
    /// Of streams in any order.
    pub fn new(mut streams: Vec<StreamReplay>) -> Self {
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
    /// Whether a running server serves the same; absent where none runs, or where it went on in the meantime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<bool>,
}

impl StreamReplay {
    /// Of a folded stream.
    pub fn of(view: &View) -> Self {
        Self {
            stream: view.stream.to_string(),
            version: view.version(),
            digest: view.state.digest(),
            served: None,
        }
    }
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
            let mut replay = StreamReplay::of(view);
            // A stream that is not in memory is loaded as the next request would: from what was saved of it.
            let served = match self.resident(view.stream) {
                Some(handle) => handle.view(),
                None => self.load(view.stream)?.view(),
            };
            // A stream that went on since is compared at the next call.
            replay.served = match served.version().cmp(&view.version()) {
                Ordering::Equal => Some(served.state.digest() == replay.digest),
                Ordering::Greater => None,
                Ordering::Less => Some(false),
            };
            streams.push(replay);
        }
        Ok(ReplayReport::new(streams))
    }
}
