//! Snapshots that somebody made by hand, from the format alone, and signed: with the store's own key, as whoever has its root
//! key could, or with another. Each is refused with the place that gives it away, nothing is made of it, and no length that it
//! claims is asked of memory.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use settled::ids::Fresh;
use settled::log::Position;
use settled::seal::root::RootKey;
use settled::seal::signing::Signer;
use settled::snapshot::format::{CHUNK_BYTES, ChunkEntry, ChunkKind, Header, Manifest};
use settled::snapshot::history::History;
use settled::snapshot::operating::verify;
use settled::snapshot::restore::{RestoreError, Wanted};
use settled::snapshot::verify::Until;
use settled::snapshot::{SnapshotError, keys_of};
use sha2::{Digest as _, Sha256};

use crate::snapshots::{Place, all, file, given, names};
use crate::test_store::start;

/// A history taken apart, to be put together as it is or otherwise.
#[derive(Clone)]
struct Forged {
    header: Header,
    /// What the header's length says, where that is not its length.
    header_bytes: Option<u32>,
    manifest: Manifest,
    chunks: Vec<Chunk>,
    /// What the manifest's length says, where that is not its length.
    manifest_bytes: Option<u32>,
}

#[derive(Clone)]
struct Chunk {
    kind: ChunkKind,
    count: u64,
    packed: Vec<u8>,
    /// How many plain bytes it says that there are.
    plain_bytes: u32,
}

impl Chunk {
    /// Of plain bytes.
    fn packed(kind: ChunkKind, count: u64, plain: &[u8]) -> Self {
        let packed = zstd::bulk::compress(plain, 1).unwrap();
        Self { kind, count, packed, plain_bytes: plain.len() as u32 }
    }

    /// The same with so many things more, or fewer, in other plain bytes.
    fn change(&mut self, more: i64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut plain = zstd::bulk::decompress(&self.packed, self.plain_bytes as usize).unwrap();
        change(&mut plain);
        *self = Self::packed(self.kind, self.count.checked_add_signed(more).unwrap(), &plain);
    }
}

fn base64_of(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

impl Forged {
    fn of(path: &Path) -> Self {
        let History { header, manifest, .. } = History::open(&file(path)).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let mut at = 13 + u32::from_be_bytes(bytes[9..13].try_into().unwrap()) as usize;
        let mut chunks = Vec::new();
        for entry in &manifest.chunks {
            let stored = &bytes[at..at + entry.bytes as usize];
            let plain_bytes = u32::from_be_bytes(stored[5..9].try_into().unwrap());
            let packed = stored[9..].to_vec();
            chunks.push(Chunk { kind: entry.kind, count: entry.count, packed, plain_bytes });
            at += stored.len();
        }
        Self { header, header_bytes: None, manifest, chunks, manifest_bytes: None }
    }

    /// Puts it together and signs it.
    fn write(&self, path: &Path, signer: &Signer) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let text = serde_json::to_vec(&self.header).unwrap();
        let mut bytes = b"SETLSNAP\x01".to_vec();
        bytes.extend(self.header_bytes.unwrap_or(length(&text)).to_be_bytes());
        bytes.extend(&text);
        let mut manifest =
            Manifest { header_sha256: base64_of(&bytes), chunks: Vec::new(), ..self.manifest.clone() };
        for Chunk { kind, count, packed, plain_bytes } in &self.chunks {
            let mut stored = vec![if *kind == ChunkKind::Frames { b'F' } else { b'H' }];
            stored.extend(length(packed).to_be_bytes());
            stored.extend(plain_bytes.to_be_bytes());
            stored.extend(packed);
            let sha256 = base64_of(&stored);
            manifest.chunks.push(ChunkEntry {
                kind: *kind,
                count: *count,
                bytes: stored.len() as u64,
                sha256,
            });
            bytes.extend(stored);
        }
        let (offset, text) = (bytes.len() as u64, serde_json::to_vec(&manifest).unwrap());
        let mut end = text.clone();
        end.extend(signer.public_key().0);
        end.extend(signer.sign(&[b"settled snapshot 1\0", &Sha256::digest(&text)[..]].concat()).0);
        let digest = Sha256::digest(&end);
        bytes.extend(end);
        bytes.extend(offset.to_be_bytes());
        bytes.extend(self.manifest_bytes.unwrap_or(length(&text)).to_be_bytes());
        bytes.extend(digest);
        bytes.extend(b"SETLDONE");
        std::fs::write(path, bytes).unwrap();
    }

    fn frames(&mut self) -> &mut Chunk {
        self.chunks.iter_mut().find(|chunk| chunk.kind == ChunkKind::Frames).unwrap()
    }

    fn heads(&mut self) -> &mut Chunk {
        self.chunks.iter_mut().find(|chunk| chunk.kind == ChunkKind::Heads).unwrap()
    }
}

