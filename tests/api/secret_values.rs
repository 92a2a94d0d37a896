//! `/v1/secrets/{sec}/reveal`, `…/versions` and `…/rollback`: values are sealed, versioned, shown on request alone, and can
//! be destroyed.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use settled::settings::roles::role::SystemRole;

use crate::secrets::{acme, id, keys, reveal, secret, value};
use crate::server::text;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_leaves_by_being_revealed_alone_and_each_time_is_recorded_before() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "first \u{1f511}\n").await;
    server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
    let before = server.version(owner.organization);
    // A key that would replay another answer means nothing here.
    let key = [("idempotency-key", "k")];
    let url = format!("{path}/reveal");
    for count in 1..=3 {
        let shown = server.send(Method::POST, &url, &owner, &key, &json!({})).await.is(200);
        assert_eq!(shown.json(), json!({"value": "second", "value_version": 2}));
        assert_eq!((shown.version(), shown.header("idempotency-replayed")), (before + count, None));
        assert_eq!(shown.header("cache-control").as_deref(), Some("no-store"));
    }
    let first = reveal(&server, &owner, &path, &json!({"version": 1})).await.is(200);
    assert_eq!(first.json(), json!({"value": "first \u{1f511}\n", "value_version": 1}));
    let unknown = reveal(&server, &owner, &path, &json!({"version": 3})).await;
    assert_eq!(unknown.is_problem(422, "invalid_request")["errors"][0]["pointer"], "/version");
    let rows = server.audit(&owner, "&action=secret.reveal").await;
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0]["resource"]["name"], &rows[0]["resource"]["type"]), (&json!("A"), &json!("secret")));
    assert_eq!(server.version(owner.organization), before + 4);
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    server.get(&path, &viewer).await.is(200);
    let refused = reveal(&server, &viewer, &path, &json!({})).await.is_problem(403, "forbidden");
    assert_eq!(refused["permission"], "secret:reveal");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_a_value_makes_a_version_also_where_it_is_the_same() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "same").await;
    let made = server.get(&path, &owner).await.is(200);
    for number in 2..=3 {
        let written = server.patch(&path, &owner, &json!({"value": "same"})).await.is(200);
        assert_eq!(written.json()["value_version"], number);
        assert_ne!(written.etag(), made.etag());
    }
    let page = server.get(&format!("{path}/versions?limit=2"), &owner).await.is(200).json();
    let cursor = text(&page["next_cursor"]);
    let rest = server.get(&format!("{path}/versions?cursor={cursor}"), &owner).await.is(200).json();
    let all: Vec<&Value> =
        [&page, &rest].into_iter().flat_map(|page| page["data"].as_array().unwrap()).collect();
    assert_eq!(all.iter().map(|row| row["version"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    for row in all {
        assert_eq!((&row["destroyed"], &row["copied_from"]), (&json!(false), &Value::Null));
        assert_eq!((&row["by"]["id"], &row["by"]["name"]), (&json!(owner.person), &json!("Olive Owner")));
    }
    server.get(&format!("{path}/versions?limit=0"), &owner).await.is_problem(422, "invalid_request");
    let unknown = "/v1/secrets/sec_01kqxk5rd0e5xrpzzv0jjq4zgn/versions?limit=0";
    server.get(unknown, &owner).await.is_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_told_says_whether_a_value_is_as_it_was() {
    let (server, owner) = acme().await;
    let mut all = Vec::new();
    for written in ["as it was", "another1"] {
        let path = secret(&server, &owner, "A", "as it was").await;
        let before = server.version(owner.organization);
        let import =
            json!({"secrets": [{"name": "A", "value": written}], "overwrite": true, "dry_run": true});
        let import = server.post("/v1/environments/dev/secrets/import", Some(&owner), &import).await.is(200);
        server.patch(&path, &owner, &json!({"value": written})).await.is(200);
        let history = server.get(&format!("/v1/history/{}", id(&path)), &owner).await.is(200);
        let diff = format!("/v1/diff?from={before}&resource={}", id(&path));
        let diff = server.get(&diff, &owner).await.is(200);
        let restore = json!({"as_of": before, "scope": {"resource": id(&path)}, "dry_run": true});
        let restore = server.post("/v1/restore", Some(&owner), &restore).await.is(200);
        let events = server.get(&format!("/v1/events?after={before}"), &owner).await.is(200).json();
        let sealed = text(&events["data"][0]["data"]["value"]["data"]).len();
        let [import, history, diff, restore] = [import, history, diff, restore].map(|answer| answer.json());
        let (told, steps) = (&history["data"][0], restore["steps"].as_array().unwrap());
        assert_eq!((&told["action"], steps.len()), (&json!("secret.update"), 1));
        let step = (steps[0]["action"].clone(), steps[0]["from"].clone(), steps[0]["to"].clone());
        all.push((
            import["secrets"].clone(),
            told["changes"].clone(),
            diff["data"][0]["fields"].clone(),
            step,
            sealed,
        ));
        server.post(&format!("{path}/destroy"), Some(&owner), &json!({})).await.is(204);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_compare_and_sets_at_once_one_wins() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "start").await;
    let tag = server.get(&path, &owner).await.is(200).etag();
    let writes = (0..100).map(|number| {
        let (server, owner, path, tag) = (&server, &owner, &path, &tag);
        async move {
            let body = json!({"value": format!("value {number}")});
            let answer = server.send(Method::PATCH, path, owner, &[("if-match", tag)], &body).await;
            (number, answer)
        }
    });
    let answers = join_all(writes).await;
    let winners: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(winners[0].1.json()["value_version"], 2);
    assert_eq!(value(&server, &owner, &path).await, format!("value {}", winners[0].0));
    for (_, answer) in answers.into_iter().filter(|(_, answer)| answer.status != 200) {
        answer.is_problem(412, "precondition_failed");
    }
    // The losers' keys went with them.
    let versions = server.get(&format!("{path}/versions"), &owner).await.json();
    assert_eq!(versions["data"].as_array().unwrap().len(), 2);
    assert_eq!(keys(&server, &owner), 2 + 2, "the organization's, the Owner's, and two values'");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_value_comes_back_under_a_key_of_its_own() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "first").await;
    server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
    let rollback = |to: u64| {
        let (server, owner, url) = (&server, &owner, format!("{path}/rollback"));
        async move { server.post(&url, Some(owner), &json!({"to_version": to})).await }
    };
    let back = rollback(1).await.is(200);
    assert_eq!(back.json()["value_version"], 3);
    assert_eq!(value(&server, &owner, &path).await, "first");
    assert_eq!(rollback(1).await.is(200).json(), back.json(), "it is so already");
    assert_eq!(rollback(9).await.is_problem(422, "invalid_request")["errors"][0]["pointer"], "/to_version");
    let versions = server.get(&format!("{path}/versions"), &owner).await.json();
    let sec = id(&path);
    assert_eq!(versions["data"][2]["copied_from"], json!({"resource": sec, "value_version": 1}));
    // What was copied does not go with its origin.
    let destroyed = server.post(&format!("{path}/versions/1/destroy"), Some(&owner), &json!({})).await;
    destroyed.is(200);
    assert_eq!(value(&server, &owner, &path).await, "first");
    rollback(1).await.is_problem(409, "version_destroyed");
    for (action, body) in [("rollback", json!({"to_version": 1})), ("reveal", json!({"version": 1}))] {
        let url = format!("{path}/{action}");
        let stale = server.send(Method::POST, &url, &owner, &[("if-match", "\"0-1\"")], &body).await;
        stale.is_problem(412, "precondition_failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_destroyed_is_gone_with_its_key() {
    let (server, owner) = acme().await;
    let path = secret(&server, &owner, "A", "first").await;
    let without = keys(&server, &owner) - 1;
    server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
    let destroy = |number: &str| {
        let (server, owner, url) = (&server, &owner, format!("{path}/versions/{number}/destroy"));
        async move { server.post(&url, Some(owner), &json!({})).await }
    };
    for number in ["3", "0", "01", "x"] {
        destroy(number).await.is_problem(404, "not_found");
    }
    let done = destroy("1").await.is(200);
    assert_eq!(done.json()["value_destroyed"], false);
    assert_eq!(destroy("1").await.is(200).version(), done.version(), "once");
    assert_eq!(keys(&server, &owner), without + 1);
    reveal(&server, &owner, &path, &json!({"version": 1})).await.is_problem(409, "version_destroyed");
    assert_eq!(value(&server, &owner, &path).await, "second");
    assert_eq!(destroy("2").await.is(200).json()["value_destroyed"], true);
    reveal(&server, &owner, &path, &json!({})).await.is_problem(409, "version_destroyed");
    assert_eq!(keys(&server, &owner), without);
    server.patch(&path, &owner, &json!({"value": "third"})).await.is(200);
    server.delete(&path, &owner).await.is(204);
    let url = format!("{path}/destroy");
    server.post(&url, Some(&owner), &json!({})).await.is(204);
    assert_eq!(keys(&server, &owner), without);
    server.post(&url, Some(&owner), &json!({})).await.is_problem(404, "not_found");
    server.post(&format!("{path}/undelete"), Some(&owner), &json!({})).await.is_problem(404, "not_found");
    let deleted = server.get("/v1/secrets?status=deleted", &owner).await.is(200).json();
    assert_eq!(deleted["data"], json!([]));
    let developer = server.add_with_role(owner.organization, SystemRole::Developer).await;
    let path = secret(&server, &developer, "A", "again").await;
    let refused = server.post(&format!("{path}/destroy"), Some(&developer), &json!({})).await;
    assert_eq!(refused.is_problem(403, "forbidden")["permission"], "secret:destroy");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_destroyed_while_it_is_read_is_refused_and_no_failure_of_ours() {
    let (server, owner) = acme().await;
    for round in 0..40 {
        let path = secret(&server, &owner, &format!("N_{round}"), "first").await;
        let then = server.version(owner.organization);
        server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
        let post = |suffix: &'static str, body: Value| {
            let (server, owner, url) = (&server, &owner, format!("{path}{suffix}"));
            async move { server.post(&url, Some(owner), &body).await }
        };
        let gone = if round % 2 == 0 { "/versions/1/destroy" } else { "/destroy" };
        let restore = json!({"as_of": then, "scope": {"resource": id(&path)}});
        let any = [("if-match", "*")];
        let (shown, rolled_back, restored, gone) = tokio::join!(
            post("/reveal", json!({"version": 1})),
            post("/rollback", json!({"to_version": 1})),
            server.send(Method::POST, "/v1/restore", &owner, &any, &restore),
            post(gone, json!({})),
        );
        assert!(gone.status < 300, "{}", gone.text);
        if restored.status != 200 {
            restored.is_problem(409, "stale");
        }
        for answer in [shown, rolled_back] {
            match answer.status {
                200 => {}
                404 => drop(answer.is_problem(404, "not_found")),
                _ => drop(answer.is_problem(409, "version_destroyed")),
            }
        }
    }
}
