//! What proofs cost: checking a bundle without a server, proving one event of a long history, and asking for checkpoints
//! while others write.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use settled::client::http::plain;
use tempfile::TempDir;

use super::load::{Request, load};
use super::replay::{self, Replay};
use super::server::{Server, Servers};
use super::snapshot::run;
use super::write::values;
use super::{Length, ONE, Row, count, scratch, seconds};
use crate::mix::generate::Size;

/// How many events are proved in turn, from all over the history.
const DIFFERENT: u64 = 48;
/// How often a checkpoint is asked for while others write. A witness asks once a minute.
const PAUSE: Duration = Duration::from_millis(100);
/// From how many connections others write.
const CONNECTIONS: u32 = 64;

/// Checks a bundle of a whole history by the program, held against folding as many events.
pub struct VerifyBundle {
    servers: Rc<Servers>,
    events: usize,
    replay: Replay,
    taken: Option<Bundle>,
    details: Vec<String>,
}

impl VerifyBundle {
    /// Of as many events as are replayed.
    pub fn new(servers: &Rc<Servers>, replay: Replay, length: Length) -> Self {
        let (servers, events) = (Rc::clone(servers), replay::events(length));
        Self { servers, events, replay, taken: None, details: Vec::new() }
    }

    fn server(&self) -> Result<Rc<Server>> {
        self.servers.settled(Size { events: self.events as u64, organizations: 1 })
    }
}

impl Row for VerifyBundle {
    fn name(&self) -> &'static str {
        "verifying a bundle of a whole history"
    }

    fn reference_name(&self) -> &'static str {
        "replay from zero"
    }

    fn goal(&self) -> f64 {
        0.5
    }

    fn limit(&self) -> &'static str {
        "hashing each event and its way up to the root, and reading it out of JSON"
    }

    fn reference(&mut self) -> Result<f64> {
        self.replay.work()
    }

    fn work(&mut self) -> Result<f64> {
        if self.taken.is_none() {
            self.taken = Some(Bundle::of(&*self.server()?)?);
        }
        let bundle = self.taken.as_ref().context("taken just now")?;
        let mut verify = self.servers.program(&["verify"]);
        verify.arg(bundle.path("bundle")).arg("--key").arg(bundle.path("keys"));
        let took = seconds(|| run(verify))?;
        let per_second = count(bundle.events) / took;
        self.details.push(format!("{} events, {per_second:.0} events/s", bundle.events));
        Ok(per_second)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.server()?.process())
    }
}

/// A bundle of all events of an organization, and the keys that it is checked with; gone when dropped.
struct Bundle {
    dir: TempDir,
    events: usize,
}

impl Bundle {
    fn of(server: &Server) -> Result<Self> {
        let mut bundle = Self { dir: scratch()?, events: 0 };
        let client = Client::of(server)?;
        std::fs::write(bundle.path("keys"), client.get("/v1/proof/keys")?)?;
        let lines = client.get("/v1/proof/bundle")?;
        // The first line is the bundle's head.
        bundle.events = lines.lines().count() - 1;
        std::fs::File::create(bundle.path("bundle"))?.write_all(lines.as_bytes())?;
        Ok(bundle)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

/// Proves events of a long history by their ids over HTTP, held against 2 ms.
pub struct Inclusion {
    servers: Rc<Servers>,
    size: Size,
    length: Length,
    paths: Vec<String>,
    details: Vec<String>,
}

impl Inclusion {
    /// Over so many events.
    pub fn new(servers: &Rc<Servers>, events: u64, length: Length) -> Self {
        let (servers, size) = (Rc::clone(servers), Size { events, organizations: 1 });
        Self { servers, size, length, paths: Vec::new(), details: Vec::new() }
    }
}

impl Row for Inclusion {
    fn name(&self) -> &'static str {
        "an inclusion proof over a long history"
    }

    fn reference_name(&self) -> &'static str {
        "2 ms median"
    }

    fn goal(&self) -> f64 {
        1.0
    }

