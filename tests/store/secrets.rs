//! Commands to secrets with values that are sealed as the edge seals them; and that what is destroyed is gone.

use std::collections::BTreeSet;

use settled::command::Rejection;
use settled::event::{Event, ResourceType};
use settled::ids::{DataKeyId, Fresh, OrganizationId, StreamId};
use settled::seal::keyring::{KeyError, NewDataKey};
use settled::seal::{Commitment, OpenError, Plain, Sealed, SealedField};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::ConfigKey;
use settled::settings::secrets::command::{
    At, AtValue, CreateSecret, RollBackSecret, SecretsCommand, SecretsRejection, UpdateSecret,
};
use settled::settings::secrets::value::Scope;
use settled::settings::secrets::value_field;
use settled::store::{Refusal, Submission};

use crate::commands::rename;
use crate::durable::{all, held, queue};
use crate::test_store::{Founded, TestStore};

/// Seals values for an organization's secrets, under keys of a store.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub store: &'a TestStore,
    pub founded: &'a Founded,
}

/// A change of nothing.
pub fn change(at: At) -> UpdateSecret {
    UpdateSecret { at, name: None, description: None, expires_at: None, value: None }
}

/// A value, sealed for a secret under a key of its own.
pub fn sealed(store: &TestStore, organization: OrganizationId, at: At, value: &str) -> (Sealed, NewDataKey) {
    let stream = StreamId::Organization(organization);
    let key = store.store.ring().mint(stream).expect("the organization has a key");
    let id = at.secret.to_string();
    (key.key().seal(&value_field(stream, &id), &Plain::from(value)), key)
}

/// A new secret; one of the whole organization is read in environments of both modes.
pub fn create(at: At, name: &str, value: Sealed) -> CreateSecret {
    let whole = at.scope == Scope::Organization;
    CreateSecret {
        at,
        name: ConfigKey::try_from(name).expect("a name of a secret"),
        modes: if whole { vec![Mode::Test, Mode::Live] } else { Vec::new() },
        description: None,
        expires_at: None,
        value,
    }
}

impl Values<'_> {
    fn submit(&self, at: At, value: &str, command: impl FnOnce(Sealed) -> SecretsCommand) -> Submission {
        let (sealed, key) = sealed(self.store, self.founded.organization, at, value);
        let mut submission = Submission::new(command(sealed), self.founded.owner);
        submission.keys = vec![key];
        submission
    }

    pub fn create(&self, at: At, name: &str, value: &str) -> Submission {
        self.submit(at, value, |value| SecretsCommand::Create(create(at, name, value)))
    }

    pub fn write(&self, at: At, value: &str) -> Submission {
        let update = |value| UpdateSecret { value: Some(value), ..change(at) };
        self.submit(at, value, |value| SecretsCommand::Update(update(value)))
    }

    pub fn roll_back(&self, at: At, to: u64, value: &str) -> Submission {
        let to = AtValue { at, value_version: to };
        self.submit(at, value, |value| SecretsCommand::RollBack(RollBackSecret { to, value }))
    }
}

