//! Connections with canaries in all that is held, handed out and said about them: some stay, one is ended.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::Client;
use crate::provider::Provider;
use crate::server::text;

/// What programs read of connections.
pub(super) const READ: [&str; 4] =
    ["access token", "connection token", "connection user", "connection password"];

/// Connections are made, consented to, refreshed or not, and ended.
pub(super) async fn connections_come_and_go(client: &mut Client<'_>, token: &str) {
    held(client, token).await;
    let provider = Provider::start(Some(3_600)).await;
    let app = app_at(client, token, &provider).await;
    for name in ["stays", "goes"] {
        let connection = consented(client, token, &provider, &app, name).await;
        let path = format!("/v1/connections/{connection}");
        provider.says(401, &error(client));
        client.post_anew(&format!("{path}/refresh"), token, &json!({})).await.is(200);
        provider.says(200, &tokens(client));
        let refreshed = client.post_anew(&format!("{path}/refresh"), token, &json!({})).await.is(200).json();
        assert_eq!(refreshed["credential_version"], 2);
        if name == "goes" {
            provider.says(500, &error(client));
            client.send(client.request(Method::DELETE, &path, Some(token)), &[]).await.is(204);
        }
    }
}

/// Credentials that somebody has, in what is taken and in what is refused.
async fn held(client: &Client<'_>, token: &str) {
    let canary = |kind: &str| client.canaries.of(kind);
    let post = async |body: Value| client.post_anew("/v1/connections", token, &body).await;
    let held =
        json!({"kind": "token", "name": "held", "token": canary("connection token"), "environment": "dev"});
    let path =
        format!("/v1/connections/{}", text(&post(held.clone()).await.is(201).json()["connection"]["id"]));
    post(held).await.is(409);
    let (user, password) = (canary("connection user"), canary("connection password"));
    post(json!({"kind": "basic", "name": "pair", "username": user, "password": password, "environment": "dev"}))
        .await
        .is(201);
    post(json!({"kind": "token", "name": user, "password": password, "environment": "dev"})).await.is(422);
    post(json!({"kind": "token", "name": "x", "token": [canary("connection token")], "environment": "dev"}))
        .await
        .is(422);
    for (body, status) in [
        (json!({"token": canary("connection token")}), 200),
        (json!({"username": user, "password": password}), 409),
        (json!({"password": password}), 422),
    ] {
        let request = client.request(Method::PATCH, &path, Some(token)).json(&body);
        client.send(client.anew(request), &[]).await.is(status);
    }
}

async fn app_at(client: &Client<'_>, token: &str, provider: &Provider) -> String {
    let canary = |kind: &str| client.canaries.of(kind);
    let url = |path: &str| format!("{}/{path}", provider.base);
    let app = json!({"provider": "custom", "client_id": "settled", "client_secret": canary("client secret"),
        "authorize_url": url("authorize"), "token_url": url("token"), "revoke_url": url("revoke")});
    let app = text(&client.post_anew("/v1/oauth-apps", token, &app).await.is(201).json()["id"]);
    for body in [
        json!({"client_secret": [canary("client secret")]}),
        json!({"token_url": format!("http://10.0.0.1/{}", canary("client secret"))}),
    ] {
        let request =
            client.request(Method::PATCH, &format!("/v1/oauth-apps/{app}"), Some(token)).json(&body);
        client.send(client.anew(request), &[]).await.is(422);
    }
    app
}

/// What the provider hands out.
fn tokens(client: &Client<'_>) -> String {
    let canary = |kind: &str| client.canaries.of(kind);
    let tokens = json!({"access_token": canary("access token"), "refresh_token": canary("refresh token"),
        "expires_in": 3_600, "scope": "read", "id_token": canary("provider's words")});
    tokens.to_string()
}

/// What it says where it does not.
fn error(client: &Client<'_>) -> String {
    let words = client.canaries.of("provider's words");
    json!({"error": "invalid_client", "error_description": words, "error_uri": words}).to_string()
}

/// A connection to which somebody has consented, at the second attempt. What leads there is a canary from then on.
async fn consented(
    client: &mut Client<'_>,
    token: &str,
    provider: &Provider,
    app: &str,
    name: &str,
) -> String {
    let body = json!({"oauth_app": app, "environment": "dev", "name": name});
    let made = client.post_anew("/v1/connections", token, &body).await.is(201).json();
    let link = Url::parse(&text(&made["connect_url"])).unwrap().path().to_owned();
    client.send(client.request(Method::GET, &link, None), &[]).await.is(200);
    let code = client.canaries.of("code").to_owned();
    let mut state = String::new();
    for (status, answer) in [(502, (400, error(client))), (200, (200, tokens(client)))] {
        let press = client.request(Method::POST, &link, None).header("sec-fetch-site", "same-origin");
        let pressed = client.send(press, &[]).await.is(200);
        let set = pressed.header("set-cookie").unwrap();
        let cookie = set.split(';').next().unwrap();
        let url = pressed.text.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        let url = Url::parse(&url.replace("&#38;", "&").replace("&amp;", "&")).unwrap();
        state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        provider.says(answer.0, &answer.1);
        let back = format!("/oauth/callback/{app}?state={state}&code={code}");
        let back = client.request(Method::GET, &back, None).header("cookie", cookie);
        client.send(back, &[]).await.is(status);
    }
    let (link_kind, state_kind) =
        if name == "goes" { ("link", "state") } else { ("first link", "first state") };
    client.canaries.0.insert(link_kind, link.rsplit('/').next().unwrap().to_owned());
    client.canaries.0.insert(state_kind, state);
    text(&made["connection"]["id"])
}
