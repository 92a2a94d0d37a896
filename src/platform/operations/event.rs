//! What operators do to the server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;

events! {
    /// What operators do.
    pub enum OperationsEvent {
        /// An operator vouched for the wall clock.
        "clock.accept", 1 => ClockAccepted(ClockAccepted);
    }
}

/// An operator vouched for the wall clock, after the guard had stopped writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockAccepted {
    /// What the wall clock said.
    pub wall: Timestamp,
    /// The newest record's time over all streams, as far as there was any: while no record is newer, the log's time
    /// stands still, and a start holds the wall clock against `wall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
}
