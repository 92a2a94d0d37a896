//! A thief who has every byte of a data directory and its root key, knows the formats, and tries each place of each file
//! for a wrapped key. Written from the formats alone, with the cipher and nothing of ours around it.

use std::collections::BTreeMap;
use std::path::Path;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use settled::ids::{DataKeyId, StreamId};

type Key = [u8; 64];

/// A wrapped key: the tag and the ciphertext.
const WRAPPED: usize = 80;
/// More generations than any test comes to.
const GENERATIONS: std::ops::RangeInclusive<u32> = 1..=9;

/// A sealed value, and where it stands.
#[derive(Clone, Debug)]
pub struct Loot {
    pub stream: StreamId,
    pub resource_type: String,
    pub resource_id: String,
    pub field: String,
    pub key: DataKeyId,
    /// format ‖ nonce ‖ tag ‖ ciphertext.
    pub data: Vec<u8>,
}

/// What the thief has.
pub struct Thief {
    root: Key,
    files: Vec<Vec<u8>>,
    /// What follows a generation's number, as every wrapped key does.
    places: Vec<(u32, [u8; WRAPPED])>,
}

impl Thief {
    /// Takes every file of a folder, and the root key as the text of its file.
    pub fn of(dir: &Path, root: &str) -> Self {
        let mut files = Vec::new();
        gather(dir, &mut files);
        Self::with(files, root)
    }

    /// Takes the image of a whole disk.
    pub fn of_image(image: &Path, root: &str) -> Self {
        Self::with(vec![std::fs::read(image).expect("the image can be read")], root)
    }

    fn with(files: Vec<Vec<u8>>, root: &str) -> Self {
        let (_, encoded) = root.trim().split_once(':').expect("the text of a root key");
        let root = URL_SAFE_NO_PAD.decode(encoded).expect("base64url").try_into().expect("64 bytes");
        let places = files.iter().flat_map(|file| places(file)).collect();
        Self { root, files, places }
    }

    /// Every key that a stream ever had and that is still to be found, by its generation.
    pub fn stream_keys(&self, stream: StreamId) -> BTreeMap<u32, Key> {
        let mut cipher = Aes256Siv::new(&self.root.into());
        let mut found = BTreeMap::new();
        for (generation, place) in &self.places {
            let headers: [&[u8]; 3] =
                [b"settled stream key 1", &stream.to_bytes(), &generation.to_be_bytes()];
            found.extend(unwrap(&mut cipher, &headers, place).map(|key| (*generation, key)));
        }
        found
    }

    /// Every copy of a data key that can be unwrapped by any of these stream keys.
    pub fn data_keys(&self, stream: StreamId, id: DataKeyId, by: &BTreeMap<u32, Key>) -> Vec<Key> {
        let mut found = Vec::new();
        for (generation, key) in by {
            let mut cipher = Aes256Siv::new(key.into());
            let places = self.places.iter().filter(|(of, _)| of == generation);
            found.extend(
                places.filter_map(|(_, place)| data_key(&mut cipher, stream, id, *generation, place)),
            );
        }
        found
    }

    /// The same at every single place, whatever stands before it; or at one of seventeen.
    pub fn data_keys_anywhere(
        &self,
        stream: StreamId,
        id: DataKeyId,
        by: &BTreeMap<u32, Key>,
        all: bool,
    ) -> Vec<Key> {
        let every = if all { 1 } else { 17 };
        let mut found = Vec::new();
        for (generation, key) in by {
            let mut cipher = Aes256Siv::new(key.into());
            let places = self.files.iter().flat_map(|file| file.windows(WRAPPED)).step_by(every);
            // What begins with so many zeros was never written, and is no tag.
            let written = places.filter(|place| place[..8] != [0; 8]);
            found.extend(written.filter_map(|place| data_key(&mut cipher, stream, id, *generation, place)));
        }
        found
    }

    /// What a value is, if any copy of its key can be had.
    pub fn opens(&self, loot: &Loot) -> Option<Vec<u8>> {
        let by = self.stream_keys(loot.stream);
        let keys = self.data_keys(loot.stream, loot.key, &by);
        keys.iter().find_map(|key| open(key, loot))
    }
}

fn places(file: &[u8]) -> Vec<(u32, [u8; WRAPPED])> {
    let mut found = Vec::new();
    for at in 0..file.len().saturating_sub(3 + WRAPPED) {
        if file[at + 3] != 0 && file[at..at + 3] == [0; 3] && GENERATIONS.contains(&u32::from(file[at + 3])) {
            let place = file[at + 4..][..WRAPPED].try_into().expect("of its length");
            found.push((u32::from(file[at + 3]), place));
        }
    }
    found
}

/// A value that opens under a key, as it was padded.
pub fn open(key: &Key, loot: &Loot) -> Option<Vec<u8>> {
    let (format, rest) = loot.data.split_first()?;
    let (nonce, ciphertext) = rest.split_at_checked(16)?;
    let (stream, id) = (loot.stream.to_string(), loot.key.to_string());
    let headers: [&[u8]; 7] = [
        &[*format],
        stream.as_bytes(),
        loot.resource_type.as_bytes(),
        loot.resource_id.as_bytes(),
        loot.field.as_bytes(),
        id.as_bytes(),
        nonce,
    ];
    Aes256Siv::new(key.into()).decrypt(headers, ciphertext).ok()
}

fn data_key(
    cipher: &mut Aes256Siv,
    stream: StreamId,
    id: DataKeyId,
    generation: u32,
    place: &[u8],
) -> Option<Key> {
    let id = id.uuid();
    let headers: [&[u8]; 4] =
        [b"settled data key 1", &stream.to_bytes(), id.as_bytes(), &generation.to_be_bytes()];
    unwrap(cipher, &headers, place)
}

fn unwrap(cipher: &mut Aes256Siv, headers: &[&[u8]], wrapped: &[u8]) -> Option<Key> {
    cipher.decrypt(headers, wrapped).ok()?.try_into().ok()
}

fn gather(dir: &Path, files: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, files);
        } else if path.is_file() {
            files.push(std::fs::read(&path).expect("a file of the directory"));
        }
    }
}
