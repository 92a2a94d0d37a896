//! Consenting, from the link to the token that a program reads: with a provider on a real port, and everything that somebody
//! on the way may try (RFC 9700 §4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use settled::clock::{Clock, Timestamp};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::provider::Provider;
use crate::server::{Answer, MANUAL_START_MICROS, Somebody, TestServer, send, text};

/// Acme with an app at a provider, an environment `dev`, and a program that reads there.
pub struct Acme {
    pub server: TestServer,
    pub owner: Somebody,
    program: Somebody,
    pub provider: Provider,
    app: String,
}

/// Somebody's browser: its half of a state.
#[derive(Clone, Debug, Default)]
struct Browser {
    cookie: Option<String>,
}

/// What a browser was sent to a provider with.
struct Sent {
    url: Url,
}

impl Sent {
    fn parameter(&self, name: &str) -> String {
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

    async fn with(clock: Clock, hands: Option<settled::clock::Hands>, lifetime: Option<u64>) -> Self {
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
    async fn connection(&self, name: &str) -> (String, String) {
        let body =
            json!({"oauth_app": self.app, "environment": "dev", "name": name, "scopes": ["read", "write"]});
        let made = self.server.post("/v1/connections", Some(&self.owner), &body).await.is(201).json();
        (text(&made["connection"]["id"]), self.path_of(&made))
    }

    pub fn path_of(&self, linked: &Value) -> String {
        text(&linked["connect_url"]).strip_prefix(self.server.base()).unwrap().to_owned()
    }

    async fn page(&self, path: &str) -> Answer {
        send(self.server.request(Method::GET, path, None)).await
    }

    /// Presses the page's button.
    async fn press(&self, path: &str, browser: &mut Browser) -> Answer {
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
    async fn go(&self, path: &str, browser: &mut Browser) -> Sent {
        let page = self.press(path, browser).await.is(200);
        let (_, rest) = page.text.split_once("href=\"").unwrap();
        let url = rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        Sent { url: Url::parse(&url).unwrap() }
    }

    /// Comes back with what the provider says.
    async fn back(&self, browser: &Browser, app: &str, query: &str) -> Answer {
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

pub async fn app_at(server: &TestServer, owner: &Somebody, provider: &Provider) -> String {
    let body = json!({
        "provider": "custom", "name": "Ours", "client_id": "settled", "client_secret": "Zq7clientsecret",
        "authorize_url": format!("{}/authorize?tenant=a", provider.base),
        "token_url": format!("{}/token", provider.base),
        "revoke_url": format!("{}/revoke", provider.base),
    });
    text(&server.post("/v1/oauth-apps", Some(owner), &body).await.is(201).json()["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_becomes_a_token_that_a_program_reads() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let page = acme.page(&path).await.is(200);
    for named in ["Acme", "Ours", "Dev", "crm", "<code>read</code>", "<code>write</code>", "127.0.0.1"] {
        assert!(page.text.contains(named), "{named}: {}", page.text);
    }
    let mut browser = Browser::default();
    let sent = acme.go(&path, &mut browser).await;
    assert!(
        sent.url.as_str().starts_with(&format!("{}/authorize?tenant=a&", acme.provider.base)),
        "{}",
        sent.url
    );
    assert_eq!(sent.parameter("response_type"), "code");
    assert_eq!(sent.parameter("client_id"), "settled");
    assert_eq!(sent.parameter("scope"), "read write");
    assert_eq!(sent.parameter("code_challenge_method"), "S256");
    let redirect_uri = format!("{}/oauth/callback/{}", acme.server.base(), acme.app);
    assert_eq!(sent.parameter("redirect_uri"), redirect_uri);
    assert_eq!(acme.show(&connection).await["status"], "pending");

    let told = acme.back(&browser, &acme.app, &format!("state={}&code=c%26d", sent.parameter("state"))).await;
    assert!(told.is(200).text.contains("Connected"));
    let [asked] = &acme.provider.asked()[..] else { panic!("one request") };
    assert_eq!((asked.field("grant_type"), asked.field("code")), (Some("authorization_code"), Some("c&d")));
    assert_eq!(asked.field("redirect_uri"), Some(&*redirect_uri));
    assert_eq!(asked.field("client_secret"), Some("Zq7clientsecret"));
    let verifier = asked.field("code_verifier").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())), sent.parameter("code_challenge"));

    let shown = acme.show(&connection).await;
    assert_eq!((&shown["status"], &shown["credential_version"]), (&json!("connected"), &json!(1)));
    assert!(!shown.to_string().contains("Zq7"), "{shown}");
    let read = acme.read().await;
    assert_eq!(read["crm"]["access_token"], "Zq7access1");
    assert_eq!(read["crm"]["expires_at"], shown["expires_at"]);
    assert!(!read.to_string().contains("refresh"), "{read}");
    let rows = acme.server.audit(&acme.owner, "&action=connection.connect").await;
    assert_eq!((rows.len(), &rows[0]["user"]["kind"]), (1, &json!("system")));

    // The link is used up; the connection goes, and its token is given back.
    acme.page(&path).await.is(404);
    let path = format!("/v1/connections/{connection}");
    acme.server.delete(&path, &acme.owner).await.is(204);
    let asked = acme.provider.asked().pop().unwrap();
    assert_eq!((asked.path.as_str(), asked.field("token")), ("/revoke", Some("Zq7refresh1")));
    assert_eq!(acme.read().await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_run_nothing_show_in_no_frame_and_tell_nobody_where_one_came_from() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let (shown, pressed) = (acme.page(&path).await.is(200), acme.press(&path, &mut browser).await.is(200));
    let lost = acme.page("/connect/nothing").await.is(404);
    let back = acme.back(&browser, &acme.app, "state=a&code=b").await.is(400);
    for page in [&shown, &pressed, &lost, &back] {
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(page.header("x-frame-options").as_deref(), Some("DENY"));
        assert_eq!(page.header("referrer-policy").as_deref(), Some("no-referrer"));
        assert_eq!(page.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(page.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
        for outside in ["<script", "src=", "<link", "<style", "<iframe"] {
            assert!(!page.text.contains(outside), "{}", page.text);
        }
    }
    let set = pressed.header("set-cookie").unwrap();
    for part in ["__Host-settled-connect=", "; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(shown.header("set-cookie"), None, "looking changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_text_on_the_page() {
    let acme = Acme::new().await;
    let name = "<script>alert(1)</script>\"'&";
    acme.server.patch("/v1/general", &acme.owner, &json!({"name": name})).await.is(200);
    acme.server
        .patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &json!({"name": name}))
        .await
        .is(200);
    let body = json!({"oauth_app": acme.app, "environment": "dev", "name": "x", "scopes": ["<b>"]});
    let made = acme.server.post("/v1/connections", Some(&acme.owner), &body).await.is(201).json();
    let page = acme.page(&acme.path_of(&made)).await.is(200);
    assert!(!page.text.contains("<script") && !page.text.contains("<b>"), "{}", page.text);
    assert!(page.text.contains("alert(1)"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_here_and_in_its_browser() {
    let acme = Acme::manual().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = async |browser: &mut Browser| acme.go(&path, browser).await.parameter("state");
    // Missing, and one that never was.
    acme.back(&browser, &acme.app, "code=good").await.is(400);
    acme.back(&browser, &acme.app, "state=AAAA&code=good").await.is(400);
    // In another browser, and in none; with that it is used.
    let first = state(&mut browser).await;
    let mut other = Browser::default();
    state(&mut other).await;
    acme.back(&other, &acme.app, &format!("state={first}&code=good")).await.is(403);
    acme.back(&browser, &acme.app, &format!("state={first}&code=good")).await.is(400);
    let second = state(&mut browser).await;
    acme.back(&Browser::default(), &acme.app, &format!("state={second}&code=good")).await.is(403);
    // Too late.
    let third = state(&mut browser).await;
    acme.server.advance(600);
    acme.back(&browser, &acme.app, &format!("state={third}&code=good")).await.is(400);
    // Twice in one request.
    let fourth = state(&mut browser).await;
    acme.back(&browser, &acme.app, &format!("state={fourth}&state={fourth}&code=good")).await.is(400);
    acme.back(&browser, &acme.app, &format!("state={fourth}&code=a&code=b")).await.is(400);
    assert_eq!(acme.provider.asked().len(), 0, "no code went to the provider");
    assert_eq!(acme.show(&connection).await["status"], "pending");
    // And then as it should be; once more it is good for nothing.
    acme.back(&browser, &acme.app, &format!("state={fourth}&code=good")).await.is(200);
    acme.back(&browser, &acme.app, &format!("state={fourth}&code=good")).await.is(400);
    assert_eq!(acme.provider.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_app_was_told_is_nothing_to_another() {
    let acme = Acme::new().await;
    let evil = Provider::start(None).await;
    let other = app_at(&acme.server, &acme.owner, &evil).await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    // The other one's callback gets the honest one's code.
    let state = acme.go(&path, &mut browser).await.parameter("state");
    acme.back(&browser, &other, &format!("state={state}&code=honest")).await.is(400);
    // Somebody else says who they are (RFC 9207).
    for issuer in ["https://evil.example.com", &evil.base, "", "nonsense"] {
        let state = acme.go(&path, &mut browser).await.parameter("state");
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("state", state.as_str()), ("code", "honest"), ("iss", issuer)])
            .finish();
        acme.back(&browser, &acme.app, &query).await.is(400);
    }
    assert_eq!((acme.provider.asked().len(), evil.asked().len()), (0, 0), "no code was sent to anybody");
    // The provider itself may.
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let query = format!("state={state}&code=good&iss={}", acme.provider.base);
    acme.back(&browser, &acme.app, &query).await.is(200);
    assert_eq!(acme.show(&connection).await["status"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_an_app_names_is_the_only_one() {
    let acme = Acme::new().await;
    let named =
        json!({"issuer": format!("{}/issuer", acme.provider.base), "client_secret": "Zq7clientsecret"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &named).await.is(200);
    let (_, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    for (issuer, status) in [("", 400), ("/issuer/", 400), ("/issuer", 200)] {
        let state = acme.go(&path, &mut browser).await.parameter("state");
        let query = format!("state={state}&code=good&iss={}{issuer}", acme.provider.base);
        acme.back(&browser, &acme.app, &query).await.is(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_is_pressed_on_our_own_page_alone() {
    let acme = Acme::new().await;
    let (_, path) = acme.connection("crm").await;
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("accept", "text/html"),
    ] {
        let request = acme.server.request(Method::POST, &path, None).header(name, value);
        let answer = send(request).await.is(403);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let own = acme.server.request(Method::POST, &path, None).header("origin", acme.server.base());
    send(own).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_and_another_takes_its_place() {
    let acme = Acme::manual().await;
    let (connection, first) = acme.connection("crm").await;
    let again = format!("/v1/connections/{connection}/reconnect");
    let linked = acme.server.post(&again, Some(&acme.owner), &json!({})).await.is(200).json();
    let second = acme.path_of(&linked);
    acme.page(&first).await.is(404);
    acme.page(&second).await.is(200);
    // Whoever was on the way by the first one has gone for nothing.
    let mut browser = Browser::default();
    let sent = acme.go(&second, &mut browser).await;
    let linked = acme.server.post(&again, Some(&acme.owner), &json!({})).await.is(200).json();
    let third = acme.path_of(&linked);
    acme.back(&browser, &acme.app, &format!("state={}&code=good", sent.parameter("state"))).await.is(404);
    assert_eq!(acme.show(&connection).await["status"], "pending");
    acme.server.advance(30 * 60);
    acme.page(&third).await.is(404);
    acme.press(&third, &mut browser).await.is(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_changed_meanwhile_is_another() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let evil = Provider::start(None).await;
    let moved = json!({"token_url": format!("{}/token", evil.base), "client_secret": "another"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &moved).await.is(200);
    acme.back(&browser, &acme.app, &format!("state={state}&code=honest")).await.is(404);
    assert_eq!((acme.provider.asked().len(), evil.asked().len()), (0, 0));
    assert_eq!(acme.show(&connection).await["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connections_tokens_go_nowhere_once_its_apps_urls_change() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let evil = Provider::start(None).await;
    let moved = json!({"token_url": format!("{}/token", evil.base), "revoke_url": format!("{}/revoke", evil.base),
        "client_secret": "another"});
    acme.server.patch(&format!("/v1/oauth-apps/{}", acme.app), &acme.owner, &moved).await.is(200);
    assert_eq!(acme.show(&connection).await["status"], "failed");
    assert_eq!(acme.read().await, json!({}));
    let refresh = format!("/v1/connections/{connection}/refresh");
    acme.server.post(&refresh, Some(&acme.owner), &json!({})).await.is_problem(409, "not_refreshable");
    acme.server.delete(&format!("/v1/connections/{connection}"), &acme.owner).await.is(204);
    assert_eq!(evil.asked().len(), 0, "nothing was sent to the new URLs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_answers_is_neither_shown_nor_believed() {
    let acme = Acme::new().await;
    let (connection, path) = acme.connection("crm").await;
    let mut browser = Browser::default();
    let secret = "Zq7leaked";
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {}/stolen\r\ncontent-length: 0\r\n\r\n", acme.provider.base);
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{}", "a".repeat(100_000));
    for answer in [
        format!(
            "HTTP/1.1 400 Bad\r\ncontent-length: 59\r\n\r\n{{\"error\":\"invalid_grant\",\"error_description\":\"{secret}\"}}     "
        ),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 29\r\n\r\n<html><b>{secret}</b></html>   "),
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        redirect,
        huge,
        "SSH-2.0-OpenSSH\r\n".to_owned(),
    ] {
        let state = acme.go(&path, &mut browser).await.parameter("state");
        acme.provider.says_raw(answer.clone());
        let told = acme.back(&browser, &acme.app, &format!("state={state}&code=good")).await;
        assert_eq!(told.status, 502, "{answer:.60}: {}", told.text);
        assert!(!told.text.contains(secret), "{}", told.text);
    }
    // What the browser is sent back with is not shown, either.
    let state = acme.go(&path, &mut browser).await.parameter("state");
    let query = format!(
        "state={state}&error=access_denied&error_description={secret}&error_uri=https://evil.example"
    );
    let told = acme.back(&browser, &acme.app, &query).await.is(400);
    assert!(!told.text.contains(secret) && !told.text.contains("evil"), "{}", told.text);
    assert!(acme.provider.asked().iter().all(|asked| asked.path == "/token"), "no redirect was followed");
    assert_eq!(acme.show(&connection).await["status"], "pending");
    let rows = acme.server.audit(&acme.owner, "").await;
    assert!(!json!(rows).to_string().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_organizations_link_app_and_connection_are_not_there() {
    let acme = Acme::new().await;
    let connection = acme.connected("crm").await;
    let beta = json!({"name": "Beta", "timezone": "UTC"});
    let beta =
        text(&acme.server.post("/v1/organizations", Some(&acme.owner), &beta).await.is(201).json()["id"]);
    let there = Somebody { organization: beta.parse().unwrap(), ..acme.owner.clone() };
    let there = acme.server.another_session(&there).await;
    acme.server.environment(&there, "Dev", "test").await;
    let path = format!("/v1/connections/{connection}");
    acme.server.get(&path, &there).await.is_problem(404, "not_found");
    acme.server.delete(&path, &there).await.is_problem(404, "not_found");
    let body = json!({"oauth_app": acme.app, "environment": "dev"});
    acme.server.post("/v1/connections", Some(&there), &body).await.is(422);
    assert_eq!(acme.server.get("/v1/connections", &there).await.is(200).json()["data"], json!([]));
    assert_eq!(acme.show(&connection).await["status"], "connected");
}
