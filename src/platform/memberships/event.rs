//! A membership to be: an intent here, its second half in the organization's own stream.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{AccountId, InvitationId, JoinRequestId, OrganizationId, UserId};

events! {
    /// Accounts that are about to be somebody in an organization.
    pub enum MembershipsEvent {
        /// An account is about to be somebody in an organization, and is paired with that person.
        "membership.open", 1 => MembershipOpened(MembershipOpened);
        /// The organization has decided.
        "membership.close", 1 => MembershipClosed(MembershipClosed);
    }
}

/// An account is about to be somebody in an organization. Harmless alone: whoever finds it open finishes it. Name and
/// address are the account's, sealed under its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipOpened {
    /// The account.
    pub account: AccountId,
    /// The organization.
    pub organization: OrganizationId,
    /// Who the account will be there.
    pub person: UserId,
    /// The request to join that it makes there, or would make if it were not let in at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_request: Option<JoinRequestId>,
    /// The invitation that it accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<InvitationId>,
}

/// On what ground an account becomes somebody in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Its address is in the organization's domain.
    Domain(JoinRequestId),
    /// It was invited.
    Invitation(InvitationId),
}

impl MembershipOpened {
    /// Its ground. None is never recorded.
    pub fn ground(&self) -> Option<Ground> {
        self.join_request.map(Ground::Domain).or(self.invitation.map(Ground::Invitation))
    }
}

/// The organization has decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipClosed {
    /// The organization.
    pub organization: OrganizationId,
    /// Who the account is there, or is not.
    pub person: UserId,
    /// Whether the organization refused: then the account and the person are no pair any more.
    pub refused: bool,
}
