//! The runs read last, in memory: who pages through history asks for the same frames over and over, and what was
//! appended never changes. So they are found without the engine, and without waiting for a commit.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::log::Position;

/// A bounded memory of runs; those that were used longest ago go first.
#[derive(Debug)]
pub(super) struct Recent {
    limit: usize,
    bytes: usize,
    /// By the position of the first frame.
    runs: BTreeMap<Position, Run>,
    /// The runs in the order of their last use.
    uses: BTreeMap<u64, Position>,
    next_use: u64,
}

#[derive(Debug)]
struct Run {
    /// They share the memory of the whole run, so it is kept whole.
    frames: Vec<Bytes>,
    bytes: usize,
    used: u64,
}

impl Recent {
    /// An empty memory of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, runs: BTreeMap::new(), uses: BTreeMap::new(), next_use: 0 }
    }

    /// The frame at a position, if its run is remembered.
    pub(super) fn frame(&mut self, position: Position) -> Option<Bytes> {
        let (first, run) = self.runs.range_mut(..=position).next_back()?;
        let index = usize::try_from(position.0 - first.0).ok()?;
        let frame = run.frames.get(index).cloned()?;
        self.uses.remove(&run.used);
        run.used = self.next_use;
        self.uses.insert(run.used, *first);
        self.next_use += 1;
        Some(frame)
    }

    /// Remembers the run of frames that begins at a position.
    pub(super) fn insert(&mut self, first: Position, frames: &[Bytes]) {
        let bytes = frames.iter().map(|frame| frame.len() + size_of::<Bytes>()).sum();
        let run = Run { frames: frames.to_vec(), bytes, used: self.next_use };
        self.uses.insert(run.used, first);
        self.next_use += 1;
        self.bytes += bytes;
        if let Some(known) = self.runs.insert(first, run) {
            self.uses.remove(&known.used);
            self.bytes -= known.bytes;
        }
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.uses.pop_first() else { break };
            if let Some(gone) = self.runs.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(byte: u8, frames: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![byte; 100 - size_of::<Bytes>()]); frames]
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_bytes_stay_within_the_limit() {
        let mut recent = Recent::new(1_000);
        recent.insert(Position(1), &run(1, 4));
        recent.insert(Position(5), &run(5, 1));
        recent.insert(Position(6), &run(6, 4));
        assert_eq!(recent.frame(Position(4)), Some(run(1, 1).remove(0)), "now used after the others");
        assert_eq!(recent.frame(Position(10)), None, "a gap between two runs is of neither");
        recent.insert(Position(20), &run(20, 2));
        assert_eq!((recent.bytes, recent.frame(Position(5))), (1_000, None));
        recent.insert(Position(20), &run(20, 2));
        assert_eq!(recent.bytes, 1_000, "a run that two readers bring counts once");
        recent.insert(Position(30), &run(30, 1));
        assert_eq!((recent.bytes, recent.frame(Position(6))), (700, None));
        assert!(recent.frame(Position(1)).is_some() && recent.frame(Position(21)).is_some());
        recent.insert(Position(40), &run(40, 11));
        assert_eq!((recent.bytes, recent.runs.len(), recent.uses.len()), (0, 0, 0));
    }
}
