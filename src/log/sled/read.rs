//! Reading frames out of the tree. Whoever calls what takes a `Db` has a reader's turn.

use bytes::Bytes;
use sled::{Db, IVec};

use super::{keys, recover};
use crate::log::{Position, ReadError};

type Read<T> = Result<T, ReadError>;

/// How often a scan reads each part again, of which some three are in a page.
///
/// sled lets a page go only once 64 reads of pages in the same one of its 256 shards have come together (`Lru::accessed` of
/// sled 0.34): a scan, which reads each page once, would leave 16,000 of them in memory, some 180 MiB, whatever its cache may
/// have. Read so often, each page is one of three that wait in its shard, and all that wait are 8 MiB.
const READ_AGAIN: usize = 8;

/// Lets the page of a part go as soon as sled's cache has no room for it, though a scan will not come back to it.
pub(super) fn let_go(db: &Db, part: &IVec) -> sled::Result<()> {
    (0..READ_AGAIN).try_for_each(|_| db.get(part).map(drop))
}

/// The frames after a position, some `limit` bytes of them and at least one.
pub(super) fn after(db: &Db, after: Position, limit: usize) -> sled::Result<Read<Vec<(Position, Bytes)>>> {
    let mut next = Position(after.0 + 1);
    let Some(mut position) = run_of(db, next)? else {
        return Ok(Err(ReadError::missing(next)));
    };
    let mut size = 0;
    let mut found = Vec::new();
    let mut parts: Vec<(IVec, IVec)> = Vec::new();
    let mut entries = db.range(&keys::part(position, 0)[..]..keys::RUNS_TO);
    loop {
        let entry = entries.next().transpose()?;
        if let Some((part, _)) = &entry {
            let_go(db, part)?;
        }
        let of = entry.as_ref().and_then(|(key, _)| keys::of_part(key)).map(|(position, _)| position);
        if of == Some(position) {
            parts.extend(entry);
            continue;
        }
        let frames = match recover::frames(position, &parts) {
            Ok(frames) => frames,
            Err(what) => return Ok(Err(ReadError::Damaged { position: position.0, what })),
        };
        for (frame, at) in frames.into_iter().zip(position.0..) {
            if at < next.0 {
                continue;
            }
            if at > next.0 {
                return Ok(Err(ReadError::missing(next)));
            }
            size += frame.len();
            if size > limit && !found.is_empty() {
                return Ok(Ok(found));
            }
            found.push((next, frame));
            next.0 += 1;
        }
        let (Some(entry), Some(of)) = (entry, of) else {
            return Ok(if found.is_empty() { Err(ReadError::missing(next)) } else { Ok(found) });
        };
        position = of;
        parts = vec![entry];
    }
}

/// The first position of a run, and its frames.
pub(super) type Run = (Position, Vec<Bytes>);

/// The frames at some positions; those that are remembered are not read. `run_with` gives the run that a position is in.
pub(super) fn at(
    positions: &[Position],
    remembered: Vec<Option<Bytes>>,
    run_with: impl Fn(Position) -> Read<Run>,
) -> Read<Vec<Bytes>> {
    let mut run: Run = (Position(0), Vec::new());
    let mut found = Vec::with_capacity(positions.len());
    for (position, remembered) in positions.iter().zip(remembered) {
        if let Some(frame) = remembered {
            found.push(frame);
            continue;
        }
        if frame_of(&run, *position).is_none() {
            run = run_with(*position)?;
        }
        found.push(frame_of(&run, *position).ok_or_else(|| ReadError::missing(*position))?);
    }
    Ok(found)
}

fn frame_of((first, frames): &Run, position: Position) -> Option<Bytes> {
    frames.get(usize::try_from(position.0.checked_sub(first.0)?).ok()?).cloned()
}

/// The run that a position is in.
pub(super) fn run_with(db: &Db, position: Position) -> Read<Run> {
    let storage = |error: sled::Error| ReadError::Storage(error.to_string());
    let first = run_of(db, position).map_err(storage)?.ok_or_else(|| ReadError::missing(position))?;
    let range = keys::part(first, 0)..=keys::part(first, u16::MAX);
    let parts: Vec<(IVec, IVec)> = db.range(range).collect::<Result<_, _>>().map_err(storage)?;
    let frames = recover::frames(first, &parts);
    Ok((first, frames.map_err(|what| ReadError::Damaged { position: first.0, what })?))
}

/// The first position of the run that a position is in: of the greatest key at or before it.
fn run_of(db: &Db, position: Position) -> sled::Result<Option<Position>> {
    let upto = keys::part(position, u16::MAX);
    let entry = db.range(keys::RUNS_FROM..=&upto[..]).next_back().transpose()?;
    Ok(entry.and_then(|(key, _)| keys::of_part(&key)).map(|(position, _)| position))
}
