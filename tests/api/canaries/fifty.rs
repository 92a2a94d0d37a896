//! Fifty canaries among what providers hand out and say, the credentials of apps and connections, and what is known of
//! customers. They are used, failed with, refused, told of in every way that there is, and taken into a snapshot; none is found
//! where it does not belong, and once customers are erased and connections ended none of theirs opens.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use settled::data_dir::DataDir;
use settled::ids::StreamId;
use settled::open::{LogOptions, OpenDir, key_ring, open_log};
use settled::seal::Plain;
use settled::seal::root::RootKey;
use url::Url;

use super::operator;
use crate::canary::{CONTROL, Canaries, each_recorded, nothing_on_disk};
use crate::process::Process;
use crate::provider::Provider;
use crate::server::{Answer, send, text};

/// How many there are of each.
const PLANTED: [(&str, usize); 13] = [
    ("client secret", 3),
    ("access token", 8),
    ("refresh token", 8),
    ("provider's word", 3),
    ("held token", 4),
    ("held user", 2),
    ("held password", 4),
    ("customer", 3),
    ("external id", 3),
    ("metadata", 3),
    ("document", 3),
    ("trigger", 3),
    ("error", 3),
];
/// What no answer has, whoever asks.
const SHOWN_TO_NOBODY: [&str; 3] = ["client secret", "refresh token", "provider's word"];
/// What programs read of connections.
const READ: [&str; 4] = ["access token", "held token", "held user", "held password"];
/// What is known of a customer.
const KNOWN: [&str; 3] = ["customer", "external id", "metadata"];
/// What of an execution is sealed.
const EXECUTED: [&str; 2] = ["trigger", "error"];
/// How many sealed values they come to at least: a name and a password are one.
const SEALED: usize = 42;

fn planted() -> Canaries {
    let mut canaries = BTreeMap::new();
    for (kind, count) in PLANTED {
        for number in 0..count {
            let value = format!("Zq7{}{number}Fifty", kind.replace([' ', '\''], ""));
            canaries.insert(&*String::leak(format!("{kind} {number}")), value);
        }
    }
    Canaries(canaries)
}

/// Whether a canary is of one of these kinds.
fn is_of(canary: &str, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| canary.rsplit_once(' ').is_some_and(|(of, _)| of == *kind))
}

/// The Owner of an organization whose server is a process.
struct Owner<'a> {
    process: &'a Process,
    planted: &'a Canaries,
    http: reqwest::Client,
    token: String,
    /// Those that were seen where they belong.
    seen: RefCell<BTreeSet<&'static str>>,
}

