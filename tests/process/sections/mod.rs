//! A writer for each section of the settings, and what each was told, held against what a later server shows: what was
//! acknowledged is there as it was asked for, and what was under way is there as a whole or not at all.
//!
//! What a section's writer asks for is in `laps.rs`, how it is read in `place.rs`.

mod laps;
mod place;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::accepting::mailed;
use crate::process::{Login, Server, text};
use crate::sections::laps::Section;
use crate::sections::place::{Place, Reader, Stands};

/// How long all sections may take for a lap each on a busy machine.
const LAPS_MAX: Duration = Duration::from_secs(180);

/// What one request changes, place by place.
type Change = Vec<(Place, Stands)>;

/// What was asked for and what was acknowledged, over all lives of a store.
pub struct Sections {
    /// Where the server's mails lie.
    mails: PathBuf,
    /// The key of a program that reads `prod`.
    program: String,
    /// The organization's Owner, as a member.
    owner: String,
    client: reqwest::Client,
    next: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    stands: BTreeMap<Place, Stands>,
    /// What was sent and not answered, by a number of its own.
    under_way: BTreeMap<u64, Change>,
    /// The id of what was changed, by the version that the answer named.
    acknowledged: BTreeMap<u64, String>,
    /// The newest version of the stream that any answer named.
    newest: u64,
    /// Up to this version the log was held against what was acknowledged.
    verified: u64,
    /// How many requests were acknowledged.
    requests: usize,
    /// How many laps each section has made.
    laps: BTreeMap<Section, u64>,
}

/// Why a lap ends before its end.
#[derive(Debug)]
pub enum Ended {
    /// The server has no room for it, and has recorded nothing.
    Refused,
    /// There is no server any more.
    Gone,
}

