//! `/v1/connections` of kinds `token` and `basic`, and what programs read of them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Somebody, TestServer, text};

/// Acme with an environment `dev`, and a program that reads there.
async fn acme() -> (TestServer, Somebody, Somebody) {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let key = json!({"name": "P", "mode": "test", "environments": ["dev"]});
    let (_, program) = server.api_key(&owner, &key).await;
    (server, owner, program)
}

fn token(name: &str) -> Value {
    json!({"kind": "token", "name": name, "token": "Zq7 a token", "environment": "dev"})
}

async fn make(server: &TestServer, owner: &Somebody, body: &Value) -> Value {
    server.post("/v1/connections", Some(owner), body).await.is(201).json()["connection"].clone()
}

async fn read(server: &TestServer, program: &Somebody) -> (Value, String) {
    let answer = server.get("/v1/ctx?environment=dev", program).await.is(200);
    (answer.json()["connections"].clone(), answer.etag())
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_what_is_shown_to_nobody_else() {
    let (server, owner, program) = acme().await;
    let (none, before) = read(&server, &program).await;
    assert_eq!(none, json!({}));
    let made = server.post("/v1/connections", Some(&owner), &token("billing")).await.is(201);
    let connection = made.json()["connection"].clone();
    assert_eq!((&made.json()["connect_url"], &connection["status"]), (&Value::Null, &json!("connected")));
    let path = format!("/v1/connections/{}", text(&connection["id"]));
    assert_eq!(made.header("location").as_deref(), Some(&*path));
    let basic = json!({"kind": "basic", "name": "legacy", "username": "Zq7 \"n\"", "password": "Zq7 p\u{e9}", "environment": "dev"});
    make(&server, &owner, &basic).await;

    let (read_now, after) = read(&server, &program).await;
    assert_ne!(before, after, "what is seen is another");
    assert_eq!(read_now["billing"], json!({"kind": "token", "token": "Zq7 a token"}));
    assert_eq!(
        read_now["legacy"],
        json!({"kind": "basic", "username": "Zq7 \"n\"", "password": "Zq7 p\u{e9}"})
    );
    for answer in [server.get("/v1/connections", &owner).await, server.get(&path, &owner).await, made] {
        assert!(!answer.text.contains("Zq7"), "{}", answer.text);
    }

    server.patch(&path, &owner, &json!({"token": "Zq7 another"})).await.is(200);
    server.patch(&path, &owner, &json!({"name": "invoices"})).await.is(200);
    let (changed, _) = read(&server, &program).await;
    assert_eq!(changed["invoices"], json!({"kind": "token", "token": "Zq7 another"}));
    assert_eq!(changed.get("billing"), None);
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    assert_eq!(read(&server, &program).await.0.as_object().unwrap().len(), 1);
    let rows = server.audit(&owner, "&action=connection.*").await;
    let actions: Vec<String> = rows.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(
        actions,
        [
            "connection.revoke",
            "connection.update",
            "connection.update",
            "connection.create",
            "connection.create"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_connections_in_its_environment() {
    let (server, owner, _) = acme().await;
    server.environment(&owner, "Stage", "test").await;
    let first = make(&server, &owner, &token("billing")).await;
    server.post("/v1/connections", Some(&owner), &token("billing")).await.is_problem(409, "name_taken");
    let mut there = token("billing");
    there["environment"] = json!("stage");
    make(&server, &owner, &there).await;
    let other = make(&server, &owner, &token("other")).await;
    let path = format!("/v1/connections/{}", text(&other["id"]));
    server.patch(&path, &owner, &json!({"name": "billing"})).await.is_problem(409, "name_taken");
    let same = server.patch(&path, &owner, &json!({"name": "other"})).await.is(200);
    assert_eq!(same.json()["version"], other["version"]);

    let listed = server.get("/v1/connections?environment=stage", &owner).await.is(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let page = server.get("/v1/connections?environment=dev&limit=1", &owner).await.is(200).json();
    assert_eq!(page["data"][0]["id"], first["id"]);
    let next = format!("/v1/connections?cursor={}", text(&page["next_cursor"]));
    assert_eq!(server.get(&next, &owner).await.is(200).json()["data"][0]["id"], other["id"]);
    let failed = server.get("/v1/connections?status=failed", &owner).await.is(200).json();
    assert_eq!(failed["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kind_does_not_have_is_refused() {
    let (server, owner, _) = acme().await;
    for (body, pointer) in [
        (json!({"kind": "token", "name": "a", "environment": "dev"}), "/token"),
        (json!({"kind": "token", "token": "t", "environment": "dev"}), "/name"),
        (json!({"kind": "token", "name": "a", "token": "t", "environment": "nowhere"}), "/environment"),
        (json!({"kind": "basic", "name": "a", "environment": "dev"}), "/username"),
        (json!({"kind": "basic", "name": "a", "username": "u", "environment": "dev"}), "/password"),
        (json!({"kind": "basic", "name": "a", "token": "t", "environment": "dev"}), "/token"),
        (
            json!({"kind": "token", "name": "a", "username": "u", "password": "p", "environment": "dev"}),
            "/username",
        ),
        (
            json!({"kind": "token", "name": "a", "token": "t", "provider": "github", "environment": "dev"}),
            "/kind",
        ),
        (json!({"token": "t", "name": "a", "environment": "dev"}), "/kind"),
        (json!({"environment": "dev"}), "/oauth_app"),
        (json!({"environment": "dev", "provider": "github"}), "/provider"),
        (json!({"environment": "dev", "oauth_app": "app_01kqxk5rd0e5xrpzzv0jjq4zgn"}), "/oauth_app"),
        (json!({"kind": "token", "name": "A B", "token": "t", "environment": "dev"}), "/name"),
    ] {
        let problem = server.post("/v1/connections", Some(&owner), &body).await.is(422).problem();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    let connection = make(&server, &owner, &token("billing")).await;
    let path = format!("/v1/connections/{}", text(&connection["id"]));
    let basic = json!({"username": "u", "password": "p"});
    server.patch(&path, &owner, &basic).await.is_problem(409, "other_kind");
    server.post(&format!("{path}/reconnect"), Some(&owner), &json!({})).await.is_problem(409, "other_kind");
    server
        .post(&format!("{path}/refresh"), Some(&owner), &json!({}))
        .await
        .is_problem(409, "not_refreshable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_kept_while_it_has_connections() {
    let (server, owner) = TestServer::set_up().await;
    let then = server.version(owner.organization);
    server.environment(&owner, "Dev", "test").await;
    let key = json!({"name": "P", "mode": "test", "environments": ["dev"]});
    let (_, program) = server.api_key(&owner, &key).await;
    let connection = make(&server, &owner, &token("billing")).await;
    let secret = json!({"name": "KEY", "value": "Zq7 a value", "environment": "dev"});
    server.post("/v1/secrets", Some(&owner), &secret).await.is(201);
    server.put("/v1/environments/dev/config/URL", &owner, &json!({"value": "Zq7"})).await.is(201);
    server.delete("/v1/environments/dev", &owner).await.is_problem(409, "has_connections");
    // Nor does a restore to before take it away, or anything in it.
    let before = server.get("/v1/ctx?environment=dev", &program).await.is(200).json();
    let restore = json!({"as_of": then, "scope": {"organization": true}});
    let any = [("if-match", "*")];
    let restored = server.send(Method::POST, "/v1/restore", &owner, &any, &restore).await.is(200).json();
    let cannot = restored["cannot"].as_array().unwrap();
    let whys: Vec<&Value> = cannot.iter().map(|cannot| &cannot["why"]).collect();
    assert_eq!(whys, ["has_connections"], "{restored}");
    assert_eq!(server.get("/v1/ctx?environment=dev", &program).await.is(200).json(), before);
    assert_eq!((&before["secrets"]["KEY"], &before["config"]["URL"]), (&json!("Zq7 a value"), &json!("Zq7")));
    // A secret alone is as it was then, if that is what is asked for.
    let secrets = server.get("/v1/secrets", &owner).await.is(200).json();
    let alone = json!({"as_of": then, "scope": {"resource": secrets["data"][0]["id"]}});
    server.send(Method::POST, "/v1/restore", &owner, &any, &alone).await.is(200);
    let after = server.get("/v1/ctx?environment=dev", &program).await.is(200).json();
    assert_eq!(after["secrets"], json!({}));
    server.delete(&format!("/v1/connections/{}", text(&connection["id"])), &owner).await.is(204);
    server.delete("/v1/environments/dev", &owner).await.is(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_are_compared_by_their_connections() {
    let (server, owner, _) = acme().await;
    server.environment(&owner, "Stage", "test").await;
    let app = json!({"provider": "github", "client_id": "c", "client_secret": "s"});
    let app = text(&server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201).json()["id"]);
    for environment in ["dev", "stage"] {
        let body = json!({"oauth_app": app, "environment": environment});
        server.post("/v1/connections", Some(&owner), &body).await.is(201);
    }
    make(&server, &owner, &token("billing")).await;
    let diff = server.get("/v1/environments/dev/diff/stage", &owner).await.is(200);
    assert!(!diff.text.contains("Zq7"), "{}", diff.text);
    let told: Vec<(String, String, String, bool)> = diff.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            let of = |field: &str| text(&pair[field]);
            (of("type"), of("name"), of("presence"), pair["in_sync"] == true)
        })
        .collect();
    let expected = |kind: &str, name: &str, presence: &str, in_sync| {
        (kind.to_owned(), name.to_owned(), presence.to_owned(), in_sync)
    };
    assert_eq!(
        told,
        [
            expected("connection", "billing", "only_a", false),
            expected("connection", "github", "both", true),
            expected("oauth_app", &app, "both", true),
        ]
    );
    server.delete(&format!("/v1/oauth-apps/{app}"), &owner).await.is_problem(409, "oauth_app_in_use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_once() {
    let (server, owner, _) = acme().await;
    let app = json!({"provider": "github", "client_id": "c", "client_secret": "s"});
    server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201);
    let body = json!({"provider": "github", "environment": "dev"});
    let headers = [("idempotency-key", "once")];
    let post = async || server.send(Method::POST, "/v1/connections", &owner, &headers, &body).await;
    let first = post().await.is(201).json();
    assert!(text(&first["connect_url"]).starts_with(&format!("{}/connect/", server.base())));
    assert_eq!(first["connection"]["status"], "pending");
    let again = post().await.is_problem(409, "one_time_value_spent");
    assert_eq!(again["id"], first["connection"]["id"]);
    // One that has its credential has nothing to be shown once.
    let token = token("billing");
    let headers = [("idempotency-key", "twice")];
    let post =
        async || server.send(Method::POST, "/v1/connections", &owner, &headers, &token).await.is(201).json();
    assert_eq!(post().await, post().await);
}
