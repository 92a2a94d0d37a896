//! `/v1/proof`: what an auditor takes along, checked by who believes the key alone.

use serde_json::{Value, json};
use settled::actor::Actor;
use settled::clock::Clock;
use settled::ids::EventId;
use settled::proof::bundle::{Head, Item};
use settled::proof::checkpoint::Checkpoint;
use settled::proof::note::{VerifierKey, read_keys};
use settled::proof::tree::{is_consistent, root_by_inclusion};
use settled::proof::verify::{Verified, VerifyError, verify};
use settled::settings::roles::role::SystemRole;

use crate::server::{Somebody, TestServer, text};

/// A server whose checkpoints have one origin, over restarts too.
async fn served() -> (TestServer, Somebody) {
    let options = ["--public-url", "https://settled.example:8443"];
    let server = TestServer::start_with(Clock::system(), None, &options).await;
    let owner = server.found().await;
    (server, owner)
}

/// So many settings, each an event.
async fn configure(server: &TestServer, owner: &Somebody, environment: &str, round: u32, count: u32) {
    let values: serde_json::Map<String, Value> =
        (0..count).map(|key| (format!("K{key}"), json!(format!("{round} é\u{2028}\"\\\n")))).collect();
    let path = format!("/v1/environments/{environment}/config");
    server.patch(&path, owner, &Value::Object(values)).await.is(200);
}

async fn keys(server: &TestServer, who: &Somebody) -> Vec<VerifierKey> {
    read_keys(&server.get("/v1/proof/keys", who).await.is(200).text).unwrap()
}

async fn checkpoint(server: &TestServer, who: &Somebody) -> (String, Checkpoint) {
    let note = server.get("/v1/proof/checkpoint", who).await.is(200).text;
    let opened = Checkpoint::open(&note, &keys(server, who).await).unwrap();
    (note, opened)
}

async fn bundle(server: &TestServer, who: &Somebody, query: &str) -> String {
    server.get(&format!("/v1/proof/bundle{query}"), who).await.is(200).text
}

fn verified(bundle: &str, keys: &[VerifierKey]) -> Result<Verified, VerifyError> {
    verify(&mut bundle.as_bytes(), keys)
}

fn hashes(texts: &Value) -> Vec<[u8; 32]> {
    texts.as_array().unwrap().iter().map(hash).collect()
}

