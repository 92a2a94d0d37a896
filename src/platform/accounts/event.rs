//! What happens to accounts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::events;
use crate::ids::{AccountId, DataKeyId, OrganizationId, SessionId, UserId};
use crate::seal::Sealed;
use crate::settings::sessions::event::TokenHash;

events! {
    /// Accounts: an address and a password, for people of any number of organizations.
    pub enum AccountsEvent {
        /// Somebody signed up.
        "auth.signup", 1 => SignedUp(SignedUp);
        /// Who signed up proved that the address is theirs: from here on there is an account.
        "auth.verify_email", 1 => EmailVerified(AccountNamed);
        /// A sign-up that nobody verified was forgotten.
        "signup.expire", 1 => SignUpExpired(AccountForgotten) destroys destroyed_keys;
        /// The password changed.
        "auth.change_password", 1 => PasswordChanged(PasswordChanged);
        /// A link to set a new password was asked for.
        "password_reset.request", 1 => PasswordResetRequested(PasswordResetRequested);
        /// A new password was set by such a link.
        "auth.reset_password", 1 => PasswordReset(PasswordReset);
        /// Another address was asked for.
        "email_change.request", 1 => EmailChangeRequested(EmailChangeRequested);
        /// The address changed.
        "auth.change_email", 1 => EmailChanged(EmailChanged);
        /// Every organization knows the new address.
        "email_change.close", 1 => EmailChangeClosed(EmailChangeClosed);
        /// The account is nobody any more in an organization.
        "membership.end", 1 => MembershipEnded(MembershipEnded);
        /// The account was deleted.
        "account.delete", 1 => AccountDeleted(AccountForgotten) destroys destroyed_keys;
    }
}

/// Somebody signed up. All of it is sealed under the account's own key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedUp {
    /// The account.
    pub account: AccountId,
    /// Its data key.
    #[schema(value_type = String)]
    pub key: DataKeyId,
    /// The e-mail address.
    pub email: Sealed,
    /// The person's name, offered to organizations that they join.
    pub name: Sealed,
    /// The argon2id hash of the password, in PHC form.
    pub password: Sealed,
    /// The link that verifies the address. Until it is followed there is no account; without one, as with the server's
    /// set-up, there is one at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<MailedLink>,
}

/// What is recorded of a link that is mailed: never the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailedLink {
    /// SHA-256 of its token.
    #[schema(value_type = String)]
    pub token: TokenHash,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// An account, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountNamed {
    /// The account.
    pub account: AccountId,
}

/// An account is forgotten: what was sealed under its key is gone with the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountForgotten {
    /// The account.
    pub account: AccountId,
    /// The keys that were destroyed.
    #[schema(value_type = Vec<String>)]
    pub destroyed_keys: Vec<DataKeyId>,
}

/// The password changed, which ends every session but the one that is spared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChanged {
    /// The account.
    pub account: AccountId,
    /// The argon2id hash of the new password, in PHC form.
    pub password: Sealed,
    /// The account's credential generation from now on.
    pub generation: u64,
    /// The session in which it was changed, which goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spares: Option<SessionId>,
}

/// A link to set a new password was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordResetRequested {
    /// The account.
    pub account: AccountId,
    /// The link.
    pub link: MailedLink,
}

/// A new password was set by a link, which ends every session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordReset {
    /// The account.
    pub account: AccountId,
    /// The argon2id hash of the new password, in PHC form.
    pub password: Sealed,
    /// The account's credential generation from now on.
    pub generation: u64,
}

/// Another address was asked for. It is as before until the link is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChangeRequested {
    /// The account.
    pub account: AccountId,
    /// The address that it is to have.
    pub email: Sealed,
    /// The link that is mailed to that address.
    pub link: MailedLink,
    /// The session in which it was asked for: it goes on when the address has changed.
    pub session: SessionId,
}

/// The address changed, which ends every session but the one that is spared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChanged {
    /// The account.
    pub account: AccountId,
    /// The address from now on.
    pub email: Sealed,
    /// The account's credential generation from now on.
    pub generation: u64,
    /// The session in which the change was asked for, which goes on.
    pub spares: SessionId,
}

/// Every organization that the account is somebody in knows the new address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChangeClosed {
    /// The account.
    pub account: AccountId,
    /// The credential generation that the address came with.
    pub generation: u64,
}

/// The account is nobody any more in an organization, as the organization's own stream says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MembershipEnded {
    /// The organization.
    pub organization: OrganizationId,
    /// Who the account was there.
    pub person: UserId,
}
