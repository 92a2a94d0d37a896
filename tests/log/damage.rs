//! Damage: flipped bits, shortened files, files that are gone, older or another store's. Each is harmless (all
//! answers are equal), refused with a remedy, or reported by a check. None is silent, but for what nothing
//! could tell, which is asserted as such.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use settled::log::check::check;
use settled::log::sled::open::Finding;
use settled::log::{Append, EventLog, Position};

use crate::events::{Frames, append, data_key, noise, stream};
use crate::reopen::copy_dir;
use crate::store::Store;
use crate::suite::{Answers, answers, try_answers};

/// A store of 10,000 events after a clean stop, itself at half of that, and another store.
struct Stores {
    _dir: tempfile::TempDir,
    whole: PathBuf,
    older: PathBuf,
    other: PathBuf,
    answers: Answers,
}

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Harmless(Vec<Finding>),
    Refused(String),
    Reported(String),
    Silent(String),
}

fn stores() -> &'static Stores {
    static STORES: OnceLock<Stores> = OnceLock::new();
    STORES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let [whole, older, other] = ["whole", "older", "other"].map(|name| dir.path().join(name));
        fs::create_dir(&whole).unwrap();
        fs::create_dir(&other).unwrap();
        let store = Store::create_in(&whole, 1);
        fill(&store, 5_000);
        copy_dir(&whole, &older);
        fill(&store, 5_000);
        fill(&Store::create_in(&other, 2), 10_000);
        copy_dir(&whole, &dir.path().join("asked"));
        let answers = answers(&Store::at(&dir.path().join("asked"), 1).open().0);
        let events: u64 = answers.heads.values().map(|head| head.version).sum();
        assert_eq!(events, 10_000);
        Stores { _dir: dir, whole, older, other, answers }
    })
}

/// Appends events of four streams in batches of all sizes, with keys, and stops cleanly.
fn fill(store: &Store, events: usize) {
    let (log, _) = store.open();
    let mut frames = Frames::after(&log);
    let mut left = events;
    let mut round = 0;
    while left > 0 {
        round += 1;
        let position = Position(log.end().0 + 1);
        let of = stream(position.0 as u128 % 4);
        let count = (1 + round * 7 % 50).min(left);
        let values: Vec<String> =
            (0..count).map(|event| noise(position.0 << 8 | event as u64, 150)).collect();
        let mut one: Append = append(of, frames.next(of, position, &values));
        one.put.push((data_key(of, position.0 as u128), vec![position.0 as u8; 60]));
        if round % 5 == 0 {
            one.remove.push(data_key(of, position.0 as u128 - 4));
        }
        log.append(vec![one]).unwrap();
        left -= count;
    }
    log.close().unwrap();
}

