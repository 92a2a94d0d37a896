//! Checking derived files: each one read whole and held against what the log gives. It reads, and mends nothing.
//!
//! The log is gone through stream by stream, each once: in memory are one state, one segment and the places of one
//! stream's frames, however many streams there are. What the directory's file should say is gathered on the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::StreamId;
use crate::log::frame::Frame;
use crate::log::segment::Segment;
use crate::log::segment::encoding::HASHES;
use crate::log::segment::frames::FramePlace;
use crate::log::{EventLog, Head, Position};
use crate::store::batch::head_after;
use crate::store::derived::file::DerivedFile;
use crate::store::derived::{DerivedFiles, FileName, Kind, Unreadable};
use crate::store::directory::Directory;
use crate::store::history::{HistoryError, frames_after};
use crate::store::index::StreamIndex;
use crate::store::resident::{View, directory_entries};
use crate::store::savepoint;
use crate::store::segments::differing;

/// What can be done about any of them: answers are right without it.
const REMEDY: &str = "delete it; it is made anew";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedReport {
    /// Files that are what the log gives.
    pub whole: u64,
    /// Files that a build with other projections wrote: nothing reads them, and nothing is wrong with them.
    pub outdated: u64,
    /// What is wrong.
    pub defects: Vec<DerivedDefect>,
    /// Streams whose files could not be held against the log, since it cannot be read there.
    pub unchecked: Vec<String>,
}

/// A derived file that is not what the log gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{file}: {what}: {remedy}")]
pub struct DerivedDefect {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// A file of the directory, and the directory that the log gives up to its place.
struct Saved {
    path: PathBuf,
    place: Position,
    saved: Directory,
    folded: Directory,
}

/// The files of one stream that are whole as files, by their places.
#[derive(Default)]
struct OfStream {
    savepoints: BTreeMap<Version, DerivedFile>,
    segments: BTreeMap<u64, DerivedFile>,
    open: BTreeMap<Version, DerivedFile>,
}

struct Check<'a> {
    files: &'a DerivedFiles,
    log: &'a dyn EventLog,
    report: DerivedReport,
    directories: Vec<Saved>,
}

/// Checks all derived files of a store, also of one that is written to meanwhile: what was there at the beginning is
/// held against the log, and what was replaced since is left out. `progress` hears how many frames were folded. `now`
/// tells which sessions the directory's file may have dropped.
pub fn check(
    files: &DerivedFiles,
    log: &dyn EventLog,
    now: Timestamp,
    mut progress: impl FnMut(u64),
) -> DerivedReport {
    let mut check = Check { files, log, report: DerivedReport::default(), directories: Vec::new() };
    check.directories();
    let mut folded = 0;
    // Before the streams: a folder is made after its stream's first frame.
    let folders = files.streams().unwrap_or_default();
    let streams: Vec<StreamId> = log.streams().into_iter().map(|(stream, _)| stream).collect();
    for stream in &streams {
        let checked = check.stream(*stream, || {
            folded += 1;
            progress(folded);
        });
        if let Err(error) = checked {
            check.report.unchecked.push(format!("{stream}: {}", with_causes(&error)));
        }
    }
    for stray in folders.into_iter().filter(|stream| !streams.contains(stream)) {
        check.wrong(&files.folder(Kind::Savepoint, stray), "no stream of the log is called so");
    }
    check.compare_directories(now);
    check.report
}

impl DerivedReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty() && self.unchecked.is_empty()
    }
}

