//! `Idempotency-Key`.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Answer, PASSWORD, Somebody, TestServer, text};

async fn post(server: &TestServer, who: &Somebody, key: &str, body: &Value) -> Answer {
    server.send(Method::POST, "/v1/environments", who, &[("idempotency-key", key)], body).await
}

fn without_request_id(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_same_answer_across_a_restart() {
    let (mut server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Dev", "mode": "test"});
    let first = post(&server, &owner, "k-1", &body).await.is(201);
    assert_eq!(first.header("idempotency-replayed"), None);
    let version = server.version(owner.organization);
    let path = first.header("location").unwrap();
    server.patch(&path, &owner, &json!({"name": "Renamed", "slug": "renamed"})).await.is(200);
    for _ in 0..2 {
        let again = post(&server, &owner, "k-1", &body).await.is(201);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
        assert_eq!(again.json(), first.json(), "as of the version of then");
        assert_eq!(again.etag(), first.etag());
        assert_eq!(again.header("location"), first.header("location"));
        server.restart().await;
    }
    assert_eq!(server.version(owner.organization), version + 1);
    // Even what is gone meanwhile.
    server.delete(&path, &owner).await.is(204);
    assert_eq!(post(&server, &owner, "k-1", &body).await.is(201).json(), first.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_is_refused() {
    let (server, owner) = TestServer::set_up().await;
    post(&server, &owner, "k-1", &json!({"name": "Dev", "mode": "test"})).await.is(201);
    let reused = post(&server, &owner, "k-1", &json!({"name": "Prod", "mode": "live"})).await;
    reused.is_problem(422, "idempotency_key_reused");
    assert_eq!(server.get("/v1/environments", &owner).await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_actor_method_and_path() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add_with_role(owner.organization, SystemRole::Admin).await;
    post(&server, &owner, "k-1", &json!({"name": "Dev", "mode": "test"})).await.is(201);
    let other = post(&server, &admin, "k-1", &json!({"name": "Prod", "mode": "live"})).await.is(201);
    assert_eq!(other.header("idempotency-replayed"), None);
    let key = [("idempotency-key", "k-1")];
    let patched =
        server.send(Method::PATCH, "/v1/environments/dev", &owner, &key, &json!({"name": "D"})).await;
    assert_eq!(patched.is(200).header("idempotency-replayed"), None);
    let other =
        server.send(Method::PATCH, "/v1/environments/prod", &owner, &key, &json!({"name": "P"})).await;
    assert_eq!(other.is(200).header("idempotency-replayed"), None);
    // On PUT and DELETE, which are idempotent by themselves, it is ignored.
    let path = "/v1/environments/dev/config/A";
    server.send(Method::PUT, path, &owner, &key, &json!({"value": 1})).await.is(201);
    server.send(Method::PUT, path, &owner, &key, &json!({"value": 2})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_requests_in_flight_one_acts() {
    let (server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Dev", "mode": "test"});
    let (a, b, c, d) = tokio::join!(
        post(&server, &owner, "k", &body),
        post(&server, &owner, "k", &body),
        post(&server, &owner, "k", &body),
        post(&server, &owner, "k", &body)
    );
    let answers = [a.is(201), b.is(201), c.is(201), d.is(201)];
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_comes_before_if_match_and_is_gone_after_a_day() {
    let (server, owner) = TestServer::set_up_manual().await;
    let tag = server.get("/v1/general", &owner).await.etag();
    let headers = [("idempotency-key", "k"), ("if-match", &*tag)];
    let change = json!({"name": "Acme II"});
    let first = server.send(Method::PATCH, "/v1/general", &owner, &headers, &change).await.is(200);
    let again = server.send(Method::PATCH, "/v1/general", &owner, &headers, &change).await.is(200);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(again.json(), first.json());
    server.advance(11 * 3600);
    server.get("/v1/me", &owner).await.is(200);
    server.advance(11 * 3600);
    server.get("/v1/me", &owner).await.is(200);
    server.advance(2 * 3600 + 1);
    let later = server.send(Method::PATCH, "/v1/general", &owner, &headers, &change).await;
    later.is_problem(412, "precondition_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_appended_nothing_is_not_kept() {
    let (server, owner) = TestServer::set_up().await;
    let key = [("idempotency-key", "k")];
    let same = json!({"name": "Acme"});
    server.send(Method::PATCH, "/v1/general", &owner, &key, &same).await.is(200);
    let other =
        server.send(Method::PATCH, "/v1/general", &owner, &key, &json!({"name": "New"})).await.is(200);
    assert_eq!(other.json()["name"], "New");
    post(&server, &owner, "fails", &json!({"name": "", "mode": "test"})).await.is(422);
    post(&server, &owner, "fails", &json!({"name": "Dev", "mode": "test"})).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_appends_to_the_organization_replays() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    for (path, body) in [
        ("/v1/me", json!({"name": "Olive II"})),
        ("/v1/general", json!({"name": "Acme II"})),
        ("/v1/environments/dev", json!({"name": "Dev II"})),
        ("/v1/environments/dev/config", json!({"A": 1, "B": 2})),
    ] {
        let key = [("idempotency-key", "same for all")];
        server.send(Method::PATCH, path, &owner, &key, &body).await.is_problem(422, "invalid_request");
        let key = [("idempotency-key", "same-for-all")];
        let first = server.send(Method::PATCH, path, &owner, &key, &body).await.is(200);
        let version = server.version(owner.organization);
        let again = server.send(Method::PATCH, path, &owner, &key, &body).await.is(200);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"), "{path}");
        assert_eq!(without_request_id(&again), without_request_id(&first), "{path}");
        assert_eq!(server.version(owner.organization), version, "{path}");
    }
}

/// What a replay reads of the past is as little as its events tell that it needs: whatever it is about, that is enough.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_made_once_whatever_it_is() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let member = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let customer = server.customer(&owner, &json!({"name": "A", "tags": {"plan": "pro"}})).await;
    let person = member.person.to_string();
    let of_customer = json!({"name": "OF_A", "environment": "dev", "customer": customer, "value": "v"});
    for (path, body) in [
        ("/v1/environments".to_owned(), json!({"name": "Stage", "mode": "test"})),
        ("/v1/secrets".to_owned(), json!({"name": "OTHER", "environment": "dev", "value": "v"})),
        ("/v1/secrets".to_owned(), of_customer),
        ("/v1/teams".to_owned(), json!({"name": "Ops"})),
        ("/v1/roles".to_owned(), json!({"name": "Reader", "permissions": ["environment:read"]})),
        (
            "/v1/role-assignments".to_owned(),
            json!({"subject": person, "role": "developer", "environment": "dev"}),
        ),
        ("/v1/invitations".to_owned(), json!({"email": "new@example.com", "role": "viewer"})),
        ("/v1/customers".to_owned(), json!({"name": "B", "external_id": "b-1"})),
        (format!("/v1/customers/{customer}/executions"), json!({"workflow": "sync", "environment": "dev"})),
        (format!("/v1/customers/{customer}/suspend"), json!({})),
        (format!("/v1/people/{person}/suspend"), json!({})),
    ] {
        let once = format!("once {}", body["name"]).replace(['"', ' '], "-");
        let key = [("idempotency-key", once.as_str())];
        let first = server.send(Method::POST, &path, &owner, &key, &body).await;
        assert!([200, 201].contains(&first.status), "{path}: {}", first.text);
        server.patch("/v1/environments/dev", &owner, &json!({"description": path})).await.is(200);
        let version = server.version(owner.organization);
        let again = server.send(Method::POST, &path, &owner, &key, &body).await.is(first.status);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"), "{path}");
        assert_eq!(again.json(), first.json(), "{path}");
        assert_eq!(server.version(owner.organization), version, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_founding_founds_once() {
    let (mut server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Beta", "timezone": "UTC"});
    let key = [("idempotency-key", "found")];
    let first = server.send(Method::POST, "/v1/organizations", &owner, &key, &body).await.is(201);
    server.restart().await;
    let again = server.send(Method::POST, "/v1/organizations", &owner, &key, &body).await.is(201);
    assert_eq!(text(&again.json()["id"]), text(&first.json()["id"]));
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!(server.app().store.organizations().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_change_of_password_is_the_same_one() {
    let (mut server, owner) = TestServer::set_up().await;
    let body = json!({"current": PASSWORD, "new": "seven boats in the harbour"});
    let key = [("idempotency-key", "change")];
    let change = async |server: &TestServer, body: &Value| {
        server.send(Method::POST, "/v1/me/password", &owner, &key, body).await
    };
    let first = change(&server, &body).await.is(200);
    let version = server.platform_version();
    for _ in 0..2 {
        let again = change(&server, &body).await.is(200);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
        assert_eq!(again.json(), first.json());
        server.restart().await;
    }
    assert_eq!(server.platform_version(), version);
    let without = server.send(Method::POST, "/v1/me/password", &owner, &[], &body).await;
    without.is_problem(422, "invalid_request");
    // Another body is a guess at the password like any other.
    let guess = json!({"current": PASSWORD, "new": "eight boats in the harbour"});
    for _ in 0..4 {
        change(&server, &guess).await.is_problem(422, "idempotency_key_reused");
    }
    change(&server, &guess).await.is_problem(429, "too_many_requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_leads_where_it_led_the_first_time() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let key = [("idempotency-key", "rename")];
    let send = async |path: &str, body: Value| server.send(Method::PATCH, path, &owner, &key, &body).await;
    let rename = json!({"name": "Stage", "slug": "stage", "description": "was dev"});
    let config = json!({"A": 1, "B": 2});
    let set = send("/v1/environments/dev/config", config.clone()).await.is(200);
    let renamed = send("/v1/environments/dev", rename.clone()).await.is(200);
    // The slug is another environment's by now.
    let other = server.environment(&owner, "Dev", "live").await;
    let version = server.version(owner.organization);
    for round in 0..2 {
        let again = send("/v1/environments/dev", rename.clone()).await.is(200);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
        assert_eq!((again.json(), again.etag()), (renamed.json(), renamed.etag()));
        let again = send("/v1/environments/dev/config", config.clone()).await.is(200);
        assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
        assert_eq!((again.json(), again.etag()), (set.json(), set.etag()));
        // Another body is refused, and acts on neither environment.
        let reused = send("/v1/environments/dev", json!({"description": "x"})).await;
        if round == 0 {
            reused.is_problem(422, "idempotency_key_reused");
            assert_eq!(server.version(owner.organization), version);
            server.delete("/v1/environments/stage", &owner).await.is(204);
            server.delete(&format!("/v1/environments/{other}"), &owner).await.is(204);
        } else {
            reused.is_problem(404, "not_found");
        }
    }
    assert_eq!(server.version(owner.organization), version + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_asks_for_todays_rights() {
    let (server, owner) = TestServer::set_up().await;
    let admin = server.add(owner.organization, "ada@example.com", "Ada").await;
    let held = server.assign(&admin, SystemRole::Admin, None).await;
    server.assign(&admin, SystemRole::Viewer, None).await;
    server.environment(&owner, "Dev", "test").await;
    let key = [("idempotency-key", "k")];
    let rename = json!({"slug": "stage"});
    let path = "/v1/environments/dev";
    server.send(Method::PATCH, path, &admin, &key, &rename).await.is(200);
    server.unassign(owner.organization, held).await;
    server.send(Method::PATCH, path, &admin, &key, &rename).await.is_problem(403, "forbidden");
}
