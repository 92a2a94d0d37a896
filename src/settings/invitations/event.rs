//! What happens to invitations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{DataKeyId, InvitationId, TeamId, UserId};
use crate::platform::accounts::event::MailedLink;
use crate::seal::Sealed;
use crate::settings::roles::role::RoleRef;

events! {
    /// Invitations.
    pub enum InvitationsEvent {
        /// Somebody was invited.
        "invitation.create", 1 => InvitationCreated(InvitationCreated);
        /// An invitation was sent again, by whoever vouches for it from now on.
        "invitation.resend", 1 => InvitationResent(InvitationResent);
        /// It was taken back.
        "invitation.revoke", 1 => InvitationRevoked(InvitationForgotten) destroys destroyed_keys;
        /// It was accepted: the same command records that somebody joined, with which role and teams.
        "invitation.accept", 1 => InvitationAccepted(InvitationAccepted);
        /// It was declined.
        "invitation.decline", 1 => InvitationDeclined(InvitationForgotten) destroys destroyed_keys;
        /// Nobody accepted it, for long enough after its end.
        "invitation.expire", 1 => InvitationExpired(InvitationForgotten) destroys destroyed_keys;
    }
}

/// Somebody was invited. The address is sealed where the person's would be, under the key that would be theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationCreated {
    /// The invitation.
    pub invitation: InvitationId,
    /// Who they would be.
    pub person: UserId,
    /// The data key that would be theirs.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// The address that it is sent to.
    pub email: Sealed,
    /// The role that they would get in the whole organization.
    #[schema(value_type = String)]
    pub role: RoleRef,
    /// The teams that they would be in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<TeamId>,
    /// The link that is mailed.
    pub link: MailedLink,
}

/// An invitation was sent again: the link of before leads nowhere any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationResent {
    /// The invitation.
    pub invitation: InvitationId,
    /// The link that is mailed.
    pub link: MailedLink,
}

/// An invitation was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationAccepted {
    /// The invitation.
    pub invitation: InvitationId,
    /// Who joined.
    pub person: UserId,
}

/// An invitation is over, and whom it was sent to is forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationForgotten {
    /// The invitation.
    pub invitation: InvitationId,
    /// The key that would have been theirs.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}
