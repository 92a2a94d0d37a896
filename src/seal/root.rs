//! The root key: from a file, an environment variable or a command; it wraps the streams' keys and nothing else.
//!
//! As text it is one line, `settled-root-key-1:` and 64 bytes in base64url without padding, so that it can be
//! told from any other secret on sight. It is never in an error, a log line or an argument list.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::ids::{SnapshotId, StreamId};
use crate::seal::Plain;
use crate::seal::material::{KeyMaterial, WRAPPED_BYTES};
use crate::seal::overwriting::sync_folder_of;

/// What the text of every root key begins with.
const PREFIX: &str = "settled-root-key-1:";
/// More than any text of a root key with its line end; what is longer is something else.
const TEXT_BYTES_MAX: usize = 1024;
const FINGERPRINT_LABEL: &[u8] = b"settled root key fingerprint 1\0";
const WRAP_LABEL: &[u8] = b"settled stream key 1";
const SNAPSHOT_LABEL: &[u8] = b"settled snapshot key 1";
const ROTATION_LABEL: &[u8] = b"settled root key in rotation 1";

/// Where the root key comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum RootKeySource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// The value of an environment variable.
    Environment(Plain),
    /// A program and its arguments, separated by white space (no shell reads them); the key is what it prints.
    Command(String),
}

impl fmt::Debug for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names the source for messages; of a command only the program, since an argument may be a secret.
impl fmt::Display for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(_) => f.write_str("the environment variable"),
            Self::Command(line) => write!(f, "the command {}", program(line)),
        }
    }
}

fn program(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or("(none)")
}

/// A root key that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// There is no such file.
    #[error("there is no root key in {}: put the root key that this store was made with there", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else can read or write the file.
    #[error("others than its owner can open the root key {} (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Never overwritten: a root key that is gone takes all sealed values with it.
    #[error("{} exists already: a root key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What was read is not a root key.
    #[error(
        "{origin} holds no root key: expected one line that begins with `{PREFIX}` and goes on with 64 bytes in base64url"
    )]
    Malformed {
        /// Where it was read from.
        origin: String,
    },
    /// The command ended with an error.
    #[error("the command {program} gave no root key: it ended with {status}")]
    CommandFailed {
        /// The program, without its arguments.
        program: String,
        /// How it ended.
        status: String,
    },
    /// Reading, writing or running failed.
    #[error("the root key could not be read from or written to {origin}: {source}")]
    Io {
        /// Where.
        origin: String,
        /// Why.
        source: io::Error,
    },
}

/// Tells root keys apart without saying anything about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFingerprint(pub [u8; 16]);

impl fmt::Display for RootFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RootFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The root key.
#[derive(Clone)]
pub struct RootKey(KeyMaterial);

impl RootKey {
    /// Reads the root key. A command runs to its end, however long it takes: somebody may have to touch a token.
    ///
    /// # Errors
    /// See [`RootKeyError`].
    pub fn load(source: &RootKeySource) -> Result<Self, RootKeyError> {
        let text = match source {
            RootKeySource::File(path) => read_file(path)?,
            RootKeySource::Environment(value) => Zeroizing::new(value.as_bytes().to_vec()),
            RootKeySource::Command(line) => run(line)?,
        };
        Self::parse(&text).ok_or_else(|| RootKeyError::Malformed { origin: source.to_string() })
    }

