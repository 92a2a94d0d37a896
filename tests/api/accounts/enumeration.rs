//! Nobody learns which addresses have accounts, has others flooded with mail, or keeps anybody out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use settled::clock::{Clock, Timestamp};
use settled::event::Outcome;
use settled::ids::{Fresh, OrganizationId};

use super::{NEW_PASSWORD, NEWCOMER};
use crate::server::{Answer, MANUAL_START_MICROS, OWNER_EMAIL, PASSWORD, TestServer, that_ended};

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
    let mail = server.mail_to(OWNER_EMAIL, 1).await;
    assert_eq!(mail.subject, "You have an account already");
    server.mail_to(NEWCOMER, 1).await;
    assert_eq!(server.recorded("auth.signup"), before + 1);
    let (known, unknown) = (server.forgot(OWNER_EMAIL).await, server.forgot("who@example.com").await);
    assert_eq!(shape(known), shape(unknown));
    server.mail_to(OWNER_EMAIL, 2).await;
    assert_eq!(server.mails().len(), 3, "nothing is mailed to whom nobody knows");
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_three_mails_an_hour_and_only_those_are_recorded() {
    let (server, _owner) = TestServer::set_up_manual().await;
    for _ in 0..5 {
        server.forgot(OWNER_EMAIL).await.is(202);
        server.advance(30);
    }
    // All five are done behind their answers: none is left that would take its mail off the next hour's.
    let withheld =
        async || server.app().store.metrics().encode().contains("settled_mails_withheld_total 2\n");
    server.eventually(withheld).await;
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

/// What is asked with something that may be known, and what it is answered.
struct Asked<'a> {
    what: &'static str,
    path: &'static str,
    token: Option<&'a str>,
    status: u16,
    body: fn(&str) -> Value,
}

/// How long a request takes over a connection that is open already, for a client that shares nothing with the server but
/// the machine.
#[expect(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]
fn time_of(address: &str, request: &[u8], status: u16) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = [0; 4_096];
    let began = Instant::now();
    stream.write_all(request).unwrap();
    let read = stream.read(&mut answer).unwrap();
    let took = began.elapsed();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    took
}

impl Asked<'_> {
    fn request(&self, of: &str) -> Vec<u8> {
        let (path, body) = (self.path, (self.body)(of).to_string());
        let token = self.token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let kind = "content-type: application/json";
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nhost: a\r\n{token}{kind}\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// Medians of requests in turn, in microseconds: with what is known, and with what is not.
    async fn medians(&self, server: &TestServer, known: &[String], unknown: &[String]) -> [f64; 2] {
        let mut times = [Vec::new(), Vec::new()];
        for pair in known.iter().zip(unknown) {
            for (times, of) in times.iter_mut().zip([pair.0, pair.1]) {
                let address = server.base().strip_prefix("http://").unwrap().to_owned();
                let (request, status) = (self.request(of), self.status);
                let timed = tokio::task::spawn_blocking(move || time_of(&address, &request, status));
                times.push(timed.await.unwrap());
                // Whatever is done behind the answer is done before the next request.
                tokio::time::sleep(Duration::from_millis(20)).await;
                server.advance(400);
            }
        }
        times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e6
        })
    }

    /// Whether known and unknown take the same time: a factor of two either way at most, in one of three rounds. What a
    /// loaded machine does to a median is there in one round and not in the next; what would tell is there in each. The
    /// median with what is known.
    async fn takes_the_same_time(
        &self,
        server: &TestServer,
        pairs: impl AsyncFn(usize) -> [Vec<String>; 2],
    ) -> f64 {
        let mut rounds = Vec::new();
        for round in 0..3 {
            let [known, unknown] = pairs(round).await;
            let medians = self.medians(server, &known, &unknown).await;
            if (0.5..2.0).contains(&(medians[0] / medians[1])) {
                return medians[0];
            }
            rounds.push(medians);
        }
        panic!("{}: {rounds:?} µs for what is known and for what is not", self.what);
    }
}

/// Addresses of accounts, and others, which no other round had.
async fn addresses(server: &TestServer, what: &str, round: usize) -> [Vec<String>; 2] {
    let of =
        |kind: &str| (0..25).map(|at| format!("{kind}{at}.{what}{round}@example.com")).collect::<Vec<_>>();
    let known = of("known");
    for email in &known {
        server.add_account(email, "Known").await;
    }
    [known, of("unknown")]
}

