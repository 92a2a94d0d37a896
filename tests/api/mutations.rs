//! Bundles, checkpoints and proofs, altered in every way that comes to mind: none is ever accepted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use settled::actor::Actor;
use settled::clock::Clock;
use settled::log::segment::tree::Hash;
use settled::proof::blame::Blame;
use settled::proof::bundle::{Head, Item};
use settled::proof::checkpoint::{Checkpoint, Origin};
use settled::proof::note::{VerifierKey, read_keys};
use settled::proof::tree::{is_consistent, root_by_inclusion};
use settled::proof::verify::verify;

use crate::server::{Somebody, TestServer};

/// How many mutations at scale 1; at 10 it is 20,000.
const MUTATIONS: u64 = 2_000;

/// The same numbers in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

struct Given {
    bundle: Vec<u8>,
    keys: Vec<VerifierKey>,
    /// Signed checkpoints that are not this bundle's: earlier, later, by another key, of another epoch or organization.
    others: Vec<String>,
}

async fn given() -> Given {
    let options = ["--public-url", "https://settled.example"];
    let server = TestServer::start_with(Clock::system(), None, &options).await;
    let owner = server.found().await;
    server.environment(&owner, "Dev", "test").await;
    let signed = async |owner: &Somebody| server.get("/v1/proof/checkpoint", owner).await.is(200).text;
    let earlier = signed(&owner).await;
    let values = json!({"A": 1, "B": "two", "C": [3], "D": {"four": true}, "E": "fünf", "F": ""});
    server.patch("/v1/environments/dev/config", &owner, &values).await.is(200);
    let customer = server.customer(&owner, &json!({"name": "One", "tags": {"plan": "pro"}})).await;
    let document = format!("/v1/customers/{customer}/data/profile");
    server.put(&document, &owner, &json!({"value": {"a": 1}})).await.is(201);
    server.execution(&owner, &customer, "sync").await;
    let app = json!({"provider": "github", "client_id": "c", "client_secret": "a client secret"});
    server.post("/v1/oauth-apps", Some(&owner), &app).await.is(201);
    let quota = json!({"limit": 5, "soft": true});
    server.put("/v1/billing/quotas/executions", &owner, &quota).await.is(200);
    let keys = read_keys(&server.get("/v1/proof/keys", &owner).await.is(200).text).unwrap();
    let bundle = server.get("/v1/proof/bundle?from=3", &owner).await.is(200).text;
    server.patch("/v1/environments/dev/config", &owner, &json!({"G": 7})).await.is(200);
    let later = signed(&owner).await;
    let head = Head::read(bundle.lines().next().unwrap()).unwrap();
    let own = Checkpoint::open(&head.checkpoint, &keys).unwrap();
    let store = &server.app().store;
    let signer = store.signer().await.unwrap();
    let epoch = Origin::new(own.origin.host(), own.origin.organization(), "x7");
    let epoch = Checkpoint { origin: epoch, ..own.clone() }.sign(&signer);
    let organization = Origin::new(own.origin.host(), settled::ids::Fresh.id(), own.origin.epoch());
    let organization = Checkpoint { origin: organization, ..own.clone() }.sign(&signer);
    store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
    let key = own.sign(&store.signer().await.unwrap());
    Given { bundle: bundle.into_bytes(), keys, others: vec![earlier, later, epoch, organization, key] }
}

