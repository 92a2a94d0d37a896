//! `/v1/audit` and `/v1/events`.

use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

/// An organization where five things happened on 2 March 2026 from 10:20 UTC (11:20 in Paris), an hour apart.
async fn history() -> (TestServer, Somebody, Somebody) {
    let (server, owner) = TestServer::set_up_manual().await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    server.advance(3600);
    server.environment(&owner, "Dev", "test").await;
    server.advance(3600);
    server.patch("/v1/environments/dev/config", &owner, &json!({"A": 1, "B": 2})).await.is(200);
    server.advance(3600);
    server.put("/v1/environments/dev/config/A", &viewer, &json!({"value": 2})).await.is(403);
    server.advance(3600);
    let reason = [("settled-reason", "gr%C3%BCn")];
    server.send(Method::PATCH, "/v1/general", &owner, &reason, &json!({"name": "Acme II"})).await.is(200);
    (server, owner, viewer)
}

fn actions(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| text(&row["action"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_gives_its_rows_newest_first() {
    let (server, owner, viewer) = history().await;
    let environment = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let (owner_id, viewer_id) = (owner.person, viewer.person);
    let cases = [
        ("&action=config.set".to_owned(), vec!["config.set", "config.set", "config.set"]),
        ("&action=config.set&outcome=success".to_owned(), vec!["config.set", "config.set"]),
        ("&outcome=denied".to_owned(), vec!["config.set"]),
        (format!("&user={viewer_id}&outcome=denied"), vec!["config.set"]),
        ("&action=organization.*".to_owned(), vec!["organization.update", "organization.create"]),
        (
            "&action=environment.create&action=organization.update".to_owned(),
            vec!["organization.update", "environment.create"],
        ),
        ("&type=environment".to_owned(), vec!["environment.create"]),
        (format!("&user={owner_id}&type=organization"), vec!["organization.update"]),
        ("&user=system&type=organization".to_owned(), vec!["organization.create"]),
        (format!("&resource={viewer_id}&action=role_assignment.*"), vec!["role_assignment.create"]),
        ("&from=2026-03-02T11:20:00Z&to=2026-03-02T12:20:00Z".to_owned(), vec!["environment.create"]),
        ("&from=2026-03-02T14:20:00Z".to_owned(), vec!["organization.update"]),
        ("&from=2026-03-02T15:20:00%2B01:00&to=2026-03-03".to_owned(), vec!["organization.update"]),
        ("&from=2026-03-03".to_owned(), vec![]),
        ("&to=2026-03-02".to_owned(), vec![]),
        ("&action=nothing.at_all".to_owned(), vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(actions(&server.audit(&owner, &query).await), expected, "{query}");
    }
    let concerned = server.audit(&owner, &format!("&resource={environment}")).await;
    assert!(actions(&concerned).contains(&"environment.create".to_owned()), "{concerned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_date_is_the_organizations_day() {
    let (server, owner, _) = history().await;
    // Everything happened before 16:00 in Paris; in Tokyo the day ended at 15:00 UTC, in Kiritimati (UTC+14) at 10:00.
    let zone = json!({"timezone": "Pacific/Kiritimati"});
    assert_eq!(server.audit(&owner, "&from=2026-03-03&action=environment.create").await.len(), 0);
    server.patch("/v1/general", &owner, &zone).await.is(200);
    assert_eq!(server.audit(&owner, "&from=2026-03-03&action=environment.create").await.len(), 1);
    assert_eq!(server.audit(&owner, "&to=2026-03-03&action=environment.create").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_with_the_days_that_it_began_with() {
    let (server, owner, _) = history().await;
    let all = server.audit(&owner, "&from=2026-03-02&to=2026-03-03").await;
    let mut page = server.get("/v1/audit?from=2026-03-02&to=2026-03-03&limit=2", &owner).await.is(200).json();
    // There the day began at 11:00 UTC: what was first would not be of it.
    server.patch("/v1/general", &owner, &json!({"timezone": "Pacific/Pago_Pago"})).await.is(200);
    let (mut rows, total) = (page["data"].as_array().unwrap().clone(), page["total"].clone());
    assert_eq!(total, all.len());
    while let Some(cursor) = page["next_cursor"].as_str() {
        page = server.get(&format!("/v1/audit?limit=2&cursor={cursor}"), &owner).await.is(200).json();
        assert_eq!(page["total"], total);
        rows.extend(page["data"].as_array().unwrap().clone());
    }
    assert_eq!(rows, all);
    assert!(server.audit(&owner, "&from=2026-03-02&to=2026-03-03").await.len() < rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_shows_the_end_of_a_grant_as_it_does_its_beginning() {
    let (server, owner, viewer) = history().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let assignment = server.assign(&viewer, SystemRole::Developer, Some(dev.parse().unwrap())).await;
    server.unassign(owner.organization, assignment).await;
    let rows = server.audit(&owner, &format!("&resource={dev}&action=role_assignment.*")).await;
    assert_eq!(actions(&rows), ["role_assignment.delete", "role_assignment.create"]);
    let history = server.get(&format!("/v1/history/{dev}?limit=2"), &owner).await.is(200).json();
    assert_eq!(
        actions(history["data"].as_array().unwrap()),
        ["role_assignment.delete", "role_assignment.create"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_who_did_what_to_what_from_where_and_why() {
    let (server, owner, _) = history().await;
    let row = server.audit(&owner, "&action=organization.update").await[0].clone();
    assert_eq!(row["user"], json!({"id": owner.person, "kind": "person", "name": "Olive Owner"}));
    assert_eq!(row["resource"], json!({"type": "organization", "id": owner.organization, "name": "Acme II"}));
    assert_eq!(row["reason"], "grün");
    assert_eq!(row["ip"], "127.0.0.1");
    assert_eq!(row["timestamp"], "2026-03-02T14:20:00.000000Z");
    assert_eq!(row["outcome"], "success");
    // Names of people are as of now.
    server.patch("/v1/me", &owner, &json!({"name": "Olive II"})).await.is(200);
    let row = server.audit(&owner, "&action=organization.update").await[0].clone();
    assert_eq!(row["user"]["name"], "Olive II");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_filters_are_refused_with_their_name() {
    let (server, owner) = TestServer::set_up().await;
    for (query, parameter) in [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("outcome=maybe", "outcome"),
        ("type=thing", "type"),
        ("user=", "user"),
        ("user=x", "user"),
        ("user=system&user=usr_x", "user"),
        ("action=a*b", "action"),
        ("action=Config.set", "action"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("from=2026-03-02&from=2026-03-03", "from"),
        ("as_off=1", "as_off"),
        ("cursor=tampered", "cursor"),
    ] {
        let problem =
            server.get(&format!("/v1/audit?{query}"), &owner).await.is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_total_stay_while_writes_go_on() {
    let (mut server, owner) = TestServer::set_up().await;
    server.environment(&owner, "Dev", "test").await;
    for number in 0..25 {
        let path = format!("/v1/environments/dev/config/K{number}");
        server.put(&path, &owner, &json!({"value": number})).await.is(201);
    }
    let first = server.get("/v1/audit?action=config.*&limit=7", &owner).await.is(200).json();
    assert_eq!(first["total"], 25);
    let mut versions: Vec<u64> = Vec::new();
    let mut page = first;
    let mut round = 100;
    loop {
        versions.extend(page["data"].as_array().unwrap().iter().map(|row| row["version"].as_u64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        let path = format!("/v1/environments/dev/config/L{round}");
        server.put(&path, &owner, &json!({"value": round})).await.is(201);
        if round == 101 {
            server.restart().await;
        }
        round += 1;
        page = server.get(&format!("/v1/audit?limit=7&cursor={cursor}"), &owner).await.is(200).json();
        assert_eq!(page["total"], 25, "the total is that of the first page");
    }
    assert_eq!(versions.len(), 25);
    assert!(versions.windows(2).all(|pair| pair[0] > pair[1]), "{versions:?}");
    assert_eq!(server.get("/v1/audit?action=config.*", &owner).await.json()["total"], 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_as_recorded_and_reading_them_is_an_event_once_an_hour() {
    let (server, owner) = TestServer::set_up_manual().await;
    server.environment(&owner, "Dev", "test").await;
    let mut after = 0;
    let mut events = Vec::new();
    loop {
        let page = server.get(&format!("/v1/events?after={after}&limit=3"), &owner).await.is(200).json();
        events.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next_after"].as_u64() else { break };
        after = next;
    }
    let versions: Vec<u64> = events.iter().map(|event| event["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=server.version(owner.organization)).collect::<Vec<_>>());
    assert_eq!(events[0]["action"], "organization.create");
    assert!(events.iter().all(|event| event["stream"] == owner.organization.to_string()));
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("Olive") && !text.contains("olive@"), "personal data stays sealed: {text}");
    let exports = events.iter().filter(|event| event["action"] == "audit.export").count();
    assert_eq!(exports, 1);
    server.advance(3600);
    server.get("/v1/events", &owner).await.is(200);
    assert_eq!(server.audit(&owner, "&action=audit.export").await.len(), 2);
    let nothing = server.get("/v1/events?after=99999", &owner).await.is(200).json();
    assert_eq!(nothing, json!({"data": [], "next_after": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_organizations_never_see_each_other() {
    let (server, owner) = TestServer::set_up().await;
    let mut owners = vec![owner.clone()];
    for name in ["Beta", "Gamma"] {
        let body = json!({"name": name, "timezone": "UTC"});
        let id = text(&server.post("/v1/organizations", Some(&owner), &body).await.is(201).json()["id"]);
        let there = Somebody { organization: id.parse().unwrap(), ..owner.clone() };
        owners.push(server.another_session(&there).await);
    }
    for (number, who) in owners.iter().enumerate() {
        server.environment(who, &format!("Env {number}"), "test").await;
    }
    for (number, who) in owners.iter().enumerate() {
        let listed = server.get("/v1/environments", who).await.is(200).json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1);
        assert_eq!(listed["data"][0]["name"], format!("Env {number}"));
        let rows = server.audit(who, "&action=environment.create").await;
        assert_eq!(rows.len(), 1);
        let events = server.get("/v1/events?limit=200", who).await.is(200).text;
        for other in owners.iter().filter(|other| other.organization != who.organization) {
            assert!(!events.contains(&other.organization.to_string()));
        }
    }
}