/// Passwords cost here what they cost where nobody configures it: some 20 ms, which the answer to a sign-up or a login takes
/// for a known address too. What would tell, a hash left out or an answer that waits for the log, is a factor of ten.
#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_take_the_same_time() {
    let (clock, hands) = Clock::manual(Timestamp::from_micros(MANUAL_START_MICROS));
    let dear = ["--password-memory", "19MiB", "--password-passes", "2"];
    let server = TestServer::start_with(clock, Some(hands), &dear).await;
    server.found().await;
    let asked = |what, path, status, body| Asked { what, path, token: None, status, body };
    let forgot = asked("forgot", "/v1/auth/password/forgot", 202, |email| json!({"email": email}));
    let sign_up = asked(
        "signup",
        "/v1/auth/signup",
        202,
        |email| json!({"email": email, "name": "Nora New", "password": PASSWORD}),
    );
    let login = asked(
        "login",
        "/v1/auth/login",
        401,
        |email| json!({"email": email, "password": "not what it is at all"}),
    );
    let mut medians = Vec::new();
    for asked in [forgot, sign_up, login] {
        let pairs = async |round| addresses(&server, asked.what, round).await;
        medians.push(asked.takes_the_same_time(&server, pairs).await);
    }
    assert!(
        medians[1] > 2.0 * medians[0] && medians[2] > 2.0 * medians[0],
        "passwords are hashed: {medians:?}"
    );
}

/// An invitation to somebody who has an account is sealed, recorded and mailed as any other.
#[tokio::test(flavor = "multi_thread")]
async fn inviting_takes_the_same_time_for_known_and_unknown_addresses() {
    let (server, owner) = TestServer::set_up_manual().await;
    let (what, path) = ("invite", "/v1/invitations");
    let pairs = async |round| addresses(&server, what, round).await;
    let body = |email: &str| json!({"email": email, "role": "viewer"});
    let asked = Asked { what, path, token: Some(&owner.token), status: 201, body };
    asked.takes_the_same_time(&server, pairs).await;
}

/// An organization that somebody cannot join, though they are of a domain that another one has, is as one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn asking_to_join_takes_the_same_time_for_organizations_that_are_there_and_not() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.set_domain(&owner, "example.net").await;
    let nora = server.domain_user(NEWCOMER).await;
    let answer = async |id: String| {
        let answer = server.ask_to_join(&nora, id).await;
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        let mut body = answer.is(404).problem();
        body["request_id"].take();
        (names, body)
    };
    let there = owner.organization.to_string();
    assert_eq!(answer(there.clone()).await, answer(Fresh.id::<OrganizationId>().to_string()).await);
    let asked = Asked {
        what: "join",
        path: "/v1/me/join-requests",
        token: Some(&nora.token),
        status: 404,
        body: |id| json!({"organization": id}),
    };
    let pairs = async |_| {
        let unknown = (0..25).map(|_| Fresh.id::<OrganizationId>().to_string());
        [vec![there.clone(); 25], unknown.collect()]
    };
    asked.takes_the_same_time(&server, pairs).await;
}

/// A login is answered alike whatever is wrong, and under 64 connections no more are let through than one at a time.
#[tokio::test(flavor = "multi_thread")]
async fn logins_are_answered_alike_and_slowed_down_over_many_connections_and_never_for_good() {
    let (server, _owner) = TestServer::set_up_manual().await;
    let mut shapes = Vec::new();
    for email in [OWNER_EMAIL, "who@example.com"] {
        let wrong = json!({"email": email, "password": "not what it is at all"});
        let all = futures_util::future::join_all((0..64).map(|_| server.log_in(&wrong))).await;
        let of = |status| all.iter().filter(|answer| answer.status == status).count();
        assert_eq!((of(401), of(429)), (5, 59), "{email}");
        for status in [401, 429] {
            let answer = all.iter().find(|answer| answer.status == status).unwrap();
            let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
            names.sort();
            let mut body = answer.problem();
            body["request_id"].take();
            shapes.push((names, body, answer.header("retry-after")));
        }
    }
    let (known, unknown) = shapes.split_at(2);
    assert_eq!(known, unknown);
    // However long it goes on, the longest wait is five minutes.
    for _ in 0..20 {
        server.advance(300);
        let wrong = json!({"email": OWNER_EMAIL, "password": "not what it is at all"});
        let all = futures_util::future::join_all((0..64).map(|_| server.log_in(&wrong))).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 401).count(), 1);
    }
    server.advance(300);
    server.password_of(OWNER_EMAIL, PASSWORD).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_good_for_nothing_are_counted() {
    let (server, _owner) = TestServer::set_up_manual().await;
    for _ in 0..3 {
        server.verify(&json!("x")).await.is(422);
        server.reset(&json!("x"), NEW_PASSWORD).await.is(422);
    }
    let counted = async || {
        server.advance(60);
        let store = &server.app().store;
        let failed = that_ended(store, store.platform(), Outcome::Failure);
        failed.iter().filter_map(|event| event.count).sum::<u64>() == 6
    };
    server.eventually(counted).await;
}
