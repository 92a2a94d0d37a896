//! Many access tokens due at once, programs that read them, a provider that keeps everybody waiting, and a server that is
//! killed amid all that: each token is refreshed once, or again after a kill, and none is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{Login, Server, Start, scale, text};
use crate::provider::{Asked, Provider};

/// How often the server is killed, each time once so many more tokens were refreshed.
const KILLS: usize = 2;
const READERS: usize = 64;
/// By then what was handed out is due, however soon it ends.
const SOONEST: Duration = Duration::from_secs(32);
/// The most refreshes that are under way at one provider: what a kill can have asked for again.
const AT_ONCE: usize = 8;

/// An app at a provider, and how many connections are made as it.
struct App {
    id: String,
    prefix: &'static str,
    count: usize,
}

impl App {
    async fn new(
        server: &Server,
        login: &Login,
        provider: &Provider,
        prefix: &'static str,
        count: usize,
    ) -> Self {
        let app = json!({
            "provider": "custom", "client_id": "settled", "client_secret": "secret",
            "authorize_url": format!("{}/authorize", provider.base),
            "token_url": format!("{}/token", provider.base),
        });
        let (status, app) = server.call(login, "POST", "/v1/oauth-apps", Some(app)).await;
        assert_eq!(status, 201, "{app}");
        Self { id: text(&app["id"]), prefix, count }
    }

    /// Makes its connections, to which somebody consents: the code says the name.
    async fn connect(&self, server: &Server, login: &Login) {
        for number in 0..self.count {
            let name = format!("{}-{number}", self.prefix);
            let body = json!({"oauth_app": self.id, "environment": "prod", "name": name});
            let (status, made) = server.call(login, "POST", "/v1/connections", Some(body)).await;
            assert_eq!(status, 201, "{made}");
            consent(&text(&made["connect_url"]), &name).await;
        }
    }
}

/// Somebody consents, by a link to a page; the provider gives a code.
async fn consent(connect_url: &str, code: &str) {
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
    let back = format!("{}?state={}&code={code}", of("redirect_uri"), of("state"));
    let told = http.get(back).header("cookie", cookie).send().await.unwrap();
    assert_eq!(told.status(), 200);
}

