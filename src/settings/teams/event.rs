//! What happens to teams and to who is in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{TeamId, UserId};

events! {
    /// Teams and who is in them.
    pub enum TeamsEvent {
        /// A team was made.
        "team.create", 1 => TeamCreated(TeamCreated);
        /// A team was renamed or described.
        "team.update", 1 => TeamUpdated(TeamUpdated);
        /// A team went, with the roles that it had.
        "team.delete", 1 => TeamDeleted(TeamDeleted);
        /// A person became a member.
        "team.add_member", 1 => MemberAdded(MemberAdded);
        /// A person is a member no more.
        "team.remove_member", 1 => MemberRemoved(MemberRemoved);
    }
}

/// A team was made, without members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamCreated {
    /// The team.
    pub team: TeamId,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A team was renamed or described; what is absent stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamUpdated {
    /// The team.
    pub team: TeamId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of fields that were cleared: `description`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleared: Vec<String>,
}

/// A team went, with the roles that it had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamDeleted {
    /// The team.
    pub team: TeamId,
}

/// A person became a member of a team.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberAdded {
    /// The team.
    pub team: TeamId,
    /// The person.
    pub person: UserId,
}

/// A person is a member of a team no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRemoved {
    /// The team.
    pub team: TeamId,
    /// The person.
    pub person: UserId,
}