fn hash(encoded: &Value) -> [u8; 32] {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(encoded)).unwrap();
    bytes.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_all_that_happened_holds_against_the_servers_key() {
    let (server, owner) = served().await;
    server.environment(&owner, "Dev", "test").await;
    // More than two of the stretches of 256 that proofs are made by.
    for round in 0..3 {
        configure(&server, &owner, "dev", round, 200).await;
    }
    let answer = server.get("/v1/proof/bundle", &owner).await.is(200);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/x-ndjson"));
    let keys = keys(&server, &owner).await;
    let all = verified(&answer.text, &keys).unwrap();
    assert!(all.holds, "{:?}", all.faults);
    assert_eq!((all.from, all.to, all.size), (1, server.version(owner.organization), all.to));
    assert!(all.size > 600);
    assert_eq!(all.origin, format!("settled.example:8443/{}/0", owner.organization));
    // As they stand in the log.
    let events = server.get("/v1/events?after=255&limit=3", &owner).await.is(200).json();
    let some = bundle(&server, &owner, "?from=256&to=258").await;
    assert!(verified(&some, &keys).unwrap().holds);
    assert_eq!((some.lines().count(), events["data"].as_array().unwrap().len()), (4, 3));
    for (line, event) in some.lines().skip(1).zip(events["data"].as_array().unwrap()) {
        let item = Item::read(line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(item.event).unwrap(), *event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_proved_by_its_id_and_by_its_version() {
    let (server, owner) = served().await;
    server.environment(&owner, "Dev", "test").await;
    configure(&server, &owner, "dev", 1, 20).await;
    let rows = server.audit(&owner, "").await;
    assert!(rows.len() > 20);
    for row in &rows {
        let (id, version) = (text(&row["id"]), row["version"].as_u64().unwrap());
        let path = format!("/v1/proof/inclusion?event={id}");
        let by_id = server.get(&path, &owner).await.is(200).json();
        assert_eq!(by_id["version"], version);
        let path = format!("/v1/proof/inclusion?event={version}");
        assert_eq!(server.get(&path, &owner).await.is(200).json(), by_id);
        let checkpoint = Checkpoint::open(&text(&by_id["checkpoint"]), &keys(&server, &owner).await).unwrap();
        let root =
            root_by_inclusion(&hash(&by_id["leaf"]), version - 1, checkpoint.size, &hashes(&by_id["proof"]));
        assert_eq!(root, Some(checkpoint.root), "{id}");
    }
    let nobodys: EventId = settled::ids::Fresh.id();
    for (unknown, status) in
        [("0", 404), ("99999", 404), (&*nobodys.to_string(), 404), ("first", 422), ("", 422)]
    {
        server.get(&format!("/v1/proof/inclusion?event={unknown}"), &owner).await.is(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_go_on_from_each_other_over_restarts() {
    let (mut server, owner) = served().await;
    server.environment(&owner, "Dev", "test").await;
    let (note, mut last) = checkpoint(&server, &owner).await;
    assert_eq!(checkpoint(&server, &owner).await.0, note, "nothing was appended");
    for round in 0..4 {
        configure(&server, &owner, "dev", round, 70 * round + 1).await;
        if round % 2 == 1 {
            let before = checkpoint(&server, &owner).await.0;
            server.restart().await;
            assert_eq!(checkpoint(&server, &owner).await.0, before, "the one that was signed last");
        }
        let (_, now) = checkpoint(&server, &owner).await;
        assert!(now.size > last.size && now.size == server.version(owner.organization));
        let path = format!("/v1/proof/consistency?from={}&to={}", last.size, now.size);
        let proof = server.get(&path, &owner).await.is(200).json();
        let proof = hashes(&proof["proof"]);
        assert!(is_consistent((last.size, &last.root), (now.size, &now.root), &proof));
        last = now;
    }
    let refused = |from: u64, to: u64| format!("/v1/proof/consistency?from={from}&to={to}");
    for (from, to) in [(0, 1), (2, 1), (1, last.size + 1)] {
        server.get(&refused(from, to), &owner).await.is_problem(422, "invalid_request");
        server
            .get(&format!("/v1/proof/bundle?from={from}&to={to}"), &owner)
            .await
            .is_problem(422, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_stays_listed_and_what_it_signed_stays_good() {
    let (server, owner) = served().await;
    let before = keys(&server, &owner).await;
    let old = bundle(&server, &owner, "").await;
    server.app().store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
    let after = keys(&server, &owner).await;
    assert_eq!((after.len(), &after[1]), (2, &before[0]));
    let new = bundle(&server, &owner, "").await;
    assert!(verified(&old, &after).unwrap().holds && verified(&new, &after).unwrap().holds);
    assert!(verified(&old, &before).unwrap().holds, "from the key that was kept then");
    assert!(verified(&new, &before).is_err() && verified(&old, &after[..1]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_bundles_is_recorded_once_an_hour_and_proving_an_event_is_not() {
    let (server, owner) = TestServer::set_up_manual().await;
    let auditor = server.add_with_role(owner.organization, SystemRole::Auditor).await;
    let viewer = server.add_with_role(owner.organization, SystemRole::Viewer).await;
    let exports = async || server.audit(&owner, "&action=audit.export").await.len();
    for path in ["checkpoint", "keys", "inclusion?event=1", "consistency?from=1&to=2", "bundle"] {
        server.get(&format!("/v1/proof/{path}"), &auditor).await.is(200);
        server.get(&format!("/v1/proof/{path}"), &viewer).await.is_problem(403, "forbidden");
    }
    let taken = |rows: usize, denied: usize| rows + denied;
    assert_eq!(exports().await, taken(1, 1), "one bundle, and one that was denied");
    bundle(&server, &auditor, "").await;
    assert_eq!(exports().await, taken(1, 1));
    server.get("/v1/events", &auditor).await.is(200);
    assert_eq!(exports().await, taken(2, 1), "reading events is another thing");
    server.advance(3_600);
    bundle(&server, &auditor, "").await;
    assert_eq!(exports().await, taken(3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_another_organization_or_with_its_checkpoint_is_refused() {
    let (server, owner) = served().await;
    let body = json!({"name": "Another", "timezone": "Europe/Paris"});
    let founded = server.post("/v1/organizations", Some(&owner), &body).await.is(201).json();
    let other = text(&founded["id"]);
    let body = json!({"organization": other});
    let leaving = server.another_session(&owner).await;
    let session = server.post("/v1/auth/switch", Some(&leaving), &body).await.is(200).json();
    let elsewhere = Somebody { token: text(&session["token"]), ..owner.clone() };
    let (own_keys, other_keys) = (keys(&server, &owner).await, keys(&server, &elsewhere).await);
    assert_eq!(own_keys[0].public_key(), other_keys[0].public_key());
    let (own, others) = (bundle(&server, &owner, "").await, bundle(&server, &elsewhere, "").await);
    assert!(verified(&own, &own_keys).unwrap().holds && verified(&others, &other_keys).unwrap().holds);
    assert!(matches!(verified(&others, &own_keys), Err(VerifyError::Checkpoint(_))));
    // The other's checkpoint over one's own events, for whoever trusts the other's key.
    let (head, rest) = own.split_once('\n').unwrap();
    let (head, foreign) = (Head::read(head).unwrap(), Head::read(others.lines().next().unwrap()).unwrap());
    let mixed = Head::new(foreign.checkpoint, head.from, head.to.min(foreign.to)).line();
    let mixed = verified(&format!("{mixed}\n{rest}"), &other_keys);
    assert!(mixed.is_ok_and(|verified| !verified.holds));
}
