//! The golden snapshots, in `snapshots/`: one of each released format of the keys, which changed more often than that of
//! histories, the first whose history told the roots of its streams, the first with events of every area, compressed with
//! dictionary 2, and the first in which what customers have is called by sealed names. Every later build restores all of
//! them. Setting `SETTLED_RECORD_GOLDEN` writes the newest where there is none; one that is there never changes.

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
use settled::store::load::fold;
use settled::store::resident::State;

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
    let others = ["format-2-with-roots", CLEAR_NAMES, NEWEST];
    formats.chain(others.map(|name| (name.to_owned(), true))).collect()
}

/// The first format of which all histories tell the roots of their streams.
const WITH_ROOTS: u8 = 3;
/// The last in which documents and workflows are called by names in the clear.
const CLEAR_NAMES: &str = "dictionary-2";
/// The newest of all.
const NEWEST: &str = "sealed-names";

/// What a golden snapshot comes to where it is restored, which ends with this.
fn restored<T>(name: &str, ask: impl FnOnce(&dyn EventLog, Position) -> T) -> T {
    let history = folder().join(format!("{name}.settled"));
    let text = Plain::from(fs::read_to_string(history.with_extension("root.key")).unwrap());
    let root = RootKey::from_text(&text).unwrap();
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
    let answer = ask(&*opened.log, Position(restored.position));
    opened.log.close().unwrap();
    answer
}

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
        assert!(heads(&history).iter().all(|head| head.root.is_some() == tells_roots), "{name}");
        let expected = fs::read_to_string(history.with_extension("leaves.txt")).unwrap();
        assert_eq!(restored(&name, leaves), expected, "{name}");
    }
}

#[test]
fn what_was_called_by_a_name_in_the_clear_is_found_by_it_for_ever() {
    for (name, is_clear) in [(CLEAR_NAMES, true), (NEWEST, false)] {
        let states = restored(name, |log, _| fold(log, |_| {}).unwrap());
        let state = states.values().map(|view| &view.state).find_map(|state| match state {
            State::Organization(organization) if !organization.customer_data.is_empty() => Some(organization),
            State::Organization(_) | State::Platform(_) => None,
        });
        let state = state.expect("a customer has documents");
        let documents: Vec<(&str, bool)> = state
            .customers
            .iter()
            .flat_map(|customer| state.customer_data.of(customer.id))
            .map(|(id, document)| (id, document.key.is_some()))
            .collect();
        assert_eq!(documents.len(), 1, "{name}: {documents:?}");
        assert_eq!(documents[0] == ("profile", false), is_clear, "{name}: {documents:?}");
        assert_eq!(documents[0].1, !is_clear, "{name}");
        assert_eq!(state.executions.running(), 1, "{name}");
    }
}
