//! A real server in this process, on a real port, over a real store in a temporary folder, and a client of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use settled::clock::{Clock, Hands, Timestamp};
use settled::config::Config;
use settled::event::{Outcome, Recorded, Version};
use settled::http::app::App;
use settled::ids::{OrganizationId, UserId};
use settled::log::filter::Filter;
use settled::server::Server;
use settled::store::Store;
use settled::store::resident::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dns::DnsServer;
use crate::loaded::loaded;

/// The Owner's address.
pub const OWNER_EMAIL: &str = "olive@example.com";
/// Everybody's password.
pub const PASSWORD: &str = "a stroll along the quay";

/// The time at which a manual clock begins: 2026-03-02T10:20:00Z, a Monday.
pub const MANUAL_START_MICROS: i64 = 1_772_446_800_000_000;

/// Options of `serve` without a program around them.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    config: Config,
}

/// A server, its folder, and a client.
pub struct TestServer {
    pub config: Config,
    clock: Clock,
    /// Moves the clock, where it is a manual one.
    pub hands: Option<Hands>,
    http: reqwest::Client,
    /// What it asks about domains.
    pub dns: DnsServer,
    running: Option<Running>,
    dir: tempfile::TempDir,
}

struct Running {
    app: App,
    base: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<std::io::Result<()>>,
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub person: UserId,
    pub organization: OrganizationId,
    pub email: String,
    pub token: String,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl TestServer {
    /// A server with the machine's clock.
    pub async fn start() -> Self {
        Self::start_with(Clock::system(), None, &[]).await
    }

    /// A server whose clock stands still until `hands` move it.
    pub async fn start_manual() -> Self {
        let (clock, hands) = Clock::manual(Timestamp::from_micros(MANUAL_START_MICROS));
        Self::start_with(clock, Some(hands), &[]).await
    }

    /// A server with further options.
    pub async fn start_with(clock: Clock, hands: Option<Hands>, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let data = dir.path().join("data");
        let data = data.to_str().expect("a temporary folder has a plain name");
        let mut words = vec!["serve", "--data-dir", data, "--listen", "127.0.0.1:0"];
        if !options.contains(&"--password-memory") {
            words.extend(["--password-memory", "8KiB", "--password-passes", "1"]);
        }
        words.extend(["--ballast", "4KiB", "--min-free-disk", "1MiB"]);
        let mail = dir.path().join("mail");
        if !options.contains(&"--smtp-url") {
            words.extend(["--mail-dir", mail.to_str().expect("a temporary folder has a plain name")]);
        }
        if !options.contains(&"--signup") {
            words.extend(["--signup", "open"]);
        }
        if !options.contains(&"--organizations") {
            words.extend(["--organizations", "open"]);
        }
        let dns = DnsServer::start().await;
        let resolver = dns.address().to_string();
        words.extend(["--dns-resolver", &resolver]);
        words.extend(options);
        let config = Options::parse_from(words).config;
        let http = settled::client::http::plain()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client without TLS can be made");
        let mut server = Self { config, clock, hands, http, dns, running: None, dir };
        server.run().await;
        server
    }

    /// A server that is set up, and its Owner.
    pub async fn set_up() -> (Self, Somebody) {
        let server = Self::start().await;
        let owner = server.found().await;
        (server, owner)
    }

    /// As [`TestServer::set_up`], with a clock that stands still.
    pub async fn set_up_manual() -> (Self, Somebody) {
        let server = Self::start_manual().await;
        let owner = server.found().await;
        (server, owner)
    }

    async fn run(&mut self) {
        let fatal = Arc::new(|message: &str| panic!("the log failed: {message}"));
        let server = Server::start(&self.config, self.clock.clone(), fatal).await.expect("the server starts");
        let base = format!("http://{}", server.address());
        let app = server.app.clone();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.run(async move {
            let _dropped = stopped.await;
        }));
        self.running = Some(Running { app, base, stop, ended });
    }

    /// Stops it cleanly.
    pub async fn stop(&mut self) {
        let Running { app, stop, ended, .. } = self.running.take().expect("it runs");
        drop(app);
        drop(stop);
        // Connections that the client keeps open are not worth waiting for.
        self.http =
            settled::client::http::plain().timeout(Duration::from_secs(60)).build().expect("a client");
        ended.await.expect("the server does not panic").expect("the log closes");
    }

    /// Stops it cleanly and starts it again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    /// Starts it again after [`TestServer::stop`].
    pub async fn start_again(&mut self) {
        self.run().await;
    }

    /// What handlers share.
    pub fn app(&self) -> &App {
        &self.running.as_ref().expect("it runs").app
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.running.as_ref().expect("it runs").base
    }

    /// The folder of the data.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The one-time token of the set-up.
    pub fn setup_token(&self) -> String {
        let text =
            std::fs::read_to_string(self.data_dir().join("setup-token")).expect("it is not set up yet");
        text.trim().to_owned()
    }

    /// The body of the set-up of `Acme`.
    pub fn setup_body(&self) -> Value {
        json!({
            "setup_token": self.setup_token(),
            "organization": {"name": "Acme", "timezone": "Europe/Paris"},
            "person": {"email": OWNER_EMAIL, "name": "Olive Owner", "password": PASSWORD},
        })
    }

    /// Sets it up.
    pub async fn found(&self) -> Somebody {
        let answer = self.post("/v1/setup", None, &self.setup_body()).await.is(201);
        let body = answer.json();
        Somebody {
            person: text(&body["person"]["id"]).parse().expect("a person's id"),
            organization: text(&body["organization"]["id"]).parse().expect("an organization's id"),
            email: OWNER_EMAIL.to_owned(),
            token: text(&body["session"]["token"]),
        }
    }

