//! Files of wrapped keys: put in their place whole or not at all, and overwritten where they lie when their time is over.
//!
//! A rename alone leaves the old bytes in blocks that are merely free. So the old file keeps a second name until zeros
//! have been written over it and synced; whatever a crash leaves under such a name, [`sweep`] makes up for. Where a
//! file system or a disk keeps older versions of its own accord (copy on write, a journal of data, snapshots of a
//! volume, flash that moves blocks), no program can reach those.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::private;

/// What a new file is called until it is whole, and one that goes from when it does not count any more.
const UNFINISHED: &str = "unfinished";
/// The second name of a file that gives way to a new one.
const REPLACED: &str = "replaced";

/// Puts a file of mode 0600 in place of what may be there, durable before this returns, and overwrites the old one.
///
/// # Errors
/// Those of the file system. There is the old or the new file then, and repeating this is safe.
pub(super) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    sweep(path)?;
    let unfinished = path.with_added_extension(UNFINISHED);
    let mut file = private::options().write(true).create_new(true).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    replace(path)
}

/// Puts a file that is whole and synced under its name and `unfinished` in place of what may be there, and overwrites that.
///
/// # Errors
/// As [`put`].
pub(super) fn replace(path: &Path) -> io::Result<()> {
    let unfinished = path.with_added_extension(UNFINISHED);
    match fs::hard_link(path, path.with_added_extension(REPLACED)) {
        // Durable before the rename, or a crash after it could leave the old bytes without a name.
        Ok(()) => sync_folder_of(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(&unfinished, path)?;
    sync_folder_of(path)?;
    sweep(path)
}

/// Overwrites and removes what a [`put`] left that did not come to its end. Where there is nothing, nothing is done.
///
/// # Errors
/// Those of the file system.
pub(super) fn sweep(path: &Path) -> io::Result<()> {
    let replaced = path.with_added_extension(REPLACED);
    match (identity(path)?, identity(&replaced)?) {
        // It died before the rename: both are names of the file that still counts.
        (Some(current), Some(other)) if current == other => {
            fs::remove_file(&replaced)?;
            sync_folder_of(path)?;
        }
        (Some(_), Some(_)) => wipe(&replaced)?,
        // A file that is gone for another reason may be mended from the second name; or there is none.
        (None, _) | (_, None) => {}
    }
    let unfinished = path.with_added_extension(UNFINISHED);
    if identity(&unfinished)?.is_some() { wipe(&unfinished) } else { Ok(()) }
}

/// Takes a file away, and overwrites it: after a crash it is there as it was, or not at all, and never half overwritten.
///
/// # Errors
/// Those of the file system; repeating this is safe.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    sweep(path)?;
    let going = path.with_added_extension(UNFINISHED);
    fs::rename(path, &going)?;
    // Durable before its bytes go, or a crash after it could give them their name back.
    sync_folder_of(path)?;
    wipe(&going)
}

/// Overwrites and removes a file that nobody goes on with, and what was left of replacing it; gives whether there was any
/// of that.
///
/// # Errors
/// Those of the file system; repeating this is safe.
pub(super) fn remove_all(path: &Path) -> io::Result<bool> {
    let mut found = false;
    for path in [path, &path.with_added_extension(REPLACED), &path.with_added_extension(UNFINISHED)] {
        match wipe(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            wiped => {
                wiped?;
                found = true;
            }
        }
    }
    Ok(found)
}

/// Writes zeros over a file where it lies, and removes it; durable before this returns. Nothing reads a file of its name.
///
/// # Errors
/// Those of the file system; the file is still there then.
fn wipe(path: &Path) -> io::Result<()> {
    zero(path)?;
    fs::remove_file(path)?;
    sync_folder_of(path)
}

/// Writes zeros over a file where it lies, durable before this returns.
///
/// # Errors
/// Those of the file system.
pub(super) fn zero(path: &Path) -> io::Result<()> {
    let mut file = private::options().write(true).open(path)?;
    let length = file.metadata()?.len();
    io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
    file.sync_all()
}

/// The file that a leftover belongs to; `None` for any other path.
pub(super) fn of_leftover(path: &Path) -> Option<PathBuf> {
    let extension = path.extension()?;
    (extension == UNFINISHED || extension == REPLACED).then(|| path.with_extension(""))
}

/// Makes a created, renamed or removed name durable.
///
/// # Errors
/// Those of the file system.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// What tells a file from every other; `None` if there is none of the name.
fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A folder with a file `key` of these bytes, and the file, which stays open whatever becomes of its name.
    fn given(bytes: &[u8]) -> (tempfile::TempDir, PathBuf, File) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        put(&path, bytes).expect("put");
        let file = File::open(&path).expect("it is there");
        (folder, path, file)
    }

    fn bytes_of(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().expect("open").len() as usize];
        file.read_exact_at(&mut bytes, 0).expect("read");
        bytes
    }

    #[test]
    fn the_old_bytes_are_overwritten_where_they_lay() {
        let (folder, path, old) = given(b"an old key");
        put(&path, b"a new one").expect("put");
        assert_eq!(fs::read(&path).expect("there"), b"a new one");
        assert_eq!(bytes_of(&old), [0; 10]);
        assert_eq!(names(folder.path()), ["key"]);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn a_removed_file_is_overwritten_and_gone() {
        let (folder, path, old) = given(&[7; 10_000]);
        remove(&path).expect("removed");
        assert_eq!(bytes_of(&old), [0; 10_000]);
        assert!(names(folder.path()).is_empty());
        assert_eq!(remove(&path).expect_err("it is not there").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_a_crash_left_while_it_was_removed_goes_with_the_next_sweep() {
        let (folder, path, old) = given(b"the key");
        fs::rename(&path, path.with_added_extension(UNFINISHED)).expect("renamed");
        sweep(&path).expect("swept");
        assert_eq!(bytes_of(&old), [0; 7]);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_that_has_two_names_before_the_rename_keeps_its_bytes() {
        let (folder, path, file) = given(b"the key");
        fs::hard_link(&path, path.with_added_extension(REPLACED)).expect("linked");
        fs::write(path.with_added_extension(UNFINISHED), b"the next").expect("written");
        let next = File::open(path.with_added_extension(UNFINISHED)).expect("there");
        sweep(&path).expect("swept");
        assert_eq!((bytes_of(&file), bytes_of(&next)), (b"the key".to_vec(), vec![0; 8]));
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn a_file_that_was_replaced_before_a_crash_is_overwritten_after_it() {
        let (folder, path, _) = given(b"the new key");
        let replaced = path.with_added_extension(REPLACED);
        fs::write(&replaced, b"the old key").expect("written");
        let old = File::open(&replaced).expect("there");
        sweep(&path).expect("swept");
        sweep(&path).expect("there is nothing left to do");
        assert_eq!(bytes_of(&old), [0; 11]);
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn a_second_name_whose_first_is_gone_is_left_alone() {
        let (folder, path, _) = given(b"the key");
        fs::rename(&path, path.with_added_extension(REPLACED)).expect("renamed");
        sweep(&path).expect("swept");
        assert_eq!(names(folder.path()), ["key.replaced"]);
    }

    #[test]
    fn of_a_file_that_nobody_goes_on_with_nothing_is_left_whatever_replacing_it_left() {
        let (folder, path, file) = given(b"the key");
        assert!(!remove_all(&folder.path().join("another")).expect("there is none"));
        fs::write(path.with_added_extension(REPLACED), b"the old key").expect("written");
        fs::hard_link(&path, path.with_added_extension(UNFINISHED)).expect("linked");
        let old = File::open(path.with_added_extension(REPLACED)).expect("there");
        assert!(remove_all(&path).expect("removed"));
        assert_eq!((bytes_of(&file), bytes_of(&old)), (vec![0; 7], vec![0; 11]));
        assert!(names(folder.path()).is_empty());
        fs::write(path.with_added_extension(REPLACED), b"the old key").expect("written");
        assert!(remove_all(&path).expect("removed") && names(folder.path()).is_empty());
    }

    #[test]
    fn leftovers_are_told_by_their_names() {
        let of = |name: &str| of_leftover(Path::new(name));
        for leftover in ["keys/org_1.replaced", "keys/org_1.unfinished"] {
            assert_eq!(of(leftover), Some(PathBuf::from("keys/org_1")));
        }
        assert_eq!((of("keys/org_1"), of("keys/org_1.old"), of("keys/replaced")), (None, None, None));
    }

    #[test]
    fn no_link_is_followed_to_somebody_elses_file() {
        let (folder, path, _) = given(b"the key");
        let victim = folder.path().join("victim");
        fs::write(&victim, b"theirs").expect("written");
        std::os::unix::fs::symlink(&victim, path.with_added_extension(REPLACED)).expect("linked");
        sweep(&path).expect_err("a link is not opened");
        let mut theirs = String::new();
        File::open(&victim).expect("there").read_to_string(&mut theirs).expect("read");
        assert_eq!(theirs, "theirs");
    }
}
