//! The past over HTTP: every GET of settings as of any point in time, `/v1/history` and `/v1/diff`.

use reqwest::Method;
use serde_json::{Value, json};
use settled::http::access::{Access, Row};
use settled::http::routes;
use settled::settings::roles::permission::PermissionSet;
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};
use crate::things::{Things, with_query};

/// What is read of a stream and is no setting, or says itself which points in time it is about.
const NO_SETTINGS: &[&str] = &[
    "/v1/audit",
    "/v1/events",
    "/v1/history/{id}",
    "/v1/diff",
    "/v1/proof",
    "/v1/plans",
    "/v1/oauth-providers",
    "/v1/billing/usage",
    "/v1/customers/{cus}/executions",
];

/// Every GET of settings, so that none can be forgotten.
fn settings() -> impl Iterator<Item = Row> {
    let asks = |row: &Row| matches!(row.access, Access::Organization(_) | Access::Environment(_));
    let rows = routes().into_iter().map(|route| route.row);
    rows.filter(move |row| {
        row.method == "GET" && asks(row) && !NO_SETTINGS.iter().any(|start| row.path.starts_with(start))
    })
}

/// Acme with an environment and a value, changed twice; each version's time is another.
async fn acme() -> (TestServer, Somebody) {
    let (server, owner) = TestServer::set_up_manual().await;
    server.advance(60);
    server.environment(&owner, "Dev", "test").await;
    server.put("/v1/environments/dev/config/REGION", &owner, &json!({"value": "north"})).await.is(201);
    (server, owner)
}

