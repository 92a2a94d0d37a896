//! Damaged, hostile and other stores' snapshots: none is accepted, by a verification or by a restore, and each refusal names
//! the file.

use std::path::{Path, PathBuf};

use settled::ids::Fresh;
use settled::seal::root::RootKey;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::history::History;
use settled::snapshot::keys_of;
use settled::snapshot::listing::Listed;
use settled::snapshot::operating::verify;
use settled::snapshot::restore::Wanted;

use crate::scale;
use crate::secrets::Values;
use crate::snapshots::{Place, file, names};
use crate::test_store::TestStore;

/// A small generator: the same damage each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// A snapshot of several chunks: values that do not compress.
async fn taken(place: &Place, name: &str) -> (Listed, RootKey) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let values = Values { store: &store, founded: &founded };
    let at = At { secret: Fresh.id(), scope: Scope::Organization };
    let long = "a long walk by the sea ".repeat(2_500);
    store.execute(&founded, values.create(at, "TOKEN", &long)).await.unwrap();
    for _ in 0..50 {
        store.execute(&founded, values.write(at, &long)).await.unwrap();
    }
    let taken = place.take(&store, name).await;
    (taken, store.store.ring().root())
}

/// The bytes of both files.
#[derive(Clone)]
struct Files {
    history: Vec<u8>,
    keys: Vec<u8>,
}

impl Files {
    fn of(taken: &Listed) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap();
        Self { history: read(&taken.path), keys: read(&keys_of(&taken.path)) }
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, &self.history).unwrap();
        std::fs::write(keys_of(path), &self.keys).unwrap();
    }

    /// Either file.
    fn any(&mut self, random: &mut Random) -> &mut Vec<u8> {
        if random.below(2) == 0 { &mut self.history } else { &mut self.keys }
    }
}

/// Where the chunks of a history lie.
fn chunks(path: &Path) -> Vec<std::ops::Range<usize>> {
    let history = History::open(&file(path)).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let length = u32::from_be_bytes(bytes[9..13].try_into().unwrap()) as usize;
    let mut at = 13 + length;
    let next = |chunk: &settled::snapshot::format::ChunkEntry| {
        let range = at..at + chunk.bytes as usize;
        at = range.end;
        range
    };
    history.manifest.chunks.iter().map(next).collect()
}

#[tokio::test]
async fn no_damaged_snapshot_is_accepted_and_each_refusal_names_the_file() {
    let place = Place::new();
    let (one, root) = taken(&place, "one").await;
    let (other, _) = taken(&place, "other").await;
    let (whole, foreign) = (Files::of(&one), Files::of(&other));
    let chunks = chunks(&one.path);
    assert!(chunks.len() >= 3, "two chunks of frames at least, and one of heads: {chunks:?}");
    let path = place.path("damaged.settled");
    let refused = |what: &str, files: &Files| {
        files.write(&path);
        let keys = keys_of(&path);
        let error = verify(&file(&path), Some((&file(&keys), &root)), &mut |_, _| {}).expect_err(what);
        assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
        let wanted = Wanted { history: file(&path), keys: Some(file(&keys)), until: None, root: &root };
        let error = place.restore(&wanted, "data", &[]).expect_err(what);
        assert!(names(&error, &path), "{what}: {error}");
    };
    whole.write(&path);
    verify(&file(&path), Some((&file(&keys_of(&path)), &root)), &mut |_, _| {}).unwrap();

    let mut random = Random(0x5eed_0007);
    for round in 0..200 * scale() as usize {
        let mut files = whole.clone();
        match round % 8 {
            0..=2 => {
                let bytes = files.any(&mut random);
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
                refused(&format!("a flipped bit at {at}"), &files);
            }
            3 => {
                let bytes = files.any(&mut random);
                let length = random.below(bytes.len());
                bytes.truncate(length);
                refused(&format!("cut to {length} bytes"), &files);
            }
            4 => {
                let bytes = files.any(&mut random);
                let at = random.below(bytes.len() + 1);
                bytes.insert(at, random.below(256) as u8);
                refused(&format!("another byte at {at}"), &files);
            }
            5 => {
                let (a, b) = (random.below(chunks.len()), random.below(chunks.len()));
                let (a, b) = (a.min(b), if a == b { (b + 1) % chunks.len() } else { a.max(b) });
                let (a, b) = (chunks[a.min(b)].clone(), chunks[a.max(b)].clone());
                let mut swapped = files.history[..a.start].to_vec();
                swapped.extend_from_slice(&files.history[b.clone()]);
                swapped.extend_from_slice(&files.history[a.end..b.start]);
                swapped.extend_from_slice(&files.history[a.clone()]);
                swapped.extend_from_slice(&files.history[b.end..]);
                files.history = swapped;
                refused(&format!("chunks {a:?} and {b:?} swapped"), &files);
            }
            6 => {
                let (bytes, from) = match random.below(2) {
                    0 => (&mut files.history, &foreign.history),
                    _ => (&mut files.keys, &foreign.keys),
                };
                let begin = random.below(bytes.len().min(from.len()) - 1);
                let end = begin + 1 + random.below(bytes.len().min(from.len()) - begin);
                if bytes[begin..end] != from[begin..end] {
                    bytes[begin..end].copy_from_slice(&from[begin..end]);
                    refused(&format!("another's bytes {begin}..{end}"), &files);
                }
            }
            _ => {
                let bytes = files.any(&mut random);
                let begin = random.below(bytes.len());
                let end = begin + 1 + random.below(bytes.len() - begin);
                bytes.drain(begin..end);
                refused(&format!("without bytes {begin}..{end}"), &files);
            }
        }
    }
    refused("another's history", &Files { history: foreign.history.clone(), ..whole.clone() });
    refused("another's keys", &Files { keys: foreign.keys.clone(), ..whole.clone() });
    let stores = std::fs::read_dir(place.path("data/stores")).unwrap().count();
    assert_eq!(stores, 0, "nothing is left of what was refused");
}

#[tokio::test]
async fn another_root_key_opens_nothing_and_both_are_named() {
    let place = Place::new();
    let (one, root) = taken(&place, "one").await;
    let another = RootKey::random();
    let keys = keys_of(&one.path);
    let error =
        verify(&file(&one.path), Some((&file(&keys), &another)), &mut |_, _| {}).unwrap_err().to_string();
    for named in [root.fingerprint().to_string(), another.fingerprint().to_string()] {
        assert!(error.contains(&named), "{error}");
    }
    let wanted = Wanted { history: file(&one.path), keys: Some(file(&keys)), until: None, root: &another };
    let error = place.restore(&wanted, "data", &[]).unwrap_err();
    assert!(names(&error, &keys), "{error}");
}

#[tokio::test]
async fn a_later_format_is_told_from_damage() {
    let place = Place::new();
    let (one, root) = taken(&place, "one").await;
    for path in [one.path.clone(), keys_of(&one.path)] {
        let whole = std::fs::read(&path).unwrap();
        let mut newer = whole.clone();
        newer[8] += 2;
        std::fs::write(&path, newer).unwrap();
        let keys: PathBuf = keys_of(&one.path);
        let error =
            verify(&file(&one.path), Some((&file(&keys), &root)), &mut |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("written by a newer Settled"), "{error}");
        std::fs::write(&path, whole).unwrap();
    }
}
