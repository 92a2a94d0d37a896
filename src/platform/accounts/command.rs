//! Changing an account. (Making one is part of founding, until there are invitations and sign-ups.)

use crate::actor::ActorId;
use crate::command::{Context, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::{AccountId, SessionId};
use crate::platform::Platform;
use crate::platform::accounts::event::{AccountsEvent, PasswordChanged};
use crate::seal::Sealed;

/// A command to accounts.
#[derive(Clone, Debug)]
pub enum AccountsCommand {
    /// Replaces the password, which ends every session but one.
    ChangePassword(ChangePassword),
}

/// Replaces the password.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// Whose.
    pub account: AccountId,
    /// The new hash.
    pub password: Sealed,
    /// The generation of the password that was verified: another one in the meantime makes this stale.
    pub verified_generation: u64,
    /// The session that goes on.
    pub spares: Option<SessionId>,
}

/// Why a command to accounts appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountsRejection {
    /// There is no such account of this actor.
    #[error("there is no such account")]
    NotFound,
    /// The password was changed since it was verified.
    #[error("the password was changed in the meantime")]
    Stale,
}

impl AccountsCommand {
    /// Decides.
    ///
    /// # Errors
    /// [`AccountsRejection`].
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        let Self::ChangePassword(change) = self;
        let account = state.accounts.get(change.account).ok_or(AccountsRejection::NotFound)?;
        if context.actor.id != ActorId::Account(change.account) {
            return Err(AccountsRejection::NotFound);
        }
        if account.generation != change.verified_generation {
            return Err(AccountsRejection::Stale);
        }
        let changed = PasswordChanged {
            account: change.account,
            password: change.password.clone(),
            generation: account.generation + 1,
            spares: change.spares,
        };
        Ok(vec![NewEvent::new(
            Resource::new(ResourceType::Account, change.account),
            AccountsEvent::PasswordChanged(changed),
        )])
    }
}
