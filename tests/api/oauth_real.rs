//! The same with a provider that is not ours: oauth2-mock-server, which checks PKCE and signs its tokens.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use settled::clock::Clock;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::server::{TestServer, text};
use crate::tools::installed;

/// The provider, as a process that ends with this.
struct Real {
    base: String,
    _process: Child,
}

impl Real {
    async fn start() -> Self {
        let mut command = Command::new(installed("oauth2mock", "oauth2-mock-server"));
        command.args(["-a", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().expect("oauth2-mock-server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let base = loop {
            let line = lines.next_line().await.expect("it tells").expect("it says where it listens");
            if let Some((_, base)) = line.split_once("listening on ") {
                break base.trim().to_owned();
            }
        };
        Self { base, _process: process }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_hands_out_refreshes_and_takes_back() {
    let server = TestServer::start_with(Clock::system(), None, &["--oauth-allow-loopback"]).await;
    let owner = server.found().await;
    server.environment(&owner, "Dev", "test").await;
    let key = json!({"name": "P", "mode": "test", "environments": ["dev"]});
    let (_, program) = server.api_key(&owner, &key).await;
    let provider = Real::start().await;
    let app = json!({
        "provider": "custom", "name": "Mock", "client_id": "settled", "client_secret": "secret",
        "authorize_url": format!("{}/authorize", provider.base),
        "token_url": format!("{}/token", provider.base),
        "revoke_url": format!("{}/revoke", provider.base),
        "client_authentication": "basic",
    });
    let app = server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201).json();
    let body = json!({"oauth_app": app["id"], "environment": "dev", "name": "mock", "scopes": ["openid"]});
    let made = server.post("/v1/connections", Some(&owner), &body).await.is(201).json();

    let http = settled::client::http::plain().timeout(Duration::from_secs(60)).build().unwrap();
    let connect_url = text(&made["connect_url"]);
    let shown = http.get(&connect_url).send().await.unwrap();
    assert_eq!(shown.status(), 200);
    let pressed = http.post(&connect_url).header("sec-fetch-site", "same-origin").send().await.unwrap();
    let cookie = pressed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = pressed.text().await.unwrap();
    let url = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    let consented = http.get(url.replace("&#38;", "&").replace("&amp;", "&")).send().await.unwrap();
    assert_eq!(consented.status(), 302, "it consents at once");
    let back = consented.headers()["location"].to_str().unwrap().to_owned();
    assert!(back.starts_with(&text(&app["redirect_uri"])), "{back}");
    let told = http.get(&back).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(told.status(), 200);

    let read = async || {
        let answer = server.get("/v1/ctx?environment=dev", &program).await.is(200);
        answer.json()["connections"].clone()
    };
    let first = text(&read().await["mock"]["access_token"]);
    assert_eq!(first.split('.').count(), 3, "a signed token");
    let path = format!("/v1/connections/{}", text(&made["connection"]["id"]));
    let refreshed = server.post(&format!("{path}/refresh"), Some(&owner), &json!({})).await.is(200).json();
    assert_eq!((&refreshed["status"], &refreshed["credential_version"]), (&json!("connected"), &json!(2)));
    assert_eq!(text(&read().await["mock"]["access_token"]).split('.').count(), 3);
    server.delete(&path, &owner).await.is(204);
    assert_eq!(read().await, json!({}));
}
