//! Which streams are in memory: each is loaded when it is first asked for, by one at a time, and those that were not
//! used for longest are let go when there are too many. Whoever holds a [`Handle`] pins its stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::OnceCell;

use crate::ids::{OrganizationId, StreamId};
use crate::log::reading::as_one;
use crate::store::Store;
use crate::store::load::{LoadError, load_stream};
use crate::store::resident::Handle;

/// When there are too many, so many more than need be are let go, as a part of the limit: looking for them costs as
/// much as there are streams, so it is not done for each.
const LET_GO_PART: usize = 16;

/// The streams in memory, and how many there may be.
#[derive(Debug)]
pub struct Residents {
    limit: usize,
    slots: RwLock<HashMap<StreamId, Slot>>,
    clock: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// Empty while the stream is being loaded.
    cell: Arc<OnceCell<Arc<Handle>>>,
    used: AtomicU64,
}

impl Slot {
    /// Whether nobody but this slot holds the stream, or is about to.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.cell) == 1
            && self.cell.get().is_none_or(|handle| Arc::strong_count(handle) == 1)
    }
}

impl Residents {
    /// At most so many streams, but for those that are in use.
    pub fn new(limit: usize) -> Self {
        Self { limit, slots: RwLock::default(), clock: AtomicU64::new(0) }
    }

    /// The stream, if it is in memory.
    pub fn get(&self, stream: StreamId) -> Option<Arc<Handle>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&stream)?;
        slot.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        slot.cell.get().cloned()
    }

    /// The stream, loaded by `load` if it is not in memory; who asks meanwhile waits for the one that loads. Gives what
    /// was let go for it, too.
    ///
    /// # Errors
    /// Those of `load`; the next to ask tries again.
    pub async fn get_or_load<E>(
        &self,
        stream: StreamId,
        load: impl AsyncFnOnce() -> Result<Handle, E>,
    ) -> Result<(Arc<Handle>, Vec<Arc<Handle>>), E> {
        let cell = {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            let used = self.clock.fetch_add(1, Ordering::Relaxed);
            let slot = slots
                .entry(stream)
                .or_insert_with(|| Slot { cell: Arc::default(), used: AtomicU64::new(used) });
            slot.used.store(used, Ordering::Relaxed);
            Arc::clone(&slot.cell)
        };
        let handle = cell.get_or_try_init(async || load().await.map(Arc::new)).await.cloned()?;
        drop(cell);
        Ok((handle, self.let_go()))
    }

    /// Takes in a stream that is in memory already.
    pub fn insert(&self, handle: Arc<Handle>) {
        let used = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.insert(handle.stream(), Slot { cell: Arc::new(OnceCell::new_with(Some(handle))), used });
    }

    /// How many streams are in memory.
    pub fn len(&self) -> usize {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every stream in memory.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter_map(|slot| slot.cell.get().cloned()).collect()
    }

    /// Lets go of the streams that were not used for longest, if there are too many; never of one that is in use.
    fn let_go(&self) -> Vec<Arc<Handle>> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.len() <= self.limit {
            return Vec::new();
        }
        let spare = slots.len() - self.limit + self.limit / LET_GO_PART;
        let mut free: Vec<(u64, StreamId)> = slots
            .iter()
            .filter(|(stream, slot)| **stream != StreamId::Platform && slot.is_free())
            .map(|(stream, slot)| (slot.used.load(Ordering::Relaxed), *stream))
            .collect();
        free.sort_unstable();
        free.into_iter()
            .take(spare)
            .filter_map(|(_, stream)| slots.remove(&stream)?.cell.get().cloned())
            .collect()
    }
}

impl Store {
    /// An organization's stream, if it was founded; loaded if it is not in memory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<Arc<Handle>>, LoadError> {
        let stream = StreamId::Organization(id);
        let handle = match self.inner.residents.get(stream) {
            Some(handle) => handle,
            None if self.inner.directory.head(stream).is_none() => return Ok(None),
            None => self.stream(stream).await?,
        };
        let view = handle.view();
        Ok((view.version() > 0 && !view.organization().general.is_over()).then_some(handle))
    }

    /// A stream, which may have no event yet; loaded if it is not in memory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stream(&self, stream: StreamId) -> Result<Arc<Handle>, LoadError> {
        if let Some(handle) = self.inner.residents.get(stream) {
            return Ok(handle);
        }
        let load = async || {
            let store = self.clone();
            tokio::task::spawn_blocking(move || as_one(|| store.load(stream)))
                .await
                .map_err(LoadError::Died)?
        };
        let (handle, let_go) = self.inner.residents.get_or_load(stream, load).await?;
        self.inner.saver.let_go(&let_go);
        self.inner.metrics.streams_in_memory(self.inner.residents.len());
        Ok(handle)
    }

    pub(super) fn load(&self, stream: StreamId) -> Result<Handle, LoadError> {
        let loaded = load_stream(&*self.inner.log, self.inner.savepoints.as_deref(), stream)?;
        Ok(Handle::new(loaded.view, loaded.index, loaded.saved))
    }

    /// A stream, if it is in memory.
    pub fn resident(&self, stream: StreamId) -> Option<Arc<Handle>> {
        self.inner.residents.get(stream)
    }

    /// Writes what of a stream no derived file has, now. Blocks.
    pub fn save(&self, handle: &Handle) {
        self.inner.saver.stream_now(handle);
    }

    /// The ids of all organizations that were founded, in order.
    pub fn organizations(&self) -> Vec<OrganizationId> {
        let organization = |stream| if let StreamId::Organization(id) = stream { Some(id) } else { None };
        self.inner.directory.streams().into_iter().filter_map(organization).collect()
    }

    /// How many streams are in memory.
    pub fn resident_streams(&self) -> usize {
        self.inner.residents.len()
    }
}
