//! A witness of a server that lies: whatever that shows, keeps back or shows again, the witness is not evaded, and says which
//! trouble is no fork.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde::Deserialize;
use serde_json::{Value, json};
use settled::proof::note::VerifierKey;
use settled::seal::signing::PublicKey;
use sha2::{Digest as _, Sha256};

use crate::process::{Ended, command, run};

type Hash = [u8; 32];

const LOG: &str = "settled.example/org_01h455vb4pex5vsknk084sn02q";

/// What the server says next.
#[derive(Clone)]
struct Says {
    epoch: &'static str,
    /// Its history: a letter an event.
    history: &'static str,
    /// Of which it signs for so many.
    size: usize,
    /// What it answers instead of a checkpoint.
    refuses: Option<u16>,
    /// What it answers instead of a proof.
    proves: Option<u16>,
    key: u8,
}

impl Says {
    fn so_many(history: &'static str, size: usize) -> Self {
        Self { epoch: "0", history, size, refuses: None, proves: None, key: 1 }
    }

    fn without_proof(self, status: u16) -> Self {
        Self { proves: Some(status), ..self }
    }

    fn in_epoch(self, epoch: &'static str) -> Self {
        Self { epoch, ..self }
    }
}

/// The server, its witness's file, and the key that is trusted.
struct Liar {
    dir: tempfile::TempDir,
    url: String,
    says: Arc<Mutex<Says>>,
}

impl Liar {
    async fn start() -> Self {
        let says = Arc::new(Mutex::new(Says::so_many("", 0)));
        let router = Router::new()
            .route("/v1/proof/checkpoint", get(checkpoint))
            .route("/v1/proof/consistency", get(consistency))
            .with_state(Arc::clone(&says));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), verifier_key("0", 1)).unwrap();
        Self { dir, url, says }
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("kept")
    }

    fn evidence(&self) -> PathBuf {
        self.dir.path().join("kept.fork")
    }

    /// What a witness comes to that looks once, while the server says this.
    async fn look(&self, says: Says) -> Ended {
        *self.says.lock().unwrap() = says;
        watch(&self.url, &self.kept(), &self.dir.path().join("key")).await
    }

    /// The same, which must be a fork: the sizes that were signed for on both sides. The evidence is moved away.
    async fn forks(&self, says: Says) -> (u64, u64) {
        let before = std::fs::read_to_string(self.kept()).unwrap();
        let ended = self.look(says).await;
        assert!(ended.code == Some(1) && ended.stderr.contains("FORK"), "{ended:?}");
        assert!(std::fs::read_to_string(self.kept()).unwrap().starts_with(&before), "it keeps what it saw");
        let evidence: Value =
            serde_json::from_str(&std::fs::read_to_string(self.evidence()).unwrap()).unwrap();
        // As long as somebody has not taken the evidence, nothing else counts.
        let again = self.look(Says::so_many("abcdefghijkl", 12)).await;
        assert!(again.code == Some(1) && again.stderr.contains("found earlier"), "{again:?}");
        std::fs::remove_file(self.evidence()).unwrap();
        let size = |side: &str| evidence[side].as_str().unwrap().lines().nth(1).unwrap().parse().unwrap();
        (size("seen"), size("shown"))
    }
}

async fn watch(url: &str, kept: &Path, key: &Path) -> Ended {
    let mut witness = command(&["log", "watch-checkpoints", "--once", "--to"]);
    witness.arg(kept).arg("--key").arg(key).env("SETTLED_URL", url).env("SETTLED_API_KEY", "fastn_test_any");
    tokio::task::spawn_blocking(move || run(witness)).await.unwrap()
}

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn verifier(epoch: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(format!("{LOG}/{epoch}"), PublicKey(signing_key(seed).verifying_key().to_bytes()))
}

fn verifier_key(epoch: &str, seed: u8) -> String {
    verifier(epoch, seed).to_string()
}