/// The bytes of a head.
const HEAD: usize = 16 + 8 + 8 + 16 + 8 + 1 + 32;

/// So many heads of a stream that there is none of.
fn heads_of_nobody(count: usize) -> Vec<u8> {
    [[0xff; 48].as_slice(), &[0; 41]].concat().repeat(count)
}

/// Adds a frame to a chunk: a step, a length, and bytes.
fn add_frame(it: &mut Forged, step: u64, length: u64) {
    it.frames().change(1, |plain| {
        for mut number in [step, length] {
            while number >= 0x80 {
                plain.push(number as u8 | 0x80);
                number >>= 7;
            }
            plain.push(number as u8);
        }
        plain.extend(b"no frame");
    });
}

/// How the memory of this process is at most, since it began.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What is done to a history, in words, and what gives it away.
type Forgery = (&'static str, fn(&mut Forged), &'static str);

/// What is whole by every hash and its signature, and is no history that a store had.
const FORGERIES: [Forgery; 24] = [
    ("a frame too many counted", |it| it.manifest.frames += 1, "counts other frames or events"),
    ("an event too few counted", |it| it.manifest.events -= 1, "counts other frames or events"),
    ("a stream too many counted", |it| it.manifest.streams += 1, "counts other streams"),
    ("a frame too many in a chunk", |it| it.frames().count += 1, "another number of things"),
    ("a head too few in a chunk", |it| it.heads().count -= 1, "another number of things"),
    ("another position", |it| it.header.position += 1, "do not end at the position of its header"),
    ("another epoch", |it| it.header.epoch = "forged".to_owned(), "not those that its keys name"),
    ("another store", |it| it.header.store = Fresh.id(), "not those that its keys name"),
    (
        "frames after the heads",
        |it| {
            let again = it.frames().clone();
            it.chunks.push(again);
        },
        "frames follow the heads",
    ),
    ("heads before the frames", |it| it.chunks.reverse(), "is not what its frames come to"),
    (
        "heads twice",
        |it| {
            let again = it.heads().clone();
            it.chunks.push(again);
        },
        "not in the order of the streams",
    ),
    (
        "a head that is missing",
        |it| it.heads().change(-1, |plain| plain.truncate(plain.len() - HEAD)),
        "more streams than heads",
    ),
    (
        "a head with another hash",
        |it| it.heads().change(0, |plain| plain[16 + 8 + 8] ^= 1),
        "is not what its frames come to",
    ),
    (
        "a head with another root",
        |it| it.heads().change(0, |plain| plain[HEAD - 1] ^= 1),
        "is not that of its events",
    ),
    (
        "half a head",
        |it| it.heads().change(0, |plain| plain.truncate(plain.len() - 1)),
        "does not divide into what it holds",
    ),
    (
        "two thousand chunks with as many heads of nobody as they hold",
        |it| {
            let count = CHUNK_BYTES / HEAD;
            let bomb = Chunk::packed(ChunkKind::Heads, count as u64, &heads_of_nobody(count));
            it.chunks.extend(std::iter::repeat_n(bomb, 2_000));
        },
        "is not what its frames come to",
    ),
    ("a header of 4 GiB", |it| it.header_bytes = Some(u32::MAX), "longer than a header can be"),
    ("a manifest of 4 GiB", |it| it.manifest_bytes = Some(u32::MAX), "its manifest is not where it says"),
    ("a chunk that claims 4 GiB", |it| it.frames().plain_bytes = u32::MAX, "its own header is not"),
    (
        "a chunk that unpacks to 256 MiB",
        |it| {
            let zeros = std::io::Read::take(std::io::repeat(0), 256 << 20);
            let frames = it.frames();
            (frames.packed, frames.plain_bytes) = (zstd::encode_all(zeros, 1).unwrap(), CHUNK_BYTES as u32);
        },
        "it does not unpack",
    ),
    (
        "a chunk that unpacks to less than it says",
        |it| it.frames().plain_bytes += 1,
        "another length than it says",
    ),
    ("a frame that claims 1 TiB", |it| add_frame(it, 1, 1 << 40), "does not divide into what it holds"),
    ("a frame far behind the last", |it| add_frame(it, 1 << 40, 8), "was to follow"),
    ("a frame that is none", |it| add_frame(it, 1, 8), "the frame at position"),
];

