//! Files and folders that are ours alone: their modes, and no way to make us use somebody else's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

/// For files of ours: what is made has mode 0600, and no link is followed to somebody else's.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Opens a file to be read that somebody else may have put there, and that is to be read to its end: a pipe or a device is
/// none, and is not waited for.
///
/// # Errors
/// Those of the system; `InvalidInput` of what is no file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

/// The text of a file that nobody else may read or write.
///
/// # Errors
/// Those of the system, and `PermissionDenied` of a file that others may open, or that is none.
pub fn read(path: &Path) -> io::Result<String> {
    let mut file = options().read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file whole or not at all: under another name, synced, renamed, the folder synced. Mode 0600.
///
/// # Errors
/// Those of the system; the old file is still there then.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = dir.join(name);
    let mut file = options().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_dir(dir)
}

/// Gives a file another name, which nothing may have.
///
/// # Errors
/// `AlreadyExists` where something has it, and those of the system; the file has the name from before then.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do it at once: then somebody who takes the name between the two loses.
        Err(Errno::INVAL | Errno::NOSYS) => match to.try_exists()? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Writes a file that is not there yet, mode 0600; durable once [`sync_all_under`] has returned, and not before.
///
/// # Errors
/// Those of the system.
pub fn write_undurably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    options().write(true).create_new(true).open(path)?.write_all(bytes)
}

/// Brings a folder and all that is in it onto the disk at once, however many files that are: whatever else waits to be
/// written to the same file system goes with it.
///
/// # Errors
/// Those of the system.
pub fn sync_all_under(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Makes a folder and those above it, where they are missing, with mode 0700.
///
/// # Errors
/// Those of the system.
pub fn make_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The same, where the folder is missing, with its name durable before this returns.
///
/// # Errors
/// Those of the system.
pub fn make_durable_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_dir_all(path)?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Makes a folder with mode 0700.
///
/// # Errors
/// Those of the system.
pub fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Whether nobody else may look into a folder, or change it.
///
/// # Errors
/// Those of the system, and `NotADirectory` of what is none.
pub fn is_ours_alone(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(metadata.mode() & 0o077 == 0)
}

/// Syncs a folder, so that the names in it are durable. The parent of a bare name, an empty path, is the working directory.
///
/// # Errors
/// Those of the system.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_bare_name_is_the_working_directory() {
        let parent = Path::new("ledger").parent().expect("an empty one");
        sync_dir(parent).expect("the working directory can be synced");
        assert!(sync_dir(Path::new("there/is/none")).is_err());
    }
}
