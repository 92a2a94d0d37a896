//! Many access tokens due at once, and a server that is killed amid refreshing them: each is refreshed once a time that it
//! ends, or again after a kill, and none is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Login, Server, Start, scale, text};
use crate::provider::Provider;

/// How long the provider's tokens are good, in seconds: they are refreshed after eight or nine of them.
const LIFETIME_SECONDS: u64 = 10;
/// How often the server is killed.
const KILLS: usize = 3;

/// Somebody consents, by a link to a page.
async fn consent(connect_url: &str) {
    let http = settled::client::http::plain().timeout(Duration::from_secs(60)).build().unwrap();
    let pressed = http.post(connect_url).header("sec-fetch-site", "same-origin").send().await.unwrap();
    let set = pressed.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    let page = pressed.text().await.unwrap();
    let url = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    let url = url::Url::parse(&url.replace("&#38;", "&").replace("&amp;", "&")).unwrap();
    let of = |name: &str| {
        let mut all = url.query_pairs();
        all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    let back = format!("{}?state={}&code=good", of("redirect_uri"), of("state"));
    let told = http.get(back).header("cookie", cookie).send().await.unwrap();
    assert_eq!(told.status(), 200);
}

/// All connections, each page's.
async fn connections(server: &Server, login: &Login) -> Vec<Value> {
    let mut path = "/v1/connections?limit=200".to_owned();
    let mut all = Vec::new();
    loop {
        let (status, page) = server.call(login, "GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        all.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { return all };
        path = format!("/v1/connections?limit=200&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_kills() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--oauth-allow-loopback"]);
    let mut server = start.serve();
    let login = server.set_up().await;
    let provider = Provider::start(Some(LIFETIME_SECONDS)).await;
    let app = json!({
        "provider": "custom", "client_id": "settled", "client_secret": "secret",
        "authorize_url": format!("{}/authorize", provider.base), "token_url": format!("{}/token", provider.base),
    });
    let (status, app) = server.call(&login, "POST", "/v1/oauth-apps", Some(app)).await;
    assert_eq!(status, 201, "{app}");
    let count = 25 * scale() as usize;
    for number in 0..count {
        let body = json!({"oauth_app": app["id"], "environment": "prod", "name": format!("c-{number}")});
        let (status, made) = server.call(&login, "POST", "/v1/connections", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        consent(&text(&made["connect_url"])).await;
    }
    for _ in 0..KILLS {
        // Amid whatever refreshes are under way by then.
        tokio::time::sleep(Duration::from_secs(LIFETIME_SECONDS)).await;
        server.process.kill();
        server = start.serve();
    }
    let login = server.log_in().await;
    // What was due meanwhile is refreshed by and by: every connection is alive, with a token beyond its first.
    let mut alive = 0;
    for _ in 0..1_200 {
        let all = connections(&server, &login).await;
        let is_alive = |connection: &&Value| {
            connection["status"] == "connected" && connection["credential_version"].as_u64() > Some(1)
        };
        alive = all.iter().filter(is_alive).count();
        if alive == count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(alive, count, "within two minutes");
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for asked in provider.asked() {
        if let Some(token) = asked.field("refresh_token") {
            *uses.entry(token.to_owned()).or_default() += 1;
        }
    }
    assert!(uses.len() >= count, "{} refresh tokens were used", uses.len());
    assert!(uses.values().all(|uses| *uses <= 1 + KILLS), "again after a kill alone: {uses:?}");
    let again = uses.values().filter(|uses| **uses > 1).count();
    assert!(again <= KILLS * 32, "{again}: no more than were under way at once");
}