impl Check<'_> {
    fn wrong(&mut self, path: &Path, what: impl Into<String>) {
        let (file, remedy) = (path.display().to_string(), REMEDY.to_owned());
        self.report.defects.push(DerivedDefect { file, what: what.into(), remedy });
    }

    fn unreadable(&mut self, error: &Unreadable) {
        match error {
            // It was replaced by a newer one.
            error if error.is_missing() => {}
            Unreadable::Io { path, source } => self.wrong(path, format!("it cannot be read: {source}")),
            Unreadable::Damaged { path, what } => self.wrong(path, *what),
            Unreadable::Format { path } => self.wrong(path, "its format is another build's"),
            Unreadable::Log { path, source } => {
                self.wrong(path, format!("it cannot be held against the log: {source}"))
            }
        }
    }

    /// Files of a kind whose checksums and anchors hold.
    fn whole(&mut self, kind: Kind, stream: StreamId) -> BTreeMap<u64, DerivedFile> {
        let places = match self.files.places(kind, stream) {
            Ok(places) => places,
            Err(error) => {
                self.wrong(&self.files.folder(kind, stream), format!("it cannot be read: {error}"));
                Vec::new()
            }
        };
        let mut whole = BTreeMap::new();
        for place in places {
            let file = self.files.open(FileName { kind, stream, place }, self.log);
            match file.and_then(|file| file.verify().map(|()| file)) {
                Ok(file) => drop(whole.insert(place, file)),
                Err(error) => self.unreadable(&error),
            }
        }
        whole
    }

    fn directories(&mut self) {
        for (place, file) in self.whole(Kind::Directory, StreamId::Platform) {
            match Directory::read(&file) {
                Ok(saved) => self.directories.push(Saved {
                    path: file.path().to_owned(),
                    place: Position(place),
                    saved,
                    folded: Directory::default(),
                }),
                Err(error) => self.unreadable(&error),
            }
        }
    }

    fn compare_directories(&mut self, now: Timestamp) {
        if !self.report.unchecked.is_empty() {
            // It is made of all streams, and the log does not tell of one.
            return;
        }
        for Saved { path, saved, folded, .. } in std::mem::take(&mut self.directories) {
            match saved.differs_from(&folded, now) {
                Some(what) => self.wrong(&path, what),
                None => self.report.whole += 1,
            }
        }
    }

    /// Folds a stream, and holds each of its files against what that gives where the file was made.
    fn stream(&mut self, stream: StreamId, mut folded: impl FnMut()) -> Result<(), HistoryError> {
        // The files first: what is there is of events that the log has by now.
        let mut of_stream = OfStream {
            savepoints: self.whole(Kind::Savepoint, stream),
            segments: self.whole(Kind::Segment, stream),
            open: self.whole(Kind::Open, stream),
        };
        let head = self.log.last(stream).unwrap_or_default();
        let mut view = View::empty(stream);
        let mut index = StreamIndex::new(Segment::new(0));
        frames_after(self.log, stream, 0, head.position, |position, frame| {
            view.head = head_after(position, &frame);
            self.fold(&frame, &mut view, &mut index)?;
            self.compare(&view, &mut index, &mut of_stream);
            folded();
            Ok::<_, HistoryError>(())
        })?;
        let OfStream { savepoints, segments, open } = of_stream;
        for file in savepoints.into_values().chain(segments.into_values()).chain(open.into_values()) {
            self.wrong(file.path(), "no frame of the stream ends where it does");
        }
        Ok(())
    }

    fn fold(&self, frame: &Frame, view: &mut View, index: &mut StreamIndex) -> Result<(), HistoryError> {
        let stream = view.stream;
        let place = FramePlace {
            first: frame.header().first_version,
            position: view.head.position,
            at: frame.header().at,
        };
        let mut entries = Vec::new();
        for at in 0..frame.len() {
            let hashed = frame.hashed(at);
            let (recorded, leaf) = hashed.map_err(|error| HistoryError::Event { stream, error })?;
            directory_entries(&recorded, &mut entries);
            view.state.apply(&recorded);
            index.push(&recorded, leaf, place);
        }
        for directory in self.directories.iter().filter(|saved| view.head.position <= saved.place) {
            directory.folded.apply(&[(stream, view.head, &entries)], Timestamp::EPOCH);
        }
        Ok(())
    }

    /// The files that were made where the stream is now.
    fn compare(&mut self, view: &View, index: &mut StreamIndex, of_stream: &mut OfStream) {
        if let Some(file) = of_stream.savepoints.remove(&view.version()) {
            match savepoint::view(view.stream, &file) {
                Ok(Some(saved)) => {
                    let differs = saved.state.digest() != view.state.digest();
                    self.judge(&file, view.head, differs.then_some("its state is not what the log gives"));
                }
                Ok(None) => self.report.outdated += 1,
                Err(error) => self.unreadable(&error),
            }
        }
        for full in index.all_waiting() {
            if let Some(file) = of_stream.segments.remove(&full.number()) {
                self.compare_index(&file, view.head, &full);
            }
            index.written(full.number());
        }
        if let Some(file) = of_stream.open.remove(&view.version()) {
            self.compare_index(&file, view.head, index.open());
        }
    }

    fn compare_index(&mut self, file: &DerivedFile, head: Head, segment: &Segment) {
        let wrong = match differing(file, segment) {
            Ok(None) => None,
            Ok(Some(HASHES)) => Some("its Merkle hashes are not those of the log's events"),
            Ok(Some(_)) => Some("it finds other events than the log has"),
            Err(Unreadable::Format { .. }) => return self.report.outdated += 1,
            Err(error) => return self.unreadable(&error),
        };
        self.judge(file, head, wrong);
    }

    fn judge(&mut self, file: &DerivedFile, head: Head, wrong: Option<&'static str>) {
        if let Some(what) = wrong {
            self.wrong(file.path(), what);
        } else if file.anchor() != head {
            self.wrong(file.path(), "it names another frame than the one that it was made of");
        } else {
            self.report.whole += 1;
        }
    }
}