impl Owner<'_> {
    fn canary(&self, kind: &str, number: usize) -> &str {
        self.planted.of(&format!("{kind} {number}"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.process.base))
    }

    /// Sends a request; in its answer is nothing but canaries of these kinds, and in a refusal none.
    async fn send(&self, request: RequestBuilder, may: &[&str]) -> Answer {
        let answer = send(request).await;
        let whole = format!("{:?}\n{}", answer.headers, answer.text);
        let found = self.planted.found(whole.as_bytes());
        let belongs = |canary: &&str| answer.status < 400 && is_of(canary, may);
        assert!(found.iter().all(belongs), "{found:?} in {} {whole}", answer.status);
        self.seen.borrow_mut().extend(found);
        answer
    }

    async fn ask(&self, method: Method, path: &str, body: &Value, may: &[&str]) -> Answer {
        let request = self.request(method, path).bearer_auth(&self.token);
        self.send(if body.is_null() { request } else { request.json(body) }, may).await
    }

    async fn post(&self, path: &str, body: &Value, may: &[&str]) -> Answer {
        self.ask(Method::POST, path, body, may).await
    }

    async fn get(&self, path: &str, may: &[&str]) -> Answer {
        self.ask(Method::GET, path, &Value::Null, may).await.is(200)
    }

    /// A customer of whom everything is a canary; its id.
    async fn customer(&self, number: usize) -> String {
        let canary = |kind| self.canary(kind, number);
        let body = json!({"name": canary("customer"), "external_id": canary("external id"),
            "metadata": {"note": canary("metadata")}});
        let id = text(&self.post("/v1/customers", &body, &KNOWN).await.is(201).json()["id"]);
        self.post("/v1/customers", &body, &[]).await.is(409);
        let path = format!("/v1/customers/{id}");
        let wrong = json!({"name": [canary("customer")], "metadata": canary("metadata")});
        self.ask(Method::PATCH, &path, &wrong, &[]).await.is(422);
        let document = format!("{path}/data/profile");
        let value = json!({"value": {"said": canary("document")}});
        self.ask(Method::PUT, &document, &value, &[]).await.is(201);
        self.get(&document, &["document"]).await;
        let executions = format!("{path}/executions");
        let begins = json!({"workflow": "sync", "environment": "dev", "trigger": canary("trigger")});
        let begun = self.post(&executions, &begins, &EXECUTED).await.is(201).json();
        let finish = format!("{executions}/{}/finish", text(&begun["id"]));
        let end = json!({"status": "failed", "error": canary("error")});
        self.post(&finish, &end, &EXECUTED).await.is(200);
        self.post(&finish, &end, &[]).await.is(409);
        self.get(&executions, &EXECUTED).await;
        id
    }

    /// An app at a provider; its id.
    async fn app(&self, provider: &Provider, secret: usize) -> String {
        let url = |path: &str| format!("{}/{path}", provider.base);
        let app = json!({"provider": "custom", "client_id": "settled", "name": format!("App {secret}"),
            "client_secret": self.canary("client secret", secret), "scopes": ["read"],
            "authorize_url": url("authorize"), "token_url": url("token"), "revoke_url": url("revoke")});
        text(&self.post("/v1/oauth-apps", &app, &[]).await.is(201).json()["id"])
    }

    /// What a provider hands out.
    fn tokens(&self, number: usize) -> String {
        let tokens = json!({"access_token": self.canary("access token", number), "token_type": "bearer",
            "refresh_token": self.canary("refresh token", number), "expires_in": 3_600});
        tokens.to_string()
    }

    /// A connection that somebody consented to, is refreshed once in vain and once not; its id.
    async fn consented(
        &self,
        provider: &Provider,
        number: usize,
        app: &str,
        body: &Value,
        read: &Reader<'_>,
    ) -> String {
        let made = self.post("/v1/connections", body, &[]).await.is(201).json();
        let link = Url::parse(&text(&made["connect_url"])).unwrap().path().to_owned();
        let press = self.request(Method::POST, &link).header("sec-fetch-site", "same-origin");
        let pressed = self.send(press, &[]).await.is(200);
        let cookie = pressed.header("set-cookie").unwrap();
        let url = pressed.text.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
        let url = Url::parse(&url.replace("&#38;", "&").replace("&amp;", "&")).unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        provider.says(200, &self.tokens(2 * number));
        let back = self.request(Method::GET, &format!("/oauth/callback/{app}?state={state}&code=good"));
        let cookie = cookie.split(';').next().unwrap();
        self.send(back.header("cookie", cookie), &[]).await.is(200);
        read.all(self).await;

        let path = format!("/v1/connections/{}", text(&made["connection"]["id"]));
        let refresh = format!("{path}/refresh");
        let word = self.canary("provider's word", number % 3);
        provider.says(401, &json!({"error": word, "error_description": word}).to_string());
        self.post(&refresh, &json!({}), &[]).await.is(200);
        provider.says(200, &self.tokens(2 * number + 1));
        let refreshed = self.post(&refresh, &json!({}), &[]).await.is(200).json();
        assert_eq!(refreshed["credential_version"], 2);
        read.all(self).await;
        path
    }

    /// A connection with a credential that somebody has, given another one; its path.
    async fn held(&self, body: &Value, other: &Value, read: &Reader<'_>) -> String {
        let made = self.post("/v1/connections", body, &[]).await.is(201).json();
        self.post("/v1/connections", body, &[]).await.is(409);
        read.all(self).await;
        let path = format!("/v1/connections/{}", text(&made["connection"]["id"]));
        self.ask(Method::PATCH, &path, other, &[]).await.is(200);
        let wrong = json!({"token": other["token"], "password": other["password"], "username": null});
        self.ask(Method::PATCH, &path, &wrong, &[]).await.is(422);
        read.all(self).await;
        path
    }
}

/// A program, and for whom it reads.
struct Reader<'a> {
    key: String,
    customers: &'a [String],
}

impl Reader<'_> {
    /// Reads the environment for nobody and for each customer.
    async fn all(&self, owner: &Owner<'_>) {
        let whole = "/v1/ctx?environment=dev".to_owned();
        let each = self.customers.iter().map(|customer| format!("{whole}&customer={customer}"));
        for path in each.chain([whole.clone()]) {
            let request = owner.request(Method::GET, &path).header("x-fastn-api-key", &self.key);
            owner.send(request, &READ).await.is(200);
        }
    }
}

