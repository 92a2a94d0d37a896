//! Takings, restores and drills that are killed, or lose their power, at any moment: what is listed is whole, the store in use
//! opens, and nothing that was acknowledged is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::disk::Disk;
use crate::journal::{Journal, assert_sound};
use crate::process::{Ended, Start, command, run, scale};
use crate::snapshots::{Given, as_text, given, snapshot, until};

/// A store that was stopped, where it can be restored to, and the snapshots of it that were verified.
struct Place {
    root: PathBuf,
    data: PathBuf,
    target: PathBuf,
    /// A snapshot that lies elsewhere.
    whole: PathBuf,
    verified: BTreeSet<String>,
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum What {
    Create,
    Restore,
    Drill,
}

impl Place {
    /// Of a store below a folder, whose snapshots go to where they go by default.
    fn filled(start: &Start, root: &Path, folder: &Path, elsewhere: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = start.serve();
            let login = server.set_up().await;
            let journal = Arc::new(Journal::default());
            let writers = journal.write(&server, &login, 8);
            until(&journal, 200).await;
            drop(writers);
            assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
        });
        let this = Self {
            root: root.to_owned(),
            data: start.dir.clone(),
            target: folder.join("target"),
            whole: elsewhere.join("whole.settled"),
            verified: BTreeSet::new(),
        };
        for first in [vec!["create", "--output", as_text(&this.whole)], vec!["create"]] {
            let taken = this.on(&first);
            assert_eq!(taken.code, Some(0), "{taken:?}");
        }
        let restored = this.run_whole(What::Restore);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        this
    }

    fn on(&self, args: &[&str]) -> Ended {
        snapshot(&self.root, &[args, &["--data-dir", as_text(&self.data)]].concat())
    }

    fn args(&self, what: What) -> Vec<&str> {
        match what {
            What::Create => vec!["create", "--data-dir", as_text(&self.data)],
            What::Restore => vec!["restore", as_text(&self.whole), "--data-dir", as_text(&self.target)],
            What::Drill => vec!["drill", "--data-dir", as_text(&self.data)],
        }
    }

    fn run_whole(&self, what: What) -> Ended {
        snapshot(&self.root, &self.args(what))
    }

    fn begin(&self, what: What) -> Child {
        let mut command = command(&[&["snapshot"], &self.args(what)[..]].concat());
        command.env("SETTLED_ROOT_KEY_FILE", &self.root).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn listed(&self) -> Vec<Value> {
        let listed = self.on(&["list", "--json"]);
        assert_eq!(listed.code, Some(0), "nothing half has a name: {listed:?}");
        listed.json()["data"].as_array().unwrap().clone()
    }

    /// That all that is listed is whole, and what is in use opens.
    fn is_whole(&mut self, what: What) {
        for found in self.listed() {
            let path = found["path"].as_str().unwrap().to_owned();
            assert!(found["has_keys"].as_bool().unwrap(), "the keys come first: {found}");
            if self.verified.insert(path.clone()) {
                let verified = snapshot(&self.root, &["verify", &path]);
                assert_eq!(verified.code, Some(0), "{verified:?}");
            }
        }
        // A power cut tears derived files, which are made anew.
        assert_sound(if matches!(what, What::Restore) { &self.target } else { &self.data });
    }

    /// That each of them comes to its end again, and leaves nothing behind that others left.
    fn goes_on(&self) {
        for what in [What::Create, What::Restore, What::Drill] {
            let ended = self.run_whole(what);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        for folder in [self.data.join("snapshots"), self.target.join("stores")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                assert!(!name.contains("unfinished"), "{name}");
            }
        }
        assert_sound(&self.data);
    }
}

fn what(round: u64) -> What {
    [What::Create, What::Restore, What::Drill][usize::try_from(round % 3).unwrap()]
}

