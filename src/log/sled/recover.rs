//! What the tree holds: the runs from the first on, followed as long as they are whole.

use std::io;

use bytes::Bytes;
use sled::{Batch, Db, IVec};

use super::engine::guarded;
use super::keys;
use crate::log::frame::frame_hash;
use crate::log::heads::Heads;
use crate::log::run::{assemble, divide};
use crate::log::{FrameHash, Position};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The streams, and the end of what is whole.
    pub(super) heads: Heads,
    /// The hash of the frame at the end; zeros for an empty log.
    pub(super) end_hash: FrameHash,
    /// The hash of the frame at the watched position, as far as it is whole; zeros for position 0.
    pub(super) watched_hash: FrameHash,
    /// What lies beyond the whole beginning.
    pub(super) rest: Option<Rest>,
}

/// What lies beyond the whole beginning.
#[derive(Debug)]
pub(super) struct Rest {
    /// How many parts of runs.
    pub(super) parts: usize,
    /// What is wrong with the first.
    pub(super) why: String,
}

/// Follows the log from its beginning.
pub(super) fn survey(db: &Db, watched: Position) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut run = Run::default();
    guarded(|| {
        for entry in db.range(keys::RUNS_FROM..keys::RUNS_TO) {
            let (key, part) = entry?;
            match keys::of_part(&key) {
                Some((position, _)) if position != run.position => {
                    survey.add(&run, watched);
                    run = Run { position, parts: vec![(key, part)] };
                }
                _ => run.parts.push((key, part)),
            }
        }
        survey.add(&run, watched);
        Ok(())
    })?;
    Ok(survey)
}

/// Removes all parts that lie beyond the end.
pub(super) fn cut(db: &Db, end: Position) -> io::Result<()> {
    guarded(|| {
        let mut batch = Batch::default();
        for key in db.range(&keys::part(Position(end.0 + 1), 0)[..]..keys::RUNS_TO).keys() {
            batch.remove(key?);
        }
        db.apply_batch(batch)
    })
}

/// The frames of the run whose parts these are, from part 0 on.
pub(super) fn frames(position: Position, parts: &[(IVec, IVec)]) -> Result<Vec<Bytes>, String> {
    for (number, (key, _)) in (0..).zip(parts) {
        if keys::of_part(key) != Some((position, number)) {
            return Err(format!("part {number} of the run at position {} is missing", position.0));
        }
    }
    let values: Vec<&IVec> = parts.iter().map(|(_, value)| value).collect();
    let run = assemble(position, &values).map_err(|error| error.to_string())?;
    divide(position, &run).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Run {
    position: Position,
    parts: Vec<(IVec, IVec)>,
}

impl Survey {
    fn add(&mut self, run: &Run, watched: Position) {
        if run.parts.is_empty() {
            return;
        }
        if let Some(rest) = &mut self.rest {
            rest.parts += run.parts.len();
            return;
        }
        if let Err(why) = self.follow(run, watched) {
            self.rest = Some(Rest { parts: run.parts.len(), why });
        }
    }

    fn follow(&mut self, run: &Run, watched: Position) -> Result<(), String> {
        let expected = Position(self.heads.end().0 + 1);
        if run.position != expected {
            return Err(format!(
                "position {} is missing, the next run is at position {}",
                expected.0, run.position.0
            ));
        }
        let frames = frames(run.position, &run.parts)?;
        self.heads
            .follow(&frames)
            .map_err(|(position, broken)| format!("the frame at position {}: {broken}", position.0))?;
        for (frame, position) in frames.iter().zip(run.position.0..) {
            if Position(position) == watched {
                self.watched_hash = frame_hash(frame);
            }
        }
        if let Some(last) = frames.last() {
            self.end_hash = frame_hash(last);
        }
        Ok(())
    }
}
