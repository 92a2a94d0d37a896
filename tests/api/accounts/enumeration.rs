//! Nobody learns which addresses have accounts, has others flooded with mail, or keeps anybody out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use settled::clock::{Clock, Timestamp};
use settled::event::Outcome;

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

/// How long a request takes over a connection that is open already, for a client that shares nothing with the server but
/// the machine.
#[expect(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]
fn time_of(address: &str, path: &str, body: &Value) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    let (body, kind) = (body.to_string(), "content-type: application/json");
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut answer = [0; 4_096];
    let began = Instant::now();
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let read = stream.read(&mut answer).unwrap();
    let took = began.elapsed();
    assert!(answer[..read].starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer[..read]));
    took
}

/// Medians of requests in turn, in microseconds: for known addresses, and for unknown ones.
async fn medians(server: &TestServer, known: &[String], path: &'static str) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for (number, email) in known.iter().enumerate() {
        for (of, email) in times.iter_mut().zip([email.clone(), format!("unknown{number}@example.com")]) {
            let body = match path {
                "/v1/auth/signup" => json!({"email": email, "name": "Nora New", "password": PASSWORD}),
                _ => json!({"email": email}),
            };
            let address = server.base().strip_prefix("http://").unwrap().to_owned();
            of.push(tokio::task::spawn_blocking(move || time_of(&address, path, &body)).await.unwrap());
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

/// Passwords cost here what they cost where nobody configures it: some 20 ms, which the answer to a sign-up takes for a
/// known address too. The bound is a factor of two either way; what would tell, a hash left out or an answer that waits
/// for the log, is a factor of ten.
#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_take_the_same_time() {
    let (clock, hands) = Clock::manual(Timestamp::from_micros(MANUAL_START_MICROS));
    let dear = ["--password-memory", "19MiB", "--password-passes", "2"];
    let server = TestServer::start_with(clock, Some(hands), &dear).await;
    server.found().await;
    let mut known = Vec::new();
    for number in 0..25 {
        let email = format!("known{number}@example.com");
        server.add_account(&email, "Known").await;
        known.push(email);
    }
    let forgot = medians(&server, &known, "/v1/auth/password/forgot").await;
    let sign_up = medians(&server, &known, "/v1/auth/signup").await;
    for (what, [known, unknown]) in [("a forgotten password", forgot), ("a sign-up", sign_up)] {
        println!("{what}: {known:.0} µs for known addresses, {unknown:.0} µs for unknown ones");
        assert!((0.5..2.0).contains(&(known / unknown)), "{what}: {known:.0} µs and {unknown:.0} µs");
    }
    assert!(sign_up[0] > 2.0 * forgot[0], "passwords are hashed: {sign_up:?}, {forgot:?}");
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
