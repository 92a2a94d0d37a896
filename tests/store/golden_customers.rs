//! What the recorded history tells of customers: how they come, what becomes of them and of what they have, how they go.

use std::time::Duration;

use settled::actor::Actor;
use settled::command::Command;
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh, StreamId};
use settled::seal::keyring::NewDataKey;
use settled::seal::{BlindName, Plain, Sealed};
use settled::settings::billing::command::{BillingCommand, LimitCustomer};
use settled::settings::billing::value::Meter;
use settled::settings::customer_data::command::{CustomerDataCommand, DeleteDocument, SetDocument};
use settled::settings::customer_data::{field as document_field, named as named_document, value_path};
use settled::settings::customers::command::{CustomersCommand, UpdateCustomer};
use settled::settings::customers::event::CustomerCreated;
use settled::settings::customers::profile::Field;
use settled::settings::executions::command::{ExecutionsCommand, FinishExecution, StartExecution};
use settled::settings::executions::event::Ending;
use settled::settings::executions::{field as execution_field, workflows};
use settled::settings::secrets::command::{At, CreateSecret, SecretsCommand};
use settled::settings::secrets::described::Described;
use settled::settings::secrets::value::Scope;
use settled::store::Submission;

use crate::commands::create;
use crate::secrets::{create as create_secret, sealed};
use crate::test_store::{Founded, TestStore};

fn of(owner: Actor, command: impl Into<Command>) -> Submission {
    Submission::new(command, owner)
}

/// One customer who stays, with documents and executions, one who is deleted, one who is erased with what it has.
pub async fn record_customers(store: &TestStore, founded: &Founded) {
    let (owner, environment): (_, EnvironmentId) = (founded.owner, Fresh.id());
    let [kept, gone, erased] = [(); 3].map(|()| Customer::new(store, founded));
    let at = At { secret: Fresh.id(), scope: Scope::Customer(environment, erased.id) };
    let (value, value_key) = sealed(store, founded.organization, at, "one");
    let secret = create_secret(at, "OF_CUSTOMER", value);
    let secret = CreateSecret { description: Some(erased.described(founded, at)), ..secret };
    let mut described = of(owner, SecretsCommand::Create(secret));
    described.keys = vec![value_key];
    let ended = Fresh.id();
    let limits = [(Meter::Secrets, 3), (Meter::Executions, 100)].into();
    let started = |customer: &Customer, execution| {
        let started = customer.start(founded, execution, environment);
        Submission::new(ExecutionsCommand::Start(started), owner)
    };
    for submission in [
        create(owner, environment, "customers"),
        kept.created(founded),
        gone.created(founded),
        erased.created(founded),
        of(owner, CustomersCommand::Update(kept.changed(founded))),
        of(owner, CustomersCommand::Suspend(kept.id)),
        of(owner, BillingCommand::LimitCustomer(LimitCustomer { customer: kept.id, limits })),
        of(owner, CustomersCommand::Reactivate(kept.id)),
        of(owner, CustomersCommand::Suspend(gone.id)),
        described,
        of(owner, kept.document(founded, "profile")),
        of(owner, kept.document(founded, "gone")),
        of(owner, kept.without(founded, "gone")),
        started(&kept, Fresh.id()),
        started(&kept, ended),
        Submission::new(ExecutionsCommand::Finish(kept.finished(founded, ended, environment)), owner),
        of(owner, CustomersCommand::Delete(gone.id)),
        of(owner, CustomersCommand::Erase(erased.id)),
    ] {
        store.hands.advance(Duration::from_secs(7));
        store.execute(founded, submission).await.unwrap();
    }
}

/// A customer to be, with its key.
pub struct Customer {
    pub id: CustomerId,
    key: NewDataKey,
}

impl Customer {
    /// One that nobody has made yet.
    pub fn new(store: &TestStore, founded: &Founded) -> Self {
        let stream = StreamId::Organization(founded.organization);
        Self { id: Fresh.id(), key: store.store.ring().mint(stream).unwrap() }
    }

    /// Its id.
    pub fn id(&self) -> CustomerId {
        self.id
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

    /// A change of what is known of it.
    pub fn changed(&self, founded: &Founded) -> UpdateCustomer {
        UpdateCustomer {
            customer: self.id,
            name: Some(self.seal(founded, Field::Name, "Renamed")),
            external_id: Some(Some(self.seal(founded, Field::ExternalId, "K-17"))),
            tags: Some(None),
            metadata: None,
            made_from: None,
        }
    }

    fn document(&self, founded: &Founded, name: &str) -> CustomerDataCommand {
        let stream = StreamId::Organization(founded.organization);
        let BlindName { id: document, sealed } = named_document(stream, self.id, self.key.key(), name);
        let (place, path) = (self.id.to_string(), value_path(&document));
        let value = self.key.key().seal(&document_field(stream, &place, &path), &Plain::from("{\"a\":1}"));
        CustomerDataCommand::Set(SetDocument { customer: self.id, document, key: Some(sealed), value })
    }

    fn without(&self, founded: &Founded, name: &str) -> CustomerDataCommand {
        let stream = StreamId::Organization(founded.organization);
        let document = named_document(stream, self.id, self.key.key(), name).id;
        CustomerDataCommand::Delete(DeleteDocument { customer: self.id, document })
    }

    /// That an execution begins for it.
    pub fn start(
        &self,
        founded: &Founded,
        execution: ExecutionId,
        environment: EnvironmentId,
    ) -> StartExecution {
        let trigger = Some(self.said(founded, execution, "trigger", "a timer"));
        let stream = StreamId::Organization(founded.organization);
        let workflow = workflows::named(stream, execution, self.key.key(), "crm/sync");
        StartExecution { execution, customer: self.id, environment, workflow, trigger }
    }

    /// That one ends.
    pub fn finished(
        &self,
        founded: &Founded,
        execution: ExecutionId,
        environment: EnvironmentId,
    ) -> FinishExecution {
        FinishExecution {
            over: None,
            execution,
            customer: self.id,
            environment,
            status: Ending::Failed,
            error: Some(self.said(founded, execution, "error", "no way")),
            duration_ms: Some(1_200),
            usage: Some(self.said(founded, execution, "usage", "{\"tokens\":5}")),
        }
    }

    fn said(&self, founded: &Founded, execution: ExecutionId, field: &str, text: &str) -> Sealed {
        let (stream, place) = (StreamId::Organization(founded.organization), execution.to_string());
        self.key.key().seal(&execution_field(stream, &place, field), &Plain::from(text))
    }

    fn described(&self, founded: &Founded, at: At) -> Described {
        let (stream, secret) = (StreamId::Organization(founded.organization), at.secret.to_string());
        Described::seal(stream, &secret, self.key.key(), "for one customer")
    }

    fn seal(&self, founded: &Founded, field: Field, text: &str) -> Sealed {
        field.seal(StreamId::Organization(founded.organization), self.id, self.key.key(), text)
    }
}
