//! What the use of a key leaves, where one is used from, how fast, and what a caller learns from a wrong one.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::api_keys::command::PREVIOUS_MAX;

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

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_of_a_key_are_told_each_what_is_left_once_and_another_key_goes_on() {
    let (server, owner) = TestServer::set_up_manual().await;
    let limit = json!({"requests": 100, "window_seconds": 60});
    let body = json!({"name": "K", "mode": "live", "role": "viewer", "rate_limit": limit});
    let (_, limited) = server.api_key(&owner, &body).await;
    let (_, other) = key(&server, &owner, "live", "viewer").await;
    let client = async || {
        let mut told = Vec::new();
        for _ in 0..20 {
            let answer = server.get("/v1/general", &limited).await;
            let left = answer.header("ratelimit").unwrap();
            let left = left.strip_prefix("\"key\";r=").and_then(|rest| rest.strip_suffix(";t=60")).unwrap();
            let left: u32 = left.parse().unwrap();
            match answer.status {
                200 => told.push(left),
                429 => assert_eq!(left, 0),
                other => panic!("{other}"),
            }
        }
        told
    };
    let unlimited = async {
        for _ in 0..20 {
            server.get("/v1/general", &other).await.is(200);
        }
    };
    let (told, ()) = tokio::join!(join_all((0..8).map(|_| client())), unlimited);
    for told in &told {
        assert!(told.is_sorted_by(|earlier, later| earlier > later), "{told:?}");
    }
    let mut told = told.concat();
    told.sort_unstable();
    assert_eq!(told, (0..100).collect::<Vec<_>>());
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
    /// A reader holds one of so many values, the newest among them; a read takes less time than rotations end the rest.
    const HELD: usize = 8;
    const PAUSE_SECONDS: u64 = 2;
    /// The values of before that are accepted at a time.
    const ACCEPTED: usize = 30;
    let scale = crate::scale() as usize;
    let (server, owner) = TestServer::set_up_manual().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    let values = std::sync::Mutex::new(vec![program.token.clone()]);
    let get = async |token: String| {
        let who = Somebody { token, ..program.clone() };
        server.get("/v1/general", &who).await
    };
    let rotates = std::sync::atomic::AtomicBool::new(true);
    let read = || async {
        let mut reads = 0;
        while rotates.load(std::sync::atomic::Ordering::Relaxed) {
            let token = {
                let values = values.lock().unwrap();
                values[values.len() - 1 - reads % values.len().min(HELD)].clone()
            };
            get(token).await.is(200);
            reads += 1;
        }
        reads
    };
    let rotate = async {
        let body = json!({"grace_seconds": PAUSE_SECONDS * ACCEPTED as u64});
        for _ in 0..100 * scale {
            server.advance(PAUSE_SECONDS);
            let rotated =
                server.post(&format!("/v1/api-keys/{id}/rotate"), Some(&owner), &body).await.is(200);
            values.lock().unwrap().push(text(&rotated.json()["key"]));
        }
        rotates.store(false, std::sync::atomic::Ordering::Relaxed);
    };
    let (first, second, third, ()) = tokio::join!(read(), read(), read(), rotate);
    assert!(first + second + third > 50);
    let mut accepted = 0;
    for token in values.into_inner().unwrap().into_iter().rev().take(ACCEPTED + 5) {
        accepted += usize::from(get(token).await.status == 200);
    }
    assert_eq!(accepted, ACCEPTED + 1, "all in their grace, and the key's own");
    get(program.token.clone()).await.is_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_before_are_listed_and_none_of_them_is_ended_for_another() {
    let (server, owner) = TestServer::set_up_manual().await;
    let (id, program) = key(&server, &owner, "live", "viewer").await;
    let path = format!("/v1/api-keys/{id}");
    let rotate = async |grace_seconds: u64| {
        let body = json!({"grace_seconds": grace_seconds});
        server.post(&format!("{path}/rotate"), Some(&owner), &body).await
    };
    let mut ends = vec![program.token[program.token.len() - 4..].to_owned()];
    for _ in 0..PREVIOUS_MAX {
        ends.push(text(&rotate(60).await.is(200).json()["last4"]));
    }
    rotate(60).await.is_problem(409, "too_many_previous_values");
    let listed = server.get(&path, &owner).await.is(200).json();
    let told: Vec<_> = listed["previous_values"].as_array().unwrap().iter().collect();
    let last4: Vec<_> = told.iter().rev().map(|value| text(&value["last4"])).collect();
    assert_eq!((&last4[..], &json!(ends[PREVIOUS_MAX])), (&ends[..PREVIOUS_MAX], &listed["last4"]));
    assert!(told.iter().all(|value| value["valid_until"] == "2026-03-02T10:21:00.000000Z"), "{listed}");
    server.get("/v1/general", &program).await.is(200);
    let rotated = rotate(0).await.is(200).json();
    assert_eq!((&rotated["previous_values"], &rotated["previous_valid_until"]), (&json!([]), &Value::Null));
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
