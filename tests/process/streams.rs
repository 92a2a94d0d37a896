//! Streams of the audit log at size: a crowd of readers over restarts and dropped connections, and readers that stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::operator::figure;
use crate::process::{Login, Server, Start, scale};
use crate::sse::{Reader, ask_and_stall};

const PATH: &str = "/v1/audit/stream";

/// How many readers: 200, or 1,000 in the long tests.
fn crowd() -> usize {
    if scale() > 1 { 1_000 } else { 200 }
}

fn start(dir: &tempfile::TempDir) -> Start {
    Start::on(dir.path().join("data")).with(&[
        "--streams-per-credential",
        "2000",
        "--max-connections",
        "4000",
        "--max-connections-per-network",
        "4000",
        "--write-timeout",
        "5s",
    ])
}

async fn write(server: &Server, login: &Login, keys: usize, reason: &str) -> u64 {
    let values: Value = (0..keys)
        .map(|key| (format!("K{key}"), json!(format!("{:?}", Instant::now()))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let response = settled::client::http::plain()
        .build()
        .unwrap()
        .patch(format!("{}/v1/environments/prod/config", server.url))
        .bearer_auth(&login.token)
        .header("settled-reason", reason)
        .json(&values)
        .send()
        .await
        .expect("the server answers");
    assert_eq!(response.status(), 200);
    response.headers()["settled-version"].to_str().unwrap().parse().unwrap()
}

/// Follows a stream from a version on to another, over every break, and drops a connection itself now and then. Gives
/// the versions in the order in which they were told.
async fn follow(
    number: usize,
    url: watch::Receiver<String>,
    token: Arc<str>,
    from: u64,
    mut to: watch::Receiver<u64>,
) -> Vec<u64> {
    let mut told: Vec<u64> = Vec::new();
    let mut last: Option<String> = None;
    loop {
        let (base, path) = (url.borrow().clone(), format!("{PATH}?after={from}"));
        let Ok(mut reader) = Reader::open(&base, &path, &token, last.as_deref()).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        assert_eq!(reader.status, 200);
        loop {
            let is_last = |to: &u64| *to > 0 && told.last().is_some_and(|last| last >= to);
            if is_last(&to.borrow()) {
                return told;
            }
            tokio::select! {
                next = reader.next() => match next {
                    Some(entry) => {
                        assert_eq!((entry.event.as_str(), &entry.data["version"]), ("entry", &json!(entry.version())));
                        told.push(entry.version());
                    }
                    None => break,
                },
                _ = to.changed() => continue,
            }
            if (told.len() + number).is_multiple_of(13) {
                break;
            }
        }
        last = told.last().map(|version| format!("0-{version}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_readers_is_told_each_event_once_over_restarts_and_dropped_connections() {
    let dir = tempfile::tempdir().unwrap();
    let start = start(&dir);
    let mut server = start.serve();
    let login = server.set_up().await;
    let (_, page) = server.call(&login, "GET", "/v1/audit?limit=1", None).await;
    let from = page["total"].as_u64().unwrap();
    let (urls, url) = watch::channel(server.url.clone());
    let (ends, end) = watch::channel(0);
    let mut readers = JoinSet::new();
    let token: Arc<str> = login.token.as_str().into();
    for number in 0..crowd() {
        readers.spawn(follow(number, url.clone(), Arc::clone(&token), from, end.clone()));
    }
    let mut to = 0;
    for life in 0..3 {
        for _ in 0..4 {
            to = write(&server, &login, 5, "").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if life == 0 {
            server.process.kill();
        } else {
            let told = Instant::now();
            server.process.signal(rustix::process::Signal::TERM);
            let status = server.process.wait(Duration::from_secs(30));
            assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.process.last_lines());
            assert!(told.elapsed() < Duration::from_secs(10), "the stop took {:?}", told.elapsed());
        }
        server = start.serve();
        urls.send_replace(server.url.clone());
    }
    ends.send_replace(to);
    let expected: Vec<u64> = (from + 1..=to).collect();
    let all = tokio::time::timeout(Duration::from_secs(240), readers.join_all()).await;
    for told in all.expect("every reader is told all") {
        assert_eq!(told, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_reaches_a_crowd_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir).serve();
    let login = server.set_up().await;
    let mut readers = Vec::new();
    for _ in 0..crowd() {
        readers.push(Reader::open(&server.url, PATH, &login.token, None).await.unwrap());
    }
    // Once without measuring, so that all are asleep.
    let mut took = Duration::ZERO;
    for _ in 0..4 {
        let begun = Instant::now();
        let version = write(&server, &login, 1, "").await;
        let mut told = JoinSet::new();
        for mut reader in readers.drain(..) {
            told.spawn(async move {
                let entry = reader.next().await.expect("the stream goes on");
                (entry.version(), reader)
            });
        }
        for (of, reader) in told.join_all().await {
            assert_eq!(of, version);
            readers.push(reader);
        }
        took = begun.elapsed();
    }
    println!("one event reached {} readers in {took:?}", readers.len());
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_reading_are_dropped_and_cost_little_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir).serve();
    let login = server.set_up().await;
    let reason = "%E2%82%AC".repeat(500);
    write(&server, &login, 20, &reason).await;
    let resident =
        |server: &Server| figure(&server.operator("/metrics"), "settled_process_resident_memory_bytes");
    let connections = |server: &Server| figure(&server.operator("/metrics"), "settled_connections ");
    // A first reader, so that what is measured is readers and not the code that serves the first of them.
    let mut first = Reader::open(&server.url, &format!("{PATH}?after=0"), &login.token, None).await.unwrap();
    first.next().await.expect("there is an event");
    drop(first);
    let before = resident(&server);
    let mut stalled = Vec::new();
    for _ in 0..crowd() {
        stalled.push(ask_and_stall(&server.url, PATH, &login.token).await.unwrap());
    }
    let mut live = Reader::open(&server.url, PATH, &login.token, None).await.unwrap();
    let mut most = before;
    for _ in 0..20 {
        let version = write(&server, &login, 20, &reason).await;
        while live.next().await.expect("a reader that reads goes on").version() < version {}
        most = most.max(resident(&server));
    }
    let grown_mib = (most - before) / f64::from(1 << 20);
    println!("{} stalled readers cost {grown_mib:.1} MiB", crowd());
    assert!(grown_mib < 32.0, "{} stalled readers cost {grown_mib:.1} MiB", crowd());

    let deadline = Instant::now() + Duration::from_secs(90);
    while connections(&server) > 10.0 {
        assert!(Instant::now() < deadline, "{} connections are still open", connections(&server));
        most = most.max(resident(&server));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let version = write(&server, &login, 1, "").await;
    assert_eq!(live.next().await.expect("it goes on").version(), version);
    let grown_mib = (most - before) / f64::from(1 << 20);
    assert!(grown_mib < 32.0, "{} stalled readers cost {grown_mib:.1} MiB", crowd());
    drop(stalled);
}
