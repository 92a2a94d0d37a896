//! A server under attack, from without and by its own disk: a good client does not notice it, memory stays bounded,
//! operators are told what is wrong, and it passes. (Connections that hold what they do not use: `slow.rs`.)

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::journal::Journal;
use crate::operator::figure;
use crate::preload::SlowDisk;
use crate::process::{Login, Start, scale, text};
use crate::sse::ask_and_stall;
use crate::unmoved::{Pairs, general, p99, p99_of, problems, resident_mib, until};

/// How much more memory an attack may cost.
const MIB_MAX: f64 = 32.0;

/// What the answers to a crowd were.
#[derive(Default)]
struct Answers {
    done: AtomicUsize,
    refused: AtomicUsize,
}

impl Answers {
    fn count(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Counts an answer; one that puts off has to say until when.
    fn add(&self, answer: &reqwest::Response) {
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
                assert!(
                    after.is_some_and(|after| after.parse::<u32>().is_ok()),
                    "no Retry-After: {answer:?}"
                );
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            status => {
                assert!(matches!(status.as_u16(), 200 | 201 | 401), "{answer:?}");
                self.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A pause of 100 to 200 ms, another for each of a crowd.
async fn breathe(number: usize) {
    tokio::time::sleep(Duration::from_millis(100 + (number * 37 % 100) as u64)).await;
}

/// Writes on and on, faster than it is told to when it is refused.
async fn write_on(number: usize, url: String, login: Login, answers: Arc<Answers>) {
    let client = settled::client::http::plain().build().unwrap();
    for value in 0.. {
        let request = client.put(format!("{url}/v1/environments/prod/config/FLOOD_{number}"));
        let answer = request.bearer_auth(&login.token).json(&json!({ "value": value })).send().await;
        answers.add(&answer.expect("the server answers"));
        breathe(number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_told_to_writers_and_unknown_to_readers() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--queue-capacity", "16"]);
    let (disk, start) = SlowDisk::under(&start, Duration::from_millis(200));
    let server = start.serve();
    let login = server.set_up().await;
    let mut pairs = Pairs::of("a full queue");
    while pairs.go_on() {
        let (without, before) = (p99(&server, &login).await, resident_mib(&server));
        disk.slow();
        let (flood, good) = (Arc::new(Answers::default()), Arc::new(Answers::default()));
        let mut writers = JoinSet::new();
        for number in 0..96 {
            writers.spawn(write_on(number, server.url.clone(), login.clone(), Arc::clone(&flood)));
        }
        writers.spawn(write_on(96, server.url.clone(), login.clone(), Arc::clone(&good)));
        until("writers are refused", || flood.count().1 > 100).await;
        let with = p99(&server, &login).await;
        pairs.add(without, with);
        assert!(problems(&server).contains(&"the write queue is full".to_owned()), "{:?}", problems(&server));
        until("the good writer has answers", || good.count().0 > 0).await;
        let metrics = server.operator("/metrics");
        assert!(figure(&metrics, "settled_queue_refused_total") >= 100.0, "{metrics}");
        let grown = resident_mib(&server) - before;
        assert!(grown < MIB_MAX, "it cost {grown:.1} MiB");
        println!(
            "the flood was answered {:?} (done, refused), the good writer {:?}",
            flood.count(),
            good.count()
        );

        writers.shutdown().await;
        disk.well();
        until("nothing is wrong any more", || problems(&server).is_empty()).await;
        let (status, body) = server
            .call(&login, "PUT", "/v1/environments/prod/config/AFTER", Some(json!({ "value": 1 })))
            .await;
        assert!(matches!(status, 200 | 201), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_beyond_its_limit_slows_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).serve();
    let login = server.set_up().await;
    let limit = json!({"requests": 10, "window_seconds": 3600});
    let limited = json!({"name": "limited", "mode": "live", "role": "viewer", "rate_limit": limit});
    let (status, limited) = server.call(&login, "POST", "/v1/api-keys", Some(limited)).await;
    assert_eq!(status, 201, "{limited}");
    let of = |key: &str| general(&server).header("x-fastn-api-key", key);
    let limited = of(&text(&limited["key"]));
    let free = of(&server.key(&login, "viewer").await);
    let mut pairs = Pairs::of("a key beyond its limit");
    while pairs.go_on() {
        let without = p99_of(free.try_clone().unwrap()).await;
        let flood = Arc::new(Answers::default());
        let mut crowd = JoinSet::new();
        for number in 0..16 {
            let (request, answers) = (limited.try_clone().unwrap(), Arc::clone(&flood));
            crowd.spawn(async move {
                loop {
                    answers.add(&request.try_clone().unwrap().send().await.expect("the server answers"));
                    breathe(number).await;
                }
            });
        }
        until("the limit is reached", || flood.count().1 > 100).await;
        pairs.add(without, p99_of(free.try_clone().unwrap()).await);
        assert!(flood.count().0 <= 10, "{:?}", flood.count());
        println!("the limited key was answered {:?} (done, refused)", flood.count());
        crowd.shutdown().await;
    }
}

/// Reads that need the log: events that are in no memory after a start, and keys that were not opened yet.
const FROM_THE_LOG: [&str; 7] = [
    "/v1/me",
    "/v1/me",
    "/v1/me",
    "/v1/me/sessions",
    "/v1/audit?action=environment.create",
    "/v1/audit?limit=1&action=config.set",
    "/v1/environments/prod/config?as_of=12",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_seconds_to_sync_holds_up_no_read_of_what_is_loaded() {
    let takes = Duration::from_secs(if scale() > 1 { 5 } else { 2 });
    let dir = tempfile::tempdir().unwrap();
    let (disk, start) = SlowDisk::under(&Start::on(dir.path().join("data")), takes);
    let journal = Arc::new(Journal::default());
    let mut server = start.serve();
    let login = server.set_up().await;
    let writers = journal.write(&server, &login, 8);
    until("there is some history", || journal.acknowledged() > 300).await;
    drop(writers);
    let mut pairs = Pairs::of("syncs of seconds");
    while pairs.go_on() {
        // Nothing of the log is in memory after a start.
        assert!(server.stop().is_some_and(|status| status.success()));
        server = start.serve();
        p99(&server, &login).await;
        let (without, before) = (p99(&server, &login).await, resident_mib(&server));
        disk.slow();
        let writers = journal.write(&server, &login, 8);
        let said = "the disk has not synced a commit for ";
        until("the stall is told", || problems(&server).iter().any(|problem| problem.starts_with(said)))
            .await;
        assert!(figure(&server.operator("/metrics"), "settled_commit_lasting_seconds") >= 1.0);
        let mut reads = JoinSet::new();
        for path in FROM_THE_LOG {
            let request = settled::client::http::plain()
                .build()
                .unwrap()
                .get(format!("{}{path}", server.url))
                .bearer_auth(&login.token);
            reads.spawn(async move {
                let began = Instant::now();
                let status = request.send().await.expect("the server answers").status();
                (path, status, began.elapsed())
            });
        }
        let with = p99(&server, &login).await;
        pairs.add(without, with);
        for (path, status, took) in reads.join_all().await {
            println!("{path} took {took:?}, a sync {takes:?}");
            assert_eq!(status, 200, "{path}");
            // Who asks is one read and what is asked another; `as_of` of what is in an environment is two, which one
            // and then what. Each waits for one sync at most.
            let reads = if path.contains("as_of") { 3 } else { 2 };
            assert!(took < takes * reads, "{path} took {took:?}, a sync {takes:?}");
        }
        let grown = resident_mib(&server) - before;
        assert!(grown < MIB_MAX, "it cost {grown:.1} MiB");

        let acknowledged = journal.acknowledged();
        disk.well();
        until("writes go on", || journal.acknowledged() > acknowledged + 100).await;
        drop(writers);
        until("nothing is wrong any more", || problems(&server).is_empty()).await;
    }
    journal.verify(&server, &login).await;
}

/// Logs in over and over with an address of their own, from one of many networks; a good one, with the right address.
async fn log_in_on(number: usize, url: String, answers: Arc<Answers>) {
    let from = IpAddr::from([127, 0, u8::try_from(10 + number % 50).unwrap(), 1]);
    let client = settled::client::http::plain().local_address(from).build().unwrap();
    let good = number.is_multiple_of(10);
    for attempt in 0.. {
        let email =
            if good { "ada@example.com".to_owned() } else { format!("nobody{number}-{attempt}@example.com") };
        let body = json!({"email": email, "password": "a long walk by the sea"});
        let answer = client.post(format!("{url}/v1/auth/login")).json(&body).send().await;
        let answer = answer.expect("the server answers");
        assert!(good || answer.status() != 200);
        answers.add(&answer);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_logins_at_once_do_not_slow_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).with_dear_passwords().serve();
    let login = server.set_up().await;
    let mut pairs = Pairs::of("200 logins at once");
    while pairs.go_on() {
        let (without, before) = (p99(&server, &login).await, resident_mib(&server));
        let answers = Arc::new(Answers::default());
        let mut crowd = JoinSet::new();
        for number in 0..200 {
            crowd.spawn(log_in_on(number, server.url.clone(), Arc::clone(&answers)));
        }
        until("some are put off", || answers.count().1 > 100).await;
        until("it is told", || {
            problems(&server).iter().any(|problem| problem == "the password queue is full")
        })
        .await;
        let with = p99(&server, &login).await;
        pairs.add(without, with);
        until("some logins are looked at", || answers.count().0 > 10).await;
        let (done, refused) = answers.count();
        let metrics = server.operator("/metrics");
        assert!(figure(&metrics, "settled_passwords_waiting") > 0.0, "{metrics}");
        assert!(figure(&metrics, "settled_passwords_refused_total") > 100.0, "{metrics}");
        let grown = resident_mib(&server) - before;
        // A password is hashed in 19 MiB, one at a time on two cores.
        assert!(grown < MIB_MAX + 19.0, "it cost {grown:.1} MiB");
        println!("{done} logins were looked at, {refused} put off; it cost {grown:.1} MiB");
        crowd.shutdown().await;
        until("nothing is wrong any more", || problems(&server).is_empty()).await;
        server.log_in().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_that_nobody_reads_cost_little_and_are_dropped() {
    const SESSIONS: usize = 24;
    const PATH: &str = "/v1/audit/export?format=ndjson";
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path().join("data")).with(&["--write-timeout", "6s"]).serve();
    let login = server.set_up().await;
    let values: serde_json::Map<_, _> = (0..200).map(|key| (format!("K{key}"), json!(key))).collect();
    for round in 0..8 {
        let values: serde_json::Map<_, _> =
            values.iter().map(|(key, value)| (key.clone(), json!([value, round]))).collect();
        let request = settled::client::http::plain()
            .build()
            .unwrap()
            .patch(format!("{}/v1/environments/prod/config", server.url));
        let request = request.bearer_auth(&login.token).header("settled-reason", "%E2%82%AC".repeat(500));
        assert_eq!(request.json(&values).send().await.unwrap().status(), 200);
    }
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(server.log_in().await);
    }
    let open = || figure(&server.operator("/metrics"), "settled_long_answers{kind=\"export\"}");
    let mut pairs = Pairs::of("exports that nobody reads");
    while pairs.go_on() {
        let (without, before) = (p99(&server, &login).await, resident_mib(&server));
        let timed_out = figure(&server.operator("/metrics"), "settled_connections_timed_out_total");
        let mut stalled = Vec::new();
        for session in &sessions {
            for _ in 0..2 {
                stalled.push(ask_and_stall(&server.url, PATH, &session.token).await.unwrap());
            }
        }
        until("all are open", || open() >= (SESSIONS * 2) as f64).await;
        let (status, _) = server.call(&sessions[0], "GET", PATH, None).await;
        assert_eq!(status, 429, "a credential has no more");
        // What the system buffers of each is made by then: they are held, and nobody reads.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let with = p99(&server, &login).await;
        pairs.add(without, with);
        let grown = resident_mib(&server) - before;
        println!("{} exports that nobody reads cost {grown:.1} MiB", stalled.len());
        assert!(grown < MIB_MAX, "it cost {grown:.1} MiB");
        until("they are dropped", || open() < 1.0).await;
        let dropped = figure(&server.operator("/metrics"), "settled_connections_timed_out_total") - timed_out;
        assert!(dropped >= (SESSIONS * 2) as f64, "{dropped} were dropped");
        let (status, _) =
            server.call(&sessions[0], "GET", "/v1/audit/export?action=config.delete", None).await;
        assert_eq!(status, 200, "who reads gets an export again");
    }
}
