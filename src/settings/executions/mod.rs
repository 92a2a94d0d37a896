//! Executions: what workflows did for customers, one start and one end each. The state holds those that run, and which
//! ended lately; all others are in history alone, where a list finds them by the index.

pub mod command;
pub mod event;
pub mod http;
pub mod listing;
pub mod projection;
pub mod told;
pub mod value;
pub mod workflows;

use crate::event::ResourceType;
use crate::ids::StreamId;
use crate::seal::SealedField;

/// Where something of an execution is sealed, under its customer's key.
pub fn field<'a>(stream: StreamId, execution: &'a str, field: &'a str) -> SealedField<'a> {
    SealedField { stream, resource_type: ResourceType::Execution, resource_id: execution, field }
}
