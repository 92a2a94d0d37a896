//! What the recorded history tells of customers: how they come, what becomes of them and of what they have, how they go.

use std::time::Duration;

use settled::ids::{CustomerId, EnvironmentId, Fresh, StreamId};
use settled::seal::keyring::NewDataKey;
use settled::settings::customers::command::{CustomersCommand, UpdateCustomer};
use settled::settings::customers::event::CustomerCreated;
use settled::settings::customers::profile::Field;
use settled::settings::secrets::command::At;
use settled::settings::secrets::value::Scope;
use settled::store::Submission;

use crate::commands::create;
use crate::secrets::Values;
use crate::test_store::{Founded, TestStore};

/// One customer who stays, one who is deleted, one who is erased with what it has.
pub async fn record_customers(store: &TestStore, founded: &Founded) {
    let (owner, environment): (_, EnvironmentId) = (founded.owner, Fresh.id());
    let [kept, gone, erased] = [(); 3].map(|()| Customer::new(store, founded));
    let at = At { secret: Fresh.id(), scope: Scope::Customer(environment, erased.id) };
    let values = Values { store, founded };
    let of = |command| Submission::new(command, owner);
    for submission in [
        create(owner, environment, "customers"),
        kept.created(founded),
        gone.created(founded),
        erased.created(founded),
        of(CustomersCommand::Update(kept.changed(founded))),
        of(CustomersCommand::Suspend(kept.id)),
        of(CustomersCommand::Reactivate(kept.id)),
        of(CustomersCommand::Suspend(gone.id)),
        values.create(at, "OF_CUSTOMER", "one"),
        of(CustomersCommand::Delete(gone.id)),
        of(CustomersCommand::Erase(erased.id)),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
}

/// A customer to be, with its key.
pub struct Customer {
    id: CustomerId,
    key: NewDataKey,
}

impl Customer {
    /// One that nobody has made yet.
    pub fn new(store: &TestStore, founded: &Founded) -> Self {
        let stream = StreamId::Organization(founded.organization);
        Self { id: Fresh.id(), key: store.store.ring().mint(stream).unwrap() }
    }

    /// That it comes to be.
    pub fn created(&self, founded: &Founded) -> Submission {
        let seal = |field: Field, text: &str| self.seal(founded, field, text);
        let created = CustomerCreated {
            customer: self.id,
            key: self.key.id(),
            name: seal(Field::Name, "Customer"),
            external_id: None,
            tags: Some(seal(Field::Tags, "{\"plan\":\"pro\"}")),
            metadata: Some(seal(Field::Metadata, "{\"seats\":5}")),
            suspended: false,
        };
        let mut submission = Submission::new(CustomersCommand::Create(created), founded.owner);
        submission.keys = vec![self.key.clone()];
        submission
    }

    fn changed(&self, founded: &Founded) -> UpdateCustomer {
        UpdateCustomer {
            customer: self.id,
            name: Some(self.seal(founded, Field::Name, "Renamed")),
            external_id: Some(Some(self.seal(founded, Field::ExternalId, "K-17"))),
            tags: Some(None),
            metadata: None,
            made_from: None,
        }
    }

    fn seal(&self, founded: &Founded, field: Field, text: &str) -> settled::seal::Sealed {
        field.seal(StreamId::Organization(founded.organization), self.id, self.key.key(), text)
    }
}
