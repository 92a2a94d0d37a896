//! Names of workflows: sealed under the customer's key, and found by a blind id that is gone with it.

use crate::ids::{ExecutionId, StreamId};
use crate::seal::{BlindName, DataKey, Plain};
use crate::settings::executions::event::ExecutionStarted;
use crate::settings::executions::field;

/// The label of blind ids of workflows.
const LABEL: &str = "workflow";
/// The field that a workflow's name is sealed in.
pub const FIELD: &str = "workflow";

/// How an execution's workflow is recorded, by its name and under the data key of its customer.
pub fn named(stream: StreamId, execution: ExecutionId, under: &DataKey, workflow: &str) -> BlindName {
    let id = under.blind_id(LABEL, workflow);
    let sealed = under.seal(&field(stream, &execution.to_string(), FIELD), &Plain::from(workflow));
    BlindName { id, sealed }
}

/// A workflow of a customer that is asked for.
pub struct Sought {
    id: String,
    name: String,
}

impl Sought {
    /// By its name.
    pub fn new(under: &DataKey, name: String) -> Self {
        Self { id: under.blind_id(LABEL, &name), name }
    }

    /// The marks of events by which one of it began: its blind id, and its name where that was recorded under schema 1.
    pub fn marks(&self) -> [String; 2] {
        [self.id.clone(), self.name.clone()]
    }

    /// Whether an execution is of it.
    pub fn is_of(&self, started: &ExecutionStarted) -> bool {
        let known = if started.workflow.is_some() { &self.id } else { &self.name };
        started.workflow_id == *known
    }
}
