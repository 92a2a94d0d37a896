//! Becoming a member of teams together with becoming a member of the organization: the events that it takes.

use crate::command::NewEvent;
use crate::ids::{TeamId, UserId};
use crate::organization::Organization;
use crate::settings::teams::command::about_member;
use crate::settings::teams::event::{MemberAdded, TeamsEvent};

/// The teams have as many members as they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the teams have as many members as they can")]
pub struct NoRoom;

/// Somebody joins those of some teams that are there. Whether they may is for the caller to decide.
///
/// # Errors
/// [`NoRoom`].
pub(in crate::settings) fn joins_teams(
    state: &Organization,
    person: UserId,
    teams: &[TeamId],
) -> Result<Vec<NewEvent>, NoRoom> {
    let there = teams.iter().copied().filter(|team| state.teams.get(*team).is_some());
    let added: Vec<_> = there
        .map(|team| about_member(team, person, TeamsEvent::MemberAdded(MemberAdded { team, person })))
        .collect();
    if state.teams.has_room_for(added.len()) { Ok(added) } else { Err(NoRoom) }
}
