//! The golden snapshots, in `snapshots/`: one of each released format of the keys, which changed more often than that of
//! histories, the first whose history told the roots of its streams, and the first with events of every area, compressed with
//! dictionary 2. Every later build restores all of them. Setting
//! `SETTLED_RECORD_GOLDEN` writes the newest where there is none; one that is there never changes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use settled::actor::Actor;
use settled::clock::Clock;
use settled::data_dir::DataDir;
use settled::ids::Fresh;
use settled::log::{EventLog, Position};
use settled::open::{LogOptions, open_log};
use settled::seal::Plain;
use settled::seal::root::RootKey;
use settled::snapshot::keys::FORMAT;
use settled::snapshot::operating::Snapshots;
use settled::snapshot::restore::{Wanted, restore};

use crate::golden::record;
use crate::snapshot_roots::heads;
use crate::snapshots::file;
use crate::test_store::{frames, start};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

/// The leaf hash of each event up to a position, a line each.
fn leaves(log: &dyn EventLog, until: Position) -> String {
    let mut text = String::new();
    for (_, frame) in frames(log).into_iter().filter(|(position, _)| *position <= until) {
        for at in 0..frame.len() {
            for byte in frame.leaf(at).unwrap() {
                write!(text, "{byte:02x}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

/// All of them, each with whether it tells roots.
fn golden() -> Vec<(String, bool)> {
    let formats = (1..=FORMAT).map(|format| (format!("format-{format}"), format >= WITH_ROOTS));
    formats.chain(["format-2-with-roots", NEWEST].map(|name| (name.to_owned(), true))).collect()
}

/// The first format of which all histories tell the roots of their streams.
const WITH_ROOTS: u8 = 3;
/// The newest of all.
const NEWEST: &str = "dictionary-2";

#[tokio::test]
async fn a_golden_snapshot_of_every_format_is_restored_for_ever() {
    let newest = folder().join(format!("{NEWEST}.settled"));
    if std::env::var_os("SETTLED_RECORD_GOLDEN").is_some() && !newest.exists() {
        let store = record().await;
        fs::create_dir_all(folder()).unwrap();
        let snapshots = Snapshots::new(folder(), Fresh.id());
        let output = Some(newest.clone());
        let taken = snapshots.take(&store.store, output, Actor::OPERATOR, |_, _| {}).await.unwrap();
        fs::write(newest.with_extension("root.key"), store.store.ring().root().text().as_bytes()).unwrap();
        fs::write(newest.with_extension("leaves.txt"), leaves(&*store.log, Position(taken.position)))
            .unwrap();
    }
    for (name, tells_roots) in golden() {
        let history = folder().join(format!("{name}.settled"));
        let text = Plain::from(fs::read_to_string(history.with_extension("root.key")).unwrap());
        let root = RootKey::from_text(&text).unwrap();
        assert!(heads(&history).iter().all(|head| head.root.is_some() == tells_roots), "{name}");
        let place = tempfile::tempdir().unwrap();
        let dir = DataDir::open(place.path().join("data"), 0).unwrap();
        let wanted = Wanted { history: file(&history), keys: None, until: None, root: &root };
        let clock = Clock::manual(start().plus_seconds(400 * 86_400)).0;
        let restored = std::thread::scope(|scope| {
            let restored = scope.spawn(|| restore(&dir, &wanted, &[], &clock, &mut |_, _| {}));
            restored.join().expect("it does not panic").unwrap()
        });
        assert_eq!(restored.lost, Vec::<String>::new());
        drop(dir);
        let opened = open_log(DataDir::open(place.path().join("data"), 0).unwrap(), LogOptions::default());
        let opened = opened.map_err(|error| error.to_string()).ok().unwrap();
        let expected = fs::read_to_string(history.with_extension("leaves.txt")).unwrap();
        assert_eq!(leaves(&*opened.log, Position(restored.position)), expected);
        opened.log.close().unwrap();
    }
}
