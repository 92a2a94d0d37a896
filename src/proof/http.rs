//! `/v1/proof`: checkpoints, proofs against them, the keys that verify them, and bundles to check offline.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::command::{Command, OrganizationCommand};
use crate::event::Version;
use crate::http::app::App;
use crate::http::auth::still_may;
use crate::http::call::{Call, read_history};
use crate::http::ndjson::{self, BrokenOff};
use crate::http::pieces;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::http::streams::Kind;
use crate::ids::EventId;
use crate::log::segment::tree::Hash;
use crate::proof::bundle::{Head, Item};
use crate::proof::note::VerifierKey;
use crate::seal::signing::PublicKey;
use crate::settings::roles::permission::Permission;
use crate::store::checkpoints::Signed;
use crate::store::exports::{Form, NoteExport};
use crate::store::history::HistoryError;
use crate::store::proofs::{LEAVES, Prover};

/// The organization's newest checkpoint: a C2SP signed note over the size and the root of the Merkle tree of its events.
///
/// Every event that was answered for is in it. One is signed where the newest does not cover them yet.
#[utoipa::path(get, path = "/v1/proof/checkpoint", tag = "proof", responses(
    (status = 200, body = String, content_type = "text/plain", description = "The signed note."),
    (status = "4XX", body = ProblemBody)))]
pub async fn checkpoint(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let Signed { note, view, .. } = sign(&app, &call).await?;
    Ok(call.text(&view, note))
}

/// The keys that verify the organization's checkpoints, as C2SP verifier keys, one a line: the one that signs now, then
/// those before it.
///
/// Each is a key of this organization in this epoch. An auditor fetches them once, over a way that they trust, and keeps
/// them.
#[utoipa::path(get, path = "/v1/proof/keys", tag = "proof", responses(
    (status = 200, body = String, content_type = "text/plain", description = "A key a line."),
    (status = "4XX", body = ProblemBody)))]
pub async fn keys(State(app): State<App>, call: Call, _: NoParameters) -> Result<Response, Problem> {
    // Where nothing was signed yet, the key is made here, so that whoever asks first has one to keep.
    app.store.signer().await?;
    let origin = app.store.checkpoint_origin(&app.policy.host, call.organization.id).to_string();
    let platform = app.store.platform().view();
    let keys = platform.platform().signing_keys.newest_first();
    let line = |key: PublicKey| format!("{}\n", VerifierKey::new(origin.as_str(), key));
    let lines: String = keys.map(|key| line(key.public_key)).collect();
    Ok(call.text(&call.organization.view, lines))
}

/// Which event to prove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InclusionParameters {
    /// The event's id, or its version.
    #[param(example = "evt_01k5z3m1cdf9rr4c3gqj3f8y2e")]
    event: String,
}

/// That an event is in the tree of a checkpoint.
#[derive(Serialize, ToSchema)]
pub struct Inclusion {
    /// The event's version: its leaf is the one before that many, from 0.
    pub version: Version,
    /// How many leaves the tree has.
    pub size: u64,
    /// The leaf, in base64: SHA-256 of a zero byte and the event as `/v1/events` has it, as canonical JSON (RFC 8785).
    pub leaf: String,
    /// What stands beside it on the way up to the root, the lowest first, in base64 (RFC 6962).
    pub proof: Vec<String>,
    /// The checkpoint that has the root.
    pub checkpoint: String,
}

/// Proves that an event is in the tree of the newest checkpoint.
#[utoipa::path(get, path = "/v1/proof/inclusion", tag = "proof", params(InclusionParameters), responses(
    (status = 200, body = Inclusion), (status = "4XX", body = ProblemBody)))]
pub async fn inclusion(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let InclusionParameters { event } = query.parse()?;
    let wanted = Wanted::read(&event)?;
    let Signed { note, checkpoint, view } = sign(&app, &call).await?;
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), Arc::clone(&view));
    let size = checkpoint.size;
    let found = read_history(move || {
        let version = match wanted {
            Wanted::Version(version) => Some(version).filter(|version| (1..=size).contains(version)),
            Wanted::Id(id) => store.version_of(&handle, &seen, id)?,
        };
        let Some(version) = version else { return Ok(None) };
        let mut prover = Prover::new(&store, &handle, &seen);
        Ok(Some((version, prover.leaf(version)?, prover.inclusion(version, size)?)))
    })
    .await?;
    let (version, leaf, proof) = found.ok_or_else(Problem::not_found)?;
    let (leaf, proof) = (STANDARD.encode(leaf), texts(&proof));
    Ok(call.list(&view, &Inclusion { version, size, leaf, proof, checkpoint: note }))
}

/// Which event is meant.
enum Wanted {
    Version(Version),
    Id(EventId),
}

impl Wanted {
    fn read(text: &str) -> Result<Self, Problem> {
        let version = text.parse().map(Self::Version);
        version.or_else(|_| text.parse().map(Self::Id)).map_err(|_| {
            Problem::invalid_parameter("event", "malformed", "expected an event's id or its version")
        })
    }
}

/// Which two trees to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsistencyParameters {
    /// The size of the earlier checkpoint.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    from: u64,
    /// The size of the later one.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    to: u64,
}

