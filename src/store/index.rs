//! [`StreamIndex`]: the index of one stream in memory, beside its state: the open segment, and what full ones are
//! still to be written. It never lags behind the published state, and readers never look beyond that.

use std::sync::Arc;

use crate::event::{Recorded, Version};
use crate::log::segment::frames::FramePlace;
use crate::log::segment::tree::{Hash, root};
use crate::log::segment::{Segment, segment_of};

/// The index of a stream.
#[derive(Clone, Debug)]
pub struct StreamIndex {
    /// What is full, oldest first.
    full: Vec<Full>,
    open: Segment,
}

/// A full segment.
#[derive(Clone, Debug, Default)]
struct Full {
    /// The hash of all its leaves; `None` until somebody reads it.
    whole: Option<Hash>,
    /// In memory as long as no file has it.
    waiting: Option<Arc<Segment>>,
}

impl StreamIndex {
    /// The index of a stream up to the version before `open`'s first, whose full segments are in files, and from
    /// there on `open`.
    pub fn new(open: Segment) -> Self {
        let number =
            usize::try_from(open.number()).expect("a stream has fewer segments than memory has bytes");
        Self { full: vec![Full::default(); number], open }
    }

    /// The newest version that it holds.
    pub fn version(&self) -> Version {
        self.open.version()
    }

    /// The segment that goes on.
    pub fn open(&self) -> &Segment {
        &self.open
    }

    /// A segment of which more is in memory than in files: the one that goes on, or a full one that no file has yet.
    pub fn in_memory(&self, number: u64) -> Option<&Segment> {
        if self.open.number() == number {
            return Some(&self.open);
        }
        self.waiting(number).map(Arc::as_ref)
    }

    /// A full segment that no file has yet.
    pub fn waiting(&self, number: u64) -> Option<&Arc<Segment>> {
        self.full.get(usize::try_from(number).ok()?)?.waiting.as_ref()
    }

    /// The full segments that no file has yet.
    pub fn all_waiting(&self) -> Vec<Arc<Segment>> {
        self.full.iter().filter_map(|full| full.waiting.clone()).collect()
    }

    /// Takes in the next event; whether that filled a segment.
    pub fn push(&mut self, recorded: &Recorded, leaf: Hash, frame: FramePlace) -> bool {
        self.open.push(recorded, leaf, frame);
        if !self.open.is_full() {
            return false;
        }
        let next = Segment::new(segment_of(self.open.version() + 1));
        let full = std::mem::replace(&mut self.open, next);
        self.full.push(Full { whole: full.hashes().whole(), waiting: Some(Arc::new(full)) });
        true
    }

    /// Notes that a file has a full segment, which then need not be kept in memory.
    pub fn written(&mut self, number: u64) {
        if let Some(full) = usize::try_from(number).ok().and_then(|number| self.full.get_mut(number)) {
            full.waiting = None;
        }
    }

    /// The hash of a full segment, where it is known.
    pub fn whole(&self, number: u64) -> Option<Hash> {
        self.full.get(usize::try_from(number).ok()?)?.whole
    }

    /// Notes the hash of a full segment that was read.
    pub fn learned(&mut self, number: u64, whole: Option<Hash>) {
        if let Some(full) = usize::try_from(number).ok().and_then(|number| self.full.get_mut(number)) {
            full.whole = full.whole.or(whole);
        }
    }

    /// The first full segment whose hash is not known, or else the root of the stream's Merkle tree (RFC 6962);
    /// `None` of an empty stream.
    pub fn root(&self) -> Result<Option<Hash>, u64> {
        let mut peaks: Vec<(u32, Hash)> = Vec::new();
        for (number, full) in (0_u64..).zip(&self.full) {
            let mut node = full.whole.ok_or(number)?;
            let mut level = 0;
            while let Some((below, left)) = peaks.last()
                && *below == level
            {
                node = crate::log::segment::tree::node_hash(left, &node);
                peaks.pop();
                level += 1;
            }
            peaks.push((level, node));
        }
        let peaks: Vec<Hash> =
            peaks.into_iter().map(|(_, hash)| hash).chain(self.open.hashes().peaks()).collect();
        Ok(root(&peaks))
    }
}
