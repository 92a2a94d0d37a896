//! What is wrong with a store's key files. It reads, and mends nothing.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{read_key_file, unwrap_key_file};
use crate::ids::StreamId;
use crate::seal::root::{RootFingerprint, RootKey};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// How many are whole.
    pub whole: u64,
    /// Whether a root key was at hand, to see whether it unwraps them.
    pub unwrapped: bool,
    /// What is wrong, and what to do.
    pub defects: Vec<String>,
    /// Files that no stream of the log needs. A crash while an organization is founded can leave one behind.
    pub stray: Vec<String>,
}

/// Looks at the key file of every stream that the log has, and at what else is in the folder. Of a log that does not
/// open nobody knows the streams: then each file counts for the stream that it is named after. Without a root key
/// only the files' form is checked, and that the platform's root key wraps them all.
pub fn check(directory: &Path, root: Option<&RootKey>, streams: Option<&[StreamId]>) -> KeyFiles {
    let mut found = KeyFiles { unwrapped: root.is_some(), ..KeyFiles::default() };
    let names = match names(directory) {
        Ok(names) => names,
        Err(error) => {
            found.defects.push(format!("{} could not be read: {error}", directory.display()));
            Vec::new()
        }
    };
    let mut present = Vec::new();
    for name in names {
        match name.parse::<StreamId>() {
            Ok(stream) if streams.is_none_or(|streams| streams.contains(&stream)) => present.push(stream),
            Ok(_) | Err(_) => found.stray.push(name),
        }
    }
    let platforms = read_key_file(directory, StreamId::Platform).ok().map(|file| file.root);
    for stream in streams.unwrap_or(&present) {
        match look_at(directory, root, platforms, *stream) {
            Ok(()) => found.whole += 1,
            Err(what) => found.defects.push(what),
        }
    }
    found
}

fn look_at(
    directory: &Path,
    root: Option<&RootKey>,
    platforms: Option<RootFingerprint>,
    stream: StreamId,
) -> Result<(), String> {
    let file = read_key_file(directory, stream).map_err(|error| error.to_string())?;
    if let Some(root) = root {
        return unwrap_key_file(directory, &file, root).map(drop).map_err(|error| error.to_string());
    }
    match platforms {
        Some(platforms) if platforms != file.root => Err(format!(
            "the key of {stream} was wrapped by root key {}, the platform's by {platforms}: it is another store's, \
             or of another time; restore it from a snapshot",
            file.root
        )),
        Some(_) | None => Ok(()),
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
