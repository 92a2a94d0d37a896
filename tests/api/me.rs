//! `/v1/me`, its sessions and its password; `POST /v1/organizations`.

use serde_json::json;
use settled::settings::roles::role::SystemRole;

use crate::server::{OWNER_EMAIL, PASSWORD, Somebody, TestServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_they_may_do() {
    let (server, owner) = TestServer::set_up().await;
    let id = server.environment(&owner, "Dev", "test").await;
    let somebody = server.add(owner.organization, "vera@example.com", "Vera").await;
    server.assign(&somebody, SystemRole::Viewer, None).await;
    server.assign(&somebody, SystemRole::Developer, Some(id.parse().unwrap())).await;
    let me = server.get("/v1/me", &somebody).await.is(200).json();
    assert_eq!(me["roles"], json!([{"id": "viewer", "name": "viewer"}]));
    let everywhere = me["permissions"]["organization"].as_array().unwrap();
    assert!(everywhere.contains(&json!("config:read")) && !everywhere.contains(&json!("config:write")));
    let there = me["permissions"]["environments"][&id].as_array().unwrap();
    assert!(there.contains(&json!("config:write")) && !there.contains(&json!("customer:manage")));
    server.put("/v1/environments/dev/config/A", &somebody, &json!({"value": 1})).await.is(201);
    server.environment(&owner, "Live", "live").await;
    let refused = server.put("/v1/environments/live/config/A", &somebody, &json!({"value": 1})).await;
    assert_eq!(refused.is_problem(403, "forbidden")["permission"], "config:write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_changes_their_name() {
    let (server, owner) = TestServer::set_up().await;
    let before = server.get("/v1/me", &owner).await.is(200);
    let after = server.patch("/v1/me", &owner, &json!({"name": "Olive II"})).await.is(200);
    assert_eq!(after.json()["person"]["name"], "Olive II");
    assert_eq!(after.version(), before.version() + 1);
    let stale = [("if-match", &*before.etag())];
    let stale = server.send(reqwest::Method::PATCH, "/v1/me", &owner, &stale, &json!({"name": "X"})).await;
    stale.is_problem(412, "precondition_failed");
    server
        .patch("/v1/me", &owner, &json!({"email": "x@example.com"}))
        .await
        .is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_all_other_sessions_for_good() {
    let (mut server, owner) = TestServer::set_up().await;
    let other = server.another_session(&owner).await;
    let nowhere =
        server.log_in(&json!({"email": OWNER_EMAIL, "password": PASSWORD, "organization": null})).await;
    let nowhere = Somebody { token: text(&nowhere.is(200).json()["token"]), ..owner.clone() };
    let new = "seven boats in the harbour";
    let change = json!({"current": PASSWORD, "new": new});
    server.post("/v1/me/password", Some(&owner), &change).await.is(200);
    for _ in 0..2 {
        server.get("/v1/me", &owner).await.is(200);
        server.get("/v1/me", &other).await.is_problem(401, "unauthenticated");
        server.get("/v1/me", &nowhere).await.is_problem(401, "unauthenticated");
        let sessions = server.get("/v1/me/sessions", &owner).await.is(200).json();
        let current: Vec<_> =
            sessions["data"].as_array().unwrap().iter().map(|row| &row["current"]).collect();
        assert_eq!(current, [true], "ended sessions are not listed");
        server.restart().await;
    }
    server.log_in(&json!({"email": OWNER_EMAIL, "password": PASSWORD})).await.is(401);
    server.log_in(&json!({"email": OWNER_EMAIL, "password": new})).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_needs_the_present_one_and_must_be_good() {
    let (server, owner) = TestServer::set_up().await;
    let platform = server.platform_version();
    let wrong = json!({"current": "wrong", "new": "seven boats in the harbour"});
    let problem =
        server.post("/v1/me/password", Some(&owner), &wrong).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/current");
    let weak = json!({"current": PASSWORD, "new": "password1234"});
    let problem =
        server.post("/v1/me/password", Some(&owner), &weak).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/new");
    for _ in 0..4 {
        server.post("/v1/me/password", Some(&owner), &wrong).await.is(422);
    }
    server.post("/v1/me/password", Some(&owner), &wrong).await.is_problem(429, "too_many_requests");
    assert_eq!(server.platform_version(), platform);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_by_their_holder_alone() {
    let (server, owner) = TestServer::set_up().await;
    let stranger = server.add(owner.organization, "stan@example.com", "Stan").await;
    let other = server.another_session(&owner).await;
    let listed = server.get("/v1/me/sessions", &owner).await.is(200).json();
    let rows = listed["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["current"], true);
    assert_eq!(rows[0]["ip"], "127.0.0.1");
    let id = text(&rows[1]["id"]);
    let path = format!("/v1/me/sessions/{id}");
    server.delete(&path, &stranger).await.is_problem(404, "not_found");
    server.delete(&path, &owner).await.is(204);
    server.get("/v1/me", &other).await.is_problem(401, "unauthenticated");
    server.delete("/v1/me/sessions/ses_x", &owner).await.is_problem(404, "not_found");
    let version = server.version(owner.organization);
    server.delete(&path, &owner).await.is(204);
    assert_eq!(server.version(owner.organization), version, "revoking again is no event");
    server.delete(&path, &stranger).await.is_problem(404, "not_found");
    let unknown = "/v1/me/sessions/ses_01kqxk5rd0e5xrpzzv0jjq4zgn";
    server.delete(unknown, &owner).await.is_problem(404, "not_found");
    assert_eq!(server.get("/v1/me/sessions", &owner).await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_owns_the_new_organization_and_sees_nothing_of_it_in_the_old_one() {
    let (server, owner) = TestServer::set_up().await;
    let version = server.version(owner.organization);
    let body = json!({"name": "Beta", "timezone": "Asia/Tokyo"});
    let beta = server.post("/v1/organizations", Some(&owner), &body).await.is(201).json();
    assert_eq!(beta["name"], "Beta");
    assert_eq!(server.version(owner.organization), version);
    let login = json!({"email": OWNER_EMAIL, "password": PASSWORD, "organization": beta["id"]});
    let there = server.log_in(&login).await.is(200).json();
    let there = Somebody { token: text(&there["token"]), ..owner.clone() };
    let me = server.get("/v1/me", &there).await.is(200).json();
    assert_eq!(me["roles"][0]["id"], "owner");
    assert_ne!(me["person"]["id"], owner.person.to_string(), "a person's id is the organization's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_the_operator_founds_nobody_else_does() {
    let clock = settled::clock::Clock::system();
    let server = TestServer::start_with(clock, None, &["--organizations", "operator"]).await;
    let answer = server.post("/v1/setup", None, &server.setup_body()).await.is(201).json();
    let request =
        server.request(reqwest::Method::POST, "/v1/organizations", answer["session"]["token"].as_str());
    let answer = crate::server::send(request.json(&json!({"name": "Beta", "timezone": "UTC"}))).await;
    answer.is_problem(403, "organizations_closed");
    assert_eq!(server.app().store.organizations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_no_permission_is_done_so_often_a_minute() {
    let (server, owner) = TestServer::set_up_manual().await;
    let beta = json!({"name": "Beta", "timezone": "UTC"});
    let beta = server.post("/v1/organizations", Some(&owner), &beta).await.is(201).json();
    let rename =
        async |number: u32| server.patch("/v1/me", &owner, &json!({"name": format!("Olive {number}")})).await;
    for number in 0..120 {
        rename(number).await.is(200);
    }
    let refused = rename(120).await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("60"));
    refused.is_problem(429, "too_many_requests");
    server.get("/v1/me", &owner).await.is(200);
    // Going to and fro is counted for the account, wherever it is.
    let mut here = owner.clone();
    for number in 0..120 {
        let to = if number % 2 == 0 { &beta["id"] } else { &json!(owner.organization) };
        let there = server.post("/v1/auth/switch", Some(&here), &json!({"organization": to})).await.is(200);
        here.token = text(&there.json()["token"]);
    }
    let once_more = json!({"organization": beta["id"]});
    server.post("/v1/auth/switch", Some(&here), &once_more).await.is_problem(429, "too_many_requests");
    server.advance(60);
    server.post("/v1/auth/switch", Some(&here), &once_more).await.is(200);
    rename(121).await.is_problem(401, "unauthenticated");
}
