//! Writing and reading a history, chunk by chunk: memory does not grow with it. A reader believes nothing that its hash does
//! not vouch for, and takes no length for granted.

use std::io::{self, BufWriter, Write as _};
use std::mem;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::SnapshotError;
use super::format::{
    self, CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkEntry, ChunkKind, END_BYTES, END_MAGIC, FORMAT,
    HEADER_BYTES_MAX, Header, MAGIC, MANIFEST_BYTES_MAX, Manifest, PLAIN_BYTES_MAX, SEAL_BYTES, SEAL_LABEL,
    STORED_BYTES_MAX, StreamHead, length_of,
};
use super::packing::{Packed, Packing, Plain};
use super::place::{Begun, Located, ReadAt};
use crate::log::Position;
use crate::seal::signing::{PublicKey, Signature, Signer};

/// A history being written. Until [`HistoryWriter::finish`] it has another name.
pub struct HistoryWriter {
    at: Located,
    packing: Packing,
    /// Where the first chunk begins.
    chunks_from: u64,
    manifest: Manifest,
    /// The chunk that is being collected.
    plain: Vec<u8>,
    count: u64,
    last: Position,
}

impl HistoryWriter {
    /// Begins one.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn create(at: &Located, header: &Header) -> Result<Self, SnapshotError> {
        let mut file = BufWriter::new(at.create()?);
        let text = serde_json::to_vec(header).expect("plain data with text keys");
        let mut beginning = Vec::new();
        beginning.extend_from_slice(&MAGIC);
        beginning.push(FORMAT);
        beginning.extend_from_slice(&length_of(text.len()).to_be_bytes());
        beginning.extend_from_slice(&text);
        let manifest = Manifest {
            header_sha256: digest_of(&beginning),
            frames: 0,
            events: 0,
            streams: 0,
            chunks: Vec::new(),
        };
        file.write_all(&beginning).map_err(SnapshotError::io("write", at.path()))?;
        Ok(Self {
            at: at.clone(),
            packing: Packing::begin(file, at.path())?,
            chunks_from: beginning.len() as u64,
            manifest,
            plain: Vec::with_capacity(PLAIN_BYTES_MAX),
            count: 0,
            last: Position(0),
        })
    }

    /// Adds a frame of so many events.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn frame(&mut self, position: Position, frame: &[u8], events: u64) -> Result<(), SnapshotError> {
        format::push_frame(self.last, position, frame, &mut self.plain);
        self.last = position;
        self.count += 1;
        self.manifest.frames += 1;
        self.manifest.events += events;
        if self.plain.len() >= CHUNK_BYTES { self.close(ChunkKind::Frames) } else { Ok(()) }
    }

    /// Adds where the streams end, in their order, after the last frame.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn heads(&mut self, heads: &[StreamHead]) -> Result<(), SnapshotError> {
        self.close(ChunkKind::Frames)?;
        for head in heads {
            format::push_head(head, &mut self.plain);
            self.count += 1;
            self.manifest.streams += 1;
            if self.plain.len() >= CHUNK_BYTES {
                self.close(ChunkKind::Heads)?;
            }
        }
        self.close(ChunkKind::Heads)
    }

    /// Writes what vouches for all of it, signed; durable, but under the other name still.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self, signer: &Signer) -> Result<Unfinished, SnapshotError> {
        let Packed { mut file, bytes, chunks } = self.packing.finish()?;
        self.manifest.chunks = chunks;
        let offset = self.chunks_from + bytes;
        let manifest = serde_json::to_vec(&self.manifest).expect("plain data with text keys");
        let mut end = manifest.clone();
        end.extend_from_slice(&signer.public_key().0);
        end.extend_from_slice(&signer.sign(&signed(&manifest)).0);
        let digest = Sha256::digest(&end);
        end.extend_from_slice(&offset.to_be_bytes());
        end.extend_from_slice(&length_of(manifest.len()).to_be_bytes());
        end.extend_from_slice(&digest);
        end.extend_from_slice(&END_MAGIC);
        file.write_all(&end).map_err(SnapshotError::io("write", self.at.path()))?;
        Unfinished::durable(file, self.at, offset + end.len() as u64)
    }

    fn close(&mut self, kind: ChunkKind) -> Result<(), SnapshotError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let bytes = mem::replace(&mut self.plain, Vec::with_capacity(PLAIN_BYTES_MAX));
        self.packing.give(Plain { kind, count: mem::take(&mut self.count), bytes })
    }
}

/// A file that is whole and durable, and has its name yet to come.
pub struct Unfinished {
    at: Located,
    file: Box<dyn Begun>,
    /// How long it is.
    pub bytes: u64,
}

