//! An object of a bucket, read at whatever byte: some of it at a time, ahead of what is asked for.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _};

use super::ReadAt;
use super::bucket::Client;

/// How much is fetched at a time.
const WINDOW_BYTES: u64 = 4 << 20;
/// How much of its end is fetched first: what a history says of itself is there, and small keys are that long.
const END_BYTES: u64 = 64 << 10;

/// An object as it was when it was opened; one that is replaced meanwhile is not read on.
#[derive(Debug)]
pub(super) struct Object {
    client: Arc<Client>,
    key: Path,
    meta: ObjectMeta,
    window: Bytes,
    window_at: u64,
}

impl Object {
    /// Opens one.
    ///
    /// # Errors
    /// `NotFound`, or when it cannot be read.
    pub(super) fn open(client: Arc<Client>, key: Path) -> io::Result<Self> {
        let options = GetOptions { range: Some(GetRange::Suffix(END_BYTES)), ..GetOptions::default() };
        let (meta, range, window) = fetch(&client, &key, options)?;
        Ok(Self { client, key, meta, window, window_at: range.start })
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
            let window_end = self.window_at + self.window.len() as u64;
            if !(self.window_at..window_end).contains(&at) {
                let range = at..self.meta.size.min(at + WINDOW_BYTES);
                let options = GetOptions {
                    range: Some(GetRange::Bounded(range)),
                    if_match: self.meta.e_tag.clone(),
                    ..GetOptions::default()
                };
                // The one before is given up first: there is one of them in memory.
                self.window = Bytes::new();
                let (_, range, window) = fetch(&self.client, &self.key, options)?;
                (self.window_at, self.window) = (range.start, window);
            }
            let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
            let found = self.window.get(from..).filter(|found| !found.is_empty());
            let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
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
