//! Full segments of all streams: a bounded memory of those read last, their files, and making one anew from the log
//! where its file is not there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::area::Section;
use crate::event::Version;
use crate::ids::StreamId;
use crate::log::segment::encoding::{SECTIONS, SHAPE};
use crate::log::segment::{FramePlace, SEGMENT_VERSIONS, Segment};
use crate::log::{EventLog, Position};
use crate::store::batch::head_after;
use crate::store::derived::{DerivedFile, DerivedFiles, FileName, Kind, Unreadable};
use crate::store::history::{HistoryError, read_frame};

/// How much memory full segments take, in bytes. One of a busy stream has some 500 KiB.
const CACHE_BYTES: usize = 32 << 20;
/// How many frames are read from the log at once.
pub(super) const READ_FRAMES: usize = 256;

/// Full segments, from memory, from their files, or from the log.
pub struct Segments {
    log: Arc<dyn EventLog>,
    files: Option<DerivedFiles>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    held: HashMap<(StreamId, u64), (Arc<Segment>, u64)>,
    bytes: usize,
    tick: u64,
}

impl Segments {
    /// Over a log and a folder of derived files, if there is one.
    pub fn new(log: Arc<dyn EventLog>, files: Option<DerivedFiles>) -> Self {
        Self { log, files, cache: Mutex::default() }
    }

    /// A full segment of a stream. `after` gives the place of the first frame that holds a version after it. Blocks.
    ///
    /// # Errors
    /// When its file is not there and the log cannot be read.
    pub fn full(
        &self,
        stream: StreamId,
        number: u64,
        after: impl FnOnce() -> Result<FramePlace, HistoryError>,
    ) -> Result<Arc<Segment>, HistoryError> {
        if let Some(segment) = self.cache().get(stream, number) {
            return Ok(segment);
        }
        let segment = match self.files.as_ref().map(|files| read_full(files, &*self.log, stream, number)) {
            Some(Ok(segment)) => segment,
            missing => {
                if let Some(Err(error)) = &missing
                    && !error.is_missing()
                {
                    tracing::warn!(%error, "an index of the history is made anew");
                }
                let segment = from_log(&*self.log, stream, number, after()?)?;
                self.write(&segment, stream);
                segment
            }
        };
        let segment = Arc::new(segment);
        self.cache().put(stream, Arc::clone(&segment));
        Ok(segment)
    }

    /// Writes a full segment; whether a file has it now. That it cannot be written costs time later, nothing else.
    pub fn write(&self, segment: &Segment, stream: StreamId) -> bool {
        let Some(files) = &self.files else { return false };
        let name = FileName { kind: Kind::Segment, stream, place: segment.number() };
        let last = segment.frames().last().map_or(Position(0), |frame| frame.position);
        let written = read_frame(&*self.log, stream, last)
            .map_err(std::io::Error::other)
            .and_then(|frame| files.write(name, head_after(last, &frame), &sections(segment)));
        written.inspect_err(|error| tracing::warn!(%error, "an index could not be written")).is_ok()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn get(&mut self, stream: StreamId, number: u64) -> Option<Arc<Segment>> {
        self.tick += 1;
        let (segment, used) = self.held.get_mut(&(stream, number))?;
        *used = self.tick;
        Some(Arc::clone(segment))
    }

    fn put(&mut self, stream: StreamId, segment: Arc<Segment>) {
        self.tick += 1;
        self.bytes += segment.weight();
        if let Some((old, _)) = self.held.insert((stream, segment.number()), (segment, self.tick)) {
            self.bytes -= old.weight();
        }
        while self.bytes > CACHE_BYTES && self.held.len() > 1 {
            let oldest = self.held.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((old, _)) = oldest.and_then(|key| self.held.remove(&key)) else { return };
            self.bytes -= old.weight();
        }
    }
}

/// The sections of a segment's file.
pub(super) fn sections(segment: &Segment) -> Vec<Section> {
    let named = SECTIONS.into_iter().zip(segment.sections());
    named.map(|(name, bytes)| Section { name, projection: SHAPE, bytes }).collect()
}

fn read_full(
    files: &DerivedFiles,
    log: &dyn EventLog,
    stream: StreamId,
    number: u64,
) -> Result<Segment, Unreadable> {
    let file = files.open(FileName { kind: Kind::Segment, stream, place: number }, log)?;
    let segment = decode(&file, number)?;
    if segment.is_full() { Ok(segment) } else { Err(file.damaged("it lacks versions")) }
}

/// The segment in a file.
pub(super) fn decode(file: &DerivedFile, number: u64) -> Result<Segment, Unreadable> {
    let mut sections: [Vec<u8>; 7] = Default::default();
    for (slot, name) in sections.iter_mut().zip(SECTIONS) {
        *slot = file.section(name, SHAPE)?.ok_or_else(|| file.damaged("it has another shape"))?;
    }
    Segment::from_sections(number, &sections).ok_or_else(|| file.damaged("its sections do not agree"))
}

/// Makes a full segment from the log; `after` is the first frame with a version after it.
pub(super) fn from_log(
    log: &dyn EventLog,
    stream: StreamId,
    number: u64,
    after: FramePlace,
) -> Result<Segment, HistoryError> {
    let base = number * SEGMENT_VERSIONS;
    let mut position = after.position;
    if after.first > base + SEGMENT_VERSIONS {
        position = read_frame(log, stream, position)?.header().previous;
    }
    let mut segment = Segment::new(number);
    extend(
        log,
        stream,
        &positions_back(log, stream, position, base)?,
        base + SEGMENT_VERSIONS,
        &mut segment,
    )?;
    Ok(segment)
}

/// The positions of the frames that hold versions after `base`, from one of them back; the newest first.
pub(super) fn positions_back(
    log: &dyn EventLog,
    stream: StreamId,
    from: Position,
    base: Version,
) -> Result<Vec<Position>, HistoryError> {
    let mut positions = Vec::new();
    let mut position = from;
    while position != Position(0) {
        let frame = read_frame(log, stream, position)?;
        if frame.header().last_version() <= base {
            break;
        }
        positions.push(position);
        if frame.header().first_version <= base + 1 {
            break;
        }
        position = frame.header().previous;
    }
    Ok(positions)
}

/// Pushes the events of these frames, given newest first, that come next and not after `until`.
fn extend(
    log: &dyn EventLog,
    stream: StreamId,
    positions: &[Position],
    until: Version,
    segment: &mut Segment,
) -> Result<(), HistoryError> {
    for chunk in positions.rchunks(READ_FRAMES) {
        let chunk: Vec<Position> = chunk.iter().rev().copied().collect();
        for (bytes, position) in log.read_at(&chunk)?.into_iter().zip(chunk) {
            let frame = crate::store::history::parse(stream, bytes)?;
            let header = *frame.header();
            let place = FramePlace { first: header.first_version, position, at: header.at };
            for (index, version) in (0..frame.len()).zip(header.first_version..) {
                if version != segment.version() + 1 || version > until {
                    continue;
                }
                let event = |error| HistoryError::Event { stream, error };
                segment.push(
                    &frame.recorded(index).map_err(event)?,
                    frame.leaf(index).map_err(event)?,
                    place,
                );
            }
        }
    }
    Ok(())
}
