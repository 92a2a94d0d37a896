//! The folder of the snapshots while others have it, for as long as they like: no answer waits for them, and no stop.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::deletion::{Snapped, snapped};
use crate::destroy::rotate;
use crate::keys::stop;
use crate::process::{Start, settled_on, text};
use crate::snapshots::{as_text, taken};

/// Has a folder of snapshots, as another store's server does that works there.
fn hold(folder: &Path) -> File {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
    let lock = folder.join("snapshots.lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock).unwrap();
    lock.lock().unwrap();
    lock
}

/// Waits until something has come, at most for a minute.
pub async fn until(what: &str, has_come: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !has_come() {
        assert!(Instant::now() < deadline, "{what}: it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_answered_at_once_and_the_keys_of_snapshots_follow_once_the_folder_is_free() {
    let Snapped { folder: _folder, start, server, two, history } = snapped().await;
    let keys = history.with_added_extension("keys");
    let before = fs::read(&keys).unwrap();

    let held = hold(keys.parent().unwrap());
    let deleted =
        settled_on(&start.dir, &["organizations", "delete", &two.goes.organization, "--yes", "--json"]);
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    let problem = text(&deleted.json()["problem"]);
    assert!(problem.contains("once nobody else works with snapshots"), "{problem}");
    assert!(deleted.stderr.contains(&format!("WARNING: {problem}")), "{deleted:?}");
    let problems = || {
        let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
        status["problems"].as_array().unwrap().len()
    };
    assert_eq!((fs::read(&keys).unwrap() == before, problems()), (true, 1));
    drop(held);
    until("the keys without what was destroyed", || problems() == 0).await;
    assert_ne!(fs::read(&keys).unwrap(), before);

    let before = fs::read(&keys).unwrap();
    let rotated = rotate(&start.dir, &two.stays.organization);
    assert!(rotated.code == Some(0) && !rotated.stderr.contains("WARNING"), "{rotated:?}");
    assert_ne!(fs::read(&keys).unwrap(), before, "the command waits for them where that takes no time");
    stop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_nobody_who_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let held = hold(&start.dir.join("snapshots"));
    let mut server = start.serve();
    until("that it waits", || server.process.log_lines().contains("its end is waited for")).await;
    server.process.signal(Signal::TERM);
    let status = server.process.wait(Duration::from_secs(60));
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.process.last_lines());
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_directory_itself_may_be_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = Start::on(&data).with(&["--snapshots-dir", as_text(&data)]);
    let server = start.serve();
    server.set_up().await;
    assert_eq!(taken(&data).parent(), Some(&*data));
    let drilled = settled_on(&data, &["snapshot", "drill", "--json"]);
    assert_eq!(drilled.code, Some(0), "{drilled:?}");
    stop(server);
}
