//! `POST /v1/me/leave` and `DELETE /v1/me`.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use settled::clock::Clock;
use settled::settings::roles::role::{Grantee, SystemRole};

use crate::server::{PASSWORD, Somebody, TestServer, send};

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_gone_but_not_from_history() {
    let (server, owner) = TestServer::set_up().await;
    let vera = server.add_with_role(owner.organization, SystemRole::Admin).await;
    let second = server.another_session(&vera).await;
    server.patch("/v1/general", &vera, &json!({"name": "Acme II"})).await.is(200);
    server.post("/v1/me/leave", Some(&owner), &json!({})).await.is_problem(409, "last_owner");
    server.post("/v1/me/leave", Some(&vera), &json!({})).await.is(204);
    for session in [&vera, &second] {
        server.get("/v1/me", session).await.is_problem(401, "unauthenticated");
    }
    let login = server.log_in(&json!({"email": vera.email, "password": PASSWORD})).await.is(200).json();
    assert_eq!(login["organization"], Value::Null);
    let rows = server.audit(&owner, &format!("&user={}", vera.person)).await;
    assert_eq!(rows[0]["action"], "person.remove");
    assert!(rows.iter().all(|row| row["user"]["name"] == "admin"), "{rows:?}");
    let assignments = server.handle(owner.organization).view();
    assert_eq!(assignments.organization().roles.assignments_of(Grantee::Person(vera.person)).count(), 0);
    assert_eq!(server.recorded("membership.end"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_could_not_be_looked_at_was_not_guessed() {
    let dear = ["--password-queue", "1", "--password-memory", "19MiB", "--password-passes", "20"];
    let server = TestServer::start_with(Clock::system(), None, &dear).await;
    let owner = server.found().await;
    let is_over = AtomicBool::new(false);
    // They keep the queue full; each time another address, since nobody is to be slowed down.
    let stranger = async |name: &str| {
        for guess in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let guess = json!({"email": format!("{name}{guess}@example.com"), "password": PASSWORD});
            server.log_in(&guess).await;
        }
    };
    let member = async || {
        let (mut refused, body) = (0, json!({"password": PASSWORD}));
        for _ in 0..100 {
            match server.send(Method::DELETE, "/v1/me", &owner, &[], &body).await.status {
                503 => refused += 1,
                409 => {}
                status => panic!("{status}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(refused > 20, "{refused} of a hundred");
    };
    tokio::join!(stranger("a"), stranger("b"), stranger("c"), member());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let (server, owner) = TestServer::set_up().await;
    let other = server.add_with_role(owner.organization, SystemRole::Owner).await;
    let leave = async |who: &Somebody| server.post("/v1/me/leave", Some(who), &json!({})).await.status;
    let (one, two) = tokio::join!(leave(&owner), leave(&other));
    let mut statuses = [one, two];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_deleted_once_it_belongs_nowhere() {
    let (server, owner) = TestServer::set_up().await;
    let vera = server.add(owner.organization, "vera@example.com", "Vera").await;
    let delete = async |who: &Somebody, password: &str| {
        server.send(Method::DELETE, "/v1/me", who, &[], &json!({"password": password})).await
    };
    delete(&vera, PASSWORD).await.is_problem(409, "memberships_left");
    server.post("/v1/me/leave", Some(&vera), &json!({})).await.is(204);
    let nowhere = server.nowhere(&vera).await;
    let problem = delete(&nowhere, "wrong").await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/password");
    let platform = server.app().store.platform().view();
    let pair = platform.platform().accounts.by_person(vera.organization, vera.person);
    assert!(pair.is_none(), "who has left is nobody there");
    let kept = server.data_keys();
    delete(&nowhere, PASSWORD).await.is(204);
    assert_eq!(server.data_keys(), kept - 1, "its key is destroyed");
    server.get("/v1/me", &nowhere).await.is_problem(401, "unauthenticated");
    server.password_of(&vera.email, PASSWORD).await.is(401);
    server.sign_up(&vera.email).await.is(202);
    assert_eq!(server.mail_to(&vera.email, 1).await.subject, "Verify your address");
    let bodyless = server.request(Method::DELETE, "/v1/me/sessions/ses_x", Some(&owner.token));
    send(bodyless.json(&json!({}))).await.is_problem(400, "unexpected_body");
}
