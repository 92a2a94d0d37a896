//! A disk that fails: a sync or a write below the storage engine ends in an error. Nothing of the batch is
//! acknowledged, the process ends and says what to do, and the next start has all that was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::{Journal, assert_sound};
use crate::preload::library;
use crate::process::Start;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A call that fails, of which file, with which error.
struct Fault {
    call: &'static str,
    file: &'static str,
    errno: i32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_log_is_acknowledged_to_nobody() {
    the_log_fails(&Fault { call: "fdatasync", file: "/log/db", errno: EIO }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_to_the_log_is_acknowledged_to_nobody() {
    the_log_fails(&Fault { call: "pwrite", file: "/log/db", errno: EIO }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_while_the_writer_waits_for_it_is_acknowledged_to_nobody() {
    // sled writes a buffer that a batch filled on a thread of its own. Batches before that one are acknowledged still.
    fails(&Fault { call: "late", file: "/log/db", errno: EIO }, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_the_log_that_is_cut_short_is_acknowledged_to_nobody() {
    the_log_fails(&Fault { call: "short", file: "/log/db", errno: EIO }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_the_log_without_room_is_acknowledged_to_nobody() {
    the_log_fails(&Fault { call: "short", file: "/log/db", errno: ENOSPC }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_to_the_head_file_is_acknowledged_to_nobody() {
    the_log_fails(&Fault { call: "pwrite", file: "/head", errno: EIO }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_the_head_file_ends_the_process() {
    // It runs beside the commits, so those of some 20 ms are acknowledged still, and rightly: the log has them.
    let fault = Fault { call: "fdatasync", file: "/head", errno: EIO };
    fails(&fault, |_| {}).await;
}

async fn the_log_fails(fault: &Fault) {
    fails(fault, |acknowledged_after| assert_eq!(acknowledged_after, 0, "acknowledged after the failure"))
        .await;
}

async fn fails(fault: &Fault, acknowledged_after: impl Fn(usize)) {
    let dir = tempfile::tempdir().unwrap();
    let trigger = dir.path().join("trigger");
    let start = Start::on(dir.path().join("data"));
    let failing = start
        .clone()
        .env("LD_PRELOAD", library().to_str().unwrap())
        .env("FAIL_CALL", fault.call)
        .env("FAIL_FILE", fault.file)
        .env("FAIL_ERRNO", fault.errno.to_string())
        .env("FAIL_TRIGGER", trigger.to_str().unwrap());
    let journal = Arc::new(Journal::default());
    let mut server = failing.serve();
    let login = server.set_up().await;
    let writers = journal.write(&server, &login, 16);
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(&trigger, b"").unwrap();
    let triggered = Instant::now();
    let status = server.process.wait(Duration::from_secs(30));
    let log = server.process.last_lines();
    assert_eq!(status.and_then(|status| status.code()), Some(3), "{log}");
    writers.join_all().await;
    assert!(log.contains("Check the disk, then start again"), "it says what to do: {log}");
    assert!(!log.contains("token"), "{log}");
    assert!(journal.acknowledged() > 0);
    acknowledged_after(journal.acknowledged_after(triggered));

    let server = start.serve();
    assert!(server.process.log_lines().contains("not a clean one"));
    journal.verify(&server, &login).await;
    assert_sound(&start.dir);
    let writers = journal.write(&server, &login, 4);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    writers.join_all().await;
    journal.verify(&start.serve(), &login).await;
}
