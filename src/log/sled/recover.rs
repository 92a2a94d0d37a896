//! What the tree holds: the runs from the first on, followed as long as they are whole.

use std::io;

use bytes::Bytes;
use sled::{Batch, Db, IVec};

use super::engine::guarded;
use super::keys;
use super::open::Known;
use super::read::let_go;
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

/// Follows the log from its beginning, or from what is known of it.
pub(super) fn survey(db: &Db, watched: Position, known: Option<&Known>) -> io::Result<Survey> {
    let mut survey = match known {
        None => Survey::default(),
        Some(Known { end, heads }) => Survey {
            heads: Heads::from_parts(heads.clone(), end.position),
            end_hash: end.hash,
            watched_hash: if watched == end.position { end.hash } else { FrameHash::default() },
            rest: None,
        },
    };
    let from = match known {
        None => keys::RUNS_FROM.to_vec(),
        Some(known) => keys::part(Position(known.end.position.0 + 1), 0).to_vec(),
    };
    let mut run = Run::default();
    guarded(|| {
        for entry in db.range(&from[..]..keys::RUNS_TO) {
            let (key, part) = entry?;
            let_go(db, &key)?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sled::Batch;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{Event, Outcome, Recorded, Refused, RefusedData, Resource, ResourceType};
    use crate::ids::{EventId, StoreId, StreamId};
    use crate::log::codec::pack;
    use crate::log::frame::{FrameBuilder, FrameStart};
    use crate::log::head::Epoch;
    use crate::log::run::{cut, join};
    use crate::log::sled::open::{Finding, HeadPolicy, OpenError, Opened, SledOptions, create, open};
    use crate::log::{Append, EventLog, Head};
    use uuid::Uuid;

    fn options(dir: &Path) -> SledOptions {
        SledOptions::new(dir, StoreId::from_uuid(Uuid::from_u128(1)))
    }

    fn frame(head: Head) -> Bytes {
        let at = Timestamp::from_micros(1_000_000);
        let (stream, version) = (StreamId::Platform, head.version + 1);
        let (previous, previous_hash) = (head.position, head.hash);
        let start = FrameStart { stream, first_version: version, at, previous, previous_hash };
        let mut builder = FrameBuilder::new(start);
        let data = RefusedData { permission: Some("x".repeat(9_000)), ..RefusedData::default() };
        let record = Recorded {
            id: EventId::from_uuid(Uuid::from_u128(u128::from(version))),
            stream,
            version,
            at,
            actor: crate::actor::Actor::SYSTEM,
            resource: Resource::new(ResourceType::Server, "server"),
            outcome: Outcome::Denied,
            event: Event::Refused(Refused { action: "config.set".to_owned(), data }),
            related: Vec::new(),
            reason: None,
            request_id: None,
            request: None,
            count: None,
            keys: std::collections::BTreeMap::new(),
        };
        builder.push(&pack(&record).expect("the record is valid"));
        builder.finish().expect("it has an event")
    }

    /// A log of three frames, and the fourth one, which was not appended.
    fn three(dir: &Path) -> Bytes {
        create(&options(dir), &Epoch::default()).expect("a store can be made");
        let log = open(options(dir), HeadPolicy::Require).expect("it opens").log;
        for _ in 0..3 {
            let frame = frame(log.last(StreamId::Platform).unwrap_or_default());
            let (stream, expected, frame) = (StreamId::Platform, None, Some(frame));
            log.append(vec![Append { stream, expected, frame, put: Vec::new(), remove: Vec::new() }])
                .expect("it appends");
        }
        let next = frame(log.last(StreamId::Platform).expect("it has frames"));
        log.close().expect("it closes");
        next
    }

    /// Writes to the tree behind the log's back.
    fn tamper(dir: &Path, change: impl FnOnce(&mut Batch)) {
        let db = sled::Config::new().path(dir.join("log")).flush_every_ms(None).open().expect("sled opens");
        let mut batch = Batch::default();
        change(&mut batch);
        db.apply_batch(batch).expect("sled writes");
        db.flush().expect("sled flushes");
        drop(db);
        // sled's threads let go of its lock a moment later; opening the log waits for it.
    }

    fn reopen(dir: &Path) -> Result<Opened, OpenError> {
        open(options(dir), HeadPolicy::Require)
    }

    #[test]
    fn a_whole_run_beyond_the_head_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let next = three(dir.path());
        tamper(dir.path(), |batch| {
            for (number, part) in (0..).zip(cut(Position(4), &join([&next]))) {
                batch.insert(&keys::part(Position(4), number), part);
            }
        });
        let opened = reopen(dir.path()).expect("it opens");
        assert_eq!(opened.log.end(), Position(4));
        assert_eq!(opened.findings, [Finding::BeyondHead { head: Position(3), frames: 1 }]);
    }

    #[test]
    fn what_is_torn_beyond_the_head_is_cut_and_said_and_the_place_is_used_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let next = three(dir.path());
        let run: Vec<u8> = join([&next]).into_iter().chain([0x85; 9_000]).collect();
        tamper(dir.path(), |batch| {
            for (number, part) in (0..).zip(cut(Position(4), &run)).skip(1) {
                batch.insert(&keys::part(Position(4), number), part);
            }
            batch.insert(&keys::part(Position(7), 0), b"no part".to_vec());
        });
        let opened = reopen(dir.path()).expect("it opens");
        assert_eq!(opened.log.end(), Position(3));
        assert!(
            matches!(&opened.findings[..], [Finding::Cut { end: Position(3), parts: 3, why }] if why.contains("part 0")),
            "{:?}",
            opened.findings
        );
        let (stream, expected, frame) = (StreamId::Platform, Some(Position(3)), Some(next));
        let append = Append { stream, expected, frame, put: Vec::new(), remove: Vec::new() };
        assert_eq!(opened.log.append(vec![append]).expect("it appends"), [Position(4)]);
        opened.log.close().expect("it closes");
        drop(opened);
        let opened = reopen(dir.path()).expect("it opens");
        assert_eq!((opened.log.end(), opened.findings), (Position(4), Vec::new()));
    }

    #[test]
    fn what_is_torn_before_the_head_is_refused_and_nothing_is_cut() {
        let dir = tempfile::tempdir().expect("a folder");
        three(dir.path());
        let mut part = Vec::new();
        tamper(dir.path(), |batch| batch.remove(&keys::part(Position(2), 0)));
        for _ in 0..2 {
            let error = reopen(dir.path()).err().expect("it is refused");
            assert!(
                matches!(&error, OpenError::Behind { head: Position(3), end: Position(1), why } if why.contains('2')),
                "{error}"
            );
        }
        part.extend(cut(Position(2), b"another run").remove(0));
        tamper(dir.path(), |batch| batch.insert(&keys::part(Position(2), 0), part));
        assert!(matches!(reopen(dir.path()).err(), Some(OpenError::Behind { .. })));
    }
}