/// The files of a store, below its folder.
fn files(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in [store.to_owned(), store.join("log")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.push(path.strip_prefix(store).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Damages a copy of the store and asks it everything.
fn damaged(damage: impl FnOnce(&Path)) -> Outcome {
    let stores = stores();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    copy_dir(&stores.whole, &path);
    damage(&path);
    let opened = match Store::at(&path, 1).try_open() {
        Ok(opened) => opened,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let report = check(&opened.log, |_, _| {});
    if let Some(defect) = report.defects.first() {
        return Outcome::Reported(defect.to_string());
    }
    match try_answers(&opened.log) {
        Ok(found) if found == stores.answers => Outcome::Harmless(opened.findings),
        Ok(found) => Outcome::Silent(difference(&found, &stores.answers)),
        Err(error) => Outcome::Silent(format!("a clean check, and yet: {error}")),
    }
}

fn difference(found: &Answers, expected: &Answers) -> String {
    let frames = found.frames.iter().zip(&expected.frames).take_while(|(a, b)| a == b).count();
    let keys: Vec<String> = found
        .keys
        .iter()
        .zip(&expected.keys)
        .map(|((_, found), (_, expected))| format!("{} of {} keys", found.len(), expected.len()))
        .collect();
    format!("{} of {} frames, {frames} equal; {keys:?}", found.frames.len(), expected.frames.len())
}

#[track_caller]
fn none_is_silent(outcomes: &[(String, Outcome)]) {
    let silent: Vec<_> =
        outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Silent(_))).collect();
    assert!(silent.is_empty(), "{silent:#?}");
    for (what, outcome) in outcomes {
        if let Outcome::Refused(why) = outcome {
            assert!(why.contains("settled ") || why.contains("put back"), "{what}: no remedy in {why}");
        }
    }
}

#[test]
fn no_flipped_bit_is_silent() {
    let flips = 40 * crate::scale() as usize;
    let files = files(&stores().whole);
    let mut outcomes = Vec::new();
    for flip in 0..flips {
        // The large file gets most of it, each of the others its share.
        let file = if flip % 4 == 0 { &files[flip / 4 % files.len()] } else { Path::new("log/db") };
        let outcome = damaged(|store| {
            let path = store.join(file);
            let mut bytes = fs::read(&path).unwrap();
            if bytes.is_empty() {
                return;
            }
            let bit = (flip as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, bytes).unwrap();
        });
        outcomes.push((format!("flip {flip} in {}", file.display()), outcome));
    }
    none_is_silent(&outcomes);
    summary("flips", &outcomes);
}

#[test]
fn no_shortened_file_is_silent() {
    let cuts = 15 * crate::scale() as usize;
    let files = files(&stores().whole);
    let mut outcomes = Vec::new();
    for cut in 0..cuts {
        let file = &files[cut % files.len()];
        let outcome = damaged(|store| {
            let path = store.join(file);
            let length = fs::metadata(&path).unwrap().len();
            let kept = (cut as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % length.max(1);
            fs::File::options().write(true).open(path).unwrap().set_len(kept).unwrap();
        });
        outcomes.push((format!("cut {cut} of {}", file.display()), outcome));
    }
    none_is_silent(&outcomes);
    summary("truncations", &outcomes);
}

#[test]
fn no_file_that_is_gone_older_or_of_another_store_is_silent() {
    let stores = stores();
    let mut outcomes = Vec::new();
    for file in files(&stores.whole) {
        let gone = damaged(|store| fs::remove_file(store.join(&file)).unwrap());
        outcomes.push((format!("{} gone", file.display()), gone));
        for (what, from) in [("older", &stores.older), ("another store's", &stores.other)] {
            let replaced = damaged(|store| {
                fs::remove_file(store.join(&file)).unwrap();
                // sled's page table has its position in its name.
                let is_table = file.to_string_lossy().contains("snap.");
                let table = files(from).into_iter().find(|file| file.to_string_lossy().contains("snap."));
                let source = if is_table { table.unwrap() } else { file.clone() };
                fs::copy(from.join(&source), store.join(&source)).unwrap();
            });
            outcomes.push((format!("{} {what}", file.display()), replaced));
        }
    }
    none_is_silent(&outcomes);
    summary("replaced files", &outcomes);
    let of = |what: &str| {
        let found = outcomes.iter().find(|(name, _)| name == what);
        found.map(|(_, outcome)| outcome.clone()).unwrap_or_else(|| panic!("{what} was tried"))
    };
    let refused = |what: &str, why: &str| match of(what) {
        Outcome::Refused(error) => assert!(error.contains(why), "{what}: {error}"),
        other => panic!("{what}: {other:?}"),
    };
    refused("head gone", "settled fsck --accept-head");
    refused("head another store's", "belongs to store");
    refused("log/db gone", "is missing");
    refused("log/db another store's", "");
    assert!(
        matches!(of("head older"), Outcome::Harmless(findings) if matches!(findings[..], [Finding::BeyondHead { .. }]))
    );
    assert!(matches!(of("clean-stop gone"), Outcome::Harmless(_)));
}

#[test]
fn nothing_can_tell_a_whole_older_store_from_the_store_that_it_was() {
    let stores = stores();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    copy_dir(&stores.older, &path);
    let (log, findings) = Store::at(&path, 1).open();
    assert_eq!(findings, []);
    assert!(log.end() < stores.answers.end && check(&log, |_, _| {}).is_clean());
}

/// One line for whoever runs the long tests with `--nocapture`.
#[expect(clippy::print_stderr, reason = "the figures that a long run is for")]
fn summary(what: &str, outcomes: &[(String, Outcome)]) {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| is(outcome)).count();
    eprintln!(
        "{what}: {} harmless, {} refused, {} reported, of {}",
        count(|outcome| matches!(outcome, Outcome::Harmless(_))),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        count(|outcome| matches!(outcome, Outcome::Reported(_))),
        outcomes.len()
    );
}
