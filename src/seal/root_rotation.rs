//! The file `keys/rotation`: there while the stream keys move from one root key to another. How it is laid out, and what
//! either of the two root keys finds in it.
//!
//! ```text
//! format 1 · fingerprint of the root key before 16 · of the one after 16 ·
//!   the one before, wrapped by the one after 80 · the one after, wrapped by the one before 80 · CRC-32 of all before
//! ```
//!
//! Each wraps the other, so that whichever is configured when a rotation was cut off opens every stream's key and can
//! finish it: a server that is started again by itself knows only the old one.

use std::io;
use std::path::{Path, PathBuf};

use crate::seal::keyring::KeyError;
use crate::seal::material::WRAPPED_BYTES;
use crate::seal::overwriting;
use crate::seal::root::{RootFingerprint, RootKey};

/// The file's name in the folder of the streams' keys, where no stream is called so.
pub(super) const NAME: &str = "rotation";

const FORMAT: u8 = 1;
const BODY_BYTES: usize = 1 + 2 * 16 + 2 * WRAPPED_BYTES;

/// The root key that a store's keys are wrapped by; during a rotation some still by the one before it.
pub(super) struct Roots {
    /// What new keys are wrapped by.
    pub(super) current: RootKey,
    /// What the rotation goes away from, while one is under way.
    pub(super) previous: Option<RootKey>,
}

impl Roots {
    /// Those of a folder of key files, by the configured root key.
    ///
    /// # Errors
    /// `NeitherRootKey` where a rotation between two others was cut off, `DamagedFile`, `Io`.
    pub(super) fn find(directory: &Path, configured: &RootKey) -> Result<Self, KeyError> {
        let path = path_in(directory);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { current: configured.clone(), previous: None });
            }
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        let damaged = |what: &str| KeyError::DamagedFile { path: path.clone(), what: what.to_owned() };
        let file = RotationFile::decode(&bytes).map_err(damaged)?;
        let (from, to) = (file.from, file.to);
        let fingerprint = configured.fingerprint();
        let other = if fingerprint == from {
            configured.unwrap_root(to, &file.new)
        } else if fingerprint == to {
            configured.unwrap_root(from, &file.old)
        } else {
            return Err(KeyError::NeitherRootKey { from, to, configured: fingerprint });
        };
        let other = other.ok_or_else(|| damaged("the other root key in it does not open"))?;
        let (previous, current) =
            if fingerprint == from { (configured.clone(), other) } else { (other, configured.clone()) };
        Ok(Self { current, previous: Some(previous) })
    }

    /// The root key of a fingerprint.
    pub(super) fn of(&self, fingerprint: RootFingerprint) -> Option<&RootKey> {
        self.all().find(|root| root.fingerprint() == fingerprint)
    }

    /// The root keys, the one that new keys are wrapped by first.
    pub(super) fn all(&self) -> impl Iterator<Item = &RootKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// Writes down that the root key changes, durable before this returns.
///
/// # Errors
/// Those of the file system; nothing has begun then.
pub(super) fn begin(directory: &Path, old: &RootKey, new: &RootKey) -> io::Result<()> {
    let file = RotationFile {
        from: old.fingerprint(),
        to: new.fingerprint(),
        old: new.wrap_root(old),
        new: old.wrap_root(new),
    };
    overwriting::put(&path_in(directory), &file.encode())
}

/// Takes the file away, bytes and all: the old root key must not open the new one any longer than it has to.
///
/// # Errors
/// Those of the file system; the rotation goes on being one then.
pub(super) fn end(directory: &Path) -> io::Result<()> {
    overwriting::remove(&path_in(directory))
}

/// Where the file is.
pub(super) fn path_in(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RotationFile {
    from: RootFingerprint,
    to: RootFingerprint,
    /// The root key before, wrapped by the one after.
    old: [u8; WRAPPED_BYTES],
    /// The root key after, wrapped by the one before.
    new: [u8; WRAPPED_BYTES],
}

impl RotationFile {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = [&[FORMAT][..], &self.from.0, &self.to.0, &self.old, &self.new].concat();
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, crc) = bytes.split_last_chunk().ok_or("it is cut short")?;
        let body: &[u8; BODY_BYTES] = body.try_into().map_err(|_| "it has another length")?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err("its checksum does not fit");
        }
        if body[0] != FORMAT {
            return Err("its format is unknown: written by a newer Settled?");
        }
        let (from, rest) = body[1..].split_first_chunk().expect("of its length");
        let (to, rest) = rest.split_first_chunk().expect("of its length");
        let (old, new) = rest.split_first_chunk().expect("of its length");
        Ok(Self {
            from: RootFingerprint(*from),
            to: RootFingerprint(*to),
            old: *old,
            new: new.try_into().expect("of its length"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in which a rotation between two root keys is under way.
    fn given() -> (tempfile::TempDir, RootKey, RootKey) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (old, new) = (RootKey::random(), RootKey::random());
        begin(folder.path(), &old, &new).expect("begun");
        (folder, old, new)
    }

    fn fingerprints(roots: &Roots) -> (RootFingerprint, Option<RootFingerprint>) {
        (roots.current.fingerprint(), roots.previous.as_ref().map(RootKey::fingerprint))
    }

    #[test]
    fn either_root_key_finds_the_other() {
        let (folder, old, new) = given();
        for configured in [&old, &new] {
            let roots = Roots::find(folder.path(), configured).expect("found");
            assert_eq!(fingerprints(&roots), (new.fingerprint(), Some(old.fingerprint())));
            assert!(roots.of(old.fingerprint()).is_some() && roots.of(new.fingerprint()).is_some());
            assert!(roots.of(RootKey::random().fingerprint()).is_none());
        }
    }

    #[test]
    fn a_third_root_key_is_refused_by_name() {
        let (folder, old, new) = given();
        let other = RootKey::random();
        let error = Roots::find(folder.path(), &other).err().expect("refused");
        let said = error.to_string();
        for fingerprint in [old.fingerprint(), new.fingerprint(), other.fingerprint()] {
            assert!(said.contains(&fingerprint.to_string()), "{said}");
        }
    }

    #[test]
    fn without_the_file_there_is_the_configured_root_key_alone() {
        let (folder, old, _) = given();
        end(folder.path()).expect("ended");
        let roots = Roots::find(folder.path(), &old).expect("found");
        assert_eq!(fingerprints(&roots), (old.fingerprint(), None));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let (folder, old, new) = given();
        let path = path_in(folder.path());
        let bytes = std::fs::read(&path).expect("there");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            [&old, &new]
                .iter()
                .all(|root| matches!(Roots::find(folder.path(), root), Err(KeyError::DamagedFile { .. })))
        };
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&flipped), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(refused(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn what_is_wrapped_is_authenticated_and_not_only_summed_up() {
        let (folder, old, new) = given();
        let stranger = RootKey::random();
        let mut file =
            RotationFile::decode(&std::fs::read(path_in(folder.path())).expect("there")).expect("whole");
        file.new = old.wrap_root(&stranger);
        overwriting::put(&path_in(folder.path()), &file.encode()).expect("put");
        assert!(matches!(Roots::find(folder.path(), &old), Err(KeyError::DamagedFile { .. })));
        assert!(Roots::find(folder.path(), &new).is_ok(), "the other half is whole");
    }
}
