//! A store to fill: in memory or in a data directory as `settled serve` opens it, with a clock that is moved by hand,
//! so that what is written has happened over a year.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::try_join_all;
use settled::clock::{Clock, Hands, Timestamp};
use settled::config::RootKeySource as Configured;
use settled::data_dir::DataDir;
use settled::ids::StreamId;
use settled::log::EventLog;
use settled::log::memory::MemoryLog;
use settled::metrics::Metrics;
use settled::open::{LogOptions, OpenDir, open_store, root_key};
use settled::seal::keyring::KeyRing;
use settled::seal::root::{RootKey, RootKeySource};
use settled::store::derived::DerivedFiles;
use settled::store::directory::Directory;
use settled::store::resident::Handle;
use settled::store::{DiskGauge, Parts, Store, Submission};
use tempfile::TempDir;

use crate::run::say;

/// An open store and its clock.
pub struct OpenStore {
    /// The store.
    pub store: Store,
    /// Its clock.
    pub clock: Clock,
    /// What moves the clock.
    pub hands: Hands,
    kept: Kept,
}

/// More than a store has whose organizations are all at work.
const RESIDENT_STREAMS: usize = 10_000;

/// How many commands wait for the writer at once.
const IN_FLIGHT: usize = 256;

/// What a directory keeps beside its log.
struct Saved {
    files: DerivedFiles,
    directory: Option<Directory>,
}

/// What has to last as long as the store.
enum Kept {
    Keys(TempDir),
    Directory(Box<OpenDir>),
}

impl OpenStore {
    /// In memory; its keys are in a temporary folder.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn in_memory(now: Timestamp) -> Result<Self> {
        let keys = tempfile::tempdir()?;
        let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
        let root = RootKey::load(&RootKeySource::Environment(RootKey::random().text().as_str().into()))?;
        let ring = KeyRing::open(keys.path().join("keys"), root, Arc::clone(&log))?;
        ring.create_stream_key(StreamId::Platform)?;
        Self::over(log, Arc::new(ring), Kept::Keys(keys), None, now)
    }

    /// In a data directory, made where there is none; its root key lies in it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn in_directory(path: &Path, now: Timestamp) -> Result<Self> {
        let dir = DataDir::open(path, 0)?;
        let root = root_key(&dir, &Configured::MadeAtFirstStart(dir.root_key()))?;
        let (mut opened, ring) = open_store(dir, root, LogOptions::default())?;
        let saved = Saved { files: opened.derived.clone(), directory: opened.directory.take() };
        let log: Arc<dyn EventLog> = Arc::clone(&opened.log) as Arc<dyn EventLog>;
        Self::over(log, ring, Kept::Directory(Box::new(opened)), Some(saved), now)
    }

    fn over(
        log: Arc<dyn EventLog>,
        ring: Arc<KeyRing>,
        kept: Kept,
        saved: Option<Saved>,
        now: Timestamp,
    ) -> Result<Self> {
        let (files, directory) = saved.map(|saved| (saved.files, saved.directory)).unzip();
        let (clock, hands) = Clock::manual(now);
        let store = Store::open(Parts {
            log,
            ring,
            clock: clock.clone(),
            epoch: "0".to_owned(),
            queue_capacity: 1_024,
            disk: Arc::new(|| true),
            derived: files.map(|files| (files, Arc::new(|| true) as DiskGauge)),
            ledger: None,
            directory: directory.flatten(),
            resident_streams: RESIDENT_STREAMS,
            metrics: Metrics::new(),
            fatal: Arc::new(|message| say(&format!("the log failed: {message}"))),
        })?;
        Ok(Self { store, clock, hands, kept })
    }

    /// Has commands decided to one organization, in their order, many at a time: whole batches for the writer.
    ///
    /// # Errors
    /// With the first that cannot be made or is refused.
    pub async fn submit_all(
        &self,
        handle: &Arc<Handle>,
        submissions: impl IntoIterator<Item = Result<Submission>>,
    ) -> Result<()> {
        let mut submissions = submissions.into_iter().peekable();
        while submissions.peek().is_some() {
            let some = submissions.by_ref().take(IN_FLIGHT).collect::<Result<Vec<_>>>()?;
            try_join_all(some.into_iter().map(|one| self.store.execute(handle, one))).await?;
        }
        Ok(())
    }

    /// Ends the writer and closes the log as a clean stop does.
    ///
    /// # Errors
    /// When the log cannot be closed.
    pub fn close(self) -> Result<()> {
        self.store.stop();
        match self.kept {
            Kept::Keys(keys) => keys.close()?,
            Kept::Directory(opened) => opened.log.close()?,
        }
        Ok(())
    }
}
