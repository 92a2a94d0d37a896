//! `/v1/audit/facets` and `/v1/audit/export`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::server::{Somebody, TestServer, text};
use crate::sse::ask_and_stall;

const CSV: &str = "/v1/audit/export?format=csv";

async fn history() -> (TestServer, Somebody, Somebody) {
    let (server, owner) = TestServer::set_up_manual().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    server.environment(&owner, "Dev", "test").await;
    server.patch("/v1/environments/dev/config", &owner, &json!({"A": 1, "B": 2})).await.is(200);
    server.put("/v1/environments/dev/config/A", &viewer, &json!({"value": 2})).await.is(403);
    (server, owner, viewer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_limited_to_some_environments_takes_no_log_out() {
    let (server, owner, _) = history().await;
    server.environment(&owner, "Prod", "live").await;
    let key = json!({"name": "K", "mode": "live", "role": "admin"});
    let (id, program) = server.api_key(&owner, &key).await;
    let out = ["/v1/events", "/v1/audit/export?format=ndjson", "/v1/proof/bundle"];
    for path in out {
        server.get(path, &program).await.is(200);
    }
    let limited = json!({"environments": ["prod"]});
    server.patch(&format!("/v1/api-keys/{id}"), &owner, &limited).await.is(200);
    for path in out {
        let refused = server.get(path, &program).await.is_problem(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("audit:export"), "{refused}");
    }
    server.get("/v1/audit", &program).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn facets_count_what_each_further_filter_would_show() {
    let (server, owner, viewer) = history().await;
    for filters in
        ["", "&outcome=denied", "&type=config", "&action=config.*&outcome=success", "&from=2030-01-01"]
    {
        let facets = server.get(&format!("/v1/audit/facets?{filters}"), &owner).await.is(200).json();
        let total = server.get(&format!("/v1/audit?{filters}"), &owner).await.json()["total"].clone();
        assert_eq!((&facets["total"], &facets["more"]), (&total, &json!([])), "{filters}");
        for (dimension, value, filter) in [
            ("users", "id", "user"),
            ("actions", "action", "action"),
            ("types", "type", "type"),
            ("outcomes", "outcome", "outcome"),
        ] {
            let counts = facets[dimension].as_array().unwrap();
            let sum: u64 = counts.iter().map(|count| count["count"].as_u64().unwrap()).sum();
            assert_eq!(total, sum, "{filters} {dimension}: every event has one value");
            let order: Vec<_> = counts
                .iter()
                .map(|count| (std::cmp::Reverse(count["count"].as_u64()), text(&count[value])))
                .collect();
            assert!(order.is_sorted(), "{order:?}");
            if filters.contains(&format!("&{filter}=")) {
                continue;
            }
            for count in counts {
                let query = format!("/v1/audit?{filters}&{filter}={}", text(&count[value]));
                assert_eq!(server.get(&query, &owner).await.json()["total"], count["count"], "{query}");
            }
        }
    }
    let denied = server.get("/v1/audit/facets?outcome=denied", &owner).await.json();
    let expected = json!([{"id": viewer.person, "kind": "person", "name": "viewer", "count": 1}]);
    assert_eq!(denied["users"], expected);
    server.get("/v1/audit/facets?limit=1", &owner).await.is_problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_export_has_the_columns_and_nothing_that_a_spreadsheet_runs() {
    let (server, owner, _) = history().await;
    let reason = [("settled-reason", "%3DHYPERLINK%28%22x%22%29%2C%20%22so%22")];
    let body = json!({"name": "Acme, \"Inc\""});
    server.send(Method::PATCH, "/v1/general", &owner, &reason, &body).await.is(200);
    server.patch("/v1/me", &owner, &json!({"name": "-Olive"})).await.is(200);
    let version = server.version(owner.organization);
    let answer = server.get(&format!("{CSV}&action=organization.update"), &owner).await.is(200);
    assert_eq!(answer.header("content-type").as_deref(), Some("text/csv; charset=utf-8; header=present"));
    let disposition = format!("attachment; filename=\"audit-{}-{version}.csv\"", owner.organization);
    assert_eq!(answer.header("content-disposition"), Some(disposition));
    let row = server.audit(&owner, "&action=organization.update").await[0].clone();
    let expected = format!(
        "TIMESTAMP,USER,ACTION,RESOURCE,OUTCOME,id,version,user_id,resource_type,resource_id,count,reason,ip\r\n\
         2026-03-02T10:20:00.000000Z,'-Olive,organization.update,\"Acme, \"\"Inc\"\"\",success,{},{},{},organization,{},,\
         \"'=HYPERLINK(\"\"x\"\"), \"\"so\"\"\",127.0.0.1\r\n",
        text(&row["id"]),
        row["version"],
        owner.person,
        owner.organization,
    );
    assert_eq!(answer.text, expected);
    let nothing = server.get(&format!("{CSV}&action=nothing.at_all"), &owner).await.is(200);
    assert_eq!(nothing.text.lines().count(), 1, "the header stands in an empty export too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_lines_is_the_audit_log_page_by_page() {
    let (server, owner, _) = history().await;
    // More than one page of an export, and just as many as fill pages.
    for round in 0..2 {
        let values: Value =
            (0..256).map(|key| (format!("K{key}"), json!(round))).collect::<serde_json::Map<_, _>>().into();
        server.patch("/v1/environments/dev/config", &owner, &values).await.is(200);
    }
    for filters in ["", "&action=config.set&type=config&outcome=success", "&type=config&resource=nobody"] {
        let mut rows = Vec::new();
        let mut page = server.get(&format!("/v1/audit?limit=200{filters}"), &owner).await.is(200).json();
        loop {
            rows.extend(page["data"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            page = server.get(&format!("/v1/audit?limit=200&cursor={cursor}"), &owner).await.is(200).json();
        }
        let answer = server.get(&format!("/v1/audit/export?format=ndjson{filters}"), &owner).await.is(200);
        assert_eq!(answer.header("content-type").as_deref(), Some("application/x-ndjson"));
        let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), rows.len(), "{filters}");
        assert!(lines == rows, "{filters}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_as_ocsf_has_the_same_rows() {
    let (server, owner, viewer) = history().await;
    let rows = server.audit(&owner, "").await;
    let answer = server.get("/v1/audit/export?format=ocsf", &owner).await.is(200);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/x-ndjson"));
    let events: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), rows.len());
    for (event, row) in events.iter().zip(&rows) {
        let (class, activity) =
            (event["class_uid"].as_u64().unwrap(), event["activity_id"].as_u64().unwrap());
        assert_eq!(event["type_uid"], class * 100 + activity);
        assert_eq!(
            (&event["metadata"]["uid"], &event["metadata"]["sequence"]),
            (&row["id"], &row["version"])
        );
        assert_eq!(event["metadata"]["event_code"], row["action"]);
        assert_eq!(event["time"], 1_772_446_800_000_u64);
        assert_eq!(event["actor"]["user"]["uid"], row["user"]["id"]);
        let of_class = if class == 3002 { &event["user"]["uid"] } else { &event["entity"]["uid"] };
        assert!(of_class.is_string(), "{event}");
    }
    let denied = &events[0];
    assert_eq!((&denied["status_id"], &denied["status_detail"]), (&json!(2), &json!("denied")));
    assert_eq!(
        denied["actor"]["user"],
        json!({"uid": viewer.person, "type_id": 1, "type": "User", "name": "viewer"})
    );
    let found = server.audit(&owner, "&action=audit.export").await;
    assert_eq!(found.len(), 1, "it is an export as all others");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_export_is_an_event_and_other_forms_are_refused() {
    let (server, owner, viewer) = history().await;
    for form in ["csv", "ndjson", "csv"] {
        server.get(&format!("/v1/audit/export?format={form}"), &owner).await.is(200);
    }
    server.get("/v1/audit/export", &owner).await.is(200);
    server.get("/v1/events", &owner).await.is(200);
    server.get("/v1/events", &owner).await.is(200);
    for path in ["/v1/audit/export", "/v1/events"] {
        let head = server.send(Method::HEAD, path, &owner, &[], &Value::Null).await.is(405);
        assert_eq!(head.header("allow").as_deref(), Some("GET"), "{path}");
    }
    let exports = server.audit(&owner, "&action=audit.export").await;
    assert_eq!(exports.len(), 5, "each export, and reading events once an hour");
    let events = server.get("/v1/events?limit=200", &owner).await.is(200).json();
    let forms = events["data"].as_array().unwrap().iter().filter(|event| event["action"] == "audit.export");
    let forms: Vec<String> = forms.map(|event| text(&event["data"]["form"])).collect();
    assert_eq!(forms, ["csv", "ndjson", "csv", "csv", "events"]);

    for form in ["OCSF", "xml", ""] {
        let problem = server.get(&format!("/v1/audit/export?format={form}"), &owner).await;
        let problem = problem.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["code"], "unsupported_format", "{form}");
    }
    server.get(&format!("{CSV}&user="), &owner).await.is(422);
    server.get(&format!("{CSV}&limit=1"), &owner).await.is(422);
    server.get(CSV, &viewer).await.is_problem(403, "forbidden");
    assert_eq!(
        server.audit(&owner, "&action=audit.export&outcome=success").await.len(),
        5,
        "no bytes, no event"
    );
}

/// Fills the audit log with more than the system holds for a client that does not read.
async fn fill(server: &TestServer, owner: &Somebody) {
    let reason = "%E2%82%AC".repeat(500);
    for round in 0..6 {
        let values: Value =
            (0..200).map(|key| (format!("K{key}"), json!(round))).collect::<serde_json::Map<_, _>>().into();
        let headers = [("settled-reason", reason.as_str())];
        server.send(Method::PATCH, "/v1/environments/dev/config", owner, &headers, &values).await.is(200);
    }
}

/// An export that nobody reads.
async fn unread(server: &TestServer, who: &Somebody) -> TcpStream {
    let stream = ask_and_stall(server.base(), CSV, &who.token).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_exports_are_two_a_credential_and_one_that_loses_its_right_is_broken_off() {
    let (server, owner, _) = history().await;
    fill(&server, &owner).await;
    let other = server.another_session(&owner).await;
    let (first, mut second) = (unread(&server, &other).await, unread(&server, &other).await);
    let refused = server.get(CSV, &other).await;
    refused.clone().is_problem(429, "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    drop(first);
    server
        .eventually(|| async {
            // Only its head: reading it whole would take long.
            let again = ask_and_stall(server.base(), CSV, &other.token).await.unwrap();
            let mut head = [0; 12];
            let mut again = again;
            again.read_exact(&mut head).await.unwrap();
            &head == b"HTTP/1.1 200"
        })
        .await;
    server.post("/v1/auth/logout", Some(&other), &json!({})).await.is(204);
    let mut read = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(60), second.read_to_end(&mut read)).await;
    let _reset_or_closed = reading.expect("it is broken off");
    assert!(read.starts_with(b"HTTP/1.1 200") && !read.ends_with(b"0\r\n\r\n"), "it passes for a whole one");
}