#[tokio::test]
async fn what_is_made_by_hand_and_signed_is_refused_with_its_place_and_asks_no_memory() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    let (whole, signer) = (Forged::of(&taken.path), store.store.signer().await.unwrap());
    let path = place.path("forged.settled");
    let keys = keys_of(&path);
    std::fs::copy(keys_of(&taken.path), &keys).unwrap();
    let read = |root: &RootKey| verify(&file(&path), Some((&file(&keys), root)), &mut |_, _| {});
    whole.write(&path, &signer);
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::fs::read(&taken.path).unwrap(),
        "it is put together as it was"
    );
    read(&root).unwrap();

    let refused = |what: &str, told: &str| {
        let before = peak_bytes();
        let error = read(&root).expect_err(what).to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains(told), "{what}: {error}");
        let wanted = Wanted { history: file(&path), keys: Some(file(&keys)), until: None, root: &root };
        let error = place.restore(&wanted, "data", &[]).expect_err(what);
        assert!(names(&error, &path) && error.to_string().contains(told), "{what}: {error}");
        assert!(peak_bytes() - before < 64 << 20, "{what}: it took {} bytes", peak_bytes() - before);
    };
    for (what, forge, told) in FORGERIES {
        let mut forged = whole.clone();
        forge(&mut forged);
        forged.write(&path, &signer);
        refused(what, told);
    }
    // Whole in every way, and signed by somebody else.
    let (other, ..) = given().await;
    whole.write(&path, &other.store.signer().await.unwrap());
    refused("another store's signature", "its history has no such signing key");
    let left = std::fs::read_dir(place.path("data/stores")).unwrap().count();
    assert_eq!(left, 0, "nothing is left of what was refused");
}

#[tokio::test]
async fn a_time_or_a_position_that_a_history_does_not_reach_is_told_from_damage() {
    let (store, _, _) = given().await;
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    let before = start().plus_seconds(-1);
    for until in
        [Until::Time(before), Until::Position(Position(0)), Until::Position(Position(taken.position + 1))]
    {
        let wanted = Wanted { until: Some(until), ..all(&taken, &root) };
        let error = place.restore(&wanted, "data", &[]).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, RestoreError::Snapshot(SnapshotError::OutOfReach { .. })), "{told}");
        assert!(told.contains(&format!("has nothing at {until}")), "{told}");
    }
    let wanted = Wanted { until: Some(Until::Position(Position(1))), ..all(&taken, &root) };
    assert_eq!(place.restore(&wanted, "data", &[]).unwrap().position, 1);
}
