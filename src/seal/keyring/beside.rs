//! The keys of stores that are not in use: what opens nowhere in the store in use must open nowhere in those that lie beside it.
//! A store that another one took the place of is kept, but no copy in it of what is destroyed later, and no root key that is
//! given up later opens it. One that never came to be is nothing that anybody goes on with.

use std::path::{Path, PathBuf};

use super::rotation::names_in;
use super::stream_key::{StreamKey, path_of, read_key_file};
use super::{KeyError, KeyRing};
use crate::ids::StreamId;
use crate::seal::overwriting;
use crate::seal::root_rotation::{self, Roots};

impl KeyRing {
    /// The same ring, which keeps the folders of keys in mind of all other stores in its data directory.
    pub fn beside(self, folders: Vec<PathBuf>) -> Self {
        Self { beside: folders, ..self }
    }

    /// Overwrites and removes a stream's key in the stores beside this one: copies of data keys lie about there that this
    /// one has destroyed. Gives the files that were there.
    ///
    /// # Errors
    /// `Io`; repeating this is safe.
    pub fn forget_beside(&self, stream: StreamId) -> Result<Vec<PathBuf>, KeyError> {
        let _turn = self.writing();
        let mut gone = Vec::new();
        for folder in &self.beside {
            let path = path_of(folder, stream);
            if remove(&path)? {
                gone.push(path);
            }
        }
        Ok(gone)
    }

    /// Wraps the keys of the stores beside this one by the root key that is rotated to; what is damaged among them is
    /// overwritten and removed. What neither root key of the rotation opens stays. Gives how many were wrapped.
    ///
    /// # Errors
    /// When a file cannot be read or written; repeating this is safe.
    pub fn rewrap_beside(&self) -> Result<usize, KeyError> {
        let _turn = self.writing();
        let roots = self.roots();
        self.beside.iter().try_fold(0, |wrapped, folder| Ok(wrapped + go_over(folder, &roots)?))
    }
}

/// Overwrites every file in the folder of the keys of a store that never came to be.
///
/// # Errors
/// `Io`; repeating this is safe.
pub fn overwrite_all(folder: &Path) -> Result<(), KeyError> {
    for name in names_in(folder)? {
        let path = folder.join(name);
        overwriting::zero(&path).map_err(|source| KeyError::Io { path, source })?;
    }
    Ok(())
}

/// Wraps a folder's keys by the current root key.
fn go_over(folder: &Path, roots: &Roots) -> Result<usize, KeyError> {
    // A rotation of its own may have been cut off there: of its two root keys either opens the other.
    let own = roots.all().filter_map(|root| Roots::find(folder, root).ok()).collect::<Vec<_>>();
    let (mut wrapped, mut left) = (0, Vec::new());
    for name in names_in(folder)? {
        match name.parse::<StreamId>() {
            Ok(stream) => wrapped += usize::from(rewrap(folder, stream, roots, &own)?),
            Err(_) => left.push(folder.join(name)),
        }
    }
    // Only now: until then it is needed. Nobody goes on with what was left of replacing a file.
    let is_rotation = |path: &Path| path.file_name().is_some_and(|name| name == root_rotation::NAME);
    for path in left.iter().filter(|path| is_rotation(path) || overwriting::of_leftover(path).is_some()) {
        remove(path)?;
    }
    Ok(wrapped)
}

