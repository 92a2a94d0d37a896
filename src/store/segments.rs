//! Full segments of all streams: a bounded memory of their parts, their files, and making one anew from the log where its
//! file is not there. A part is read when somebody asks for it, and no other with it.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::area::Section;
use crate::event::Version;
use crate::ids::StreamId;
use crate::log::segment::encoding::{
    FRAMES, HASHES, OUTLINE, SHAPE, full_frames, postings_weight, read_postings,
};
use crate::log::segment::frames::{FramePlace, Frames};
use crate::log::segment::outline::Outline;
use crate::log::segment::piece::Piece;
use crate::log::segment::search::{Dimension, Mentioned};
use crate::log::segment::tree::Hashes;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, Segment};
use crate::log::{EventLog, Position};
use crate::store::DiskGauge;
use crate::store::batch::head_after;
use crate::store::bounded::Bounded;
use crate::store::derived::file::DerivedFile;
use crate::store::derived::{DerivedFiles, FileName, Kind, Unreadable};
use crate::store::history::{HistoryError, frames_after, read_frame};

/// How much memory outlines take, in bytes. A full segment of executions mentions some 60,000 ids and has up to 30,000 marks, which
/// take 135 KiB: so there is room for those of 120 segments, 8,000,000 events; of other streams for ten times as many.
const OUTLINES_BYTES: usize = 16 << 20;
/// How much the places of frames take: up to 600 KiB a segment, where each event is a frame of its own.
const FRAMES_BYTES: usize = 32 << 20;
/// How much the values of dimensions take: some 100 KiB a segment.
const VALUES_BYTES: usize = 12 << 20;
/// How much pieces of mentions take: some 20 KiB each.
const PIECES_BYTES: usize = 16 << 20;
/// How much hashes take: 16 KiB a segment.
const HASHES_BYTES: usize = 2 << 20;
/// How much whole segments take that were made anew: up to 6 MiB each.
const WHOLE_BYTES: usize = 16 << 20;

/// Which segment.
type Which = (StreamId, u64);

/// Full segments, from memory, from their files, or from the log.
pub struct Segments {
    log: Arc<dyn EventLog>,
    files: Option<DerivedFiles>,
    /// Whether there is so much free disk that files may be written, also by one who only reads.
    disk: DiskGauge,
    outlines: Bounded<Which, Arc<Outline>>,
    frames: Bounded<Which, Arc<Frames>>,
    values: Bounded<(Which, Dimension), Arc<Postings>>,
    pieces: Bounded<(Which, Mentioned, usize), Arc<Piece>>,
    hashes: Bounded<Which, Arc<Hashes>>,
    whole: Bounded<Which, Arc<Segment>>,
}

/// Gives the place of the first frame that holds a version after a segment.
pub type After<'a> = dyn Fn() -> Result<FramePlace, HistoryError> + 'a;

impl Segments {
    /// Over a log and a folder of derived files, if there is one.
    pub fn new(log: Arc<dyn EventLog>, files: Option<DerivedFiles>, disk: DiskGauge) -> Self {
        Self {
            log,
            files,
            disk,
            outlines: Bounded::new(OUTLINES_BYTES),
            frames: Bounded::new(FRAMES_BYTES),
            values: Bounded::new(VALUES_BYTES),
            pieces: Bounded::new(PIECES_BYTES),
            hashes: Bounded::new(HASHES_BYTES),
            whole: Bounded::new(WHOLE_BYTES),
        }
    }

