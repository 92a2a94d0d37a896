//! Starting and finishing executions. What is said of them comes sealed.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::ids::{CustomerId, EnvironmentId, ExecutionId};
use crate::organization::Organization;
use crate::seal::{BlindName, Sealed};
use crate::settings::billing::period::Period;
use crate::settings::customers::projection::Status;
use crate::settings::executions::event::{Ending, ExecutionFinished, ExecutionStarted, ExecutionsEvent};
use crate::settings::executions::projection::Running;
use crate::settings::roles::access::grants;
use crate::settings::roles::permission::Permission;

/// The most executions of a customer that run at once.
pub const RUNNING_MAX: usize = 1_000;
/// The most executions of an organization that run at once: each has some 400 bytes in memory.
pub const ALL_RUNNING_MAX: usize = 100_000;

/// A command to executions.
#[derive(Clone, Debug)]
pub enum ExecutionsCommand {
    /// Begins one.
    Start(StartExecution),
    /// Ends one.
    Finish(FinishExecution),
}

/// Begins an execution.
#[derive(Clone, Debug)]
pub struct StartExecution {
    /// The execution.
    pub execution: ExecutionId,
    /// For whom.
    pub customer: CustomerId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// Of which workflow.
    pub workflow: BlindName,
    /// What sets it off.
    pub trigger: Option<Sealed>,
}

/// Ends an execution.
#[derive(Clone, Debug)]
pub struct FinishExecution {
    /// Which.
    pub execution: ExecutionId,
    /// For whom it is.
    pub customer: CustomerId,
    /// In which environment, which never changes.
    pub environment: EnvironmentId,
    /// The version of its last change where history says that it is over: the state knows only those that ended lately.
    pub over: Option<Version>,
    /// How it ended.
    pub status: Ending,
    /// What went wrong.
    pub error: Option<Sealed>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What it used.
    pub usage: Option<Sealed>,
}

/// Why a command to executions appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionsRejection {
    /// There is no such customer.
    #[error("there is no such customer")]
    UnknownCustomer,
    /// The customer is suspended.
    #[error("the customer is suspended")]
    CustomerSuspended,
    /// There is no such environment.
    #[error("there is no such environment")]
    UnknownEnvironment,
    /// There is no such execution.
    #[error("there is no such execution")]
    NotFound,
    /// It ended before.
    #[error("the execution has ended")]
    Finished,
    /// More executions than can run at once.
    #[error("at most {RUNNING_MAX} executions of a customer run at once, and {ALL_RUNNING_MAX} in all")]
    TooManyRunning,
}

impl ExecutionsCommand {
    /// What it needs of its actor; whether it reaches the customer, `decide` asks.
    pub fn need(&self) -> Need {
        let environment = match self {
            Self::Start(command) => command.environment,
            Self::Finish(command) => command.environment,
        };
        Need::Environment(Permission::ExecutionWrite, environment)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`ExecutionsRejection`] or a failed precondition.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Start(command) => Ok(command.decide(state, context)?),
            Self::Finish(command) => command.decide(state, context),
        }
    }
}

/// An event about an execution, which concerns its customer and its environment.
fn about(execution: ExecutionId, running: &Running, event: ExecutionsEvent) -> NewEvent {
    let resource = Resource::new(ResourceType::Execution, execution);
    NewEvent::new(resource, event).relating(running.environment).relating(running.customer)
}

impl StartExecution {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, ExecutionsRejection> {
        let Self { execution, customer, environment, .. } = *self;
        let found = state.customers.get(customer);
        let found = found.filter(|customer| grants(state, context.actor.id).reaches(customer.id));
        if found.ok_or(ExecutionsRejection::UnknownCustomer)?.status == Status::Suspended {
            return Err(ExecutionsRejection::CustomerSuspended);
        }
        if state.environments.get(environment).is_none() {
            return Err(ExecutionsRejection::UnknownEnvironment);
        }
        let executions = &state.executions;
        if executions.running_for(customer).count() >= RUNNING_MAX || executions.running() >= ALL_RUNNING_MAX
        {
            return Err(ExecutionsRejection::TooManyRunning);
        }
        let started = ExecutionStarted {
            execution,
            customer,
            environment,
            workflow_id: self.workflow.id.clone(),
            workflow: Some(self.workflow.sealed.clone()),
            trigger: self.trigger.clone(),
            period: Some(Period::counting(state, executions.period(), context.now)),
        };
        let running = Running::of(&started, 0, context.now);
        Ok(vec![about(execution, &running, ExecutionsEvent::ExecutionStarted(started))])
    }
}

