//! An organization with very many customers, and very many executions for them: what lists, searches and memory cost is
//! measured there.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh};
use settled::settings::customers::command::CustomersCommand;
use settled::settings::customers::event::CustomerCreated;
use settled::settings::customers::profile::Field;
use settled::settings::environments::command::{CreateEnvironment, EnvironmentsCommand};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::Slug;
use settled::settings::executions::command::{ExecutionsCommand, FinishExecution, StartExecution};
use settled::settings::executions::event::Ending;
use settled::settings::executions::workflows;
use settled::store::Submission;
use settled::store::resident::Handle;
use settled::text::Name;

use super::dice::Dice;
use super::generate::Filled;
use super::store::OpenStore;

/// The slug of the environment that all executions are in.
pub const ENVIRONMENT: &str = "executions";
/// One of so many executions fails, the others succeed.
const FAILS_PER: usize = 100;
/// How many executions are begun before they end: of several customers, so that begins and ends lie among each other.
const AT_ONCE: usize = 64;

/// How many of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Customers {
    /// Customers, each with a name, an external id and tags.
    pub customers: usize,
    /// Executions, spread over the customers evenly, all of them ended.
    pub executions: usize,
}

/// What of them is asked about afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The customer in the middle.
    pub customer: CustomerId,
}

/// The name of the customer with a number.
pub fn name(number: usize) -> String {
    format!("Customer {number} Ltd")
}

/// Its external id.
pub fn external_id(number: usize) -> String {
    format!("crm-{number:07}")
}

impl Customers {
    /// Lets an organization have them, as its Owner.
    ///
    /// # Errors
    /// When the store refuses anything.
    pub async fn gather(self, open: &OpenStore, filled: &Filled, seed: u64) -> Result<Made> {
        let handle = open.store.organization(filled.known.organization).await?;
        let handle = handle.context("the organization is there")?;
        let owner = Actor { id: ActorId::Person(filled.known.owner), session: None };
        let gathering = Gathering { open, handle, owner };
        let environment = gathering.environment().await?;
        let customers: Vec<CustomerId> = (0..self.customers).map(|_| Fresh.id()).collect();
        let made =
            customers.iter().enumerate().map(|(number, customer)| gathering.customer(number, *customer));
        gathering.submit(made).await?;
        let mut dice = Dice::new(seed);
        let mut left = self.executions;
        while left > 0 {
            let some = left.min(AT_ONCE);
            let all: Vec<(ExecutionId, CustomerId)> =
                (0..some).map(|_| (Fresh.id(), customers[dice.below(customers.len())])).collect();
            let starts = all.iter().map(|(id, customer)| gathering.start(*id, *customer, environment));
            gathering.submit(starts).await?;
            let ends = all.iter().enumerate().map(|(number, (id, customer))| {
                let fails = (left - number).is_multiple_of(FAILS_PER);
                let status = if fails { Ending::Failed } else { Ending::Succeeded };
                Ok(gathering.finish(*id, *customer, environment, status))
            });
            gathering.submit(ends).await?;
            left -= some;
        }
        Ok(Made { customer: customers[customers.len() / 2] })
    }
}

struct Gathering<'a> {
    open: &'a OpenStore,
    handle: Arc<Handle>,
    owner: Actor,
}

impl Gathering<'_> {
    async fn environment(&self) -> Result<EnvironmentId> {
        let environment: EnvironmentId = Fresh.id();
        let create = CreateEnvironment {
            environment,
            name: Name::try_from(ENVIRONMENT)?,
            slug: Slug::try_from(ENVIRONMENT)?,
            mode: Mode::Live,
            description: None,
        };
        self.submit([Ok(Submission::new(EnvironmentsCommand::Create(create), self.owner))]).await?;
        Ok(environment)
    }

    fn customer(&self, number: usize, customer: CustomerId) -> Result<Submission> {
        let (store, stream) = (&self.open.store, self.handle.stream());
        let key = store.ring().mint(stream)?;
        let seal = |field: Field, text: &str| field.seal(stream, customer, key.key(), text);
        let tags = format!("{{\"plan\":\"plan-{}\",\"region\":\"region-{}\"}}", number % 5, number % 40);
        let created = CustomerCreated {
            customer,
            key: key.id(),
            name: seal(Field::Name, &name(number)),
            external_id: Some(seal(Field::ExternalId, &external_id(number))),
            tags: Some(seal(Field::Tags, &tags)),
            metadata: None,
            suspended: false,
        };
        let mut submission = Submission::new(CustomersCommand::Create(created), self.owner);
        submission.keys = vec![key];
        Ok(submission)
    }

    fn start(
        &self,
        execution: ExecutionId,
        customer: CustomerId,
        environment: EnvironmentId,
    ) -> Result<Submission> {
        let key = self.open.store.key_of_customer(&self.handle, customer)?;
        let key = key.context("the customer is there")?;
        let workflow = workflows::named(self.handle.stream(), execution, &key, "sync");
        let start = StartExecution { execution, customer, environment, workflow, trigger: None };
        Ok(Submission::new(ExecutionsCommand::Start(start), self.owner))
    }

    fn finish(
        &self,
        execution: ExecutionId,
        customer: CustomerId,
        environment: EnvironmentId,
        status: Ending,
    ) -> Submission {
        let finish = FinishExecution {
            over: None,
            execution,
            customer,
            environment,
            status,
            error: None,
            duration_ms: Some(1_200),
            usage: None,
        };
        Submission::new(ExecutionsCommand::Finish(finish), self.owner)
    }

    async fn submit(&self, submissions: impl IntoIterator<Item = Result<Submission>>) -> Result<()> {
        self.open.submit_all(&self.handle, submissions).await
    }
}

#[cfg(test)]
mod tests {
    use settled::clock::Timestamp;

    use super::*;
    use crate::mix::generate::{Size, beginning, fill};

    #[test]
    fn an_organization_gets_customers_and_executions_that_ended() {
        let end = Timestamp::from_micros(1_800_000_000_000_000);
        let open = OpenStore::in_memory(beginning(end)).unwrap();
        let filled = fill(&open, Size { events: 100, organizations: 1 }, 1, end).unwrap().remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let handle = open.store.organization(filled.known.organization).await.unwrap().unwrap();
            let counts = || {
                let view = handle.view();
                (view.organization().customers.len(), view.organization().executions.running())
            };
            let (before, running) = counts();
            let customers = Customers { customers: 30, executions: 150 };
            let made = customers.gather(&open, &filled, 1).await.unwrap();
            assert_eq!(counts(), (before + 30, running), "all that began has ended");
            assert!(handle.view().organization().customers.get(made.customer).is_some());
        });
        open.close().unwrap();
    }
}
