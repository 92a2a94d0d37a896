//! Stores that are damaged, repaired by `settled fsck --repair-from`: they come out as they were, or are refused and left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::disk::Disk;
use crate::journal::Journal;
use crate::keys::copy;
use crate::process::{Ended, Login, Server, Start, run, scale, settled_on};
use crate::replaced::Left;
use crate::snapshots::{as_text, until};

/// A store that was stopped: snapshots of it in the midst of its history and at its end, and what it comes to.
struct Given {
    folder: tempfile::TempDir,
    login: Login,
    states: Value,
}

async fn write(server: &Server, login: &Login, writes: usize) {
    let journal = Arc::new(Journal::default());
    let writers = journal.write(server, login, 4);
    until(&journal, writes).await;
    drop(writers);
}

impl Given {
    async fn stopped() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = Start::on(folder.path().join("data"));
        let server = start.serve();
        let login = server.set_up().await;
        let body = json!({"name": "KEPT", "value": "a canary"});
        assert_eq!(server.call(&login, "POST", "/v1/secrets", Some(body)).await.0, 201);
        write(&server, &login, 60).await;
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        let this = Self { folder, login, states: Value::Null };
        this.take("middle");
        let server = start.serve();
        write(&server, &this.login, 60).await;
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        this.take("end");
        let states = states(&start.dir);
        Self { states, ..this }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("settled")
    }

    fn take(&self, name: &str) {
        let to = self.snapshot(name);
        let taken = settled_on(&self.data(), &["snapshot", "create", "--output", as_text(&to)]);
        assert_eq!(taken.code, Some(0), "{taken:?}");
    }

    /// A copy of it, and the folder of the store in it.
    fn copied(&self, name: &str) -> (PathBuf, PathBuf) {
        let data = self.folder.path().join(name);
        copy(&self.data(), &data);
        let store = in_use(&data);
        (data, store)
    }

    fn repair(&self, data: &Path, snapshot: &str, more: &[&str]) -> Ended {
        let from = self.snapshot(snapshot);
        settled_on(data, &[&["fsck", "--repair-from", as_text(&from), "--json"], more].concat())
    }

    /// That a repaired store comes to what it came to before it was damaged.
    fn is_as_it_was(&self, data: &Path) {
        assert_eq!(states(data), self.states);
        let checked = settled_on(data, &["fsck"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
}

/// The folder of the store in use.
pub fn in_use(data: &Path) -> PathBuf {
    data.join("stores").join(fs::read_to_string(data.join("current")).unwrap().trim_end())
}

/// What a store comes to, stream by stream.
fn states(data: &Path) -> Value {
    let replayed = settled_on(data, &["replay", "--json"]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    replayed.json()["streams"].clone()
}

/// Takes the runs of frames that begin at some positions out of a log, below all that notices, or flips a bit of them.
fn damage_runs(store: &Path, from: usize, count: usize, flips: bool) -> usize {
    let log = sled::Config::new().path(store.join("log")).flush_every_ms(None).open().unwrap();
    let keys = log.scan_prefix("L").keys().map(Result::unwrap);
    // The last two bytes are the number of a part; the first part of a run has none before it.
    let first: Vec<_> = keys.filter(|key| key.ends_with(&[0, 0])).skip(from).take(count).collect();
    for key in &first {
        let mut part = log.get(key).unwrap().unwrap().to_vec();
        let middle = part.len() / 2;
        part[middle] ^= 1;
        if flips {
            log.insert(key, part).unwrap()
        } else {
            log.remove(key).unwrap()
        };
    }
    log.flush().unwrap();
    first.len()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_brought_back_and_nothing_is_made_up() {
    let given = Given::stopped().await;
    let organization = given.login.organization.clone();

    let (whole, store) = given.copied("whole");
    let repaired = given.repair(&whole, "end", &[]);
    assert_eq!((repaired.code, repaired.json().get("store")), (Some(0), None), "{repaired:?}");
    assert_eq!(in_use(&whole), store, "nothing was damaged");

    // A key file that is gone, or is not what was written; the snapshot of the middle has it, too.
    for (name, snapshot) in [("gone", "end"), ("flipped", "middle")] {
        let (data, store) = given.copied(name);
        let file = store.join("keys").join(&organization);
        if name == "gone" {
            fs::remove_file(&file).unwrap()
        } else {
            flip(&file, 40)
        }
        let looked = given.repair(&data, snapshot, &["--dry-run"]);
        assert_eq!(
            (looked.code, &looked.json()["key_files"]),
            (Some(1), &json!([organization])),
            "{looked:?}"
        );
        assert_eq!(in_use(&data), store, "it only looked");
        // A repair that came to no end left it, with keys that the root key opens.
        let left = Left::beside(&store);
        let repaired = given.repair(&data, snapshot, &[]).json();
        assert!(left.is_gone(), "it goes with the next one");
        assert_eq!((&repaired["key_files"], &repaired["lost"]), (&json!([organization]), &json!([])));
        assert!(in_use(&data) != store && store.exists(), "the damaged one stays");
        given.is_as_it_was(&data);
        let server = Start::on(&data).serve();
        let (status, _) = server.call(&given.login, "GET", "/v1/secrets", None).await;
        assert_eq!(status, 200, "the epoch goes on, and with it every session");
        assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_damaged_or_missing_come_from_the_snapshot_and_all_others_do_not() {
    let given = Given::stopped().await;
    for (name, snapshot, from, flips) in
        [("first", "middle", 0, false), ("flipped", "middle", 7, true), ("later", "end", 30, false)]
    {
        let (data, store) = given.copied(name);
        let damaged = damage_runs(&store, from, 3, flips);
        assert_eq!(damaged, 3);
        assert_ne!(settled_on(&data, &["fsck"]).code, Some(0), "{name}");
        let repaired = given.repair(&data, snapshot, &[]);
        assert_eq!((repaired.code, &repaired.json()["lost"]), (Some(0), &json!([])), "{repaired:?}");
        let frames = repaired.json()["frames"].as_u64().unwrap();
        assert!((3..60).contains(&frames), "{repaired:?}");
        given.is_as_it_was(&data);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_damaged_anywhere_comes_out_as_it_was_or_is_left_alone() {
    let given = Given::stopped().await;
    let bytes = fs::metadata(in_use(&given.data()).join("log/db")).unwrap().len() as usize;
    let rounds = 24 * scale() as usize;
    for round in 0..rounds {
        let (data, store) = given.copied("damaged");
        flip(&store.join("log/db"), bytes / rounds * round + 977);
        let repaired = given.repair(&data, "end", &[]);
        if repaired.code == Some(0) {
            given.is_as_it_was(&data);
        } else {
            // What lies beyond the snapshot, if only the note that it was taken, is nowhere else.
            let is_told = repaired.stderr.contains("is neither in it nor in the snapshot");
            assert!(repaired.code == Some(3) && is_told, "{repaired:?}");
            assert_eq!(in_use(&data), store);
        }
        fs::remove_dir_all(&data).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_of_this_store_or_too_short_is_refused() {
    let given = Given::stopped().await;
    let (data, store) = given.copied("damaged");
    fs::remove_dir_all(store.join("log")).unwrap();
    let refused = |snapshot: &str, why: &str| {
        let refused = given.repair(&data, snapshot, &[]);
        assert!(refused.code == Some(3) && refused.stderr.contains(why), "{refused:?}");
        assert_eq!(in_use(&data), store);
    };
    refused("middle", "is neither in it nor in the snapshot");
    refused("end", "is neither in it nor in the snapshot");

    // Another store with the same root key, and the same one after a restore.
    let other = given.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(given.data().join("root.key"), other.join("root.key")).unwrap();
    let server = Start::on(&other).serve();
    server.set_up().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let taken = settled_on(&other, &["snapshot", "create", "--output", as_text(&given.snapshot("other"))]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    refused("other", "is of store");
    let (whole, _) = given.copied("whole");
    let foreign = given.repair(&whole, "other", &[]);
    assert!(foreign.stderr.contains("they differ at position 1"), "{foreign:?}");
    let restored = run({
        let mut command = crate::process::command(&["snapshot", "restore", as_text(&given.snapshot("end"))]);
        command.args(["--data-dir", as_text(&other), "--root-key-file", as_text(&other.join("root.key"))]);
        command
    });
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let later = given.repair(&other, "end", &[]);
    assert!(later.stderr.contains("a restore lies between them"), "{later:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_key_of_a_repair_comes_from_wherever_the_servers_does() {
    let given = Given::stopped().await;
    let (data, store) = given.copied("gone");
    fs::remove_file(store.join("keys").join(&given.login.organization)).unwrap();
    let key = fs::read_to_string(data.join("root.key")).unwrap();
    fs::remove_file(data.join("root.key")).unwrap();
    let without = given.repair(&data, "end", &[]);
    assert!(without.code != Some(0) && without.stderr.contains("--root-key-command"), "{without:?}");
    assert_eq!(in_use(&data), store);
    let from = given.snapshot("end");
    let mut command = crate::process::command(&["fsck", "--repair-from", as_text(&from), "--json"]);
    command.args(["--data-dir", as_text(&data)]);
    command.env("SETTLED_ROOT_KEY_ENV", "KEY_OF_THE_ROOT").env("KEY_OF_THE_ROOT", key.trim());
    let repaired = run(command);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    assert_eq!(repaired.json()["key_files"], json!([given.login.organization]));
    fs::write(data.join("root.key"), key).unwrap();
    fs::set_permissions(data.join("root.key"), fs::Permissions::from_mode(0o600)).unwrap();
    given.is_as_it_was(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_nothing_is_repaired_and_nothing_is_written() {
    let given = Given::stopped().await;
    let disk = Disk::new(96);
    let data = disk.path().join("data");
    copy(&given.data(), &data);
    let damaged = in_use(&data);
    fs::remove_file(damaged.join("keys").join(&given.login.organization)).unwrap();
    let stores = || fs::read_dir(data.join("stores")).unwrap().count();
    // More than opening the store's engine takes, and less than another store does.
    disk.fill(14 << 20);
    let before = stores();
    let refused = given.repair(&data, "end", &[]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("there is no room at"), "{refused:?}");
    assert_eq!((in_use(&data), stores()), (damaged, before));
    disk.empty();
    let repaired = given.repair(&data, "end", &[]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    given.is_as_it_was(&data);
}