    fn limit(&self) -> &'static str {
        "hashing the up to 256 events that an event's lowest stored hash stands for"
    }

    fn reference(&mut self) -> Result<f64> {
        Ok(1.0 / 0.002)
    }

    fn work(&mut self) -> Result<f64> {
        let server = self.servers.settled(self.size)?;
        if self.paths.is_empty() {
            let client = Client::of(&server)?;
            let events = self.size.events;
            self.paths = (0..DIFFERENT)
                .map(|number| {
                    let page =
                        client.get(&format!("/v1/events?limit=1&after={}", events * number / DIFFERENT))?;
                    let page: Value = serde_json::from_str(&page)?;
                    let id = page["data"][0]["id"].as_str().context("an event has an id")?;
                    Ok(format!("/v1/proof/inclusion?event={id}"))
                })
                .collect::<Result<_>>()?;
        }
        let tokens = vec![server.first()?.token.clone()];
        let request = Request::get(server.base(), self.paths.clone(), tokens);
        let measured = load(&request, 1, self.length.seconds(), 0)?;
        self.details.push(measured.times());
        Ok(1.0 / measured.p50.as_secs_f64().max(1e-6))
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(self.size)?.process())
    }
}

/// Writes while somebody asks for a checkpoint ten times a second, held against writes without.
pub struct BesideCheckpoints {
    servers: Rc<Servers>,
    length: Length,
    seed: u32,
    details: Vec<String>,
}

impl BesideCheckpoints {
    /// To one organization.
    pub fn new(servers: &Rc<Servers>, length: Length) -> Self {
        // Other values than those of any other row's writes.
        Self { servers: Rc::clone(servers), length, seed: 8_000_000, details: Vec::new() }
    }

    fn writes(&mut self) -> Result<f64> {
        self.seed += 1;
        let server = self.servers.settled(ONE)?;
        let measured = load(&values(&server), CONNECTIONS, self.length.seconds(), self.seed)?;
        Ok(measured.per_second)
    }
}

impl Row for BesideCheckpoints {
    fn name(&self) -> &'static str {
        "durable writes beside 10 checkpoints a second"
    }

    fn reference_name(&self) -> &'static str {
        "the same without checkpoints"
    }

    fn goal(&self) -> f64 {
        // As close as two loads of the same kind come to each other.
        0.95
    }

    fn limit(&self) -> &'static str {
        "a commit more for each checkpoint, which the writer takes among all others"
    }

    fn reference(&mut self) -> Result<f64> {
        self.writes()
    }

    fn work(&mut self) -> Result<f64> {
        let client = Client::of(&*self.servers.settled(ONE)?)?;
        let done = std::sync::atomic::AtomicBool::new(false);
        let (writes, checkpoints) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| -> Result<u32> {
                let mut asked = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    client.get("/v1/proof/checkpoint")?;
                    asked += 1;
                    std::thread::sleep(PAUSE);
                }
                Ok(asked)
            });
            let writes = self.writes();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let checkpoints = asking.join().ok().context("the thread that asks panicked")??;
            anyhow::Ok((writes?, checkpoints))
        })?;
        self.details.push(format!("{writes:.0} writes/s beside {checkpoints} checkpoints"));
        Ok(writes)
    }

    fn details(&mut self) -> Vec<String> {
        std::mem::take(&mut self.details)
    }

    fn process(&self) -> Result<u32> {
        Ok(self.servers.settled(ONE)?.process())
    }
}

/// Who asks the first organization of a server, as its Owner.
struct Client {
    runtime: tokio::runtime::Runtime,
    base: String,
    token: String,
}

impl Client {
    fn of(server: &Server) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, base: server.base(), token: server.first()?.token.clone() })
    }

    fn get(&self, path: &str) -> Result<String> {
        self.runtime.block_on(async {
            let asked = plain().build()?.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
            Ok(asked.send().await?.error_for_status()?.text().await?)
        })
    }
}
