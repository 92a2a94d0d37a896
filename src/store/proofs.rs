//! Proofs out of a stream's tree: stored hashes from level 8 up, and below that the events themselves, of at most 256 at
//! each of a proof's two ends, however long history is.
//!
//! All of it blocks; callers move it off the async threads.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::event::Version;
use crate::ids::{EventId, StreamId};
use crate::log::Head;
use crate::log::canonical::leaf_of;
use crate::log::reading::as_one;
use crate::log::segment::SEGMENT_VERSIONS;
use crate::log::segment::tree::{HIGHEST_LEVEL, Hash, LOWEST_LEVEL, node_hash, root};
use crate::proof::tree::{Node, Span, consistency, inclusion};
use crate::store::Store;
use crate::store::bounded::Bounded;
use crate::store::history::HistoryError;
use crate::store::load::{LoadError, load_hashes, load_index};
use crate::store::resident::{Handle, View};

/// How many events have one lowest stored hash.
pub const LEAVES: u64 = 1 << LOWEST_LEVEL;
/// How many events around the place where an id should be are looked at: ids follow the clock of the machine, which may
/// have been set back between two events.
const LOOKED_AT: u64 = 512;

/// How much memory the leaves of streams' newest stretches take, in bytes: of some hundred streams.
const NEWEST_BYTES: usize = 1 << 20;

/// The leaves of the newest stretch of each stream, by its number, as far as somebody needed them: every proof does, and has
/// one other stretch to read. What was recorded never changes, so nothing here is ever stale.
#[derive(Debug)]
pub(super) struct Newest(Bounded<StreamId, (u64, Arc<[Hash]>)>);

impl Default for Newest {
    fn default() -> Self {
        Self(Bounded::new(NEWEST_BYTES))
    }
}

impl Newest {
    /// The first leaves of a stretch, and no more than so many.
    fn leaves(&self, stream: StreamId, chunk: u64, at_most: usize) -> Vec<Hash> {
        let kept = self.0.get(&stream).filter(|(of, _)| *of == chunk);
        kept.map_or_else(Vec::new, |(_, leaves)| leaves[..leaves.len().min(at_most)].to_vec())
    }

    /// Keeps what is newer than what is kept.
    fn keep(&self, stream: StreamId, chunk: u64, leaves: &[Hash]) {
        let kept = self.0.get(&stream).map(|(of, kept)| (of, kept.len()));
        if kept < Some((chunk, leaves.len())) {
            self.0.put(stream, (chunk, leaves.into()), size_of_val(leaves));
        }
    }
}

/// Makes proofs of one view of a stream. It remembers the subtrees that it read.
pub struct Prover {
    store: Store,
    handle: Arc<Handle>,
    view: Arc<View>,
    /// The levels below the stored ones, by 256 leaves: complete subtrees alone, the leaves first.
    subtrees: HashMap<u64, Vec<Vec<Hash>>>,
}

impl Prover {
    /// Proofs of a stream as of a view.
    pub fn new(store: &Store, handle: &Arc<Handle>, view: &Arc<View>) -> Self {
        let (store, handle, view) = (store.clone(), Arc::clone(handle), Arc::clone(view));
        Self { store, handle, view, subtrees: HashMap::new() }
    }

    /// The root of the tree over the first `size` events.
    ///
    /// # Errors
    /// When an event or an index cannot be read.
    pub fn root(&mut self, size: u64) -> Result<Hash, HistoryError> {
        self.hash(Span::whole(size))
    }

    /// What stands beside a version's leaf on its way up to the root over the first `size` events, the lowest first.
    ///
    /// # Errors
    /// When an event or an index cannot be read.
    pub fn inclusion(&mut self, version: Version, size: u64) -> Result<Vec<Hash>, HistoryError> {
        inclusion(version - 1, size).into_iter().map(|span| self.hash(span)).collect()
    }

    /// What shows that the first `from` events are the beginning of the first `to`, the lowest first.
    ///
    /// # Errors
    /// When an event or an index cannot be read.
    pub fn consistency(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, HistoryError> {
        consistency(from, to).into_iter().map(|span| self.hash(span)).collect()
    }

    /// The leaf of a version.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub fn leaf(&mut self, version: Version) -> Result<Hash, HistoryError> {
        self.node(Node { level: 0, index: version - 1 })
    }

