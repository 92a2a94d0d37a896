//! The place where snapshots lie: a folder, or a bucket of object storage. Whoever writes a snapshot or reads one knows names
//! and bytes alone; nothing has its name before it is whole, wherever it lies.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::snapshot::place::folder::Folder;
use crate::snapshot::place::url::BucketUrl;
use crate::snapshot::{HISTORY, KEYS, SnapshotError};

#[cfg(feature = "s3")]
pub mod bucket;
pub mod folder;
#[cfg(feature = "s3")]
mod object;
#[cfg(feature = "s3")]
mod upload;
pub mod url;

/// Where snapshots lie. All of it blocks.
pub trait Place: fmt::Debug + Send + Sync {
    /// How people find it: the folder's path, or the bucket's URL.
    fn root(&self) -> PathBuf;

    /// How people find a file there.
    fn path(&self, name: &OsStr) -> PathBuf;

    /// The names of all that lies there.
    ///
    /// # Errors
    /// When it cannot be listed; a folder that is not there has nothing in it.
    fn names(&self) -> io::Result<Vec<OsString>>;

    /// Whether a file is there.
    ///
    /// # Errors
    /// When nobody can say.
    fn has(&self, name: &OsStr) -> io::Result<bool>;

    /// Opens a file to be read.
    ///
    /// # Errors
    /// `NotFound`, or when it cannot be read.
    fn open(&self, name: &OsStr) -> io::Result<Box<dyn ReadAt>>;

    /// Begins a file, which gets its name once it is whole.
    ///
    /// # Errors
    /// `AlreadyExists` where somebody else is writing it, or when it cannot be begun.
    fn begin(&self, name: &OsStr, over: Over) -> io::Result<Box<dyn Begun>>;

    /// Removes a file; keys are overwritten as far as that can be.
    ///
    /// # Errors
    /// When it cannot be removed. Repeating this is safe.
    fn remove(&self, name: &OsStr) -> io::Result<()>;

    /// Removes what was left of writing a file, unless somebody is writing it.
    ///
    /// # Errors
    /// When it cannot be removed. Repeating this is safe.
    fn sweep(&self, name: &OsStr) -> io::Result<()>;

    /// Removes what was left of writing any file, likewise.
    ///
    /// # Errors
    /// When something cannot be removed. Repeating this is safe.
    fn sweep_all(&self) -> io::Result<()>;

    /// The bytes that may be written there still; `None` where there is no such bound.
    ///
    /// # Errors
    /// When the system does not say.
    fn free_bytes(&self) -> io::Result<Option<u64>>;

    /// Ends all waiting for it, now and later: the process is about to stop.
    fn give_up(&self) {}
}

/// A file that is read at whatever byte.
pub trait ReadAt: fmt::Debug + Send {
    /// How long it is.
    fn bytes(&self) -> u64;

    /// Fills a piece of memory from a byte on.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond its end, or when it cannot be read.
    fn read_exact_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// What a file that is written may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: what has its name by the time that it is whole stays.
    Nothing,
    /// One that has its name until then.
    TheOneBefore,
}

/// A file being written, which has no name yet.
pub trait Begun: Write + Send {
    /// Makes all that was written durable, as far as that can be without giving it its name.
    ///
    /// # Errors
    /// When it cannot be.
    fn finish(&mut self) -> io::Result<()>;

    /// Gives it its name, durable before this returns.
    ///
    /// # Errors
    /// `AlreadyExists` where something has its name that is to stay, or when it does not get it.
    fn publish(self: Box<Self>) -> io::Result<()>;
}

/// A bucket that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url} cannot be used: {what}")]
pub struct UnusableBucket {
    /// The bucket.
    pub url: BucketUrl,
    /// Why not.
    pub what: String,
}

/// The place that a URL names; without one the folder itself.
///
/// # Errors
/// When the bucket cannot be used.
pub fn place(url: Option<&BucketUrl>, folder: &Path) -> Result<Arc<dyn Place>, UnusableBucket> {
    match url {
        Some(url) => bucket(url, folder),
        None => Ok(Arc::new(Folder(folder.to_owned()))),
    }
}

/// The bucket of a URL, by the credentials in the environment (`AWS_…`). Nothing is asked of it yet. What was begun there is
/// noted in a folder, so that a crash leaves nothing that nobody knows of.
///
/// # Errors
/// When there are no credentials, or this build knows no object storage.
#[cfg(feature = "s3")]
pub fn bucket(url: &BucketUrl, notes: &Path) -> Result<Arc<dyn Place>, UnusableBucket> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("AWS_"))?;
        Some((name, value.into_string().ok()?))
    });
    Ok(Arc::new(bucket::Bucket::connect(url, variables, notes, bucket::Patience::default())?))
}