/// All connections whose name begins so, by name.
async fn connections(server: &Server, login: &Login, prefix: &str) -> BTreeMap<String, Value> {
    let mut path = "/v1/connections?limit=200".to_owned();
    let mut all = BTreeMap::new();
    loop {
        let (status, page) = server.call(login, "GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        let found = page["data"].as_array().unwrap().iter();
        all.extend(found.map(|found| (text(&found["name"]), found.clone())));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/connections?limit=200&cursor={cursor}");
    }
    all.retain(|name, _| name.starts_with(prefix));
    all
}

/// What the provider handed out, by number: to which connection. Each answer has the next number.
fn owners(asked: &[Asked]) -> Vec<String> {
    let mut owners: Vec<String> = Vec::new();
    for asked in asked {
        let owner = match (asked.field("code"), asked.field("refresh_token").map(number)) {
            (Some(code), _) => code.to_owned(),
            (None, Some(number)) => owners[number - 1].clone(),
            (None, None) => panic!("{asked:?}"),
        };
        owners.push(owner);
    }
    owners
}

/// The number of a token.
fn number(token: &str) -> usize {
    token.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// How often each refresh token was used.
fn uses(asked: &[Asked]) -> BTreeMap<&str, usize> {
    let mut uses = BTreeMap::new();
    for token in asked.iter().filter_map(|asked| asked.field("refresh_token")) {
        *uses.entry(token).or_default() += 1;
    }
    uses
}

/// Programs that read all the time, from whichever server there is; how often they were answered.
struct Readers {
    tasks: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Readers {
    fn start(url: &tokio::sync::watch::Receiver<String>, key: &str, count: usize) -> Self {
        let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..READERS {
            let (url, key) = (url.clone(), key.to_owned());
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            tasks.spawn(async move {
                let client = settled::client::http::plain().build().unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    let at = format!("{}/v1/ctx?environment=prod", *url.borrow());
                    if let Ok(answer) = client.get(at).header("x-fastn-api-key", &key).send().await {
                        assert_eq!(answer.status(), 200);
                        // It may be cut off by a kill.
                        if let Ok(body) = answer.json::<Value>().await {
                            assert_eq!(
                                body["connections"].as_object().unwrap().len(),
                                count,
                                "none is missing"
                            );
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        Self { tasks, is_over, answered }
    }

    async fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.answered.load(Ordering::Relaxed)
    }
}

/// Waits for as long as a thousand refreshes may take on a busy machine.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not come: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_outlive_kills_and_each_is_refreshed_once() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--oauth-allow-loopback"]);
    let server = start.serve();
    let login = server.set_up().await;
    let (_, key) =
        server.call(&login, "POST", "/v1/api-keys", Some(json!({"name": "W", "mode": "live"}))).await;
    let count = 100 * scale() as usize;
    // They are made within this time, or the first are refreshed meanwhile.
    let lifetime = Duration::from_secs(10 + count as u64 / 10);
    let (provider, stuck) =
        (Provider::start(Some(lifetime.as_secs())).await, Provider::start(Some(lifetime.as_secs())).await);
    let good = App::new(&server, &login, &provider, "good", count).await;
    let bad = App::new(&server, &login, &stuck, "bad", count / 10).await;
    bad.connect(&server, &login).await;
    good.connect(&server, &login).await;
    server.stop();
    tokio::time::sleep(lifetime.max(SOONEST)).await;

    // All are due. What is handed out from here on is good for long, so each is refreshed once more.
    provider.state().lifetime = Some(3_600);
    stuck.answers(false);
    let before = provider.asked().len();
    let refreshed = || provider.asked().len() - before;
    let began = Instant::now();
    let (known, url) = tokio::sync::watch::channel(String::new());
    let mut server = start.serve();
    known.send_replace(server.url.clone());
    let readers = Readers::start(&url, &text(&key["key"]), good.count + bad.count);
    for kill in 1..=KILLS {
        until("tokens are refreshed", || refreshed() >= kill * count / (KILLS + 1)).await;
        server.process.kill();
        server = start.serve();
        known.send_replace(server.url.clone());
    }
    until("all were refreshed", || refreshed() >= count).await;
    let login = server.log_in().await;
    let is_done = |connection: &Value| {
        let expires_at =
            connection["expires_at"].as_str().unwrap_or_default().parse::<settled::clock::Timestamp>();
        let soon = settled::clock::Clock::system().now().plus_seconds(1_800);
        connection["status"] == "connected" && expires_at.is_ok_and(|at| at > soon)
    };
    for _ in 0..1_200 {
        if connections(&server, &login, "good").await.values().all(is_done) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed();
    let shown = connections(&server, &login, "good").await;
    assert_eq!(shown.values().filter(|connection| is_done(connection)).count(), count, "each is alive");

    // Programs have the newest token that was handed out to each, and no other's.
    let asked = provider.asked();
    let owners = owners(&asked);
    let newest: BTreeMap<&String, usize> = owners.iter().zip(1..).collect();
    let program = Login { token: text(&key["key"]), ..login.clone() };
    let (_, read) = server.call(&program, "GET", "/v1/ctx?environment=prod", None).await;
    for (name, newest) in newest {
        assert_eq!(number(&text(&read["connections"][name]["access_token"])), newest, "{name}");
    }
    // A token is used again after a kill alone, and by no more than were under way then.
    let uses = uses(&asked[before..]);
    assert_eq!(uses.len(), count, "one token of each connection");
    assert!(uses.values().all(|uses| *uses <= 1 + KILLS), "{uses:?}");
    let again = asked.len() - before - count;
    assert!(again <= KILLS * AT_ONCE, "{again} were asked for again");
    // Nobody has lost anything who is kept waiting.
    let waiting = connections(&server, &login, "bad").await;
    assert!(waiting.values().all(|connection| connection["status"] != "revoked"), "{waiting:?}");
    let answered = readers.end().await;
    assert!(answered >= READERS, "{answered} readings");
    println!("{count} refreshed in {took:?} over {KILLS} kills, {again} of them again; {answered} readings");
}
