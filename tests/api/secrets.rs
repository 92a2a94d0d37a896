//! `/v1/secrets`: what there is, who may see it, and what becomes of it. What is done with their values is in
//! `secret_values.rs`.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::StreamId;
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};

/// Acme with an environment.
pub async fn acme() -> (TestServer, Somebody) {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    (server, owner)
}

/// A secret in the environment; its path.
pub async fn secret(server: &TestServer, who: &Somebody, name: &str, value: &str) -> String {
    let body = json!({"name": name, "value": value, "environment": "dev"});
    let made = server.post("/v1/secrets", Some(who), &body).await.is(201);
    made.header("location").unwrap()
}

pub async fn reveal(server: &TestServer, who: &Somebody, path: &str, body: &Value) -> Answer {
    server.post(&format!("{path}/reveal"), Some(who), body).await
}

pub async fn value(server: &TestServer, who: &Somebody, path: &str) -> String {
    text(&reveal(server, who, path, &json!({})).await.is(200).json()["value"])
}

async fn names(server: &TestServer, who: &Somebody, query: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/secrets{query}"), who).await.is(200).json();
    page["data"].as_array().unwrap().iter().map(|row| text(&row["name"])).collect()
}

/// The id in a secret's path.
pub fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// How many data keys the organization has.
pub fn keys(server: &TestServer, who: &Somebody) -> usize {
    let stream = StreamId::Organization(who.organization);
    server.app().store.log().data_keys(stream).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_made_changed_and_shown_without_its_value() {
    let (server, owner) = acme().await;
    let environment = server.get("/v1/environments/dev", &owner).await.json()["id"].clone();
    let body = json!({"name": "API_KEY", "value": "hunter2-a", "environment": "dev", "description": "d",
        "expires_at": "2999-01-01T00:00:00Z"});
    let made = server.post("/v1/secrets", Some(&owner), &body).await.is(201);
    assert_eq!(made.json()["environment"], environment);
    assert_eq!((&made.json()["modes"], &made.json()["value_version"]), (&Value::Null, &json!(1)));
    assert_eq!(made.json()["version"], made.version());
    let path = format!("/v1/secrets/{}", text(&made.json()["id"]));
    assert_eq!(made.header("location"), Some(path.clone()));
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!((shown.json(), shown.etag()), (made.json(), made.etag()));
    let patch = json!({"name": "API_TOKEN", "value": "hunter2-b", "description": null, "expires_at": null});
    let changed = server.patch(&path, &owner, &patch).await.is(200);
    let body = changed.json();
    assert_eq!((&body["name"], &body["value_version"]), (&json!("API_TOKEN"), &json!(2)));
    assert_eq!((&body["description"], &body["expires_at"]), (&Value::Null, &Value::Null));
    assert_eq!(server.patch(&path, &owner, &json!({"name": "API_TOKEN"})).await.is(200).json(), body);
    for answer in [made, shown, changed, server.get("/v1/secrets", &owner).await] {
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
    let modes = json!({"name": "SHARED", "value": "v", "modes": ["live", "live"]});
    let shared = server.post("/v1/secrets", Some(&owner), &modes).await.is(201).json();
    assert_eq!((&shared["environment"], &shared["modes"]), (&Value::Null, &json!(["live"])));
    let both = json!({"name": "BOTH", "value": "v"});
    let both = server.post("/v1/secrets", Some(&owner), &both).await.is(201).json();
    assert_eq!(both["modes"], json!(["test", "live"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_with_its_place_and_never_repeated() {
    let (server, owner) = acme().await;
    let before = server.version(owner.organization);
    let with = |more: Value| {
        let mut body = json!({"name": "A", "value": "hunter2", "environment": "dev"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let too_long = "hunter2".repeat(9_363);
    for (body, pointer, code) in [
        (with(json!({"name": "lower"})), "/name", "invalid"),
        (with(json!({"value": ""})), "/value", "too_short"),
        (with(json!({"value": too_long})), "/value", "too_long"),
        (with(json!({"value": 7})), "/value", "wrong_type"),
        (with(json!({"value": null})), "/value", "wrong_type"),
        (with(json!({"environment": "none"})), "/environment", "unknown"),
        (with(json!({"modes": ["test"]})), "/modes", "not_allowed"),
        (with(json!({"expires_at": "2001-01-01T00:00:00Z"})), "/expires_at", "in_the_past"),
        (with(json!({"customer": "cus_01kqxk5rd0e5xrpzzv0jjq4zgn"})), "/customer", "unknown"),
        (json!({"name": "A", "value": "hunter2", "modes": []}), "/modes", "too_short"),
        (json!({"name": "A"}), "/value", "missing"),
    ] {
        let answer = server.post("/v1/secrets", Some(&owner), &body).await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        let problem = answer.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    assert_eq!(server.version(owner.organization), before);
    // Who may not write is told so, whatever else is wrong.
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let (version, body) = (server.version(owner.organization), with(json!({"modes": ["test"]})));
    server.post("/v1/secrets", Some(&viewer), &body).await.is_problem(403, "forbidden");
    assert_eq!(server.version(owner.organization), version + 1, "the denial");
    let version = server.version(owner.organization);
    for (query, parameter) in [
        ("environment=none", "environment"),
        ("customer=cus_01kqxk5rd0e5xrpzzv0jjq4zgn", "customer"),
        ("status=gone", "status"),
    ] {
        let answer = server.get(&format!("/v1/secrets?{query}"), &owner).await;
        assert_eq!(answer.is_problem(422, "invalid_request")["errors"][0]["parameter"], parameter);
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_secrets_where_it_belongs() {
    let (server, owner) = acme().await;
    server.environment(&owner, "Stage", "test").await;
    let path = secret(&server, &owner, "A", "1").await;
    let other = secret(&server, &owner, "B", "1").await;
    let create = |body: Value| {
        let (server, owner) = (&server, &owner);
        async move { server.post("/v1/secrets", Some(owner), &body).await }
    };
    create(json!({"name": "A", "value": "2", "environment": "dev"})).await.is_problem(409, "name_taken");
    server.patch(&other, &owner, &json!({"name": "A"})).await.is_problem(409, "name_taken");
    create(json!({"name": "A", "value": "2", "environment": "stage"})).await.is(201);
    create(json!({"name": "A", "value": "2"})).await.is(201);
    create(json!({"name": "A", "value": "2", "modes": ["live"]})).await.is_problem(409, "name_taken");
    server.delete(&path, &owner).await.is(204);
    server.patch(&other, &owner, &json!({"name": "A"})).await.is(200);
    server.post(&format!("{path}/undelete"), Some(&owner), &json!({})).await.is_problem(409, "name_taken");
    for body in [json!({"environment": "stage"}), json!({"modes": ["test"]}), json!({"name": null})] {
        server.patch(&other, &owner, &body).await.is_problem(422, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_hidden_keeps_its_keys_and_comes_back() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "kept").await;
    secret(&server, &owner, "B", "other").await;
    let before = keys(&server, &owner);
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    server.get(&path, &owner).await.is_problem(404, "not_found");
    server.patch(&path, &owner, &json!({"value": "v"})).await.is_problem(404, "not_found");
    reveal(&server, &owner, &path, &json!({})).await.is_problem(404, "not_found");
    assert_eq!(names(&server, &owner, "").await, ["B"]);
    assert_eq!(names(&server, &owner, "?status=deleted").await, ["A"]);
    assert_eq!(keys(&server, &owner), before);
    let undelete = format!("{path}/undelete");
    let back = server.post(&undelete, Some(&owner), &json!({})).await.is(200);
    assert_eq!(back.json()["deleted_at"], Value::Null);
    assert_eq!(server.post(&undelete, Some(&owner), &json!({})).await.is(200).version(), back.version());
    assert_eq!(value(&server, &owner, &path).await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_what_is_asked_for_and_may_be_seen() {
    let (server, owner) = acme().await;
    let stage = server.environment(&owner, "Stage", "live").await;
    let create = |body: Value| {
        let (server, owner) = (&server, &owner);
        async move { text(&server.post("/v1/secrets", Some(owner), &body).await.is(201).json()["id"]) }
    };
    let whole = create(json!({"name": "DATABASE_URL", "value": "v"})).await;
    create(json!({"name": "DATA_KEY", "value": "v", "environment": "dev"})).await;
    let staged = create(json!({"name": "API_KEY", "value": "v", "environment": "stage"})).await;
    assert_eq!(names(&server, &owner, "").await, ["DATABASE_URL", "DATA_KEY", "API_KEY"]);
    assert_eq!(names(&server, &owner, "?q=data").await, ["DATABASE_URL", "DATA_KEY"]);
    assert_eq!(names(&server, &owner, "?q=key&environment=stage").await, ["API_KEY"]);
    assert_eq!(names(&server, &owner, &format!("?environment={stage}")).await, ["API_KEY"]);
    let page = server.get("/v1/secrets?limit=1&q=a_", &owner).await.is(200).json();
    assert_eq!(page["next_cursor"], Value::Null);

    let somebody = server.add(owner.organization, "stage@example.com", "Stage").await;
    server.assign(&somebody, SystemRole::Developer, Some(stage.parse().unwrap())).await;
    assert_eq!(names(&server, &somebody, "").await, ["API_KEY"]);
    server.get("/v1/secrets?environment=dev", &somebody).await.is_problem(422, "invalid_request");
    server.get(&format!("/v1/secrets/{staged}"), &somebody).await.is(200);
    assert_eq!(value(&server, &somebody, &format!("/v1/secrets/{staged}")).await, "v");
    for (method, suffix) in [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/reveal"),
        (Method::GET, "/versions"),
        (Method::POST, "/rollback"),
    ] {
        let path = format!("/v1/secrets/{whole}{suffix}");
        server.send(method, &path, &somebody, &[], &Value::Null).await.is_problem(404, "not_found");
    }
    let elsewhere = json!({"name": "MINE", "value": "v"});
    let refused = server.post("/v1/secrets", Some(&somebody), &elsewhere).await;
    assert_eq!(refused.is_problem(403, "forbidden")["permission"], "secret:write");
    server.get(&format!("/v1/history/{staged}"), &owner).await.is(200);
    let found =
        server.post("/v1/organizations", Some(&owner), &json!({"name": "Beta", "timezone": "UTC"})).await;
    let beta = text(&found.is(201).json()["id"]);
    let switched = server.post("/v1/auth/switch", Some(&owner), &json!({"organization": beta})).await;
    let foreign = Somebody { token: text(&switched.is(200).json()["token"]), ..owner.clone() };
    server.get(&format!("/v1/secrets/{whole}"), &foreign).await.is_problem(404, "not_found");
    reveal(&server, &foreign, &format!("/v1/secrets/{whole}"), &json!({})).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_a_secret_tells_that_it_changed_and_never_to_what() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "hunter2-a").await;
    let then = server.version(owner.organization);
    server.patch(&path, &owner, &json!({"value": "hunter2-b"})).await.is(200);
    server.patch(&path, &owner, &json!({"name": "B", "value": "hunter2-b"})).await.is(200);
    reveal(&server, &owner, &path, &json!({})).await.is(200);
    let sec = id(&path);
    let past = server.get(&format!("{path}?as_of={then}"), &owner).await.is(200);
    assert_eq!((&past.json()["name"], &past.json()["value_version"]), (&json!("A"), &json!(1)));
    assert_eq!(names(&server, &owner, &format!("?as_of={then}")).await, ["A"]);
    let versions = server.get(&format!("{path}/versions?as_of={then}"), &owner).await.is(200);
    assert_eq!(versions.json()["data"].as_array().unwrap().len(), 1);
    let history = server.get(&format!("/v1/history/{sec}"), &owner).await.is(200);
    let told: Vec<Value> = history.json()["data"].as_array().unwrap().clone();
    let actions: Vec<_> = told.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["secret.update", "secret.update", "secret.create"], "to be shown is no change");
    let changed = json!([{"field": "value", "from": null, "to": null, "sealed": true}]);
    assert_eq!(told[1]["changes"], changed);
    assert_eq!(told[0]["changes"].as_array().unwrap().len(), 2, "the same value is a change as any other");
    let diff = server.get(&format!("/v1/diff?from={then}&resource={sec}"), &owner).await.is(200);
    let fields: Vec<_> =
        diff.json()["data"][0]["fields"].as_array().unwrap().iter().map(|row| text(&row["field"])).collect();
    assert_eq!(fields, ["name", "value"]);
    let events = server.get("/v1/events?after=0&limit=200", &owner).await.is(200);
    for answer in [past, versions, history, diff, events] {
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_back_with_their_environment_and_with_the_values_of_then() {
    let (server, owner) = acme().await;
    let changed = secret(&server, &owner, "CHANGED", "then").await;
    let same = secret(&server, &owner, "SAME", "same").await;
    let gone = secret(&server, &owner, "GONE", "lost").await;
    let then = server.version(owner.organization);
    server.patch(&changed, &owner, &json!({"value": "now", "name": "RENAMED"})).await.is(200);
    server.post(&format!("{gone}/destroy"), Some(&owner), &json!({})).await.is(204);
    let new = secret(&server, &owner, "NEW", "new").await;
    server.delete("/v1/environments/dev", &owner).await.is(204);
    assert!(names(&server, &owner, "").await.is_empty());
    server.get(&same, &owner).await.is_problem(404, "not_found");
    server
        .post(&format!("{same}/undelete"), Some(&owner), &json!({}))
        .await
        .is_problem(409, "environment_gone");

    let body = json!({"as_of": then, "scope": {"organization": true}});
    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    let plan = server.post("/v1/restore", Some(&owner), &dry).await.is(200);
    let cannot = plan.json()["cannot"].clone();
    assert_eq!((&cannot[0]["why"], &cannot[0]["resource"]["name"]), (&json!("destroyed"), &json!("GONE")));
    assert_eq!(cannot.as_array().unwrap().len(), 1);
    assert!(!plan.text.contains("then\""), "{}", plan.text);
    let any = [("if-match", "*")];
    let done = server.send(Method::POST, "/v1/restore", &owner, &any, &body).await.is(200);
    assert_eq!(done.json()["steps"], plan.json()["steps"]);
    assert_eq!(names(&server, &owner, "").await, ["CHANGED", "SAME"]);
    assert_eq!(value(&server, &owner, &changed).await, "then");
    assert_eq!(value(&server, &owner, &same).await, "same");
    server.get(&new, &owner).await.is_problem(404, "not_found");
    let versions = server.get(&format!("{changed}/versions"), &owner).await.json();
    assert_eq!(versions["data"][2]["copied_from"]["value_version"], 1);
    let version = server.version(owner.organization);
    let again = server.send(Method::POST, "/v1/restore", &owner, &any, &body).await.is(200);
    assert_eq!((again.json()["steps"].as_array().unwrap().len(), again.version()), (0, version));

    // One secret alone, whose value of then is destroyed by now.
    server.post(&format!("{changed}/versions/2/destroy"), Some(&owner), &json!({})).await.is(200);
    let sec = id(&changed);
    let one = json!({"as_of": then + 1, "scope": {"resource": sec}});
    let done = server.send(Method::POST, "/v1/restore", &owner, &any, &one).await.is(200).json();
    assert_eq!(done["cannot"][0]["why"], "version_destroyed");
    assert_eq!(done["steps"][0]["to"], json!({"name": "RENAMED"}));
    assert_eq!(value(&server, &owner, &changed).await, "then");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_secret_expires_it_is_said_once_and_nothing_is_withheld() {
    let (mut server, owner) = TestServer::set_up_manual().await;
    server.environment(&owner, "Dev", "test").await;
    let made = |name: &str, after: i64| {
        let at = server.app().store.clock().now().plus_seconds(after);
        json!({"name": name, "value": "v", "environment": "dev", "expires_at": at})
    };
    let mut paths = Vec::new();
    for (name, after) in [("SOON", 100), ("LATER", 1_000), ("CLEARED", 100), ("DELETED", 100)] {
        let answer = server.post("/v1/secrets", Some(&owner), &made(name, after)).await.is(201);
        paths.push(answer.header("location").unwrap());
    }
    server.patch(&paths[2], &owner, &json!({"expires_at": null})).await.is(200);
    server.delete(&paths[3], &owner).await.is(204);
    let due = |server: &TestServer| {
        let store = &server.app().store;
        store.directory().due(store.clock().now().plus_seconds(10_000)).len()
    };
    assert_eq!(due(&server), 2);
    let expired = async |server: &TestServer| -> Vec<String> {
        settled::store::scheduler::tick(&server.app().store).await;
        let rows = server.audit(&owner, "&action=secret.expire").await;
        rows.iter().map(|row| text(&row["resource"]["name"])).collect()
    };
    assert_eq!(expired(&server).await, Vec::<String>::new());
    server.advance(101);
    assert_eq!(expired(&server).await, ["SOON"]);
    assert_eq!(expired(&server).await, ["SOON"], "once");
    assert_eq!(value(&server, &owner, &paths[0]).await, "v");
    // What is due is known after a restart, without a look at any stream.
    server.restart().await;
    assert_eq!(due(&server), 1);
    assert_eq!(server.app().store.resident_streams(), 1);
    server.advance(1_000);
    assert_eq!(
        expired(&server).await.into_iter().collect::<BTreeSet<_>>(),
        ["LATER", "SOON"].map(Into::into).into()
    );
    assert_eq!(due(&server), 0);
    let metrics = server.app().store.metrics().encode();
    assert!(metrics.contains("settled_secrets_expired_total 1"), "{metrics}");
    // A deleted one comes back with what was said of it, unheard so far.
    server.post(&format!("{}/undelete", paths[3]), Some(&owner), &json!({})).await.is(200);
    assert_eq!(expired(&server).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_is_due_when_it_was() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.environment(&owner, "Dev", "test").await;
    let after = |seconds: i64| server.app().store.clock().now().plus_seconds(seconds);
    let (late, soon) = (after(1_000), after(100));
    let path = secret(&server, &owner, "A", "v").await;
    server.patch(&path, &owner, &json!({"expires_at": late})).await.is(200);
    let then = server.version(owner.organization);
    server.patch(&path, &owner, &json!({"expires_at": soon})).await.is(200);
    server.delete(&path, &owner).await.is(204);
    let due = || -> Vec<_> {
        server.app().store.directory().due(after(10_000)).into_iter().map(|thing| thing.at).collect()
    };
    assert_eq!(due(), []);
    let restore = json!({"as_of": then, "scope": {"organization": true}});
    let any = [("if-match", "*")];
    server.send(Method::POST, "/v1/restore", &owner, &any, &restore).await.is(200);
    assert_eq!(due(), [late]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_creation_answers_with_the_secret_of_then() {
    let (server, owner) = acme().await;
    let key = [("idempotency-key", "once")];
    let body = json!({"name": "A", "value": "hunter2", "environment": "dev"});
    let first = server.send(Method::POST, "/v1/secrets", &owner, &key, &body).await.is(201);
    let path = first.header("location").unwrap();
    server.patch(&path, &owner, &json!({"name": "B", "value": "other"})).await.is(200);
    let again = server.send(Method::POST, "/v1/secrets", &owner, &key, &body).await.is(201);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    let other = json!({"name": "A", "value": "hunter3", "environment": "dev"});
    let reused = server.send(Method::POST, "/v1/secrets", &owner, &key, &other).await;
    reused.is_problem(422, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_more_than_a_frame_holds_is_refused_before_all_of_it_is_sealed() {
    let (server, owner) = acme().await;
    let mut paths = Vec::new();
    for number in 0..13 {
        paths.push(secret(&server, &owner, &format!("N_{number}"), &"x".repeat(60_000)).await);
    }
    let then = server.version(owner.organization);
    for path in &paths {
        server.patch(path, &owner, &json!({"value": "short"})).await.is(200);
    }
    let all = json!({"as_of": then, "scope": {"organization": true}});
    let mut dry = all.clone();
    dry["dry_run"] = json!(true);
    let any = [("if-match", "*")];
    let before = keys(&server, &owner);
    for body in [dry, all] {
        let refused = server.send(Method::POST, "/v1/restore", &owner, &any, &body).await;
        refused.is_problem(422, "too_large");
    }
    assert_eq!(keys(&server, &owner), before);
    // One by one they come back.
    let one = json!({"as_of": then, "scope": {"resource": id(&paths[0])}});
    server.send(Method::POST, "/v1/restore", &owner, &any, &one).await.is(200);
    assert_eq!(value(&server, &owner, &paths[0]).await.len(), 60_000);
}