    /// Events exactly as recorded, from one of a stretch of 256 to another of the same. What was read of others is
    /// forgotten: whoever goes through a long history holds one stretch at a time.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn texts(&mut self, from: Version, to: Version) -> Result<Vec<String>, HistoryError> {
        let chunk = (from - 1) / LEAVES;
        let first = chunk * LEAVES + 1;
        let texts = self.store.texts(&self.handle, &self.view, &self.versions(chunk))?;
        let leaves = texts.iter().map(|text| leaf_of(text)).collect();
        // The last stretch stays: every proof needs its hashes.
        let last = (self.view.version() - 1) / LEAVES;
        self.subtrees.retain(|kept, _| *kept == last);
        self.subtrees.insert(chunk, levels(leaves));
        let wanted = (first..).zip(texts).filter(|(version, _)| (from..=to).contains(version));
        Ok(wanted.map(|(_, text)| text).collect())
    }

    fn hash(&mut self, span: Span) -> Result<Hash, HistoryError> {
        let nodes = span.nodes().into_iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
        Ok(root_over_peaks(&nodes))
    }

    fn node(&mut self, Node { level, index }: Node) -> Result<Hash, HistoryError> {
        let height = level as usize;
        if height < LOWEST_LEVEL {
            let (chunk, within) = (index >> (LOWEST_LEVEL - height), index & ((LEAVES >> height) - 1));
            if !self.subtrees.contains_key(&chunk) {
                self.subtrees.insert(chunk, levels(self.leaves(chunk)?));
            }
            let hash = self.subtrees[&chunk].get(height).and_then(|level| level.get(place(within)));
            return hash.copied().ok_or_else(|| self.absent(level, index));
        }
        if height > HIGHEST_LEVEL {
            let left = self.node(Node { level: level - 1, index: 2 * index })?;
            let right = self.node(Node { level: level - 1, index: 2 * index + 1 })?;
            return Ok(node_hash(&left, &right));
        }
        let below = HIGHEST_LEVEL - height;
        let (number, within) = (index >> below, index & ((1 << below) - 1));
        if height == HIGHEST_LEVEL {
            return self.store.whole_segment(&self.handle, number)?.ok_or_else(|| self.absent(level, index));
        }
        let hash = self.store.segment(&self.handle, number, |segment| segment.hash(height, place(within)))?;
        hash.ok_or_else(|| self.absent(level, index))
    }

    /// The leaves of a stretch of 256, as far as the view has them.
    fn leaves(&self, chunk: u64) -> Result<Vec<Hash>, HistoryError> {
        let (stream, versions) = (self.handle.stream(), self.versions(chunk));
        let newest = &self.store.inner.newest_leaves;
        let mut leaves = newest.leaves(stream, chunk, versions.len());
        let missing = &versions[leaves.len()..];
        if missing.is_empty() {
            return Ok(leaves);
        }
        let texts = self.store.texts(&self.handle, &self.view, missing)?;
        leaves.extend(texts.iter().map(|text| leaf_of(text)));
        if chunk == (self.view.version() - 1) / LEAVES {
            newest.keep(stream, chunk, &leaves);
        }
        Ok(leaves)
    }

    /// The versions of a stretch of 256, as far as the view has them.
    fn versions(&self, chunk: u64) -> Vec<Version> {
        let first = chunk * LEAVES + 1;
        (first..=(chunk * LEAVES + LEAVES).min(self.view.version())).collect()
    }

    fn absent(&self, level: u32, index: u64) -> HistoryError {
        HistoryError::NoSuchVersion { stream: self.handle.stream(), version: (index << level) + 1 }
    }
}

/// The root over complete subtrees, also of an empty tree, whose hash is that of an empty string (RFC 6962 section 2.1).
fn root_over_peaks(peaks: &[Hash]) -> Hash {
    root(peaks).unwrap_or_else(|| Sha256::digest([]).into())
}

/// The complete subtrees over up to 256 leaves, level by level.
fn levels(leaves: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves];
    while let Some(last) = levels.last().filter(|level| level.len() > 1) {
        let above = last.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        levels.push(above);
    }
    levels
}

fn place(within: u64) -> usize {
    usize::try_from(within).unwrap_or(usize::MAX)
}