    /// Makes a new root key and writes it to a new file that only its owner can open, durable before this returns.
    ///
    /// # Errors
    /// `Exists`, or `Io`. A crash leaves the file whole or not there.
    pub fn create(path: &Path) -> Result<Self, RootKeyError> {
        let failed = |source| RootKeyError::Io { origin: path.display().to_string(), source };
        let key = Self::random();
        let unfinished = path.with_added_extension("unfinished");
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(failed)?;
        file.write_all(key.text().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        // A link, unlike a rename, fails where something of the name exists.
        let linked = std::fs::hard_link(&unfinished, path);
        std::fs::remove_file(&unfinished).map_err(failed)?;
        linked.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => RootKeyError::Exists { path: path.to_owned() },
            _ => failed(error),
        })?;
        sync_folder_of(path).map_err(failed)?;
        Ok(key)
    }

    /// A fresh root key that is in no file.
    pub fn random() -> Self {
        Self(KeyMaterial::random())
    }

    /// What may be stored beside what this key wraps, so that a wrong root key is told apart before any harm.
    pub fn fingerprint(&self) -> RootFingerprint {
        let digest = self.0.digest(FINGERPRINT_LABEL);
        let (half, _) = digest.split_first_chunk().expect("SHA-256 has 32 bytes");
        RootFingerprint(*half)
    }

    /// A key for a purpose that is not sealing.
    pub(super) fn derive(&self, label: &str) -> [u8; 32] {
        self.0.digest(format!("settled derived key 1 {label}").as_bytes())
    }

    /// The key as the one line of its file, for whoever wants it kept elsewhere.
    pub fn text(&self) -> Zeroizing<String> {
        // Encoded into a buffer that is large enough: growing would leave a piece of the key in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.0.bytes(), &mut text);
        text.push('\n');
        text
    }

    /// The key of a line as [`RootKey::text`] gives it; `None` if it is none.
    pub fn from_text(text: &Plain) -> Option<Self> {
        Self::parse(text.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let encoded = text.trim_ascii().strip_prefix(PREFIX.as_bytes())?;
        let mut bytes = Zeroizing::new(vec![0; TEXT_BYTES_MAX]);
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?;
        KeyMaterial::copied(&bytes[..length]).map(Self)
    }

    /// A stream's key, wrapped for its file.
    pub(super) fn wrap(&self, stream: StreamId, generation: u32, key: &KeyMaterial) -> [u8; WRAPPED_BYTES] {
        fixed(with_headers(stream, generation, |headers| self.0.wrap(headers, key)))
    }

    /// The inverse of [`RootKey::wrap`]; `None` if it was wrapped by another key, or for another place.
    pub(super) fn unwrap(&self, stream: StreamId, generation: u32, wrapped: &[u8]) -> Option<KeyMaterial> {
        with_headers(stream, generation, |headers| self.0.unwrap(headers, wrapped))
    }

    /// A snapshot's key, wrapped for its file.
    pub(super) fn wrap_snapshot_key(&self, of: SnapshotId, key: &KeyMaterial) -> [u8; WRAPPED_BYTES] {
        fixed(self.0.wrap(&[SNAPSHOT_LABEL, of.uuid().as_bytes()], key))
    }

    /// The inverse of [`RootKey::wrap_snapshot_key`]; `None` if it was wrapped by another key, or for another snapshot.
    pub(super) fn unwrap_snapshot_key(&self, of: SnapshotId, wrapped: &[u8]) -> Option<KeyMaterial> {
        self.0.unwrap(&[SNAPSHOT_LABEL, of.uuid().as_bytes()], wrapped)
    }

    /// Another root key, wrapped for the time of a rotation between the two.
    pub(super) fn wrap_root(&self, other: &Self) -> [u8; WRAPPED_BYTES] {
        let (by, of) = (self.fingerprint(), other.fingerprint());
        fixed(self.0.wrap(&[ROTATION_LABEL, &by.0, &of.0], &other.0))
    }

    /// The inverse of [`RootKey::wrap_root`]; `None` if what was wrapped is not the root key of this fingerprint.
    pub(super) fn unwrap_root(&self, of: RootFingerprint, wrapped: &[u8]) -> Option<Self> {
        let other = self.0.unwrap(&[ROTATION_LABEL, &self.fingerprint().0, &of.0], wrapped).map(Self)?;
        (other.fingerprint() == of).then_some(other)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.fingerprint())
    }
}

fn fixed(wrapped: Vec<u8>) -> [u8; WRAPPED_BYTES] {
    wrapped.try_into().expect("SIV adds its tag and no more")
}

fn with_headers<T>(stream: StreamId, generation: u32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[WRAP_LABEL, &stream.to_bytes(), &generation.to_be_bytes()])
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => RootKeyError::Missing { path: path.to_owned() },
        _ => RootKeyError::Io { origin: path.display().to_string(), source },
    };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, not of the path, which may by now be another.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RootKeyError::Permissions { path: path.to_owned(), mode });
    }
    read_text(file).map_err(failed)
}

fn run(line: &str) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
    let failed = |source| RootKeyError::Io { origin: format!("the command {}", program(line)), source };
    let mut child = Command::new(program(line))
        .args(line.split_whitespace().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take().expect("piped above");
    let text = read_text(output);
    let status = child.wait().map_err(failed)?;
    if status.success() {
        text.map_err(failed)
    } else {
        Err(RootKeyError::CommandFailed { program: program(line).to_owned(), status: status.to_string() })
    }
}

