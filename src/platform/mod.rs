//! [`Platform`]: what belongs to no organization, folded over the platform's own stream.
//!
//! The twin of `organization.rs`; only its stream maps an account to people in organizations.

use serde::Serialize;

use crate::area::{Area, DirectoryEntry};
use crate::event::Recorded;
use crate::platform::accounts::projection::Accounts;
use crate::platform::foundings::projection::Foundings;
use crate::platform::operations::projection::Operations;
use crate::settings::sessions::projection::Sessions;
use crate::store::refusals::Refusals;
use crate::store::requests::Requests;

pub mod accounts;
pub mod foundings;
pub mod operations;

/// The platform's state at a version.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Platform {
    /// Addresses, passwords, and whom they are in which organization.
    pub accounts: Accounts,
    /// Organizations being founded.
    pub foundings: Foundings,
    /// Sessions of accounts without an organization.
    pub sessions: Sessions,
    /// What operators did.
    pub operations: Operations,
    /// Idempotency keys of the last day.
    pub requests: Requests,
    /// How many refusals were recorded this hour.
    pub refusals: Refusals,
}

impl Platform {
    /// Takes one event in.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.accounts.apply(recorded);
        self.foundings.apply(recorded);
        self.sessions.apply(recorded);
        self.operations.apply(recorded);
        self.requests.apply(recorded);
        self.refusals.apply(recorded);
    }

    /// What an event of the platform's stream means to the whole server.
    pub fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        Accounts::directory(recorded, entries);
        Foundings::directory(recorded, entries);
        Sessions::directory(recorded, entries);
        Operations::directory(recorded, entries);
        Requests::directory(recorded, entries);
        Refusals::directory(recorded, entries);
    }
}
