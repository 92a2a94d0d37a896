//! What of the mix is about customers: themselves, their documents, and what programs do for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh, StreamId};
use settled::seal::{BlindName, DataKey, Plain, Sealed};
use settled::settings::customer_data::command::{CustomerDataCommand, DeleteDocument, SetDocument};
use settled::settings::customer_data::{field as document_field, named as named_document, value_path};
use settled::settings::customers::command::{CustomersCommand, UpdateCustomer};
use settled::settings::customers::event::CustomerCreated;
use settled::settings::customers::profile::Field;
use settled::settings::environments::event::Mode;
use settled::settings::executions::command::{ExecutionsCommand, FinishExecution, StartExecution};
use settled::settings::executions::event::Ending;
use settled::settings::executions::{field as execution_field, workflows};
use settled::store::{Store, Submission};

use super::Company;
use super::connections::Connected;
use crate::mix::{Kind, words};

/// The most customers, and those that stay: the first ones.
const CUSTOMERS_MAX: usize = 300;
const CUSTOMERS_KEPT: usize = 5;
/// The most documents of a customer.
const DOCUMENTS_MAX: usize = 12;
/// The most executions that run.
const RUNNING_MAX: usize = 24;

/// Whom an organization works for, and what it does for them.
#[derive(Default)]
pub(super) struct Clientele {
    customers: Vec<Customer>,
    /// How many there ever were.
    made: usize,
    suspended: Option<CustomerId>,
    running: Vec<Running>,
}

struct Customer {
    id: CustomerId,
    key: Arc<DataKey>,
    documents: BTreeSet<usize>,
}

impl Customer {
    /// How the document with a number is recorded.
    fn named(&self, stream: StreamId, number: usize) -> BlindName {
        named_document(stream, self.id, &self.key, words::document_key(number))
    }
}

struct Running {
    execution: ExecutionId,
    customer: CustomerId,
    environment: EnvironmentId,
    mode: Mode,
}

impl Clientele {
    /// Whether there is anybody.
    pub(super) fn is_there(&self) -> bool {
        !self.customers.is_empty()
    }

    /// Whether there can be more.
    pub(super) fn has_room(&self) -> bool {
        self.customers.len() < CUSTOMERS_MAX
    }

    /// Whether somebody may go.
    pub(super) fn may_shrink(&self) -> bool {
        self.customers.len() > CUSTOMERS_KEPT
    }

    /// Whether somebody has a document.
    pub(super) fn has_documents(&self) -> bool {
        self.customers.iter().any(|customer| !customer.documents.is_empty())
    }

    /// Whether more can be begun.
    pub(super) fn may_begin(&self) -> bool {
        self.is_there() && self.running.len() < RUNNING_MAX
    }

    /// Whether something runs in an environment of a mode.
    pub(super) fn runs_in(&self, mode: Mode) -> bool {
        self.running.iter().any(|running| running.mode == mode)
    }

    /// What runs in an environment ends with it.
    pub(super) fn leave(&mut self, environment: EnvironmentId) {
        self.running.retain(|running| running.environment != environment);
    }

    /// The customer by a number below how many there are.
    pub(super) fn at(&self, number: usize) -> CustomerId {
        self.customers[number].id
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.customers.len()
    }

    fn key_of(&self, customer: CustomerId) -> Result<&Arc<DataKey>> {
        let found = self.customers.iter().find(|found| found.id == customer);
        Ok(&found.context("the customer is there")?.key)
    }
}

impl Company {
    pub(super) fn create_customer(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let (stream, customer) = (self.handle.stream(), Fresh.id());
        let key = store.ring().mint(stream)?;
        let seal = |field: Field, text: &str| field.seal(stream, customer, key.key(), text);
        let number = self.clientele.made;
        let name = words::customer(number, &mut self.dice);
        let metadata = self.dice.happens(300).then(|| words::metadata(&mut self.dice));
        let created = CustomerCreated {
            customer,
            key: key.id(),
            name: seal(Field::Name, &name),
            external_id: Some(seal(Field::ExternalId, &format!("crm-{number:06}"))),
            tags: Some(seal(Field::Tags, &words::tags(&mut self.dice))),
            metadata: metadata.map(|metadata| seal(Field::Metadata, &metadata)),
            suspended: false,
        };
        self.clientele.made += 1;
        let (key_of, documents) = (Arc::clone(key.key()), BTreeSet::new());
        self.clientele.customers.push(Customer { id: customer, key: key_of, documents });
        let mut submission = self.submit_change(CustomersCommand::Create(created), actor);
        submission.keys = vec![key];
        Ok(submission)
    }

    pub(super) fn update_customer(&mut self, actor: Actor) -> Submission {
        let at = self.dice.skewed_below(self.clientele.len());
        let (stream, renames) = (self.handle.stream(), self.dice.happens(200) && !self.keeps_names);
        let (name, tags) = (words::customer(at, &mut self.dice), words::tags(&mut self.dice));
        let Customer { id, key, .. } = &self.clientele.customers[at];
        let seal = |field: Field, text: &str| field.seal(stream, *id, key, text);
        let update = UpdateCustomer {
            customer: *id,
            name: renames.then(|| seal(Field::Name, &name)),
            external_id: None,
            tags: Some(Some(seal(Field::Tags, &tags))),
            metadata: None,
            made_from: None,
        };
        self.submit_change(CustomersCommand::Update(update), actor)
    }

    /// The next thing is that they are let again.
    pub(super) fn suspend_customer(&mut self, actor: Actor) -> Submission {
        let at = self.dice.below(self.clientele.len());
        let customer = self.clientele.at(at);
        self.clientele.suspended = Some(customer);
        self.ahead.push_front(Kind::ReactivateCustomer);
        self.submit_change(CustomersCommand::Suspend(customer), actor)
    }

