//! `/v1/environments/{a}/diff/{b}` and `/v1/environments/{a}/promote`.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};

const DIFF: &str = "/v1/environments/dev/diff/prod";
const PROMOTE: &str = "/v1/environments/dev/promote";

/// Acme with two environments: some configuration, and a secret in the first.
async fn acme() -> (TestServer, Somebody) {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Prod", "live").await;
    for (environment, values) in [
        ("dev", json!({"SAME": 1, "OTHER": "dev", "NEW": [1]})),
        ("prod", json!({"SAME": 1, "OTHER": 2, "OLD": 0})),
    ] {
        server.patch(&format!("/v1/environments/{environment}/config"), &owner, &values).await.is(200);
    }
    create(&server, &owner, "dev", "API_KEY", "hunter2").await;
    (server, owner)
}

async fn create(server: &TestServer, who: &Somebody, environment: &str, name: &str, value: &str) -> String {
    let body = json!({"name": name, "value": value, "environment": environment, "description": "d"});
    server.post("/v1/secrets", Some(who), &body).await.is(201).header("location").unwrap()
}

/// The pairs of a diff: type, name, presence, whether in sync.
async fn diff(server: &TestServer, who: &Somebody) -> Vec<(String, String, String, bool)> {
    let body = server.get(DIFF, who).await.is(200).json();
    let told = body["data"].as_array().unwrap().iter().map(|row| {
        let field = |name: &str| text(&row[name]);
        (field("type"), field("name"), field("presence"), row["in_sync"].as_bool().unwrap())
    });
    told.collect()
}

async fn promote(server: &TestServer, who: &Somebody, body: &Value) -> Answer {
    server.post(PROMOTE, Some(who), body).await
}

fn actions(answer: &Answer) -> Vec<String> {
    answer.json()["steps"].as_array().unwrap().iter().map(|step| text(&step["action"])).collect()
}