impl Unfinished {
    /// Of a file that was begun, once all of it is durable.
    ///
    /// # Errors
    /// Those of the place.
    pub(super) fn durable(
        file: BufWriter<Box<dyn Begun>>,
        at: Located,
        bytes: u64,
    ) -> Result<Self, SnapshotError> {
        let file = file.into_inner().map_err(|error| error.into_error());
        let finished = file.and_then(|mut file| file.finish().map(|()| file));
        let file = finished.map_err(SnapshotError::io("write", at.path()))?;
        Ok(Self { at, file, bytes })
    }

    /// Gives it its name, durable before this returns.
    ///
    /// # Errors
    /// `Exists` of a file that was begun anew and whose name somebody took meanwhile, and those of the place.
    pub fn publish(self) -> Result<u64, SnapshotError> {
        let Self { at, file, bytes } = self;
        file.publish().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SnapshotError::Exists { path: at.path().to_owned() },
            _ => SnapshotError::io("finish", at.path())(error),
        })?;
        Ok(bytes)
    }
}

/// A history whose header and manifest are what was written.
#[derive(Debug)]
pub struct History {
    at: Located,
    file: Box<dyn ReadAt>,
    /// What it says of itself.
    pub header: Header,
    /// What it holds.
    pub manifest: Manifest,
    /// The key that signed the manifest.
    pub signed_by: PublicKey,
    /// The bytes of the whole file.
    pub bytes: u64,
    /// Where the first chunk begins.
    chunks_from: u64,
}

/// What a chunk holds.
pub enum Chunk {
    /// Frames, in order.
    Frames(Vec<(Position, Bytes)>),
    /// Heads of streams, in order.
    Heads(Vec<StreamHead>),
}

impl History {
    /// Opens one, and checks its end, its manifest and its header.
    ///
    /// # Errors
    /// `Damaged` with the place, `Newer`, `Io`.
    pub fn open(at: &Located) -> Result<Self, SnapshotError> {
        let (path, mut file) = (at.path(), at.open()?);
        let bytes = file.bytes();
        // What a bucket sends with the opening of an object is its end, so that is read first.
        let end = read_end(&mut *file, path, bytes);
        let mut beginning = [0; MAGIC.len() + 1];
        read_at(&mut *file, path, 0, &mut beginning, "its beginning")?;
        if beginning[..MAGIC.len()] != MAGIC {
            return Err(SnapshotError::damaged(path, "its beginning", "it is no history of Settled"));
        }
        if beginning[MAGIC.len()] != FORMAT {
            return Err(SnapshotError::Newer { path: path.to_owned(), format: beginning[MAGIC.len()] });
        }
        let End { manifest, signed_by, offset } = end?;
        let (header, chunks_from) = read_header(&mut *file, path, &manifest)?;
        let chunks: u64 = manifest.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.bytes));
        if chunks_from.checked_add(chunks) != Some(offset) {
            return Err(SnapshotError::damaged(
                path,
                "its manifest",
                "its chunks are not as long as it says",
            ));
        }
        Ok(Self { at: at.clone(), file, header, manifest, signed_by, bytes, chunks_from })
    }

    /// The file.
    pub fn at(&self) -> &Located {
        &self.at
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.at.path()
    }

    /// Gives each chunk to `take`, in order, once its hash has vouched for it.
    ///
    /// # Errors
    /// `Damaged` with the first place that is not what was written, `Io`, and what `take` says.
    pub fn read<E: From<SnapshotError>>(
        &mut self,
        mut take: impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = self.chunks_from;
        let mut last = Position(0);
        let mut stored = Vec::new();
        for (number, entry) in self.manifest.chunks.iter().enumerate() {
            let place = || format!("chunk {} of {} at byte {at}", number + 1, self.manifest.chunks.len());
            let damaged = |what: &str| SnapshotError::damaged(self.at.path(), place(), what);
            let length = usize::try_from(entry.bytes).ok().filter(|bytes| *bytes <= STORED_BYTES_MAX);
            stored.resize(length.ok_or_else(|| damaged("it is longer than a chunk can be"))?, 0);
            read_at(&mut *self.file, self.at.path(), at, &mut stored, &place())?;
            if digest_of(&stored) != entry.sha256 {
                return Err(damaged("its hash is not the one in the manifest").into());
            }
            let plain = unpack(entry, &stored).map_err(damaged)?;
            let chunk = match entry.kind {
                ChunkKind::Frames => format::frames(last, &plain).map(Chunk::Frames),
                ChunkKind::Heads => format::heads(&plain).map(Chunk::Heads),
            };
            let chunk = chunk.ok_or_else(|| damaged("it does not divide into what it holds"))?;
            if chunk.len() as u64 != entry.count {
                return Err(damaged("it holds another number of things than the manifest says").into());
            }
            if let Chunk::Frames(frames) = &chunk {
                last = frames.last().map_or(last, |(position, _)| *position);
            }
            take(chunk)?;
            at += entry.bytes;
        }
        Ok(())
    }
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Frames(frames) => frames.len(),
            Self::Heads(heads) => heads.len(),
        }
    }
}

