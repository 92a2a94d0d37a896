//! Requests of programs: counted by the hour, told by the hour, day and month, and limited where they change something.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::billing::hard;
use crate::server::{Somebody, TestServer, text};

const HOUR: u64 = 3_600;

/// A workflow's key in the environment `dev`, which may write configuration.
async fn program(server: &TestServer, owner: &Somebody) -> Somebody {
    server.environment(owner, "Dev", "test").await;
    let body = json!({"name": "K", "mode": "test", "role": "developer", "environments": ["dev"]});
    server.api_key(owner, &body).await.1
}

async fn ask(server: &TestServer, who: &Somebody, times: usize) {
    for _ in 0..times {
        server.get("/v1/environments/dev/config", who).await.is(200);
    }
}

async fn write(server: &TestServer, who: &Somebody, number: usize) -> u16 {
    let path = format!("/v1/environments/dev/config/K_{number}");
    server.put(&path, who, &json!({"value": number})).await.status
}

impl TestServer {
    async fn requests(&self, who: &Somebody) -> u64 {
        self.meter(who, "api_requests").await["used"].as_u64().unwrap()
    }

    /// How many requests there were, span by span, where there were any.
    async fn spans(&self, who: &Somebody, query: &str) -> Vec<(String, u64)> {
        let path = format!("/v1/billing/usage?meter=api_requests&{query}");
        let body = self.get(&path, who).await.is(200).json();
        let spans = body["data"].as_array().unwrap().iter();
        let told = spans.map(|span| (text(&span["start"]), span["used"].as_u64().unwrap()));
        told.filter(|(_, used)| *used > 0).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_keys_are_counted_and_those_of_people_are_not() {
    let (mut server, owner) = TestServer::set_up().await;
    let program = program(&server, &owner).await;
    ask(&server, &owner, 3).await;
    assert_eq!(server.requests(&owner).await, 0);
    ask(&server, &program, 5).await;
    assert_eq!(write(&server, &program, 1).await, 201);
    // Also one that is refused, and one that finds nothing.
    server.get("/v1/billing", &program).await.is(403);
    server.get("/v1/environments/none/config", &program).await.is(404);
    assert_eq!(server.requests(&owner).await, 8);
    server.restart().await;
    let owner = server.another_session(&owner).await;
    assert_eq!(server.requests(&owner).await, 8, "a clean stop records what is counted");
    let hidden = server.audit(&owner, "").await;
    assert!(hidden.iter().all(|row| row["action"] != "billing.usage"));
    let rows = server.audit(&owner, "&action=billing.usage").await;
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["count"], &rows[0]["user"]["id"]), (&json!(8), &json!("system")));
    ask(&server, &program, 2).await;
    assert_eq!(server.requests(&owner).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_race_for_fifty_and_exactly_fifty_write() {
    let (server, owner) = TestServer::set_up().await;
    let program = program(&server, &owner).await;
    server.limit(&owner, hard("api_requests", 50)).await;
    let statuses = join_all((0..200).map(|number| write(&server, &program, number))).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 50);
    assert!(statuses.iter().all(|status| [201, 402].contains(status)), "{statuses:?}");
    let rows = server.audit(&owner, "").await;
    let by_programs = rows.iter().filter(|row| row["user"]["kind"] == "api_key");
    let written = by_programs.filter(|row| row["action"] != "api_key.use").count();
    assert_eq!(written, 50, "what is refused appends nothing");
    let values = server.get("/v1/environments/dev/config?limit=200", &owner).await.is(200).json();
    assert_eq!(values["data"].as_array().unwrap().len(), 50, "what is refused appends nothing");
    let refused = server.put("/v1/environments/dev/config/MORE", &program, &json!({"value": 1})).await;
    let problem = refused.is_problem(402, "quota_exceeded");
    assert_eq!((&problem["quota"], &problem["limit"]), (&json!("api_requests"), &json!(50)));
    // What is wrong with a request comes before that.
    server.put("/v1/environments/dev/config/lower", &program, &json!({"value": 1})).await.is(422);
    server.put("/v1/environments/dev/config/MORE", &program, &json!({})).await.is(422);
    // Reading goes on, and so does taking away, and what people do.
    ask(&server, &program, 2).await;
    server.get("/v1/ctx?environment=dev", &program).await.is(200);
    let set = values["data"][0]["key"].as_str().unwrap();
    server.delete(&format!("/v1/environments/dev/config/{set}"), &program).await.is(204);
    assert_eq!(write(&server, &owner, 1_000).await, 201);
    server.limit(&owner, json!({})).await;
    assert_eq!(write(&server, &program, 1_001).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_of_requests_tells_at_once() {
    let (server, owner) = TestServer::set_up().await;
    let program = program(&server, &owner).await;
    server.limit(&owner, json!({"api_requests": {"limit": 10, "soft": true}})).await;
    ask(&server, &program, 12).await;
    server.eventually(|| async { server.audit(&owner, "&action=billing.alert").await.len() == 2 }).await;
    let billing = server.get("/v1/billing", &owner).await.is(200).json();
    let told: Vec<_> =
        billing["alerts"].as_array().unwrap().iter().map(|alert| alert["threshold"].clone()).collect();
    assert_eq!(told, [json!(80), json!(100)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_race_past_a_soft_fifty_and_each_share_is_told_of_once() {
    let (server, owner) = TestServer::set_up().await;
    let program = program(&server, &owner).await;
    server.limit(&owner, json!({"api_requests": {"limit": 50, "soft": true}})).await;
    let statuses = join_all((0..200).map(|number| write(&server, &program, number))).await;
    assert_eq!(statuses, [201; 200]);
    assert_eq!(server.requests(&owner).await, 200);
    let told = async || server.audit(&owner, "&action=billing.alert").await.len();
    server.eventually(|| async { told().await == 2 }).await;
    // Whatever is recorded of them later tells nobody again.
    server.app().store.flush_counts(true).await;
    assert_eq!((server.requests(&owner).await, told().await), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_told_by_the_hours_days_and_months_of_the_place() {
    for (timezone, hour, day, month) in [
        ("UTC", "2026-03-02T10:00:00", "2026-03-02T00:00:00", "2026-03-01T00:00:00"),
        ("Europe/Berlin", "2026-03-02T10:00:00", "2026-03-01T23:00:00", "2026-02-28T23:00:00"),
        ("America/New_York", "2026-03-02T10:00:00", "2026-03-02T05:00:00", "2026-03-01T05:00:00"),
        ("Asia/Kolkata", "2026-03-02T09:30:00", "2026-03-01T18:30:00", "2026-02-28T18:30:00"),
        ("Pacific/Kiritimati", "2026-03-02T10:00:00", "2026-03-02T10:00:00", "2026-02-28T10:00:00"),
    ] {
        let (server, owner) = TestServer::set_up_manual().await;
        server.patch("/v1/general", &owner, &json!({"timezone": timezone})).await.is(200);
        let program = program(&server, &owner).await;
        ask(&server, &program, 3).await;
        for (granularity, start) in [("hour", hour), ("day", day), ("month", month)] {
            let spans = server.spans(&owner, &format!("granularity={granularity}")).await;
            assert_eq!(spans, [(format!("{start}.000000Z"), 3)], "{timezone} {granularity}, open");
        }
        server.advance(2 * HOUR);
        server.app().store.flush_counts(false).await;
        ask(&server, &program, 4).await;
        assert_eq!(server.requests(&owner).await, 7, "{timezone}");
        let hours = server.spans(&owner, "granularity=hour").await;
        assert_eq!(hours.iter().map(|(_, used)| *used).collect::<Vec<_>>(), [3, 4], "{timezone}");
        let days = server.spans(&owner, "").await;
        assert_eq!(days.iter().map(|(_, used)| used).sum::<u64>(), 7, "{timezone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_begins_with_none_and_a_limit_is_one_of_a_month() {
    let (server, owner) = TestServer::set_up_manual().await;
    let program = program(&server, &owner).await;
    server.limit(&owner, hard("api_requests", 3)).await;
    ask(&server, &program, 3).await;
    assert_eq!(write(&server, &program, 1).await, 402);
    server.advance(31 * 24 * HOUR);
    server.app().store.flush_counts(false).await;
    let owner = server.another_session(&owner).await;
    assert_eq!(server.requests(&owner).await, 0);
    assert_eq!(write(&server, &program, 1).await, 201);
    assert_eq!(server.requests(&owner).await, 1);
    let months = server.spans(&owner, "from=2026-01-01&granularity=month").await;
    assert_eq!(months.iter().map(|(_, used)| *used).collect::<Vec<_>>(), [4, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_has_a_level_at_the_end_of_each_span() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.environment(&owner, "One", "test").await;
    server.advance(24 * HOUR);
    let owner = server.another_session(&owner).await;
    server.environment(&owner, "Two", "test").await;
    server.secret(&owner, "one", "TOKEN").await;
    server.advance(24 * HOUR);
    let owner = server.another_session(&owner).await;
    server.delete("/v1/environments/one", &owner).await.is(204);
    for (meter, expected) in
        [("environments", [0, 1, 2, 1]), ("secrets", [0, 0, 1, 0]), ("people", [0, 1, 1, 1])]
    {
        let path = format!("/v1/billing/usage?meter={meter}&from=2026-03-01&granularity=day");
        let body = server.get(&path, &owner).await.is(200).json();
        let levels: Vec<_> =
            body["data"].as_array().unwrap().iter().map(|span| span["used"].as_u64().unwrap()).collect();
        assert_eq!(levels, expected, "{meter}");
    }
    let long = |query: &str| format!("/v1/billing/usage?meter={query}");
    for query in [
        "people&from=2025-01-01",
        "api_requests&from=2020-01-01",
        "api_requests&from=2025-06-01&granularity=hour",
    ] {
        server.get(&long(query), &owner).await.is_problem(422, "invalid_request");
    }
    let future = server.get(&long("people&from=2027-01-01"), &owner).await.is(200).json();
    assert_eq!(future["data"], Value::Array(Vec::new()));
    server.send(Method::GET, "/v1/billing/usage", &owner, &[], &Value::Null).await.is(422);
}