/// At most [`TEXT_BYTES_MAX`] bytes, in a buffer that never grows and is wiped.
fn read_text(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(vec![0; TEXT_BYTES_MAX]);
    let mut from = from.take(TEXT_BYTES_MAX as u64);
    let mut length = 0;
    loop {
        match from.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_created_key_is_read_back_and_only_its_owner_can_open_it() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let key = RootKey::create(&path).expect("created");
        let mode = std::fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = RootKey::load(&RootKeySource::File(path)).expect("loaded");
        assert_eq!(again.fingerprint(), key.fingerprint());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let key = RootKey::create(&path).expect("created");
        assert!(matches!(RootKey::create(&path), Err(RootKeyError::Exists { .. })));
        let again = RootKey::load(&RootKeySource::File(path)).expect("loaded");
        assert_eq!(again.fingerprint(), key.fingerprint());
    }

    #[test]
    fn a_creation_that_a_crash_cut_off_is_repeated() {
        let folder = folder();
        let path = folder.path().join("root.key");
        std::fs::write(folder.path().join("root.key.unfinished"), "settled-ro").expect("written");
        RootKey::create(&path).expect("created");
        RootKey::load(&RootKeySource::File(path)).expect("loaded");
    }

    #[test]
    fn a_key_that_others_can_open_is_refused_with_the_remedy() {
        let folder = folder();
        let path = folder.path().join("root.key");
        RootKey::create(&path).expect("created");
        for mode in [0o640, 0o604, 0o620, 0o601, 0o777] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            let error = RootKey::load(&RootKeySource::File(path.clone())).expect_err("refused");
            assert!(matches!(error, RootKeyError::Permissions { .. }), "{mode:o}");
            assert!(error.to_string().contains(&format!("run `chmod 600 {}`", path.display())), "{error}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("set");
        RootKey::load(&RootKeySource::File(path)).expect("stricter is fine");
    }

    #[test]
    fn a_missing_key_says_where_it_should_be() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let error = RootKey::load(&RootKeySource::File(path.clone())).expect_err("missing");
        assert!(matches!(&error, RootKeyError::Missing { .. }));
        assert!(error.to_string().contains(&path.display().to_string()));
    }

    #[test]
    fn a_key_comes_from_an_environment_variable_or_a_command_too() {
        let key = RootKey::random();
        let value = Plain::from(key.text().as_str());
        let loaded = RootKey::load(&RootKeySource::Environment(value)).expect("loaded");
        assert_eq!(loaded.fingerprint(), key.fingerprint());

        let command = RootKeySource::Command(format!("echo {}", key.text().trim()));
        let loaded = RootKey::load(&command).expect("loaded");
        assert_eq!(loaded.fingerprint(), key.fingerprint());
    }

    #[test]
    fn a_command_that_fails_gives_no_key_and_shows_no_argument() {
        let error = RootKey::load(&RootKeySource::Command("false canary".to_owned())).expect_err("failed");
        assert!(matches!(error, RootKeyError::CommandFailed { .. }));
        for command in ["false canary", "/does/not/exist canary", "echo canary", ""] {
            let source = RootKeySource::Command(command.to_owned());
            let error = RootKey::load(&source).expect_err("no key");
            let shown = format!("{error} {error:?} {source} {source:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_root_key_is_refused_without_showing_it() {
        let text = RootKey::random().text();
        let encoded = text.trim().strip_prefix(PREFIX).expect("the prefix");
        let wrong = [
            String::new(),
            "canary".to_owned(),
            encoded.to_owned(),
            format!("{PREFIX}canary"),
            format!("{PREFIX}{}", &encoded[..80]),
            format!("{PREFIX}{encoded}AAAA"),
            format!("{PREFIX}{encoded}="),
            format!("settled-root-key-2:{encoded}"),
            format!("{PREFIX}{}", "A".repeat(5_000)),
        ];
        for text in wrong {
            let source = RootKeySource::Environment(Plain::from(text.as_str()));
            let error = RootKey::load(&source).expect_err("refused");
            assert!(matches!(error, RootKeyError::Malformed { .. }));
            let shown = format!("{error} {error:?} {source:?}");
            assert!(!shown.contains("canary") && !shown.contains(encoded), "{shown}");
        }
    }

    #[test]
    fn a_stream_key_is_wrapped_for_one_stream_and_one_generation() {
        let (root, key) = (RootKey::random(), KeyMaterial::random());
        let organization = StreamId::Organization(crate::ids::Fresh.id());
        let wrapped = root.wrap(organization, 1, &key);
        let again = root.unwrap(organization, 1, &wrapped).expect("the same place");
        assert_eq!(again.bytes(), key.bytes());
        assert!(root.unwrap(StreamId::Platform, 1, &wrapped).is_none());
        assert!(root.unwrap(organization, 2, &wrapped).is_none());
        assert!(RootKey::random().unwrap(organization, 1, &wrapped).is_none());
    }

    #[test]
    fn debug_shows_the_fingerprint_and_nothing_else() {
        let key = RootKey::random();
        assert_eq!(format!("{key:?}"), format!("RootKey({})", key.fingerprint()));
    }
}
