//! `/v1/environments/{env}/secrets/import`: many secrets at once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use settled::ids::StreamId;

use crate::server::{Somebody, TestServer, text};

/// How many data keys the organization has.
fn keys(server: &TestServer, who: &Somebody) -> usize {
    let stream = StreamId::Organization(who.organization);
    server.app().store.log().data_keys(stream).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_secrets_are_imported_by_one_append_or_none() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/secrets/import";
    let (before, data_keys) = (server.version(owner.organization), keys(&server, &owner));
    let ask = |names: &[&str], more: Value| {
        let secrets: Vec<_> =
            names.iter().map(|name| json!({"name": name, "value": format!("hunter2 {name}")})).collect();
        let mut body = json!({"secrets": secrets});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let import = |body: Value| {
        let (server, owner) = (&server, &owner);
        async move { server.post(path, Some(owner), &body).await }
    };
    let dry = import(ask(&["A", "B"], json!({"dry_run": true}))).await.is(200);
    assert_eq!(dry.json()["version"], before);
    assert_eq!((server.version(owner.organization), keys(&server, &owner)), (before, data_keys));
    let made = import(ask(&["B", "A"], json!({}))).await.is(200);
    assert_eq!((made.version(), &made.json()["version"]), (before + 2, &json!(before + 2)));
    assert_eq!(made.json()["secrets"], imported(&["B", "A"], "created", 1));
    assert_eq!(keys(&server, &owner), data_keys + 2, "each value has a key of its own");

    let conflict = import(ask(&["C", "A"], json!({}))).await.is_problem(409, "name_taken");
    assert_eq!(conflict["names"], json!(["A"]));
    assert_eq!(server.version(owner.organization), before + 2);
    let over = json!({"overwrite": true, "dry_run": true});
    assert_eq!(import(ask(&["A"], over)).await.is(200).json()["secrets"], imported(&["A"], "updated", 2));
    let updated = import(ask(&["C", "A"], json!({"overwrite": true}))).await.is(200).json();
    assert_eq!(updated["secrets"][0], imported(&["C"], "created", 1)[0]);
    assert_eq!(updated["secrets"][1], imported(&["A"], "updated", 2)[0]);
    let audit = server.audit(&owner, "&action=secret.*").await;
    assert_eq!(
        audit.iter().map(|row| text(&row["action"])).collect::<Vec<_>>()[..2],
        ["secret.update", "secret.create"]
    );

    for (body, pointer, code) in [
        (json!({"secrets": []}), "/secrets", "too_short"),
        (json!({}), "/secrets", "missing"),
        (ask(&["D", "E", "D"], json!({})), "/secrets/2/name", "duplicate"),
        (ask(&["D", "hunter2"], json!({})), "/secrets/1/name", "invalid"),
        (json!({"secrets": [{"name": "D", "value": ""}]}), "/secrets/0/value", "too_short"),
    ] {
        let answer = import(body).await;
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        let problem = answer.is_problem(422, "invalid_request");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!(pointer), &json!(code))
        );
    }
    let gone =
        server.post("/v1/environments/none/secrets/import", Some(&owner), &ask(&["D"], json!({}))).await;
    gone.is_problem(404, "not_found");
    assert_eq!(server.version(owner.organization), before + 4);
}

fn imported(names: &[&str], action: &str, value_version: u64) -> Value {
    names.iter().map(|name| json!({"name": name, "action": action, "value_version": value_version})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_repeated_answers_as_the_first_and_races_lose_nothing() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let path = "/v1/environments/dev/secrets/import";
    let body = json!({"secrets": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
    let again = [("idempotency-key", "import-1")];
    let first = server.send(Method::POST, path, &owner, &again, &body).await.is(200);
    let second = server.send(Method::POST, path, &owner, &again, &body).await.is(200);
    assert_eq!(
        (second.json(), second.header("idempotency-replayed")),
        (first.json(), Some("true".to_owned()))
    );
    let one =
        json!({"overwrite": true, "secrets": [{"name": "A", "value": "x"}, {"name": "NEW", "value": "y"}]});
    let imports = join_all((0..8).map(|_| server.post(path, Some(&owner), &one))).await;
    let through = imports.iter().filter(|answer| answer.status == 200).count();
    assert!(imports.iter().all(|answer| answer.status == 200 || answer.status == 409), "{imports:?}");
    let listed = server.get("/v1/secrets?environment=dev&q=new", &owner).await.is(200).json();
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["data"][0]["value_version"]),
        (1, &json!(through))
    );
}