impl FinishExecution {
    fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let reaches = grants(state, context.actor.id).reaches(self.customer);
        let running = state.executions.get(self.execution);
        let own = |running: &&Running| {
            reaches && running.customer == self.customer && running.environment == self.environment
        };
        let Some(running) = running.filter(own) else {
            if !reaches {
                return Err(ExecutionsRejection::NotFound.into());
            }
            if let Some(version) = self.over {
                context.check_version(version)?;
            }
            let ended = self.over.is_some() || state.executions.ended_lately(self.execution, self.customer);
            return Err(
                if ended { ExecutionsRejection::Finished } else { ExecutionsRejection::NotFound }.into()
            );
        };
        context.check_version(running.version)?;
        let finished = ExecutionFinished {
            execution: self.execution,
            customer: self.customer,
            status: self.status,
            started: running.version,
            error: self.error.clone(),
            duration_ms: self.duration_ms,
            usage: self.usage.clone(),
        };
        Ok(vec![about(self.execution, running, ExecutionsEvent::ExecutionFinished(finished))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::PreconditionFailed;
    use crate::event::Event;
    use crate::given::{
        by, by_having_seen, environment, events, founded, has_customer, id, organization, person, sealed,
    };
    use crate::settings::customers::event::{CustomerNamed, CustomersEvent};
    use crate::settings::environments::event::Mode;

    fn started(number: u128, customer: u128) -> ExecutionStarted {
        ExecutionStarted {
            execution: id(number),
            customer: id(customer),
            environment: id(1),
            workflow_id: "sync".to_owned(),
            workflow: Some(sealed(customer)),
            trigger: Some(sealed(customer)),
            period: Some("2026-01".to_owned()),
        }
    }

    fn runs(number: u128, customer: u128) -> Event {
        Event::Executions(ExecutionsEvent::ExecutionStarted(started(number, customer)))
    }

    fn finish(number: u128, customer: u128) -> ExecutionsCommand {
        ExecutionsCommand::Finish(FinishExecution {
            execution: id(number),
            customer: id(customer),
            environment: id(1),
            over: None,
            status: Ending::Failed,
            error: Some(sealed(customer)),
            duration_ms: Some(7),
            usage: None,
        })
    }

    /// Acme with an environment and the customers 1 and 2: version 6.
    fn acme(more: impl IntoIterator<Item = Event>) -> Organization {
        let given = [environment(1, Mode::Test), has_customer(1), has_customer(2)];
        organization(founded().into_iter().chain(given).chain(more))
    }

    fn decide(command: &ExecutionsCommand, state: &Organization) -> Result<Vec<Event>, Rejection> {
        events(command.decide(state, &by(person(id(1)))))
    }

    fn start(number: u128, customer: u128) -> ExecutionsCommand {
        let begun = started(number, customer);
        let workflow = BlindName { id: begun.workflow_id, sealed: begun.workflow.unwrap() };
        let ExecutionStarted { execution, customer, environment, trigger, .. } = started(number, customer);
        ExecutionsCommand::Start(StartExecution { execution, customer, environment, workflow, trigger })
    }

    #[test]
    fn an_execution_begins_and_ends_once() {
        let decided = start(5, 1).decide(&acme([]), &by(person(id(1)))).unwrap();
        let (environment, customer): (EnvironmentId, CustomerId) = (id(1), id(1));
        assert_eq!(decided[0].related, [environment.to_string(), customer.to_string()]);
        assert_eq!(decided[0].event, runs(5, 1));
        let running = acme([runs(5, 1)]);
        let ended = decide(&finish(5, 1), &running).unwrap();
        let Event::Executions(ExecutionsEvent::ExecutionFinished(finished)) = &ended[0] else { panic!() };
        assert_eq!((finished.started, finished.status), (7, Ending::Failed));
        let done = acme([runs(5, 1)].into_iter().chain(ended));
        assert_eq!(done.executions.running(), 0);
        assert_eq!(decide(&finish(5, 1), &done), Err(ExecutionsRejection::Finished.into()));
        for (number, customer) in [(6, 1), (5, 2)] {
            let decided = decide(&finish(number, customer), &done);
            assert_eq!(decided, Err(ExecutionsRejection::NotFound.into()), "{number} of {customer}");
        }
        assert_eq!(decide(&finish(5, 2), &running), Err(ExecutionsRejection::NotFound.into()));
    }

    #[test]
    fn nothing_begins_for_whom_is_suspended_or_gone_and_what_runs_ends_with_them() {
        let named = || CustomerNamed { customer: id(1) };
        let suspended = Event::Customers(CustomersEvent::CustomerSuspended(named()));
        let state = acme([runs(5, 1), suspended]);
        assert_eq!(decide(&start(6, 1), &state), Err(ExecutionsRejection::CustomerSuspended.into()));
        assert!(decide(&finish(5, 1), &state).is_ok(), "what runs may end");
        let gone = acme([runs(5, 1), runs(6, 2), Event::Customers(CustomersEvent::CustomerDeleted(named()))]);
        assert_eq!(decide(&start(7, 1), &gone), Err(ExecutionsRejection::UnknownCustomer.into()));
        assert_eq!(decide(&finish(5, 1), &gone), Err(ExecutionsRejection::NotFound.into()));
        assert_eq!(gone.executions.running(), 1);
    }

    #[test]
    fn so_many_run_at_once_and_no_more() {
        let many = (0..RUNNING_MAX as u128).map(|number| runs(number + 10, 1));
        let state = acme(many);
        assert_eq!(decide(&start(5, 1), &state), Err(ExecutionsRejection::TooManyRunning.into()));
        assert!(decide(&start(5, 2), &state).is_ok());
        let ended = decide(&finish(10, 1), &state).unwrap();
        let room = acme((0..RUNNING_MAX as u128).map(|number| runs(number + 10, 1)).chain(ended));
        assert!(decide(&start(5, 1), &room).is_ok());
    }

    #[test]
    fn what_was_seen_must_still_be_so() {
        let state = acme([runs(5, 1)]);
        let decide = |seen| finish(5, 1).decide(&state, &by_having_seen(person(id(1)), seen));
        assert_eq!(decide(6), Err(PreconditionFailed.into()));
        assert!(decide(7).is_ok());
    }

    #[test]
    fn what_history_says_is_over_has_ended_whatever_the_state_knows() {
        let ExecutionsCommand::Finish(finish) = finish(5, 1) else { panic!() };
        let late = ExecutionsCommand::Finish(FinishExecution { over: Some(9), ..finish });
        let state = acme([]);
        assert_eq!(decide(&late, &state), Err(ExecutionsRejection::Finished.into()));
        let having_seen = |seen| late.decide(&state, &by_having_seen(person(id(1)), seen));
        assert_eq!(having_seen(8), Err(PreconditionFailed.into()));
        assert_eq!(having_seen(9), Err(ExecutionsRejection::Finished.into()));
    }
}
