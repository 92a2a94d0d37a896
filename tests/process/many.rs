//! Many more organizations than there is memory for: what is answered is what was written, the memory stays the same,
//! and a first read of what was let go is quick.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::journal::assert_sound;
use crate::operator::figure;
use crate::population::{Settled, found};
use crate::process::{Server, Start, scale};
use crate::unmoved::resident_mib;

/// How many requests are under way at once.
const CLIENTS: usize = 4;
/// Keys of each organization.
const KEYS: u64 = 5;
/// Rounds of random traffic, the first of which is not measured.
const ROUNDS: usize = 4;
/// Requests of a round for each organization.
const STEPS: usize = 2;
/// Within this 99 of 100 first reads are answered.
const COLD: Duration = Duration::from_millis(50);

/// How many organizations there are, and how many are kept in memory.
fn sizes() -> (usize, usize) {
    if scale() > 1 { (10_000, 500) } else { (300, 30) }
}

/// An organization and what was written to it.
struct Known {
    of: Settled,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    name: String,
    values: BTreeMap<String, u64>,
    /// The newest version that was answered.
    version: u64,
    /// A version, and what a key was then.
    then: Option<(u64, String, u64)>,
}

/// A generator of random numbers (Marsaglia's xorshift), so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Which organizations were used last: whoever is not among them was let go, for certain.
struct Used {
    newest: Mutex<VecDeque<usize>>,
    kept: usize,
}

impl Used {
    /// Notes a use; whether the organization had to be loaded for it.
    fn is_cold(&self, organization: usize) -> bool {
        let mut newest = self.newest.lock().unwrap();
        let at = newest.iter().position(|other| *other == organization);
        if let Some(at) = at {
            newest.remove(at);
        }
        newest.push_back(organization);
        let full = newest.len() > self.kept;
        if full {
            newest.pop_front();
        }
        at.is_none() && full
    }
}

struct Traffic {
    url: String,
    organizations: Vec<Known>,
    used: Used,
    cold: Mutex<Vec<Duration>>,
    requests: AtomicUsize,
}

