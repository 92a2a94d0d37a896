//! An erased customer leaves nothing readable: for whoever has the whole disk and the root key, once the organization's key is
//! rotated, and with a snapshot of before.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::destroy::{CANARY, carried, is_canary};
use crate::disk::Disk;
use crate::keys::stop;
use crate::process::{Login, Server, Start, settled_on, text};
use crate::snapshots::taken;
use crate::thief::{Loot, Thief};

/// A customer all of whose values are the canary of a number; its id.
async fn customer(server: &Server, login: &Login, number: usize) -> String {
    let call = async |method: &str, path: &str, body: Value| {
        let (status, body) = server.call(login, method, path, Some(body)).await;
        assert_eq!(status, 201, "{method} {path}: {body}");
        body
    };
    let canary = format!("{CANARY}{number}");
    let body = json!({"name": canary, "external_id": canary, "tags": {"t": canary},
        "metadata": {"m": canary}});
    let id = text(&call("POST", "/v1/customers", body).await["id"]);
    let (path, name) = (format!("/v1/customers/{id}"), as_name(&canary));
    call("PUT", &format!("{path}/data/{name}"), json!({"value": canary})).await;
    let begins = json!({"workflow": name, "environment": "dev", "trigger": canary});
    let begun = call("POST", &format!("{path}/executions"), begins).await;
    let finish = format!("{path}/executions/{}/finish", text(&begun["id"]));
    let end = json!({"status": "failed", "error": canary, "usage": {name: 5}});
    assert_eq!(server.call(login, "POST", &finish, Some(end)).await.0, 200);
    let secret = json!({"name": "S", "value": canary, "description": canary, "environment": "dev",
        "customer": id});
    call("POST", "/v1/secrets", secret).await;
    id
}

/// A canary as documents and workflows can be called.
fn as_name(canary: &str) -> String {
    canary.replace(' ', "-")
}

/// Whether what was opened has the canary of a number.
fn is_of(opened: Option<Vec<u8>>, number: usize) -> bool {
    let name = as_name(&format!("{CANARY}{number}"));
    let is_name = |padded: &Vec<u8>| padded.windows(name.len()).any(|window| window == name.as_bytes());
    opened.as_ref().is_some_and(is_name) || is_canary(opened, number)
}

/// Every sealed value that history has of a customer, whatever it is called.
fn loot(dir: &Path, stream: &str, customer: &str) -> Vec<Loot> {
    let exported = settled_on(dir, &["log", "export", "--stream", stream]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert!(!exported.stdout.contains(CANARY) && !exported.stdout.contains(&as_name(CANARY)));
    let mut all = Vec::new();
    for event in exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if event["data"]["customer"] != customer {
            continue;
        }
        let content = event["data"]["content"].as_object();
        let fields = event["data"].as_object().into_iter().chain(content).flatten();
        for (name, value) in fields {
            let Some(key) = value["sealed"].as_str() else { continue };
            let kind = text(&event["resource"]["type"]);
            // A document's places name what it is found by.
            let document = event["data"]["document"].as_str();
            let field = document.map_or_else(|| name.clone(), |document| format!("{name}/{document}"));
            all.push(Loot {
                stream: stream.parse().unwrap(),
                resource_type: kind,
                resource_id: text(&event["resource"]["id"]),
                field,
                key: key.parse().unwrap(),
                data: URL_SAFE_NO_PAD.decode(text(&value["data"])).unwrap(),
            });
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_with_the_whole_disk_and_the_root_key_reads_an_erased_customer() {
    let disk = Disk::new(64);
    let start = Start::on(disk.path().join("data")).with(&["--min-free-disk", "1MiB", "--ballast", "1MiB"]);
    let server = start.serve();
    let login = server.set_up().await;
    let environment = json!({"name": "Dev", "mode": "test"});
    assert_eq!(server.call(&login, "POST", "/v1/environments", Some(environment)).await.0, 201);
    let customers = [customer(&server, &login, 0).await, customer(&server, &login, 1).await];
    let history = taken(&start.dir);
    let path = format!("/v1/customers/{}/erase", customers[1]);
    assert_eq!(server.call(&login, "POST", &path, Some(json!({}))).await.0, 200);
    let rotated = settled_on(&start.dir, &["key", "rotate", "--json", "--stream", &login.organization]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    stop(server);
    let root = fs::read_to_string(start.dir.join("root.key")).unwrap();
    let thief = Thief::of(&start.dir, &root);
    // The snapshot of before has its history still, and its keys no more.
    let carried = carried(&history, &root);
    for (number, id) in customers.iter().enumerate() {
        let all = loot(&start.dir, &login.organization, id);
        let fields: Vec<_> = all.iter().map(|loot| &loot.field).collect();
        assert_eq!(all.len(), 12, "{fields:?}");
        for loot in &all {
            let (opened, is_kept) = (is_of(thief.opens(loot), number), number == 0);
            assert_eq!(opened, is_kept, "{} of customer {number}", loot.field);
            assert_eq!(carried.contains(&loot.key), is_kept, "{} of customer {number}", loot.field);
        }
    }
}
