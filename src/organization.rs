//! [`Organization`]: everything that one organization's stream says, one field per area.
//!
//! `apply` fans out and nothing else; what an event means is told in the areas.

use serde::Serialize;

use crate::area::{Area, DirectoryEntry};
use crate::event::Recorded;
use crate::settings::environments::projection::Environments;
use crate::settings::general::projection::General;
use crate::settings::people::projection::People;
use crate::settings::roles::projection::Roles;
use crate::settings::sessions::projection::Sessions;
use crate::store::exports::Exports;
use crate::store::refusals::Refusals;
use crate::store::requests::Requests;

/// One organization's settings at a version: a value, cheap to clone, shared with readers without a lock.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Organization {
    /// Name, time zone, e-mail domain.
    pub general: General,
    /// Who belongs to it.
    pub people: People,
    /// Who may do what.
    pub roles: Roles,
    /// Environments and their configuration.
    pub environments: Environments,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Idempotency keys of the last day.
    pub requests: Requests,
    /// How many refusals were recorded this hour, so that they stay bounded.
    pub refusals: Refusals,
    /// Who took events out this hour.
    pub exports: Exports,
}

impl Organization {
    /// Takes one event in.
    pub fn apply(&mut self, recorded: &Recorded) {
        self.general.apply(recorded);
        self.people.apply(recorded);
        self.roles.apply(recorded);
        self.environments.apply(recorded);
        self.sessions.apply(recorded);
        self.requests.apply(recorded);
        self.refusals.apply(recorded);
        self.exports.apply(recorded);
    }

    /// What an event of an organization's stream means to the whole server.
    pub fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        General::directory(recorded, entries);
        People::directory(recorded, entries);
        Roles::directory(recorded, entries);
        Environments::directory(recorded, entries);
        Sessions::directory(recorded, entries);
        Requests::directory(recorded, entries);
        Refusals::directory(recorded, entries);
        Exports::directory(recorded, entries);
    }
}
