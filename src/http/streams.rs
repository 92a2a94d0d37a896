//! Long answers: how many of them a credential may have open at once, and their end when the server stops.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::http::caller::Proof;
use crate::http::ndjson::BrokenOff;
use crate::http::problem::Problem;
use crate::log::reading::as_one;

/// How many exports a credential may have open at once; each is read by one program to its end.
const EXPORTS_PER_CREDENTIAL: usize = 2;
/// How many reads of history long answers of one kind may have under way at once, so that a thousand of them leave the
/// threads that may block to other requests.
const READS_AT_ONCE: usize = 4;

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It goes on as long as the client wants it.
    Stream,
    /// It ends with what there was when it began.
    Export,
}

/// The long answers that are open. Clones share them.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    open: Mutex<HashMap<(Kind, Uuid), usize>>,
    streams_per_credential: usize,
    stream_reads: Arc<Semaphore>,
    export_reads: Arc<Semaphore>,
    ending: watch::Sender<bool>,
}

/// A long answer's place among those of its credential, until it is dropped.
pub struct Slot {
    streams: Streams,
    key: (Kind, Uuid),
}

impl Streams {
    /// None is open yet; a credential may have so many streams at once.
    pub fn new(streams_per_credential: usize) -> Self {
        Self(Arc::new(Inner {
            open: Mutex::default(),
            streams_per_credential,
            stream_reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            export_reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            ending: watch::Sender::new(false),
        }))
    }

    /// Opens one more for a credential.
    ///
    /// # Errors
    /// 429 while it has as many as it may.
    pub fn open(&self, kind: Kind, credential: Proof) -> Result<Slot, Problem> {
        let (most, retry_after_seconds) = match kind {
            Kind::Stream => (self.0.streams_per_credential, 2),
            Kind::Export => (EXPORTS_PER_CREDENTIAL, 10),
        };
        let key = (kind, credential.id());
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key).or_default();
        if *count >= most {
            return Err(Problem::too_many_requests(retry_after_seconds));
        }
        *count += 1;
        Ok(Slot { streams: self.clone(), key })
    }

    /// How many of a kind are open, over all credentials.
    pub fn count(&self, kind: Kind) -> usize {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter(|((of, _), _)| *of == kind).map(|(_, count)| count).sum()
    }

    /// Reads history for a long answer, on a thread that may block, when it is its turn.
    ///
    /// # Errors
    /// When the read fails, which is logged: the answer has to be broken off.
    pub async fn read<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        kind: Kind,
        read: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, BrokenOff> {
        let reads = match kind {
            Kind::Stream => &self.0.stream_reads,
            Kind::Export => &self.0.export_reads,
        };
        let turn = Arc::clone(reads).acquire_owned().await.map_err(|_| BrokenOff)?;
        let read = tokio::task::spawn_blocking(move || {
            // Held by the thread: a client that goes away does not make room for a further one.
            let _turn = turn;
            as_one(read)
        });
        read.await.map_err(|_| BrokenOff)?.map_err(|error| {
            tracing::error!(%error, "an answer was broken off");
            BrokenOff
        })
    }

    /// Ends all streams: the server stops. Exports go on, for as long as a stop lets requests end.
    pub fn end(&self) {
        self.0.ending.send_replace(true);
    }

    /// Waits for [`Streams::end`].
    pub async fn ended(&self) {
        let mut ending = self.0.ending.subscribe();
        // The sender is in `self`, so the wait cannot fail.
        let _ended = ending.wait_for(|ending| *ending).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.streams.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Fresh;

    #[test]
    fn a_credential_has_a_bounded_number_of_each_kind() {
        let streams = Streams::new(2);
        let (one, other) = (Proof::Session(Fresh.id()), Proof::Session(Fresh.id()));
        let first = streams.open(Kind::Stream, one).ok();
        let _second = streams.open(Kind::Stream, one).ok();
        assert_eq!(streams.open(Kind::Stream, one).err().map(|problem| problem.status().as_u16()), Some(429));
        assert!(streams.open(Kind::Stream, other).is_ok() && streams.open(Kind::Export, one).is_ok());
        assert_eq!((streams.count(Kind::Stream), streams.count(Kind::Export)), (2, 0));
        drop(first);
        assert_eq!(streams.count(Kind::Stream), 1);
        let _third = streams.open(Kind::Stream, one).expect("one has gone");
        assert!(streams.open(Kind::Stream, one).is_err());
    }

    #[test]
    fn nothing_is_kept_of_a_credential_without_an_open_answer() {
        let streams = Streams::new(1);
        drop(streams.open(Kind::Stream, Proof::Session(Fresh.id())));
        assert!(streams.0.open.lock().unwrap().is_empty());
    }
}
