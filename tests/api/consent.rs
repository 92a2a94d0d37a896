//! Somebody who consents: Acme, its app at a provider on a real port, and a browser as far as consenting needs one.

use reqwest::Method;
use serde_json::{Value, json};
use settled::clock::{Clock, Hands, Timestamp};
use url::Url;

use crate::provider::Provider;
use crate::server::{Answer, MANUAL_START_MICROS, Somebody, TestServer, send, text};

/// Acme with an app at a provider, an environment `dev`, and a program that reads there.
pub struct Acme {
    pub server: TestServer,
    pub owner: Somebody,
    pub program: Somebody,
    pub provider: Provider,
    pub app: String,
}

/// Somebody's browser: its half of a state.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    pub cookie: Option<String>,
}

/// What a browser was sent to a provider with.
pub struct Sent {
    pub url: Url,
}

impl Sent {
    pub fn parameter(&self, name: &str) -> String {
        let mut all = self.url.query_pairs();
        all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

impl Acme {
    pub async fn new() -> Self {
        Self::with(Clock::system(), None, Some(3_600)).await
    }

    pub async fn manual() -> Self {
        let (clock, hands) = Clock::manual(Timestamp::from_micros(MANUAL_START_MICROS));
        Self::with(clock, Some(hands), Some(3_600)).await
    }

    pub async fn with(clock: Clock, hands: Option<Hands>, lifetime: Option<u64>) -> Self {
        let server = TestServer::start_with(clock, hands, &["--oauth-allow-loopback"]).await;
        let owner = server.found().await;
        server.environment(&owner, "Dev", "test").await;
        let key = json!({"name": "P", "mode": "test", "environments": ["dev"]});
        let (_, program) = server.api_key(&owner, &key).await;
        let provider = Provider::start(lifetime).await;
        let app = app_at(&server, &owner, &provider).await;
        Self { server, owner, program, provider, app }
    }

    /// A connection, and the path of its page.
    pub async fn connection(&self, name: &str) -> (String, String) {
        let body =
            json!({"oauth_app": self.app, "environment": "dev", "name": name, "scopes": ["read", "write"]});
        self.made(&body).await
    }

    /// The same, of a body.
    pub async fn made(&self, body: &Value) -> (String, String) {
        let made = self.server.post("/v1/connections", Some(&self.owner), body).await.is(201).json();
        (text(&made["connection"]["id"]), self.path_of(&made))
    }

    pub fn path_of(&self, linked: &Value) -> String {
        text(&linked["connect_url"]).strip_prefix(self.server.base()).unwrap().to_owned()
    }

    pub async fn page(&self, path: &str) -> Answer {
        send(self.server.request(Method::GET, path, None)).await
    }

    /// Presses the page's button.
    pub async fn press(&self, path: &str, browser: &mut Browser) -> Answer {
        let mut request =
            self.server.request(Method::POST, path, None).header("sec-fetch-site", "same-origin");
        if let Some(cookie) = &browser.cookie {
            request = request.header("cookie", cookie);
        }
        let answer = send(request).await;
        if let Some(set) = answer.header("set-cookie") {
            browser.cookie = set.split(';').next().map(ToOwned::to_owned);
        }
        answer
    }

    /// Goes on to the provider, as far as to its door.
    pub async fn go(&self, path: &str, browser: &mut Browser) -> Sent {
        let page = self.press(path, browser).await.is(200);
        let (_, rest) = page.text.split_once("href=\"").unwrap();
        let url = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        Sent { url: Url::parse(&url).unwrap() }
    }

    /// Comes back with what the provider says.
    pub async fn back(&self, browser: &Browser, app: &str, query: &str) -> Answer {
        let path = format!("/oauth/callback/{app}?{query}");
        let mut request = self.server.request(Method::GET, &path, None);
        if let Some(cookie) = &browser.cookie {
            request = request.header("cookie", cookie);
        }
        send(request).await
    }

    pub async fn show(&self, connection: &str) -> Value {
        self.server.get(&format!("/v1/connections/{connection}"), &self.owner).await.is(200).json()
    }

    pub async fn read(&self) -> Value {
        let answer = self.server.get("/v1/ctx?environment=dev", &self.program).await.is(200);
        answer.json()["connections"].clone()
    }

    /// A connection to which somebody has consented, by name.
    pub async fn connected(&self, name: &str) -> String {
        let (connection, path) = self.connection(name).await;
        self.consent(&path).await;
        connection
    }

    /// Somebody consents, by the path of a page.
    pub async fn consent(&self, path: &str) {
        self.consent_as(path, &self.app).await;
    }

    /// The same, to another app.
    pub async fn consent_as(&self, path: &str, app: &str) {
        let mut browser = Browser::default();
        let sent = self.go(path, &mut browser).await;
        self.back(&browser, app, &format!("state={}&code=good", sent.parameter("state"))).await.is(200);
    }
}

impl Provider {
    /// What it says next, instead of handing out tokens.
    pub fn says(&self, status: u16, body: &str) {
        let length = body.len();
        self.says_raw(format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }

    /// The same, as bytes.
    pub fn says_raw(&self, answer: impl Into<Vec<u8>>) {
        self.state().scripted.push_back(answer.into());
    }
}

/// An app at a provider.
pub async fn app_at(server: &TestServer, owner: &Somebody, provider: &Provider) -> String {
    let body = json!({
        "provider": "custom", "name": "Ours", "client_id": "settled", "client_secret": "Zq7clientsecret",
        "authorize_url": format!("{}/authorize?tenant=a", provider.base),
        "token_url": format!("{}/token", provider.base),
        "revoke_url": format!("{}/revoke", provider.base),
    });
    text(&server.post("/v1/oauth-apps", Some(owner), &body).await.is(201).json()["id"])
}
