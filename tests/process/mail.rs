//! Mail through a real server: plain, by STARTTLS and over TLS, with a password; turned away for a while or for good; and a
//! server that is down or not to be trusted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, Start};
use crate::smtp::{Down, MailServer};

const PASSWORD: &str = "a long walk by the sea";

/// A certificate for `localhost`, and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn in_folder(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pair = Self { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&pair.certificate, made.cert.pem()).unwrap();
        std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
        pair
    }

    fn options(&self) -> [&str; 4] {
        ["--certificate", self.certificate.to_str().unwrap(), "--key", self.key.to_str().unwrap()]
    }
}

/// A server that is set up, and sends mail there.
async fn server(start: &Start, url: &str) -> Server {
    let server = start.clone().with(&["--signup", "open"]).env("SETTLED_SMTP_URL", url).serve();
    server.set_up().await;
    server
}

async fn sign_up(server: &Server, email: &str) {
    let body = json!({"email": email, "name": "Nora New", "password": PASSWORD});
    let request = settled::client::http::plain()
        .build()
        .unwrap()
        .post(format!("{}/v1/auth/signup", server.url))
        .json(&body);
    assert_eq!(request.send().await.unwrap().status(), 202);
}

/// A figure of the server's metrics.
fn figure(server: &Server, name: &str) -> u64 {
    let metrics = server.operator("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen within 60 s");
}

/// Follows the link of a mail; its token.
async fn verify(server: &Server, mail: &Value) -> String {
    let content = mail["content"].as_str().unwrap();
    let link = content.lines().find(|line| line.contains("/verify-email#token=")).expect("it has a link");
    assert!(link.starts_with(&server.url), "{link}");
    let token = link.trim().split_once("#token=").unwrap().1;
    let request =
        settled::client::http::plain().build().unwrap().post(format!("{}/v1/auth/verify-email", server.url));
    assert_eq!(request.json(&json!({"token": token})).send().await.unwrap().status(), 204);
    token.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_through_a_server_as_plain_text_and_as_html() {
    let folder = tempfile::tempdir().unwrap();
    let mails = MailServer::start(&[]);
    let start = Start::on(folder.path().join("data")).with(&["--log-level", "trace"]);
    let server = server(&start, &format!("smtp://localhost:{}", mails.port)).await;
    sign_up(&server, "nora@example.com").await;
    let mail = mails.next();
    assert_eq!((&mail["from"], &mail["to"]), (&json!("settled@localhost"), &json!(["nora@example.com"])));
    let content = mail["content"].as_str().unwrap();
    for part in [
        "From: Settled <settled@localhost>",
        "To: nora@example.com",
        "Subject: Verify your address",
        "Message-ID: <mail_",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ] {
        assert!(content.contains(part), "no {part} in {content}");
    }
    let token = verify(&server, &mail).await;
    assert_eq!(figure(&server, "settled_mails_sent_total"), 1);
    let log = server.process.log_lines();
    assert!(log.contains("/v1/auth/verify-email"), "requests are logged: {log}");
    for private in ["nora@", "Verify your address", "Somebody, probably you", &token] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password_are_spoken_as_the_url_says() {
    for (tls, url) in [
        ("starttls", "smtp://set%40tled:hunter2@localhost:PORT?tls=required"),
        ("smtps", "smtps://set%40tled:hunter2@localhost:PORT"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::in_folder(folder.path());
        let mut options = vec!["--tls", tls, "--login", "set@tled", "hunter2"];
        options.extend(pair.options());
        let mails = MailServer::start(&options);
        let start =
            Start::on(folder.path().join("data")).env("SSL_CERT_FILE", pair.certificate.to_str().unwrap());
        let server = server(&start, &url.replace("PORT", &mails.port.to_string())).await;
        sign_up(&server, "nora@example.com").await;
        let mail = mails.next();
        assert_eq!((&mail["tls"], &mail["authenticated"]), (&json!(true), &json!(true)), "{tls}");
        assert!(!server.process.log_lines().contains("hunter2"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_to_be_trusted_gets_no_mail() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::in_folder(folder.path());
    let mut starttls = vec!["--tls", "starttls"];
    starttls.extend(pair.options());
    // One has a certificate that nobody vouches for, the other no TLS at all.
    for (number, options) in [starttls, vec![]].into_iter().enumerate() {
        let mails = MailServer::start(&options);
        let start = Start::on(folder.path().join(format!("data-{number}")));
        let server = server(&start, &format!("smtp://localhost:{}?tls=required", mails.port)).await;
        sign_up(&server, "nora@example.com").await;
        until(|| server.process.log_lines().contains("a mail is tried again")).await;
        assert!(mails.is_empty());
        assert!(!server.process.log_lines().contains("nora@"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_delays_no_answer_and_gets_the_mail_later() {
    let folder = tempfile::tempdir().unwrap();
    let down = Down::start();
    let url = format!("smtp://127.0.0.1:{}", down.port);
    let server = server(&Start::on(folder.path().join("data")), &url).await;
    sign_up(&server, "nora@example.com").await;
    let visit = down.visit();
    // What is under way with nobody at the other end holds up nobody.
    sign_up(&server, "theo@example.com").await;
    assert!(!server.process.log_lines().contains("a mail is tried again"));
    drop(visit);
    until(|| server.process.log_lines().contains("a mail is tried again")).await;
    assert!(figure(&server, "settled_mails_waiting") > 0);
    let mails = down.comes_up(&[]);
    verify(&server, &mails.next()).await;
    until(|| figure(&server, "settled_mails_waiting") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_turned_away_is_tried_again_unless_it_is_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let mails = MailServer::start(&[]);
    let server =
        server(&Start::on(folder.path().join("data")), &format!("smtp://localhost:{}", mails.port)).await;
    sign_up(&server, "gone@example.com").await;
    until(|| figure(&server, "settled_mails_failed_total") == 1).await;
    sign_up(&server, "later@example.com").await;
    assert_eq!(mails.next()["to"], json!(["later@example.com"]));
    assert!(mails.is_empty());
    let log = server.process.log_lines();
    assert!(log.contains("refuses it with 550") && log.contains("answers 451"), "{log}");
    assert!(!log.contains("gone@") && !log.contains("later@"), "the server quoted them: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tries_what_waits_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let down = Down::start();
    let url = format!("smtp://127.0.0.1:{}", down.port);
    let server = server(&Start::on(folder.path().join("data")), &url).await;
    sign_up(&server, "nora@example.com").await;
    drop(down.visit());
    // The third pause takes longer than a stop waits.
    until(|| server.process.log_lines().contains("pause_seconds=8")).await;
    let mails = down.comes_up(&[]);
    assert!(server.stop().is_some_and(|status| status.success()));
    assert_eq!(mails.next()["to"], json!(["nora@example.com"]));
}

#[test]
fn a_way_for_mail_that_cannot_be_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let refused = Start::on(&data).env("SETTLED_SMTP_URL", "smtp://ada:hunter2@").refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("smtp-url") && !refused.stderr.contains("hunter2"), "{refused:?}");
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = Start::on(&data).with(&["--mail-dir", open.to_str().unwrap()]).refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("others may look into"), "{refused:?}");
}
