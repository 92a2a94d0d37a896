//! What random histories ask of customers, their documents, their secrets, and executions for them.

use proptest::prelude::*;
use proptest::sample::Index;
use settled::actor::Actor;
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh, OrganizationId, StreamId};
use settled::seal::keyring::NewDataKey;
use settled::seal::{Plain, Sealed};
use settled::settings::billing::command::{BillingCommand, LimitCustomer};
use settled::settings::billing::customer_limits::OF_CUSTOMERS;
use settled::settings::customer_data::command::{CustomerDataCommand, DeleteDocument, SetDocument};
use settled::settings::customer_data::{field as document_field, named as named_document, value_path};
use settled::settings::customers::command::{CustomersCommand, UpdateCustomer};
use settled::settings::customers::event::CustomerCreated;
use settled::settings::customers::profile::Field;
use settled::settings::executions::command::{ExecutionsCommand, FinishExecution, StartExecution};
use settled::settings::executions::event::Ending;
use settled::settings::executions::workflows;
use settled::settings::secrets::command::{At, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::store::Submission;

use crate::secrets::{create as create_secret, sealed};
use crate::test_store::TestStore;

/// What is asked for. Indices choose among what earlier steps tried to make.
#[derive(Clone, Debug)]
pub enum CustomerAsk {
    Create,
    Update {
        which: Index,
        tags: Option<bool>,
    },
    /// A customer is suspended, let again, or now and then deleted or erased.
    Standing {
        which: Index,
        what: u8,
    },
    Document {
        which: Index,
        key: u8,
        writes: bool,
    },
    Secret {
        which: Index,
        environment: Index,
    },
    Start {
        which: Index,
        environment: Index,
    },
    Finish(Index),
    /// So much of what is limited for single customers, from the first on.
    Limit {
        which: Index,
        limits: Vec<u64>,
    },
}

pub fn customer_ask() -> impl Strategy<Value = CustomerAsk> {
    let index = any::<Index>;
    prop_oneof![
        4 => Just(CustomerAsk::Create),
        2 => (index(), prop::option::of(any::<bool>()))
            .prop_map(|(which, tags)| CustomerAsk::Update { which, tags }),
        4 => (index(), 0..10u8).prop_map(|(which, what)| CustomerAsk::Standing { which, what }),
        6 => (index(), 0..3u8, prop::bool::weighted(0.7))
            .prop_map(|(which, key, writes)| CustomerAsk::Document { which, key, writes }),
        3 => (index(), index()).prop_map(|(which, environment)| CustomerAsk::Secret { which, environment }),
        3 => (index(), index()).prop_map(|(which, environment)| CustomerAsk::Start { which, environment }),
        2 => index().prop_map(CustomerAsk::Finish),
        2 => (index(), prop::collection::vec(0..4u64, 0..=OF_CUSTOMERS.len()))
            .prop_map(|(which, limits)| CustomerAsk::Limit { which, limits }),
    ]
}

/// What earlier steps tried to make.
#[derive(Default)]
pub struct MadeCustomers {
    customers: Vec<(CustomerId, NewDataKey)>,
    executions: Vec<(ExecutionId, CustomerId, EnvironmentId)>,
}

impl MadeCustomers {
    /// A customer; nobody where there is none yet.
    pub fn id(&self, which: Index) -> CustomerId {
        if self.customers.is_empty() { Fresh.id() } else { which.get(&self.customers).0 }
    }

    /// A customer with its key; one of nobody where there is none yet.
    fn chosen(
        &self,
        which: Index,
        organization: OrganizationId,
        with: &TestStore,
    ) -> (CustomerId, NewDataKey) {
        match &self.customers[..] {
            [] => (Fresh.id(), minted(organization, with)),
            some => which.get(some).clone(),
        }
    }
}

fn minted(organization: OrganizationId, with: &TestStore) -> NewDataKey {
    with.store.ring().mint(StreamId::Organization(organization)).unwrap()
}

impl CustomerAsk {
    /// What is submitted for it; what is to be made joins `made`, and a secret `secrets`.
    pub fn submission(
        self,
        made: &mut MadeCustomers,
        secrets: &mut Vec<At>,
        environment: impl Fn(Index) -> EnvironmentId,
        (mark, actor, organization): (&str, Actor, OrganizationId),
        with: &TestStore,
    ) -> Submission {
        let stream = StreamId::Organization(organization);
        let seal = |key: &NewDataKey, of: Field, customer, text: &str| -> Sealed {
            of.seal(stream, customer, key.key(), text)
        };
        match self {
            Self::Create => {
                let (customer, key): (CustomerId, _) = (Fresh.id(), minted(organization, with));
                let created = CustomerCreated {
                    customer,
                    key: key.id(),
                    name: seal(&key, Field::Name, customer, mark),
                    external_id: None,
                    tags: Some(seal(&key, Field::Tags, customer, "{\"plan\":\"pro\"}")),
                    metadata: None,
                    suspended: false,
                };
                made.customers.push((customer, key.clone()));
                let mut submission = Submission::new(CustomersCommand::Create(created), actor);
                submission.keys = vec![key];
                submission
            }
            Self::Update { which, tags } => {
                let (customer, key) = made.chosen(which, organization, with);
                let tagged = || seal(&key, Field::Tags, customer, "{\"plan\":\"free\"}");
                let update = UpdateCustomer {
                    customer,
                    name: tags.is_none().then(|| seal(&key, Field::Name, customer, mark)),
                    external_id: None,
                    tags: tags.map(|sets| sets.then(tagged)),
                    metadata: None,
                    made_from: None,
                };
                Submission::new(CustomersCommand::Update(update), actor)
            }
            Self::Standing { which, what } => {
                let (customer, _) = made.chosen(which, organization, with);
                let command = match what {
                    0..=3 => CustomersCommand::Suspend(customer),
                    4..=6 => CustomersCommand::Reactivate(customer),
                    7 | 8 => CustomersCommand::Delete(customer),
                    _ => CustomersCommand::Erase(customer),
                };
                Submission::new(command, actor)
            }
            Self::Document { which, key: number, writes } => {
                let (customer, data_key) = made.chosen(which, organization, with);
                let name = named_document(stream, customer, data_key.key(), &format!("doc-{number}"));
                let document = name.id;
                if !writes {
                    let delete = DeleteDocument { customer, document };
                    return Submission::new(CustomerDataCommand::Delete(delete), actor);
                }
                let (place, path) = (customer.to_string(), value_path(&document));
                let place = document_field(stream, &place, &path);
                let value = data_key.key().seal(&place, &Plain::from(format!("\"{mark}\"")));
                let set = SetDocument { customer, document, key: Some(name.sealed), value };
                Submission::new(CustomerDataCommand::Set(set), actor)
            }
            Self::Secret { which, environment: within } => {
                let (customer, _) = made.chosen(which, organization, with);
                let at = At { secret: Fresh.id(), scope: Scope::Customer(environment(within), customer) };
                secrets.push(at);
                let (value, key) = sealed(with, organization, at, &at.secret.to_string());
                let create = create_secret(at, "SECRET_0", value);
                let mut submission = Submission::new(SecretsCommand::Create(create), actor);
                submission.keys = vec![key];
                submission
            }
            Self::Start { which, environment: within } => {
                let (customer, key) = made.chosen(which, organization, with);
                let (execution, environment) = (Fresh.id(), environment(within));
                made.executions.push((execution, customer, environment));
                let workflow = workflows::named(stream, execution, key.key(), mark);
                let start = StartExecution { execution, customer, environment, workflow, trigger: None };
                Submission::new(ExecutionsCommand::Start(start), actor)
            }
            Self::Finish(which) => {
                let nobody = (Fresh.id(), Fresh.id(), Fresh.id());
                let (execution, customer, environment) =
                    if made.executions.is_empty() { nobody } else { *which.get(&made.executions) };
                let finish = FinishExecution {
                    over: None,
                    execution,
                    customer,
                    environment,
                    status: Ending::Succeeded,
                    error: None,
                    duration_ms: Some(5),
                    usage: None,
                };
                Submission::new(ExecutionsCommand::Finish(finish), actor)
            }
            Self::Limit { which, limits } => {
                let limits = OF_CUSTOMERS.into_iter().zip(limits).collect();
                let limit = LimitCustomer { customer: made.id(which), limits };
                Submission::new(BillingCommand::LimitCustomer(limit), actor)
            }
        }
    }
}
