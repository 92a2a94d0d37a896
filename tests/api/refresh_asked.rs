//! `POST /v1/connections/{con}/refresh`: who asked is recorded, once for each request, and nobody waits for ever.

use reqwest::Method;
use serde_json::{Value, json};

use crate::consent::Acme;
use crate::server::Answer;

/// A connection, and where its refresh is asked for.
async fn connected(acme: &Acme) -> (String, String) {
    let connection = acme.connected("crm").await;
    let path = format!("/v1/connections/{connection}/refresh");
    (connection, path)
}

async fn ask(acme: &Acme, path: &str, headers: &[(&str, &str)]) -> Answer {
    acme.server.send(Method::POST, path, &acme.owner, headers, &json!({})).await
}

/// How often the provider was asked for another token.
fn refreshes(acme: &Acme) -> usize {
    let asked = acme.provider.asked();
    asked.iter().filter(|asked| asked.field("grant_type") == Some("refresh_token")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_and_why_is_recorded_beside_what_came_of_it() {
    let acme = Acme::new().await;
    let (connection, path) = connected(&acme).await;
    let headers = [("settled-reason", "leaked")];
    assert_eq!(ask(&acme, &path, &headers).await.is(200).json()["credential_version"], 2);
    let rows = acme.server.audit(&acme.owner, &format!("&resource={connection}")).await;
    let told = |row: &Value| (row["action"].clone(), row["user"]["kind"].clone());
    assert_eq!(told(&rows[0]), (json!("credential.token_refresh"), json!("system")));
    assert_eq!(told(&rows[1]), (json!("connection.refresh"), json!("person")));
    assert_eq!(rows[1]["reason"], "leaked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_asks_for_nothing_more() {
    let acme = Acme::manual().await;
    let (_, path) = connected(&acme).await;
    let key = [("idempotency-key", "once")];
    assert_eq!(ask(&acme, &path, &key).await.is(200).json()["credential_version"], 2);
    acme.server.advance(60);
    let again = ask(&acme, &path, &key).await.is(200);
    assert_eq!(again.header("idempotency-replayed").as_deref(), Some("true"));
    assert_eq!((&again.json()["credential_version"], refreshes(&acme)), (&json!(2), 1));
    assert_eq!(ask(&acme, &path, &[]).await.is(200).json()["credential_version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_right_after_a_refresh_has_it() {
    let acme = Acme::manual().await;
    let (_, path) = connected(&acme).await;
    ask(&acme, &path, &[]).await.is(200);
    let version = acme.server.version(acme.owner.organization);
    assert_eq!(ask(&acme, &path, &[]).await.is(200).json()["credential_version"], 2);
    assert_eq!((acme.server.version(acme.owner.organization), refreshes(&acme)), (version, 1));
    acme.server.advance(10);
    assert_eq!(ask(&acme, &path, &[]).await.is(200).json()["credential_version"], 3);
}

/// What the provider has handed out cannot be recorded: the refresh goes on, and is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever() {
    let acme = Acme::manual().await;
    let (connection, path) = connected(&acme).await;
    acme.provider.answers(false);
    let hands = acme.server.hands.as_ref().unwrap();
    let meanwhile = async {
        acme.server.eventually(|| async { refreshes(&acme) == 1 }).await;
        hands.jump(-3_600);
        acme.provider.answers(true);
        acme.server.advance(15);
    };
    let (waited, ()) = tokio::join!(ask(&acme, &path, &[]), meanwhile);
    assert_eq!(waited.header("retry-after").as_deref(), Some("5"));
    waited.is_problem(503, "refresh_under_way");
    hands.jump(3_600);
    // Whoever asks again joins it, whichever came first, the answer or the provider's time.
    let recorded = || async {
        acme.server.advance(5);
        let shown = acme.show(&connection).await;
        shown["credential_version"] == 2 || shown["cause"] == "timed_out"
    };
    acme.server.eventually(recorded).await;
    assert_eq!(refreshes(&acme), 1);
}