/// That one tree is the beginning of another.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Consistency {
    /// The size of the earlier tree.
    pub from: u64,
    /// The size of the later one.
    pub to: u64,
    /// The hashes that show it, the lowest first, in base64 (RFC 6962); none where both are one.
    pub proof: Vec<String>,
}

/// Proves that the events of one checkpoint are the first of those of a later one: nothing was taken back in between.
#[utoipa::path(get, path = "/v1/proof/consistency", tag = "proof", params(ConsistencyParameters), responses(
    (status = 200, body = Consistency), (status = "4XX", body = ProblemBody)))]
pub async fn consistency(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let ConsistencyParameters { from, to } = query.parse()?;
    let view = call.organization.handle.view();
    within(from, to, view.version())?;
    let (store, handle, seen) = (app.store.clone(), Arc::clone(&call.organization.handle), Arc::clone(&view));
    let proof = read_history(move || Prover::new(&store, &handle, &seen).consistency(from, to)).await?;
    Ok(call.list(&view, &Consistency { from, to, proof: texts(&proof) }))
}

/// Which events to take along.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BundleParameters {
    /// The version of the first event; without it the organization's first.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    from: Option<Version>,
    /// The version of the last one; without it the newest.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    to: Option<Version>,
}

/// Events exactly as recorded, each with its proof, and the checkpoint: what `settled verify` checks without a server.
///
/// Lines of JSON: the first has the checkpoint and which events follow, each further one an event and its proof. That
/// somebody took a bundle is an event itself, once an actor and hour.
#[utoipa::path(get, path = "/v1/proof/bundle", tag = "proof", params(BundleParameters), responses(
    (status = 200, body = String, content_type = "application/x-ndjson", description = "The bundle."),
    (status = "4XX", body = ProblemBody)))]
pub async fn bundle(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let slot = app.streams.open(Kind::Export, call.caller.proof())?;
    let BundleParameters { from, to } = query.parse()?;
    let newest = call.organization.view.version();
    let from = from.unwrap_or(1);
    within(from, to.unwrap_or(newest), newest)?;
    // Durable before the first byte leaves.
    let note = Command::Organization(OrganizationCommand::Export(NoteExport { form: Form::Bundle }));
    call.submit(note, StatusCode::OK).await?;
    let Signed { note, checkpoint, view } = sign(&app, &call).await?;
    let handle = Arc::clone(&call.organization.handle);
    let to = to.unwrap_or(checkpoint.size);
    let begun = Bundle {
        head: Some(Head::new(note, from, to)),
        prover: Prover::new(&app.store, &handle, &view),
        size: checkpoint.size,
        next: from,
        last: to,
    };
    let name = format!("bundle-{}-{from}-{to}.ndjson", call.organization.id);
    let proof = call.caller.proof();
    let body = pieces::body((begun, slot), move |(mut bundle, slot)| {
        let (app, handle) = (app.clone(), Arc::clone(&handle));
        async move {
            if !still_may(&app, &handle, proof, Permission::AuditExport) {
                return Err(BrokenOff);
            }
            let piece = move || bundle.next_piece().map(|piece| piece.map(|piece| (piece, bundle)));
            let piece = app.streams.read(Kind::Export, piece).await?;
            Ok(piece.map(|(piece, bundle)| (piece, (bundle, slot))))
        }
    });
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(CONTENT_TYPE, ndjson::MEDIA_TYPE.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, body).into_response())
}

/// A bundle under way.
struct Bundle {
    /// The first line, until it has gone.
    head: Option<Head>,
    prover: Prover,
    size: u64,
    next: Version,
    last: Version,
}

impl Bundle {
    /// The next lines: those of 256 events at most. `None` behind the last. Blocks.
    fn next_piece(&mut self) -> Result<Option<Vec<u8>>, HistoryError> {
        if self.next > self.last {
            return Ok(None);
        }
        let mut lines = String::new();
        if let Some(head) = self.head.take() {
            lines.push_str(&head.line());
            lines.push('\n');
        }
        let until = self.next.div_ceil(LEAVES).saturating_mul(LEAVES).min(self.last);
        for (version, event) in (self.next..).zip(self.prover.texts(self.next, until)?) {
            let path = self.prover.inclusion(version, self.size)?;
            lines.push_str(&Item { event: &event, path }.line());
            lines.push('\n');
        }
        self.next = until + 1;
        Ok(Some(lines.into_bytes()))
    }
}

async fn sign(app: &App, call: &Call) -> Result<Signed, Problem> {
    let origin = app.store.checkpoint_origin(&app.policy.host, call.organization.id);
    Ok(app.store.checkpoint(&call.organization.handle, origin).await?)
}

/// Refuses a range that is none, or that ends in the future.
fn within(from: u64, to: u64, newest: Version) -> Result<(), Problem> {
    if from == 0 || from > to {
        return Err(Problem::invalid_parameter("from", "invalid", "expected 1 to `to`"));
    }
    if to > newest {
        return Err(Problem::invalid_parameter("to", "in_the_future", "nothing is known of the future"));
    }
    Ok(())
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}
