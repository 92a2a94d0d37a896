//! The chunks of a history on their way into its file: a thread of its own packs, hashes and writes one while the next is read.
//! Two wait at most, so memory does not grow with the history.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use super::SnapshotError;
use super::format::{CHUNK_HEADER_BYTES, ChunkEntry, ChunkKind, STORED_BYTES_MAX, length_of};
use super::place::Begun;
use super::priority::give_way;

/// The events are compressed already, what is left is what they share. Level 1 takes twice the time for 3 % less.
const ZSTD_LEVEL: i32 = -3;

/// How many chunks wait to be packed, at most.
const WAITING: usize = 1;

/// A chunk as it was collected.
pub(super) struct Plain {
    pub(super) kind: ChunkKind,
    /// How many frames or heads.
    pub(super) count: u64,
    pub(super) bytes: Vec<u8>,
}

/// What chunks came to, once all of them are written.
pub(super) struct Packed {
    pub(super) file: BufWriter<Box<dyn Begun>>,
    /// The bytes of the chunks as stored.
    pub(super) bytes: u64,
    pub(super) chunks: Vec<ChunkEntry>,
}

/// The thread that packs. It has ended once this is dropped.
pub(super) struct Packing {
    /// `None` once there are no more.
    chunks: Option<SyncSender<Plain>>,
    /// `None` once it has been waited for.
    thread: Option<JoinHandle<Result<Packed, SnapshotError>>>,
}

impl Packing {
    /// Begins to pack into a file, which is at a path.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn begin(file: BufWriter<Box<dyn Begun>>, path: &Path) -> Result<Self, SnapshotError> {
        let (chunks, given) = sync_channel(WAITING);
        let failed = SnapshotError::io("begin to pack", path);
        let at = path.to_owned();
        let packs = move || pack_what_is_given(file, &at, given);
        let thread = thread::Builder::new().name("packing".to_owned()).spawn(packs);
        let thread = thread.map_err(failed)?;
        Ok(Self { chunks: Some(chunks), thread: Some(thread) })
    }

    /// Gives it the next chunk.
    ///
    /// # Errors
    /// Those of the file, of this chunk or one before.
    pub(super) fn give(&mut self, plain: Plain) -> Result<(), SnapshotError> {
        let chunks = self.chunks.as_ref().expect("chunks are given before the end");
        if chunks.send(plain).is_ok() {
            return Ok(());
        }
        match self.end() {
            Err(error) => Err(error),
            Ok(_) => unreachable!("it ends before it is told to on an error alone"),
        }
    }

    /// Waits until all chunks are written.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn finish(mut self) -> Result<Packed, SnapshotError> {
        self.end()
    }

    fn end(&mut self) -> Result<Packed, SnapshotError> {
        self.chunks = None;
        let thread = self.thread.take().expect("it is waited for once");
        thread.join().expect("a thread that packs does not panic")
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        // Whoever gives up sweeps the file away next: nobody may be writing it then.
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _given_up = thread.join();
        }
    }
}

fn pack_what_is_given(
    mut file: BufWriter<Box<dyn Begun>>,
    path: &Path,
    given: Receiver<Plain>,
) -> Result<Packed, SnapshotError> {
    give_way();
    let mut compressor = Compressor::new(ZSTD_LEVEL).map_err(SnapshotError::io("compress", path))?;
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    let mut packed = Vec::with_capacity(STORED_BYTES_MAX);
    for Plain { kind, count, bytes: plain } in given {
        let compressed = compressor.compress_to_buffer(&plain, &mut packed);
        compressed.map_err(SnapshotError::io("compress", path))?;
        let header = chunk_header(kind, packed.len(), plain.len());
        let stored = [&header[..], &packed];
        let sha256 = stored.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
        let length = (header.len() + packed.len()) as u64;
        chunks.push(ChunkEntry { kind, count, bytes: length, sha256: URL_SAFE_NO_PAD.encode(sha256) });
        bytes += length;
        for part in stored {
            file.write_all(part).map_err(SnapshotError::io("write", path))?;
        }
    }
    Ok(Packed { file, bytes, chunks })
}

fn chunk_header(kind: ChunkKind, packed: usize, plain: usize) -> [u8; CHUNK_HEADER_BYTES] {
    let mut header = [kind.byte(); CHUNK_HEADER_BYTES];
    header[1..5].copy_from_slice(&length_of(packed).to_be_bytes());
    header[5..].copy_from_slice(&length_of(plain).to_be_bytes());
    header
}
