//! Derived files: what is computed from the log once and kept beside it. Immutable, checksummed, versioned, each
//! deletable at any time: whoever misses one folds the log instead.
//!
//! ```text
//! derived/directory-<position>            the directory and every stream's head
//! derived/<stream>/savepoint-<version>    the state at that version, a section an area
//! derived/<stream>/segment-<number>       the index of 65,536 versions
//! derived/<stream>/open-<version>         the index of the versions after the last segment, up to that one
//! ```
//! A file is written under another name and renamed, and never synced: after a power cut it may be torn, which its
//! checksums tell, and then it is ignored, and said. Each names the last frame that it was made of, its *anchor*: a
//! log that has another frame there is not the one that it was made of. What a file holds is the business of who
//! writes it; here is only its form:
//!
//! ```text
//! magic (8) ‖ format (1) ‖ kind (1) ‖ store (16) ‖ stream (16) ‖ place
//!   ‖ the anchor: version ‖ position ‖ at, µs ‖ hash (16)
//!   ‖ count of sections ‖ of each: length of its name ‖ name ‖ number ‖ length ‖ checksum (16)
//!   ‖ checksum of all that precedes (16) ‖ the sections, each compressed alone
//! ```
//! Integers are varints; a checksum is the first half of a SHA-256. Sections of one name and number are the pieces of one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::area::Section;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{StoreId, StreamId};
use crate::log::frame::frame_hash;
use crate::log::{EventLog, FrameHash, Head, Position, ReadError};
use crate::store::derived::file::{DerivedFile, Entry, MAX_SECTION_BYTES, checksum};
use crate::varint::{self, Malformed, Reader};

pub mod file;

const MAGIC: &[u8; 8] = b"settled\xd1";
const FORMAT: u8 = 1;
/// Level 3 halves what level 1 leaves of maps with alike keys; files are written in the background.
const COMPRESSION_LEVEL: i32 = 3;
/// The longest header: some 150 sections of a name, three varints and a checksum.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// What is wrong with a header that another build may read.
const OTHER_FORMAT: &str = "its format is another build's";

/// The kinds of derived files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The directory at a position of the log.
    Directory,
    /// A stream's state at a version.
    Savepoint,
    /// The index of a full segment.
    Segment,
    /// The index of the versions that do not fill a segment yet.
    Open,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Directory => 1,
            Self::Savepoint => 2,
            Self::Segment => 3,
            Self::Open => 4,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Directory => "directory-",
            Self::Savepoint => "savepoint-",
            Self::Segment => "segment-",
            Self::Open => "open-",
        }
    }
}

/// Which derived file: its kind, whose it is, and the version, position or number in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileName {
    /// The kind.
    pub kind: Kind,
    /// The stream; the directory stands under the platform's.
    pub stream: StreamId,
    /// A savepoint's version, a segment's number, the directory's position.
    pub place: u64,
}

/// A derived file that is not there or cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Another build wrote it, and may read it again.
    #[error("{} has another build's format", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The log does not tell whether it has the frame that the file was made of.
    #[error("{} cannot be held against the log", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ReadError,
    },
}

impl Unreadable {
    /// Whether there is simply no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The folder of a store's derived files.
#[derive(Clone, Debug)]
pub struct DerivedFiles {
    dir: PathBuf,
    store: StoreId,
    /// One file is written at a time: unfinished ones of a kind share their name, and the saver is not the only one who
    /// writes (whoever misses a segment makes it anew).
    writing: Arc<Mutex<()>>,
    mending: bool,
}

impl DerivedFiles {
    /// The derived files in a store's folder for them, to look at: what is damaged stays as it is, for whoever wants to
    /// know what is wrong with it.
    pub fn new(dir: impl Into<PathBuf>, store: StoreId) -> Self {
        Self { dir: dir.into(), store, writing: Arc::default(), mending: false }
    }

    /// The same for whoever serves the store: what is found damaged is removed, since nobody will ever read it.
    pub fn mending(self) -> Self {
        Self { mending: true, ..self }
    }

