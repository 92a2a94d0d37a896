//! `/v1/environments` and their configuration.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_made_found_by_id_or_slug_changed_and_deleted() {
    let (server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Production EU", "mode": "live", "description": "the real one"});
    let made = server.post("/v1/environments", Some(&owner), &body).await.is(201);
    let id = text(&made.json()["id"]);
    assert_eq!(made.json()["slug"], "production-eu");
    assert_eq!(made.header("location"), Some(format!("/v1/environments/{id}")));
    assert_eq!(made.json()["version"], made.version());
    for name in [id.as_str(), "production-eu"] {
        let shown = server.get(&format!("/v1/environments/{name}"), &owner).await.is(200);
        assert_eq!(shown.json(), made.json());
        assert_eq!(shown.etag(), made.etag());
    }
    let path = format!("/v1/environments/{id}");
    let changed = server.patch(&path, &owner, &json!({"slug": "prod", "description": null})).await.is(200);
    assert_eq!(changed.json()["slug"], "prod");
    assert_eq!(changed.json()["description"], Value::Null);
    assert_eq!(changed.json()["name"], "Production EU");
    server.get("/v1/environments/production-eu", &owner).await.is_problem(404, "not_found");
    let gone = server.delete("/v1/environments/prod", &owner).await.is(204);
    assert_eq!(gone.text, "");
    assert_eq!(gone.version(), changed.version() + 1);
    server.delete("/v1/environments/prod", &owner).await.is_problem(404, "not_found");
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    assert_eq!(server.version(owner.organization), gone.version());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_slugs_are_unique() {
    let (server, owner) = TestServer::set_up().await;
    let first = server.environment(&owner, "Staging", "test").await;
    server.environment(&owner, "Other", "test").await;
    let version = server.version(owner.organization);
    for taken in [
        json!({"name": "staging", "mode": "test", "slug": "free"}),
        json!({"name": "Free", "mode": "test", "slug": "staging"}),
        json!({"name": "STAGING", "mode": "live"}),
    ] {
        server.post("/v1/environments", Some(&owner), &taken).await.is_problem(409, "name_taken");
    }
    let patch = server.patch("/v1/environments/other", &owner, &json!({"slug": "staging"})).await;
    patch.is_problem(409, "name_taken");
    server
        .patch("/v1/environments/other", &owner, &json!({"mode": "live"}))
        .await
        .is_problem(422, "invalid_request");
    assert_eq!(server.version(owner.organization), version);
    // Its own name is not taken; another spelling of it is a change.
    let path = format!("/v1/environments/{first}");
    assert_eq!(server.patch(&path, &owner, &json!({"name": "STAGING"})).await.is(200).version(), version + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_any_json_but_null_in_canonical_form() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/config/LIMITS";
    let made = server.put(path, &owner, &json!({"value": {"b": [1, 2.5, true], "a": "ü"}})).await.is(201);
    let id = server.get("/v1/environments/dev", &owner).await.json()["id"].clone();
    assert_eq!(made.header("location"), Some(format!("/v1/environments/{}/config/LIMITS", text(&id))));
    assert!(made.text.contains(r#""value":{"a":"ü","b":[1,2.5,true]}"#), "{}", made.text);
    let same = server.put(path, &owner, &json!({"value": {"a": "ü", "b": [1.0, 2.5, true]}})).await.is(200);
    assert_eq!(same.version(), made.version(), "what is so already is no event");
    assert_eq!(server.get(path, &owner).await.is(200).json(), made.json());
    let changed = server.put(path, &owner, &json!({"value": 7})).await.is(200);
    assert_eq!(changed.json()["value"], 7);
    assert_eq!(changed.json()["created_at"], made.json()["created_at"]);
    assert_eq!(changed.version(), made.version() + 1);
    server.delete(path, &owner).await.is(204);
    server.delete(path, &owner).await.is_problem(404, "not_found");
    server.get(path, &owner).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_kept_are_refused_with_their_place() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let version = server.version(owner.organization);
    let path = "/v1/environments/dev/config/A";
    let too_long = format!(r#"{{"value": "{}"}}"#, "x".repeat(65_536));
    let bodies = [
        (r#"{"value": null}"#, "/value"),
        ("{}", "/value"),
        (r#"{"value": 9007199254740993}"#, "/value"),
        (r#"{"value": 0.1000000000000000055}"#, "/value"),
        (r#"{"value": 1e400}"#, "/value"),
        (&too_long, "/value"),
        (r#"{"value": 1, "valeu": 2}"#, "/valeu"),
        ("[1]", ""),
    ];
    for (body, pointer) in bodies {
        let request = server.request(Method::PUT, path, Some(&owner.token));
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let problem = crate::server::send(request).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    for name in ["lower", "1A", "A-B", &"A".repeat(129)] {
        let path = format!("/v1/environments/dev/config/{name}");
        let problem =
            server.put(&path, &owner, &json!({"value": 1})).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["parameter"], "key", "{name}");
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_values_change_together_or_not_at_all() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/config";
    let before = server.version(owner.organization);
    let made = server.patch(path, &owner, &json!({"A": 1, "B": "two", "C": [3]})).await.is(200);
    assert_eq!(made.version(), before + 3);
    let changed = server.patch(path, &owner, &json!({"A": 1, "B": null, "D": {}, "X": null})).await.is(200);
    assert_eq!(changed.version(), before + 5, "only what changes is an event");
    let names: Vec<_> =
        changed.json()["data"].as_array().unwrap().iter().map(|row| text(&row["key"])).collect();
    assert_eq!(names, ["A", "C", "D"]);
    for (wrong, pointer) in [("lower", "/lower"), ("hunter2-Secret!", "")] {
        let problem = server.patch(path, &owner, &json!({"E": 1, wrong: 2})).await;
        let problem = problem.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "a value that slipped is not repeated");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    assert_eq!(server.version(owner.organization), before + 5);
    assert_eq!(server.get(path, &owner).await.is(200).json(), changed.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_and_if_none_match_guard_what_is_written() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/config/A";
    let put = |headers: &'static [(&'static str, &'static str)], value: u32| {
        let (server, owner) = (&server, &owner);
        async move { server.send(Method::PUT, path, owner, headers, &json!({"value": value})).await }
    };
    put(&[("if-match", "*")], 1).await.is_problem(412, "precondition_failed");
    let made = put(&[("if-none-match", "*")], 1).await.is(201);
    put(&[("if-none-match", "*")], 2).await.is_problem(412, "precondition_failed");
    put(&[("if-match", "\"0-1\"")], 2).await.is_problem(412, "precondition_failed");
    put(&[("if-match", "*")], 2).await.is(200);
    put(&[("if-match", "nonsense")], 3).await.is_problem(422, "invalid_request");
    let stale = [("if-match", &*made.etag())];
    server
        .send(Method::DELETE, path, &owner, &stale, &Value::Null)
        .await
        .is_problem(412, "precondition_failed");
    let current = server.get(path, &owner).await.is(200).etag();
    let none_of = |tag: String| {
        let (server, owner) = (&server, &owner);
        async move {
            let body = json!({"value": 3});
            server.send(Method::PUT, path, owner, &[("if-none-match", &tag)], &body).await
        }
    };
    none_of(current.clone()).await.is_problem(412, "precondition_failed");
    none_of(format!("W/{current}")).await.is_problem(412, "precondition_failed");
    none_of("0-1".into()).await.is_problem(422, "invalid_request");
    none_of(made.etag()).await.is(200);
    let current = server.get(path, &owner).await.is(200).etag();
    server.send(Method::DELETE, path, &owner, &[("if-match", &current)], &Value::Null).await.is(204);

    // The whole of a configuration has a tag of its own.
    let path = "/v1/environments/dev/config";
    let tag = server.get(path, &owner).await.is(200).etag();
    let patch = |tag: String| {
        let (server, owner) = (&server, &owner);
        async move { server.send(Method::PATCH, path, owner, &[("if-match", &tag)], &json!({"B": 1})).await }
    };
    patch(tag.clone()).await.is(200);
    patch(tag).await.is_problem(412, "precondition_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_environment_is_not_there() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.environment(&owner, "Dev", "test").await;
    let found =
        server.post("/v1/organizations", Some(&owner), &json!({"name": "Beta", "timezone": "UTC"})).await;
    let beta = text(&found.is(201).json()["id"]);
    let switched = server.post("/v1/auth/switch", Some(&owner), &json!({"organization": beta})).await.is(200);
    let foreign = crate::server::Somebody { token: text(&switched.json()["token"]), ..owner.clone() };
    let unknown = "env_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let shape = |answer: crate::server::Answer| {
        let mut body = answer.is_problem(404, "not_found");
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    let suffixes = ["", "/config", "/config/A"];
    for suffix in suffixes {
        let theirs = shape(server.get(&format!("/v1/environments/{id}{suffix}"), &foreign).await);
        let nowhere = shape(server.get(&format!("/v1/environments/{unknown}{suffix}"), &foreign).await);
        let no_id = shape(server.get(&format!("/v1/environments/env_x{suffix}"), &foreign).await);
        assert_eq!(theirs, nowhere);
        assert_eq!(theirs, no_id);
    }
    shape(server.delete(&format!("/v1/environments/{id}"), &foreign).await);
    shape(server.patch(&format!("/v1/environments/{id}"), &foreign, &json!({"name": "Stolen"})).await);
    shape(server.put(&format!("/v1/environments/{id}/config/A"), &foreign, &json!({"value": 1})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_writes_of_a_value_one_creates_it() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    for round in 0..10 {
        let path = format!("/v1/environments/dev/config/K{round}");
        let values = [1, 2, 3, 4, 5, 6, 7, 8].map(|value| json!({"value": value}));
        let put = |number: usize| server.put(&path, &owner, &values[number]);
        let answers = tokio::join!(put(0), put(1), put(2), put(3), put(4), put(5), put(6), put(7));
        let answers: [_; 8] = answers.into();
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1, "{:?}", answers.map(|answer| answer.status));
        assert!(created[0].header("location").is_some());
        let first = answers.iter().map(crate::server::Answer::version).min();
        assert_eq!(Some(created[0].version()), first);
    }
}
