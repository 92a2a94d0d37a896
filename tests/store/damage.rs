//! One wrapped data key, or one checkpoint, that is changed, cut or in another's place: it is found by its name wherever it is
//! looked at, in the store and in a snapshot of it, and never taken for what it was.

use settled::actor::Actor;
use settled::ids::{DataKeyId, Fresh, StreamId};
use settled::log::{Append, Key};
use settled::proof::checkpoint::{Checkpoint, Origin};
use settled::seal::Commitment;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::snapshot::keys_of;
use settled::snapshot::operating::{Snapshots, verify};
use settled::store::checkpoints::{SignError, Signed};
use settled::store::{check_checkpoints, check_keys};

use crate::checkpoints::sign;
use crate::scale;
use crate::secrets::Values;
use crate::snapshots::{Place, all, file};
use crate::test_store::{Founded, TestStore};

/// All that one flipped byte, a cut, and others in its place make of what was written: what was done, and what is there then.
fn damages(whole: &[u8], others: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x11;
        (format!("byte {at} is another"), bytes)
    });
    let cut = [0, 1, 4, 5, whole.len() / 2, whole.len() - 1].into_iter();
    let cut = cut.map(|length| (format!("cut to {length} bytes"), whole[..length].to_vec()));
    let longer = std::iter::once(("a byte more".to_owned(), [whole, &[0]].concat()));
    let others = others.iter().map(|other| ("another's".to_owned(), other.clone()));
    flipped.chain(cut).chain(longer).chain(others).collect()
}

/// Puts something in the place of what the log has.
fn put(store: &TestStore, stream: StreamId, key: Key, bytes: Vec<u8>) {
    let append = Append { stream, expected: None, frame: None, put: vec![(key, bytes)], remove: Vec::new() };
    store.log.append(vec![append]).unwrap();
}

/// A store with two organizations, and a secret in the first.
async fn given() -> (TestStore, Founded, Founded, At) {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let other = store.found_further(founded.account, "Other").await;
    let at = At { secret: Fresh.id(), scope: Scope::Organization };
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(at, "TOKEN", "a canary of a value")).await.unwrap();
    (store, founded, other, at)
}

/// The data key of a secret's value, and what history committed to.
fn data_key(store: &TestStore, founded: &Founded, at: At) -> (DataKeyId, Commitment) {
    let view = store.handle(founded.organization).view();
    let secret = view.organization().secrets.get(at.secret).unwrap();
    let value = secret.value.as_ref().unwrap();
    (value.sealed.key, value.commitment.unwrap())
}

#[tokio::test]
async fn a_data_key_that_is_not_what_was_written_is_named_and_opens_nothing() {
    let (store, founded, other, at) = given().await;
    let (stream, place) = (StreamId::Organization(founded.organization), Place::new());
    let (id, commitment) = data_key(&store, &founded, at);
    let key = Key::DataKey(stream, id);
    let whole = store.log.get(&key).unwrap().unwrap();
    let of = |stream| store.log.data_keys(stream).unwrap().into_iter();
    let sibling = of(stream).find(|(other, _)| *other != id).unwrap().1;
    let elsewhere = of(StreamId::Organization(other.organization)).next().unwrap().1;
    let snapshots = Snapshots::new(place.path("snapshots"), Fresh.id());
    let root = store.store.ring().root();
    let every = if scale() >= 10 { 1 } else { 9 };
    for (number, (what, bytes)) in damages(&whole, &[sibling, elsewhere]).into_iter().enumerate() {
        put(&store, stream, key, bytes);
        // Nothing of it is remembered, as after a start.
        let ring = store.keys.ring(&store.log);
        let error = ring.data_key(stream, id, Some(commitment)).expect_err(&what).to_string();
        assert!(error.contains(&id.to_string()), "{what}: {error}");
        let report = check_keys::check(&*store.log, Some(&ring), || {});
        assert_eq!(report.defects.len(), 1, "{what}: {report:?}");
        let defect = &report.defects[0];
        assert!(defect.contains(&id.to_string()) && defect.contains(&stream.to_string()), "{what}: {defect}");

        if number % every != 0 && number < whole.len() {
            continue;
        }
        let to = place.path(&format!("{number}.settled"));
        let taken = snapshots.take(&store.store, Some(to.clone()), Actor::OPERATOR, |_, _| {}).await;
        let names = |error: String| assert!(error.contains(&id.to_string()), "{what}: {error}");
        match taken {
            // What is not as long as a key is carried nowhere.
            Err(error) => {
                names(error.to_string());
                assert!(!to.exists() && !keys_of(&to).exists(), "{what}");
            }
            Ok(taken) => {
                let keys = file(&keys_of(&to));
                let refused = verify(&file(&to), Some((&keys, &root)), &mut |_, _| {}).expect_err(&what);
                assert!(refused.to_string().contains(&keys.path().display().to_string()), "{refused}");
                names(refused.to_string());
                names(place.restore(&all(&taken, &root), "data", &[]).expect_err(&what).to_string());
            }
        }
    }
    put(&store, stream, key, whole);
    let ring = store.keys.ring(&store.log);
    ring.data_key(stream, id, Some(commitment)).unwrap();
    assert!(check_keys::check(&*store.log, Some(&ring), || {}).is_clean());
}

