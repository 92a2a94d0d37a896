//! Accounts by mail: signing up, verifying an address, a forgotten password, another address; leaving and deleting; and that
//! nobody learns from any of it which addresses are known.

use reqwest::Method;
use serde_json::{Value, json};
use settled::actor::{Actor, ActorId};
use settled::event::Outcome;
use settled::ids::StreamId;
use settled::log::filter::Filter;
use settled::platform::accounts::command::AccountsCommand;
use settled::platform::accounts::credentials::ChangeEmail;
use settled::seal::token::PlainToken;
use settled::settings::roles::role::SystemRole;
use settled::store::{Submission, scheduler};

use crate::server::{Answer, OWNER_EMAIL, PASSWORD, Somebody, TestServer, send, text};

const NEW_PASSWORD: &str = "seven boats in the harbour";
const NEWCOMER: &str = "nora@example.com";
const DAY: u64 = 24 * 3600;

impl TestServer {
    async fn sign_up(&self, email: &str) -> Answer {
        let body = json!({"email": email, "name": "Nora New", "password": PASSWORD});
        self.post("/v1/auth/signup", None, &body).await
    }

    async fn verify(&self, token: &Value) -> Answer {
        self.post("/v1/auth/verify-email", None, &json!({"token": token})).await
    }

    async fn forgot(&self, email: &str) -> Answer {
        self.post("/v1/auth/password/forgot", None, &json!({"email": email})).await
    }

    async fn reset(&self, token: &Value, password: &str) -> Answer {
        let body = json!({"token": token, "password": password});
        self.post("/v1/auth/password/reset", None, &body).await
    }

    async fn change_email(&self, who: &Somebody, email: &str) -> Answer {
        self.post("/v1/me/email", Some(who), &json!({"email": email, "password": PASSWORD})).await
    }

    async fn password_of(&self, email: &str, password: &str) -> Answer {
        self.log_in(&json!({"email": email, "password": password, "organization": null})).await
    }

    /// A session without an organization.
    async fn nowhere(&self, who: &Somebody) -> Somebody {
        let login = self.password_of(&who.email, PASSWORD).await.is(200).json();
        Somebody { token: text(&login["token"]), ..who.clone() }
    }

    /// How many data keys the platform's stream has.
    fn data_keys(&self) -> usize {
        self.app().store.log().data_keys(StreamId::Platform).unwrap().len()
    }

