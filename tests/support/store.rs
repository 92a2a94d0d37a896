//! A store's folder with a log on sled in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use settled::ids::StoreId;
use settled::log::head::Epoch;
use settled::log::sled::SledLog;
use settled::log::sled::durability::Durability;
use settled::log::sled::open::{Finding, HeadPolicy, OpenError, Opened, SledOptions, create, open};

use crate::events::uuid;

/// A store in a temporary folder.
pub(crate) struct Store {
    _dir: Option<tempfile::TempDir>,
    pub(crate) path: PathBuf,
    pub(crate) id: StoreId,
}

impl Store {
    /// An empty store.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut store = Self::create_in(dir.path(), 1);
        store._dir = Some(dir);
        store
    }

    /// An empty store in a folder that exists and outlives it.
    pub(crate) fn create_in(dir: &Path, number: u128) -> Self {
        let store = Self::at(dir, number);
        create(&store.options(), &Epoch::default()).expect("a store can be made");
        store
    }

    /// A store that exists.
    pub(crate) fn at(dir: &Path, number: u128) -> Self {
        Self { _dir: None, path: dir.to_owned(), id: StoreId::from_uuid(uuid(number << 32)) }
    }

    pub(crate) fn options(&self) -> SledOptions {
        SledOptions::new(&self.path, self.id)
    }

    pub(crate) fn options_with(&self, durability: Arc<dyn Durability>, ring_bytes: usize) -> SledOptions {
        SledOptions { durability, ring_bytes, ..self.options() }
    }

    pub(crate) fn try_open(&self) -> Result<Opened, OpenError> {
        open(self.options(), HeadPolicy::Require)
    }

    pub(crate) fn open(&self) -> (SledLog, Vec<Finding>) {
        let opened = self.try_open().expect("the store opens");
        (opened.log, opened.findings)
    }
}
