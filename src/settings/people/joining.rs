//! Becoming a member, whichever the way in: the events that it takes.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::ids::RoleAssignmentId;
use crate::organization::Organization;
use crate::settings::people::event::{PeopleEvent, PersonJoined};
use crate::settings::roles::event::{RoleAssigned, RolesEvent};
use crate::settings::roles::granting::about_grant;
use crate::settings::roles::role::{Grantee, RoleRef};

/// As many roles are given in the organization as can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many roles are given as can be")]
pub struct NoRoom;

/// Somebody joins with a role in the whole organization. Whether they may is for the caller to decide, and whether their key
/// is first used here.
///
/// # Errors
/// [`NoRoom`].
pub(in crate::settings) fn joins_with(
    state: &Organization,
    joined: &PersonJoined,
    role: RoleRef,
    assignment: RoleAssignmentId,
) -> Result<(NewEvent, NewEvent), NoRoom> {
    if !state.roles.has_room() {
        return Err(NoRoom);
    }
    let resource = Resource::new(ResourceType::Person, joined.person);
    let joins = NewEvent::new(resource, PeopleEvent::PersonJoined(joined.clone()));
    let assigned = RoleAssigned::new(assignment, Grantee::Person(joined.person), role, None);
    Ok((joins, about_grant(&assigned, RolesEvent::RoleAssigned(assigned.clone()))))
}
