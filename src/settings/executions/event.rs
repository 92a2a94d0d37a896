//! What happens to executions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Version;
use crate::events;
use crate::ids::{CustomerId, EnvironmentId, ExecutionId};
use crate::seal::Sealed;

events! {
    /// Executions of workflows for customers.
    pub enum ExecutionsEvent {
        /// An execution began.
        "execution.start", 2 => ExecutionStarted(ExecutionStarted);
        /// An execution ended.
        "execution.finish", 1 => ExecutionFinished(ExecutionFinished);
    }
}

impl ExecutionsEvent {
    /// For whom it is or was.
    pub fn customer(&self) -> CustomerId {
        match self {
            Self::ExecutionStarted(started) => started.customer,
            Self::ExecutionFinished(finished) => finished.customer,
        }
    }

    /// What it is found by: what a beginning's workflow is found by, and how an end says that it ended.
    pub fn mark(&self) -> &str {
        match self {
            Self::ExecutionStarted(started) => &started.workflow_id,
            Self::ExecutionFinished(finished) => finished.status.name(),
        }
    }
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It did what it was to do.
    Succeeded,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl Ending {
    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An execution began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionStarted {
    /// The execution.
    pub execution: ExecutionId,
    /// For whom.
    pub customer: CustomerId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// What its workflow is found by: the blind id of its name, or the name itself where this was recorded under schema 1.
    pub workflow_id: String,
    /// The workflow's name, under the customer's key; absent where this was recorded under schema 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Sealed>,
    /// What set it off, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Sealed>,
    /// The month that it counts for, as `2026-11`; absent where it was recorded before executions were metered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<String>,
}

/// An execution ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionFinished {
    /// The execution.
    pub execution: ExecutionId,
    /// For whom it was.
    pub customer: CustomerId,
    /// How it ended.
    pub status: Ending,
    /// The version of the event that began it.
    pub started: Version,
    /// What went wrong, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Sealed>,
    /// How long it took, in milliseconds, as whoever ran it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What it used: the text of one JSON object, under the customer's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Sealed>,
}
