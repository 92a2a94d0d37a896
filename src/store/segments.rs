//! Full segments of all streams: a bounded memory of those read last, their files, and making one anew from the log
//! where its file is not there.

use std::sync::Arc;

use crate::area::Section;
use crate::ids::StreamId;
use crate::log::segment::encoding::{SECTIONS, SHAPE};
use crate::log::segment::frames::FramePlace;
use crate::log::segment::{SEGMENT_VERSIONS, Segment};
use crate::log::{EventLog, Position};
use crate::store::DiskGauge;
use crate::store::batch::head_after;
use crate::store::bounded::Bounded;
use crate::store::derived::{DerivedFile, DerivedFiles, FileName, Kind, Unreadable};
use crate::store::history::{HistoryError, frames_after, read_frame};

/// How much memory full segments take, in bytes. One of a busy stream has some 500 KiB. Where every event is about something
/// else, as with executions that begin and end, it is up to 3 MiB: then all of 2,000,000 events fit, and whoever looks for
/// one customer's goes through memory and not through files. Streams of less than a segment, which most are, have none here.
const KEPT_BYTES: usize = 96 << 20;

/// Full segments, from memory, from their files, or from the log.
pub struct Segments {
    log: Arc<dyn EventLog>,
    files: Option<DerivedFiles>,
    /// Whether there is so much free disk that files may be written, also by one who only reads.
    disk: DiskGauge,
    kept: Bounded<(StreamId, u64), Arc<Segment>>,
}

impl Segments {
    /// Over a log and a folder of derived files, if there is one.
    pub fn new(log: Arc<dyn EventLog>, files: Option<DerivedFiles>, disk: DiskGauge) -> Self {
        Self { log, files, disk, kept: Bounded::new(KEPT_BYTES) }
    }

    /// A full segment of a stream. `after` gives the place of the first frame that holds a version after it. One that
    /// several ask for is read, or made anew, once. Blocks.
    ///
    /// # Errors
    /// When its file is not there and the log cannot be read.
    pub fn full(
        &self,
        stream: StreamId,
        number: u64,
        after: impl FnOnce() -> Result<FramePlace, HistoryError>,
    ) -> Result<Arc<Segment>, HistoryError> {
        self.kept.get_or_make((stream, number), || {
            let segment = self.read_or_make(stream, number, after)?;
            let bytes = segment.weight();
            Ok((Arc::new(segment), bytes))
        })
    }

    fn read_or_make(
        &self,
        stream: StreamId,
        number: u64,
        after: impl FnOnce() -> Result<FramePlace, HistoryError>,
    ) -> Result<Segment, HistoryError> {
        if let Some(files) = &self.files {
            match read_full(files, &*self.log, stream, number) {
                Ok(segment) => return Ok(segment),
                Err(error) => {
                    files.pass_over(name(stream, number), &error);
                }
            }
        }
        let segment = from_log(&*self.log, stream, number, after()?)?;
        self.write(&segment, stream);
        Ok(segment)
    }

    /// Writes a full segment; whether a file has it now. That it cannot be written costs time later, nothing else.
    pub fn write(&self, segment: &Segment, stream: StreamId) -> bool {
        let Some(files) = self.files.as_ref().filter(|_| (self.disk)()) else { return false };
        let last = segment.frames().last().map_or(Position(0), |frame| frame.position);
        let written = read_frame(&*self.log, stream, last).map_err(std::io::Error::other).and_then(|frame| {
            files.write(name(stream, segment.number()), head_after(last, &frame), &sections(segment))
        });
        written.inspect_err(|error| tracing::warn!(%error, "an index could not be written")).is_ok()
    }
}

fn name(stream: StreamId, number: u64) -> FileName {
    FileName { kind: Kind::Segment, stream, place: number }
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
    let file = files.open(name(stream, number), log)?;
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
    frames_after(log, stream, base, position, |position, frame| {
        let header = *frame.header();
        let place = FramePlace { first: header.first_version, position, at: header.at };
        for (index, version) in (0..frame.len()).zip(header.first_version..) {
            if version == segment.version() + 1 && !segment.is_full() {
                let hashed = frame.hashed(index);
                let (recorded, leaf) = hashed.map_err(|error| HistoryError::Event { stream, error })?;
                segment.push(&recorded, leaf, place);
            }
        }
        Ok::<_, HistoryError>(())
    })?;
    Ok(segment)
}
