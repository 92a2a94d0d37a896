//! Canaries: what each is, in which disguises one is found, and the search of a data directory for them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use settled::data_dir::DataDir;
use settled::log::frame::Frame;
use settled::log::{EventLog, Position};
use settled::open::{LogOptions, open_log};

/// What is recorded in the open: where it is found, what was not found is not there.
pub const CONTROL: &str = "Dev ControlZq7";
/// The values of secrets that are imported together.
pub const IMPORTED: [&str; 16] = [
    "imported 0",
    "imported 1",
    "imported 2",
    "imported 3",
    "imported 4",
    "imported 5",
    "imported 6",
    "imported 7",
    "imported 8",
    "imported 9",
    "imported 10",
    "imported 11",
    "imported 12",
    "imported 13",
    "imported 14",
    "imported 15",
];
/// How a frame of zstd begins, least byte first (RFC 8878 3.1.1).
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// What each canary is, and its value. Those of the server's making are added as they are made.
pub struct Canaries(pub BTreeMap<&'static str, String>);

impl Canaries {
    pub fn new() -> Self {
        let mail = |name: &str| format!("Zq7{name}Canary@example.com");
        let mut canaries = BTreeMap::from([
            ("email", mail("Owner")),
            ("unknown email", mail("Stranger")),
            ("newcomer email", mail("Newcomer")),
            ("another email", mail("Another")),
            ("invited email", mail("Invited")),
            ("declining email", mail("Declining")),
            ("revoked email", mail("Revoked")),
            ("requester email", mail("Requester")),
            ("turned away email", mail("TurnedAway")),
            ("ip", "203.0.113.177".to_owned()),
        ]);
        for kind in [
            "name",
            "new name",
            "password",
            "new password",
            "wrong password",
            "newcomer name",
            "newcomer password",
            "third password",
            "invited name",
            "requester name",
            "turned away name",
            "member's password",
            "wrong mailed token",
            "wrong setup token",
            "reason",
            "user agent",
            "wrong token",
            "api key",
            "cookie",
            "idempotency key",
            "basic",
            "path",
            "parameter",
            "value",
            "field",
            "refused value",
            "refused name",
            "secret value",
            "new secret value",
            "unwritten value",
            "large body",
            "description",
            "customer name",
            "customer id",
            "customer tag",
            "customer note",
            "customer secret",
            "secret description",
            "document",
            "document key",
            "workflow",
            "trigger",
            "execution error",
            "client secret",
            "access token",
            "refresh token",
            "code",
            "provider's words",
            "connection token",
            "connection user",
            "connection password",
        ] {
            canaries.insert(kind, format!("Zq7{}Canary{}", kind.replace(' ', ""), kind.len()));
        }
        for (number, kind) in IMPORTED.iter().enumerate() {
            canaries.insert(kind, format!("Zq7ImportedCanary{number}x"));
        }
        Self(canaries)
    }

    pub fn of(&self, kind: &str) -> &str {
        self.0.get(kind).unwrap_or_else(|| panic!("there is no canary {kind}"))
    }

    /// The canaries in a text, in any letter case, percent-encoded or in base64.
    pub fn found(&self, bytes: &[u8]) -> Vec<&'static str> {
        // Canaries are ASCII, so what is no UTF-8 around them does not matter; and text is searched fast.
        let text = String::from_utf8_lossy(bytes);
        let lower = text.to_ascii_lowercase();
        let is_there = |canary: &str| {
            lower.contains(&canary.to_ascii_lowercase())
                || text.contains(&canary.replace('@', "%40"))
                || (0..3).any(|shift| text.contains(&inner_base64(canary, shift)))
        };
        self.0.iter().filter(|(_, canary)| is_there(canary)).map(|(kind, _)| *kind).collect()
    }
}

fn has_control(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(CONTROL)
}

/// What base64 makes of a text that begins at some byte of a group, without what depends on its neighbours.
fn inner_base64(text: &str, shift: usize) -> String {
    let mut bytes = vec![0; shift];
    bytes.extend_from_slice(text.as_bytes());
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    encoded[4 * usize::from(shift > 0)..encoded.len() - 4].to_owned()
}

/// Looks for canaries in every file of a data directory, as it lies there and decompressed, and in every event of its log.
pub fn nothing_on_disk(data: &Path, canaries: &Canaries) {
    let root_key = URL_SAFE_NO_PAD.decode(canaries.of("root key")).unwrap();
    let (mut files, mut controls) = (0, 0);
    for path in files_under(data) {
        let bytes = std::fs::read(&path).unwrap();
        let belongs = if path == data.join("root.key") { vec!["root key"] } else { Vec::new() };
        assert_eq!(canaries.found(&bytes), belongs, "{}", path.display());
        assert!(!bytes.windows(root_key.len()).any(|window| window == root_key), "{}", path.display());
        let packed = decompressed(&bytes);
        assert_eq!(canaries.found(&packed), Vec::<&str>::new(), "{}, decompressed", path.display());
        controls += usize::from(has_control(&packed));
        files += 1;
    }
    assert!(files >= 5, "only {files} files were searched");
    assert!(controls > 0, "a savepoint is compressed, and was read");

    let opened = open_log(DataDir::open(data, 4096).unwrap(), LogOptions::default()).unwrap();
    let mut events = Vec::new();
    each_recorded(&*opened.log, |json| events.extend(json.to_string().into_bytes()));
    assert_eq!(canaries.found(&events), Vec::<&str>::new(), "events as recorded");
    assert!(has_control(&events));
    opened.log.close().unwrap();
}

/// Goes through all that a log has recorded, as JSON.
pub fn each_recorded(log: &dyn EventLog, mut take: impl FnMut(&Value)) {
    let mut after = Position(0);
    loop {
        let frames = log.read(after).unwrap();
        let Some((last, _)) = frames.last() else { return };
        after = *last;
        for (_, bytes) in frames {
            Frame::parse(bytes).unwrap().jsons().for_each(|json| take(&json.unwrap()));
        }
    }
}

/// All that a file has compressed: the frames of zstd that open without a dictionary. Those of the log, which need one,
/// are read as events.
fn decompressed(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&ZSTD_MAGIC)) {
        let mut frame = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(&bytes[at..]).unwrap().single_frame();
        if decoder.take(1 << 30).read_to_end(&mut frame).is_ok() {
            all.append(&mut frame);
        }
    }
    all
}

pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_under(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn a_canary_is_found_in_each_of_its_disguises() {
    let canaries = Canaries::new();
    let name = canaries.of("name");
    for shift in 0..3 {
        let encoded = URL_SAFE_NO_PAD.encode(format!("{}{name}xyz", "a".repeat(shift)));
        assert_eq!(canaries.found(encoded.as_bytes()), ["name"], "{shift}");
    }
    assert_eq!(canaries.found(name.to_uppercase().as_bytes()), ["name"]);
    assert_eq!(canaries.found(b"nothing here"), Vec::<&str>::new());
}