/// As with the feature `s3`, without which there is no bucket.
///
/// # Errors
/// Always.
#[cfg(not(feature = "s3"))]
pub fn bucket(url: &BucketUrl, _notes: &Path) -> Result<Arc<dyn Place>, UnusableBucket> {
    Err(UnusableBucket { url: url.clone(), what: "this build was made without the feature s3".to_owned() })
}

/// A file of a snapshot: a place, and the name there.
#[derive(Clone, Debug)]
pub struct Located {
    place: Arc<dyn Place>,
    name: OsString,
    path: PathBuf,
}

impl From<&Path> for Located {
    fn from(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = Folder(folder.unwrap_or(Path::new(".")).to_owned());
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { place: Arc::new(folder), name, path: path.to_owned() }
    }
}

impl Located {
    /// The file of a name.
    pub fn new(place: &Arc<dyn Place>, name: impl Into<OsString>) -> Self {
        let name = name.into();
        Self { place: Arc::clone(place), path: place.path(&name), name }
    }

    /// The place where it lies.
    pub fn place(&self) -> &Arc<dyn Place> {
        &self.place
    }

    /// How people find it: its path, or its URL.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the keys of this history are, unless somebody says otherwise.
    pub fn keys(&self) -> Self {
        let of = |path: &Path| path.with_added_extension(KEYS);
        Self { place: Arc::clone(&self.place), name: of(Path::new(&self.name)).into(), path: of(&self.path) }
    }

    /// The history that these keys belong to.
    pub fn history(&self) -> Self {
        let of = |path: &Path| path.with_extension("");
        Self { place: Arc::clone(&self.place), name: of(Path::new(&self.name)).into(), path: of(&self.path) }
    }

    /// Whether it is called as histories are.
    pub fn is_history(&self) -> bool {
        has_extension(Path::new(&self.name), HISTORY)
    }

    /// Whether it is called as keys are.
    pub fn is_keys(&self) -> bool {
        is_keys(Path::new(&self.name))
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When nobody can say.
    pub fn exists(&self) -> Result<bool, SnapshotError> {
        self.place.has(&self.name).map_err(SnapshotError::io("look for", &self.path))
    }

    /// The bytes that may be written where it lies still; `None` where there is no such bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn free_bytes(&self) -> Result<Option<u64>, SnapshotError> {
        self.place.free_bytes().map_err(SnapshotError::io("ask for the free space of", &self.place.root()))
    }

    /// Opens it to be read at whatever byte.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub fn open(&self) -> Result<Box<dyn ReadAt>, SnapshotError> {
        self.place.open(&self.name).map_err(SnapshotError::io("open", &self.path))
    }

    /// Begins it where nothing has its name.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub(super) fn create(&self) -> Result<Box<dyn Begun>, SnapshotError> {
        self.is_free()?;
        self.begin(Over::Nothing)
    }

    /// That nothing has its name.
    ///
    /// # Errors
    /// `Exists`, or when nobody can say.
    pub(super) fn is_free(&self) -> Result<(), SnapshotError> {
        match self.exists()? {
            true => Err(SnapshotError::Exists { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Begins what takes its place, which it keeps until then.
    ///
    /// # Errors
    /// Those of the place.
    pub(super) fn replace(&self) -> Result<Box<dyn Begun>, SnapshotError> {
        self.begin(Over::TheOneBefore)
    }

    fn begin(&self, over: Over) -> Result<Box<dyn Begun>, SnapshotError> {
        self.sweep()?;
        self.place.begin(&self.name, over).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SnapshotError::UnderWay { path: self.path.clone() },
            _ => SnapshotError::io("begin", &self.path)(error),
        })
    }

    /// Removes it; keys are overwritten as far as that can be.
    ///
    /// # Errors
    /// Those of the place. Repeating this is safe.
    pub fn remove(&self) -> Result<(), SnapshotError> {
        self.place.remove(&self.name).map_err(SnapshotError::io("remove", &self.path))
    }

    /// Removes what was left of writing it.
    ///
    /// # Errors
    /// Those of the place. Repeating this is safe.
    pub(super) fn sweep(&self) -> Result<(), SnapshotError> {
        self.place.sweep(&self.name).map_err(SnapshotError::io("sweep", &self.path))
    }
}

fn is_keys(name: &Path) -> bool {
    has_extension(name, KEYS) && has_extension(&name.with_extension(""), HISTORY)
}

fn has_extension(name: &Path, extension: &str) -> bool {
    name.extension().is_some_and(|has| has == extension)
}

/// A file from its first byte to its last.
#[derive(Debug)]
pub struct Sequential {
    file: Box<dyn ReadAt>,
    at: u64,
}

impl From<Box<dyn ReadAt>> for Sequential {
    fn from(file: Box<dyn ReadAt>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.bytes().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = into.len().min(left);
        self.file.read_exact_at(self.at, &mut into[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}