#[tokio::test]
async fn a_destroyed_key_is_in_neither_the_log_nor_the_ring_once_that_is_answered() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let (values, at) =
        (Values { store: &store, founded: &founded }, At { secret: Fresh.id(), scope: Scope::Organization });
    store.execute(&founded, values.create(at, "A", "one")).await.unwrap();
    store.execute(&founded, values.write(at, "two")).await.unwrap();
    let handle = store.handle(founded.organization);
    let view = handle.view();
    let secret = view.organization().secrets.get(at.secret).unwrap();
    let versions: Vec<DataKeyId> = secret.versions.values().map(|version| version.key).collect();
    let has = |key: DataKeyId, commitment: Option<Commitment>| {
        let in_log = store.log.data_keys(handle.stream()).unwrap().iter().any(|(id, _)| *id == key);
        let in_ring = match store.store.ring().data_key(handle.stream(), key, commitment) {
            Ok(_) => true,
            Err(KeyError::Lost { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(in_log, in_ring);
        in_log
    };
    assert!(versions.iter().all(|key| has(*key, None)));
    let destroy = SecretsCommand::DestroyVersion(AtValue { at, value_version: 1 });
    store.execute(&founded, Submission::new(destroy, founded.owner)).await.unwrap();
    assert_eq!(versions.iter().map(|key| has(*key, None)).collect::<Vec<_>>(), [false, true]);
    store.execute(&founded, Submission::new(SecretsCommand::Destroy(at), founded.owner)).await.unwrap();
    assert_eq!(versions.iter().map(|key| has(*key, None)).collect::<Vec<_>>(), [false, false]);
    let named: Vec<DataKeyId> = store
        .events(handle.stream())
        .iter()
        .flat_map(|recorded| recorded.event.destroyed_keys().to_vec())
        .collect();
    assert_eq!(named, versions, "history says which keys were destroyed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_and_destroyed_in_one_batch_a_key_is_gone() {
    let (store, hold, founded) = held().await;
    let (values, at) =
        (Values { store: &store, founded: &founded }, At { secret: Fresh.id(), scope: Scope::Organization });
    let create = values.create(at, "A", "one");
    let key = create.keys[0].id();
    hold.hold();
    // The first batch holds the writer up, so that the others meet in the second.
    let first = queue(&store, &founded, vec![rename(founded.owner, "One")]).await;
    assert!(hold.until_waiting());
    let destroy = Submission::new(SecretsCommand::Destroy(at), founded.owner);
    let both = queue(&store, &founded, vec![create, destroy]).await;
    hold.release();
    let results: Vec<_> = all(first).await.into_iter().chain(all(both).await).map(Result::unwrap).collect();
    assert_eq!(results[1].view.head.position, results[2].view.head.position, "one frame");
    let stream = StreamId::Organization(founded.organization);
    assert!(matches!(store.store.ring().data_key(stream, key, None), Err(KeyError::Lost { .. })));
}

#[tokio::test]
async fn a_key_of_a_command_that_appends_nothing_is_not_kept() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let at = || At { secret: Fresh.id(), scope: Scope::Organization };
    let (first, second) = (at(), at());
    let values = Values { store: &store, founded: &founded };
    store.execute(&founded, values.create(first, "A", "one")).await.unwrap();
    let stream = StreamId::Organization(founded.organization);
    let keys = || store.log.data_keys(stream).unwrap().len();
    let before = keys();
    let refused = store.execute(&founded, values.create(second, "A", "two")).await.unwrap_err();
    assert_eq!(refused, Refusal::Rejected(Rejection::Secrets(SecretsRejection::NameTaken)));
    assert_eq!(store.execute(&founded, values.roll_back(first, 1, "one")).await.unwrap().events, 0);
    assert_eq!(keys(), before);
}

#[tokio::test]
async fn a_value_opens_where_it_was_sealed_alone_and_looks_like_no_other() {
    let store = TestStore::in_memory();
    let founded = store.found("Acme").await;
    let at = || At { secret: Fresh.id(), scope: Scope::Organization };
    let (one, other) = (at(), at());
    let values = Values { store: &store, founded: &founded };
    for submission in [
        values.create(one, "A", "hunter2"),
        values.create(other, "B", "hunter2"),
        values.write(one, "hunter2"),
        values.write(one, "a"),
        values.write(one, &"x".repeat(28)),
    ] {
        store.execute(&founded, submission).await.unwrap();
    }
    let stream = StreamId::Organization(founded.organization);
    let recorded = store.events(stream);
    let sealed: Vec<(&Sealed, Option<Commitment>)> = recorded
        .iter()
        .filter_map(|recorded| match &recorded.event {
            Event::Secrets(event) => {
                event.value().map(|value| (value, recorded.keys.get(&value.key).copied()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(sealed.len(), 5);
    let keys: BTreeSet<DataKeyId> = sealed.iter().map(|(value, _)| value.key).collect();
    let texts: BTreeSet<&[u8]> = sealed.iter().map(|(value, _)| &*value.data.0).collect();
    let lengths: BTreeSet<usize> = texts.iter().map(|text| text.len()).collect();
    assert_eq!((keys.len(), texts.len(), lengths.len()), (5, 5, 1), "equal values, and short ones");

    let (value, commitment) = sealed[0];
    assert!(commitment.is_some(), "the event commits to the key");
    let key = store.store.ring().data_key(stream, value.key, commitment).unwrap();
    let id = one.secret.to_string();
    let field = value_field(stream, &id);
    assert_eq!(key.open(&field, value), Ok(Plain::from("hunter2")));
    let elsewhere = other.secret.to_string();
    for moved in [
        SealedField { stream: StreamId::Platform, ..field },
        SealedField { resource_type: ResourceType::Config, ..field },
        SealedField { resource_id: &elsewhere, ..field },
        SealedField { field: "description", ..field },
    ] {
        assert_eq!(key.open(&moved, value), Err(OpenError::NotAuthentic { key: value.key }), "{moved:?}");
    }
    let swapped = store.store.ring().data_key(stream, value.key, sealed[1].1);
    assert!(matches!(swapped, Err(KeyError::Swapped { .. })));
}
