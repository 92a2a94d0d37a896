//! What operators do to the server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{SnapshotId, StoreId};

events! {
    /// What operators do.
    pub enum OperationsEvent {
        /// An operator vouched for the wall clock.
        "clock.accept", 1 => ClockAccepted(ClockAccepted);
        /// A snapshot was taken.
        "snapshot.create", 1 => SnapshotCreated(SnapshotCreated);
        /// A snapshot was read from its first byte to its last.
        "snapshot.verify", 1 => SnapshotVerified(SnapshotVerified);
        /// A snapshot was restored for practice.
        "snapshot.drill", 1 => SnapshotDrilled(SnapshotDrilled);
        /// This store was made of a snapshot.
        "store.restore", 1 => StoreRestored(StoreRestored);
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

/// A snapshot was taken: both its files are durable under their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotCreated {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of the last frame that it holds.
    pub position: u64,
    /// How many events it holds.
    pub events: u64,
    /// The bytes of both files.
    pub bytes: u64,
    /// Whether they lie where somebody wanted them, and not in the place of the snapshots, with which the schedule reckons.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// A snapshot was read whole, and nothing of it is in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotVerified {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whether it is what was written.
    pub sound: bool,
}

/// A snapshot was restored into a folder of its own, and what it came to held against this store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotDrilled {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of the last frame that it holds.
    pub position: u64,
    /// Whether every state came out as it was here at that position.
    pub sound: bool,
}

/// This store was made of a snapshot. A new epoch began: sessions, mailed links and idempotency keys of before are void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreRestored {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The store that it was taken of.
    pub of_store: StoreId,
    /// The epoch that that store was in.
    pub of_epoch: String,
    /// The position of the last frame that was taken from it.
    pub position: u64,
    /// This store.
    pub store: StoreId,
    /// The epoch that began.
    pub epoch: String,
}