/// Acme with one of each thing.
async fn acme_with_all() -> (TestServer, Somebody, Things) {
    let (server, owner) = TestServer::set_up_manual().await;
    server.advance(60);
    let things = Things::make(&server, &owner, "dev", owner.person).await;
    (server, owner, things)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_get_of_settings_shows_the_past_as_it_was_live() {
    let (server, owner, things) = acme_with_all().await;
    let live = async |row: &Row| server.get(&with_query(&things.path(row.path), ""), &owner).await.is(200);
    let mut then: Vec<(Row, Value, u64)> = Vec::new();
    for row in settings() {
        let answer = live(&row).await;
        then.push((row, answer.json(), answer.version()));
        assert_eq!(answer.header("settled-as-of-version"), None);
    }
    assert!(then.len() >= 5, "routes are missing");
    let before = server.app().store.clock().now().to_string();
    server.advance(3_600);
    server.patch("/v1/general", &owner, &json!({"name": "Acme Ltd"})).await.is(200);
    server.put("/v1/environments/dev/config/A", &owner, &json!({"value": "after"})).await.is(200);
    server.patch("/v1/environments/dev", &owner, &json!({"slug": "devel"})).await.is(200);
    server.patch(&things.path("/v1/teams/{team}"), &owner, &json!({"name": "New"})).await.is(200);
    server.delete(&things.path("/v1/teams/{team}/members/{usr}"), &owner).await.is(204);
    server.patch(&things.path("/v1/roles/{role}"), &owner, &json!({"permissions": []})).await.is(200);
    server.give(&owner, things.of("team"), "auditor").await.is(201);
    server.environment(&owner, "Stage", "test").await;
    for (row, body, version) in &then {
        for at in [version.to_string(), before.clone()] {
            let answer =
                server.get(&with_query(&things.path(row.path), &format!("as_of={at}")), &owner).await.is(200);
            assert_eq!(answer.json(), *body, "{} as of {at}", row.path);
            assert_eq!(answer.header("settled-as-of-version"), Some(version.to_string()), "{}", row.path);
            assert!(answer.version() > *version, "Settled-Version is the stream's");
        }
        let now = things.path(row.path).replace("/dev", "/devel");
        let newest = server.get(&with_query(&now, ""), &owner).await.is(200);
        let again =
            server.get(&with_query(&now, &format!("as_of={}", newest.version())), &owner).await.is(200);
        assert_eq!(again.json(), newest.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_future_and_what_is_no_point_in_time_are_refused_on_every_get_of_settings() {
    let (server, owner, things) = acme_with_all().await;
    let version = server.version(owner.organization);
    for row in settings() {
        for (at, code) in [
            ((version + 1).to_string(), "in_the_future"),
            ("2999-01-01T00:00:00Z".to_owned(), "in_the_future"),
            ("yesterday".to_owned(), "invalid"),
            (String::new(), "invalid"),
            ("007".to_owned(), "invalid"),
            ("%2B5".to_owned(), "invalid"),
        ] {
            let answer =
                server.get(&with_query(&things.path(row.path), &format!("as_of={at}")), &owner).await;
            let problem = answer.is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["parameter"], "as_of", "{}", row.path);
            assert_eq!(problem["errors"][0]["code"], code, "{} {at}", row.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_shown_by_todays_rights() {
    let (server, owner, things) = acme_with_all().await;
    let other = server.add(owner.organization, "dora@example.com", "Dora").await;
    let assignment = server.assign(&other, SystemRole::Admin, None).await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let version = server.version(owner.organization);
    let past = |row: &Row, at: u64| with_query(&things.path(row.path), &format!("as_of={at}"));
    for row in settings() {
        server.get(&past(&row, version), &other).await.is(200);
        let (Access::Organization(needed) | Access::Environment(needed)) = row.access else { continue };
        if !PermissionSet::of(SystemRole::Viewer).contains(needed) {
            continue;
        }
        server.get(&with_query(&things.path(row.path), ""), &viewer).await.is(200);
        let problem = server.get(&past(&row, version), &viewer).await.is_problem(403, "forbidden");
        assert_eq!(problem["permission"], "history:read", "{}", row.path);
    }
    server.unassign(owner.organization, assignment).await;
    for row in settings() {
        for at in 1..=server.version(owner.organization) {
            server.get(&past(&row, at), &other).await.is_problem(403, "forbidden");
        }
    }
    for path in [format!("/v1/history/{}", owner.organization), "/v1/diff?from=1".to_owned()] {
        server.get(&path, &other).await.is_problem(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_read_in_the_whole_organization_or_not_at_all() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let limited = server.add(owner.organization, "lea@example.com", "Lea").await;
    server.assign(&limited, SystemRole::Owner, Some(dev.parse().unwrap())).await;
    let version = server.version(owner.organization);
    server.get("/v1/environments/dev", &limited).await.is(200);
    let past = server.get(&format!("/v1/environments/dev?as_of={version}"), &limited).await;
    assert_eq!(past.is_problem(403, "forbidden")["permission"], "history:read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_the_past_goes_on_with_the_same_past() {
    let (server, owner) = acme().await;
    for name in ["B", "C", "D"] {
        server
            .put(&format!("/v1/environments/dev/config/{name}"), &owner, &json!({"value": name}))
            .await
            .is(201);
        server.environment(&owner, name, "test").await;
    }
    let version = server.version(owner.organization);
    for list in ["/v1/environments", "/v1/environments/dev/config"] {
        let all = server.get(&format!("{list}?as_of={version}"), &owner).await.is(200).json();
        let mut page = server.get(&format!("{list}?as_of={version}&limit=1"), &owner).await.is(200).json();
        server.put("/v1/environments/dev/config/AA", &owner, &json!({"value": list})).await;
        let mut found = page["data"].as_array().unwrap().clone();
        while let Some(cursor) = page["next_cursor"].as_str() {
            let answer = server.get(&format!("{list}?cursor={cursor}&limit=1"), &owner).await.is(200);
            assert_eq!(answer.header("settled-as-of-version"), Some(version.to_string()));
            page = answer.json();
            found.extend(page["data"].as_array().unwrap().clone());
        }
        assert_eq!(Value::from(found), all["data"], "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_things_history_says_who_changed_what_from_what_to_what_and_why() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let because = [("settled-reason", "moved%20south")];
    let value = "/v1/environments/dev/config/REGION";
    server.send(Method::PUT, value, &owner, &because, &json!({"value": "south"})).await.is(200);
    server.put("/v1/environments/dev/config/OTHER", &owner, &json!({"value": 1})).await.is(201);
    server.delete("/v1/environments/dev", &owner).await.is(204);

    let history = async |path: &str| server.get(path, &owner).await.is(200).json();
    let rows = history(&format!("/v1/history/{dev}?name=REGION")).await["data"].clone();
    let told: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["action"], row["changes"], row["reason"], row["user"]["name"]]))
        .collect();
    let change = |from: Value, to: Value| json!([{"field": "value", "from": from, "to": to}]);
    assert_eq!(
        Value::from(told),
        json!([
            ["environment.delete", change(json!("south"), Value::Null), null, "Olive Owner"],
            ["config.set", change(json!("north"), json!("south")), "moved south", "Olive Owner"],
            ["config.set", change(Value::Null, json!("north")), null, "Olive Owner"],
        ])
    );
    let mut actions = Vec::new();
    let mut page = history(&format!("/v1/history/{dev}?limit=2")).await;
    loop {
        for row in page["data"].as_array().unwrap() {
            actions.push(text(&row["action"]));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = history(&format!("/v1/history/{dev}?limit=2&cursor={cursor}")).await;
    }
    assert_eq!(
        actions,
        ["environment.delete", "config.set", "config.set", "config.set", "environment.create"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ended_with_its_environment_has_that_in_its_history() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let other = server.add(owner.organization, "dora@example.com", "Dora").await;
    let assignment = server.assign(&other, SystemRole::Developer, Some(dev.parse().unwrap())).await;
    let stage = server.environment(&owner, "Stage", "test").await;
    server.delete(&format!("/v1/environments/{stage}"), &owner).await.is(204);
    server.delete("/v1/environments/dev", &owner).await.is(204);
    let history = server.get(&format!("/v1/history/{assignment}"), &owner).await.is(200).json();
    let rows = history["data"].as_array().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["environment.delete", "role_assignment.create"], "{history}");
    assert_eq!(rows[0]["changes"][1]["from"], other.person.to_string(), "{history}");
    let person = server.get(&format!("/v1/history/{}", other.person), &owner).await.is(200).json();
    let actions: Vec<_> = person["data"].as_array().unwrap().iter().map(|row| text(&row["action"])).collect();
    assert_eq!(actions, ["role_assignment.create", "person.join"]);
    let joined = person["data"][1]["changes"].clone();
    assert_eq!(joined[1], json!({"field": "name", "from": null, "to": null, "sealed": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_history_for_you_is_not_found() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let developer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    server.get(&format!("/v1/history/{dev}"), &developer).await.is(200);
    for id in ["env_01kqxk5rd0e5xrpzzv0jjq4zgn", "ses_01kqxk5rd0e5xrpzzv0jjq4zgn", "dev", "x"] {
        server.get(&format!("/v1/history/{id}"), &owner).await.is_problem(404, "not_found");
    }
    server.patch("/v1/environments/dev", &owner, &json!({"description": "a"})).await.is(200);
    server.patch("/v1/environments/dev", &owner, &json!({"description": "b"})).await.is(200);
    for more in ["", "&limit=1"] {
        let path = format!("/v1/history/{dev}?name=NONE_SUCH{more}");
        server.get(&path, &owner).await.is_problem(404, "not_found");
    }
    // What was done to the environment around a value is passed over to its own newest change.
    let page = server.get(&format!("/v1/history/{dev}?name=REGION&limit=1"), &owner).await.is(200).json();
    assert_eq!(page["data"][0]["action"], "config.set", "{page}");
    server
        .get(&format!("/v1/history/{}?name=A", owner.organization), &owner)
        .await
        .is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_path_names_comes_before_what_is_wrong_with_the_question() {
    let (server, owner) = acme().await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let nobody = "env_01kqxk5rd0e5xrpzzv0jjq4zgn";
    let questions = ["limit=0", "cursor=x", "as_of=yesterday", "as_of=99999", "as_off=1", "limit=0&as_of=1"];
    for path in ["/v1/environments/{}/config", "/v1/environments/{}", "/v1/environments/{}/config/REGION"] {
        for question in questions {
            let asked = format!("{path}?{question}");
            server.get(&asked.replace("{}", nobody), &owner).await.is_problem(404, "not_found");
            let known = server.get(&asked.replace("{}", &dev), &owner).await;
            // As of its first version the organization had no environment.
            let code = if question.ends_with("as_of=1") { 404 } else { 422 };
            assert_eq!(known.status, code, "{asked}: {}", known.text);
        }
    }
    for question in ["limit=0", "cursor=x", "name=lower", "as_off=1"] {
        let asked = |id: &str| format!("/v1/history/{id}?{question}");
        server.get(&asked(nobody), &owner).await.is_problem(404, "not_found");
        server.get(&asked(&dev), &owner).await.is_problem(422, "invalid_request");
    }
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    for list in ["/v1/environments", "/v1/environments/dev/config"] {
        let asked = server.get(&format!("{list}?limit=0&as_of=1"), &viewer).await;
        assert_eq!(asked.is_problem(403, "forbidden")["permission"], "history:read", "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_says_how_two_points_in_time_differ() {
    let (server, owner) = acme().await;
    let from = server.version(owner.organization);
    server.advance(3_600);
    server.patch("/v1/general", &owner, &json!({"name": "Acme Ltd"})).await.is(200);
    server.put("/v1/environments/dev/config/REGION", &owner, &json!({"value": "south"})).await.is(200);
    let stage = server.environment(&owner, "Stage", "live").await;
    let dev = text(&server.get("/v1/environments/dev", &owner).await.json()["id"]);
    let answer = server.get(&format!("/v1/diff?from={from}"), &owner).await.is(200);
    let body = answer.json();
    let expected = json!([
        {
            "resource": {"type": "organization", "id": owner.organization.to_string(), "name": "Acme Ltd"},
            "change": "updated",
            "fields": [{"field": "name", "from": "Acme", "to": "Acme Ltd"}],
        },
        {
            "resource": {"type": "environment", "id": stage, "name": "Stage"},
            "change": "created",
            "fields": [
                {"field": "mode", "from": null, "to": "live"},
                {"field": "name", "from": null, "to": "Stage"},
                {"field": "slug", "from": null, "to": "stage"},
            ],
        },
        {
            "resource": {"type": "config", "id": dev, "name": "REGION"},
            "change": "updated",
            "fields": [{"field": "value", "from": "north", "to": "south"}],
        },
    ]);
    assert_eq!(body["data"], expected);
    assert_eq!((&body["from_version"], &body["to_version"]), (&json!(from), &json!(from + 3)));
    assert_eq!(body["omitted"], json!([]));

    let mut paged = Vec::new();
    let mut page = server.get(&format!("/v1/diff?from={from}&limit=1"), &owner).await.is(200).json();
    server.patch("/v1/general", &owner, &json!({"name": "Acme GmbH"})).await.is(200);
    loop {
        paged.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = server.get(&format!("/v1/diff?cursor={cursor}&limit=1"), &owner).await.is(200).json();
    }
    assert_eq!(Value::from(paged), expected, "the pages are of one comparison");

    let only = format!("/v1/diff?from={from}&to={}&resource={dev}/REGION", from + 3);
    assert_eq!(server.get(&only, &owner).await.is(200).json()["data"], json!([expected[2]]));
    let same = server.get(&format!("/v1/diff?from={from}&to={from}"), &owner).await.is(200).json();
    assert_eq!(same["data"], json!([]));
}