    /// A full segment of a stream, of which no more than its outline is read yet. `after` tells where it ends in the log,
    /// should it have to be made anew. What several ask for is read, or made, once. Blocks, as all that is asked of it does.
    ///
    /// # Errors
    /// When its file is not there and the log cannot be read.
    pub fn full<'a>(
        &'a self,
        stream: StreamId,
        number: u64,
        after: &'a After<'a>,
    ) -> Result<Full<'a>, HistoryError> {
        let source = Source { segments: self, which: (stream, number), after };
        let outline = self.outlines.get_or_make(source.which, || {
            let read = source.read(|file| source.section(file, OUTLINE, Outline::read));
            let outline = match read {
                Some(outline) => outline,
                None => source.whole()?.outline().ok_or(HistoryError::NoSuchVersion {
                    stream,
                    version: (number + 1) * SEGMENT_VERSIONS,
                })?,
            };
            let bytes = outline.weight();
            Ok::<_, HistoryError>((Arc::new(outline), bytes))
        })?;
        Ok(Full { source, outline })
    }

    /// Writes a full segment; whether a file has it now. That it cannot be written costs time later, nothing else.
    pub fn write(&self, segment: &Segment, stream: StreamId) -> bool {
        let Some(files) = self.files.as_ref().filter(|_| (self.disk)()) else { return false };
        let last = segment.frames().last().map_or(Position(0), |frame| frame.position);
        let written = read_frame(&*self.log, stream, last).map_err(std::io::Error::other).and_then(|frame| {
            let name = name((stream, segment.number()));
            files.write(name, head_after(last, &frame), &sections(segment))
        });
        written.inspect_err(|error| tracing::warn!(%error, "an index could not be written")).is_ok()
    }
}

/// Where the parts of a full segment come from.
struct Source<'a> {
    segments: &'a Segments,
    which: Which,
    after: &'a After<'a>,
}

/// A full segment, to be looked into.
pub struct Full<'a> {
    source: Source<'a>,
    outline: Arc<Outline>,
}

impl Full<'_> {
    /// The version before its first.
    pub fn base(&self) -> Version {
        self.source.which.1 * SEGMENT_VERSIONS
    }

    /// What is known of it without reading more.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The places of its frames.
    ///
    /// # Errors
    /// As [`Segments::full`].
    pub fn frames(&self) -> Result<Arc<Frames>, HistoryError> {
        let number = self.source.which.1;
        let read = |file: &DerivedFile| self.source.section(file, FRAMES, |bytes| full_frames(number, bytes));
        let kept = &self.source.segments.frames;
        self.source.part(kept, self.source.which, read, |segment| segment.frames().clone(), Frames::weight)
    }

    /// Its versions by the values of a dimension.
    ///
    /// # Errors
    /// As [`Segments::full`].
    pub fn postings(&self, dimension: Dimension) -> Result<Arc<Postings>, HistoryError> {
        let section = dimension.section();
        let read = |file: &DerivedFile| {
            self.source.section(file, section, |bytes| read_postings(SEGMENT_VERSIONS as u32, bytes))
        };
        let take = |segment: &Segment| segment.postings(dimension).clone();
        let (kept, key) = (&self.source.segments.values, (self.source.which, dimension));
        self.source.part(kept, key, read, take, postings_weight)
    }

    /// The hashes of its leaves' trees.
    ///
    /// # Errors
    /// As [`Segments::full`].
    pub fn hashes(&self) -> Result<Arc<Hashes>, HistoryError> {
        let read = |file: &DerivedFile| {
            self.source.section(file, HASHES, |bytes| Hashes::read(SEGMENT_VERSIONS as usize, bytes))
        };
        let kept = &self.source.segments.hashes;
        self.source.part(kept, self.source.which, read, |segment| segment.hashes().clone(), Hashes::weight)
    }

    /// The versions that mention something, as offsets from [`base`](Self::base) + 1. That there are none it mostly knows without
    /// reading anything.
    ///
    /// # Errors
    /// As [`Segments::full`].
    pub fn mentioning(&self, mentioned: Mentioned, name: &str) -> Result<RoaringBitmap, HistoryError> {
        let Some(number) = self.outline.piece(mentioned, name) else { return Ok(RoaringBitmap::new()) };
        let source = &self.source;
        let piece = source.segments.pieces.get_or_make((source.which, mentioned, number), || {
            let read = source.read(|file| {
                let bytes =
                    file.piece(mentioned.section(), SHAPE, number)?.ok_or_else(|| file.of_another_build())?;
                let piece = Piece::read(SEGMENT_VERSIONS as u32, bytes);
                piece.ok_or_else(|| file.damaged("its mentions are none"))
            });
            let piece = read.ok_or(NotInAFile)?;
            let bytes = piece.weight();
            Ok::<_, NotInAFile>((Arc::new(piece), bytes))
        });
        match piece {
            Ok(piece) => Ok(piece.get(name).unwrap_or_default()),
            Err(NotInAFile) => Ok(source.whole()?.mentioning(mentioned, name)),
        }
    }
}

