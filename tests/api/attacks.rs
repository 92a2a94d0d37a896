//! Requests that no good client sends, over raw sockets: those that a proxy might read differently, that cannot be read
//! at all, and bodies that are only there to be held.

use serde_json::Value;
use settled::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::server::TestServer;

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.base().strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends this and gives all that comes until the server closes.
async fn exchange(server: &TestServer, sent: &[u8]) -> String {
    let mut stream = connect(server).await;
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no difference to this test.
    let _reset = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("it closes");
    String::from_utf8(answer).unwrap()
}

/// What comes within a moment.
async fn read_some(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 64 << 10];
    let count = timeout(Duration::from_secs(30), stream.read(&mut bytes)).await.expect("it answers").unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[tokio::test]
async fn lengths_that_could_be_read_in_two_ways_are_refused() {
    let server = TestServer::start().await;
    let smuggled = "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    for length in [
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding : chunked",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: 0x5",
        "content-length: -1",
        "content-length: 5\r\n transfer-encoding: chunked",
        "content-length: 99999999999999999999",
    ] {
        let head = format!("POST /v1/auth/login HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n{smuggled}");
        let answer = exchange(&server, head.as_bytes()).await;
        assert_eq!(problem(&answer, "400")["code"], "malformed_request", "{length:?}");
    }
    // HTTP/1.0 knows no chunks.
    let head = format!("POST /v1/auth/login HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n{smuggled}");
    assert_eq!(statuses(&exchange(&server, head.as_bytes()).await), ["400"]);
}

#[tokio::test]
async fn chunks_beat_a_length_beside_them_and_nothing_may_follow() {
    let server = TestServer::start().await;
    let chunked = "transfer-encoding: chunked";
    let length = "content-length: 5";
    for (lengths, expected) in [
        (chunked.to_owned(), &["422", "200"][..]),
        // RFC 9112 §6.1: the connection is closed after the answer.
        (format!("{length}\r\n{chunked}"), &["422"]),
        (format!("{chunked}\r\n{length}"), &["422"]),
    ] {
        let sent = format!(
            "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\n{lengths}\r\n\r\n0\r\n\r\n\
             GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(statuses(&exchange(&server, sent.as_bytes()).await), expected, "{lengths}");
    }
    for chunk in ["5;\r\n", "g\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "1\r\nab\r\n0\r\n\r\n"] {
        let sent =
            format!("POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
        let mut stream = connect(&server).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _reset =
            timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.expect("it closes");
        let answer = String::from_utf8(answer).unwrap();
        assert!(statuses(&answer).iter().all(|status| *status == "400"), "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn a_request_without_one_valid_host_is_a_problem() {
    let server = TestServer::start().await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nhost: b\r\n", "host: a b\r\n", "host: u@a\r\n"] {
        let sent = format!("GET /healthz HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let problem = problem(&exchange(&server, sent.as_bytes()).await, "400");
        assert_eq!(problem["code"], "invalid_host", "{hosts:?}");
    }
    let sent = b"GET /healthz HTTP/1.0\r\n\r\n";
    assert!(exchange(&server, sent).await.starts_with("HTTP/1.0 200"));
}

/// The body of an answer that is problem details with this status, whose id is its header's.
#[track_caller]
fn problem(answer: &str, status: &str) -> Value {
    assert_eq!(statuses(answer), [status], "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{answer}");
    assert!(head.contains("\r\ncache-control: no-store"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(body["status"].to_string(), status);
    let id = format!("\r\nx-request-id: {}\r\n", body["request_id"].as_str().unwrap());
    assert!(format!("{head}\r\n").contains(&id), "{answer}");
    body
}

#[tokio::test]
async fn bodies_that_are_held_leave_room_for_ordinary_requests() {
    let options = ["--body-memory", "100KiB", "--body-timeout", "60s"];
    let server = TestServer::start_with(Clock::system(), None, &options).await;
    let head = |length: usize| {
        format!(
            "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    // What is only announced takes nothing.
    let mut announced = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&server).await;
        stream.write_all(head(100 << 10).as_bytes()).await.unwrap();
        announced.push(stream);
    }
    let whole = |length: usize| format!("{}{}", head(length), " ".repeat(length));
    let mut good = connect(&server).await;
    good.write_all(whole(100 << 10).as_bytes()).await.unwrap();
    assert!(read_some(&mut good).await.starts_with("HTTP/1.1 400"), "it was read");

    // What has come is held.
    announced[0].write_all(" ".repeat(90 << 10).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    good.write_all(whole(60 << 10).as_bytes()).await.unwrap();
    let answer = read_some(&mut good).await;
    assert_eq!(problem(&answer, "503")["code"], "overloaded");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    good.write_all(whole(16 << 10).as_bytes()).await.unwrap();
    assert!(read_some(&mut good).await.starts_with("HTTP/1.1 400"), "a small one is read");
    // One without a length is cut when it grows too large.
    let mut chunked = connect(&server).await;
    let sent = format!(
        "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nf000\r\n{}\r\n0\r\n\r\n",
        " ".repeat(0xf000)
    );
    chunked.write_all(sent.as_bytes()).await.unwrap();
    assert_eq!(problem(&read_some(&mut chunked).await, "503")["code"], "overloaded");

    // Whoever held it goes, and it is there again.
    drop(announced);
    tokio::time::sleep(Duration::from_millis(300)).await;
    good.write_all(whole(100 << 10).as_bytes()).await.unwrap();
    assert!(read_some(&mut good).await.starts_with("HTTP/1.1 400"), "it is read again");
}