    /// How many events of an action the platform's stream has.
    fn recorded(&self, action: &str) -> usize {
        let (store, handle) = (&self.app().store, self.app().store.platform());
        let (view, filter) =
            (handle.view(), Filter { outcomes: vec![Outcome::Success], ..Filter::default() });
        let versions = store.versions_after(handle, &view, &filter, 0, usize::MAX).unwrap();
        let events = store.recorded(handle, &view, &versions).unwrap();
        events.iter().filter(|event| event.event.action() == action).count()
    }
}

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
async fn a_sign_up_for_a_known_address_is_answered_alike_and_told_by_mail() {
    let (server, _owner) = TestServer::set_up().await;
    let shape = |answer: Answer| {
        let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (answer.status, headers, answer.text)
    };
    let before = server.recorded("auth.signup");
    let (known, unknown) = (server.sign_up("OLIVE@example.com").await, server.sign_up(NEWCOMER).await);
    assert_eq!(shape(known), shape(unknown));
    let mail = server.mail_to("OLIVE@example.com", 1).await;
    assert_eq!(mail.subject, "You have an account already");
    server.mail_to(NEWCOMER, 1).await;
    assert_eq!(server.recorded("auth.signup"), before + 1);
    let (known, unknown) = (server.forgot(OWNER_EMAIL).await, server.forgot("who@example.com").await);
    assert_eq!(shape(known), shape(unknown));
    server.mail_to(OWNER_EMAIL, 1).await;
    assert_eq!(server.mails().len(), 3, "nothing is mailed to whom nobody knows");
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(200);
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
    server.eventually(async || server.recorded("signup.expire") == 1).await;
    assert_eq!(server.data_keys(), kept - 1, "its key is destroyed");
    let platform = server.app().store.platform().view();
    assert_eq!(platform.platform().accounts.sign_ups(), 0);
    server.password_of(NEWCOMER, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_set_anew_and_every_session_ends() {
    let (mut server, owner) = TestServer::set_up().await;
    let other = server.another_session(&owner).await;
    server.forgot("Olive@Example.com").await.is(202);
    let mail = server.mail_to("Olive@Example.com", 1).await;
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
    assert_eq!(assignments.organization().roles.assignments_of(vera.person).count(), 0);
    assert_eq!(server.recorded("membership.end"), 1);
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

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_three_mails_an_hour_and_only_those_are_recorded() {
    let (server, _owner) = TestServer::set_up_manual().await;
    for _ in 0..5 {
        server.forgot(OWNER_EMAIL).await.is(202);
        server.advance(30);
    }
    server.eventually(async || server.mails().len() == 3).await;
    assert_eq!(server.recorded("password_reset.request"), 3);
    server.advance(3_600);
    server.forgot(OWNER_EMAIL).await.is(202);
    server.mails_to(OWNER_EMAIL, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_mails_is_slowed_down_alike_for_all_and_never_for_good() {
    let (server, _owner) = TestServer::set_up_manual().await;
    for email in [OWNER_EMAIL, "who@example.com"] {
        let all = futures_util::future::join_all((0..64).map(|_| server.forgot(email))).await;
        let admitted = all.iter().filter(|answer| answer.status == 202).count();
        assert_eq!(admitted, 5, "{email}");
        assert!(all.iter().all(|answer| [202, 429].contains(&answer.status)));
        let refused = all.iter().find(|answer| answer.status == 429).unwrap();
        assert_eq!(refused.header("retry-after").as_deref(), Some("2"), "{email}");
    }
    server.advance(2);
    server.forgot(OWNER_EMAIL).await.is(202);
    // Whoever asks for mails is not kept from logging in.
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_sign_up_is_the_operators_to_say() {
    for (who, refused) in [("off", true), ("invited_or_domain", false)] {
        let clock = settled::clock::Clock::system();
        let server = TestServer::start_with(clock, None, &["--signup", who]).await;
        server.found().await;
        for email in [NEWCOMER, OWNER_EMAIL] {
            let answer = server.sign_up(email).await;
            if refused {
                answer.is_problem(403, "signup_closed");
            } else {
                answer.is(202);
            }
        }
        server.forgot(OWNER_EMAIL).await.is(202);
        server.mail_to(OWNER_EMAIL, 1).await;
        assert_eq!(server.mails().len(), 1, "{who}: nobody was invited");
    }
    let server = TestServer::start().await;
    server.sign_up(NEWCOMER).await.is_problem(409, "not_set_up");
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

/// The answers wait for nothing that tells: here every write is refused, which only a known address would meet.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_of_a_known_address_does_not_show_in_the_answer() {
    let (mut server, _owner) = TestServer::set_up().await;
    server.config.min_free_disk = "1048576GiB".parse().unwrap();
    server.restart().await;
    for email in [OWNER_EMAIL, "who@example.com"] {
        server.forgot(email).await.is(202);
        server.sign_up(email).await.is(202);
    }
    assert_eq!(server.recorded("password_reset.request"), 0);
}

/// Medians of many alternating requests: those of known addresses may take at most half as long again as those of unknown
/// ones, and the other way round. What would tell them apart, a commit or an opened key, takes several times as long.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]
async fn known_and_unknown_addresses_take_the_same_time() {
    let (server, _owner) = TestServer::set_up_manual().await;
    let mut known = Vec::new();
    for number in 0..40 {
        let email = format!("known{number}@example.com");
        server.add_account(&email, "Known").await;
        known.push(email);
    }
    let mut times = [Vec::new(), Vec::new()];
    for (number, email) in known.iter().enumerate() {
        let unknown = format!("unknown{number}@example.com");
        for (of, email) in times.iter_mut().zip([email, &unknown]) {
            let began = std::time::Instant::now();
            server.forgot(email).await.is(202);
            of.push(began.elapsed());
            server.advance(400);
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    println!("an answer takes {known:.0} µs for known addresses, {unknown:.0} µs for unknown ones");
    assert!((0.5..2.0).contains(&(known / unknown)), "{known:.0} µs and {unknown:.0} µs");
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