    /// Where files of a kind are.
    pub(super) fn folder(&self, kind: Kind, stream: StreamId) -> PathBuf {
        match kind {
            Kind::Directory => self.dir.clone(),
            Kind::Savepoint | Kind::Segment | Kind::Open => self.dir.join(stream.to_string()),
        }
    }

    /// Where a file is.
    pub fn path(&self, name: FileName) -> PathBuf {
        self.folder(name.kind, name.stream).join(format!("{}{}", name.kind.prefix(), name.place))
    }

    /// The places of a stream's files of a kind, in order.
    ///
    /// # Errors
    /// When the folder is there and cannot be read.
    pub fn places(&self, kind: Kind, stream: StreamId) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(self.folder(kind, stream)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut places = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let place = name.to_str().and_then(|name| name.strip_prefix(kind.prefix()));
            places.extend(place.and_then(|place| place.parse::<u64>().ok()));
        }
        places.sort_unstable();
        Ok(places)
    }

    /// Writes a file whole under another name and gives it its own; how many bytes it has. Blocks.
    ///
    /// # Errors
    /// When it cannot be written; nothing has changed then but for the unfinished file, which the next write replaces.
    pub fn write(&self, name: FileName, anchor: Head, sections: &[Section]) -> io::Result<u64> {
        let mut table = Vec::with_capacity(256);
        table.extend_from_slice(MAGIC);
        table.extend_from_slice(&[FORMAT, name.kind.number()]);
        table.extend_from_slice(self.store.uuid().as_bytes());
        table.extend_from_slice(&name.stream.to_bytes());
        varint::write(name.place, &mut table);
        varint::write(anchor.version, &mut table);
        varint::write(anchor.position.0, &mut table);
        varint::write(anchor.at.micros().unsigned_abs(), &mut table);
        table.extend_from_slice(&anchor.hash.0);
        varint::write(sections.len() as u64, &mut table);
        let mut body = Vec::new();
        for section in sections {
            if section.bytes.len() > MAX_SECTION_BYTES {
                // It would be there and never be read.
                return Err(io::Error::other(format!("the section {} is larger than 1 GiB", section.name)));
            }
            let stored = zstd::bulk::compress(&section.bytes, COMPRESSION_LEVEL)?;
            varint::write(section.name.len() as u64, &mut table);
            table.extend_from_slice(section.name.as_bytes());
            varint::write(section.projection.into(), &mut table);
            varint::write(stored.len() as u64, &mut table);
            table.extend_from_slice(&checksum(&stored));
            body.extend_from_slice(&stored);
        }
        let sum = checksum(&table);
        table.extend_from_slice(&sum);
        table.extend_from_slice(&body);

        let folder = self.folder(name.kind, name.stream);
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let unfinished = folder.join(format!("unfinished-{}", name.kind.prefix().trim_end_matches('-')));
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        io::Write::write_all(&mut file, &table)?;
        fs::rename(&unfinished, self.path(name))?;
        Ok(table.len() as u64)
    }

    /// Opens a file and believes its header, if the log has the frame that it was made of.
    ///
    /// # Errors
    /// When it is not there, or not what its name says, or of another log.
    pub fn open(&self, name: FileName, log: &dyn EventLog) -> Result<DerivedFile, Unreadable> {
        let file = self.open_of_any_log(name)?;
        match is_of(log, file.anchor()) {
            Ok(true) => Ok(file),
            Ok(false) => Err(file.damaged("the log has another frame where it ends")),
            Err(source) => Err(Unreadable::Log { path: file.path().to_owned(), source }),
        }
    }

    /// Opens a file and believes its header, before there is a log to hold it against.
    ///
    /// # Errors
    /// When it is not there, or not what its name says.
    pub fn open_of_any_log(&self, name: FileName) -> Result<DerivedFile, Unreadable> {
        let path = self.path(name);
        let read = || -> io::Result<(File, Vec<u8>)> {
            let file = File::open(&path)?;
            let mut head = vec![0; MAX_HEADER_BYTES];
            let mut length = 0;
            while length < head.len() {
                match file.read_at(&mut head[length..], length as u64)? {
                    0 => break,
                    more => length += more,
                }
            }
            head.truncate(length);
            Ok((file, head))
        };
        let (file, head) = read().map_err(|source| Unreadable::Io { path: path.clone(), source })?;
        match self.header(name, &head) {
            Ok((anchor, sections)) => Ok(DerivedFile::new(path, file, anchor, sections)),
            Err(what) if what == OTHER_FORMAT => Err(Unreadable::Format { path }),
            Err(what) => Err(Unreadable::Damaged { path, what }),
        }
    }

