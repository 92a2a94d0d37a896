//! What a provider may answer to a code: nothing of it is shown, believed or followed, and nobody is connected.

use serde_json::json;

use crate::consent::{Acme, Browser};
use crate::server::Answer;

/// What a provider may put into anything that it says.
const SECRET: &str = "Zq7leaked";

/// Somebody comes back to a provider that answers this.
async fn coming_back(acme: &Acme, path: &str, answer: Vec<u8>) -> Answer {
    let mut browser = Browser::default();
    let state = acme.go(path, &mut browser).await.parameter("state");
    acme.provider.says_raw(answer);
    acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await
}

fn says(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// A provider that answers this connects nobody, and nothing of it gets anywhere.
async fn comes_to_nothing(answer: Vec<u8>) {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let told = coming_back(&acme, &path, answer).await.is(502);
    assert!(!told.text.contains(SECRET) && told.text.contains("Not connected"), "{}", told.text);
    assert_eq!(acme.show(&connection).await["status"], "pending");
    let rows = acme.server.audit(&acme.owner, "").await;
    assert!(!json!(rows).to_string().contains(SECRET));
    assert_eq!(acme.provider.asked().len(), 1, "it was asked once, and nothing was followed");
    // The link is good still, and so is a provider that thinks better of it.
    acme.consent(&path).await;
    assert_eq!(acme.show(&connection).await["status"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn html() {
    let page = format!("<html><body>{SECRET}</body></html>");
    comes_to_nothing(says("200 OK", "content-type: text/html\r\n", &page)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_with_secrets_in_it() {
    let error = json!({"error": "invalid_client", "error_description": SECRET, "client_secret": SECRET});
    comes_to_nothing(says("401 Unauthorized", "", &error.to_string())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_called_a_success() {
    let error = json!({"ok": false, "error": SECRET, "access_token": SECRET});
    comes_to_nothing(says("200 OK", "", &error.to_string())).await;
}

/// RFC 6749 §7.1: what is no bearer token programs are told is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_of_no_use_to_whoever_has_it() {
    let token = json!({"access_token": SECRET, "token_type": "DPoP", "refresh_token": SECRET});
    comes_to_nothing(says("200 OK", "", &token.to_string())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_its_own() {
    comes_to_nothing(says("500 Oops", "", SECRET)).await;
}

/// RFC 9700 §4.12: a code and a secret that are posted are posted nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn redirects() {
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        comes_to_nothing(says(status, "location: /stolen\r\n", "")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_anybody_reads() {
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{}", "a".repeat(100_000));
    comes_to_nothing(huge.into_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http() {
    comes_to_nothing(format!("SSH-2.0-{SECRET}\r\n").into_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_within_ten_seconds() {
    let acme = Acme::manual().await;
    let (connection, path) = acme.connection("crm").await;
    acme.provider.answers(false);
    let late = async {
        acme.server.eventually(|| async { acme.provider.asked().len() == 1 }).await;
        acme.server.advance(10);
    };
    let (told, ()) = tokio::join!(coming_back(&acme, &path, says("200 OK", "", "{}")), late);
    told.is(502);
    assert_eq!(acme.show(&connection).await["status"], "pending");
}

/// What the browser is sent back with is the provider's, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_words() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let query = format!("state={state}&error=access_denied&error_description={SECRET}&code={SECRET}");
    let told = acme.back(&browser, &acme.app, &query).await.is(400);
    assert!(!told.text.contains(SECRET), "{}", told.text);
    assert_eq!(
        (acme.provider.asked().len(), &acme.show(&connection).await["status"]),
        (0, &json!("pending"))
    );
}
