//! Data keys held against history: what is there, destroyed, lost, put back or another one is told apart.

use settled::ids::{DataKeyId, Fresh, StreamId};
use settled::log::{Append, Key};
use settled::settings::secrets::command::{At, AtValue, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::store::Submission;
use settled::store::check_keys::{DataKeysReport, check};

use crate::secrets::Values;
use crate::test_store::{Founded, TestStore};

/// An organization with a secret of three values, of which the first was destroyed.
struct Given {
    store: TestStore,
    stream: StreamId,
    /// The keys of the three values.
    keys: Vec<DataKeyId>,
    /// The first key as it was kept.
    destroyed: Vec<u8>,
}

impl Given {
    async fn new() -> Self {
        let store = TestStore::in_memory();
        let founded: Founded = store.found("Acme").await;
        let stream = StreamId::Organization(founded.organization);
        let at = At { secret: Fresh.id(), scope: Scope::Organization };
        let values = Values { store: &store, founded: &founded };
        store.execute(&founded, values.create(at, "A", "one")).await.unwrap();
        store.execute(&founded, values.write(at, "two")).await.unwrap();
        store.execute(&founded, values.write(at, "three")).await.unwrap();
        let view = store.handle(founded.organization).view();
        let secret = view.organization().secrets.get(at.secret).unwrap();
        let keys: Vec<DataKeyId> = secret.versions.values().map(|version| version.key).collect();
        let destroyed = store.log.get(&Key::DataKey(stream, keys[0])).unwrap().unwrap();
        let destroy = SecretsCommand::DestroyVersion(AtValue { at, value_version: 1 });
        store.execute(&founded, Submission::new(destroy, founded.owner)).await.unwrap();
        Self { store, stream, keys, destroyed }
    }

    fn change(&self, put: Vec<(DataKeyId, Vec<u8>)>, remove: Vec<DataKeyId>) {
        let put = put.into_iter().map(|(id, wrapped)| (Key::DataKey(self.stream, id), wrapped)).collect();
        let remove = remove.into_iter().map(|id| Key::DataKey(self.stream, id)).collect();
        let append = Append { stream: self.stream, expected: None, frame: None, put, remove };
        self.store.log.append(vec![append]).unwrap();
    }

    fn stored(&self, number: usize) -> Vec<u8> {
        self.store.log.get(&Key::DataKey(self.stream, self.keys[number])).unwrap().unwrap()
    }

    fn check(&self) -> DataKeysReport {
        check(&*self.store.log, Some(self.store.store.ring()), || {})
    }

    /// The one defect that is found, with and without a root key at hand.
    fn defect(&self, is_seen_without_a_root_key: bool) -> String {
        let (with, without) = (self.check(), check(&*self.store.log, None, || {}));
        assert_eq!((with.unwrapped, without.unwrapped), (true, false));
        assert_eq!(without.defects.len(), usize::from(is_seen_without_a_root_key), "{without:?}");
        assert_eq!((with.defects.len(), with.unchecked.len()), (1, 0), "{with:?}");
        with.defects[0].clone()
    }
}

#[tokio::test]
async fn what_history_says_is_no_defect() {
    let given = Given::new().await;
    let report = given.check();
    // The account's, the organization's, its founder's, and two of the three values'.
    assert_eq!((report.whole, report.destroyed, report.unused), (5, 1, 0), "{report:?}");
    assert!(report.is_clean());
}

#[tokio::test]
async fn a_key_that_is_gone_without_an_event_is_lost() {
    let given = Given::new().await;
    given.change(Vec::new(), vec![given.keys[1]]);
    let defect = given.defect(true);
    assert!(defect.contains("is lost") && defect.contains(&given.keys[1].to_string()), "{defect}");
}

#[tokio::test]
async fn a_destroyed_key_that_is_there_was_put_back() {
    let given = Given::new().await;
    given.change(vec![(given.keys[0], given.destroyed.clone())], Vec::new());
    let defect = given.defect(true);
    assert!(defect.contains("was put back from a copy"), "{defect}");
    assert!(defect.contains(&given.keys[0].to_string()), "{defect}");
}

#[tokio::test]
async fn a_key_in_anothers_place_and_a_changed_one_do_not_unwrap() {
    let given = Given::new().await;
    let (second, third) = (given.stored(1), given.stored(2));
    given.change(vec![(given.keys[1], third)], Vec::new());
    assert!(given.defect(false).contains("does not unwrap"));
    let mut changed = second.clone();
    changed[40] ^= 1;
    given.change(vec![(given.keys[1], changed)], Vec::new());
    assert!(given.defect(false).contains("does not unwrap"));
    given.change(vec![(given.keys[1], second)], Vec::new());
    assert!(given.check().is_clean());
}

#[tokio::test]
async fn a_key_whose_generation_is_not_in_its_file_is_a_defect() {
    let given = Given::new().await;
    let before = given.stored(1);
    given.store.store.rotate_stream_key(given.stream, settled::actor::Actor::OPERATOR).await.unwrap();
    assert!(given.check().is_clean());
    given.change(vec![(given.keys[1], before)], Vec::new());
    let defect = given.defect(false);
    assert!(defect.contains("generation 1, which the stream's key file lacks"), "{defect}");
}

#[tokio::test]
async fn a_key_that_no_event_uses_is_counted_and_no_defect() {
    let given = Given::new().await;
    given.change(vec![(Fresh.id(), given.stored(1))], Vec::new());
    let report = given.check();
    assert_eq!((report.unused, report.is_clean()), (1, true), "{report:?}");
}