/// No file has what is asked for.
struct NotInAFile;

impl Source<'_> {
    /// A part: kept, read from the file, or taken out of the segment as it is made anew.
    fn part<K: Ord + Clone, T>(
        &self,
        kept: &Bounded<K, Arc<T>>,
        key: K,
        read: impl Fn(&DerivedFile) -> Result<T, Unreadable>,
        take: impl Fn(&Segment) -> T,
        weigh: fn(&T) -> usize,
    ) -> Result<Arc<T>, HistoryError> {
        kept.get_or_make(key, || {
            let part = match self.read(read) {
                Some(part) => part,
                None => take(&*self.whole()?),
            };
            let bytes = weigh(&part);
            Ok((Arc::new(part), bytes))
        })
    }

    /// Reads something of the file; `None` where the segment is in memory or has no file that can be believed.
    fn read<T>(&self, read: impl Fn(&DerivedFile) -> Result<T, Unreadable>) -> Option<T> {
        let files = self.segments.files.as_ref()?;
        if self.segments.whole.get(&self.which).is_some() {
            return None;
        }
        let name = name(self.which);
        let read = files.open(name, &*self.segments.log).and_then(|file| read(&file));
        read.inspect_err(|error| {
            files.pass_over(name, error);
        })
        .ok()
    }

    /// What is read of a section.
    fn section<T>(
        &self,
        file: &DerivedFile,
        section: &'static str,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Unreadable> {
        let bytes = file.section(section, SHAPE)?.ok_or_else(|| file.of_another_build())?;
        read(&bytes).ok_or_else(|| file.damaged("a section is not that of a full segment"))
    }

    /// The segment, made anew from the log, and its file with it.
    fn whole(&self) -> Result<Arc<Segment>, HistoryError> {
        let (stream, number) = self.which;
        self.segments.whole.get_or_make(self.which, || {
            let segment = from_log(&*self.segments.log, stream, number, (self.after)()?)?;
            self.segments.write(&segment, stream);
            let bytes = segment.weight();
            Ok((Arc::new(segment), bytes))
        })
    }
}

fn name((stream, number): Which) -> FileName {
    FileName { kind: Kind::Segment, stream, place: number }
}

/// The sections of a segment's file.
pub(super) fn sections(segment: &Segment) -> Vec<Section> {
    let sections = segment.sections().into_iter();
    sections.map(|(name, bytes)| Section { name, projection: SHAPE, bytes }).collect()
}

/// The segment in a file, as a whole.
pub(super) fn decode(file: &DerivedFile, number: u64) -> Result<Segment, Unreadable> {
    let segment = Segment::from_sections(number, |name| {
        let pieces = file.pieces(name, SHAPE)?;
        if pieces.is_empty() { Err(file.of_another_build()) } else { Ok(pieces) }
    })?;
    segment.ok_or_else(|| file.damaged("its sections do not agree"))
}

/// The hashes in the file of a stream's first segment, which has the versions up to one and is not full.
pub(super) fn open_hashes(file: &DerivedFile, version: Version) -> Result<Hashes, Unreadable> {
    let bytes = file.section(HASHES, SHAPE)?.ok_or_else(|| file.of_another_build())?;
    let hashes = usize::try_from(version).ok().and_then(|count| Hashes::read(count, &bytes));
    hashes.ok_or_else(|| file.damaged("its hashes are not those of its versions"))
}

/// The first section of a file that is another than a segment's.
pub(super) fn differing(file: &DerivedFile, segment: &Segment) -> Result<Option<&'static str>, Unreadable> {
    let sections = segment.sections();
    for same in sections.chunk_by(|(one, _), (next, _)| one == next) {
        let (name, found) = (same[0].0, file.pieces(same[0].0, SHAPE)?);
        if found.is_empty() {
            return Err(file.of_another_build());
        }
        if !found.iter().eq(same.iter().map(|(_, bytes)| bytes)) {
            return Ok(Some(name));
        }
    }
    Ok(None)
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
