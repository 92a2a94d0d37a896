//! Snapshots as an operator takes and restores them: of a server under load, and into a directory that is lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::journal::Journal;
use crate::process::{Ended, Server, Start, command, run, settled, settled_on, text};

/// Runs `settled snapshot` to its end, with the root key of a data directory.
pub fn snapshot(root: &Path, args: &[&str]) -> Ended {
    let mut command = command(&[&["snapshot"], args].concat());
    command.env("SETTLED_ROOT_KEY_FILE", root);
    run(command)
}

pub fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Takes a snapshot of a data directory, into where they go by default: the path of its history.
pub fn taken(dir: &Path) -> PathBuf {
    let taken = settled_on(dir, &["snapshot", "create", "--json"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    PathBuf::from(text(&taken.json()["path"]))
}

/// Waits until so many writes were acknowledged.
pub async fn until(journal: &Journal, writes: usize) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while journal.acknowledged() < writes {
        assert!(Instant::now() < deadline, "{} writes were acknowledged", journal.acknowledged());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A data directory whose root key lies elsewhere.
pub struct Given {
    pub folder: tempfile::TempDir,
    pub start: Start,
    pub root: PathBuf,
}

pub fn given() -> Given {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.key");
    let made = settled(&["key", "generate", "--output", as_text(&root)]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let start = Start::on(folder.path().join("data")).env("SETTLED_ROOT_KEY_FILE", as_text(&root));
    Given { folder, start, root }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_comes_back_from_a_snapshot_that_was_taken_under_load() {
    let Given { folder, start, root } = given();
    let server = start.serve();
    let login = server.set_up().await;
    let journal = Arc::new(Journal::default());
    let writers = journal.write(&server, &login, 8);
    let file = folder.path().join("taken.settled");
    let data = start.dir.clone();
    let args = ["create", "--data-dir", as_text(&data), "--output", as_text(&file), "--json"];
    // Something was acknowledged before it is taken, and something after.
    until(&journal, 20).await;
    let before = journal.acknowledged();
    let taken = snapshot(&root, &args);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(taken.stderr.contains("asking the server"), "{taken:?}");
    until(&journal, before + 20).await;
    drop(writers);
    let verified = snapshot(&root, &["verify", as_text(&file), "--json"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert_eq!(verified.json()["missing_keys"], 0);
    assert!(verified.json()["events"].as_u64() >= Some(before as u64), "{verified:?}");
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));

    std::fs::remove_dir_all(&start.dir).unwrap();
    let restored = snapshot(&root, &["restore", as_text(&file), "--data-dir", as_text(&data), "--json"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.stderr.contains("WARNING: no ledger"), "{restored:?}");
    let server = start.serve();
    assert_eq!(server.call(&login, "GET", "/v1/me", None).await.0, 401, "every session has ended");
    let login = server.log_in().await;
    let (status, values) = server.call(&login, "GET", "/v1/environments/prod/config", None).await;
    assert_eq!(status, 200, "{values}");
    assert!(!values["data"].as_array().unwrap().is_empty(), "{values}");
    let (_, audit) = server.call(&login, "GET", "/v1/audit?action=config.*", None).await;
    assert!(audit["total"].as_u64() >= Some(before as u64), "{audit}");
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let checked = run({
        let mut command = command(&["fsck", "--data-dir", as_text(&data)]);
        command.env("SETTLED_ROOT_KEY_FILE", &root);
        command
    });
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_and_a_directory_are_drilled_alike() {
    let Given { folder: _folder, start, root } = given();
    let data = start.dir.clone();
    let on = |args: &[&str]| snapshot(&root, &[args, &["--data-dir", as_text(&data)]].concat());
    let server = start.serve();
    let login = server.set_up().await;
    let none = on(&["drill"]);
    assert!(none.code == Some(1) && none.stderr.contains("there is no snapshot"), "{none:?}");
    assert_eq!(on(&["create"]).code, Some(0));
    let drilled = on(&["drill", "--json"]);
    assert_eq!(drilled.code, Some(0), "{drilled:?}");
    let id = drilled.json()["snapshot"].clone();
    let status: Value = serde_json::from_str(&server.operator("/v1/operator/status")).unwrap();
    assert_eq!(
        (&status["last_snapshot"]["snapshot"], &status["last_verified_restore"]["snapshot"]),
        (&id, &id)
    );
    let listed: Value = serde_json::from_str(&server.operator("/v1/operator/snapshots")).unwrap();
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["has_keys"]), (&id, &json!(true)));
    let (status, _) = server.call(&login, "GET", "/v1/operator/snapshots", None).await;
    assert_eq!(status, 404, "not on the public port");
    let downloaded = format!("/v1/operator/snapshots/{}/keys", id.as_str().unwrap());
    assert_eq!(download(&server, &downloaded), std::fs::read(keys_beside(&listed["data"][0])).unwrap());
    let audit = "/v1/operator/audit?action=snapshot.*&limit=1";
    let page: Value = serde_json::from_str(&server.operator(audit)).unwrap();
    assert_eq!((&page["data"][0]["action"], &page["total"]), (&json!("snapshot.drill"), &json!(2)), "{page}");
    let next = format!("/v1/operator/audit?cursor={}", page["next_cursor"].as_str().unwrap());
    let page: Value = serde_json::from_str(&server.operator(&next)).unwrap();
    assert_eq!(
        (&page["data"][0]["action"], &page["data"][0]["user"]["id"]),
        (&json!("snapshot.create"), &json!("operator"))
    );
    let page: Value = serde_json::from_str(&server.operator("/v1/operator/organizations")).unwrap();
    assert_eq!(
        (&page["data"][0]["id"], &page["data"][0]["name"]),
        (&json!(login.organization), &json!("Acme"))
    );
    let one = format!("/v1/operator/organizations/{}", login.organization);
    let one: Value = serde_json::from_str(&server.operator(&one)).unwrap();
    assert_eq!(one, page["data"][0]);
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));

    let listed = on(&["list", "--json"]);
    assert_eq!((listed.code, &listed.json()["data"][0]["id"]), (Some(0), &id), "{listed:?}");
    let drilled = on(&["drill"]);
    assert_eq!(drilled.code, Some(0), "{drilled:?}");
    assert!(drilled.stdout.contains("each as it was here then"), "{drilled:?}");
    let file = PathBuf::from(listed.json()["data"][0]["path"].as_str().unwrap());
    let another = data.join("another.key");
    assert_eq!(settled(&["key", "generate", "--output", as_text(&another)]).code, Some(0));
    let into = data.with_extension("elsewhere");
    for args in [&["verify", as_text(&file)][..], &["restore", as_text(&file), "--data-dir", as_text(&into)]]
    {
        let refused = snapshot(&another, args);
        assert!(
            refused.code == Some(2) && refused.stderr.contains("wrong root key"),
            "no verdict: {refused:?}"
        );
    }
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let verified = on(&["verify", as_text(&file)]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.stderr.contains("is damaged"), "{verified:?}");
}

/// The file of the keys of a snapshot that was listed.
fn keys_beside(listed: &Value) -> PathBuf {
    PathBuf::from(format!("{}.keys", listed["path"].as_str().unwrap()))
}

/// A file over the operator's socket.
fn download(server: &Server, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let socket = server.socket();
    std::thread::scope(|scope| {
        let gather = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            true
        };
        scope.spawn(|| settled::cli::socket::stream(&socket, path, gather)).join()
    })
    .expect("the client does not panic")
    .expect("the socket answers");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_reached_are_not_taken_for_keys_that_are_not_there() {
    let Given { folder, start, root } = given();
    let server = start.serve();
    server.set_up().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let history = folder.path().join("taken.settled");
    let taken =
        snapshot(&root, &["create", "--data-dir", as_text(&start.dir), "--output", as_text(&history)]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let keys = history.with_added_extension("keys");
    std::fs::remove_file(&keys).unwrap();
    let verify = || snapshot(&root, &["verify", as_text(&history), "--json"]);
    let without = verify();
    assert_eq!((without.code, without.json().get("missing_keys")), (Some(0), None), "{without:?}");
    // A name that leads to itself leads nowhere.
    std::os::unix::fs::symlink(&keys, &keys).unwrap();
    let unreachable = verify();
    assert_eq!((unreachable.code, &*unreachable.stdout), (Some(3), ""), "{unreachable:?}");
    assert!(unreachable.stderr.contains(as_text(&keys)), "{unreachable:?}");
}
