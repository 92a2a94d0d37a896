//! A server whose snapshots lie in object storage: taken, listed, downloaded, verified and drilled; and a store that is lost
//! comes back from there, with the newest keys and without what was destroyed.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Ended, Login, Server, Start, command, run, settled, settled_on, text};
use crate::s3::{Fate, ObjectStorage, Request, SECRET};

const URL: &str = "s3://settled/prod";

/// Runs `settled snapshot` to its end, with the root key and the credentials in its environment.
fn snapshot(storage: &ObjectStorage, root: &Path, data: &Path, args: &[&str]) -> Ended {
    let mut command = command(&[&["snapshot"], args].concat());
    command
        .env("SETTLED_ROOT_KEY_FILE", root)
        .env("SETTLED_DATA_DIR", data)
        .env("SETTLED_SNAPSHOTS_URL", URL);
    command.envs(storage.variables());
    let ended = run(command);
    assert!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET), "{ended:?}");
    ended
}

async fn secret(server: &Server, login: &Login, name: &str) -> String {
    let body = json!({"name": name, "value": "a canary"});
    let (status, body) = server.call(login, "POST", "/v1/secrets", Some(body)).await;
    assert_eq!(status, 201, "{body}");
    text(&body["id"])
}

async fn reveal(server: &Server, login: &Login, secret: &str) -> (u16, Value) {
    server.call(login, "POST", &format!("/v1/secrets/{secret}/reveal"), Some(json!({}))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_comes_back_from_a_bucket_without_what_was_destroyed() {
    let storage = ObjectStorage::start();
    let folder = tempfile::tempdir().unwrap();
    let (root, data) = (folder.path().join("root.key"), folder.path().join("data"));
    let made = settled(&["key", "generate", "--output", root.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut start = Start::on(&data).with(&["--snapshots-url", URL]);
    start = start.env("SETTLED_ROOT_KEY_FILE", root.to_str().unwrap());
    for (name, value) in storage.variables() {
        start = start.env(&name, value);
    }
    let on = |args: &[&str]| snapshot(&storage, &root, &data, args);
    let server = start.serve();
    let login = server.set_up().await;
    // Each fifth request fails, and is tried again.
    let mut number = 0;
    storage.decide(move |_, _| {
        number += 1;
        let fates = [Fate::OutOfOrder, Fate::Cut, Fate::AnswerLost, Fate::AnswerCut];
        if number % 5 == 2 { fates[number / 5 % 4] } else { Fate::Answered }
    });
    let (kept, destroyed) = (secret(&server, &login, "KEPT").await, secret(&server, &login, "GONE").await);
    let first = on(&["create", "--json"]).json();
    let path = format!("/v1/secrets/{destroyed}/destroy");
    assert_eq!(server.call(&login, "POST", &path, Some(json!({}))).await.0, 204);
    let second = on(&["create", "--json"]).json();
    let drilled = on(&["drill", "--json"]);
    assert_eq!((drilled.code, &drilled.json()["snapshot"]), (Some(0), &second["id"]), "{drilled:?}");

    storage.decide(|_, _| Fate::Refused);
    let unreachable = on(&["drill"]);
    assert!(unreachable.code == Some(3) && unreachable.stderr.contains("503"), "{unreachable:?}");
    let unreachable = on(&["list"]);
    assert!(unreachable.code == Some(3) && unreachable.stderr.contains("403"), "{unreachable:?}");
    storage.decide(|_, _| Fate::Answered);
    let listed: Value = serde_json::from_str(&server.operator("/v1/operator/snapshots")).unwrap();
    assert_eq!(listed["data"], json!([first, second]));
    assert!(!server.process.log_lines().contains(SECRET));
    let is_ours =
        |(_, target): &Request| target.starts_with("/settled/prod/") || target.contains("prefix=prod");
    let seen = storage.seen();
    assert!(!seen.is_empty() && seen.iter().all(is_ours), "{seen:?}");
    assert_eq!(storage.uploads().matches("<UploadId>").count(), 0, "nothing is under way");
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let listed = on(&["list", "--json"]);
    assert_eq!((listed.code, &listed.json()["data"]), (Some(0), &json!([first, second])), "{listed:?}");

    std::fs::remove_dir_all(&data).unwrap();
    let (history, keys) = (text(&first["path"]), format!("{}.keys", text(&second["path"])));
    assert!(history.starts_with("s3://settled/prod/snp_"), "{history}");
    let verified = on(&["verify", &history, "--json"]);
    assert_eq!((verified.code, &verified.json()["snapshot"]), (Some(0), &first["id"]), "{verified:?}");
    let restored = on(&["restore", &history, "--keys", &keys, "--json"]);
    assert_eq!((restored.code, &restored.json()["absent"]), (Some(0), &json!(1)), "{restored:?}");
    assert!(restored.stderr.contains("WARNING: no ledger"), "{restored:?}");
    assert!(restored.json()["shared_ledger"].is_null(), "nobody else has one there: {restored:?}");
    let server = start.serve();
    let login = server.log_in().await;
    assert_eq!(reveal(&server, &login, &kept).await.1["value"], "a canary");
    let (status, body) = reveal(&server, &login, &destroyed).await;
    assert_eq!((status, &body["code"]), (409, &json!("version_destroyed")), "{body}");
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_bucket_does_not_answer_stops_all_the_same() {
    let storage = ObjectStorage::start();
    let folder = tempfile::tempdir().unwrap();
    let mut start = Start::on(folder.path().join("data")).with(&["--snapshots-url", URL]);
    for (name, value) in storage.variables() {
        start = start.env(&name, value);
    }
    let server = start.serve();
    server.set_up().await;
    let (asks, asked) = std::sync::mpsc::channel();
    storage.decide(move |_, _| {
        let _nobody_listens = asks.send(());
        Fate::Stalled
    });
    let data = start.dir.clone();
    let create = std::thread::spawn(move || settled_on(&data, &["snapshot", "create"]));
    asked.recv_timeout(Duration::from_secs(60)).expect("it asks");
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    assert_ne!(create.join().unwrap().code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_without_credentials_is_a_mistake_of_whoever_named_it_whatever_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let new = Start::on(folder.path().join("new")).with(&["--snapshots-url", URL]).refused();
    let is_refused = |ended: &Ended| {
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("AWS_ACCESS_KEY_ID"), "{ended:?}");
    };
    is_refused(&new);
    assert!(!folder.path().join("new/current").exists(), "before anything is opened");

    let start = Start::on(folder.path().join("data"));
    let server = start.serve();
    server.set_up().await;
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    let object = format!("{URL}/a.settled");
    let asked: [&[&str]; 6] = [
        &["snapshot", "list", "--snapshots-url", URL],
        &["snapshot", "create", "--snapshots-url", URL],
        &["snapshot", "drill", "--snapshots-url", URL],
        &["snapshot", "verify", &object],
        &["snapshot", "restore", &object],
        &["fsck", "--repair-from", &object],
    ];
    for args in asked {
        is_refused(&settled_on(&start.dir, args));
    }
}