impl Store {
    /// The root of a stream's tree over its first `size` events, which are durable. A stream that is not in memory is not taken
    /// in for it. Blocks.
    ///
    /// # Errors
    /// When an event or an index cannot be read.
    pub fn root_over(&self, stream: StreamId, size: Version) -> Result<Hash, LoadError> {
        as_one(|| {
            // What is durable may not be published yet.
            let resident = self.resident(stream).filter(|handle| handle.view().version() >= size);
            let handle = match resident {
                Some(handle) => handle,
                None if size < SEGMENT_VERSIONS => return self.root_of_short(stream, size),
                None => Arc::new(self.load_indexed(stream)?),
            };
            // Where nothing came since, the index has it.
            let known = {
                let index = handle.index();
                (index.version() == size).then(|| index.root().ok().flatten()).flatten()
            };
            match known {
                Some(root) => Ok(root),
                None => Ok(Prover::new(self, &handle, &handle.view()).root(size)?),
            }
        })
    }

    /// The root over the first events of a stream that is not in memory, fewer than fill a segment.
    fn root_of_short(&self, stream: StreamId, size: Version) -> Result<Hash, LoadError> {
        let hashes = load_hashes(&**self.log(), self.inner.savepoints.as_deref(), stream, size)?;
        Ok(root_over_peaks(&hashes.peaks()))
    }

    /// A stream as an index alone, for this one caller: it has no state.
    fn load_indexed(&self, stream: StreamId) -> Result<Handle, LoadError> {
        let index = load_index(&*self.inner.log, self.inner.savepoints.as_deref(), stream)?;
        let head = Head { version: index.version(), ..self.log().last(stream).unwrap_or_default() };
        Ok(Handle::new(View { head, ..View::empty(stream) }, index, 0))
    }

    /// The hash of a full segment's leaves; `None` where it is not full. Whoever needs it first reads the segment.
    fn whole_segment(&self, handle: &Handle, number: u64) -> Result<Option<Hash>, HistoryError> {
        if let Some(whole) = handle.index().whole(number) {
            return Ok(Some(whole));
        }
        let whole = self.segment(handle, number, |segment| segment.whole())?;
        handle.index_mut().learned(number, whole);
        Ok(whole)
    }

    /// The version of the event with an id. Ids are minted in the order of versions, so it is where a binary search leads,
    /// or near there: `None` also where a clock that was set back took it out of reach, which by its version it never is.
    ///
    /// # Errors
    /// When an event cannot be read.
    pub fn version_of(
        &self,
        handle: &Handle,
        view: &View,
        id: EventId,
    ) -> Result<Option<Version>, HistoryError> {
        let (mut low, mut high) = (1, view.version() + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.recorded(handle, view, &[middle])?.iter().all(|event| event.id < id) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let is_it = |versions: &[Version]| {
            Ok(self.recorded(handle, view, versions)?.iter().find(|event| event.id == id).map(|e| e.version))
        };
        if low <= view.version()
            && let Some(version) = is_it(&[low])?
        {
            return Ok(Some(version));
        }
        let around = low.saturating_sub(LOOKED_AT).max(1)..=(low + LOOKED_AT).min(view.version());
        is_it(&around.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stretch_of_a_stream_grows_and_gives_way_to_the_next_one_alone() {
        let (newest, stream) = (Newest::default(), StreamId::Platform);
        let leaves: Vec<Hash> = (0..3).map(|byte| [byte; 32]).collect();
        assert!(newest.leaves(stream, 7, 3).is_empty());
        newest.keep(stream, 7, &leaves[..2]);
        assert_eq!(newest.leaves(stream, 7, 3), leaves[..2]);
        assert_eq!(newest.leaves(stream, 7, 1), leaves[..1], "an older view has fewer");
        newest.keep(stream, 7, &leaves[..1]);
        newest.keep(stream, 6, &leaves);
        assert_eq!(newest.leaves(stream, 7, 3), leaves[..2], "what is kept is newer");
        assert!(newest.leaves(stream, 6, 3).is_empty());
        newest.keep(stream, 7, &leaves);
        assert_eq!(newest.leaves(stream, 7, 3), leaves);
        newest.keep(stream, 8, &leaves[..1]);
        assert!(newest.leaves(stream, 7, 3).is_empty());
        assert_eq!(newest.leaves(stream, 8, 3), leaves[..1]);
    }
}
