//! What is wrong with a store's key files. It reads, and mends nothing.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::stream_key::{StreamKey, read_key_file};
use crate::ids::StreamId;
use crate::seal::overwriting;
use crate::seal::root::{RootFingerprint, RootKey};
use crate::seal::root_rotation::{self, Roots};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// How many are whole.
    pub whole: u64,
    /// Whether a root key was at hand, to see whether it unwraps them.
    pub unwrapped: bool,
    /// What is wrong, and what to do.
    pub defects: Vec<String>,
    /// What is under way, or was cut off and is finished by the server: rotations.
    pub unfinished: Vec<String>,
    /// Files that no stream of the log needs. A crash while an organization is founded can leave one behind.
    pub stray: Vec<String>,
}

/// Looks at the key file of every stream that the log has, and at what else is in the folder. Of a log that does not
/// open nobody knows the streams: then each file counts for the stream that it is named after. Without a root key
/// only the files' form is checked, and that the platform's root key wraps them all.
pub fn check(directory: &Path, root: Option<&RootKey>, streams: Option<&[StreamId]>) -> KeyFiles {
    match root.map(|root| Roots::find(directory, root)).transpose() {
        Ok(roots) => look(directory, roots.as_ref(), streams),
        Err(error) => {
            let mut found = look(directory, None, streams);
            found.defects.push(error.to_string());
            found
        }
    }
}

/// As [`check`], with root keys that are known to be the folder's, or without any.
pub(super) fn look(directory: &Path, roots: Option<&Roots>, streams: Option<&[StreamId]>) -> KeyFiles {
    let mut found = KeyFiles { unwrapped: roots.is_some(), ..KeyFiles::default() };
    let names = match names(directory) {
        Ok(names) => names,
        Err(error) => {
            found.defects.push(format!("{} could not be read: {error}", directory.display()));
            Vec::new()
        }
    };
    let rotating = names.iter().any(|name| name == root_rotation::NAME);
    if rotating {
        found.unfinished.push("the root key is being rotated".to_owned());
    }
    let mut present = Vec::new();
    for name in names {
        match name.parse::<StreamId>() {
            Ok(stream) if streams.is_none_or(|streams| streams.contains(&stream)) => present.push(stream),
            Ok(_) => found.stray.push(name),
            Err(_) if name == root_rotation::NAME || overwriting::of_leftover(Path::new(&name)).is_some() => {
            }
            Err(_) => found.stray.push(name),
        }
    }
    let platforms = read_key_file(directory, StreamId::Platform).ok().map(|file| file.root);
    for stream in streams.unwrap_or(&present) {
        match look_at(directory, roots, platforms.filter(|_| !rotating), *stream) {
            Ok(Generations::One) => found.whole += 1,
            Ok(Generations::Two) => {
                found.whole += 1;
                found.unfinished.push(format!("the key of {stream} is being rotated"));
            }
            Err(what) => found.defects.push(what),
        }
    }
    found
}

/// How many a key file has.
enum Generations {
    One,
    Two,
}

fn look_at(
    directory: &Path,
    roots: Option<&Roots>,
    platforms: Option<RootFingerprint>,
    stream: StreamId,
) -> Result<Generations, String> {
    let file = read_key_file(directory, stream).map_err(|error| error.to_string())?;
    if let Some(roots) = roots {
        StreamKey::open(directory, &file, roots).map_err(|error| error.to_string())?;
    } else if let Some(platforms) = platforms
        && platforms != file.root
    {
        return Err(format!(
            "the key of {stream} was wrapped by root key {}, the platform's by {platforms}: it is another store's, \
             or of another time; restore it from a snapshot",
            file.root
        ));
    }
    Ok(if file.generations.len() > 1 { Generations::Two } else { Generations::One })
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
