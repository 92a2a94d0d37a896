//! Checkpoints: one for what is durable, kept before it is shown, and none that takes back what was signed for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use settled::actor::Actor;
use settled::ids::{Fresh, OrganizationId, StreamId};
use settled::log::memory::MemoryLog;
use settled::log::{Append, EventLog, Key};
use settled::proof::checkpoint::{Checkpoint, Origin};
use settled::store::Refusal;
use settled::store::check_checkpoints::{CheckpointsReport, check};
use settled::store::checkpoints::{SignError, Signed};

use crate::test_store::{Founded, Keys, TestStore, start};

const HOST: &str = "settled.example";

pub async fn sign(store: &TestStore, organization: OrganizationId) -> Result<Signed, SignError> {
    let origin = store.store.checkpoint_origin(HOST, organization);
    store.store.checkpoint(&store.handle(organization), origin).await
}

fn kept(store: &TestStore, organization: OrganizationId) -> Option<String> {
    let key = Key::Checkpoint(StreamId::Organization(organization));
    store.log.get(&key).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Puts a note in the place of the last checkpoint, as if it had been signed.
fn put(store: &TestStore, organization: OrganizationId, note: String) {
    let stream = StreamId::Organization(organization);
    let put = vec![(Key::Checkpoint(stream), note.into_bytes())];
    store.log.append(vec![Append { stream, expected: None, frame: None, put, remove: Vec::new() }]).unwrap();
}

#[tokio::test]
async fn a_checkpoint_is_signed_once_and_kept_over_a_restart() {
    let (log, keys) = (Arc::new(MemoryLog::new()), Keys::new());
    let open = || TestStore::open(Arc::clone(&log) as Arc<dyn EventLog>, keys.clone(), start(), 64);
    let store = open();
    let Founded { organization, .. } = store.found("Acme").await;
    let signed = sign(&store, organization).await.unwrap();
    assert_eq!(signed.checkpoint.size, store.handle(organization).view().version());
    assert_eq!(kept(&store, organization), Some(signed.note.clone()));
    assert_eq!(sign(&store, organization).await.unwrap().note, signed.note);
    store.store.stop();
    assert_eq!(sign(&open(), organization).await.unwrap().note, signed.note);
}

#[tokio::test]
async fn what_takes_back_an_earlier_checkpoint_is_never_signed() {
    let store = TestStore::in_memory();
    let Founded { organization, .. } = store.found("Acme").await;
    let Signed { checkpoint, .. } = sign(&store, organization).await.unwrap();
    let signer = store.store.signer().await.unwrap();
    for earlier in [
        Checkpoint { size: checkpoint.size + 1, ..checkpoint.clone() },
        Checkpoint { root: [7; 32], ..checkpoint.clone() },
        Checkpoint { size: 1, root: [7; 32], ..checkpoint.clone() },
    ] {
        let note = earlier.sign(&signer);
        put(&store, organization, note.clone());
        let refused = sign(&store, organization).await;
        let now = checkpoint.size;
        assert!(
            matches!(refused, Err(SignError::Fork { signed, now: at, .. }) if signed == earlier.size && at == now),
            "{refused:?}"
        );
        assert_eq!(kept(&store, organization), Some(note), "it stays what it is");
    }
    put(&store, organization, "no note".to_owned());
    assert!(matches!(sign(&store, organization).await, Err(SignError::Damaged { .. })));
    // An operator restored a snapshot since.
    let origin = Origin::new(HOST, organization, "x7");
    put(&store, organization, Checkpoint { origin, size: 99, root: [7; 32] }.sign(&signer));
    assert_eq!(sign(&store, organization).await.unwrap().checkpoint, checkpoint);
}

#[tokio::test]
async fn fsck_finds_a_checkpoint_that_is_not_of_its_history() {
    let store = TestStore::in_memory();
    let Founded { organization, .. } = store.found("Acme").await;
    let found = || check(&*store.log, "0");
    assert_eq!(found(), CheckpointsReport::default());
    let Signed { checkpoint, note, .. } = sign(&store, organization).await.unwrap();
    let whole = CheckpointsReport { whole: 1, ..CheckpointsReport::default() };
    assert_eq!(found(), whole);
    // Signed by a key of before, which history still names.
    store.store.rotate_signing_key(Actor::OPERATOR).await.unwrap();
    assert_eq!(found(), whole);

    let (signer, of) =
        (store.store.signer().await.unwrap(), |origin| Checkpoint { origin, ..checkpoint.clone() });
    let another = of(Origin::new(HOST, Fresh.id(), "0"));
    let other_root = note.lines().nth(2).unwrap();
    for (damaged, what) in [
        (Checkpoint { size: checkpoint.size + 1, ..checkpoint.clone() }.sign(&signer), "there are"),
        (
            Checkpoint { root: [7; 32], ..checkpoint.clone() }.sign(&signer),
            "not those that it was signed for",
        ),
        (Checkpoint { size: 1, ..checkpoint.clone() }.sign(&signer), "not those that it was signed for"),
        (another.sign(&signer), "it is of org_"),
        (note.replace(other_root, &"A".repeat(43)), ""),
        ("no note".to_owned(), ""),
    ] {
        put(&store, organization, damaged.clone());
        let report = found();
        assert!(report.defects.len() == 1 && report.defects[0].contains(what), "{damaged}: {report:?}");
        assert!(!report.is_clean());
    }
    put(&store, organization, of(Origin::new(HOST, organization, "x7")).sign(&signer));
    assert_eq!(found(), CheckpointsReport { of_before: 1, ..CheckpointsReport::default() });
}

#[tokio::test]
async fn without_room_on_the_disk_none_is_shown_that_is_not_kept() {
    let store = TestStore::in_memory();
    let Founded { organization, .. } = store.found("Acme").await;
    store.store.signer().await.unwrap();
    store.disk.store(false, Ordering::Relaxed);
    assert!(matches!(sign(&store, organization).await, Err(SignError::Refused(Refusal::DiskFull))));
    assert_eq!(kept(&store, organization), None);
    store.disk.store(true, Ordering::Relaxed);
    assert!(sign(&store, organization).await.is_ok());
}