/// One of them, by what it does.
fn mutate(given: &Given, dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let mut bytes = given.bundle.clone();
    let at = dice.below(bytes.len());
    let lines: Vec<&[u8]> = given.bundle.split_inclusive(|byte| *byte == b'\n').collect();
    let line = 1 + dice.below(lines.len() - 1);
    let with = |lines: Vec<&[u8]>| lines.concat();
    match dice.below(12) {
        0 => {
            bytes[at] ^= 1 << dice.below(8);
            ("a bit flipped", bytes)
        }
        1 => {
            bytes[at] = u8::try_from(dice.below(256)).unwrap();
            ("a byte replaced", bytes)
        }
        2 => {
            bytes.truncate(at);
            ("cut off", bytes)
        }
        3 => {
            bytes.remove(at);
            ("a byte removed", bytes)
        }
        4 => {
            bytes.insert(at, b" \n\"0a\\"[dice.below(6)]);
            ("a byte added", bytes)
        }
        5 => {
            let other = dice.below(bytes.len());
            bytes.swap(at, other);
            ("two bytes swapped", bytes)
        }
        6 => {
            let mut lines = lines;
            lines.remove(line);
            ("a line removed", with(lines))
        }
        7 => {
            let mut lines = lines;
            lines.insert(1 + dice.below(lines.len() - 1), lines[line]);
            ("a line doubled", with(lines))
        }
        8 => {
            let other = 1 + dice.below(lines.len() - 1);
            let mut lines = lines;
            lines.swap(line, other);
            ("two lines swapped", with(lines))
        }
        9 => {
            let text = |line: &[u8]| String::from_utf8(line.trim_ascii_end().to_vec()).unwrap();
            let (one, other) = (text(lines[line]), text(lines[1 + dice.below(lines.len() - 1)]));
            let path = Item::read(&other).unwrap().path;
            let mixed = Item { event: Item::read(&one).unwrap().event, path }.line() + "\n";
            let mut lines = lines;
            lines[line] = mixed.as_bytes();
            ("another event's proof", with(lines))
        }
        10 => {
            let head = Head::read(std::str::from_utf8(lines[0].trim_ascii_end()).unwrap()).unwrap();
            let other = given.others[dice.below(given.others.len())].clone();
            let head = Head::new(other, head.from, head.to).line() + "\n";
            let mut lines = lines;
            lines[0] = head.as_bytes();
            ("another checkpoint", with(lines))
        }
        _ => {
            let mut head = Head::read(std::str::from_utf8(lines[0].trim_ascii_end()).unwrap()).unwrap();
            let by = 1 + dice.below(3) as u64;
            if dice.below(2) == 0 {
                head.from += by
            } else {
                head.to -= by
            };
            let head = head.line() + "\n";
            let mut lines = lines;
            lines[0] = head.as_bytes();
            ("another range", with(lines))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_altered_is_accepted() {
    let given = given().await;
    assert!(verify(&mut &given.bundle[..], &given.keys).unwrap().holds);
    let mut dice = Dice(12);
    let mut accepted = Vec::new();
    let mut altered = 0;
    for number in 0..MUTATIONS * u64::from(crate::scale()) {
        let (what, bytes) = mutate(&given, &mut dice);
        if bytes == given.bundle {
            continue;
        }
        altered += 1;
        if verify(&mut &bytes[..], &given.keys).is_ok_and(|verified| verified.holds) {
            accepted.push((number, what));
        }
    }
    assert_eq!(accepted, []);
    assert!(altered > MUTATIONS * 9 / 10, "{altered}");
}

/// A checkpoint, and what leads to it: from an event, and from a smaller one.
struct Proofs {
    keys: Vec<VerifierKey>,
    note: String,
    checkpoint: Checkpoint,
    leaf: Hash,
    index: u64,
    inclusion: Vec<Hash>,
    smaller: Checkpoint,
    consistency: Vec<Hash>,
}

fn hashes(proof: &Value) -> Vec<Hash> {
    let hash = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap().try_into().unwrap();
    proof.as_array().unwrap().iter().map(hash).collect()
}

async fn proofs() -> Proofs {
    let server =
        TestServer::start_with(Clock::system(), None, &["--public-url", "https://settled.example"]).await;
    let owner = server.found().await;
    server.environment(&owner, "Dev", "test").await;
    let get = async |path: &str| server.get(path, &owner).await.is(200);
    let keys = read_keys(&get("/v1/proof/keys").await.text).unwrap();
    let open = |note: &str| Checkpoint::open(note, &keys).unwrap();
    let smaller = open(&get("/v1/proof/checkpoint").await.text);
    let values = json!({"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 6, "G": 7});
    server.patch("/v1/environments/dev/config", &owner, &values).await.is(200);
    let note = get("/v1/proof/checkpoint").await.text;
    let checkpoint = open(&note);
    let inclusion = get("/v1/proof/inclusion?event=3").await.json();
    let path = format!("/v1/proof/consistency?from={}&to={}", smaller.size, checkpoint.size);
    let consistency = hashes(&get(&path).await.json()["proof"]);
    let leaf = hashes(&json!([inclusion["leaf"]]))[0];
    let inclusion = hashes(&inclusion["proof"]);
    Proofs { note, checkpoint, leaf, index: 2, inclusion, smaller, consistency, keys }
}

/// Hashes that are not those of before.
fn other_hashes(hashes: &[Hash], dice: &mut Dice) -> Vec<Hash> {
    let mut other = hashes.to_vec();
    let at = dice.below(hashes.len());
    match dice.below(5) {
        0 => other[at][dice.below(32)] ^= 1 << dice.below(8),
        1 => drop(other.remove(at)),
        2 => other.insert(at, hashes[dice.below(hashes.len())]),
        3 => other.swap(at, dice.below(hashes.len())),
        _ => other.truncate(at),
    }
    other
}

impl Proofs {
    /// Whether the proof of the event leads to the checkpoint.
    fn includes(&self, leaf: &Hash, index: u64, path: &[Hash]) -> bool {
        root_by_inclusion(leaf, index, self.checkpoint.size, path) == Some(self.checkpoint.root)
    }

    /// Whether the checkpoint goes on from another.
    fn goes_on_from(&self, from: (u64, &Hash), path: &[Hash]) -> bool {
        is_consistent(from, (self.checkpoint.size, &self.checkpoint.root), path)
    }

    /// Whether one of them is accepted that was altered; nothing where it was not.
    fn accepts_one(&self, dice: &mut Dice) -> Option<bool> {
        let other = |hash: &Hash, dice: &mut Dice| {
            let mut other = *hash;
            other[dice.below(32)] ^= 1 << dice.below(8);
            other
        };
        match dice.below(6) {
            0 => {
                let path = other_hashes(&self.inclusion, dice);
                (path != self.inclusion).then(|| self.includes(&self.leaf, self.index, &path))
            }
            1 => Some(self.includes(&other(&self.leaf, dice), self.index, &self.inclusion)),
            2 => {
                let index = dice.below(usize::try_from(self.checkpoint.size).unwrap()) as u64;
                (index != self.index).then(|| self.includes(&self.leaf, index, &self.inclusion))
            }
            3 => {
                let path = other_hashes(&self.consistency, dice);
                let from = (self.smaller.size, &self.smaller.root);
                (path != self.consistency).then(|| self.goes_on_from(from, &path))
            }
            4 => {
                let root = other(&self.smaller.root, dice);
                Some(self.goes_on_from((self.smaller.size, &root), &self.consistency))
            }
            _ => {
                let mut note = self.note.clone().into_bytes();
                let at = dice.below(note.len());
                match dice.below(4) {
                    0 => note[at] ^= 1 << dice.below(7),
                    1 => note.truncate(at),
                    2 => drop(note.remove(at)),
                    _ => note.insert(at, b"\n a1="[dice.below(5)]),
                }
                let note = String::from_utf8(note).ok().filter(|note| *note != self.note)?;
                Some(Checkpoint::open(&note, &self.keys).is_ok())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_checkpoint_and_no_proof_that_was_altered_is_accepted() {
    let proofs = proofs().await;
    assert!(proofs.includes(&proofs.leaf, proofs.index, &proofs.inclusion));
    assert!(proofs.goes_on_from((proofs.smaller.size, &proofs.smaller.root), &proofs.consistency));
    let mut dice = Dice(13);
    let tried = (0..MUTATIONS * u64::from(crate::scale())).filter_map(|_| proofs.accepts_one(&mut dice));
    let tried: Vec<bool> = tried.collect();
    assert!(tried.len() as u64 > MUTATIONS * 7 / 10, "{}", tried.len());
    assert!(tried.iter().all(|accepted| !accepted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_of_an_event_that_is_altered_blames_that_event() {
    let given = given().await;
    let lines: Vec<&[u8]> = given.bundle.split_inclusive(|byte| *byte == b'\n').collect();
    for (number, version) in (1..lines.len()).zip(3..) {
        let text = String::from_utf8(lines[number].to_vec()).unwrap();
        // A digit of the time: the event reads as before, but for that.
        let at = text.find("\"at\":\"").unwrap() + 20;
        let mut altered = lines[number].to_vec();
        altered[at] = if altered[at] == b'5' { b'6' } else { b'5' };
        let mut mutated = lines.clone();
        mutated[number] = &altered;
        let verified = verify(&mut &mutated.concat()[..], &given.keys).unwrap();
        let [Blame::Altered { version: blamed, line, event: Some(_) }] = verified.faults[..] else {
            panic!("one event is blamed: {:?}", verified.faults);
        };
        assert_eq!((blamed, line), (version, number as u64 + 1));
    }
}
