//! A full disk: writes are refused, reads and logging out go on, a restart works, and nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::disk::Disk;
use crate::journal::{Journal, assert_sound};
use crate::process::{Login, Server, Start, scale, settled_on, text};

const MIN_FREE: u64 = 8 << 20;

fn start(disk: &Disk) -> Start {
    Start::on(disk.path().join("data")).with(&["--min-free-disk", "8MiB", "--ballast", "4MiB"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_refuses_writes_and_loses_nothing() {
    let rounds = if scale() >= 10 { 20 } else { 2 };
    let disk = Disk::new(96);
    let start = start(&disk);
    let journal = Arc::new(Journal::default());
    let mut server = start.serve();
    let login = server.set_up().await;
    for round in 0..rounds {
        let writers = journal.write(&server, &login, 16);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let refused = journal.refused_for_space();
        // Every other round the disk is as full as another program can make it.
        disk.fill(if round % 2 == 0 { MIN_FREE - (1 << 20) } else { 64 << 10 });
        until(|| journal.refused_for_space() > refused + 16, &server).await;
        drop(writers);
        while_full(&server, &login).await;

        // A restart while it is full: clean in two rounds of four, a kill in the others.
        if round % 4 < 2 {
            stop(server);
        } else {
            server.process.kill();
        }
        server = start.serve();
        while_full(&server, &login).await;

        disk.empty();
        let body = Some(json!({ "value": round }));
        let (status, body) =
            server.call(&login, "PUT", &format!("/v1/environments/prod/config/AFTER_{round}"), body).await;
        assert_eq!(status, 201, "all goes on when there is room: {body}");
        journal.verify(&server, &login).await;
        assert_sound(&start.dir);
    }
    println!(
        "full disk: {rounds} rounds, {} acknowledged, {} refused, 0 lost",
        journal.acknowledged(),
        journal.refused_for_space()
    );
}

fn stop(mut server: Server) {
    server.process.signal(rustix::process::Signal::TERM);
    let status = server.process.wait(Duration::from_secs(60));
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.process.last_lines());
}

/// What must go on, and what must not, while the disk is full.
async fn while_full(server: &Server, login: &Login) {
    let body = Some(json!({ "value": "no room" }));
    let (status, problem) = server.call(login, "PUT", "/v1/environments/prod/config/FULL", body).await;
    assert_eq!((status, &problem["status"]), (507, &json!(507)), "{problem}");
    for path in ["/v1/me", "/v1/general", "/v1/environments/prod/config", "/v1/audit", "/readyz"] {
        let (status, body) = server.call(login, "GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let status: serde_json::Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
    assert_eq!(status["problems"], json!(["the disk is nearly full"]), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_works_on_a_full_disk_and_holds_over_a_restart() {
    for leave in [MIN_FREE - (1 << 20), 0] {
        let disk = Disk::new(64);
        let start = start(&disk);
        let server = start.serve();
        let owner = server.set_up().await;
        let other = server.log_in().await;
        disk.fill(leave);
        let (status, body) = server.call(&other, "POST", "/v1/auth/logout", None).await;
        assert_eq!(status, 204, "with {leave} bytes free: {body}");
        assert_eq!(server.call(&other, "GET", "/v1/me", None).await.0, 401);
        while_full(&server, &owner).await;
        drop(server);
        let server = start.serve();
        assert_eq!(server.call(&other, "GET", "/v1/me", None).await.0, 401, "the logging out is durable");
        while_full(&server, &owner).await;
        stop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_no_snapshot_is_begun_and_revoking_goes_on() {
    let disk = Disk::new(96);
    let start = start(&disk);
    let server = start.serve();
    let owner = server.set_up().await;
    let body = Some(json!({"name": "leaked", "mode": "live"}));
    let (status, key) = server.call(&owner, "POST", "/v1/api-keys", body).await;
    assert_eq!(status, 201, "{key}");
    let program = Login { token: text(&key["key"]), ..owner.clone() };
    let reads =
        async |server: &Server| server.call(&program, "GET", "/v1/ctx?environment=prod", None).await.0;
    assert_eq!(reads(&server).await, 200);
    disk.fill(MIN_FREE - (1 << 20));
    while_full(&server, &owner).await;
    let create = || settled_on(&start.dir, &["snapshot", "create"]);
    let refused = create();
    assert!(refused.code == Some(3) && refused.stderr.contains("507"), "{refused:?}");
    let path = format!("/v1/api-keys/{}", text(&key["id"]));
    assert_eq!(server.call(&owner, "DELETE", &path, None).await.0, 204);
    assert_eq!(reads(&server).await, 401);
    stop(server);
    let server = start.serve();
    assert_eq!(reads(&server).await, 401, "the revocation is durable");
    while_full(&server, &owner).await;
    let begun = std::fs::read_dir(start.dir.join("snapshots")).unwrap();
    let begun = begun.map(|entry| entry.unwrap().file_name());
    let begun: Vec<_> = begun.filter(|name| name != "ledger" && name != "snapshots.lock").collect();
    assert!(begun.is_empty(), "{begun:?}");
    disk.empty();
    let taken = create();
    assert_eq!(taken.code, Some(0), "{taken:?}");
    stop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ballast_is_given_up_to_open_on_a_full_disk_and_made_again_later() {
    let disk = Disk::new(64);
    let start = start(&disk);
    let login = start.serve().set_up().await;
    let ballast = start.dir.join("ballast");
    assert!(ballast.exists());
    disk.fill(0);
    let server = start.serve();
    assert!(!ballast.exists(), "it was given up");
    while_full(&server, &login).await;
    disk.empty();
    let body = Some(json!({ "value": 1 }));
    assert_eq!(server.call(&login, "PUT", "/v1/environments/prod/config/ROOM", body).await.0, 201);
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 4 << 20, "it was made again, without a restart");
    disk.fill(0);
    stop(server);
    assert_eq!(start.serve().call(&login, "GET", "/v1/me", None).await.0, 200);
}

async fn until(mut holds: impl FnMut() -> bool, server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come: {}", server.process.last_lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