    fn header(&self, name: FileName, head: &[u8]) -> Result<(Head, Vec<Entry>), &'static str> {
        let early = |_: Malformed| "its header ends early";
        let mut reader = Reader(head);
        if reader.array().map_err(early)? != *MAGIC {
            return Err("it is not a derived file");
        }
        let [format, kind] = reader.array().map_err(early)?;
        if format != FORMAT {
            return Err(OTHER_FORMAT);
        }
        let store: [u8; 16] = reader.array().map_err(early)?;
        let stream: [u8; 16] = reader.array().map_err(early)?;
        let place = reader.varint().map_err(early)?;
        if store != *self.store.uuid().as_bytes() {
            return Err("it belongs to another store");
        }
        if (kind, stream, place) != (name.kind.number(), name.stream.to_bytes(), name.place) {
            return Err("it is another file than its name says");
        }
        let version = reader.varint().map_err(early)?;
        let position = Position(reader.varint().map_err(early)?);
        let at = Timestamp::from_micros(i64::try_from(reader.varint().map_err(early)?).unwrap_or(i64::MAX));
        let hash = FrameHash(reader.array().map_err(early)?);
        let count = reader.size().map_err(early)?;
        let mut sections = Vec::new();
        let mut begin = 0_u64;
        for _ in 0..count {
            let length = reader.size().map_err(early)?;
            let name = std::str::from_utf8(reader.bytes(length).map_err(early)?);
            let name = name.map_err(|_| "a section's name is no text")?.to_owned();
            let number = u32::try_from(reader.varint().map_err(early)?).map_err(|_| "a section's number")?;
            let length = reader.size().map_err(early)?;
            let checksum = reader.array().map_err(early)?;
            sections.push(Entry { name, number, begin, length, checksum });
            begin = begin.saturating_add(length as u64);
        }
        let table = head.len() - reader.0.len();
        if reader.array().map_err(early)? != checksum(&head[..table]) {
            return Err("its header's checksum does not hold");
        }
        let body = (head.len() - reader.0.len()) as u64;
        sections.iter_mut().for_each(|section| section.begin += body);
        Ok((Head { version, position, hash, at }, sections))
    }

    /// Removes a file; that it is not there is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, name: FileName) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Says that a file could not be read and something else is done instead, and removes it if it is damaged and these
    /// are the files of who serves the store: so it is said once. Whether it is gone. Blocks.
    pub fn pass_over(&self, name: FileName, error: &Unreadable) -> bool {
        let why = with_causes(error);
        match error {
            error if error.is_missing() => true,
            Unreadable::Damaged { .. } if self.mending => match self.remove(name) {
                Ok(()) => {
                    tracing::warn!(%why, "a derived file is removed; what it said is made anew from the log");
                    true
                }
                Err(error) => {
                    tracing::warn!(%why, %error, "a derived file is passed over, and cannot be removed");
                    false
                }
            },
            _ => {
                tracing::warn!(%why, "a derived file is passed over");
                false
            }
        }
    }

    /// Removes all files: what follows them in the log is no longer what they were made of.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    /// The streams that have files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn streams(&self) -> io::Result<Vec<StreamId>> {
        let mut streams = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            streams.extend(name.to_str().and_then(|name| name.parse::<StreamId>().ok()));
        }
        Ok(streams)
    }
}

/// Whether a log has the frame that a file names as the last one that it was made of.
pub fn holds(log: &dyn EventLog, anchor: Head) -> bool {
    is_of(log, anchor).unwrap_or(false)
}

fn is_of(log: &dyn EventLog, anchor: Head) -> Result<bool, ReadError> {
    if anchor.position == Position(0) {
        return Ok(true);
    }
    if anchor.position > log.end() {
        return Ok(false);
    }
    Ok(log.read_at(&[anchor.position])?.iter().all(|frame| frame_hash(frame) == anchor.hash))
}