fn problem(status: u16) -> Response {
    let body = json!({"type": "urn:settled:x", "title": "X", "status": status, "detail": "x", "code": "x", "request_id": "x"});
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn checkpoint(State(says): State<Arc<Mutex<Says>>>) -> Response {
    let says = says.lock().unwrap().clone();
    if let Some(status) = says.refuses {
        return problem(status);
    }
    let name = format!("{LOG}/{}", says.epoch);
    let text = format!("{name}\n{}\n{}\n", says.size, STANDARD.encode(root(&leaves(&says)[..says.size])));
    let mut signature = verifier(says.epoch, says.key).id().to_vec();
    signature.extend(signing_key(says.key).sign(text.as_bytes()).to_bytes());
    format!("{text}\n— {name} {}\n", STANDARD.encode(signature)).into_response()
}

#[derive(Deserialize)]
struct Between {
    from: usize,
    to: usize,
}

async fn consistency(State(says): State<Arc<Mutex<Says>>>, Query(between): Query<Between>) -> Response {
    let says = says.lock().unwrap().clone();
    match says.proves {
        Some(status) => problem(status),
        None => {
            let proof = proof(between.from, &leaves(&says)[..between.to], true);
            let proof: Vec<String> = proof.iter().map(|hash| STANDARD.encode(hash)).collect();
            axum::Json(json!({"from": between.from, "to": between.to, "proof": proof})).into_response()
        }
    }
}

fn leaves(says: &Says) -> Vec<Hash> {
    says.history.bytes().map(|letter| Sha256::digest([0, letter]).into()).collect()
}

/// RFC 6962, section 2.1, as it stands there.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

/// Section 2.1.2: SUBPROOF.
fn proof(first: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if first == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(half(leaves.len()));
    if first <= left.len() {
        let mut path = proof(first, left, whole);
        path.push(root(right));
        path
    } else {
        let mut path = proof(first - left.len(), right, false);
        path.push(root(left));
        path
    }
}

/// The largest power of two below a number.
fn half(size: usize) -> usize {
    size.next_power_of_two() / 2
}

const HISTORY: &str = "abcdefghijkl";
/// The same at first, and then another.
const OTHER: &str = "abcdeFGHIJKL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_counts_though_its_proof_was_kept_back() {
    let liar = Liar::start().await;
    assert_eq!(liar.look(Says::so_many(HISTORY, 5)).await.code, Some(0));
    let unproved = liar.look(Says::so_many(HISTORY, 9).without_proof(503)).await;
    assert!(unproved.code == Some(3) && unproved.stderr.contains("9 events were signed for"), "{unproved:?}");

    // Going back behind it, to what would be proved; back to what was proved; and another tree of its size.
    assert_eq!(liar.forks(Says::so_many(HISTORY, 7)).await, (9, 7));
    assert_eq!(liar.forks(Says::so_many(HISTORY, 5)).await, (9, 5));
    assert_eq!(liar.forks(Says::so_many(OTHER, 9)).await, (9, 9));
    // A larger tree that has what was proved and not what was signed: each that was seen is to be proved.
    assert_eq!(liar.forks(Says::so_many(OTHER, 12)).await, (5, 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_waits_for_its_proof_is_proved_once_there_is_one() {
    let liar = Liar::start().await;
    assert_eq!(liar.look(Says::so_many(HISTORY, 3)).await.code, Some(0));
    for size in [5, 8] {
        assert_eq!(liar.look(Says::so_many(HISTORY, size).without_proof(500)).await.code, Some(3));
    }
    let proved = liar.look(Says::so_many(HISTORY, 12)).await;
    assert_eq!(proved.code, Some(0), "{proved:?}");
    assert_eq!(proved.stdout.lines().count(), 3, "{proved:?}");
    let kept = std::fs::read_to_string(liar.kept()).unwrap();
    assert!(kept.lines().count() == 1 && kept.contains("\"proved\":true"), "{kept}");
    assert_eq!(liar.forks(Says::so_many(HISTORY, 11)).await, (12, 11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_ended_does_not_return() {
    let liar = Liar::start().await;
    assert_eq!(liar.look(Says::so_many(HISTORY, 9)).await.code, Some(0));
    let restored = liar.look(Says::so_many(HISTORY, 4).in_epoch("x7")).await;
    assert!(restored.code == Some(0) && restored.stdout.contains("restored a snapshot"), "{restored:?}");
    assert_eq!(liar.forks(Says::so_many(HISTORY, 12)).await, (9, 12));
    assert_eq!(liar.forks(Says::so_many(HISTORY, 9)).await, (9, 9));
    assert_eq!(liar.look(Says::so_many(HISTORY, 6).in_epoch("x7")).await.code, Some(0));
    assert_eq!(liar.look(Says::so_many(HISTORY, 2).in_epoch("y2")).await.code, Some(0));
    assert_eq!(liar.forks(Says::so_many(HISTORY, 7).in_epoch("x7")).await, (6, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_fork_does_not_end_like_one() {
    let liar = Liar::start().await;
    assert_eq!(liar.look(Says::so_many(HISTORY, 5)).await.code, Some(0));
    let says = || Says::so_many(HISTORY, 9);
    for (status, code) in [(401, 2), (403, 2), (429, 3), (500, 3), (503, 3)] {
        assert_eq!(liar.look(Says { refuses: Some(status), ..says() }).await.code, Some(code), "{status}");
        assert_eq!(liar.look(says().without_proof(status)).await.code, Some(code), "{status}");
    }
    // Whoever signs for a size and then knows none of it refuses the proof.
    assert_eq!(liar.look(says().without_proof(404)).await.code, Some(1));
    let forged = liar.look(Says { key: 2, ..says() }).await;
    assert_eq!(forged.code, Some(1), "{forged:?}");
    assert_eq!(liar.look(says()).await.code, Some(0));
    assert!(!liar.evidence().exists(), "none of this was a fork");

    let key = liar.dir.path().join("key");
    let nowhere = watch("http://127.0.0.1:1", &liar.kept(), &key).await;
    assert_eq!(nowhere.code, Some(3), "{nowhere:?}");
    let no_folder = watch(&liar.url, &liar.dir.path().join("no/folder/kept"), &key).await;
    assert!(no_folder.code == Some(2) && no_folder.stderr.contains("no/folder/kept"), "{no_folder:?}");
    let no_file = watch(&liar.url, &key, &key).await;
    assert!(no_file.code == Some(2) && no_file.stderr.contains("not a witness's file"), "{no_file:?}");
}
