//! `/v1/general`.

use serde_json::json;

use crate::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_changed() {
    let (server, owner) = TestServer::set_up().await;
    let before = server.get("/v1/general", &owner).await.is(200);
    assert_eq!(before.json()["your_role"]["id"], "owner");
    let change = json!({"name": "Acme & Co", "timezone": "America/New_York", "email_domain": "example.com",
        "auto_approve_domain_users": true, "join_role": "developer"});
    let after = server.patch("/v1/general", &owner, &change).await.is(200);
    let body = after.json();
    for (field, value) in change.as_object().unwrap() {
        assert_eq!(body[field], *value, "{field}");
    }
    assert_eq!(body["email_domain_verified"], false);
    assert_eq!(body["email_domain_challenge"]["name"], "_settled-verification.example.com");
    assert_eq!(after.version(), before.version() + 1);
    assert_eq!(body["version"], after.version());
    assert_eq!(after.etag(), format!("\"0-{}\"", after.version()));
    assert_eq!(server.get("/v1/general", &owner).await.is(200).json(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_leaves_null_clears_and_what_is_so_is_no_event() {
    let (server, owner) = TestServer::set_up().await;
    let set = json!({"email_domain": "example.com"});
    let challenge =
        server.patch("/v1/general", &owner, &set).await.is(200).json()["email_domain_challenge"].clone();
    let version = server.version(owner.organization);
    for same in [json!({}), set, json!({"name": "Acme"}), json!({"timezone": "Europe/Paris"})] {
        let answer = server.patch("/v1/general", &owner, &same).await.is(200);
        assert_eq!(answer.version(), version, "{same}");
        assert_eq!(answer.json()["email_domain_challenge"], challenge);
    }
    let cleared = server.patch("/v1/general", &owner, &json!({"email_domain": null})).await.is(200);
    assert_eq!(cleared.json()["email_domain"], json!(null));
    assert_eq!(cleared.json()["name"], "Acme");
    assert_eq!(cleared.version(), version + 1);
    let again = server.patch("/v1/general", &owner, &json!({"email_domain": null})).await.is(200);
    assert_eq!(again.version(), version + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_its_place() {
    let (server, owner) = TestServer::set_up().await;
    let version = server.version(owner.organization);
    let cases = [
        (json!({"name": null}), "/name", "wrong_type"),
        (json!({"name": ""}), "/name", "too_short"),
        (json!({"name": "x".repeat(1000)}), "/name", "too_long"),
        (json!({"timezone": "Mars/Olympus"}), "/timezone", "invalid"),
        (json!({"email_domain": "gmail.com"}), "/email_domain", "public_email_domain"),
        (json!({"email_domain": "mail.example.com"}), "/email_domain", "invalid"),
        (json!({"join_role": "emperor"}), "/join_role", "invalid"),
        (json!({"auto_approve_domain_users": "yes"}), "/auto_approve_domain_users", "wrong_type"),
        (json!({"nmae": "x"}), "/nmae", "unknown_field"),
    ];
    for (body, pointer, code) in cases {
        let problem = server.patch("/v1/general", &owner, &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    assert_eq!(server.version(owner.organization), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_lets_others_join_with_more_than_they_have() {
    let (server, owner) = TestServer::set_up().await;
    let admin =
        server.add_with_role(owner.organization, settled::settings::roles::role::SystemRole::Admin).await;
    let problem = server.patch("/v1/general", &admin, &json!({"join_role": "owner"})).await;
    assert_eq!(problem.is_problem(403, "forbidden")["permission"], "organization:own");
    server.patch("/v1/general", &admin, &json!({"join_role": "admin"})).await.is(200);
}