/// All that tells of settings and of what happened to them.
async fn told_of(owner: &Owner<'_>, things: &[String], may: &[&str]) {
    let histories = things.iter().map(|path| format!("/v1/history/{}", path.rsplit('/').next().unwrap()));
    let paths = [
        "/v1/audit?limit=200",
        "/v1/audit/facets",
        "/v1/audit/export?format=csv",
        "/v1/audit/export?format=ndjson",
        "/v1/audit/export?format=ocsf",
        "/v1/diff?from=1",
        "/v1/environments/dev/config",
        "/v1/connections",
        "/v1/oauth-apps",
        "/v1/billing",
    ];
    for path in paths.map(ToOwned::to_owned).into_iter().chain(histories) {
        owner.get(&path, may).await;
    }
    // As recorded all of it is ciphertext.
    for path in ["/v1/events?limit=200", "/v1/proof/bundle"] {
        owner.get(path, &[]).await;
    }
}

/// Nothing of it gets to operators either, who take a snapshot beside.
async fn operated(data: &Path, planted: &Canaries) {
    for (method, path, status) in [
        ("GET", "/metrics", 200),
        ("GET", "/v1/operator/status", 200),
        ("GET", "/v1/operator/audit", 200),
        ("POST", "/v1/operator/snapshots", 201),
        ("POST", "/v1/operator/replay", 200),
        ("POST", "/v1/operator/fsck", 200),
    ] {
        let answer = operator(data, method, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert_eq!(planted.found(answer.as_bytes()), Vec::<&str>::new(), "{path}");
    }
}

/// The key ids of all sealed values in an event, by what kind of thing it is about.
fn sealed(event: &Value, into: &mut Vec<(String, StreamId, String)>) {
    fn gather(value: &Value, keys: &mut Vec<String>) {
        match value {
            Value::Object(fields) => match fields.get("sealed") {
                Some(key) => keys.push(text(key)),
                None => fields.values().for_each(|value| gather(value, keys)),
            },
            Value::Array(values) => values.iter().for_each(|value| gather(value, keys)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut keys = Vec::new();
    gather(&event["data"], &mut keys);
    let stream: StreamId = text(&event["stream"]).parse().unwrap();
    into.extend(keys.into_iter().map(|key| (text(&event["resource"]["type"]), stream, key)));
}

/// What was sealed of customers and connections opens no more; the secrets of apps, which stay, do.
fn none_opens(data: &Path) {
    let root = RootKey::from_text(&Plain::from(std::fs::read_to_string(data.join("root.key")).unwrap()));
    let opened: OpenDir = open_log(DataDir::open(data, 4096).unwrap(), LogOptions::default()).unwrap();
    let ring = key_ring(&opened, root.expect("the text of a root key")).unwrap();
    let mut all = Vec::new();
    each_recorded(&*opened.log, |json| sealed(json, &mut all));
    let opens = |kinds: &[&str]| {
        let of = all.iter().filter(|(kind, ..)| kinds.contains(&kind.as_str()));
        let opens = of.map(|(_, stream, key)| ring.data_key(*stream, key.parse().unwrap(), None).is_ok());
        opens.collect::<Vec<_>>()
    };
    assert_eq!(opens(&["oauth_app"]), [true; 3]);
    let gone = opens(&["customer", "customer_data", "execution", "connection"]);
    assert!(gone.len() >= SEALED && gone.iter().all(|opens| !opens), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_providers_connections_and_customers_are_found_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &["--log-level", "trace", "--oauth-allow-loopback"]);
    let mut planted = planted();
    assert_eq!(planted.0.len(), 50);
    let http = settled::client::http::plain().build().unwrap();
    let mut owner =
        Owner { process: &process, planted: &planted, http, token: String::new(), seen: RefCell::default() };
    let setup_token = std::fs::read_to_string(data.join("setup-token")).unwrap();
    let body = json!({"setup_token": setup_token.trim(), "organization": {"name": "Acme", "timezone": "UTC"},
        "person": {"email": "ada@example.com", "name": "Ada", "password": "a long walk by the sea"}});
    let set_up = owner.send(owner.request(Method::POST, "/v1/setup").json(&body), &[]).await.is(201).json();
    owner.token = text(&set_up["session"]["token"]);
    let environment = json!({"name": CONTROL, "slug": "dev", "mode": "test"});
    owner.post("/v1/environments", &environment, &[]).await.is(201);
    let key = json!({"name": "P", "mode": "test"});
    let key = text(&owner.post("/v1/api-keys", &key, &[]).await.is(201).json()["key"]);

    let mut customers = Vec::new();
    for number in 0..3 {
        customers.push(owner.customer(number).await);
    }
    let read = Reader { key, customers: &customers };
    let provider = Provider::start(Some(3_600)).await;
    let apps = [owner.app(&provider, 0).await, owner.app(&provider, 1).await];
    let other = json!({"client_secret": owner.canary("client secret", 2)});
    let app_path = format!("/v1/oauth-apps/{}", apps[1]);
    owner.ask(Method::PATCH, &app_path, &other, &[]).await.is(200);
    let mut things: Vec<String> = customers.iter().map(|id| format!("/v1/customers/{id}")).collect();
    let mut connections = Vec::new();
    for number in 0..4 {
        let app = &apps[number % 2];
        let mut body = json!({"oauth_app": app, "environment": "dev", "name": format!("oauth-{number}")});
        if let Some(customer) = customers.get(number) {
            body["customer"] = json!(customer);
        }
        connections.push(owner.consented(&provider, number, app, &body, &read).await);
    }
    for (number, customer) in customers.iter().take(2).enumerate() {
        let token = |number| owner.canary("held token", number);
        let body = json!({"kind": "token", "name": format!("token-{number}"), "token": token(number),
            "environment": "dev"});
        connections.push(owner.held(&body, &json!({"token": token(number + 2)}), &read).await);
        let (user, password) =
            (owner.canary("held user", number), |number| owner.canary("held password", number));
        let body = json!({"kind": "basic", "name": format!("basic-{number}"), "username": user,
            "password": password(number), "environment": "dev", "customer": customer});
        let other = json!({"username": user, "password": password(number + 2)});
        connections.push(owner.held(&body, &other, &read).await);
    }
    things.extend(connections.iter().cloned().chain([app_path]));

    // So many events that a savepoint is written at the stop.
    let plain: serde_json::Map<_, _> =
        (0..150).map(|number| (format!("K_{number}"), json!(number))).collect();
    owner.ask(Method::PATCH, "/v1/environments/dev/config", &json!(plain), &[]).await.is(200);
    told_of(&owner, &things, &["customer"]).await;
    let search = format!("/v1/customers?q={}", owner.canary("customer", 0));
    assert_eq!(owner.get(&search, &KNOWN).await.json()["data"].as_array().unwrap().len(), 1);
    operated(&data, &planted).await;

    // What belongs somewhere was there, and the provider was told what belongs to it.
    let missed = |canary: &&&str| !owner.seen.borrow().contains(**canary) && !is_of(canary, &SHOWN_TO_NOBODY);
    assert_eq!(planted.0.keys().filter(missed).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(owner.seen.borrow().iter().all(|canary| !is_of(canary, &SHOWN_TO_NOBODY)));
    let sent = format!("{:?}", provider.asked());
    for number in 0..4 {
        assert!(sent.contains(owner.canary("refresh token", 2 * number)), "{sent}");
    }

    for customer in &customers {
        owner.post(&format!("/v1/customers/{customer}/erase"), &json!({}), &[]).await.is(200);
    }
    for path in [&connections[3], &connections[4], &connections[6]] {
        owner.ask(Method::DELETE, path, &Value::Null, &[]).await.is(204);
    }
    assert_eq!(owner.get("/v1/connections", &[]).await.json()["data"], json!([]));
    told_of(&owner, &[], &[]).await;
    operated(&data, &planted).await;
    for told in process.told_by_the_system() {
        assert_eq!(planted.found(told.as_bytes()), Vec::<&str>::new(), "{told}");
    }
    let printed = process.stop();
    assert!(printed.contains("a token was not refreshed"), "failures are logged: {printed}");
    assert_eq!(planted.found(printed.as_bytes()), Vec::<&str>::new(), "log lines: {printed}");
    let root_key = std::fs::read_to_string(data.join("root.key")).unwrap();
    planted.0.insert("root key", text(&json!(root_key.trim().rsplit(':').next())));
    nothing_on_disk(&data, &planted);
    none_opens(&data);
}
