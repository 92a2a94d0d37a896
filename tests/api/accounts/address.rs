//! `POST /v1/me/email`: another address, in every organization.

use reqwest::Method;
use serde_json::json;
use settled::actor::{Actor, ActorId};
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::credentials::ChangeEmail;
use settled::seal::token::PlainToken;
use settled::store::Submission;

use super::{NEW_PASSWORD, NEWCOMER};
use crate::server::{OWNER_EMAIL, PASSWORD, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_changes_once_the_new_one_is_confirmed_and_everywhere() {
    let (server, owner) = TestServer::set_up().await;
    let body = json!({"name": "Beta", "timezone": "UTC"});
    let beta = server.post("/v1/organizations", Some(&owner), &body).await.is(201).json();
    let other = server.another_session(&owner).await;
    server.change_email(&owner, NEWCOMER).await.is(202);
    let notice = server.mail_to(OWNER_EMAIL, 1).await;
    assert_eq!(notice.subject, "Your account is about to get another address");
    assert!(!notice.text.contains("#token=") && !notice.text.contains(NEWCOMER));
    let mail = server.mail_to(NEWCOMER, 1).await;
    assert_eq!(mail.subject, "Confirm your new address");
    server.password_of(NEWCOMER, PASSWORD).await.is(401);

    server.verify(&mail.token()).await.is(204);
    server.verify(&mail.token()).await.is(422);
    server.get("/v1/me", &other).await.is_problem(401, "unauthenticated");
    assert_eq!(server.get("/v1/me", &owner).await.is(200).json()["person"]["email"], NEWCOMER);
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(401);
    let login = json!({"email": NEWCOMER, "password": PASSWORD, "organization": beta["id"]});
    let there = server.log_in(&login).await.is(200).json();
    assert_eq!(there["person"]["email"], NEWCOMER);
    let rows = server.audit(&owner, "&action=person.change_email").await;
    assert_eq!((rows.len(), &rows[0]["user"]["id"]), (1, &json!("system")));
    assert_eq!(server.recorded("email_change.close"), 1);
    // The address of before is free.
    server.sign_up(OWNER_EMAIL).await.is(202);
    assert_eq!(server.mail_to(OWNER_EMAIL, 2).await.subject, "Verify your address");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_mails_to_an_address_withholds_no_notice() {
    let (server, owner) = TestServer::set_up().await;
    for _ in 0..3 {
        server.forgot(OWNER_EMAIL).await.is(202);
    }
    server.mails_to(OWNER_EMAIL, 3).await;
    server.change_email(&owner, NEWCOMER).await.is(202);
    let notice = server.mail_to(OWNER_EMAIL, 4).await;
    assert_eq!(notice.subject, "Your account is about to get another address");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_somebody_elses_is_asked_for_in_vain() {
    let (server, owner) = TestServer::set_up().await;
    let vera = server.add(owner.organization, "vera@example.com", "Vera").await;
    let key = [("idempotency-key", "k")];
    let ask = async |email: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        server.send(Method::POST, "/v1/me/email", &owner, &key, &body).await
    };
    server.change_email(&owner, "vera@example.com").await.is(202);
    assert_eq!(server.mail_to("vera@example.com", 1).await.subject, "You have an account already");
    server.mail_to(OWNER_EMAIL, 1).await;
    // A request that is repeated tells nothing either.
    let first = ask("Vera@example.com").await.is(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = ask("Vera@example.com").await.is(202);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    ask("nobody@example.com").await.is_problem(422, "idempotency_key_reused");
    server.get("/v1/me", &vera).await.is(200);
    assert_eq!(server.recorded("auth.change_email"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_takes_meanwhile_is_theirs() {
    let (server, owner) = TestServer::set_up().await;
    server.change_email(&owner, NEWCOMER).await.is(202);
    let change = server.mail_to(NEWCOMER, 1).await.token();
    server.sign_up(NEWCOMER).await.is(202);
    server.verify(&server.mail_to(NEWCOMER, 2).await.token()).await.is(204);
    server.verify(&change).await.is(422);
    assert_eq!(server.get("/v1/me", &owner).await.is(200).json()["person"]["email"], OWNER_EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_needs_the_password_and_is_void_with_it() {
    let (server, owner) = TestServer::set_up().await;
    let wrong = json!({"email": NEWCOMER, "password": "wrong"});
    let problem = server.post("/v1/me/email", Some(&owner), &wrong).await.is_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/password");
    server.change_email(&owner, NEWCOMER).await.is(202);
    let token = server.mail_to(NEWCOMER, 1).await.token();
    let change = json!({"current": PASSWORD, "new": NEW_PASSWORD});
    server.post("/v1/me/password", Some(&owner), &change).await.is(200);
    server.verify(&token).await.is(422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_proven_by_a_link_that_was_mailed_there() {
    let (server, owner) = TestServer::set_up().await;
    let is_verified = || {
        let platform = server.app().store.platform().view();
        platform.platform().accounts.iter().all(|account| account.is_verified)
    };
    assert!(!is_verified(), "whoever sets the server up has proven nothing");
    server.change_email(&owner, OWNER_EMAIL).await.is(202);
    let mail = server.mail_to(OWNER_EMAIL, 1).await;
    assert_eq!(mail.subject, "Confirm your new address");
    server.verify(&mail.token()).await.is(204);
    assert!(is_verified());
    server.get("/v1/me", &owner).await.is(200);
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_address_that_was_cut_short_is_told_everywhere_at_the_next_start() {
    let (mut server, owner) = TestServer::set_up().await;
    server.change_email(&owner, NEWCOMER).await.is(202);
    let token = server.mail_to(NEWCOMER, 1).await.token();
    // The platform's half alone, as a crash right after it would leave things.
    let store = server.app().store.clone();
    let token = PlainToken::presented(token.as_str().unwrap()).hash();
    let link = store.platform().view().platform().accounts.link(token, store.clock().now()).cloned();
    let actor = Actor { id: ActorId::Account(link.unwrap().account), session: None };
    let change = AccountsCommand::ChangeEmail(ChangeEmail { token });
    store.execute(store.platform(), Submission::new(change, actor)).await.unwrap();
    drop(store);
    assert_eq!(server.get("/v1/me", &owner).await.is(200).json()["person"]["email"], OWNER_EMAIL);
    server.restart().await;
    assert_eq!(server.get("/v1/me", &owner).await.is(200).json()["person"]["email"], NEWCOMER);
    assert_eq!(server.recorded("email_change.close"), 1);
}
