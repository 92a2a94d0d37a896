//! `/v1/auth/password/*`: a forgotten password.

use serde_json::json;

use super::NEW_PASSWORD;
use crate::server::{OWNER_EMAIL, PASSWORD, TestServer};

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
