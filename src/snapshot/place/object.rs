//! An object of a bucket, read at whatever byte: some of it at a time, ahead of what is asked for.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _};

use super::ReadAt;
use super::bucket::Client;

/// How much is fetched at a time of what is read on.
const WINDOW_BYTES: u64 = 4 << 20;
/// How much is fetched where nobody read before: a history's header is shorter.
const FIRST_BYTES: u64 = 16 << 10;
/// How much of its end is fetched first, and kept: what a history says of itself is there, and small keys are that long.
const END_BYTES: u64 = 64 << 10;

/// An object as it was when it was opened; one that is replaced meanwhile is not read on.
#[derive(Debug)]
pub(super) struct Object {
    client: Arc<Client>,
    key: Path,
    meta: ObjectMeta,
    end: Piece,
    window: Piece,
}

/// What is in memory of an object.
#[derive(Debug)]
struct Piece {
    at: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// What it has from a byte on.
    fn from(&self, at: u64) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        (from < self.bytes.len()).then(|| self.bytes.slice(from..))
    }
}

impl Object {
    /// Opens one.
    ///
    /// # Errors
    /// `NotFound`, or when it cannot be read.
    pub(super) fn open(client: Arc<Client>, key: Path) -> io::Result<Self> {
        let options = GetOptions { range: Some(GetRange::Suffix(END_BYTES)), ..GetOptions::default() };
        let (meta, range, bytes) = fetch(&client, &key, options)?;
        let window = Piece { at: meta.size, bytes: Bytes::new() };
        Ok(Self { client, key, meta, end: Piece { at: range.start, bytes }, window })
    }

    /// Fetches a window of what is before its end, from a byte on.
    fn fetch(&mut self, at: u64, wanted: u64) -> io::Result<()> {
        let length = if at == self.window.end() { WINDOW_BYTES } else { FIRST_BYTES.max(wanted) };
        let options = GetOptions {
            range: Some(GetRange::Bounded(at..self.end.at.min(at + length))),
            if_match: self.meta.e_tag.clone(),
            ..GetOptions::default()
        };
        // The one before is given up first: there is one of them in memory.
        self.window.bytes = Bytes::new();
        let (_, range, bytes) = fetch(&self.client, &self.key, options)?;
        self.window = Piece { at: range.start, bytes };
        Ok(())
    }
}

impl ReadAt for Object {
    fn bytes(&self) -> u64 {
        self.meta.size
    }

    fn read_exact_at(&mut self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            if at >= self.meta.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let in_memory = |object: &Self| object.end.from(at).or_else(|| object.window.from(at));
            let found = match in_memory(self) {
                Some(found) => found,
                None => {
                    self.fetch(at, into.len() as u64)?;
                    in_memory(self).ok_or(io::ErrorKind::UnexpectedEof)?
                }
            };
            let length = found.len().min(into.len());
            into[..length].copy_from_slice(&found[..length]);
            (at, into) = (at + length as u64, &mut into[length..]);
        }
        Ok(())
    }
}

fn fetch(client: &Client, key: &Path, options: GetOptions) -> io::Result<(ObjectMeta, Range<u64>, Bytes)> {
    client.wait(|| async {
        let got = client.s3.get_opts(key, options.clone()).await?;
        let (meta, range) = (got.meta.clone(), got.range.clone());
        Ok((meta, range, got.bytes().await?))
    })
}
