//! [`DerivedFile`]: one derived file, and its sections, each of which is read alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::log::Head;
use crate::store::derived::Unreadable;

/// The largest section before compression: beyond any honest one, and a bound for a damaged length.
pub(super) const MAX_SECTION_BYTES: usize = 1 << 30;

/// A file whose header was read and believed.
#[derive(Debug)]
pub struct DerivedFile {
    path: PathBuf,
    file: File,
    anchor: Head,
    sections: Vec<Entry>,
}

/// A section's line in the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) number: u32,
    /// Where it begins in the file.
    pub(super) begin: u64,
    /// Its length as stored.
    pub(super) length: usize,
    pub(super) checksum: [u8; 16],
}

impl DerivedFile {
    /// A file whose header says this.
    pub(super) fn new(path: PathBuf, file: File, anchor: Head, sections: Vec<Entry>) -> Self {
        Self { path, file, anchor, sections }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last frame that it was made of.
    pub fn anchor(&self) -> Head {
        self.anchor
    }

    /// The names of all sections.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|entry| entry.name.as_str())
    }

    /// What a section of that name and number holds; `None` where the file has none such.
    ///
    /// # Errors
    /// When it is there and its checksum does not hold.
    pub fn section(&self, name: &str, number: u32) -> Result<Option<Vec<u8>>, Unreadable> {
        self.piece(name, number, 0)
    }

    /// What one piece of a section that comes in several holds; `None` where the file has no such piece.
    ///
    /// # Errors
    /// When it is there and its checksum does not hold.
    pub fn piece(&self, name: &str, number: u32, piece: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut pieces = self.sections.iter().filter(|entry| entry.name == name && entry.number == number);
        pieces.nth(piece).map(|entry| self.read(entry)).transpose()
    }

    /// All pieces of a section, in order; none where the file has no such section.
    ///
    /// # Errors
    /// When the checksum of one does not hold.
    pub fn pieces(&self, name: &str, number: u32) -> Result<Vec<Vec<u8>>, Unreadable> {
        let pieces = self.sections.iter().filter(|entry| entry.name == name && entry.number == number);
        pieces.map(|entry| self.read(entry)).collect()
    }

    fn read(&self, entry: &Entry) -> Result<Vec<u8>, Unreadable> {
        let damaged = |what| self.damaged(what);
        if entry.length > MAX_SECTION_BYTES {
            return Err(damaged("a section's length"));
        }
        let mut stored = vec![0; entry.length];
        let read = self.file.read_exact_at(&mut stored, entry.begin);
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => damaged("a section ends early"),
            _ => Unreadable::Io { path: self.path.clone(), source },
        })?;
        if checksum(&stored) != entry.checksum {
            return Err(damaged("a section's checksum does not hold"));
        }
        let size = zstd::zstd_safe::get_frame_content_size(&stored).ok().flatten();
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_SECTION_BYTES);
        let bytes = size.and_then(|size| zstd::bulk::decompress(&stored, size).ok());
        bytes.ok_or_else(|| damaged("a section does not decompress"))
    }

    /// The error that says so.
    pub fn damaged(&self, what: &'static str) -> Unreadable {
        Unreadable::Damaged { path: self.path.clone(), what }
    }

    /// The error that says that it lacks a section as this build has it.
    pub fn of_another_build(&self) -> Unreadable {
        Unreadable::Format { path: self.path.clone() }
    }

    /// Reads every section, so that all checksums are held against what is there.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn verify(&self) -> Result<(), Unreadable> {
        self.sections.iter().try_for_each(|entry| self.read(entry).map(drop))
    }
}

/// The first half of a SHA-256.
pub(super) fn checksum(bytes: &[u8]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}