    // Requests.

    /// A request that is not sent yet, with a session's token or an API key.
    pub fn request(&self, method: Method, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base()));
        match token {
            Some(key) if key.starts_with("fastn_") => request.header("x-fastn-api-key", key),
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, who: &Somebody) -> Answer {
        send(self.request(Method::GET, path, Some(&who.token))).await
    }

    pub async fn get_unknown(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path, None)).await
    }

    pub async fn post(&self, path: &str, who: Option<&Somebody>, body: &Value) -> Answer {
        send(self.request(Method::POST, path, who.map(|who| &*who.token)).json(body)).await
    }

    pub async fn patch(&self, path: &str, who: &Somebody, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path, Some(&who.token)).json(body)).await
    }

    pub async fn put(&self, path: &str, who: &Somebody, body: &Value) -> Answer {
        send(self.request(Method::PUT, path, Some(&who.token)).json(body)).await
    }

    pub async fn delete(&self, path: &str, who: &Somebody) -> Answer {
        send(self.request(Method::DELETE, path, Some(&who.token))).await
    }

    /// A request with further headers, and a body where it is not null.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        who: &Somebody,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = self.request(method, path, Some(&who.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        send(request).await
    }

    /// Logs in.
    pub async fn log_in(&self, body: &Value) -> Answer {
        self.post("/v1/auth/login", None, body).await
    }

    /// Another session of somebody.
    pub async fn another_session(&self, who: &Somebody) -> Somebody {
        let body =
            json!({"email": who.email, "password": PASSWORD, "organization": who.organization.to_string()});
        let answer = self.log_in(&body).await.is(200);
        Somebody { token: text(&answer.json()["token"]), ..who.clone() }
    }

    /// An environment's id.
    pub async fn environment(&self, who: &Somebody, name: &str, mode: &str) -> String {
        let answer = self.post("/v1/environments", Some(who), &json!({"name": name, "mode": mode})).await;
        text(&answer.is(201).json()["id"])
    }

    /// A program with a new API key, and the key's id.
    pub async fn api_key(&self, who: &Somebody, body: &Value) -> (String, Somebody) {
        let made = self.post("/v1/api-keys", Some(who), body).await.is(201).json();
        (text(&made["id"]), Somebody { token: text(&made["key"]), ..who.clone() })
    }

    /// A secret's id, in an environment.
    pub async fn secret(&self, who: &Somebody, environment: &str, name: &str) -> String {
        let body = json!({"name": name, "value": "a secret value", "environment": environment});
        text(&self.post("/v1/secrets", Some(who), &body).await.is(201).json()["id"])
    }

    /// The whole audit log as far as one page shows it, newest first.
    pub async fn audit(&self, who: &Somebody, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/audit?limit=200{query}"), who).await.is(200);
        answer.json()["data"].as_array().expect("a page has data").clone()
    }

    // The store.

    /// An organization's stream.
    pub fn handle(&self, organization: OrganizationId) -> Arc<Handle> {
        loaded(&self.app().store, organization).expect("the organization exists")
    }

    /// The version of an organization's stream.
    pub fn version(&self, organization: OrganizationId) -> Version {
        self.handle(organization).view().version()
    }

    /// The version of the platform's stream.
    pub fn platform_version(&self) -> Version {
        self.app().store.platform().view().version()
    }

    /// Lets time pass on a manual clock.
    pub fn advance(&self, seconds: u64) {
        self.hands.as_ref().expect("the clock is manual").advance(Duration::from_secs(seconds));
    }

    /// Waits until something that happens behind an answer has happened.
    pub async fn eventually<F: Future<Output = bool>>(&self, mut holds: impl FnMut() -> F) {
        for _ in 0..2_400 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("it did not happen within 60 s");
    }
}

/// Sends a request and reads the answer whole; of a stream, which has no end, what it begins with.
pub async fn send(request: RequestBuilder) -> Answer {
    let mut response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = if headers.get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        let opening = response.chunk().await.expect("the stream begins").unwrap_or_default();
        String::from_utf8(opening.to_vec()).expect("a stream is UTF-8")
    } else {
        response.text().await.expect("the answer is complete")
    };
    Answer { status, headers, text }
}

impl Answer {
    /// The same answer, if it has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Whether it is a problem with this status and code; its body.
    #[track_caller]
    #[expect(clippy::wrong_self_convention, reason = "it reads as what a test states, and ends the answer")]
    pub fn is_problem(self, status: u16, code: &str) -> Value {
        let body = self.is(status).problem();
        assert_eq!(body["code"], code, "{body}");
        body
    }

    /// The body of an answer that is problem details.
    #[track_caller]
    pub fn problem(&self) -> Value {
        assert_eq!(self.header("content-type").as_deref(), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(body["type"], format!("urn:settled:{}", text(&body["code"])));
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id").as_deref());
        body
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
    }

    /// `Settled-Version`.
    #[track_caller]
    pub fn version(&self) -> Version {
        let version = self.header("settled-version").expect("the answer has a Settled-Version");
        version.parse().expect("a version is a number")
    }

    /// `ETag`.
    #[track_caller]
    pub fn etag(&self) -> String {
        self.header("etag").expect("the answer has an ETag")
    }
}

/// A string of a JSON document.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).to_owned()
}

/// The events of a stream that ended so, oldest first.
pub fn that_ended(store: &Store, handle: &Handle, outcome: Outcome) -> Vec<Recorded> {
    let view = handle.view();
    let filter = Filter { outcomes: vec![outcome], ..Filter::default() };
    let versions =
        store.versions_after(handle, &view, &filter, 0, usize::MAX).expect("the index can be read");
    store.recorded(handle, &view, &versions).expect("the history can be read")
}