struct End {
    manifest: Manifest,
    signed_by: PublicKey,
    offset: u64,
}

fn read_end(file: &mut dyn ReadAt, path: &Path, bytes: u64) -> Result<End, SnapshotError> {
    let damaged = |what: &str| SnapshotError::damaged(path, "its end", what);
    let cut = || damaged("it is cut short, or was never finished");
    let end_at = bytes.checked_sub(END_BYTES as u64).ok_or_else(cut)?;
    let mut end = [0; END_BYTES];
    read_at(file, path, end_at, &mut end, "its end")?;
    let (offset, rest) = end.split_first_chunk::<8>().ok_or_else(cut)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let (digest, magic) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    if magic != END_MAGIC {
        return Err(cut());
    }
    let (offset, length) = (u64::from_be_bytes(*offset), u32::from_be_bytes(*length) as usize);
    let whole = end_at.checked_sub(offset).and_then(|whole| usize::try_from(whole).ok());
    let whole = whole.filter(|whole| length <= MANIFEST_BYTES_MAX && *whole == length + SEAL_BYTES);
    let mut vouched = vec![0; whole.ok_or_else(|| damaged("its manifest is not where it says"))?];
    read_at(file, path, offset, &mut vouched, "its manifest")?;
    if Sha256::digest(&vouched)[..] != digest[..] {
        return Err(SnapshotError::damaged(path, "its manifest", "its hash is not the one at its end"));
    }
    let (text, seal) = vouched.split_at(length);
    let manifest = serde_json::from_slice(text)
        .map_err(|error| SnapshotError::damaged(path, "its manifest", error.to_string()))?;
    let signed_by = signed_by(seal, &signed(text))
        .ok_or_else(|| SnapshotError::damaged(path, "its seal", "the signature does not fit"))?;
    Ok(End { manifest, signed_by, offset })
}

/// What is signed of a manifest.
fn signed(manifest: &[u8]) -> Vec<u8> {
    [SEAL_LABEL, &Sha256::digest(manifest)].concat()
}

fn signed_by(seal: &[u8], message: &[u8]) -> Option<PublicKey> {
    let (key, signature) = seal.split_first_chunk()?;
    let (key, signature) = (PublicKey(*key), Signature(signature.try_into().ok()?));
    key.verifies(message, &signature).then_some(key)
}

fn read_header(
    file: &mut dyn ReadAt,
    path: &Path,
    manifest: &Manifest,
) -> Result<(Header, u64), SnapshotError> {
    const FIXED: usize = MAGIC.len() + 1 + 4;
    let damaged = |what: &str| SnapshotError::damaged(path, "its header", what);
    let mut beginning = vec![0; FIXED];
    read_at(file, path, 0, &mut beginning, "its header")?;
    let length =
        u32::from_be_bytes(*beginning.last_chunk().ok_or_else(|| damaged("it is cut short"))?) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(damaged("it is longer than a header can be"));
    }
    beginning.resize(FIXED + length, 0);
    read_at(file, path, 0, &mut beginning, "its header")?;
    if digest_of(&beginning) != manifest.header_sha256 {
        return Err(damaged("its hash is not the one in the manifest"));
    }
    let header = serde_json::from_slice(&beginning[FIXED..]).map_err(|error| damaged(&error.to_string()))?;
    Ok((header, beginning.len() as u64))
}

fn unpack(entry: &ChunkEntry, stored: &[u8]) -> Result<Bytes, &'static str> {
    let (header, packed) = stored.split_first_chunk::<CHUNK_HEADER_BYTES>().ok_or("it is cut short")?;
    let length = |from: usize| {
        header[from..from + 4].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte))
    };
    let (kind, plain) = (header[0], length(5));
    if kind != entry.kind.byte() || length(1) != packed.len() || plain > PLAIN_BYTES_MAX {
        return Err("its own header is not what the manifest says");
    }
    let unpacked = zstd::bulk::decompress(packed, plain).map_err(|_| "it does not unpack")?;
    if unpacked.len() == plain {
        Ok(unpacked.into())
    } else {
        Err("it unpacks to another length than it says")
    }
}

fn read_at(
    file: &mut dyn ReadAt,
    path: &Path,
    at: u64,
    into: &mut [u8],
    place: &str,
) -> Result<(), SnapshotError> {
    file.read_exact_at(at, into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::damaged(path, place, "it is cut short"),
        _ => SnapshotError::io("read", path)(error),
    })
}

fn digest_of(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}
