//! What the use of a key leaves, where one is used from, how fast, and what a caller learns from a wrong one.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api_keys::key;
use crate::server::{Answer, Somebody, TestServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_from_where_it_is_allowed_and_the_audit_log_says_from_where() {
    let server =
        TestServer::start_with(settled::clock::Clock::system(), None, &["--trusted-proxies", "127.0.0.0/8"])
            .await;
    let owner = server.found().await;
    let body = json!({"name": "K", "mode": "live", "role": "admin", "allowed_cidrs": ["192.0.2.0/24"]});
    let (id, program) = server.api_key(&owner, &body).await;
    let from = |address: &'static str, method: Method, path: &'static str, body: Value| {
        let (server, program) = (&server, &program);
        async move {
            let headers = [("x-forwarded-for", address), ("user-agent", "robot/1")];
            server.send(method, path, program, &headers, &body).await
        }
    };
    let rename = || json!({"name": "Acme Ltd"});
    from("192.0.2.7", Method::PATCH, "/v1/general", rename()).await.is(200);
    from("198.51.100.9", Method::GET, "/v1/general", Value::Null)
        .await
        .is_problem(403, "address_not_allowed");
    let rows = server.audit(&owner, &format!("&user={id}")).await;
    let told: Vec<_> = rows.iter().map(|row| (text(&row["action"]), row["ip"].clone())).collect();
    let expected = [
        ("organization.read", "198.51.100.9"),
        ("api_key.use", "198.51.100.9"),
        ("organization.update", "192.0.2.7"),
        ("api_key.use", "192.0.2.7"),
    ];
    assert_eq!(told, expected.map(|(action, ip)| (action.to_owned(), json!(ip))));
    assert!(rows.iter().all(|row| row["user"] == json!({"id": id, "kind": "api_key", "name": "K"})));
    let events = server.get("/v1/events?limit=200", &owner).await.is(200).text;
    assert!(!events.contains("192.0.2.7") && !events.contains("robot/1"), "addresses are sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_is_told_where_it_stands() {
    let (server, owner) = TestServer::set_up_manual().await;
    let limit = json!({"requests": 20, "window_seconds": 60});
    let body = json!({"name": "K", "mode": "live", "role": "viewer", "rate_limit": limit});
    let (id, limited) = server.api_key(&owner, &body).await;
    let (_, other) = key(&server, &owner, "live", "viewer").await;
    let get = || server.get("/v1/general", &limited);
    let answers: [Answer; 8] = tokio::join!(get(), get(), get(), get(), get(), get(), get(), get()).into();
    let mut left: Vec<_> = answers.iter().map(|answer| answer.header("ratelimit").unwrap()).collect();
    left.sort_by_key(|left| std::cmp::Reverse(left.clone()));
    let expected: Vec<_> = (12..20).rev().map(|left| format!("\"key\";r={left};t=60")).collect();
    assert_eq!(left, expected);
    assert!(answers.iter().all(|answer| {
        answer.status == 200 && answer.header("ratelimit-policy").as_deref() == Some("\"key\";q=20;w=60")
    }));
    server.advance(18);
    for _ in 0..12 {
        get().await.is(200);
    }
    let refused = get().await;
    assert_eq!(refused.header("retry-after").as_deref(), Some("42"));
    assert_eq!(refused.header("ratelimit").as_deref(), Some("\"key\";r=0;t=42"));
    refused.is_problem(429, "too_many_requests");
    // It comes before what the key may not do, and slows nobody else.
    server.get("/v1/me", &limited).await.is(429);
    let free = server.get("/v1/general", &other).await.is(200);
    assert_eq!((free.header("ratelimit"), free.header("ratelimit-policy")), (None, None));
    server.advance(42);
    assert_eq!(get().await.is(200).header("ratelimit").as_deref(), Some("\"key\";r=19;t=60"));
    let path = format!("/v1/api-keys/{id}");
    server.patch(&path, &owner, &json!({"rate_limit": null})).await.is(200);
    assert_eq!(get().await.is(200).header("ratelimit"), None);
}

/// How many events of use there are, and how many uses they stand for.
async fn uses(server: &TestServer, owner: &Somebody, id: &str) -> (usize, u64) {
    let rows = server.audit(owner, &format!("&action=api_key.use&user={id}")).await;
    (rows.len(), rows.iter().map(|row| row["count"].as_u64().unwrap_or(1)).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_use_in_an_hour_is_recorded_at_once_and_later_ones_by_the_minute() {
    let (server, owner) = TestServer::set_up_manual().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    let path = format!("/v1/api-keys/{id}");
    let get = || server.get("/v1/general", &program);
    let answers: [Answer; 8] = tokio::join!(get(), get(), get(), get(), get(), get(), get(), get()).into();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(uses(&server, &owner, &id).await, (1, 1), "of many first uses at once one is recorded");
    server.advance(60);
    server.eventually(|| async { uses(&server, &owner, &id).await == (2, 8) }).await;
    assert_eq!(server.get(&path, &owner).await.json()["last_used_at"], "2026-03-02T10:21:00.000000Z");
    server.advance(3_600);
    get().await.is(200);
    assert_eq!(uses(&server, &owner, &id).await, (3, 9), "a new hour");
    // Using it is no change of it.
    let shown = server.get(&path, &owner).await;
    assert_eq!(shown.json()["updated_at"], shown.json()["created_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_recorded_at_a_stop_and_sessions_are_counted_over_restarts() {
    let (mut server, owner) = TestServer::set_up_manual().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    for _ in 0..5 {
        server.get("/v1/general", &program).await.is(200);
    }
    server.restart().await;
    assert_eq!(uses(&server, &owner, &id).await, (2, 5));
    // A restart forgets addresses, so the next use opens a session; within the day's bound.
    server.get("/v1/general", &program).await.is(200);
    assert_eq!(uses(&server, &owner, &id).await, (3, 6));
    let organization = server.handle(owner.organization).view();
    let key = organization.organization().api_keys.get(id.parse().unwrap()).unwrap();
    assert_eq!(key.sessions_on_day(server.app().store.clock().now()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_while_a_key_is_rotated_within_its_grace() {
    let scale: usize =
        std::env::var("SETTLED_TEST_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (server, owner) = TestServer::set_up().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    // A value is accepted until the second rotation after its own: nobody holds one for so long.
    let current = tokio::sync::RwLock::new(program.clone());
    let rotates = std::sync::atomic::AtomicBool::new(true);
    let read = || async {
        let mut reads = 0;
        while rotates.load(std::sync::atomic::Ordering::Relaxed) {
            let program = current.read().await;
            server.get("/v1/general", &program).await.is(200);
            reads += 1;
        }
        reads
    };
    let rotate = async {
        for _ in 0..100 * scale {
            let body = json!({"grace_seconds": 60});
            let rotated =
                server.post(&format!("/v1/api-keys/{id}/rotate"), Some(&owner), &body).await.is(200);
            current.write().await.token = text(&rotated.json()["key"]);
        }
        rotates.store(false, std::sync::atomic::Ordering::Relaxed);
    };
    let (first, second, third, ()) = tokio::join!(read(), read(), read(), rotate);
    assert!(first + second + third > 50);
    server.get("/v1/general", &program).await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_wrong_key_takes_tells_nothing() {
    let (server, owner) = TestServer::set_up().await;
    let (_, program) = key(&server, &owner, "live", "viewer").await;
    let clock = settled::clock::Clock::system();
    let ask = |token: String| {
        let (server, clock) = (&server, &clock);
        let who = Somebody { token, ..owner.clone() };
        async move {
            let began = clock.boot_elapsed();
            server.get("/v1/general", &who).await.is(401);
            clock.boot_elapsed() - began
        }
    };
    let mut flipped = program.token.clone();
    let last = if flipped.pop() == Some('0') { '1' } else { '0' };
    flipped.push(last);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..300 {
        let unknown = settled::seal::api_key::PlainKey::draw("fastn_live_").expose().to_owned();
        let near = format!("{}{}", &program.token[..20], &unknown[20..]);
        for (kind, token) in [flipped.clone(), unknown, near].into_iter().enumerate() {
            times[kind].push(ask(token).await);
        }
    }
    let median = |times: &mut Vec<std::time::Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let medians = times.each_mut().map(median);
    let (least, most) =
        (medians.iter().copied().fold(1.0, f64::min), medians.iter().copied().fold(0.0, f64::max));
    // A look-up that told something would take a multiple; the rest is the machine's.
    assert!(most < 1.5 * least, "{medians:?}");
}
