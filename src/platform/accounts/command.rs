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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{by, events, id, platform, sealed};
    use crate::platform::accounts::event::SignedUp;

    fn signed_up() -> Event {
        Event::Accounts(AccountsEvent::SignedUp(SignedUp {
            account: id(1),
            key: id(1),
            email: sealed(1),
            name: sealed(1),
            password: sealed(1),
        }))
    }

    fn change(account: u128, verified_generation: u64) -> AccountsCommand {
        AccountsCommand::ChangePassword(ChangePassword {
            account: id(account),
            password: sealed(2),
            verified_generation,
            spares: Some(id(1)),
        })
    }

    fn decide(
        command: &AccountsCommand,
        given: Vec<Event>,
        actor: u128,
    ) -> Result<Vec<Event>, AccountsRejection> {
        let actor = Actor { id: ActorId::Account(id(actor)), session: None };
        events(command.decide(&platform(given), &by(actor)))
    }

    #[test]
    fn a_new_password_raises_the_generation_and_spares_one_session() {
        let decided = decide(&change(1, 1), vec![signed_up()], 1).unwrap();
        let changed =
            PasswordChanged { account: id(1), password: sealed(2), generation: 2, spares: Some(id(1)) };
        assert_eq!(decided, [Event::Accounts(AccountsEvent::PasswordChanged(changed))]);
        let given: Vec<_> = [signed_up()].into_iter().chain(decided).collect();
        assert_eq!(decide(&change(1, 1), given, 1), Err(AccountsRejection::Stale));
    }

    #[test]
    fn an_account_is_changed_only_by_itself() {
        assert_eq!(decide(&change(1, 1), vec![signed_up()], 2), Err(AccountsRejection::NotFound));
        assert_eq!(decide(&change(2, 1), vec![signed_up()], 2), Err(AccountsRejection::NotFound));
    }
}
