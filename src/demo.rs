//! The demo: an organization with a year of history that comes with the program as a snapshot, so that a newcomer has something
//! to look around in. Its root key, password and API key are in every copy of the program: they protect nothing. `cargo xtask
//! demo` makes it anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::ids::SnapshotId;
use crate::open::{DirError, root_key};
use crate::private;
use crate::seal::Plain;
use crate::seal::root::RootKey;
use crate::snapshot::place::Located;
use crate::snapshot::restore::{RestoreError, Wanted, restore_under};
use crate::snapshot::{HISTORY, KEYS};

/// The address that the organization's Owner logs in with.
pub const EMAIL: &str = "ada@example.com";

/// Their password.
pub const PASSWORD: &str = "a long walk by the sea";

/// An API key of the organization, for a workflow.
pub const API_KEY: &str = "fastn_test_PublicDemoKeyOfEveryCopy0000003hXsaU";

/// The environment that the key reads.
pub const ENVIRONMENT: &str = "staging";

/// A time in the middle of its history.
pub const HALF_WAY: &str = "2026-06-01T00:00:00Z";

/// What says of a data directory that a demo is in it.
const MARKER: &str = "demo";

/// Both files of the snapshot, and the root key that wraps its keys.
const FILES: Files = Files {
    history: include_bytes!("../snapshots/demo.settled"),
    keys: include_bytes!("../snapshots/demo.settled.keys"),
    root_key: include_str!("../snapshots/demo.root.key"),
};

struct Files {
    history: &'static [u8],
    keys: &'static [u8],
    root_key: &'static str,
}

/// A demo that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The data directory.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The root key of the data directory.
    #[error(transparent)]
    RootKey(#[from] DirError),
    /// The snapshot could not be restored.
    #[error("the demo could not be unpacked")]
    Restore(#[from] RestoreError),
    /// Somebody's own store is there.
    #[error("the store in {} is not a demo: serve it without --demo, or name another --data-dir", .0.display())]
    OwnStore(PathBuf),
    /// What a demo left is to be served as if it were somebody's own.
    #[error(
        "the store in {dir} is a demo, whose password and API key everybody has: serve it with --demo, or change both, \
         then remove {}", .dir.join(MARKER).display(), dir = .dir.display()
    )]
    Public {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file could not be written.
    #[error("could not write {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Makes the demo's store in the data directory that a configuration names; one that is there already stays as it is. From
/// here on its keys are wrapped by that directory's own root key. Blocks.
///
/// # Errors
/// When it cannot be made, or a store that is no demo is there.
pub fn unpack(config: &Config, clock: &Clock) -> Result<(), DemoError> {
    let dir = DataDir::open(&config.data_dir, config.ballast.bytes())?;
    let marker = dir.root().join(MARKER);
    if dir.current()?.is_some() {
        return if marker.exists() { Ok(()) } else { Err(DemoError::OwnStore(dir.root().to_owned())) };
    }
    let own = root_key(&dir, &config.root_key())?.key;
    let packed = dir.root().join("demo-unpacked");
    write(&marker, b"a store that --demo made: everybody knows its password\n")?;
    let restored = restore_packed(&dir, &packed, &own, config, clock);
    let _gone = fs::remove_dir_all(&packed);
    restored.map(drop)
}

/// Whether what lies in a data directory may be served without a word of warning: no demo may.
///
/// # Errors
/// `Public`.
pub fn forbid_unannounced(data_dir: &Path) -> Result<(), DemoError> {
    match data_dir.join(MARKER).exists() {
        true => Err(DemoError::Public { dir: data_dir.to_owned() }),
        false => Ok(()),
    }
}

fn restore_packed(
    dir: &DataDir,
    packed: &Path,
    own: &RootKey,
    config: &Config,
    clock: &Clock,
) -> Result<SnapshotId, DemoError> {
    private::make_dir_all(packed).map_err(failed(packed))?;
    let history = packed.join("demo").with_extension(HISTORY);
    write(&history, FILES.history)?;
    write(&history.with_added_extension(KEYS), FILES.keys)?;
    let wrapped_by = RootKey::from_text(&Plain::from(FILES.root_key)).expect("it comes with the program");
    let wanted = Wanted { history: Located::from(&*history), keys: None, until: None, root: &wrapped_by };
    let ledgers = [config.snapshots_dir()];
    Ok(restore_under(dir, &wanted, own, &ledgers, clock, &mut |_, _| {})?.snapshot)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    private::write(path, bytes).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DemoError + '_ {
    move |source| DemoError::Io { path: path.to_owned(), source }
}