async fn secret_in(server: &TestServer, who: &Somebody, environment: &str) -> (String, String) {
    let list = server.get(&format!("/v1/secrets?environment={environment}"), who).await.is(200).json();
    let path = format!("/v1/secrets/{}", text(&list["data"][0]["id"]));
    let shown = server.post(&format!("{path}/reveal"), Some(who), &json!({})).await.is(200);
    (path, text(&shown.json()["value"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_are_compared_by_value_and_by_origin() {
    let (server, owner) = acme().await;
    // The same text by chance is no copy, and nothing tells that it is the same.
    create(&server, &owner, "prod", "API_KEY", "hunter2").await;
    create(&server, &owner, "prod", "ONLY", "v").await;
    let told = diff(&server, &owner).await;
    let row = |kind: &str, name: &str, presence: &str, in_sync| {
        (kind.to_owned(), name.to_owned(), presence.to_owned(), in_sync)
    };
    assert_eq!(
        told,
        [
            row("config", "NEW", "only_a", false),
            row("config", "OLD", "only_b", false),
            row("config", "OTHER", "both", false),
            row("config", "SAME", "both", true),
            row("secret", "API_KEY", "both", false),
            row("secret", "ONLY", "only_b", false),
        ]
    );
    let answer = server.get(DIFF, &owner).await.is(200);
    assert!(!answer.text.contains("hunter2"));
    let body = answer.json();
    assert_eq!((&body["data"][0]["a"], &body["data"][0]["b"]), (&json!([1]), &Value::Null));
    assert_eq!((&body["data"][2]["a"], &body["data"][2]["b"]), (&json!("dev"), &json!(2)));
    let only = server.get(&format!("{DIFF}?in_sync=true"), &owner).await.is(200).json();
    assert_eq!(only["data"].as_array().unwrap().len(), 1);
    // Page by page it is the same.
    let mut paged = Vec::new();
    let mut next = format!("{DIFF}?limit=1");
    loop {
        let page = server.get(&next, &owner).await.is(200).json();
        paged.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{DIFF}?limit=1&cursor={cursor}");
    }
    assert_eq!(json!(paged), body["data"]);
    server.get("/v1/environments/dev/diff/none?x=1", &owner).await.is_problem(404, "not_found");
    server.get(&format!("{DIFF}?x=1"), &owner).await.is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_in_both_is_left_out() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let somebody = server.add(owner.organization, "dev@example.com", "Dev").await;
    server.assign(&somebody, SystemRole::Developer, Some(dev.parse().unwrap())).await;
    server.get(DIFF, &somebody).await.is_problem(404, "not_found");
    server.get("/v1/environments/dev/diff/dev", &somebody).await.is(200);
    let body = json!({"to": "prod", "config": ["NEW"]});
    let problem = promote(&server, &somebody, &body).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/to", "one that may not be seen is not there");
    let prod = text(&server.get("/v1/environments/prod", &owner).await.json()["id"]);
    server.assign(&somebody, SystemRole::Viewer, Some(prod.parse().unwrap())).await;
    assert_eq!(diff(&server, &somebody).await, diff(&server, &owner).await);
    let refused = promote(&server, &somebody, &body).await.is_problem(403, "forbidden");
    assert_eq!(refused["permission"], "config:write");
    let workflow = server.add(owner.organization, "flow@example.com", "Flow").await;
    server.assign(&workflow, SystemRole::Workflow, Some(prod.parse().unwrap())).await;
    server.get(DIFF, &workflow).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_carries_over_what_its_dry_run_said_and_is_one_frame() {
    let (server, owner) = acme().await;
    let body = json!({"to": "prod", "config": ["SAME", "OTHER", "NEW"], "secrets": ["API_KEY"]});
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    let version = server.version(owner.organization);
    let plan = promote(&server, &owner, &dry).await.is(200);
    assert_eq!(actions(&plan), ["config.set", "config.set", "secret.create"]);
    assert_eq!(server.version(owner.organization), version);
    let step = &plan.json()["steps"][0];
    assert_eq!((&step["from"], &step["to"]), (&json!({"value": 2}), &json!({"value": "dev"})));
    assert_eq!(plan.json()["steps"][2]["to"], json!({"value": null}), "never what it is");
    let seen = [("if-match", &*plan.etag())];
    let done = server.send(Method::POST, PROMOTE, &owner, &seen, &body).await.is(200);
    assert_eq!(actions(&done), actions(&plan));
    assert_eq!(done.json()["version"], version + 4);
    assert_eq!(secret_in(&server, &owner, "prod").await.1, "hunter2");
    let rows = server.audit(&owner, "&action=environment.promote").await;
    assert_eq!((rows.len(), &rows[0]["resource"]["name"]), (1, &json!("Prod")));
    server.send(Method::POST, PROMOTE, &owner, &seen, &body).await.is_problem(412, "precondition_failed");
    let version = server.version(owner.organization);
    let again = promote(&server, &owner, &body).await.is(200);
    assert_eq!((actions(&again).len(), server.version(owner.organization)), (0, version));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_in_sync_until_one_is_written_and_keep_apart_keys() {
    let (server, owner) = acme().await;
    let body = json!({"to": "prod", "secrets": ["API_KEY"]});
    promote(&server, &owner, &body).await.is(200);
    let in_sync = async || diff(&server, &owner).await.into_iter().any(|row| row.0 == "secret" && row.3);
    assert!(in_sync().await);
    let (dev, _) = secret_in(&server, &owner, "dev").await;
    server.patch(&dev, &owner, &json!({"value": "hunter2"})).await.is(200);
    assert!(!in_sync().await, "the same text, written anew");
    assert_eq!(actions(&promote(&server, &owner, &body).await.is(200)), ["secret.update"]);
    assert!(in_sync().await);
    server.post(&format!("{dev}/destroy"), Some(&owner), &json!({})).await.is(204);
    let (prod, value) = secret_in(&server, &owner, "prod").await;
    assert_eq!(value, "hunter2");
    let versions = server.get(&format!("{prod}/versions"), &owner).await.is(200).json();
    let origin = |number: u64| json!({"resource": dev.rsplit('/').next(), "value_version": number});
    assert_eq!(versions["data"][0]["copied_from"], origin(1));
    assert_eq!(versions["data"][1]["copied_from"], origin(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_over_is_named() {
    let (server, owner) = acme().await;
    for (body, pointer) in [
        (json!({"to": "none"}), "/to"),
        (json!({"to": "dev"}), "/to"),
        (json!({"to": "prod", "config": ["NEW", "NONE"]}), "/config/1"),
        (json!({"to": "prod", "secrets": ["NONE"]}), "/secrets/0"),
        (json!({"to": "prod", "secrets": ["lower"]}), "/secrets/0"),
    ] {
        let problem = promote(&server, &owner, &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let (dev, _) = secret_in(&server, &owner, "dev").await;
    server.post(&format!("{dev}/versions/1/destroy"), Some(&owner), &json!({})).await.is(200);
    let body = json!({"to": "prod", "secrets": ["API_KEY"]});
    promote(&server, &owner, &body).await.is_problem(409, "version_destroyed");
    let (url, stale) = ("/v1/environments/dev/promote", [("if-match", "\"0-1\"")]);
    let refused = server.send(Method::POST, url, &owner, &stale, &body).await;
    refused.is_problem(412, "precondition_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_promotion_answers_with_its_version() {
    let (server, owner) = acme().await;
    let body = json!({"to": "prod", "config": ["NEW"], "secrets": ["API_KEY"]});
    let once = [("idempotency-key", "once")];
    let first = server.send(Method::POST, PROMOTE, &owner, &once, &body).await.is(200);
    server.delete("/v1/environments/dev/config/NEW", &owner).await.is(204);
    let again = server.send(Method::POST, PROMOTE, &owner, &once, &body).await.is(200);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), json!({"version": first.json()["version"]}));
}
