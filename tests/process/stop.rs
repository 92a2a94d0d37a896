//! The graceful stop: what was acknowledged is kept, the log is closed cleanly, and it does not take long.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::journal::{Journal, assert_sound};
use crate::process::Start;

/// What the next start says after a stop that was not a clean one.
const UNCLEAN: &str = "not a clean one";

async fn a_stop_under_load(signal: Signal) {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let journal = Arc::new(Journal::default());
    let mut server = start.serve();
    let login = server.set_up().await;
    let writers = journal.write(&server, &login, 16);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let told = Instant::now();
    server.process.signal(signal);
    let status = server.process.wait(Duration::from_secs(30));
    let took = told.elapsed();
    writers.join_all().await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.process.last_lines());
    assert!(took < Duration::from_secs(10), "the stop took {took:?}");
    assert!(journal.acknowledged() > 0);
    for left in ["operator.sock", "server.json"] {
        assert!(!start.dir.join(left).exists(), "{left} is left behind");
    }

    let server = start.serve();
    assert!(!server.process.log_lines().contains(UNCLEAN), "{}", server.process.last_lines());
    journal.verify(&server, &login).await;
    assert_sound(&start.dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_cleanly_within_ten_seconds() {
    a_stop_under_load(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_under_load_ends_cleanly_within_ten_seconds() {
    a_stop_under_load(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_comes_during_the_start_is_a_clean_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    start.serve().set_up().await;
    let mut process = start.spawn();
    // The socket is bound late; the lock is taken first, after signals are listened to.
    let deadline = Instant::now() + Duration::from_secs(30);
    let lock = start.dir.join("lock");
    let pid = process.pid().to_string();
    while std::fs::read_to_string(&lock).unwrap_or_default().trim() != pid {
        assert!(Instant::now() < deadline, "the start does not begin: {}", process.log_lines());
        std::thread::sleep(Duration::from_millis(1));
    }
    process.signal(Signal::TERM);
    let status = process.wait(Duration::from_secs(30));
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", process.log_lines());
    let server = start.serve();
    assert!(!server.process.log_lines().contains(UNCLEAN), "{}", server.process.last_lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_told_apart_from_a_stopped_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    start.serve().process.kill();
    assert!(start.serve().process.log_lines().contains(UNCLEAN));
    assert_eq!(start.serve().stop().and_then(|status| status.code()), Some(0));
    assert!(!start.serve().process.log_lines().contains(UNCLEAN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_the_data_directory_is_open_to_others() {
    // The server inherits a mask that forbids nothing.
    rustix::process::umask(rustix::fs::Mode::empty());
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data"));
    let journal = Arc::new(Journal::default());
    let server = start.serve();
    let login = server.set_up().await;
    let writers = journal.write(&server, &login, 4);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(writers);
    assert!(all_private(&start.dir) > 10);
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    // What an unclean stop leaves is opened anew, by another command.
    drop(start.serve());
    assert_sound(&start.dir);
    assert!(all_private(&start.dir) > 10);
}

/// Checks each file and folder below one, and counts them.
fn all_private(dir: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        count += 1 + if metadata.is_dir() { all_private(&path) } else { 0 };
    }
    count
}
