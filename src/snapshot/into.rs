//! Which folders a store is restored into: empty ones, and data directories. What is somebody else's is left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::data_dir::{OPERATOR_TOKEN, SNAPSHOTS};

/// What lies in a data directory, also in one that has no store yet; and what an empty file system has.
const OURS: [&str; 11] = [
    "ballast",
    "current",
    "lock",
    "lost+found",
    OPERATOR_TOKEN,
    "operator.sock",
    "root.key",
    "server.json",
    "setup-token",
    SNAPSHOTS,
    "stores",
];

/// A folder that no store is restored into.
#[derive(Debug, thiserror::Error)]
pub enum UnfitFolder {
    /// It is somebody else's.
    #[error(
        "{} has {name} in it and is no data directory: a store is restored into an empty folder, or one of Settled's \
         own", folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What else is in it.
        name: String,
    },
    /// It lies within a data directory.
    #[error("{} lies within the data directory {}", folder.display(), within.display())]
    Nested {
        /// The folder.
        folder: PathBuf,
        /// The data directory.
        within: PathBuf,
    },
    /// It could not be looked at.
    #[error("could not look at {}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Whether a store may be restored into a folder, which need not be there. Nothing is made.
///
/// # Errors
/// See [`UnfitFolder`].
pub fn look_at(folder: &Path) -> Result<(), UnfitFolder> {
    let failed = |source| UnfitFolder::Io { folder: folder.to_owned(), source };
    // A link into a data directory leads there, too.
    let whole = folder.canonicalize().or_else(|_| std::path::absolute(folder)).map_err(failed)?;
    let is_data_dir = |folder: &&Path| folder.join("stores").is_dir() && folder.join("current").exists();
    if let Some(within) = whole.ancestors().skip(1).find(is_data_dir) {
        return Err(UnfitFolder::Nested { folder: folder.to_owned(), within: within.to_owned() });
    }
    if !folder.try_exists().map_err(failed)? || folder.join("stores").is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !OURS.contains(&&*name) {
            return Err(UnfitFolder::Foreign { folder: folder.to_owned(), name });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_folders_and_data_directories_are_fit() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| place.path().join(name);
        look_at(&path("new/and/deep")).expect("it is made");
        fs::create_dir(path("empty")).expect("made");
        fs::write(path("empty/root.key"), b"a key").expect("written");
        look_at(&path("empty")).expect("a root key alone is what one brings along");
        fs::write(path("empty/thesis.txt"), b"theirs").expect("written");
        let error = look_at(&path("empty")).expect_err("somebody's").to_string();
        assert!(error.contains("thesis.txt"), "{error}");

        fs::create_dir_all(path("data/stores/store_1")).expect("made");
        fs::write(path("data/current"), b"store_1").expect("written");
        fs::write(path("data/notes.txt"), b"theirs").expect("written");
        look_at(&path("data")).expect("a store has been there");
        for nested in ["data/new", "data/stores/store_1", "data/stores/new"] {
            assert!(matches!(look_at(&path(nested)), Err(UnfitFolder::Nested { .. })), "{nested}");
        }
        std::os::unix::fs::symlink(path("data/stores"), path("link")).expect("linked");
        assert!(matches!(look_at(&path("link")), Err(UnfitFolder::Nested { .. })));
    }
}