    pub(super) fn reactivate_customer(&mut self, actor: Actor) -> Result<Submission> {
        let customer = self.clientele.suspended.take().context("somebody is suspended")?;
        Ok(self.submit_change(CustomersCommand::Reactivate(customer), actor))
    }

    pub(super) fn delete_customer(&mut self, actor: Actor) -> Submission {
        let asked: Vec<_> = self.connections.iter().filter_map(Connected::customer_and_app).collect();
        let customer = self.customer_goes();
        // What a deleted customer is connected by stays, for a restore: its app is in use for good.
        let kept = asked.into_iter().filter(|(of, _)| *of == customer);
        self.apps_kept.extend(kept.map(|(_, app)| app));
        self.submit_change(CustomersCommand::Delete(customer), actor)
    }

    pub(super) fn erase_customer(&mut self, actor: Actor) -> Submission {
        let customer = self.customer_goes();
        self.submit_change(CustomersCommand::Erase(customer), actor)
    }

    /// With all that it has.
    fn customer_goes(&mut self) -> CustomerId {
        let at = CUSTOMERS_KEPT + self.dice.below(self.clientele.len() - CUSTOMERS_KEPT);
        let customer = self.clientele.customers.remove(at).id;
        self.clientele.running.retain(|running| running.customer != customer);
        self.secrets.retain(|secret| !secret.is_of(customer));
        self.connections.retain(|connection| !connection.is_of(customer));
        customer
    }

    pub(super) fn set_document(&mut self, actor: Actor) -> Submission {
        let stream = self.handle.stream();
        let (at, number) =
            (self.dice.skewed_below(self.clientele.len()), self.dice.skewed_below(DOCUMENTS_MAX));
        let text = words::document(&mut self.dice);
        let customer = &mut self.clientele.customers[at];
        customer.documents.insert(number);
        let BlindName { id: document, sealed } = customer.named(stream, number);
        let (place, path) = (customer.id.to_string(), value_path(&document));
        let value = customer.key.seal(&document_field(stream, &place, &path), &Plain::from(text));
        let set = SetDocument { customer: customer.id, document, key: Some(sealed), value };
        self.submit_change(CustomerDataCommand::Set(set), actor)
    }

    pub(super) fn delete_document(&mut self, actor: Actor) -> Result<Submission> {
        let stream = self.handle.stream();
        let has_some = |customer: &&mut Customer| !customer.documents.is_empty();
        let customer = self.clientele.customers.iter_mut().find(has_some).context("somebody has one")?;
        let number = customer.documents.pop_last().context("they have one")?;
        let delete = DeleteDocument { customer: customer.id, document: customer.named(stream, number).id };
        Ok(self.submit_change(CustomerDataCommand::Delete(delete), actor))
    }

    /// A program begins something for a customer, in an environment of its mode that everybody has.
    pub(super) fn start_execution(&mut self) -> Result<Submission> {
        let (key, mode) = self.keys[self.dice.skewed_below(self.keys.len())];
        let environment = self.environments[usize::from(mode == Mode::Test)].id;
        let customer = self.clientele.at(self.dice.skewed_below(self.clientele.len()));
        let (execution, workflow) = (Fresh.id(), words::workflow(&mut self.dice));
        let workflow =
            workflows::named(self.handle.stream(), execution, self.clientele.key_of(customer)?, workflow);
        let trigger = self.dice.happens(600).then(|| words::trigger(&mut self.dice));
        let trigger = trigger.map(|text| self.said(execution, customer, "trigger", text)).transpose()?;
        self.clientele.running.push(Running { execution, customer, environment, mode });
        let start = StartExecution { execution, customer, environment, workflow, trigger };
        Ok(self.submit(ExecutionsCommand::Start(start), program(key)))
    }

    /// The program that ends what began first is any of its mode.
    pub(super) fn finish_execution(&mut self) -> Result<Submission> {
        let runs = |mode| self.clientele.runs_in(mode);
        let able = self.keys.iter().copied().find(|(_, mode)| runs(*mode));
        let (key, mode) = able.context("a program of the mode is there")?;
        let at = self.clientele.running.iter().position(|running| running.mode == mode);
        let ends = self.clientele.running.remove(at.context("something runs")?);
        let Running { execution, customer, environment, .. } = ends;
        let fails = self.dice.happens(40);
        let usage = self.dice.happens(400).then(|| words::usage(&mut self.dice));
        let usage = usage.map(|text| self.said(execution, customer, "usage", &text)).transpose()?;
        let error = fails.then(|| words::failure(&mut self.dice));
        let error = error.map(|text| self.said(execution, customer, "error", text)).transpose()?;
        let finish = FinishExecution {
            over: None,
            execution,
            customer,
            environment,
            status: if fails { Ending::Failed } else { Ending::Succeeded },
            error,
            duration_ms: Some(40 + self.dice.below(60_000) as u64),
            usage,
        };
        Ok(self.submit(ExecutionsCommand::Finish(finish), program(key)))
    }

    fn said(&self, execution: ExecutionId, customer: CustomerId, name: &str, text: &str) -> Result<Sealed> {
        let place = execution.to_string();
        let field = execution_field(self.handle.stream(), &place, name);
        Ok(self.clientele.key_of(customer)?.seal(&field, &Plain::from(text)))
    }
}

fn program(key: settled::ids::ApiKeyId) -> Actor {
    Actor { id: ActorId::ApiKey(key), session: None }
}