#[tokio::test]
async fn a_stream_whose_data_key_is_damaged_keeps_all_others_when_its_key_is_replaced() {
    let (store, founded, _, at) = given().await;
    let stream = StreamId::Organization(founded.organization);
    let (id, _) = data_key(&store, &founded, at);
    let key = Key::DataKey(stream, id);
    let whole = store.log.get(&key).unwrap().unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    put(&store, stream, key, damaged);
    let refused = store.store.rotate_stream_key(stream, Actor::OPERATOR).await.unwrap_err();
    assert!(refused.to_string().contains(&id.to_string()), "{refused}");
    let report = check_keys::check(&*store.log, Some(&store.keys.ring(&store.log)), || {});
    assert_eq!(report.defects.len(), 1, "{report:?}");
    // Out of a snapshot, say.
    put(&store, stream, key, whole);
    store.store.rotate_stream_key(stream, Actor::OPERATOR).await.unwrap();
    assert!(check_keys::check(&*store.log, Some(&store.keys.ring(&store.log)), || {}).is_clean());
}

#[tokio::test]
async fn a_checkpoint_that_is_not_what_was_signed_is_named_and_nothing_is_signed_in_its_place() {
    let (store, founded, other, _) = given().await;
    let (id, stream) = (founded.organization, StreamId::Organization(founded.organization));
    let key = Key::Checkpoint(stream);
    let Signed { note, checkpoint, .. } = sign(&store, id).await.unwrap();
    let elsewhere = sign(&store, other.organization).await.unwrap().note;
    // Signed by this store: in an epoch of before, for the other organization; and by nobody whom history names.
    let signer = store.store.signer().await.unwrap();
    let of_before =
        |of| Checkpoint { origin: Origin::new("settled.example", of, "x7"), ..checkpoint.clone() };
    let unknown = store.store.ring().mint(StreamId::Platform).unwrap();
    let by_nobody = of_before(id).sign(&unknown.key().signer());
    let others = [elsewhere, of_before(other.organization).sign(&signer), by_nobody];
    let others = others.map(String::into_bytes);
    for (what, bytes) in damages(note.as_bytes(), &others) {
        put(&store, stream, key, bytes.clone());
        let report = check_checkpoints::check(&*store.log, store.store.epoch());
        assert_eq!(report.defects.len(), 1, "{what}: {report:?}");
        assert!(report.defects[0].contains(&stream.to_string()), "{what}: {report:?}");
        let refused = sign(&store, id).await.expect_err(&what);
        assert!(matches!(refused, SignError::Damaged { .. }), "{what}: {refused}");
        assert!(refused.to_string().contains(&stream.to_string()), "{what}: {refused}");
        assert_eq!(store.log.get(&key).unwrap(), Some(bytes), "{what}: it stays what it is");
    }
    // A snapshot has none: what is restored is another epoch, which signs anew.
    let place = Place::new();
    let taken = place.take(&store, "taken").await;
    let root = store.store.ring().root();
    place.restore(&all(&taken, &root), "data", &[]).unwrap();
    let opened = place.open("data");
    assert_eq!(settled::log::EventLog::get(&*opened.log, &key).unwrap(), None);
    opened.log.close().unwrap();
    put(&store, stream, key, note.clone().into_bytes());
    assert_eq!(sign(&store, id).await.unwrap().note, note);
}
