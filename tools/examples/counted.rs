//! What `cargo xtask counts` counts the instructions of: `counted PATH TIMES` goes one of the hot paths so often.
//!
//! What is made before is the same each time, so that the difference of two runs is that of the path alone.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::dns::Dns;
use settled::event::Recorded;
use settled::http::app::{App, OrganizationsPolicy, Policy, SignupPolicy};
use settled::http::client::Peer;
use settled::http::limits::Limits;
use settled::http::page::Cursors;
use settled::http::rate_limit::RateLimits;
use settled::http::router;
use settled::http::streams::Streams;
use settled::http::throttle::Throttle;
use settled::ids::Fresh;
use settled::log::canonical::leaf_hash;
use settled::log::codec::pack;
use settled::log::frame::Frame;
use settled::oauth::attempts::Attempts;
use settled::oauth::refresh::Refresher;
use settled::organization::Organization;
use settled::outgoing::{Guard, Outgoing};
use settled::password::{HashCost, Passwords};
use settled::settings::environments::command::{Compares, EnvironmentsCommand, WriteConfig};
use settled::settings::environments::value::ConfigKey;
use settled::snapshot::operating::Snapshots;
use settled::store::Submission;
use settled::store::resident::State;
use tools::bench::history::{each_frame, frames};
use tools::counts::Path;
use tools::mix::generate::{Filled, Size, beginning, fill};
use tools::mix::store::OpenStore;
use tower::ServiceExt as _;

/// Enough for every kind of event and for a full page.
const EVENTS: u64 = 400;
const EVENTS_PER_FRAME: usize = 64;
const SEED: u64 = 9;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path: Path = arguments.next().context("which path?")?.parse()?;
    let times: usize = arguments.next().context("how often?")?.parse()?;
    let end = Timestamp::from_micros(1_800_000_000_000_000);
    let open = OpenStore::in_memory(beginning(end))?;
    let filled = fill(&open, Size { events: EVENTS, organizations: 1 }, SEED, end)?;
    let filled = filled.first().context("there is an organization")?;
    match path {
        Path::Event => events(&recorded(&open)?, times)?,
        Path::Frame => decode(&recorded(&open)?, times)?,
        Path::Leaf => leaves(&recorded(&open)?, times)?,
        Path::Write => write(&open, filled, times)?,
        Path::Read => {
            let (slug, keys) = filled.known.environments.first().context("there is an environment")?;
            let key = keys.first().context("there is a value")?;
            request(&open, filled, &format!("/v1/environments/{slug}/config/{key}"), times)?;
        }
        Path::AuditPage => {
            let owner = filled.known.owner;
            request(&open, filled, &format!("/v1/audit?user={owner}&limit=50"), times)?;
        }
    }
    open.close()
}

fn recorded(open: &OpenStore) -> Result<Vec<Recorded>> {
    let mut recorded = Vec::new();
    each_frame(&**open.store.log(), |frame| {
        if frame.header().stream != settled::ids::StreamId::Platform {
            recorded.extend(frame.events().collect::<Result<Vec<_>, _>>()?);
        }
        Ok(())
    })?;
    Ok(recorded)
}

/// Packs, unpacks and applies one event after the other.
fn events(recorded: &[Recorded], times: usize) -> Result<()> {
    let mut state = State::Organization(Arc::<Organization>::default());
    for event in recorded.iter().cycle().take(times) {
        let packed = pack(black_box(event))?;
        state.apply(black_box(&packed.recorded));
    }
    black_box(state);
    Ok(())
}

/// Reads a frame and every event in it.
fn decode(recorded: &[Recorded], times: usize) -> Result<()> {
    let frame =
        frames(&recorded[..EVENTS_PER_FRAME], EVENTS_PER_FRAME)?.pop().and_then(|append| append.frame);
    let frame: Bytes = frame.context("there is a frame")?;
    for _ in 0..times {
        for event in Frame::parse(black_box(frame.clone()))?.events() {
            black_box(event?);
        }
    }
    Ok(())
}

/// Makes the canonical JSON of one event after the other, and its leaf hash.
fn leaves(recorded: &[Recorded], times: usize) -> Result<()> {
    let json =
        recorded.iter().map(|event| serde_json::to_value(event.packed())).collect::<Result<Vec<_>, _>>()?;
    for event in json.iter().cycle().take(times) {
        black_box(leaf_hash(black_box(event)));
    }
    Ok(())
}

/// Sets one value after the other, each in a batch of its own.
fn write(open: &OpenStore, filled: &Filled, times: usize) -> Result<()> {
    let actor = Actor { id: ActorId::Person(filled.known.owner), session: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let handle = open.store.organization(filled.known.organization).await?;
        let handle = handle.context("the organization is there")?;
        let environment =
            handle.view().organization().environments.iter().next().context("there is an environment")?.id;
        for number in 0..times {
            let command = EnvironmentsCommand::WriteConfig(WriteConfig {
                environment,
                compares: Compares::Configuration,
                values: vec![(ConfigKey::try_from("COUNTED")?, Some(format!("\"{number:0>150}\"")))],
                must_exist: false,
            });
            let done = open.store.execute(&handle, Submission::new(command, actor)).await?;
            ensure!(done.events == 1, "nothing was written");
        }
        Ok(())
    })
}

/// Sends one request over and over through the router, without a connection.
fn request(open: &OpenStore, filled: &Filled, path: &str, times: usize) -> Result<()> {
    let router = routes(open)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..times {
            let request = Request::get(path)
                .header("host", "localhost")
                .header("authorization", format!("Bearer {}", filled.token))
                .extension(Peer::Unix)
                .body(Body::empty())?;
            let answer = router.clone().oneshot(request).await?;
            let status = answer.status();
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
            if !status.is_success() {
                bail!("{path} was answered {status}: {}", String::from_utf8_lossy(&body));
            }
            black_box(body);
        }
        Ok(())
    })
}

fn routes(open: &OpenStore) -> Result<Router> {
    let policy = Policy {
        setup_token: PathBuf::new(),
        signup: SignupPolicy::Off,
        organizations: OrganizationsPolicy::Operator,
        free_bytes: Arc::new(|| Ok(u64::MAX)),
        host: "localhost".to_owned(),
        public_url: "http://localhost".to_owned(),
        trusted_proxies: Vec::new(),
    };
    let dns = Dns::new(None, open.store.clock().clone());
    let outgoing = Outgoing::new(Guard::Public, dns.clone(), open.store.clock().clone());
    let app = App {
        store: open.store.clone(),
        passwords: Passwords::start(HashCost::CHEAPEST, 1)?,
        throttle: Arc::new(Throttle::new()),
        mail_throttle: Arc::new(Throttle::new()),
        mailer: None,
        dns,
        refresher: Refresher::new(open.store.clone(), outgoing.clone()),
        outgoing,
        attempts: Attempts::default(),
        rate_limits: Arc::new(RateLimits::default()),
        cursors: Cursors::new(open.store.ring().derive("cursors"), open.store.epoch()),
        streams: Streams::new(1),
        snapshots: Snapshots::new(PathBuf::new(), Fresh.id()),
        policy: Arc::new(policy),
    };
    Ok(router(&app, Arc::new(Limits::default())))
}
