//! `POST /v1/setup`.

use serde_json::json;

use crate::server::{OWNER_EMAIL, PASSWORD, TestServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_set_up_makes_an_owner_with_a_session() {
    let server = TestServer::start().await;
    let answer = server.post("/v1/setup", None, &server.setup_body()).await.is(201);
    let body = answer.json();
    assert_eq!(body["organization"]["name"], "Acme");
    assert_eq!(body["organization"]["timezone"], "Europe/Paris");
    assert_eq!(body["person"]["email"], OWNER_EMAIL);
    let me = server.request(reqwest::Method::GET, "/v1/me", Some(&text(&body["session"]["token"])));
    let me = crate::server::send(me).await.is(200).json();
    assert_eq!(me["roles"], json!([{"id": "owner", "name": "owner"}]));
    assert_eq!(me["person"]["id"], body["person"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_once_and_the_token_is_gone() {
    let server = TestServer::start().await;
    let body = server.setup_body();
    server.post("/v1/setup", None, &body).await.is(201);
    server.post("/v1/setup", None, &body).await.is_problem(409, "already_set_up");
    assert!(!server.data_dir().join("setup-token").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_sets_up() {
    let server = TestServer::start().await;
    let body = server.setup_body();
    let (a, b, c) = tokio::join!(
        server.post("/v1/setup", None, &body),
        server.post("/v1/setup", None, &body),
        server.post("/v1/setup", None, &body)
    );
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409]);
    assert_eq!(server.app().store.organizations().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_sets_nothing_up() {
    let server = TestServer::start().await;
    let mut body = server.setup_body();
    body["setup_token"] = json!("guessed");
    server.post("/v1/setup", None, &body).await.is_problem(403, "invalid_setup_token");
    assert_eq!(server.platform_version(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_passwords_are_refused_with_their_place() {
    let server = TestServer::start().await;
    for weak in ["short", "password1234", "aaaaaaaaaaaaaaaa", "123456789012"] {
        let mut body = server.setup_body();
        body["person"]["password"] = json!(weak);
        let problem = server.post("/v1/setup", None, &body).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], "/person/password", "{weak}");
        assert_eq!(problem["errors"][0]["code"], "weak_password", "{weak}");
    }
    assert_eq!(server.platform_version(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_survives_a_restart() {
    let mut server = TestServer::start().await;
    let token = server.setup_token();
    server.restart().await;
    assert_eq!(server.setup_token(), token, "an unused token stays the same");
    server.post("/v1/setup", None, &server.setup_body()).await.is(201);
    server.restart().await;
    server.log_in(&json!({"email": OWNER_EMAIL, "password": PASSWORD})).await.is(200);
}