impl Sections {
    /// Of a server that is set up, whose mails lie in a folder.
    pub async fn new(server: &Server, login: &Login, mails: &Path) -> Self {
        let key = json!({"name": "Reads", "mode": "live"});
        let (status, key) = server.call(login, "POST", "/v1/api-keys", Some(key)).await;
        assert_eq!(status, 201, "{key}");
        let (_, me) = server.call(login, "GET", "/v1/me", None).await;
        Self {
            mails: mails.to_owned(),
            program: text(&key["key"]),
            owner: text(&me["person"]["id"]),
            client: settled::client::http::plain().build().unwrap(),
            next: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// How many requests were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.known().requests
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets a writer of each section make its laps until the server is gone or the set is dropped.
    pub fn write(self: &Arc<Self>, writers: &mut JoinSet<()>, server: &Server, login: &Login) {
        for section in Section::ALL {
            let writer =
                Writer { sections: Arc::clone(self), url: server.url.clone(), token: login.token.clone() };
            writers.spawn(async move {
                loop {
                    match section.lap(&writer, writer.sections.number()).await {
                        Ok(()) => *writer.sections.known().laps.entry(section).or_default() += 1,
                        Err(Ended::Refused) => tokio::time::sleep(Duration::from_millis(5)).await,
                        Err(Ended::Gone) => return,
                    }
                }
            });
        }
    }

    /// Waits until every section has made a lap.
    pub async fn until_each_made_a_lap(&self) {
        let deadline = Instant::now() + LAPS_MAX;
        while self.known().laps.len() < Section::ALL.len() {
            assert!(Instant::now() < deadline, "only these made a lap: {:?}", self.known().laps);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Holds the log and what is served against what was acknowledged.
    pub async fn verify(&self, server: &Server, login: &Login) {
        self.verify_log(server, login);
        let mut reader = Reader::new(server, login);
        let (stands, under_way) = {
            let mut known = self.known();
            (known.stands.clone(), std::mem::take(&mut known.under_way))
        };
        // What a place may be: as it is known first, then as what was under way would have it.
        let gone = Stands::Gone;
        let mut may: BTreeMap<&Place, Vec<&Stands>> = BTreeMap::new();
        for (place, stands) in &stands {
            may.entry(place).or_default().push(stands);
        }
        for (place, then) in under_way.values().flatten() {
            may.entry(place).or_insert_with(|| vec![&gone]).push(then);
        }
        let mut found = BTreeMap::new();
        for place in may.keys() {
            found.insert(*place, reader.at(place).await);
        }
        for change in under_way.values() {
            let is = |place: &Place, stands: &Stands| stands.holds(found[place].as_ref());
            let came = |(place, then): &&(Place, Stands)| is(place, then) && !is(place, may[place][0]);
            let halves = change.iter().filter(came).count();
            let whole = change.iter().all(|(place, then)| is(place, then));
            assert!(halves == 0 || whole, "only a part of this came: {change:?}, there is {found:?}");
        }
        let mut settled = BTreeMap::new();
        for (place, may) in may {
            let found = found[place].as_ref();
            let stands = may.iter().find(|stands| stands.holds(found));
            let stands = stands.unwrap_or_else(|| panic!("{place:?} should be {may:?} and is {found:?}"));
            if let Stands::Has(_) = stands {
                settled.insert(place.clone(), (*stands).clone());
            }
        }
        self.known().stands = settled;
    }

    /// Each acknowledged version is an event about what the answer was about, and the log reaches as far as any answer said.
    fn verify_log(&self, server: &Server, login: &Login) {
        let mut known = self.known();
        let after = known.verified;
        let path = format!("/v1/operator/log/export?stream={}&after={after}", login.organization);
        let lines = server.operator(&path);
        let events: Vec<&str> = lines.lines().collect();
        let end = after + events.len() as u64;
        assert!(end >= known.newest, "the log ends at {end}; an answer named {}", known.newest);
        for (version, id) in known.acknowledged.range(after + 1..) {
            let event = events[usize::try_from(version - after - 1).expect("a log in memory")];
            assert!(event.contains(id), "version {version} is of {id}: {event}");
        }
        known.verified = end;
    }
}

/// What a section's writer asks a server with.
pub struct Writer {
    sections: Arc<Sections>,
    url: String,
    token: String,
}

impl Writer {
    /// A request, after which places are so; its answer.
    pub async fn ask<const N: usize>(
        &self,
        method: &str,
        path: &str,
        body: Value,
        then: [(Place, Stands); N],
    ) -> Result<Value, Ended> {
        let request = self.request(method, path, &body).bearer_auth(&self.token);
        self.send(request, then).await
    }

    /// The same of somebody who shows no credential.
    pub async fn ask_in_public<const N: usize>(
        &self,
        path: &str,
        body: Value,
        then: [(Place, Stands); N],
    ) -> Result<Value, Ended> {
        self.send(self.request("POST", path, &body), then).await
    }

    /// Says what is at a place of which nothing was told yet.
    pub fn knows(&self, place: Place, stands: Stands) {
        self.sections.known().stands.entry(place).or_insert(stands);
    }

    /// What a program reads at run time.
    pub fn read(&self, pointer: String) -> Place {
        Place::read_by(&self.sections.program, pointer)
    }

    /// The organization's Owner, as a member.
    pub fn owner(&self) -> &str {
        &self.sections.owner
    }

    /// The token of the one mail to an address.
    pub async fn mailed(&self, address: &str) -> Result<String, Ended> {
        loop {
            if let Some(token) = mailed(&self.sections.mails, address) {
                return Ok(token);
            }
            // What a killed server had not sent comes no more.
            self.request("GET", "/healthz", &Value::Null).send().await.map_err(|_| Ended::Gone)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let request = self.sections.client.request(method, format!("{}{path}", self.url));
        if body.is_null() { request } else { request.json(body) }
    }

    async fn send<const N: usize>(
        &self,
        request: reqwest::RequestBuilder,
        then: [(Place, Stands); N],
    ) -> Result<Value, Ended> {
        let number = self.sections.number();
        self.sections.known().under_way.insert(number, then.to_vec());
        let response = request.send().await.map_err(|_| Ended::Gone)?;
        match response.status().as_u16() {
            200..=204 => {}
            429 | 503 | 507 => return Err(Ended::Refused),
            500 => return Err(Ended::Gone),
            other => panic!("{other}: {then:?}: {:?}", response.text().await),
        }
        // A whole header with a 2xx is an acknowledgement.
        let version = response.headers().get("settled-version").and_then(|version| version.to_str().ok());
        {
            let mut known = self.sections.known();
            known.under_way.remove(&number);
            known.stands.extend(then);
            known.requests += 1;
            let version = version.and_then(|version| version.parse().ok()).unwrap_or(0);
            known.newest = known.newest.max(version);
        }
        let body = response.text().await.map_err(|_| Ended::Gone)?;
        let body: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let told = body.get("connection").unwrap_or(&body);
        if let (Some(version), Some(id)) = (told["version"].as_u64(), told["id"].as_str()) {
            let before = self.sections.known().acknowledged.insert(version, id.to_owned());
            assert!(before.is_none(), "version {version} was acknowledged twice");
        }
        Ok(body)
    }
}