fn rewrap(folder: &Path, stream: StreamId, roots: &Roots, own: &[Roots]) -> Result<bool, KeyError> {
    let current = &roots.current;
    let open = || {
        let file = read_key_file(folder, stream)?;
        let opens = std::iter::once(roots).chain(own).find(|roots| roots.of(file.root).is_some());
        match opens.filter(|_| file.root != current.fingerprint()) {
            Some(roots) => StreamKey::open(folder, &file, roots).map(Some),
            None => Ok(None),
        }
    };
    match open() {
        Ok(None) => Ok(false),
        Ok(Some(key)) => key.write(folder, current).map(|()| true),
        Err(KeyError::DamagedFile { path, .. }) => remove(&path).map(|_| false),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> Result<bool, KeyError> {
    overwriting::remove_all(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;

    use super::super::tests::{PLATFORM, Store, organization};
    use super::*;
    use crate::seal::root::RootKey;
    use crate::seal::root_rotation::begin;

    /// A store in use, one that it took the place of, and a stream that both have.
    fn given() -> (Store, Store, StreamId) {
        let (store, mut replaced) = (Store::with_platform(), Store::with_platform());
        replaced.root = store.root.clone();
        let stream = organization();
        for store in [&store, &replaced] {
            fs::remove_file(store.keys().join("platform")).expect("there");
            let ring = store.ring();
            ring.create_stream_key(PLATFORM).expect("created");
            ring.create_stream_key(stream).expect("created");
        }
        (store, replaced, stream)
    }

    fn ring(store: &Store, replaced: &Store) -> KeyRing {
        store.ring().beside(vec![replaced.keys(), replaced.keys().join("nobody")])
    }

    fn opens(store: &Store, root: &RootKey, stream: StreamId) -> bool {
        let (folder, roots) = (store.keys(), Roots { current: root.clone(), previous: None });
        StreamKey::read(&folder, &roots, stream).is_ok()
    }

    #[test]
    fn a_streams_key_goes_beside_and_stays_here_and_all_others_stay_everywhere() {
        let (store, replaced, stream) = given();
        let ring = ring(&store, &replaced);
        let path = replaced.keys().join(stream.to_string());
        fs::copy(&path, path.with_added_extension("replaced")).expect("copied");
        let file = fs::File::open(&path).expect("there");
        assert_eq!(ring.forget_beside(stream).expect("gone"), [path]);
        assert!(
            io::Read::bytes(file).all(|byte| byte.expect("read") == 0),
            "it was overwritten where it lay"
        );
        assert_eq!(names_in(&replaced.keys()).expect("listed"), ["platform"]);
        assert!(opens(&store, &store.root(), stream) && opens(&replaced, &store.root(), PLATFORM));
        assert!(ring.forget_beside(stream).expect("there is none").is_empty());
    }

    #[test]
    fn what_a_crash_left_of_replacing_a_key_is_swept_beside_too() {
        let (store, replaced, stream) = given();
        let left = replaced.keys().join("platform.replaced");
        fs::write(&left, "an old key").expect("written");
        let file = fs::File::open(&left).expect("there");
        ring(&store, &replaced).sweep().expect("swept");
        assert!(!left.exists());
        assert!(
            io::Read::bytes(file).all(|byte| byte.expect("read") == 0),
            "it was overwritten where it lay"
        );
        assert!([PLATFORM, stream].into_iter().all(|stream| opens(&replaced, &store.root(), stream)));
    }

    #[test]
    fn a_root_key_that_is_given_up_opens_nothing_beside_and_the_new_one_all_that_was_whole() {
        let (store, replaced, stream) = given();
        let (old, new, ring) = (store.root(), RootKey::random(), ring(&store, &replaced));
        let damaged = organization();
        fs::write(replaced.keys().join(damaged.to_string()), "damaged").expect("written");
        fs::write(replaced.keys().join("platform.unfinished"), "half").expect("written");
        ring.begin_root_rotation(new.clone()).expect("begun");
        assert_eq!(ring.rewrap_beside().expect("wrapped"), 2);
        assert_eq!(ring.rewrap_beside().expect("they are already"), 0);
        for stream in [PLATFORM, stream] {
            assert!(opens(&replaced, &new, stream) && !opens(&replaced, &old, stream));
        }
        assert_eq!(names_in(&replaced.keys()).expect("listed").len(), 2);
    }

    #[test]
    fn a_rotation_that_was_cut_off_beside_leaves_no_root_key_of_before() {
        let (store, replaced, stream) = given();
        let (before, new, ring) = (RootKey::random(), RootKey::random(), ring(&store, &replaced));
        // It was under way from another root key to the one of now, and the stream's key was to come.
        begin(&replaced.keys(), &before, &store.root()).expect("begun");
        let roots = Roots { current: store.root(), previous: None };
        let key = StreamKey::read(&replaced.keys(), &roots, stream).expect("there");
        key.write(&replaced.keys(), &before).expect("written");
        ring.begin_root_rotation(new.clone()).expect("begun");
        assert_eq!(ring.rewrap_beside().expect("wrapped"), 2);
        assert!(opens(&replaced, &new, PLATFORM) && opens(&replaced, &new, stream));
        assert!(!replaced.keys().join("rotation").exists());
    }

    #[test]
    fn what_is_wrapped_by_the_root_key_of_nobody_stays() {
        let (store, replaced, stream) = given();
        let (theirs, ring) = (RootKey::random(), ring(&store, &replaced));
        let roots = Roots { current: store.root(), previous: None };
        let key = StreamKey::read(&replaced.keys(), &roots, stream).expect("there");
        key.write(&replaced.keys(), &theirs).expect("written");
        ring.begin_root_rotation(RootKey::random()).expect("begun");
        assert_eq!(ring.rewrap_beside().expect("wrapped"), 1);
        assert!(opens(&replaced, &theirs, stream));
    }
}
