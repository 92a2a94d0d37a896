//! What happens to accounts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events;
use crate::ids::{AccountId, DataKeyId, SessionId};
use crate::seal::Sealed;

events! {
    /// Accounts: an address and a password, for people of any number of organizations.
    pub enum AccountsEvent {
        /// An account was made.
        "auth.signup", 1 => SignedUp(SignedUp);
        /// Its password changed.
        "auth.change_password", 1 => PasswordChanged(PasswordChanged);
    }
}

/// An account was made. All of it is sealed under the account's own key.
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
