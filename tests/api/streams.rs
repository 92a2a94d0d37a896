//! `/v1/audit/stream`: the audit log as it happens.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};
use crate::sse::{Reader, Told};

const PATH: &str = "/v1/audit/stream";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);
/// Long enough for what should not come.
const A_WHILE: Duration = Duration::from_millis(300);

async fn open(server: &TestServer, who: &Somebody, query: &str, last: Option<&str>) -> Reader {
    let path = format!("{PATH}{query}");
    Reader::open(server.base(), &path, &who.token, last).await.expect("the server answers")
}

async fn next(reader: &mut Reader) -> Told {
    let told = tokio::time::timeout(SOON, reader.next()).await.expect("something is told soon");
    told.expect("the stream goes on")
}

/// Waits until a stream is over, whatever it still tells; whether the answer was whole.
async fn over(reader: &mut Reader) -> bool {
    let ended = tokio::time::timeout(SOON, async { while reader.next().await.is_some() {} });
    ended.await.expect("the stream ends soon");
    reader.ended
}

/// Waits for a comment; false once the stream is over.
async fn comment(reader: &mut Reader) -> bool {
    while let Some(line) = reader.line().await {
        if line == ":" {
            return true;
        }
    }
    false
}

async fn rename(server: &TestServer, who: &Somebody, name: &str) -> u64 {
    server.patch("/v1/general", who, &json!({ "name": name })).await.is(200).version()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_they_happen_each_once_and_in_order() {
    let (server, owner) = TestServer::set_up().await;
    let mut reader = open(&server, &owner, "", None).await;
    for number in 0..5 {
        let version = rename(&server, &owner, &format!("Acme {number}")).await;
        let told = next(&mut reader).await;
        assert_eq!((told.event.as_str(), told.id), ("entry", format!("0-{version}")));
        assert_eq!(told.data, server.audit(&owner, "").await[0]);
    }
    assert!(tokio::time::timeout(A_WHILE, reader.next()).await.is_err(), "nothing else happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_now_or_after_a_version_and_keeps_to_its_filters() {
    let (server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    let mut now = open(&server, &owner, "", None).await;
    let mut of_environments = open(&server, &owner, "?after=0&type=environment", None).await;
    let mut all = open(&server, &owner, "?after=0", None).await;
    assert_eq!(next(&mut of_environments).await.data["action"], "environment.create");
    let before = server.version(owner.organization);
    for version in 1..=before {
        assert_eq!(next(&mut all).await.version(), version);
    }
    rename(&server, &owner, "Acme II").await;
    server.environment(&owner, "Stage", "test").await;
    assert_eq!(next(&mut of_environments).await.data["resource"]["name"], "Stage");
    assert_eq!(next(&mut now).await.version(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_repeated_between_a_drop_and_the_next_connection() {
    let (mut server, owner) = TestServer::set_up().await;
    // Dropped before anything was told: the opening has said where it began.
    let last = open(&server, &owner, "", None).await.last;
    let begun = server.version(owner.organization);
    rename(&server, &owner, "Acme 1").await;
    let mut reader = open(&server, &owner, "", last.as_deref()).await;
    assert_eq!(next(&mut reader).await.version(), begun + 1);
    let last = reader.last.clone();
    drop(reader);
    rename(&server, &owner, "Acme 2").await;
    server.restart().await;
    rename(&server, &owner, "Acme 3").await;
    // A browser repeats its query too.
    let mut reader = open(&server, &owner, "?after=1", last.as_deref()).await;
    assert_eq!(next(&mut reader).await.version(), begun + 2);
    assert_eq!(next(&mut reader).await.version(), begun + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_epoch_is_answered_with_reset() {
    let (server, owner) = TestServer::set_up().await;
    let now = server.version(owner.organization);
    let mut reader = open(&server, &owner, "", Some("x7-3")).await;
    let reset = next(&mut reader).await;
    assert_eq!((reset.event.as_str(), reset.id), ("reset", format!("0-{now}")));
    assert_eq!(reset.data, json!({ "version": now }));
    let version = rename(&server, &owner, "Acme II").await;
    assert_eq!(next(&mut reader).await.version(), version);
    // Nor does this stream have a version of another organization's, which may be further.
    let now = server.version(owner.organization);
    let mut reader = open(&server, &owner, "", Some(&format!("0-{}", now + 1))).await;
    assert_eq!(next(&mut reader).await.event, "reset");
    let version = rename(&server, &owner, "Acme III").await;
    assert_eq!(next(&mut reader).await.version(), version);
    let future = format!("?after={}", version + 1);
    assert_eq!(open(&server, &owner, &future, None).await.status, 422);
    let twice = [("last-event-id", "0-1"), ("last-event-id", "0-2")];
    server.send(Method::GET, "/v1/audit/stream", &owner, &twice, &Value::Null).await.is(422);
    for wrong in ["nonsense", "0-", "0-01"] {
        assert_eq!(open(&server, &owner, "", Some(wrong)).await.status, 422, "{wrong}");
    }
    for wrong in ["after=x", "after=9007199254740992", "limit=1", "cursor=x"] {
        assert_eq!(open(&server, &owner, &format!("?{wrong}"), None).await.status, 422, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_every_15_s_that_it_is_there() {
    let (server, owner) = TestServer::set_up_manual().await;
    let mut reader = open(&server, &owner, "?action=environment.*", None).await;
    for _ in 0..3 {
        // What the filter leaves out is no sign of life.
        server.advance(14);
        rename(&server, &owner, &format!("Acme {}", server.version(owner.organization))).await;
        assert!(tokio::time::timeout(A_WHILE, comment(&mut reader)).await.is_err(), "a comment came early");
        server.advance(1);
        assert!(tokio::time::timeout(SOON, comment(&mut reader)).await.expect("a comment comes"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_session_or_a_permission_ends_its_streams_and_tells_nothing_more() {
    let (server, owner) = TestServer::set_up_manual().await;
    let auditor = server.add(owner.organization, "u@example.com", "U").await;
    let assignment = server.assign(&auditor, SystemRole::Auditor, None).await;

    let leaving = server.another_session(&auditor).await;
    let mut reader = open(&server, &leaving, "", None).await;
    server.post("/v1/auth/logout", Some(&leaving), &json!({})).await.is(204);
    assert!(tokio::time::timeout(SOON, reader.next()).await.unwrap().is_none() && reader.ended, "logout");

    let revoked = server.another_session(&auditor).await;
    let mut reader = open(&server, &revoked, "", None).await;
    let sessions = server.get("/v1/me/sessions", &revoked).await.is(200).json();
    let current = |session: &&Value| session["current"] == true;
    let id = text(&sessions["data"].as_array().unwrap().iter().find(current).unwrap()["id"]);
    server.delete(&format!("/v1/me/sessions/{id}"), &auditor).await.is(204);
    assert!(tokio::time::timeout(SOON, reader.next()).await.unwrap().is_none() && reader.ended, "revoked");

    let idle = server.another_session(&auditor).await;
    let mut reader = open(&server, &idle, "", None).await;
    let mut of_owner = open(&server, &owner, "", None).await;
    server.get("/v1/me", &owner).await.is(200);
    server.unassign(owner.organization, assignment).await;
    assert!(
        tokio::time::timeout(SOON, reader.next()).await.unwrap().is_none() && reader.ended,
        "no permission"
    );
    assert_eq!(open(&server, &idle, "", None).await.status, 403);
    assert_eq!(next(&mut of_owner).await.data["action"], "role_assignment.delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_a_team_or_a_role_gives_no_more_what_it_needs() {
    let (server, owner) = TestServer::set_up().await;
    let auditor = server.add(owner.organization, "u@example.com", "U").await;
    let (team, role) =
        (server.team(&owner, "Auditors").await, server.role(&owner, "Audits", &["audit:read"]).await);
    server.give(&owner, &team, &role).await.is(201);
    let member = format!("/v1/teams/{team}/members/{}", auditor.person);
    let allow = |permissions: Value| {
        let (server, owner, path) = (&server, &owner, format!("/v1/roles/{role}"));
        async move { server.patch(&path, owner, &json!({"permissions": permissions})).await.is(200) }
    };
    for way in ["removed from the team", "the role allows less", "the team is gone"] {
        server.put(&member, &owner, &json!({})).await.is(204);
        allow(json!(["audit:read"])).await;
        let mut reader = open(&server, &auditor, "", None).await;
        assert_eq!(reader.status, 200, "{way}");
        match way {
            "removed from the team" => drop(server.delete(&member, &owner).await.is(204)),
            "the role allows less" => drop(allow(json!([])).await),
            _ => drop(server.delete(&format!("/v1/teams/{team}"), &owner).await.is(204)),
        }
        let last = async {
            while reader.next().await.is_some() {}
            reader.ended
        };
        assert!(tokio::time::timeout(SOON, last).await.unwrap(), "{way}");
        assert_eq!(open(&server, &auditor, "", None).await.status, 403, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_and_a_session_that_is_over_are_noticed_within_15_s() {
    let (server, owner) = TestServer::set_up_manual().await;
    let other = server.another_session(&owner).await;
    let mut reader = open(&server, &other, "", None).await;
    let mut spared = open(&server, &owner, "", None).await;
    let body = json!({"current": crate::server::PASSWORD, "new": "another walk by the sea"});
    server.post("/v1/me/password", Some(&owner), &body).await.is(200);
    server.advance(15);
    assert!(over(&mut reader).await, "its password changed");
    assert!(tokio::time::timeout(SOON, comment(&mut spared)).await.unwrap());
    // Reading a stream is no use of the session: it ends as if nothing were open.
    server.advance(12 * 3_600);
    assert!(over(&mut spared).await, "its session is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_has_8_streams_and_another_has_its_own() {
    let (server, owner) = TestServer::set_up().await;
    let mut open_ones = Vec::new();
    for _ in 0..8 {
        open_ones.push(open(&server, &owner, "", None).await);
    }
    let refused = server.get(PATH, &owner).await;
    refused.clone().is_problem(429, "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(open(&server, &server.another_session(&owner).await, "", None).await.status, 200);
    open_ones.pop();
    server.eventually(|| async { open(&server, &owner, "", None).await.status == 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_at_once() {
    let (mut server, owner) = TestServer::set_up().await;
    let mut reader = open(&server, &owner, "", None).await;
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("nothing is waited for");
    assert!(over(&mut reader).await, "the answer is whole");
}
