//! `/v1/auth/password/*`: a forgotten password.

use serde_json::json;

use super::NEW_PASSWORD;
use crate::server::{OWNER_EMAIL, PASSWORD, TestServer, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_set_anew_and_every_session_ends() {
    let (mut server, owner) = TestServer::set_up().await;
    let other = server.another_session(&owner).await;
    server.forgot("Olive@Example.com").await.is(202);
    // To the address that was proven, not to what was typed.
    let mail = server.mail_to(OWNER_EMAIL, 1).await;
    assert_eq!(mail.subject, "Set a new password");
    assert!(mail.text.contains("/reset-password#token="));
    // Links are in the log, not in memory.
    server.restart().await;
    let weak = server.reset(&mail.token(), "password1234").await.is_problem(422, "invalid_request");
    assert_eq!(weak["errors"][0]["pointer"], "/password");
    server.reset(&mail.token(), NEW_PASSWORD).await.is(204);
    for session in [&owner, &other] {
        server.get("/v1/me", session).await.is_problem(401, "unauthenticated");
    }
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(401);
    server.password_of(OWNER_EMAIL, NEW_PASSWORD).await.is(200);
    server.reset(&mail.token(), PASSWORD).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_set_a_password_ends_after_an_hour_and_with_any_new_password() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.forgot(OWNER_EMAIL).await.is(202);
    let first = server.mail_to(OWNER_EMAIL, 1).await.token();
    server.advance(3_600);
    server.reset(&first, NEW_PASSWORD).await.is(422);
    server.forgot(OWNER_EMAIL).await.is(202);
    let second = server.mail_to(OWNER_EMAIL, 2).await.token();
    let change = json!({"current": PASSWORD, "new": "a third one, for good measure"});
    server.post("/v1/me/password", Some(&owner), &change).await.is(200);
    server.reset(&second, NEW_PASSWORD).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_midst_of_an_attack_a_mailed_link_lets_its_owner_in_from_a_new_network() {
    let proxied = ["--trusted-proxies", "127.0.0.0/8"];
    let (clock, hands) =
        settled::clock::Clock::manual(settled::clock::Timestamp::from_micros(1_700_000_000_000_000));
    let server = TestServer::start_with(clock, Some(hands), &proxied).await;
    server.found().await;
    let post = async |from: &str, path: &str, body: serde_json::Value| {
        let request = server.request(reqwest::Method::POST, path, None).header("x-forwarded-for", from);
        send(request.json(&body)).await
    };
    let log_in = |password: &str| json!({"email": OWNER_EMAIL, "password": password});
    let attack = async || {
        for number in 0..102 {
            let from = format!("198.18.{number}.1");
            let answer = post(&from, "/v1/auth/login", log_in("wrong, of course")).await;
            assert!([401, 429].contains(&answer.status), "{}", answer.text);
        }
    };
    let (home, elsewhere) = ("203.0.113.9", "192.0.2.9");
    attack().await;
    post(home, "/v1/auth/login", log_in(PASSWORD)).await.is_problem(429, "too_many_requests");
    server.forgot(OWNER_EMAIL).await.is(202);
    let token = server.mail_to(OWNER_EMAIL, 1).await.token();
    let reset = json!({"token": token, "password": NEW_PASSWORD});
    post(home, "/v1/auth/password/reset", reset).await.is(204);
    attack().await;
    post(home, "/v1/auth/login", log_in(NEW_PASSWORD)).await.is(200);
    attack().await;
    post(elsewhere, "/v1/auth/login", log_in(NEW_PASSWORD)).await.is_problem(429, "too_many_requests");
    // Nobody is locked out: the longest wait is five minutes.
    server.advance(300);
    post(elsewhere, "/v1/auth/login", log_in(NEW_PASSWORD)).await.is(200);
}