impl Traffic {
    async fn send(
        &self,
        client: &Client,
        of: &Settled,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u64, Value) {
        let mut request = client.request(method, format!("{}{path}", self.url)).bearer_auth(&of.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        let version = answer.headers().get("settled-version").and_then(|value| value.to_str().ok());
        let version = version.and_then(|version| version.parse().ok()).unwrap_or_default();
        let body: Value = answer.json().await.expect("the answer is JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        (version, body)
    }

    /// Makes the environment and the first values of an organization.
    async fn begin(&self, client: &Client, number: usize) {
        let Known { of, state } = &self.organizations[number];
        let mut state = state.lock().await;
        let environment = json!({"name": "Prod", "slug": "prod", "mode": "live"});
        self.send(client, of, Method::POST, "/v1/environments", Some(environment)).await;
        state.values = (0..KEYS).map(|key| (format!("KEY_{key}"), number as u64 * 1_000 + key)).collect();
        let path = "/v1/environments/prod/config";
        (state.version, _) = self.send(client, of, Method::PATCH, path, Some(json!(state.values))).await;
        state.then = Some((state.version, "KEY_0".to_owned(), state.values["KEY_0"]));
        state.name = of.name.clone();
    }

    /// One request to an organization, held against what was written to it.
    async fn step(&self, client: &Client, number: usize, dice: &mut Dice) {
        let Known { of, state } = &self.organizations[number];
        let mut state = state.lock().await;
        let cold = self.used.is_cold(number);
        let key = format!("KEY_{}", dice.below(KEYS));
        let path = format!("/v1/environments/prod/config/{key}");
        let began = Instant::now();
        let (version, is_read) = match dice.below(20) {
            0..10 => {
                let (version, body) = self.send(client, of, Method::GET, &path, None).await;
                assert_eq!(body["value"], state.values[&key], "{path} of {}", of.name);
                (version, true)
            }
            10..13 => {
                let path = "/v1/environments/prod/config";
                let (version, body) = self.send(client, of, Method::GET, path, None).await;
                let listed = body["data"].as_array().unwrap().iter();
                let listed: BTreeMap<String, u64> = listed
                    .map(|row| (row["key"].as_str().unwrap().to_owned(), row["value"].as_u64().unwrap()))
                    .collect();
                assert_eq!(listed, state.values, "of {}", of.name);
                (version, true)
            }
            13..15 => {
                let (version, body) = self.send(client, of, Method::GET, "/v1/general", None).await;
                assert_eq!(body["name"], state.name);
                (version, true)
            }
            15..17 => {
                let value = dice.below(1 << 40);
                let body = Some(json!({ "value": value }));
                let (version, _) = self.send(client, of, Method::PUT, &path, body).await;
                state.then = Some((state.version, key.clone(), state.values[&key]));
                state.values.insert(key, value);
                assert_eq!(version, state.version + 1, "of {}", of.name);
                state.version = version;
                (version, false)
            }
            17..19 => {
                let (then, key, value) = state.then.clone().unwrap();
                let path = format!("/v1/environments/prod/config/{key}?as_of={then}");
                let (version, body) = self.send(client, of, Method::GET, &path, None).await;
                assert_eq!(body["value"], value, "{path} of {}", of.name);
                (version, false)
            }
            _ => {
                let (version, body) = self.send(client, of, Method::GET, "/v1/audit?limit=3", None).await;
                assert_eq!(body["total"], state.version, "the audit log of {}", of.name);
                (version, false)
            }
        };
        assert_eq!(version, state.version, "of {}", of.name);
        if cold && is_read {
            self.cold.lock().unwrap().push(began.elapsed());
        }
    }

    /// Random requests of all clients.
    async fn round(self: &Arc<Self>, round: usize, steps: usize) {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let traffic = Arc::clone(self);
            clients.spawn(async move {
                let (client, mut dice) = (
                    settled::client::http::plain().build().unwrap(),
                    Dice((round * CLIENTS + number + 1) as u64 * 0x9e37_79b9),
                );
                for _ in 0..steps / CLIENTS {
                    let organization = dice.below(traffic.organizations.len() as u64) as usize;
                    traffic.step(&client, organization, &mut dice).await;
                }
            });
        }
        clients.join_all().await;
    }

    /// The time of 99 of 100 first reads since this was asked last, and how many there were.
    fn cold_p99(&self) -> (Duration, usize) {
        let mut took = std::mem::take(&mut *self.cold.lock().unwrap());
        took.sort();
        (took[took.len() * 99 / 100], took.len())
    }
}

async fn begun(server: &Server, organizations: Vec<Settled>, kept: usize) -> Arc<Traffic> {
    let known = |of| Known { of, state: tokio::sync::Mutex::default() };
    let traffic = Arc::new(Traffic {
        url: server.url.clone(),
        organizations: organizations.into_iter().map(known).collect(),
        used: Used { newest: Mutex::default(), kept: kept + CLIENTS },
        cold: Mutex::default(),
        requests: AtomicUsize::new(0),
    });
    let (next, mut clients) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..CLIENTS * 2 {
        let (traffic, next) = (Arc::clone(&traffic), Arc::clone(&next));
        clients.spawn(async move {
            let client = settled::client::http::plain().build().unwrap();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= traffic.organizations.len() {
                    return;
                }
                traffic.begin(&client, number).await;
            }
        });
    }
    clients.join_all().await;
    traffic
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_organizations_share_the_memory_of_a_few() {
    let (organizations, kept) = sizes();
    let dir = tempfile::tempdir().unwrap();
    let start = Start::on(dir.path().join("data")).with(&["--resident-streams", &kept.to_string()]);
    let all = found(&start.dir, organizations).await;
    let server = start.serve();
    let traffic = begun(&server, all, kept).await;
    let mut resident = Vec::new();
    let mut cold = Vec::new();
    let began = Instant::now();
    for round in 0..ROUNDS {
        traffic.round(round, organizations * STEPS).await;
        resident.push(resident_mib(&server));
        cold.push(traffic.cold_p99());
        let in_memory = figure(&server.operator("/metrics"), "settled_streams_in_memory");
        assert!(in_memory <= (kept + 2 * CLIENTS) as f64, "{in_memory} streams are in memory");
    }
    let requests = traffic.requests.load(Ordering::Relaxed);
    println!("{organizations} organizations, {kept} in memory: {requests} requests in {:?}", began.elapsed());
    println!("resident after each round, in MiB: {resident:.1?}");
    println!("p99 of first reads, and how many: {cold:.1?}");
    let (first, last) = (resident[1], resident[ROUNDS - 1]);
    assert!(last < first * 1.1 + 4.0, "it grows: {resident:.1?} MiB");
    // Other programs of the machine have their own peaks: what counts is the quietest round.
    let quietest = cold[1..].iter().min().expect("a round is measured");
    assert!(quietest.0 <= COLD, "99 of 100 first reads took up to {cold:?}");
    assert!(quietest.1 >= organizations / 2, "only {} first reads", quietest.1);
    assert_eq!(server.stop().and_then(|status| status.code()), Some(0));
    assert_sound(&start.dir);
}
