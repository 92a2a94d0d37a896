//! Access tokens kept alive: before they end, once, over failures, lost answers and restarts.

use serde_json::{Value, json};

use crate::consent::{Acme, app_at};
use crate::provider::{Asked, Provider};
use crate::server::text;

/// How many tokens were asked for with a refresh token.
fn refreshes(asked: &[Asked]) -> Vec<&str> {
    let of = asked.iter().filter(|asked| asked.field("grant_type") == Some("refresh_token"));
    of.filter_map(|asked| asked.field("refresh_token")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refreshed_before_it_ends_and_programs_read_the_new_one() {
    let acme = Acme::manual().await;
    let connection = acme.connected("crm").await;
    assert_eq!(acme.read().await["crm"]["access_token"], "Zq7access1");
    // It is good for an hour; it is refreshed in the last fifth of that, and not before.
    acme.server.advance(2_800);
    assert_eq!(acme.show(&connection).await["status"], "connected");
    assert_eq!(refreshes(&acme.provider.asked()), [""; 0]);
    acme.server.advance(500);
    acme.server.eventually(|| async { acme.read().await["crm"]["access_token"] == "Zq7access2" }).await;
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1"]);
    // The provider has handed out another refresh token, which is the one that is used next.
    acme.server.advance(3_300);
    acme.server.eventually(|| async { acme.read().await["crm"]["access_token"] == "Zq7access3" }).await;
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1", "Zq7refresh2"]);
    let shown = acme.show(&connection).await;
    assert_eq!((&shown["status"], &shown["credential_version"]), (&json!("connected"), &json!(3)));
    let rows = acme.server.audit(&acme.owner, "&action=credential.token_refresh").await;
    let outcomes: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["success", "success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_while_it_is_refreshed_joins() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    acme.provider.answers(false);
    let path = format!("/v1/connections/{connection}/refresh");
    let body = json!({});
    let refresh = || acme.server.post(&path, Some(&acme.owner), &body);
    let release = async {
        acme.server.eventually(|| async { refreshes(&acme.provider.asked()).len() == 1 }).await;
        acme.provider.answers(true);
    };
    let (one, other, third, ()) = tokio::join!(refresh(), refresh(), refresh(), release);
    for answer in [one, other, third] {
        assert_eq!(answer.is(200).json()["credential_version"], 2);
    }
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_and_tried_again_with_growing_pauses() {
    let acme = Acme::manual().await;
    let connection = acme.connected("crm").await;
    acme.provider.says(503, r#"{"error":"Zq7 out of order"}"#);
    acme.provider.says(500, "");
    acme.server.advance(3_300);
    let is_told = |cause: &'static str| {
        let (acme, connection) = (&acme, &connection);
        move || async move { acme.show(connection).await["cause"] == cause }
    };
    acme.server.eventually(is_told("unavailable")).await;
    let shown = acme.show(&connection).await;
    assert_eq!(shown["status"], "expiring", "it is good still");
    assert_eq!(acme.read().await["crm"]["access_token"], "Zq7access1");
    // At the latest after thirty seconds, and then after sixty.
    acme.server.advance(31);
    acme.server.eventually(|| async { refreshes(&acme.provider.asked()).len() == 2 }).await;
    let failures = || async {
        let rows = acme.server.audit(&acme.owner, "&action=credential.token_refresh&outcome=failure").await;
        assert!(!json!(rows).to_string().contains("Zq7"), "what the provider said is not recorded");
        rows.len() == 2
    };
    acme.server.eventually(failures).await;
    acme.server.advance(61);
    acme.server.eventually(|| async { acme.read().await["crm"]["access_token"] == "Zq7access2" }).await;
    let shown = acme.show(&connection).await;
    assert_eq!((&shown["status"], &shown["cause"]), (&json!("connected"), &Value::Null));
}

/// RFC 9700 §4.14.2: a provider that rotates refresh tokens may take the one before once more, as after an answer that was
/// lost; what it hands out then is the newest.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let acme = Acme::manual().await;
    let connection = acme.connected("crm").await;
    acme.provider.state().lost = 1;
    acme.server.advance(3_300);
    acme.server.eventually(|| async { acme.show(&connection).await["cause"] == "meaningless_answer" }).await;
    assert_eq!(acme.read().await["crm"]["access_token"], "Zq7access1", "it is good still");
    acme.server.advance(31);
    acme.server.eventually(|| async { acme.read().await["crm"]["access_token"] == "Zq7access3" }).await;
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1", "Zq7refresh1"]);
    let path = format!("/v1/connections/{connection}/refresh");
    acme.server.advance(10);
    acme.server.post(&path, Some(&acme.owner), &json!({})).await.is(200);
    assert_eq!(refreshes(&acme.provider.asked())[2], "Zq7refresh3", "the newest is the one that is used");
}

/// RFC 9700 §4.14.2: one that takes a refresh token once ends all of it where that comes again; then somebody has to consent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_for_good_waits_for_another_consent() {
    let acme = Acme::manual().await;
    acme.provider.state().is_strict = true;
    let connection = acme.connected("crm").await;
    acme.provider.state().lost = 1;
    acme.server.advance(3_300);
    acme.server.eventually(|| async { acme.show(&connection).await["cause"] == "meaningless_answer" }).await;
    acme.server.advance(31);
    acme.server.eventually(|| async { acme.show(&connection).await["status"] == "revoked" }).await;
    assert_eq!(acme.read().await, json!({}), "it is handed to no program");
    let again = format!("/v1/connections/{connection}/reconnect");
    let linked = acme.server.post(&again, Some(&acme.owner), &json!({})).await.is(200).json();
    acme.consent(&acme.path_of(&linked)).await;
    assert_eq!(acme.show(&connection).await["status"], "connected");
}

/// What would be lost is not asked for: a provider that rotates refresh tokens has ended the one before.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refreshed_while_nothing_can_be_recorded() {
    let acme = Acme::manual().await;
    let connection = acme.connected("crm").await;
    let path = format!("/v1/connections/{connection}/refresh");
    let hands = acme.server.hands.as_ref().unwrap();
    hands.jump(-3_600);
    let refused = acme.server.post(&path, Some(&acme.owner), &json!({})).await;
    refused.is_problem(503, "clock_jumped");
    let app = acme.server.app();
    let (handle, id) = (acme.server.handle(acme.owner.organization), connection.parse().unwrap());
    let tomorrow = app.store.clock().credible_now().plus_seconds(86_400);
    assert!(!app.refresher.refresh_due(tomorrow), "nothing is begun");
    app.refresher.join(&handle, id).await;
    // Nor is anybody asked by what was begun before.
    app.refresher.refresh(&handle, id).await;
    assert_eq!(refreshes(&acme.provider.asked()), [""; 0]);
    hands.jump(3_600);
    assert!(app.refresher.refresh_due(tomorrow));
    app.refresher.join(&handle, id).await;
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1"]);
}

/// A connection that is ended while its token is refreshed is given back what that brings, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_out_to_an_ended_connection_is_given_back() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let path = format!("/v1/connections/{connection}");
    let refresh = format!("{path}/refresh");
    acme.provider.answers(false);
    let body = json!({});
    let ending = async {
        acme.server.eventually(|| async { refreshes(&acme.provider.asked()).len() == 1 }).await;
        let release = async {
            acme.server.eventually(|| async { acme.provider.asked().len() == 3 }).await;
            acme.provider.answers(true);
        };
        let (ended, ()) = tokio::join!(acme.server.delete(&path, &acme.owner), release);
        ended.is(204);
    };
    let (refreshed, ()) = tokio::join!(acme.server.post(&refresh, Some(&acme.owner), &body), ending);
    refreshed.is_problem(404, "not_found");
    let given_back = || async {
        let asked = acme.provider.asked();
        let back =
            asked.iter().filter(|asked| asked.path == "/revoke").filter_map(|asked| asked.field("token"));
        back.collect::<Vec<_>>() == ["Zq7refresh1", "Zq7refresh2"]
    };
    acme.server.eventually(given_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_no_more_waits_for_another_one() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let path = format!("/v1/connections/{connection}");
    acme.provider.says(400, r#"{"error":"invalid_grant"}"#);
    let refreshed =
        acme.server.post(&format!("{path}/refresh"), Some(&acme.owner), &json!({})).await.is(200).json();
    assert_eq!((&refreshed["status"], &refreshed["cause"]), (&json!("revoked"), &json!("invalid_grant")));
    assert_eq!(acme.read().await, json!({}), "it is handed to no program");
    let again = acme.server.post(&format!("{path}/refresh"), Some(&acme.owner), &json!({})).await;
    again.is_problem(409, "not_refreshable");
    let linked =
        acme.server.post(&format!("{path}/reconnect"), Some(&acme.owner), &json!({})).await.is(200).json();
    acme.consent(&acme.path_of(&linked)).await;
    assert_eq!(acme.show(&connection).await["status"], "connected");
    assert_eq!(acme.read().await["crm"]["access_token"], "Zq7access2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_while_nobody_was_there_is_refreshed_at_the_next_start() {
    let mut acme = Acme::manual().await;
    let connection = acme.connected("crm").await;
    acme.server.stop().await;
    acme.server.advance(7_200);
    acme.server.start_again().await;
    // What the scheduler does within a minute.
    let app = acme.server.app();
    app.refresher.refresh_due(app.store.clock().credible_now());
    acme.server.eventually(|| async { refreshes(&acme.provider.asked()).len() == 1 }).await;
    acme.server.eventually(|| async { acme.show(&connection).await["credential_version"] == 2 }).await;
    assert_eq!(refreshes(&acme.provider.asked()), ["Zq7refresh1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_keeps_everybody_waiting_costs_others_nothing() {
    let acme = Acme::new().await;
    let slow = Provider::start(Some(3_600)).await;
    let app = app_at(&acme.server, &acme.owner, &slow).await;
    let fast = acme.connected("fast").await;
    let mut waiting = Vec::new();
    for number in 0..40 {
        let body = json!({"oauth_app": app, "environment": "dev", "name": format!("slow-{number}")});
        let made = acme.server.post("/v1/connections", Some(&acme.owner), &body).await.is(201).json();
        acme.consent_as(&acme.path_of(&made), &app).await;
        waiting.push(text(&made["connection"]["id"]));
    }
    slow.answers(false);
    let handle = acme.server.handle(acme.owner.organization);
    let refresher = &acme.server.app().refresher;
    let body = json!({});
    let path = format!("/v1/connections/{fast}/refresh");
    let mut all = tokio::task::JoinSet::new();
    for id in &waiting {
        let (refresher, handle, id) = (refresher.clone(), handle.clone(), id.parse().unwrap());
        all.spawn(async move { refresher.refresh(&handle, id).await });
    }
    let others = async {
        acme.server.eventually(|| async { refreshes(&slow.asked()).len() == 8 }).await;
        let refreshed = acme.server.post(&path, Some(&acme.owner), &body).await.is(200).json();
        assert_eq!(refreshed["credential_version"], 2);
        assert_eq!(refreshes(&slow.asked()).len(), 8, "so many are at one provider at once");
        slow.answers(true);
    };
    others.await;
    while let Some(refreshed) = all.join_next().await {
        refreshed.unwrap();
    }
    assert_eq!(refreshes(&slow.asked()).len(), 40, "each once");
}
