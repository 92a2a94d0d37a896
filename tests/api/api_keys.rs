//! `/v1/api-keys`, and what a program meets that calls with one.

use reqwest::Method;
use serde_json::{Value, json};
use settled::client::http::plain;
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, Somebody, TestServer, text};
use crate::sse::Reader;

const RENAME: &str = "/v1/environments/dev";

/// A key with a role in a mode.
pub(crate) async fn key(server: &TestServer, owner: &Somebody, mode: &str, role: &str) -> (String, Somebody) {
    server.api_key(owner, &json!({"name": "CI", "mode": mode, "role": role})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_shown_once_used_changed_and_revoked() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    let body = json!({"name": "CI", "mode": "test", "role": "developer", "environments": ["dev"]});
    let made = server.post("/v1/api-keys", Some(&owner), &body).await.is(201);
    let (id, value) = (text(&made.json()["id"]), text(&made.json()["key"]));
    assert_eq!(made.header("location"), Some(format!("/v1/api-keys/{id}")));
    assert_eq!(value.len(), 47);
    assert!(value.starts_with("fastn_test_") && value.ends_with(&text(&made.json()["last4"])));

    let path = format!("/v1/api-keys/{id}");
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!((shown.etag(), shown.json()["version"].as_u64()), (made.etag(), Some(made.version())));
    let mut expected = made.json();
    expected.as_object_mut().unwrap().remove("key");
    assert_eq!(shown.json(), expected);
    assert_eq!(shown.json()["environments"], json!([dev]));
    assert_eq!((&shown.json()["prefix"], &shown.json()["status"]), (&json!("fastn_test_"), &json!("active")));
    assert_eq!(shown.json()["last_used_at"], Value::Null);

    let program = Somebody { token: value, ..owner.clone() };
    server.put("/v1/environments/dev/config/A", &program, &json!({"value": 1})).await.is(201);
    assert_ne!(server.get(&path, &owner).await.json()["last_used_at"], Value::Null);

    let change = json!({"name": "Deploy", "disabled": true, "environments": null});
    let changed = server.patch(&path, &owner, &change).await.is(200).json();
    assert_eq!((&changed["name"], &changed["status"]), (&json!("Deploy"), &json!("disabled")));
    assert_eq!(changed["environments"], Value::Null);
    server.get("/v1/environments", &program).await.is_problem(401, "api_key_disabled");
    server.patch(&path, &owner, &json!({"disabled": false})).await.is(200);
    server.get("/v1/environments", &program).await.is(200);

    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is(204);
    server.get("/v1/environments", &program).await.is_problem(401, "api_key_revoked");
    assert_eq!(server.get(&path, &owner).await.is(200).json()["status"], "revoked");
    server.patch(&path, &owner, &json!({"disabled": false})).await.is_problem(409, "api_key_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused_alike() {
    let (server, owner) = TestServer::set_up().await;
    let (_, program) = key(&server, &owner, "test", "developer").await;
    let shape = |answer: Answer| {
        let mut body = answer.is_problem(401, "unauthenticated");
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    let as_key = |token: &str| Somebody { token: token.to_owned(), ..owner.clone() };
    let mut flipped = program.token.clone();
    let last = if flipped.pop() == Some('0') { '1' } else { '0' };
    flipped.push(last);
    let unknown = settled::seal::api_key::PlainKey::draw("fastn_test_");
    let first = shape(server.get("/v1/environments", &as_key(&flipped)).await);
    assert_eq!(first, shape(server.get("/v1/environments", &as_key(unknown.expose())).await));
    assert_eq!(first, shape(server.get("/v1/environments", &as_key("fastn_test_")).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_no_account() {
    let (server, owner) = TestServer::set_up().await;
    let (_, program) = key(&server, &owner, "live", "admin").await;
    server.get("/v1/me", &program).await.is_problem(403, "session_required");
    server.patch("/v1/me", &program, &json!({})).await.is_problem(403, "session_required");
    server.get("/v1/me/sessions", &program).await.is_problem(403, "session_required");
    let found = json!({"name": "Beta", "timezone": "UTC"});
    server.post("/v1/organizations", Some(&program), &found).await.is_problem(403, "session_required");
    let denied = server.audit(&owner, "&outcome=denied").await;
    assert_eq!(denied.len(), 4);
    assert_eq!(denied[0]["user"]["kind"], "api_key");
    let roles = server.get("/v1/general", &program).await.is(200).json()["your_roles"].clone();
    assert_eq!(roles, json!([{"id": "admin", "name": "admin"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_scope_and_restriction_meets_every_environment() {
    let (server, owner) = TestServer::set_up().await;
    for (name, mode) in [("Test A", "test"), ("Test B", "test"), ("Live A", "live"), ("Live B", "live")] {
        server.environment(&owner, name, mode).await;
        let path = format!("/v1/environments/{}/config/A", name.to_lowercase().replace(' ', "-"));
        server.put(&path, &owner, &json!({"value": 1})).await.is(201);
    }
    for mode in ["test", "live"] {
        let other = if mode == "test" { "live" } else { "test" };
        for limited in [false, true] {
            for role in ["admin", "developer", "viewer", "workflow"] {
                let mut body = json!({"name": "K", "mode": mode, "role": role});
                if limited {
                    body["environments"] = json!([format!("{mode}-a")]);
                }
                let (_, program) = server.api_key(&owner, &body).await;
                let label = format!("{mode} {role} {limited}");
                let (reads, writes) = (role != "workflow", role == "admin" || role == "developer");
                let status = |answer: Answer| (answer.status, answer.json()["code"].clone());
                let forbidden = (403, json!("forbidden"));
                for (environment, wanted) in [
                    (format!("{mode}-a"), if reads { (200, Value::Null) } else { forbidden.clone() }),
                    (
                        format!("{mode}-b"),
                        match (reads, limited) {
                            (false, _) => forbidden.clone(),
                            (true, false) => (200, Value::Null),
                            (true, true) => (404, json!("not_found")),
                        },
                    ),
                    (
                        format!("{other}-a"),
                        if reads { (403, json!("wrong_mode")) } else { forbidden.clone() },
                    ),
                ] {
                    let path = format!("/v1/environments/{environment}/config/A");
                    assert_eq!(status(server.get(&path, &program).await), wanted, "{label} {environment}");
                    let put = status(server.put(&path, &program, &json!({"value": 1})).await);
                    let wanted = if writes { wanted } else { forbidden.clone() };
                    // A viewer passes no route that writes.
                    assert_eq!(put, wanted, "{label} {environment}");
                }
                let seen = server.get("/v1/general", &program).await;
                let wanted = match (mode, role) {
                    (_, "workflow") => forbidden.clone(),
                    ("test", _) => (403, json!("wrong_mode")),
                    _ => (200, Value::Null),
                };
                assert_eq!(status(seen), wanted, "{label}");
                let new = json!({"name": "New", "mode": mode});
                let made = server.post("/v1/environments", Some(&program), &new).await;
                assert_eq!(status(made), forbidden, "{label}: environments are made in the organization");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_all_environments_reaches_those_to_come_and_one_of_some_none_when_they_are_gone() {
    let (server, owner) = TestServer::set_up().await;
    let first = server.environment(&owner, "First", "test").await;
    let (_, all) = key(&server, &owner, "test", "developer").await;
    let body = json!({"name": "One", "mode": "test", "role": "developer", "environments": [first]});
    let (_, one) = server.api_key(&owner, &body).await;
    server.environment(&owner, "Second", "test").await;
    server.get("/v1/environments/second", &all).await.is(200);
    server.get("/v1/environments/second", &one).await.is_problem(404, "not_found");
    server.get("/v1/environments/first", &one).await.is(200);
    server.delete("/v1/environments/first", &owner).await.is(204);
    server.get("/v1/environments", &one).await.is_problem(403, "forbidden");
    assert_eq!(server.get("/v1/environments", &all).await.is(200).json()["data"][0]["name"], "Second");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_cannot_be_is_refused_with_its_place() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let version = server.version(owner.organization);
    for (more, pointer, code) in [
        (json!({"environments": []}), "/environments", "invalid"),
        (json!({"environments": ["nowhere"]}), "/environments/0", "unknown"),
        (json!({"environments": ["dev"], "mode": "live"}), "/environments", "wrong_mode"),
        (json!({"customers": ["cus_01kqxk5rd0e5xrpzzv0jjq4zgn"]}), "/customers/0", "unknown"),
        (json!({"customers": []}), "/customers", "invalid"),
        (json!({"role": "owner"}), "/role", "owner_role"),
        (json!({"role": "role_01kqxk5rd0e5xrpzzv0jjq4zgn"}), "/role", "unknown_role"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "/expires_at", "in_the_past"),
        (json!({"allowed_cidrs": []}), "/allowed_cidrs", "invalid"),
        (json!({"allowed_cidrs": ["192.0.2.0/24", "here"]}), "/allowed_cidrs/1", "invalid"),
        (json!({"rate_limit": {"requests": 0, "window_seconds": 1}}), "/rate_limit", "invalid"),
    ] {
        let mut body = json!({"name": "K", "mode": "test"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let problem = server.post("/v1/api-keys", Some(&owner), &body).await.is(422).problem();
        let told = (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]);
        assert_eq!(told, (&json!(pointer), &json!(code)), "{body} {problem}");
    }
    assert_eq!(server.version(owner.organization), version);
    let (id, _) = key(&server, &owner, "test", "developer").await;
    let path = format!("/v1/api-keys/{id}");
    server.patch(&path, &owner, &json!({"mode": "live"})).await.is(422);
    server.patch(&path, &owner, &json!({"role": "admin"})).await.is(422);
    let rotate = format!("{path}/rotate");
    server.post(&rotate, Some(&owner), &json!({"grace_seconds": 604_801})).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_accepted_by_either_value_within_its_grace() {
    let (server, owner) = TestServer::set_up_manual().await;
    let (id, old) = key(&server, &owner, "live", "developer").await;
    let rotate = format!("/v1/api-keys/{id}/rotate");
    let rotated = server.post(&rotate, Some(&owner), &json!({"grace_seconds": 3600})).await.is(200).json();
    assert_eq!(rotated["id"], id);
    let new = Somebody { token: text(&rotated["key"]), ..owner.clone() };
    assert_ne!((&new.token, &rotated["previous_valid_until"]), (&old.token, &Value::Null));
    for program in [&old, &new] {
        server.get("/v1/general", program).await.is(200);
    }
    server.advance(3600);
    server.get("/v1/general", &old).await.is_problem(401, "unauthenticated");
    server.get("/v1/general", &new).await.is(200);
    let path = format!("/v1/api-keys/{id}");
    assert_eq!(server.get(&path, &owner).await.json()["previous_valid_until"], Value::Null);
    // Without a grace the old value ends with the answer.
    let last = server.post(&rotate, Some(&owner), &json!({})).await.is(200).json();
    server.get("/v1/general", &new).await.is_problem(401, "unauthenticated");
    let last = Somebody { token: text(&last["key"]), ..owner.clone() };
    server.get("/v1/general", &last).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires() {
    let (server, owner) = TestServer::set_up_manual().await;
    let body = json!({"name": "K", "mode": "live", "role": "viewer", "expires_at": "2026-03-02T11:20:00Z"});
    let (id, program) = server.api_key(&owner, &body).await;
    server.advance(3_599);
    server.get("/v1/general", &program).await.is(200);
    let version = server.version(owner.organization);
    server.advance(1);
    server.get("/v1/general", &program).await.is_problem(401, "api_key_expired");
    let path = format!("/v1/api-keys/{id}");
    assert_eq!(server.get(&path, &owner).await.json()["status"], "expired");
    let before = server.get(&format!("{path}?as_of={version}"), &owner).await.is(200);
    assert_eq!(before.json()["status"], "active", "what follows from time is told as of then");
    let longer = json!({"expires_at": null});
    server.patch(&path, &owner, &longer).await.is(200);
    server.get("/v1/general", &program).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_value_is_answered_once_also_to_a_repeated_request() {
    let (server, owner) = TestServer::set_up().await;
    let repeat = |path: &str, body: Value| {
        let (server, owner, path) = (&server, &owner, path.to_owned());
        async move { server.send(Method::POST, &path, owner, &[("idempotency-key", "once")], &body).await }
    };
    let body = json!({"name": "K", "mode": "test"});
    let made = repeat("/v1/api-keys", body.clone()).await.is(201).json();
    key(&server, &owner, "test", "viewer").await;
    let again = repeat("/v1/api-keys", body).await.is_problem(409, "one_time_value_spent");
    assert_eq!(again["id"], made["id"]);
    let rotate = format!("/v1/api-keys/{}/rotate", text(&made["id"]));
    repeat(&rotate, json!({})).await.is(200);
    let again = repeat(&rotate, json!({})).await.is_problem(409, "one_time_value_spent");
    assert_eq!(again["id"], made["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_seen_where_their_reader_may_see_them() {
    let (server, owner) = TestServer::set_up().await;
    let dev = server.environment(&owner, "Dev", "test").await;
    server.environment(&owner, "Stage", "test").await;
    let make = |name: &'static str, more: Value| {
        let (server, owner) = (&server, &owner);
        async move {
            let mut body = json!({"name": name, "mode": "test", "role": "developer"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server.api_key(owner, &body).await
        }
    };
    let (all, _) = make("all", json!({})).await;
    let (in_dev, dev_program) = make("dev", json!({"environments": ["dev"]})).await;
    let (both, _) = make("both", json!({"environments": ["dev", "stage"]})).await;
    let (live, live_program) = make("live", json!({"mode": "live", "role": "admin"})).await;
    let somebody = server.add(owner.organization, "dora@example.com", "Dora").await;
    server.assign(&somebody, SystemRole::Developer, Some(dev.parse().unwrap())).await;
    let listed = |answer: Answer| {
        let rows = answer.is(200).json()["data"].as_array().unwrap().clone();
        rows.iter().map(|row| text(&row["id"])).collect::<Vec<_>>()
    };
    assert_eq!(listed(server.get("/v1/api-keys", &owner).await), [&*all, &*in_dev, &*both, &*live]);
    assert_eq!(listed(server.get("/v1/api-keys?mode=live", &owner).await), [&*live]);
    assert_eq!(listed(server.get("/v1/api-keys", &somebody).await), [&*in_dev]);
    assert_eq!(listed(server.get("/v1/api-keys", &dev_program).await), [&*in_dev]);
    assert_eq!(listed(server.get("/v1/api-keys", &live_program).await), [&*live]);
    for hidden in [&all, &both, &live] {
        let path = format!("/v1/api-keys/{hidden}");
        server.get(&path, &somebody).await.is_problem(404, "not_found");
        server.delete(&path, &somebody).await.is_problem(404, "not_found");
        server.patch(&path, &somebody, &json!({"name": "X"})).await.is_problem(404, "not_found");
    }
    let path = format!("/v1/api-keys/{in_dev}");
    server.patch(&path, &somebody, &json!({"name": "X"})).await.is(200);
    server.patch(&path, &somebody, &json!({"environments": null})).await.is_problem(403, "forbidden");
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    server.get("/v1/api-keys", &viewer).await.is_problem(403, "forbidden");
    let auditor = server.add_with_role(owner.organization, SystemRole::Auditor).await;
    assert_eq!(listed(server.get("/v1/api-keys", &auditor).await).len(), 4);
    server.delete(&path, &auditor).await.is_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_a_key_or_takes_one_beyond_their_rights() {
    let (server, owner) = TestServer::set_up().await;
    let developer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    let admin = json!({"name": "A", "mode": "live", "role": "admin"});
    let problem = server.post("/v1/api-keys", Some(&developer), &admin).await.is_problem(403, "forbidden");
    assert_eq!(problem["permission"], "environment:manage");
    let (id, program) = server.api_key(&owner, &admin).await;
    let path = format!("/v1/api-keys/{id}");
    server.delete(&path, &developer).await.is_problem(403, "above_your_rights");
    server.patch(&path, &developer, &json!({"disabled": true})).await.is_problem(403, "above_your_rights");
    let rotate = format!("{path}/rotate");
    server.post(&rotate, Some(&developer), &json!({})).await.is_problem(403, "above_your_rights");
    let test = json!({"name": "T", "mode": "test", "role": "workflow"});
    server.post("/v1/api-keys", Some(&program), &test).await.is_problem(403, "forbidden");
    let live = json!({"name": "L", "mode": "live", "role": "developer"});
    server.post("/v1/api-keys", Some(&program), &live).await.is(201);
    let denied = server.audit(&owner, "&outcome=denied").await;
    let actions: Vec<_> = denied.iter().map(|row| text(&row["action"])).collect();
    let expected = ["api_key.create", "api_key.rotate", "api_key.update", "api_key.revoke", "api_key.create"];
    assert_eq!(actions, expected);
    assert!(denied.iter().all(|row| !row.to_string().contains("fastn_")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_by_the_next_request_on_every_connection_and_its_streams_end() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Prod", "live").await;
    for round in 0..8 {
        let (id, program) = key(&server, &owner, "live", "admin").await;
        let connections: Vec<_> = (0..8).map(|_| plain().build().unwrap()).collect();
        // Each client has a connection of its own, which it keeps.
        let ask = async |status: u16| {
            for connection in &connections {
                let request = connection.get(format!("{}/v1/general", server.base()));
                let answer = request.header("x-fastn-api-key", &program.token).send().await.unwrap();
                assert_eq!(answer.status(), status);
                answer.bytes().await.unwrap();
            }
        };
        ask(200).await;
        let mut streams = Vec::new();
        for path in ["/v1/audit/stream", "/v1/ctx/watch?environment=prod"] {
            let stream = Reader::open(server.base(), path, &program.token, None).await.unwrap();
            assert_eq!(stream.status, 200);
            streams.push(stream);
        }
        let path = format!("/v1/api-keys/{id}");
        let (end, refused) = match round % 4 {
            0 => (server.delete(&path, &owner).await, 401),
            1 => (server.patch(&path, &owner, &json!({"disabled": true})).await, 401),
            2 => (server.patch(&path, &owner, &json!({"allowed_cidrs": ["192.0.2.0/24"]})).await, 403),
            _ => (server.post(&format!("{path}/rotate"), Some(&owner), &json!({})).await, 401),
        };
        assert!(end.status < 300);
        ask(refused).await;
        for mut stream in streams {
            let end = async { while stream.next().await.is_some() {} };
            tokio::time::timeout(std::time::Duration::from_secs(60), end).await.expect("the stream ends");
            assert!(stream.ended);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_after_a_restart_without_loading_a_stream() {
    let (mut server, owner) = TestServer::set_up().await;
    let (id, program) = key(&server, &owner, "test", "developer").await;
    server.restart().await;
    let hash = settled::seal::api_key::PlainKey::presented(
        &program.token,
        settled::settings::api_keys::value::PREFIXES,
    );
    let known = server.app().store.directory().key(hash.unwrap().hash()).unwrap();
    assert_eq!((known.key.to_string(), known.organization), (id, owner.organization));
    assert_eq!(server.app().store.resident_streams(), 1, "the platform's");
    server.environment(&owner, "Dev", "test").await;
    server.get(RENAME, &program).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_history_tells_what_changed_and_no_restore_touches_it() {
    let (server, owner) = TestServer::set_up().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    let made = server.version(owner.organization);
    let path = format!("/v1/api-keys/{id}");
    server.patch(&path, &owner, &json!({"name": "Other"})).await.is(200);
    server.get("/v1/general", &program).await.is(200);
    server.post(&format!("{path}/rotate"), Some(&owner), &json!({})).await.is(200);
    let rows = server.get(&format!("/v1/history/{id}"), &owner).await.is(200).json();
    let rows = rows["data"].as_array().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["api_key.rotate", "api_key.update", "api_key.create"]);
    assert_eq!(rows[0]["changes"][0]["field"], "last4");
    assert_eq!(rows[1]["changes"], json!([{"field": "name", "from": "CI", "to": "Other"}]));
    let then = server.get(&format!("{path}?as_of={made}"), &owner).await.is(200);
    assert_eq!(then.json()["name"], "CI");
    let body = json!({"as_of": made, "scope": {"organization": true}, "dry_run": true});
    let plan = server.post("/v1/restore", Some(&owner), &body).await.is(200).json();
    assert_eq!(plan["steps"], json!([]));
    server.delete(&path, &owner).await.is(204);
    let diff = server.get(&format!("/v1/diff?from={made}"), &owner).await.is(200).json();
    let told = &diff["data"][0];
    assert_eq!((&told["resource"]["id"], &told["change"]), (&json!(id), &json!("deleted")));
}