#[test]
fn what_is_killed_leaves_nothing_half_and_no_store_is_lost() {
    let Given { folder, start, root } = given();
    let mut place = Place::filled(&start, &root, folder.path(), folder.path());
    for round in 0..12 * u64::from(scale()) {
        let mut child = place.begin(what(round));
        std::thread::sleep(Duration::from_millis(round * 37 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        place.is_whole(what(round));
    }
    place.goes_on();
}

#[test]
fn a_power_cut_leaves_nothing_half_and_no_store_is_lost() {
    let Given { folder, root, .. } = given();
    let disk = Disk::new(192);
    let start = Start::on(disk.path().join("data"))
        .with(&["--min-free-disk", "4MiB"])
        .logging_to(folder.path().join("stderr"))
        .env("SETTLED_ROOT_KEY_FILE", as_text(&root));
    let mut place = Place::filled(&start, &root, &disk.path(), folder.path());
    for round in 0..if scale() >= 10 { 24 } else { 3 } {
        let mut child = place.begin(what(round));
        std::thread::sleep(Duration::from_millis(20 + round * 53 % 400));
        disk.cut();
        child.wait().unwrap();
        disk.remount();
        place.is_whole(what(round));
    }
    place.goes_on();
}

#[test]
fn a_restore_that_has_ended_is_there_after_a_power_cut_with_all_its_keys() {
    let Given { folder, root, .. } = given();
    let disk = Disk::new(192);
    let start = Start::on(disk.path().join("data"))
        .with(&["--min-free-disk", "4MiB"])
        .logging_to(folder.path().join("stderr"))
        .env("SETTLED_ROOT_KEY_FILE", as_text(&root));
    // The last that is done is a restore.
    let place = Place::filled(&start, &root, &disk.path(), folder.path());
    disk.cut();
    disk.remount();
    assert_sound(&place.target);
    let taken = snapshot(&root, &["create", "--data-dir", as_text(&place.target)]);
    assert_eq!(taken.code, Some(0), "each key of it opens: {taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_snapshots_by_itself_is_killed_at_any_moment() {
    let Given { folder: _folder, start, root } = given();
    let data = start.dir.clone();
    let start = start.with(&["--snapshot-every", "1s", "--snapshot-keep", "3"]);
    let journal = Arc::new(Journal::default());
    let server = start.serve();
    let login = server.set_up().await;
    drop(server);
    let list = || {
        let listed = snapshot(&root, &["list", "--json", "--data-dir", as_text(&data)]);
        assert_eq!(listed.code, Some(0), "nothing half has a name: {listed:?}");
        listed.json()["data"].as_array().unwrap().clone()
    };
    for round in 0..3 * u64::from(scale()) {
        let mut server = start.serve();
        journal.verify(&server, &login).await;
        let writers = journal.write(&server, &login, 8);
        tokio::time::sleep(Duration::from_millis(300 + round * 211 % 1_500)).await;
        server.process.kill();
        writers.join_all().await;
        for found in list() {
            let verified = snapshot(&root, &["verify", found["path"].as_str().unwrap()]);
            assert_eq!(verified.code, Some(0), "{verified:?}");
        }
    }
    let server = start.serve();
    journal.verify(&server, &login).await;
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
        if status["last_verified_restore"]["snapshot"].is_string() {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let checked = run({
        let mut command = command(&["fsck", "--data-dir", as_text(&data)]);
        command.env("SETTLED_ROOT_KEY_FILE", &root);
        command
    });
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_snapshots_by_itself_loses_its_power_at_any_moment() {
    let Given { folder, root, .. } = given();
    let disk = Disk::new(192);
    let start = Start::on(disk.path().join("data"))
        .with(&[
            "--min-free-disk",
            "4MiB",
            "--ballast",
            "4MiB",
            "--snapshot-every",
            "1s",
            "--snapshot-keep",
            "3",
        ])
        .logging_to(folder.path().join("stderr"))
        .env("SETTLED_ROOT_KEY_FILE", as_text(&root));
    let journal = Arc::new(Journal::default());
    let server = start.serve();
    let login = server.set_up().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let (mut verified, data) = (BTreeSet::new(), start.dir.clone());
    for round in 0..if scale() >= 10 { 12 } else { 2 } {
        let mut server = start.serve();
        journal.verify(&server, &login).await;
        let writers = journal.write(&server, &login, 8);
        tokio::time::sleep(Duration::from_millis(400 + round * 311 % 2_000)).await;
        disk.cut();
        server.process.kill();
        writers.join_all().await;
        drop(server);
        disk.remount();
        let listed = snapshot(&root, &["list", "--json", "--data-dir", as_text(&data)]);
        assert_eq!(listed.code, Some(0), "nothing half has a name: {listed:?}");
        for found in listed.json()["data"].as_array().unwrap() {
            let path = found["path"].as_str().unwrap();
            if verified.insert(path.to_owned()) {
                let whole = snapshot(&root, &["verify", path]);
                assert_eq!(whole.code, Some(0), "{whole:?}");
            }
        }
    }
    let server = start.serve();
    journal.verify(&server, &login).await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    assert_sound(&data);
}
