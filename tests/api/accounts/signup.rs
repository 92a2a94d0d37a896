//! `POST /v1/auth/signup` and the links that verify: who has an account when.

use reqwest::Method;
use serde_json::{Value, json};
use settled::clock::Clock;
use settled::store::scheduler;

use super::{DAY, NEW_PASSWORD, NEWCOMER};
use crate::domain_users::DOMAIN;
use crate::server::{OWNER_EMAIL, PASSWORD, Somebody, TestServer, send, text};

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_up_logs_in_once_the_address_is_verified() {
    let (server, owner) = TestServer::set_up().await;
    let answer = server.sign_up(NEWCOMER).await.is(202);
    assert_eq!(answer.text, "");
    let mail = server.mail_to(NEWCOMER, 1).await;
    assert_eq!(mail.subject, "Verify your address");
    assert!(mail.text.contains(&format!("{}/verify-email#token=", server.base())), "{}", mail.text);
    assert!(!mail.text.contains("Nora") && !mail.html.contains("Nora"), "nothing that was typed is mailed");
    server.password_of(NEWCOMER, PASSWORD).await.is_problem(401, "login_failed");

    server.verify(&mail.token()).await.is(204);
    let login = server.log_in(&json!({"email": NEWCOMER, "password": PASSWORD})).await.is(200).json();
    assert_eq!((&login["organization"], &login["person"]["name"]), (&Value::Null, &json!("Nora New")));
    let newcomer = Somebody { token: text(&login["token"]), email: NEWCOMER.to_owned(), ..owner };
    let founded = server
        .post("/v1/organizations", Some(&newcomer), &json!({"name": "Nora's", "timezone": "UTC"}))
        .await
        .is(201)
        .json();
    let switch = json!({"organization": founded["id"]});
    let there = server.post("/v1/auth/switch", Some(&newcomer), &switch).await.is(200).json();
    assert_eq!(there["person"]["email"], NEWCOMER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_token_works_once_and_a_get_uses_nothing_up() {
    let (server, _owner) = TestServer::set_up().await;
    server.sign_up(NEWCOMER).await.is(202);
    let token = server.mail_to(NEWCOMER, 1).await.token();
    for path in ["/v1/auth/verify-email", "/v1/auth/password/reset"] {
        let path = format!("{path}?token={}", token.as_str().unwrap());
        send(server.request(Method::GET, &path, None)).await.is_problem(405, "method_not_allowed");
    }
    let problem = server.reset(&token, NEW_PASSWORD).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["code"], "invalid_token", "it is good for one thing");
    server.verify(&token).await.is(204);
    let mut answers = Vec::new();
    for token in [token, json!("x"), json!("A".repeat(43))] {
        let mut problem = server.verify(&token).await.is_problem(422, "invalid_request");
        problem.as_object_mut().unwrap().remove("request_id");
        answers.push(problem);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(server.recorded("auth.verify_email"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sign_ups_for_one_address_the_first_verified_has_it() {
    let (server, _owner) = TestServer::set_up().await;
    server.sign_up(NEWCOMER).await.is(202);
    let first = server.mail_to(NEWCOMER, 1).await.token();
    let body = json!({"email": NEWCOMER, "name": "Other", "password": NEW_PASSWORD});
    server.post("/v1/auth/signup", None, &body).await.is(202);
    let second = server.mail_to(NEWCOMER, 2).await.token();
    let (one, other) = tokio::join!(server.verify(&second), server.verify(&first));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422]);
    let password = if one.status == 204 { NEW_PASSWORD } else { PASSWORD };
    server.password_of(NEWCOMER, password).await.is(200);
    assert_eq!(server.recorded("auth.verify_email"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_that_nobody_verifies_ends_and_is_forgotten() {
    let (mut server, _owner) = TestServer::set_up_manual().await;
    for email in [NEWCOMER, "late@example.com"] {
        server.sign_up(email).await.is(202);
    }
    let (token, late) = (server.mail_to(NEWCOMER, 1).await, server.mail_to("late@example.com", 1).await);
    server.advance(7 * DAY - 60);
    server.verify(&token.token()).await.is(204);
    server.advance(120);
    server.verify(&late.token()).await.is(422);
    // The scheduler looks after a start, too.
    server.restart().await;
    server.advance(30 * DAY - 600);
    scheduler::tick(&server.app().store).await;
    assert_eq!(server.recorded("signup.expire"), 0);
    let kept = server.data_keys();
    server.advance(1_200);
    let forgotten = async || {
        server.advance(60);
        server.recorded("signup.expire") == 1
    };
    server.eventually(forgotten).await;
    assert_eq!(server.data_keys(), kept - 1, "its key is destroyed");
    let platform = server.app().store.platform().view();
    assert!(platform.platform().accounts.sign_ups.is_empty());
    server.password_of(NEWCOMER, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_sign_up_nobody_does() {
    let server = TestServer::start_with(Clock::system(), None, &["--signup", "off"]).await;
    server.found().await;
    for email in [NEWCOMER, OWNER_EMAIL] {
        server.sign_up(email).await.is_problem(403, "signup_closed");
    }
    let server = TestServer::start().await;
    server.sign_up(NEWCOMER).await.is_problem(409, "not_set_up");
}

/// What is asked for unless an operator says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_an_address_of_a_proven_domain_may_sign_up_and_nobody_learns_who() {
    let server = TestServer::start_with(Clock::system(), None, &["--signup", "invited_or_domain"]).await;
    let owner = server.found().await;
    let strangers = ["a@example.org", "a@mail.example.com"];
    let challenge = server.set_domain(&owner, DOMAIN).await;
    for email in [NEWCOMER, OWNER_EMAIL].into_iter().chain(strangers) {
        server.sign_up(email).await.is(202);
    }
    server.prove(&challenge);
    server.verify_domain(&owner).await.is(200);
    for email in [NEWCOMER, OWNER_EMAIL].into_iter().chain(strangers) {
        server.sign_up(email).await.is(202);
    }
    let mail = server.mail_to(NEWCOMER, 1).await;
    assert_eq!(mail.subject, "Verify your address");
    assert_eq!(server.mail_to(OWNER_EMAIL, 1).await.subject, "You have an account already");
    // Whoever is invited needs no sign-up.
    let invite = json!({"email": strangers[0], "role": "viewer"});
    server.post("/v1/invitations", Some(&owner), &invite).await.is(201);
    let token = server.mail_to(strangers[0], 1).await.token();
    let anew = json!({"token": token, "name": "Ada", "password": PASSWORD});
    server.post("/v1/auth/invitations/accept", None, &anew).await.is(200);
    assert_eq!(server.mails().len(), 3, "nothing else was mailed, and nothing before the domain was proven");

    server.verify(&mail.token()).await.is(204);
    let login = server.password_of(NEWCOMER, PASSWORD).await.is(200).json();
    let nora = Somebody { token: text(&login["token"]), email: NEWCOMER.to_owned(), ..owner.clone() };
    server.ask_to_join(&nora, owner.organization).await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_for_mail_what_needs_it_says_so() {
    let (mut server, owner) = TestServer::set_up().await;
    server.config.mail_dir = None;
    server.restart().await;
    for answer in [
        server.sign_up(NEWCOMER).await,
        server.forgot(OWNER_EMAIL).await,
        server.change_email(&owner, NEWCOMER).await,
    ] {
        answer.is_problem(503, "mail_unavailable");
    }
}
