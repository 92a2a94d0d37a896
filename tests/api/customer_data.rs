//! `/v1/customers/{cus}/data`: customers' documents, and what becomes of them with their customers.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

impl TestServer {
    async fn write(&self, who: &Somebody, customer: &str, key: &str, value: Value) -> u16 {
        let path = format!("/v1/customers/{customer}/data/{key}");
        self.put(&path, who, &json!({"value": value})).await.status
    }

    async fn document(&self, who: &Somebody, customer: &str, key: &str) -> Value {
        self.get(&format!("/v1/customers/{customer}/data/{key}"), who).await.is(200).json()["value"].clone()
    }

    async fn keys(&self, who: &Somebody, customer: &str, query: &str) -> Vec<String> {
        let page = self.get(&format!("/v1/customers/{customer}/data?{query}"), who).await.is(200).json();
        page["data"].as_array().unwrap().iter().map(|row| text(&row["key"])).collect()
    }
}

async fn acme() -> (TestServer, Somebody, String, String) {
    let (server, owner) = TestServer::set_up().await;
    let a = server.customer(&owner, &json!({"name": "A"})).await;
    let b = server.customer(&owner, &json!({"name": "B"})).await;
    (server, owner, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_written_read_written_again_and_deleted() {
    let (mut server, owner, a, b) = acme().await;
    let path = format!("/v1/customers/{a}/data/profile");
    let made = server.put(&path, &owner, &json!({"value": {"b": 1.50, "a": [null]}})).await.is(201);
    assert_eq!(made.header("location").as_deref(), Some(&*path));
    assert_eq!(made.json().get("value"), None, "what was written is known to whoever wrote it");
    let shown = server.get(&path, &owner).await.is(200);
    assert_eq!(shown.json()["value"], json!({"a": [null], "b": 1.5}));
    assert_eq!(shown.etag(), made.etag());
    // The same once more is another version: a sealed value tells nobody that it is the same.
    let again = server.put(&path, &owner, &json!({"value": {"b": 1.50, "a": [null]}})).await.is(200);
    assert_ne!(again.etag(), made.etag());
    let stale = [("if-match", &*made.etag())];
    let body = json!({"value": 1});
    server.send(Method::PUT, &path, &owner, &stale, &body).await.is_problem(412, "precondition_failed");
    let new = [("if-none-match", "*")];
    server.send(Method::PUT, &path, &owner, &new, &body).await.is_problem(412, "precondition_failed");
    for key in ["z", "a.b"] {
        assert_eq!(server.write(&owner, &a, key, json!(key)).await, 201);
    }
    assert_eq!(server.write(&owner, &b, "a.b", json!("another's")).await, 201);
    for _ in 0..2 {
        assert_eq!(server.keys(&owner, &a, "").await, ["a.b", "profile", "z"]);
        assert_eq!(server.document(&owner, &a, "a.b").await, "a.b");
        assert_eq!(server.document(&owner, &b, "a.b").await, "another's");
        server.restart().await;
    }
    let first = server.get(&format!("/v1/customers/{a}/data?limit=2"), &owner).await.is(200).json();
    let cursor = text(&first["next_cursor"]);
    assert_eq!(server.keys(&owner, &a, &format!("cursor={cursor}")).await, ["z"]);
    server.delete(&path, &owner).await.is(204);
    server.delete(&path, &owner).await.is_problem(404, "not_found");
    server.get(&path, &owner).await.is_problem(404, "not_found");
    for path in ["data/a%20b", "data/.a", "data/a@b"] {
        let path = format!("/v1/customers/{a}/{path}");
        server.put(&path, &owner, &body).await.is_problem(422, "invalid_request");
        server.get(&path, &owner).await.is_problem(404, "not_found");
    }
    for path in ["/v1/customers/cus_01kqxk5rd0e5xrpzzv0jjq4zgn/data", "/v1/customers/x/data"] {
        server.get(path, &owner).await.is_problem(404, "not_found");
        server.get(&format!("{path}?limit=0"), &owner).await.is_problem(404, "not_found");
        server.get(&format!("{path}/a"), &owner).await.is_problem(404, "not_found");
        server.put(&format!("{path}/a"), &owner, &body).await.is_problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_has_256_kib_of_canonical_json() {
    let (server, owner, a, _) = acme().await;
    let longest = "x".repeat((256 << 10) - 2);
    assert_eq!(server.write(&owner, &a, "long", json!(longest)).await, 201);
    assert_eq!(server.document(&owner, &a, "long").await, longest);
    let path = format!("/v1/customers/{a}/data/long");
    let version = server.version(owner.organization);
    for (raw, code) in [
        (format!("\"{}\"", "x".repeat((256 << 10) - 1)), "too_long"),
        ("null".to_owned(), "null_value"),
        ("9007199254740993".to_owned(), "lossy_number"),
    ] {
        let request = server.request(Method::PUT, &path, Some(&owner.token));
        let request =
            request.header("content-type", "application/json").body(format!("{{\"value\": {raw}}}"));
        let problem = crate::server::send(request).await.is_problem(422, "invalid_request");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!("/value"), &json!(code))
        );
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_told_as_they_were_and_brought_back() {
    let (server, owner, a, b) = acme().await;
    for (key, value) in [("one", "first"), ("two", "second")] {
        server.write(&owner, &a, key, json!(value)).await;
    }
    let then = server.version(owner.organization);
    let before = server.get(&format!("/v1/customers/{a}/data?as_of={then}"), &owner).await.is(200).json();
    server.write(&owner, &a, "one", json!("changed")).await;
    server.delete(&format!("/v1/customers/{a}/data/two"), &owner).await.is(204);
    server.write(&owner, &a, "three", json!("new")).await;
    server.write(&owner, &b, "own", json!("stays")).await;
    let at = async |key: &str| {
        let path = format!("/v1/customers/{a}/data/{key}?as_of={then}");
        server.get(&path, &owner).await.is(200).json()["value"].clone()
    };
    assert_eq!((at("one").await, at("two").await), (json!("first"), json!("second")));
    let path = format!("/v1/customers/{a}/data/three?as_of={then}");
    server.get(&path, &owner).await.is_problem(404, "not_found");
    let listed = server.get(&format!("/v1/customers/{a}/data?as_of={then}"), &owner).await.is(200).json();
    assert_eq!(listed, before);
    let history = server.get(&format!("/v1/history/{a}?name=one"), &owner).await.is(200);
    assert_eq!(history.json()["data"].as_array().map(Vec::len), Some(2));
    assert!(!history.text.contains("first") && !history.text.contains("changed"), "{}", history.text);

    let one = server.restored(&owner, then, &json!({"resource": format!("{a}/one")})).await;
    assert_eq!(one["steps"].as_array().map(Vec::len), Some(1), "{one}");
    assert_eq!(server.document(&owner, &a, "one").await, "first");
    let all = server.restored(&owner, then, &json!({"resource": a})).await;
    assert_eq!(all["steps"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(server.keys(&owner, &a, "").await, ["one", "two"]);
    assert_eq!(server.document(&owner, &a, "two").await, "second");
    let nothing = server.restored(&owner, then, &json!({"resource": a})).await;
    assert_eq!(nothing["steps"], json!([]), "what came back is what it was");

    // With its customer, and not without.
    server.delete(&format!("/v1/customers/{a}"), &owner).await.is(204);
    server.get(&format!("/v1/customers/{a}/data"), &owner).await.is_problem(404, "not_found");
    assert_eq!(at("one").await, "first");
    let alone = server.restored(&owner, then, &json!({"resource": format!("{a}/one")})).await;
    assert_eq!(alone["cannot"][0]["why"], "customer_gone", "{alone}");
    server.restored(&owner, then, &json!({"resource": a})).await;
    assert_eq!(server.document(&owner, &a, "one").await, "first");
    assert_eq!(server.document(&owner, &b, "own").await, "stays");

    server.about_customer(&owner, &a, "erase").await.is(200);
    for key in ["one", "two"] {
        let path = format!("/v1/customers/{a}/data/{key}?as_of={then}");
        server.get(&path, &owner).await.is_problem(404, "not_found");
    }
    let gone = server.restored(&owner, then, &json!({"resource": a})).await;
    assert_eq!((&gone["steps"], &gone["cannot"][0]["why"]), (&json!([]), &json!("erased")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_keeps_documents_for_the_customers_that_it_is_limited_to() {
    let (server, owner, a, b) = acme().await;
    server.write(&owner, &b, "own", json!("of b")).await;
    let key = json!({"name": "P", "mode": "live", "customers": [a]});
    let (_, program) = server.api_key(&owner, &key).await;
    assert_eq!(server.write(&program, &a, "state", json!({"step": 1})).await, 201);
    assert_eq!(server.document(&program, &a, "state").await, json!({"step": 1}));
    assert_eq!(server.keys(&program, &a, "").await, ["state"]);
    for path in ["data", "data/own"] {
        server.get(&format!("/v1/customers/{b}/{path}"), &program).await.is_problem(404, "not_found");
    }
    assert_eq!(server.write(&program, &b, "own", json!(1)).await, 404);
    server.delete(&format!("/v1/customers/{b}/data/own"), &program).await.is_problem(404, "not_found");
    assert_eq!(server.document(&owner, &b, "own").await, "of b");
    // A test key holds nothing that is no environment's.
    let (_, test) = server.api_key(&owner, &json!({"name": "T", "mode": "test"})).await;
    server.get(&format!("/v1/customers/{a}/data"), &test).await.is_problem(403, "wrong_mode");
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    server.get(&format!("/v1/customers/{a}/data"), &viewer).await.is_problem(403, "forbidden");
    let audit = server.audit(&owner, &format!("&resource={a}&action=customer_data.*")).await;
    let rows: Vec<_> =
        audit.iter().map(|row| (text(&row["action"]), row["resource"]["name"].clone())).collect();
    assert_eq!(rows, [("customer_data.set".to_owned(), json!("state"))]);
}
