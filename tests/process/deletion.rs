//! An operator deletes an organization: it is gone at once and for ever, for whoever has the whole disk, killed at any step, and
//! in a store that is restored from before; the others stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use settled::cli::socket::{SocketError, call};
use tempfile::TempDir;

use crate::destroy::{CANARY, is_canary, loot, make, reveal};
use crate::disk::Disk;
use crate::held::until;
use crate::journal::assert_sound;
use crate::keys::{is_stopped, stop};
use crate::preload::library;
use crate::process::{Login, Server, Start, scale, settled_on, text};
use crate::snapshots::taken;
use crate::thief::Thief;

/// Asks on the operator's socket; a status that is no success.
fn operator(socket: &Path, method: Method, path: &str) -> Result<Value, u16> {
    // On a thread of its own: the command line's client brings its own runtime.
    let answered = std::thread::scope(|scope| scope.spawn(|| call(socket, method, path)).join());
    match answered.expect("the client does not panic") {
        Ok(body) if body.is_empty() => Ok(Value::Null),
        Ok(body) => Ok(serde_json::from_slice(&body).expect("the answer is JSON")),
        Err(SocketError::Refused { status, .. }) => Err(status.as_u16()),
        Err(_) => Err(0),
    }
}

fn organization_path(organization: &str) -> String {
    format!("/v1/operator/organizations/{organization}")
}

fn delete(server: &Server, organization: &str) -> Result<Value, u16> {
    operator(&server.socket(), Method::DELETE, &organization_path(organization))
}

fn organizations(server: &Server) -> Vec<String> {
    let list = operator(&server.socket(), Method::GET, "/v1/operator/organizations").unwrap();
    list["data"].as_array().unwrap().iter().map(|one| text(&one["id"])).collect()
}

/// Two organizations of one person: one that stays, and one that goes, which has secrets and a program that reads them.
pub struct Two {
    pub stays: Login,
    pub goes: Login,
    pub secrets: Vec<String>,
    program: Login,
}

pub async fn two(server: &Server) -> Two {
    let stays = server.set_up().await;
    make(server, &stays, 0..1).await;
    beside(server, stays).await
}

/// One that goes beside one that stays.
pub async fn beside(server: &Server, stays: Login) -> Two {
    let body = json!({"name": "Goes", "timezone": "UTC"});
    let (status, founded) = server.call(&stays, "POST", "/v1/organizations", Some(body)).await;
    assert_eq!(status, 201, "{founded}");
    let organization = text(&founded["id"]);
    // The session that switches ends, so another one does.
    let other = server.log_in_to(&stays.organization).await;
    let body = json!({"organization": organization});
    let (status, switched) = server.call(&other, "POST", "/v1/auth/switch", Some(body)).await;
    assert_eq!(status, 200, "{switched}");
    let goes = Login { token: text(&switched["token"]), organization };
    server.make_environment(&goes).await;
    let secrets = make(server, &goes, 1..4).await;
    let key = json!({"name": "reads", "mode": "live"});
    let (status, key) = server.call(&goes, "POST", "/v1/api-keys", Some(key)).await;
    assert_eq!(status, 201, "{key}");
    let program = Login { token: text(&key["key"]), organization: goes.organization.clone() };
    Two { stays, goes, secrets, program }
}

const CTX: &str = "/v1/ctx?environment=prod";

/// That of the one that goes nothing is answered any more, and that the other is as it was.
pub async fn is_gone(server: &Server, two: &Two) {
    for who in [&two.goes, &two.program] {
        for path in ["/v1/environments", CTX, "/v1/audit"] {
            assert_eq!(server.call(who, "GET", path, None).await.0, 401, "{path}");
        }
    }
    assert_eq!(operator(&server.socket(), Method::GET, &organization_path(&two.goes.organization)), Err(404));
    assert_eq!(organizations(server), std::slice::from_ref(&two.stays.organization));
    // With one organization left there is nothing to choose between.
    let login = server.log_in().await;
    assert_eq!(login.organization, two.stays.organization);
    let body = json!({"organization": two.goes.organization});
    assert_eq!(server.call(&login, "POST", "/v1/auth/switch", Some(body)).await.0, 404);
}

