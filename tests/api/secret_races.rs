//! `/v1/secrets` under contention and at its bounds.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::secrets::{acme, keys, secret, value};

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
async fn what_is_destroyed_while_it_is_read_is_refused_and_no_failure_of_ours() {
    let (server, owner) = acme().await;
    for round in 0..40 {
        let path = secret(&server, &owner, &format!("N_{round}"), "first").await;
        server.patch(&path, &owner, &json!({"value": "second"})).await.is(200);
        let post = |suffix: &'static str, body: Value| {
            let (server, owner, url) = (&server, &owner, format!("{path}{suffix}"));
            async move { server.post(&url, Some(owner), &body).await }
        };
        let gone = if round % 2 == 0 { "/versions/1/destroy" } else { "/destroy" };
        let (shown, back, gone) = tokio::join!(
            post("/reveal", json!({"version": 1})),
            post("/rollback", json!({"to_version": 1})),
            post(gone, json!({})),
        );
        assert!(gone.status < 300, "{}", gone.text);
        for answer in [shown, back] {
            match answer.status {
                200 => {}
                404 => drop(answer.is_problem(404, "not_found")),
                _ => drop(answer.is_problem(409, "version_destroyed")),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_more_than_a_frame_holds_is_refused_before_all_of_it_is_sealed() {
    let (server, owner) = acme().await;
    let mut paths = Vec::new();
    for number in 0..13 {
        paths.push(secret(&server, &owner, &format!("N_{number}"), &"x".repeat(60_000)).await);
    }
    let then = server.version(owner.organization);
    for path in &paths {
        server.patch(path, &owner, &json!({"value": "short"})).await.is(200);
    }
    let all = json!({"as_of": then, "scope": {"organization": true}});
    let mut dry = all.clone();
    dry["dry_run"] = json!(true);
    let any = [("if-match", "*")];
    let before = keys(&server, &owner);
    for body in [dry, all] {
        let refused = server.send(Method::POST, "/v1/restore", &owner, &any, &body).await;
        refused.is_problem(422, "too_large");
    }
    assert_eq!(keys(&server, &owner), before);
    // One by one they come back.
    let one = json!({"as_of": then, "scope": {"resource": paths[0].rsplit('/').next()}});
    server.send(Method::POST, "/v1/restore", &owner, &any, &one).await.is(200);
    assert_eq!(value(&server, &owner, &paths[0]).await.len(), 60_000);
}
