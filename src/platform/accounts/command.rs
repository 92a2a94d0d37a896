//! Making an account (that of the set-up is part of founding) and changing it.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::{AccountId, SessionId};
use crate::platform::Platform;
use crate::platform::accounts::event::{AccountsEvent, PasswordChanged, SignedUp};
use crate::seal::Sealed;

/// A command to accounts.
#[derive(Clone, Debug)]
pub enum AccountsCommand {
    /// Makes an account. Repeating it appends nothing.
    SignUp(SignedUp),
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
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::SignUp(_) => Need::System,
            Self::ChangePassword(_) => Need::Own,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`AccountsRejection`].
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        match self {
            Self::SignUp(signed_up) if state.accounts.get(signed_up.account).is_some() => Ok(Vec::new()),
            Self::SignUp(signed_up) => Ok(vec![
                NewEvent::new(
                    Resource::new(ResourceType::Account, signed_up.account),
                    AccountsEvent::SignedUp(signed_up.clone()),
                )
                .using(signed_up.key),
            ]),
            Self::ChangePassword(change) => change.decide(state, context),
        }
    }
}

impl ChangePassword {
    fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        let account = state.accounts.get(self.account).ok_or(AccountsRejection::NotFound)?;
        if context.actor.id != ActorId::Account(self.account) {
            return Err(AccountsRejection::NotFound);
        }
        if account.generation != self.verified_generation {
            return Err(AccountsRejection::Stale);
        }
        let changed = PasswordChanged {
            account: self.account,
            password: self.password.clone(),
            generation: account.generation + 1,
            spares: self.spares,
        };
        Ok(vec![NewEvent::new(
            Resource::new(ResourceType::Account, self.account),
            AccountsEvent::PasswordChanged(changed),
        )])
    }
}