/// That whoever has all of a folder and the root key opens no value of the one that goes, and that of the one that stays.
pub fn nothing_opens(dir: &Path, root: &Path, two: &Two) {
    let thief = Thief::of(dir, &fs::read_to_string(root).unwrap());
    let gone = loot(dir, &two.goes.organization);
    assert_eq!(gone.len(), 3, "its history is there");
    assert!(gone.iter().all(|(_, loot)| thief.opens(loot).is_none()), "what was destroyed opens");
    let kept = loot(dir, &two.stays.organization);
    assert!(is_canary(thief.opens(&kept[0].1), 0), "what stays does not open");
}

pub fn founding(dir: impl Into<PathBuf>) -> Start {
    Start::on(dir).with(&["--organizations", "open"])
}

/// A server with two organizations, and the history of a snapshot of them.
pub struct Snapped {
    pub folder: TempDir,
    pub start: Start,
    pub server: Server,
    pub two: Two,
    pub history: PathBuf,
}

pub async fn snapped() -> Snapped {
    let folder = tempfile::tempdir().unwrap();
    let start = founding(folder.path().join("data"));
    let server = start.serve();
    let two = two(&server).await;
    let history = taken(&start.dir);
    Snapped { folder, start, server, two, history }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_organization_is_gone_and_its_history_stays_as_ciphertext() {
    let dir = tempfile::tempdir().unwrap();
    let start = founding(dir.path().join("data"));
    let server = start.serve();
    let two = two(&server).await;
    assert_eq!(server.call(&two.program, "GET", CTX, None).await.0, 200);
    let watch =
        settled::client::http::plain().build().unwrap().get(format!("{}/v1/audit/stream", server.url));
    let mut watched = watch.bearer_auth(&two.goes.token).send().await.unwrap();
    assert_eq!(watched.status(), 200);

    assert_eq!(delete(&server, &two.goes.organization), Ok(Value::Null));
    assert_eq!(delete(&server, &two.goes.organization), Err(404));
    assert_eq!(delete(&server, "org_01h455vb4pex5vsknk084sn02q"), Err(404));
    assert_eq!(delete(&server, "nobody"), Err(404));
    is_gone(&server, &two).await;
    let ends = async { while watched.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(60), ends).await.expect("an open stream ends");
    let audit = operator(&server.socket(), Method::GET, "/v1/operator/audit?action=organization.*").unwrap();
    assert_eq!(audit["data"][0]["resource"]["id"], two.goes.organization.as_str(), "{audit}");
    assert_eq!(audit["data"][0]["user"]["kind"], "operator", "{audit}");
    stop(server);

    assert_sound(&start.dir);
    let checked = settled_on(&start.dir, &["fsck", "--json"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    nothing_opens(&start.dir, &start.dir.join("root.key"), &two);
    let server = start.serve();
    is_gone(&server, &two).await;

    // Between two others it stands in the way of none.
    let body = json!({"name": "Later", "timezone": "UTC"});
    let (status, later) = server.call(&two.stays, "POST", "/v1/organizations", Some(body)).await;
    assert_eq!(status, 201, "{later}");
    let path = "/v1/operator/organizations?limit=1";
    let first = operator(&server.socket(), Method::GET, path).unwrap();
    let next = format!("{path}&cursor={}", text(&first["next_cursor"]));
    let second = operator(&server.socket(), Method::GET, &next).unwrap();
    assert_eq!(second["data"][0]["id"], later["id"], "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_before_does_not_bring_it_back() {
    let Snapped { folder, start, server, two, history } = snapped().await;
    let keys = history.with_added_extension("keys");
    let older = folder.path().join("older.keys");
    fs::copy(&keys, &older).unwrap();
    assert_eq!(delete(&server, &two.goes.organization), Ok(Value::Null));
    let are_rewritten = || fs::read(&keys).unwrap() != fs::read(&older).unwrap();
    until("the keys of the folder without what was destroyed", are_rewritten).await;
    stop(server);
    let root = start.dir.join("root.key");
    let restore = |history: &Path, keys: &Path, to: &Path| {
        let (history, keys) = (history.to_str().unwrap(), keys.to_str().unwrap());
        let root = root.to_str().unwrap();
        let args = ["snapshot", "restore", history, "--keys", keys, "--root-key-file", root];
        let restored = settled_on(to, &args);
        assert_eq!(restored.code, Some(0), "{restored:?}");
    };

    // The keys of then, and the ledger, which lies beside the history.
    let by_ledger = founding(folder.path().join("ledger")).with(&["--root-key-file", root.to_str().unwrap()]);
    restore(&history, &older, &by_ledger.dir);
    let server = by_ledger.serve();
    is_gone(&server, &two).await;
    stop(server);
    nothing_opens(&by_ledger.dir, &root, &two);

    // The newest keys, and no ledger anywhere.
    let alone = folder.path().join("alone");
    fs::create_dir(&alone).unwrap();
    let moved = alone.join("moved.settled");
    fs::copy(&history, &moved).unwrap();
    let by_keys = folder.path().join("keys");
    restore(&moved, &keys, &by_keys);
    nothing_opens(&by_keys, &root, &two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_snapshot_that_cannot_be_rewritten_are_told_until_they_are() {
    let Snapped { folder: _folder, start, server, two, history } = snapped().await;
    let keys = history.with_added_extension("keys");
    let whole = fs::read(&keys).unwrap();
    fs::write(&keys, &whole[..whole.len() / 2]).unwrap();
    let problems = || {
        let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
        status["problems"].clone()
    };
    assert_eq!(problems(), json!([]));
    assert_eq!(delete(&server, &two.goes.organization), Ok(Value::Null), "nothing of it opens here any more");
    let is_told = || problems()[0].as_str().is_some_and(|told| told.contains(keys.to_str().unwrap()));
    until("that they cannot be rewritten", is_told).await;
    let told = text(&problems()[0]);
    assert!(told.contains("may open what was destroyed"), "{told}");
    assert!(server.process.log_lines().contains("may open what was destroyed"));

    // Whoever rotates a key has all of them looked at again.
    fs::write(&keys, &whole).unwrap();
    let rotated = settled_on(&start.dir, &["key", "rotate", "--stream", &two.stays.organization]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    assert_eq!(problems(), json!([]));
    assert!(fs::read(&keys).unwrap() != whole, "they were rewritten");
}

/// More steps than a deletion has.
const STEPS_MAX: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_is_killed_before_any_of_its_steps_is_done_or_not_and_done_where_it_was_acknowledged()
{
    let place = tempfile::tempdir().unwrap();
    let given = founding(place.path().join("given"));
    let server = given.serve();
    let two = two(&server).await;
    stop(server);
    let trigger = place.path().join("trigger");
    let every = if scale() >= 10 { 1 } else { 6 };
    let (mut finished, mut as_before) = (0, 0);
    for step in (1..STEPS_MAX).step_by(every) {
        let data = place.path().join(step.to_string());
        crate::keys::copy(&given.dir, &data);
        let started = founding(&data)
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("STEP_AT", step.to_string())
            .env("STEP_SIGNAL", Signal::STOP.as_raw().to_string())
            .env("STEP_TRIGGER", trigger.to_str().unwrap());
        let mut server = started.serve();
        fs::write(&trigger, b"").unwrap();
        let (socket, path) = (server.socket(), organization_path(&two.goes.organization));
        let answer = std::thread::spawn(move || operator(&socket, Method::DELETE, &path));
        while !answer.is_finished() && !is_stopped(server.process.pid()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let acknowledged = answer.is_finished();
        server.process.kill();
        fs::remove_file(&trigger).unwrap();
        assert_eq!(answer.join().unwrap().is_ok(), acknowledged, "step {step}");

        let server = founding(&data).serve();
        let there = organizations(&server).len() == 2;
        if there {
            assert!(!acknowledged, "step {step}: what was acknowledged is undone");
            assert_eq!(reveal(&server, &two.goes, &two.secrets[0]).await, Ok(format!("{CANARY}1")));
            as_before += 1;
        } else {
            is_gone(&server, &two).await;
            finished += 1;
        }
        stop(server);
        assert_sound(&data);
        if !there {
            nothing_opens(&data, &data.join("root.key"), &two);
        }
        fs::remove_dir_all(&data).unwrap();
        if acknowledged {
            break;
        }
    }
    assert!(
        finished > 1 && as_before > 0,
        "{finished} were finished at the next start, {as_before} had not begun"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_during_a_deletion_leaves_it_done_or_not_and_done_where_it_was_acknowledged() {
    let disk = Disk::new(128);
    let logs = tempfile::tempdir().unwrap();
    let start = founding(disk.path().join("data"))
        .with(&["--min-free-disk", "16MiB", "--ballast", "4MiB"])
        .logging_to(logs.path().join("stderr"));
    let server = start.serve();
    let stays = server.set_up().await;
    make(&server, &stays, 0..1).await;
    stop(server);
    let rounds = u64::from(3 * scale());
    let (mut acknowledged, mut finished) = (0, 0);
    for round in 0..rounds {
        let mut server = start.serve();
        let two = beside(&server, stays.clone()).await;
        let (socket, path) = (server.socket(), organization_path(&two.goes.organization));
        let answer = std::thread::spawn(move || operator(&socket, Method::DELETE, &path));
        tokio::time::sleep(Duration::from_millis(2 + round * 29 % 250)).await;
        disk.cut();
        server.process.kill();
        let is_acknowledged = answer.join().unwrap().is_ok();
        disk.remount();
        let server = start.serve();
        if organizations(&server).len() == 2 {
            assert!(!is_acknowledged, "round {round}: what was acknowledged is undone");
            assert_eq!(reveal(&server, &two.goes, &two.secrets[0]).await, Ok(format!("{CANARY}1")));
            assert_eq!(delete(&server, &two.goes.organization), Ok(Value::Null), "round {round}");
        } else {
            acknowledged += u32::from(is_acknowledged);
            finished += u32::from(!is_acknowledged);
        }
        is_gone(&server, &two).await;
        stop(server);
        nothing_opens(&start.dir, &start.dir.join("root.key"), &two);
    }
    assert_sound(&start.dir);
    println!(
        "power cuts of a deletion: {rounds}; {acknowledged} were acknowledged, {finished} finished by the start"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_it_is_shut_at_once_and_finished_when_there_is_room() {
    let disk = Disk::new(96);
    let start = founding(disk.path().join("data")).with(&["--min-free-disk", "8MiB", "--ballast", "4MiB"]);
    let server = start.serve();
    let two = two(&server).await;
    disk.fill(7 << 20);
    let is_shut = async |server: &Server| {
        for who in [&two.goes, &two.program] {
            assert_eq!(server.call(who, "GET", CTX, None).await.0, 401);
        }
        assert_eq!(organizations(server), std::slice::from_ref(&two.stays.organization));
    };
    for _ in 0..2 {
        assert_eq!(delete(&server, &two.goes.organization), Err(507), "not all of it is done");
        is_shut(&server).await;
    }
    stop(server);
    let server = start.serve();
    is_shut(&server).await;
    let log = server.process.log_lines();
    assert_eq!(log.matches("until there is room to replace a key").count(), 1, "{log}");
    disk.empty();
    stop(server);
    let server = start.serve();
    is_gone(&server, &two).await;
    assert_eq!(delete(&server, &two.goes.organization), Err(404), "it is done");
    stop(server);
    assert_sound(&start.dir);
    nothing_opens(&start.dir, &start.dir.join("root.key"), &two);
}
